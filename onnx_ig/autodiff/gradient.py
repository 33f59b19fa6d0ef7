"""Add the gradient computation to a model's graph: cotangents of outputs in, gradients of tensors out."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir
import onnx_ir.passes.common as passes

import onnx_ig.autodiff.rules  # noqa: F401  (fills the table of rules)
from onnx_ig.autodiff.entrances import place_behind, where_instead
from onnx_ig.autodiff.float64.rewriting import SpellOutFloat64Pass
from onnx_ig.autodiff.independence import cut_off, join_again
from onnx_ig.autodiff.lowering import lower_path
from onnx_ig.autodiff.read_places import narrow
from onnx_ig.autodiff.reverse import PASSED, dependents, pull_back
from onnx_ig.autodiff.straight_through import forget_surrogates, straight_through_operators
from onnx_ig.common.suggestions import nearest
from onnx_ig.errors import InputError, ModelError, NoGradientPathError, warn
from onnx_ig.graph.builder import OpBuilder, names_in
from onnx_ig.graph.constants import FoldRearrangedConstantsPass
from onnx_ig.graph.dead_nodes import RemoveDeadNodesPass
from onnx_ig.graph.identities import RemoveIdentitiesPass
from onnx_ig.graph.quirks.moved_examples import PartMovedExamplesPass
from onnx_ig.graph.quirks.padding_before_pooling import NameAxesBeforePoolingPass
from onnx_ig.graph.quirks.transposed_weights import SeparateTransposedWeightsPass
from onnx_ig.graph.reading import is_float
from onnx_ig.graph.transposes import CancelTransposesPass, turn_products

COTANGENT = "cotangent_"
GRAD = "grad_"
# Metadata property: a JSON object, operator → number of its nodes whose derivative is a straight-through one.
STRAIGHT_THROUGH = "onnx_ig.straight_through"


@dataclass(frozen=True)
class LoweredGraph:
    """A model of its own, in operators that have rules as far as the tensors asked for reach.

    Attributes:
        model: the lowered model; ``op`` builds in its graph.
        source: the model as it was.
        wrt: the tensors that the gradient is asked of, ``chosen`` by name or not; ``outputs``: those it starts from.
        prefix: of the names of what is added.
        weights: the values of constants among ``wrt``, hidden so that nothing that depends on them is folded.
    """

    model: ir.Model
    op: OpBuilder
    source: ir.Model
    wrt: list[ir.Value]
    outputs: list[ir.Value]
    chosen: bool
    prefix: str
    weights: dict[ir.Value, ir.TensorProtocol | None]

    @property
    def nodes(self) -> list[ir.Node]:
        """All nodes in topological order."""
        return list(self.op.graph)


@dataclass(frozen=True)
class Adjoint:
    """A model with the reverse walk added: its own inputs and outputs first, then what the walk takes and gives.

    Attributes:
        nodes: all nodes in topological order, forward and adjoint.
        own_inputs, own_outputs: those of the model itself.
        seeds: the cotangent of each output, an input of the graph; ``gradients``: of each tensor differentiated by, an
            output of the graph.
        straight_through: operator → number of its nodes whose derivative is a straight-through one.
    """

    model: ir.Model
    own_inputs: list[ir.Value]
    own_outputs: list[ir.Value]
    seeds: list[ir.Value]
    gradients: list[ir.Value]
    straight_through: Mapping[str, int]

    @property
    def nodes(self) -> list[ir.Node]:
        """See above."""
        return list(self.model.graph)

    def tensor(self, name: str) -> ir.Value:
        """The tensor of that name; passes may have put another value in its place."""
        graph = self.model.graph
        return next(v for v in (*graph.inputs, *(y for node in graph for y in node.outputs)) if v.name == name)


def gradient_model(
    model: ir.Model,
    wrt: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    *,
    without: Collection[str] = (),
    spell_out: bool = True,
) -> ir.Model:
    """:func:`onnx_ig.differentiate` on a normalised graph (weights shared, not copied).

    ``without``: inputs by which it is not differentiated unless ``wrt`` names them, or all inputs are among them;
    ``spell_out``: see :func:`tidy`.
    """
    adjoint = adjoint_of(lowered_graph(model, wrt, outputs, without=without), spell_out=spell_out)
    adjoint.model.metadata_props[STRAIGHT_THROUGH] = json.dumps(adjoint.straight_through)
    return adjoint.model


def lowered_graph(
    model: ir.Model,
    wrt: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    prefix: str = "",
    *,
    without: Collection[str] = (),
) -> LoweredGraph:
    """A copy of the model, lowered; ``prefix`` is put before the names of what will be added.

    Raises:
        InputError: an unknown or non-float name; ModelError: a name that is needed is taken.
    """
    result = model.clone()
    graph = result.graph
    sources = (
        [_float_tensor(graph, name) for name in wrt]
        if wrt is not None
        else [x for x in ([y for y in graph.inputs if y.name not in without] or graph.inputs) if is_float(x)]
    )
    ends = (
        [_float_tensor(graph, name) for name in outputs]
        if outputs is not None
        else [y for y in graph.outputs if is_float(y)]
    )
    if not sources:
        raise InputError(
            f"the model has no float input ({', '.join(f'{x.name} {x.dtype}' for x in graph.inputs)}): "
            + where_instead(graph, graph.inputs)
        )
    free_names(graph, [prefix + COTANGENT + str(y.name) for y in ends] + [prefix + GRAD + str(x.name) for x in sources])
    FoldRearrangedConstantsPass({*sources, *ends})(result)
    weights = {x: x.const_value for x in sources if x.is_initializer()}
    for x in weights:
        x.const_value = None
    op = OpBuilder(graph)
    replaced = lower_path(op, sources)
    sources, ends = ([replaced.get(v, v) for v in values] for values in (sources, ends))
    return LoweredGraph(result, op, model, sources, ends, wrt is not None, prefix, weights)


def adjoint_of(lowered: LoweredGraph, at: Sequence[ir.Value] | None = None, *, spell_out: bool = True) -> Adjoint:
    """The reverse walk from the outputs to ``wrt``, or to the tensors ``at`` instead; ``spell_out``: see :func:`tidy`.

    Those of ``at`` are independent of each other, whatever computes them, and the gradient reads nothing from before
    them; they and those of ``wrt`` stay tensors of the graph.

    Raises:
        NoGradientPathError: none is reached. NotDifferentiableError: a node on the path has no rule.
    """
    op, asked, ends = lowered.op, lowered.wrt, lowered.outputs
    result, graph = lowered.model, lowered.op.graph
    own_inputs, own_outputs = [str(x.name) for x in graph.inputs], len(graph.outputs)
    sources = asked if at is None else list(at)
    narrow(op, {*asked, *sources, *ends})
    cut = [] if at is None else cut_off(op, {*asked, *sources})
    nodes = list(graph)
    if not lowered.chosen:
        reached = {*ends} & dependents(nodes, sources)
        asked = sources = [x for x in sources if reached & dependents(nodes, [x])] or sources
    seeds = {}
    for y in ends:
        name = lowered.prefix + COTANGENT + str(y.name)
        seeds[y] = ir.Value(name=name, type=y.type, shape=None if y.shape is None else y.shape.copy())
        graph.inputs.append(seeds[y])
    grads = pull_back(op, nodes, seeds, sources)
    for x, tensor in lowered.weights.items():
        x.const_value = tensor
    if not grads:
        names = [str(x.name) for x in asked]
        place = place_behind(lowered.source.graph, [x for x in lowered.source.graph.inputs if x.name in names])
        raise NoGradientPathError(
            f"no gradient path from {', '.join(names)} to {', '.join(str(y.name) for y in ends)}: the output does not "
            "depend on it, or only through operators whose derivative is zero (Round, ArgMax, casts to integers). "
            + (place[:1].upper() + place[1:] or "Choose another input, inner tensor or output")
        )
    gradients = []
    for x in sources:
        if x not in grads and sources == asked:
            warn(f"{ends[0].name!r} does not depend on {x.name!r}: its gradient is zero")
        name = lowered.prefix + GRAD + str(x.name)
        gradient = op.Identity(grads[x] if x in grads else op.zeros_like(x), _outputs=[name])
        gradient.shape, gradient.type = None if x.shape is None else x.shape.copy(), x.type
        graph.outputs.append(gradient)
        gradients.append(name)
    turn_products(op, but=nodes)
    passed = [y for node in _with_bodies(nodes) for y in node.outputs if PASSED in y.meta]
    straight_through = straight_through_operators(passed)
    forget_surrogates(graph)
    tidy(result, spell_out=spell_out)
    join_again(graph, cut, own_outputs)
    inputs, outputs = ({str(v.name): v for v in values} for values in (graph.inputs, graph.outputs))
    return Adjoint(
        result,
        own_inputs=[inputs[name] for name in own_inputs],
        own_outputs=list(graph.outputs)[:own_outputs],
        seeds=[inputs[str(seed.name)] for seed in seeds.values()],
        gradients=[outputs[name] for name in gradients],
        straight_through=straight_through,
    )


def _with_bodies(nodes: Iterable[ir.Node]) -> Iterator[ir.Node]:
    """The nodes, and those of the bodies inside them."""
    for node in nodes:
        yield node
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                yield from ir.traversal.RecursiveGraphIterator(attribute.as_graph())


def tidy(model: ir.Model, *, spell_out: bool = True) -> None:
    """Remove what nothing reads (dead nodes, unused initialisers, Identity nodes); part what is not to be fused.

    ``spell_out``: write what ONNX Runtime has no kernel of float64 for in what it has.
    """
    ir.passes.Sequential(
        *([SpellOutFloat64Pass()] if spell_out else []),
        RemoveIdentitiesPass(),
        CancelTransposesPass(),
        passes.CommonSubexpressionEliminationPass(),
        RemoveDeadNodesPass(),
        passes.RemoveUnusedNodesPass(),
        passes.RemoveUnusedOpsetsPass(),
        SeparateTransposedWeightsPass(),
        NameAxesBeforePoolingPass(),
        PartMovedExamplesPass(),
    )(model)


def free_names(graph: ir.Graph, wanted: Iterable[str]) -> None:
    """Make ``wanted`` available as value names: inner values in the way are renamed, inputs and outputs are refused."""
    names = set(wanted)
    for value in (*graph.inputs, *graph.outputs):
        if value.name in names:
            raise ModelError(
                f"the model's own {value.name!r} has a name that the attribution model needs; give a prefix (--prefix)"
            )
    taken = names_in(graph) | names
    inner = [
        *graph.initializers.values(),
        *(y for node in ir.traversal.RecursiveGraphIterator(graph) for y in node.outputs),
    ]
    for value in inner:
        if value.name in names:
            fresh = next(name for i in range(len(taken) + 1) if (name := f"{value.name}_inner{i}") not in taken)
            taken.add(fresh)
            value.name = fresh


def _float_tensor(graph: ir.Graph, name: str) -> ir.Value:
    """The float tensor called ``name`` anywhere in the main graph."""
    for value in (*graph.inputs, *graph.initializers.values(), *(y for node in graph for y in node.outputs)):
        if value.name == name:
            if not is_float(value):
                raise InputError(f"{name!r} holds {value.dtype}: {where_instead(graph, [value])}")
            return value
    known = ", ".join(str(v.name) for v in (*graph.inputs, *graph.outputs))
    close = nearest(name, (v.name for v in (*graph.inputs, *(y for node in graph for y in node.outputs))))
    raise InputError(f"the model has no tensor named {name!r}{close}; its inputs and outputs are {known}")
