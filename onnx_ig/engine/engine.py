"""What is asked of an attribution model: sums along a path, gradients, scores, outputs, of any number of examples.

The one idea: each answer is put together from pieces of examples × path points, one Run of the same model each, whose
weighted sums are added up. At most ``internal_batch_size`` rows are evaluated at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np

from onnx_ig.attribution import Plan, build, contract, make_plan
from onnx_ig.attribution.layout import dims_of, example_axes, example_shape
from onnx_ig.attribution.probability import Probability, probability
from onnx_ig.common.types import Array, Progress, SumOver
from onnx_ig.engine.attributions_apart import require_attributions_apart
from onnx_ig.engine.forward import ForwardModel, select
from onnx_ig.engine.grid import filled
from onnx_ig.engine.independence import require_axis, require_rows_run_alone
from onnx_ig.engine.path_parts import PathParts
from onnx_ig.engine.pieces import PREFIX, Pieces
from onnx_ig.engine.request import Attribution, Request
from onnx_ig.errors import ModelError
from onnx_ig.loading.model import Model, tensors_of
from onnx_ig.quadrature import NodesAndWeights
from onnx_ig.runtime.providers import AnySession, open_session
from onnx_ig.runtime.session import ProviderSpec, Session
from onnx_ig.runtime.widening import warn_widened

_MOST_TOGETHER = 1 << 16  # elements of the inputs at several values: below, a Run takes longer than copying them


class Engine:
    """An attribution model opened in a runtime, for any batch.

    The step form for a path, the complete form for Input×Gradient.
    """

    def __init__(
        self,
        model: Model,
        *,
        algorithm: str,
        provider: ProviderSpec = "auto",
        inputs: Sequence[str] | None = None,
        output: str | None = None,
        at: Sequence[str] | None = None,
        per_example: Sequence[str] = (),
        multiply_by_inputs: bool = True,
        batch_axis: int | None = 0,
        targets: int = 1,
        path_parts: int = 1,
        pooled: bool = False,
        sum_over: SumOver | None = None,
    ) -> None:
        form = "step" if algorithm == "integrated-gradients" else "complete"
        self.plan: Plan = make_plan(
            model,
            algorithm=algorithm,
            form=form,
            inputs=inputs,
            output=output,
            at=at,
            baselines="input",
            per_example=per_example,
            multiply_by_inputs=multiply_by_inputs,
            batch_axis=batch_axis,
            prefix=PREFIX,
            targets=targets,
            pooled=pooled,
            sum_over=sum_over,
        )
        self.plan = replace(self.plan, own_outputs=False)  # they would be computed, and downloaded from a device
        if self.plan.layout.kind == "none" or self.plan.target is None or form == "complete":
            # there is no axis, or no choice, of targets, or a form that has one at a time
            self.plan = replace(self.plan, targets=1)
        if path_parts > 1 and self.plan.layout.batched:  # else a Run has one point
            self.plan = replace(self.plan, path_parts=path_parts)
        self._model, self._provider = model, provider
        self._built = build(model, self.plan)
        self._contract = contract.Contract.from_json(self._built.metadata_props[contract.KEY])
        self.session: AnySession = open_session(self._built, provider)
        if self.session.widened:
            warn_widened("the model")
        self._forward = ForwardModel(model, self.plan.output, self.plan.layout.kind == "none", provider)
        self._types = {str(v.name): v.dtype.numpy() for v in tensors_of(model.ir_model.graph) if v.dtype is not None}
        self._pieces = Pieces(self.plan, self._built, self._contract, self.session, self._forward)
        self._independent = False
        # rows that are quantised by what rides with them would be others
        self._quantised_together = any(node.op_type == "DynamicQuantizeLinear" for node in self._built.graph)
        self._ends_ride = self.plan.layout.batched and not self._quantised_together

    @property
    def provider(self) -> str:
        """The execution provider in use."""
        return self.session.provider

    @property
    def straight_through(self) -> dict[str, int]:
        """How many nodes of which operators have a straight-through derivative (quantised models)."""
        return self._contract.straight_through

    @property
    def output_rounding(self) -> float:
        """The distance of 1 from the next number in the type that F is computed in."""
        return float(ml_dtypes.finfo(self._types[self.plan.output]).eps)

    def path_sums(
        self,
        request: Request,
        nodes: Array,
        weights: Array,
        *,
        internal_batch_size: int | None = None,
        progress: Progress | None = None,
    ) -> tuple[dict[str, Array], Array]:
        """(x − x') · Σ_k w_k ∇F(x' + a_k (x − x')) by tensor, and F at the path points, float64 [K, N].

        An engine of several targets takes as many successive examples of a request, which differ in their targets
        alone, for one.
        """
        part = (nodes, weights)
        (sums,), scores = self._sums_of([part], request, internal_batch_size, progress)
        return sums, scores

    def path_sums_apart(
        self,
        request: Request,
        parts: Sequence[NodesAndWeights],
        *,
        internal_batch_size: int | None = None,
        progress: Progress | None = None,
    ) -> tuple[list[dict[str, Array]], Array]:
        """:meth:`path_sums` of each of several parts of the path, and F at the points of all of them.

        From the same Runs, if the engine was opened for as many ``path_parts``, and rows ride together unchanged.
        """
        if len(parts) <= self.plan.path_parts and not self._quantised_together:
            return self._sums_of(parts, request, internal_batch_size, progress)
        found = [self._sums_of([part], request, internal_batch_size, progress) for part in parts]
        return [sums for (sums,), _ in found], np.concatenate([scores for _, scores in found])

    def _sums_of(
        self,
        parts: Sequence[NodesAndWeights],
        request: Request,
        internal_batch_size: int | None,
        progress: Progress | None,
    ) -> tuple[list[dict[str, Array]], Array]:
        """As :meth:`path_sums_apart`, for at most as many parts as the engine finds apart."""
        wide = _path_type(request)
        nodes, weights = (np.concatenate(values).astype(wide) for values in zip(*parts, strict=True))
        path_parts = PathParts.of(parts, self.plan.path_parts, self.plan.targets)
        each, asked = self.plan.targets, self._pieces.grid(request)
        scores = np.zeros((len(nodes), request.examples))
        request = request.every(each)
        self._require_independent_examples(request)
        sums: list[dict[str, Array]] = [{} for _ in parts]
        done, total = 0, request.examples * len(nodes)

        def take(rows: slice, points: slice, result: Mapping[str, Array]) -> None:
            nonlocal done
            questions = slice(rows.start * each, rows.stop * each)
            for name in self.plan.at:
                for i, part in path_parts.apart(result[PREFIX + contract.ATTRIBUTION + name], points):
                    asked.put(sums[i], name, part, questions, add=True)
            along = result[PREFIX + contract.PATH_SCORES]
            along = along if each == 1 else along.reshape(len(along), -1)
            scores[points, questions] = along[: points.stop - points.start, : questions.stop - questions.start]
            done += (rows.stop - rows.start) * (points.stop - points.start)
            if progress is not None:
                progress(done, total)

        self._along_path(request, nodes, weights, path_parts, internal_batch_size, take)
        return sums, scores

    def answer(self, request: Request, sums: Mapping[str, Array], scores: Array, baseline_scores: Array) -> Attribution:
        """The attributions ``sums`` in their tensors' types, with the convergence delta."""
        delta = self._total(sums, request.examples) - (scores - baseline_scores)
        attributions = {name: total.astype(self._types[name]) for name, total in sums.items()}
        return Attribution(attributions, scores, baseline_scores, delta)

    def gradient(
        self, request: Request, *, internal_batch_size: int | None = None, progress: Progress | None = None
    ) -> Attribution:
        """x · ∇F(x) for every example, and F(x). One example is answered whatever the model does with several."""
        if request.examples > 1:
            self._require_independent_examples(request)
        parts: dict[str, list[Array]] = {name: [] for name in self.plan.at}
        scores: list[Array] = []
        grid = self._pieces.grid(request)

        def take(rows: slice, points: slice, result: Mapping[str, Array]) -> None:
            for name in self.plan.at:
                parts[name].append(grid.own(result[PREFIX + contract.ATTRIBUTION + name], rows))
            scores.append(grid.own(result[PREFIX + contract.SCORE], rows))
            if progress is not None:
                progress(rows.stop, request.examples)

        self._pieces.each(
            request, 1, internal_batch_size, lambda rows, *_: self._pieces.feeds(request, rows), self.session, take
        )
        joined = {n: p[0] if len(p) == 1 else np.concatenate(p) for n, p in parts.items()}
        return Attribution(joined, np.concatenate(scores))

    def path_sums_and_ends(
        self,
        request: Request,
        nodes: Array,
        weights: Array,
        *,
        internal_batch_size: int | None = None,
        progress: Progress | None = None,
    ) -> tuple[dict[str, Array], tuple[Array, Array]]:
        """:meth:`path_sums` of all points, and :meth:`path_ends`, from the same Runs where that changes no sum.

        The ends ride as two more points of weight 0. Where the gradient is not finite there, 0 · ∞ is in the sums, and
        both are evaluated apart, from then on at once.
        """
        if self._ends_ride:
            asked = Fraction(len(nodes), len(nodes) + 2)
            sums, scores = self.path_sums(
                request,
                np.append(nodes, [1, 0]),
                np.append(weights, [0, 0]),
                internal_batch_size=internal_batch_size,
                progress=None if progress is None else lambda *rows: progress(*(int(n * asked) for n in rows)),
            )
            self._ends_ride = all(np.isfinite(value).all() for value in sums.values())
            if self._ends_ride:
                return sums, (scores[-2], scores[-1])
        sums, _ = self.path_sums(request, nodes, weights, internal_batch_size=internal_batch_size, progress=progress)
        return sums, self.path_ends(request, internal_batch_size)

    def path_ends(self, request: Request, internal_batch_size: int | None = None) -> tuple[Array, Array]:
        """F at both ends of the path, of each example, from Runs whose sums, of weight 0 and perhaps NaN, are left."""
        ends = self.path_sums(request, np.array([1, 0]), np.zeros(2), internal_batch_size=internal_batch_size)[1]
        return ends[0], ends[1]

    def end_scores(self, request: Request, internal_batch_size: int | None = None) -> tuple[Array, Array]:
        """F(x) and F(baseline) of each example."""
        at_baseline = {n: np.broadcast_to(request.baselines[n], x.shape) for n, x in request.inputs.items()}
        return (
            self.scores(request, internal_batch_size),
            self.scores(replace(request, inputs=at_baseline, baselines={}), internal_batch_size),
        )

    @property
    def batched(self) -> bool:
        """Whether the output has an axis of examples before the dimensions of one."""
        return self.plan.layout.kind != "none"

    @functools.cached_property
    def probability(self) -> Probability | None:
        """The probability that F is, if it is one."""
        return probability(self._model, self.plan.output)

    @functools.cached_property
    def _declared_dims(self) -> list[int | None]:
        output = next(v for v in tensors_of(self._model.ir_model.graph) if v.name == self.plan.output)
        return example_shape(output, self.plan.layout)

    def output_dims(self, request: Request) -> list[int]:
        """The output's dimensions for one example, by running the model where they are not declared."""
        dims = self._declared_dims
        if None not in dims:
            return [d for d in dims if d is not None]
        with self._pieces.blaming_the_data(request):
            return list(self._forward(self._pieces.few_rows(request)).shape[1:])

    def predicted(self, request: Request) -> Array:
        """The arg-max class of each example, int64 [N], for outputs of rank 2."""
        return np.concatenate([np.argmax(y, axis=-1) for y, _ in self._outputs(request, None)])

    def outputs(self, request: Request) -> Array:
        """The model's output for each example, [N, ...]."""
        return np.concatenate([y for y, _ in self._outputs(request, None)])

    def outputs_at(self, request: Request, several: Sequence[Mapping[str, Array]]) -> list[Array]:
        """The model's output for each example, [N, ...], at several values of the attributed inputs."""
        count, layout = len(several), self.plan.layout
        elements = sum(value.size for values in several for value in values.values())
        if count == 1 or not layout.batched or layout.n is not None or elements > _MOST_TOGETHER:
            return [self.outputs(replace(request, inputs=dict(values))) for values in several]
        feeds = {name: np.concatenate([values[name] for values in several]) for name in request.inputs}
        for name, value in request.per_example.items():
            feeds[name] = np.concatenate([np.broadcast_to(value, (request.examples, *value.shape[1:]))] * count)
        found = self._forward(feeds | request.shared)  # so small that memory need not be asked for
        require_axis({count * request.examples: found})
        return list(found.reshape(count, request.examples, *found.shape[1:]))

    def scores(self, request: Request, internal_batch_size: int | None = None) -> Array:
        """F(x; target) of each example, from the forward model."""
        if request.examples > 1:
            self._require_independent_examples(request)
        target, each = request.target, self.plan.targets
        outputs = np.concatenate([y for y, _ in self._outputs(request.every(each), internal_batch_size)])
        return select(outputs if each == 1 else np.repeat(outputs, each, axis=0), target)

    def _require_independent_examples(self, request: Request) -> None:
        """Refuse a model that mixes examples, before any two rows ride together.

        Raises:
            InputError: it does.
        """
        together = self.plan.layout.whole
        if self._independent or not (self.plan.layout.batched or (together and request.examples > 1)):
            return
        feeds = self._pieces.feeds(request, slice(0, request.examples if together else 2))
        path: dict[str, Array] = {}
        if self.plan.is_integrated:
            path = {PREFIX + n: np.ones(1, _path_type(request)) for n in (contract.PATH_NODES, contract.PATH_WEIGHTS)}
            for name, x in request.inputs.items():
                start = request.baselines.get(name, np.zeros_like(x[:1]))
                start = np.broadcast_to(start, x.shape) if together else start[:1]
                feeds[PREFIX + contract.BASELINE + name] = np.ascontiguousarray(start)
        shapes = {str(x.name): dims_of(x) for x in self._model.inputs if x.name in feeds}
        moved = {*request.inputs, *request.per_example}
        # OpenVINO would compile further models for the few rows of the check
        session = self.session if isinstance(self.session, Session) else Session(self._built, "cpu")
        try:
            self._independent = require_attributions_apart(
                self._contract,
                functools.partial(self._all_points_in_each_part, session.run),
                feeds,
                path,
                example_axes(shapes, moved, self.plan.layout.symbol) if together else None,
                quantised=self._quantised_together,
            )
        except ModelError as error:
            if not together:
                require_rows_run_alone(
                    error, lambda: self._forward(self._pieces.feeds(request, slice(0, request.examples)))
                )
            with self._pieces.blaming_the_data(request):
                raise

    def _outputs(self, request: Request, internal_batch_size: int | None) -> list[tuple[Array, slice]]:
        """The model's output for all examples, in pieces, each with the examples it holds."""
        parts: list[tuple[Array, slice]] = []
        grid = self._pieces.grid(request)

        def take(rows: slice, points: slice, output: Array) -> None:
            parts.append((grid.own(output, rows), rows))

        self._pieces.each(
            request, 1, internal_batch_size, lambda rows, *_: self._pieces.feeds(request, rows), self._forward, take
        )
        return parts

    def _along_path(
        self,
        request: Request,
        nodes: Array,
        weights: Array,
        parts: PathParts,
        internal_batch_size: int | None,
        take: Callable[[slice, slice, Any], None],
    ) -> None:
        """Give ``take`` the step model's results for each piece of examples × path points."""

        once: dict[str, Any] = {}  # what no examples have for themselves: baselines of one row, shared inputs
        held: dict[str, Any] = {}  # of the last examples: all path points of some, then the next examples
        last = slice(0, 0)

        def placed(rows: slice) -> dict[str, Any]:
            nonlocal held, last
            if rows != last:
                held, own = {}, self._pieces.feeds(request, rows)
                if not once:
                    own_to_none = own.keys() & self._pieces.for_all(request)
                    once.update(self.session.placed({name: own[name] for name in own_to_none}))
                held = once | self.session.placed({name: own[name] for name in own.keys() - once.keys()})
                last = rows
            return held

        def feeds(rows: slice, points: slice, size: int) -> dict[str, Any]:
            a, w = filled(nodes, weights, points, size)
            path = {PREFIX + contract.PATH_NODES: a, PREFIX + contract.PATH_WEIGHTS: w}
            if parts.several > 1:
                path[PREFIX + contract.PATH_PARTS] = parts.bounds(points)
            return {**placed(rows), **path}

        self._pieces.each(request, len(nodes), internal_batch_size, feeds, self.session, take)

    def _all_points_in_each_part(
        self, run: Callable[[Mapping[str, Array]], dict[str, Array]], feeds: Mapping[str, Array]
    ) -> dict[str, Array]:
        """``run`` of ``feeds`` that say nothing of parts of the path."""
        nodes = feeds.get(PREFIX + contract.PATH_NODES)
        if self.plan.path_parts == 1 or nodes is None:
            return run(feeds)
        return run({**feeds, PREFIX + contract.PATH_PARTS: np.array([[0, len(nodes)]] * self.plan.path_parts)})

    def _total(self, sums: Mapping[str, Array], examples: int) -> Array:
        return np.asarray(sum(s.reshape(examples, -1).sum(axis=1, dtype=np.float64) for s in sums.values()))


def _path_type(request: Request) -> type[np.floating[Any]]:
    return np.float64 if next(iter(request.inputs.values())).dtype == np.float64 else np.float32
