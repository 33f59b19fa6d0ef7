"""Build the attribution model: prefix, step and pull-back composed into one ordinary ONNX graph.

inputs ── prefix at x ──────────┐ difference            Σ_k w_k · cotangent
       └─ prefix at baseline ───┴──► step (in a Loop) ──► × difference ──► attribution
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

import ml_dtypes
import numpy as np
import onnx_ir as ir

from onnx_ig.attribution import contract as names
from onnx_ig.attribution import target as targets
from onnx_ig.attribution.adaptive_loop import ToTolerance, sum_by_example
from onnx_ig.attribution.affine import affine_frontier
from onnx_ig.attribution.chunks import in_chunks, in_sequence
from onnx_ig.attribution.contract import Contract
from onnx_ig.attribution.interface import Interface
from onnx_ig.attribution.one_by_one import over_examples
from onnx_ig.attribution.one_row import meeting_others
from onnx_ig.attribution.plan import Plan
from onnx_ig.attribution.precision import accumulator_type, half_cotangents, is_half, widened
from onnx_ig.attribution.step import Bounds, GradientGraph, Question, rank, run_step
from onnx_ig.attribution.summed_axes import channel_axis
from onnx_ig.autodiff.gradient import LoweredGraph, adjoint_of, free_names, lowered_graph, tidy
from onnx_ig.autodiff.reverse import dependents, pull_back
from onnx_ig.errors import warn
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.copying import Copy, needed_for
from onnx_ig.loading.model import Model, tensors_of

Ends = list[tuple[ir.Value, ir.Value]]


def build(model: Model, plan: Plan) -> ir.Model:
    """The attribution model of ``plan``: an ONNX model whose contract is in its metadata, inputs and outputs included.

    Raises:
        NotDifferentiableError, NoGradientPathError: see :func:`onnx_ig.differentiate`.
        ModelError: a name of the contract clashes with one of the model's own inputs or outputs.
    """
    return _Builder(model, plan).build()


class _Builder:
    """One build: the graph under construction and the values its parts exchange."""

    def __init__(self, model: Model, plan: Plan) -> None:
        self.plan, self.source = plan, model
        lowered = lowered_graph(model.ir_model, plan.at, [plan.output], plan.prefix)
        frontier = _frontier(lowered, plan)
        whole = not plan.is_integrated and _depend_on_each_other(model, plan.at)
        adjoint = adjoint_of(lowered, None if whole else list(frontier))
        self.result, self.straight_through = adjoint.model, dict(adjoint.straight_through)
        self.own_inputs = adjoint.own_inputs
        (seed,) = adjoint.seeds
        self.parts = GradientGraph(
            nodes=adjoint.nodes,
            output=adjoint.tensor(plan.output),
            seed=seed,
            target_rank=plan.target_rank,
            frontier={adjoint.tensor(name): axis for name, axis in frontier.values()},
            grads=adjoint.gradients,
        )
        self.at = [adjoint.tensor(name) for name in plan.at]
        self.attributed = [adjoint.tensor(name) for name in plan.attributed]
        graph = self.result.graph
        graph.inputs.remove(seed)
        graph.outputs.clear()
        if plan.form == "complete" and plan.own_outputs:
            graph.outputs.extend(adjoint.own_outputs)
        free_names(graph, self._wanted_names())
        self.op = OpBuilder(graph)
        self.interface = Interface(self.op, plan, self.own_inputs, self.attributed)

    def build(self) -> ir.Model:
        """Compose the parts, declare the outputs, write the contract."""
        if not self.plan.is_integrated:
            self._input_x_gradient()
        elif self.plan.form == "complete":
            self._complete()
        else:
            self._step()
        self.interface.finish()
        self.result.metadata_props[names.KEY] = self._contract().to_json()
        self.result.ir_version = max(8, min(self.result.ir_version, 10))
        self.result.producer_name = "onnx-ig"
        tidy(self.result)
        if self.plan.layout.apart:
            rows, outputs = self.interface.rows(), self.interface.example_axes()
            over_examples(self.result.graph, self.plan.layout.symbol, rows, outputs)
        return self.result

    # -- the three models -------------------------------------------------------------------------------------------

    def _input_x_gradient(self) -> None:
        """attribution = t · ∂F/∂t at the tensors themselves: the model's own nodes serve, nothing is copied."""
        op, parts = self.op, self.parts
        selections = self._selections(parts.output)
        scores = [targets.score(op, parts.output, selection) for selection in selections]
        products = []
        for selection in selections:
            seed = targets.seed(op, parts.output, selection)
            if is_half(parts.nodes):
                copy = Copy(op, parts.nodes, {})
                grads = half_cotangents(copy, op, parts.nodes, parts.seed, seed, parts.grads, self.at, widened)
            else:
                grads = Copy(op, parts.nodes, {parts.seed: seed}).of(parts.grads)
            if self.plan.pooled:
                grads = [self._pooled(tensor, grad) for tensor, grad in zip(self.at, grads, strict=True)]
            if self.plan.multiply_by_inputs:
                grads = [op.Mul(*widened(op, [tensor]), grad) for tensor, grad in zip(self.at, grads, strict=True)]
            products.append(self._summed(op, grads))
        self._attributions(products, selections)
        self._of_examples(names.SCORE, scores, "F(x), the selected output of each example")

    def _complete(self) -> None:
        """Prefix twice, the step in a Loop over chunks of the path, the scores at both ends, the delta."""
        op, parts, plan = self.op, self.parts, self.plan
        selections = self._selections(parts.output)
        scores = [targets.score(op, parts.output, selection) for selection in selections]
        at_baseline = self._at_baseline(self.attributed)
        (baseline_output,) = at_baseline.of([parts.output])
        baseline_scores = [targets.score(op, baseline_output, selection) for selection in selections]
        ends, differences = self._ends(at_baseline), self._differences(at_baseline)
        if plan.to_tolerance is not None:
            attributions = self._as_exact_as(*plan.to_tolerance, ends, differences, selections, scores)
        else:
            nodes, weights = self.interface.path()
            frontier = list(parts.frontier)

            def chunk(op: OpBuilder, nodes: ir.Value, weights: ir.Value) -> list[ir.Value]:
                questions = self._once(ends, lambda _: selections, nodes, weights, op)
                return [part for question in questions for part in question.sums[0]]

            like = frontier * len(selections)
            if not plan.steps_per_run:
                sums = chunk(op, nodes, weights)
            elif plan.in_sequence:
                sums = in_sequence(op, like, plan.steps_per_run, chunk, nodes, weights)
            else:
                sums = in_chunks(op, like, plan.layout, plan.steps_per_run, chunk, nodes, weights)
            each = [sums[first : first + len(frontier)] for first in range(0, len(sums), len(frontier))]
            products = [self._products(op, self._pulled_back(op, own), differences) for own in each]
            attributions = self._attributions(products, selections)
        deltas = []
        for own, *ends_of_path in zip(attributions, scores, baseline_scores, strict=True):
            total = sum_by_example(op, own, plan.layout)
            deltas.append(op.Sub(total, op.Sub(*(op.Cast(f, to=total.dtype) for f in ends_of_path))))
        self._of_examples(names.SCORE, scores, "F(x), the selected output of each example")
        self._of_examples(names.BASELINE_SCORE, baseline_scores, "F(baseline) for the same target")
        self._of_examples(names.CONVERGENCE_DELTA, deltas, "Σ attributions − (F(x) − F(baseline)) of each example")

    def _step(self) -> None:
        """One chunk of the path; linear in path_weights, so callers add the attributions up over chunks."""
        parts = self.parts
        chosen = self.interface.targets(parts.output)
        ends = [*parts.frontier, *self.at]
        at_baseline = self._at_baseline(meeting_others(self.attributed, self.own_inputs, ends, parts.nodes))
        nodes, weights = self.interface.path()
        questions = self._once(  # selecting at x would cost a forward pass
            self._ends(at_baseline),
            lambda output: [self._selection(output, t) for t in chosen],
            nodes,
            weights,
            parts=self.interface.parts(),
        )
        differences = self._differences(at_baseline)
        summed = [(q.selection, sums) for q in questions for sums in q.sums]
        products = [self._products(self.op, self._pulled_back(self.op, sums), differences) for _, sums in summed]
        scores = [q.scores for q in questions]
        for tensor, found in zip(self.at, zip(*products, strict=True), strict=True):
            shown = [self._masked(tensor, p, selection) for p, (selection, _) in zip(found, summed, strict=True)]
            self.interface.attribution(tensor, targets.side_by_side(self.op, shown, self.plan.target_axis))
        along = targets.side_by_side(self.op, scores, 2)
        self.interface.output(names.PATH_SCORES, along, "F at each path point of each example")

    # -- parts --------------------------------------------------------------------------------------------------------

    def _at_baseline(self, expanded: Collection[ir.Value]) -> Copy:
        """The model with its attributed inputs at the baseline, those of ``expanded`` with a row per example."""
        values = {x: self.interface.baseline(x, x in expanded) for x in self.attributed}
        return Copy(self.op, self.parts.nodes, values)

    def _ends(self, at_baseline: Copy) -> Ends:
        """The value of each frontier tensor at the baseline and at x."""
        return list(zip(at_baseline.of(list(self.parts.frontier)), self.parts.frontier, strict=True))

    def _per_example(self) -> dict[ir.Value, ir.Value]:
        """Model inputs that get one row per path point: those off the path too, because the rows must match."""
        rows = [x for x in self.own_inputs if x.name in self.plan.per_example or x in self.attributed]
        return {x: x for x in rows}

    def _selection(self, output: ir.Value, target: targets.Target) -> targets.Selection:
        return targets.select(self.op, output, self.parts.target_rank, target, self.plan.layout.kind == "none")

    def _selections(self, output: ir.Value) -> list[targets.Selection]:
        return [self._selection(output, target) for target in self.interface.targets(output)]

    def _of_examples(self, name: str, of_targets: Sequence[ir.Value], doc: str) -> None:
        """Declare a number of each example, or of each of its targets."""
        self.interface.output(name, targets.side_by_side(self.op, of_targets, 1), doc)

    def _once(
        self,
        ends: Ends,
        select: Callable[[ir.Value], Sequence[targets.Selection]],
        nodes: ir.Value,
        weights: ir.Value,
        op: OpBuilder | None = None,
        parts: Sequence[Bounds] = (),
    ) -> list[Question]:
        rows, layout = self._per_example(), self.plan.layout
        return run_step(op or self.op, self.parts, layout, ends, rows, select, nodes, weights, parts)

    def _as_exact_as(
        self,
        tolerance: float,
        max_steps: int,
        ends: Ends,
        differences: Sequence[ir.Value],
        selections: Sequence[targets.Selection],
        scores: Sequence[ir.Value],
    ) -> list[list[ir.Value]]:
        """Path points until each example's error is estimated below ``tolerance``; declares error and steps too."""
        op, plan, output = self.op, self.plan, self.parts.output
        assert output.dtype is not None
        tells = not self.straight_through and (plan.multiply_by_inputs or plan.at == plan.attributed)

        def chunk(body: OpBuilder, nodes: ir.Value, weights: ir.Value) -> list[tuple[list[ir.Value], ir.Value]]:
            # ONNX Runtime warns of a Cast outside that the body reads beside what is cast
            inner = [replace(s, one_hot=body.Cast(s.marks, to=output.dtype)) for s in selections]
            questions = self._once(ends, lambda _: inner, nodes, weights, body)
            return [
                (self._products(body, self._pulled_back(body, q.sums[0]), differences), q.scores) for q in questions
            ]

        found = ToTolerance(
            self._shaped_like_attributions(),
            plan.layout,
            tolerance,
            max_steps,
            plan.steps_per_run,
            float(ml_dtypes.finfo(output.dtype.numpy()).eps) if tells else None,
            None if plan.multiply_by_inputs else differences,
            self.interface.path_type,
        ).integrate(op, chunk, scores)
        alone, errors, steps = plan.layout.kind == "none", [], []
        for (_, error, taken), selection in zip(found, selections, strict=True):
            errors.append(targets.masked(op, error, selection, 1, alone))
            none = op.constant(np.zeros(1, int))
            steps.append(taken if selection.valid is None else op.Where(selection.valid, taken, none))
        self._of_examples(names.ERROR_ESTIMATE, errors, "estimated Σ |error| / Σ |attributions| of each example")
        self._of_examples(names.STEPS_USED, steps, f"intervals between path points, {max_steps} or less")
        return self._attributions([products for products, *_ in found], selections)

    def _pulled_back(self, op: OpBuilder, sums: Sequence[ir.Value]) -> list[ir.Value]:
        """The summed cotangents at the frontier brought back through the prefix to the attributed tensors."""
        if list(self.parts.frontier) == self.at:
            return list(sums)
        cotangents = {f: op.Cast(total, to=f.dtype) for f, total in zip(self.parts.frontier, sums, strict=True)}
        for f, cotangent in cotangents.items():
            cotangent.shape, cotangent.type = f.shape, f.type
        prefix = needed_for(self.parts.frontier, self.at, self.parts.nodes)
        arrived = pull_back(op, prefix, cotangents, self.at, partial=True)
        for tensor in self.at:
            if tensor not in arrived:
                warn(f"{self.plan.output!r} does not depend on {tensor.name!r}: its attribution is zero")
        return [arrived[t] if t in arrived else op.zeros_like(t) for t in self.at]

    def _differences(self, at_baseline: Copy) -> list[ir.Value]:
        """x − x' at the attributed tensors."""
        return [
            self.op.Sub(*widened(self.op, [tensor, start]))
            for tensor, start in zip(self.at, at_baseline.of(self.at), strict=True)
        ]

    def _products(self, op: OpBuilder, totals: Sequence[ir.Value], differences: Sequence[ir.Value]) -> list[ir.Value]:
        """× (x − x') at the attributed tensors, wide, and summed as the plan says."""
        wide = [op.Cast(total, to=accumulator_type(t)) for t, total in zip(self.at, totals, strict=True)]
        if not self.plan.multiply_by_inputs:
            return wide
        return self._summed(op, [op.Mul(*pair) for pair in zip(differences, wide, strict=True)])

    def _summed(self, op: OpBuilder, products: Sequence[ir.Value]) -> list[ir.Value]:
        """Along the axis of each tensor that the plan sums over, if it does."""
        axes = [self.plan.summed_axes.get(name) for name in self.plan.at]
        return [
            p if axis is None else op.ReduceSum(p, [axis], keepdims=1) for p, axis in zip(products, axes, strict=True)
        ]

    def _shaped_like_attributions(self) -> list[ir.Value]:
        """The attributed tensors, those that are summed over an axis cut to the first of it."""
        shaped = []
        for tensor in self.at:
            axis = self.plan.summed_axes.get(str(tensor.name))
            if axis is not None:
                cut = self.op.Slice(tensor, [0], [1], [axis])
                assert tensor.shape is not None
                cut.type, cut.shape = tensor.type, ir.Shape([1 if i == axis else d for i, d in enumerate(tensor.shape)])
                tensor = cut
            shaped.append(tensor)
        return shaped

    def _pooled(self, tensor: ir.Value, grad: ir.Value) -> ir.Value:
        """The mean of the gradient over the axes of space of its ``tensor``, which stay with size 1."""
        axes = list(range(channel_axis(tensor, self.plan.layout) + 1, rank(tensor)))
        return self.op.ReduceMean(grad, axes, keepdims=1) if axes else grad

    def _attributions(
        self, products: Sequence[Sequence[ir.Value]], selections: Sequence[targets.Selection]
    ) -> list[list[ir.Value]]:
        """Those of each target masked, and declared; returns them wide, for the delta."""
        shown = [
            [self._masked(tensor, product, selection) for tensor, product in zip(self.at, own, strict=True)]
            for own, selection in zip(products, selections, strict=True)
        ]
        for tensor, of_targets in zip(self.at, zip(*shown, strict=True), strict=True):
            together = targets.side_by_side(self.op, of_targets, self.plan.target_axis)
            self.interface.attribution(tensor, self.op.Cast(together, to=tensor.dtype))
        return shown

    def _masked(self, tensor: ir.Value, product: ir.Value, selection: targets.Selection) -> ir.Value:
        """NaN where the target is out of range; wide, as the parts of a sum stay."""
        product.type = ir.TensorType(accumulator_type(tensor))
        shown = targets.masked(self.op, product, selection, rank(tensor), self.plan.layout.kind == "none")
        shown.type = product.type
        return shown

    # -- the edges ----------------------------------------------------------------------------------------------------

    def _wanted_names(self) -> list[str]:
        plan = self.plan
        wanted = [names.ATTRIBUTION + name for name in plan.at] + [names.SCORE, names.TARGET, names.TARGET_USED]
        if plan.is_integrated:
            wanted += [names.BASELINE + name for name in plan.attributed] + [names.PATH_NODES, names.PATH_WEIGHTS]
            wanted += [names.BASELINE_SCORE, names.CONVERGENCE_DELTA, names.PATH_SCORES, names.PATH_PARTS]
            wanted += [names.ERROR_ESTIMATE, names.STEPS_USED]
        return [plan.prefix + name for name in wanted]

    def _contract(self) -> Contract:
        plan = self.plan
        return Contract(
            form=plan.form,
            algorithm=plan.algorithm,
            multiply_by_inputs=plan.multiply_by_inputs,
            output=plan.output,
            at=plan.at,
            layout=plan.layout.kind,
            prefix=plan.prefix,
            inputs=self.interface.described,
            baked=self.interface.baked,
            straight_through=self.straight_through,
            targets=plan.targets,
            sum_over=plan.sum_over,
            summed_axes=plan.summed_axes,
            source_sha256=self.source.source_sha256,
        )


def _frontier(lowered: LoweredGraph, plan: Plan) -> dict[ir.Value, tuple[str, int]]:
    """The end of the affine prefix, or the attributed tensors themselves, each with its name and its examples' axis."""
    frontier = dict.fromkeys(lowered.wrt, 0)
    if plan.is_integrated and plan.affine_prefix:
        frontier = affine_frontier(lowered.nodes, lowered.wrt, lowered.outputs[0], batched=plan.layout.batched)
    return {f: (str(f.name), axis) for f, axis in frontier.items()}


def _depend_on_each_other(model: Model, names: Sequence[str]) -> bool:
    """Whether one of the tensors is computed from another: then its change is part of the other's gradient at x."""
    graph = model.ir_model.graph
    tensors = {v for v in tensors_of(graph) if v.name in names}
    return any(len(tensors & dependents(graph, [tensor])) > 1 for tensor in tensors)
