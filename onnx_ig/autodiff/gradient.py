"""Add the gradient computation to a model's graph: cotangents of outputs in, gradients of tensors out."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes

import onnx_ig.autodiff.rules  # noqa: F401  (fills the table of rules)
from onnx_ig.autodiff.builder import OpBuilder, names_in
from onnx_ig.autodiff.cut import cut_off, join_again
from onnx_ig.autodiff.dead import remove_dead
from onnx_ig.autodiff.entrances import place_behind, where_instead
from onnx_ig.autodiff.lower import lower_path
from onnx_ig.autodiff.narrowing import narrow
from onnx_ig.autodiff.reverse import PASSED, dependents, is_float, pull_back
from onnx_ig.autodiff.surrogate import forget_surrogates, straight_through_operators
from onnx_ig.autodiff.transposes import cancel_transposes, turn_products
from onnx_ig.autodiff.weights import separate_transposed_weights
from onnx_ig.errors import InputError, ModelError, NoGradientPathError, OnnxIgWarning
from onnx_ig.loading.constants import fold_rearranged_constants
from onnx_ig.loading.interface import put_defaults_back
from onnx_ig.loading.pad_axes import name_axes_before_pooling
from onnx_ig.model import Model, Source, load, refuse_attribution_model
from onnx_ig.suggestions import nearest

COTANGENT = "cotangent_"
GRAD = "grad_"
# Metadata property: a JSON object, operator → number of its nodes whose derivative is a straight-through one.
STRAIGHT_THROUGH = "onnx_ig.straight_through"
# Which tensors to differentiate by, of the forward nodes, the tensors asked for and the output.
Lay = Callable[[Sequence[ir.Node], Sequence[ir.Value], ir.Value], list[ir.Value]]


def differentiate(
    model: Source, wrt: Sequence[str] | None = None, outputs: Sequence[str] | None = None
) -> onnx.ModelProto:
    """The model with its vector–Jacobian product added in standard operators.

    For cotangents ``u_y`` of the outputs y, the result computes ``grad_t = Σ_y u_yᵀ · ∂y/∂t`` for each tensor t.

    Args:
        model: a path, serialised bytes, ModelProto, onnx_ir model or :class:`Model`.
        wrt: names of float inputs or of float tensors inside the graph; default: all float inputs
            without a default value that reach an output.
        outputs: names of float outputs, or of float tensors inside the graph; default: all float outputs.

    Returns:
        Inputs: the model's own with their defaults, then ``cotangent_<output>`` of each output's shape.
        Outputs: the model's own, then ``grad_<tensor>`` of each tensor's shape. The metadata property
        ``onnx_ig.straight_through`` counts, by operator, the quantising nodes whose derivative is that of their float
        equivalent. A message holds less than
        2 GB: of a larger model the weights stay in the files beside it, named relative to its folder, with a warning.
        Save the result in that folder, or use :func:`onnx_ig.export`, which writes a file of its own.

    Raises:
        NoGradientPathError: none of ``wrt`` reaches any of ``outputs`` through differentiable operators.
        NotDifferentiableError: a node on the path has no rule; the message names it.
        InputError: an unknown or non-float name.
        UsageError: an attribution model, which holds its gradient already.
    """
    loaded = load(model)
    refuse_attribution_model(loaded)
    result = gradient_model(loaded, wrt, outputs)
    put_defaults_back(result.graph, loaded.defaults)
    tensors = [value.const_value for value in result.graph.initializers.values()]
    outside = [tensor for tensor in tensors if isinstance(tensor, ir.ExternalTensor)]
    if outside:
        files = ", ".join(sorted({str(tensor.location) for tensor in outside}))
        warnings.warn(
            f"too large for a message: weights stay in {files}; save the result in {outside[0].base_dir}, beside them",
            OnnxIgWarning,
            stacklevel=2,
        )
    return ir.to_proto(result)


def gradient_model(
    model: Model,
    wrt: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    prefix: str = "",
    *,
    lay: Lay | None = None,
) -> ir.Model:
    """:func:`differentiate` on a loaded model, as an onnx_ir model (weights shared, not copied).

    ``prefix`` is put before the added inputs' and outputs' names. ``lay`` is given the forward nodes in operators that
    have rules, the tensors ``wrt`` and the first output, and says by which tensors to differentiate instead: these are
    independent of each other, whatever computes them, and the gradient reads nothing from before them; they and
    those of ``wrt`` stay tensors of the graph.
    """
    result = model.clone_ir()
    graph = result.graph
    sources = (
        [_float_tensor(graph, name) for name in wrt]
        if wrt is not None
        else [x for x in graph.inputs if is_float(x) and x.name in {y.name for y in model.required_inputs}]
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
    cotangent, grad = prefix + COTANGENT, prefix + GRAD
    free_names(graph, [cotangent + str(y.name) for y in ends] + [grad + str(x.name) for x in sources])
    fold_rearranged_constants(graph, {*sources, *ends})
    weights = {x: x.const_value for x in sources if x.is_initializer()}
    for x in weights:
        x.const_value = None  # nothing that depends on them is to be folded
    op = OpBuilder(graph)
    replaced = lower_path(op, sources)
    asked, ends = ([replaced.get(v, v) for v in values] for values in (sources, ends))
    sources = asked if lay is None else lay(list(graph), asked, ends[0])
    narrow(op, {*asked, *sources, *ends})
    cut = [] if lay is None else cut_off(op, {*asked, *sources})
    nodes = list(graph)
    reached = dependents(nodes, sources)
    if wrt is None:
        ends_set = {y for y in ends if y in reached}
        asked = sources = [x for x in sources if ends_set & dependents(nodes, [x])] or sources
    seeds = {}
    for y in ends:
        seed = ir.Value(name=cotangent + str(y.name), type=y.type, shape=None if y.shape is None else y.shape.copy())
        graph.inputs.append(seed)
        seeds[y] = seed
    grads = pull_back(op, nodes, seeds, sources)
    for x, tensor in weights.items():
        x.const_value = tensor
    if not grads:
        names = [str(x.name) for x in asked]
        place = place_behind(model.ir_model.graph, [x for x in model.inputs if x.name in names])
        raise NoGradientPathError(
            f"no gradient path from {', '.join(names)} to {', '.join(str(y.name) for y in ends)}: the output does not "
            "depend on it, or only through operators whose derivative is zero (Round, ArgMax, casts to integers). "
            + (place[:1].upper() + place[1:] or "Choose another input, inner tensor or output")
        )
    for x in sources:
        if x not in grads and sources == asked:
            warnings.warn(
                f"{ends[0].name!r} does not depend on {x.name!r}: its gradient is zero", OnnxIgWarning, stacklevel=3
            )
        gradient = op.Identity(grads[x] if x in grads else op.zeros_like(x), _outputs=[grad + str(x.name)])
        gradient.shape, gradient.type = None if x.shape is None else x.shape.copy(), x.type
        graph.outputs.append(gradient)
    turn_products(op, but=nodes)
    passed = [y for node in _with_bodies(nodes) for y in node.outputs if PASSED in y.meta]
    result.metadata_props[STRAIGHT_THROUGH] = json.dumps(straight_through_operators(passed))
    forget_surrogates(graph)
    tidy(result)
    join_again(graph, cut, len(model.outputs))
    return result


def _with_bodies(nodes: Iterable[ir.Node]) -> Iterator[ir.Node]:
    """The nodes, and those of the bodies inside them."""
    for node in nodes:
        yield node
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.GRAPH:
                yield from ir.traversal.RecursiveGraphIterator(attribute.as_graph())


def tidy(model: ir.Model) -> None:
    """Remove what nothing reads (dead nodes, unused initialisers, Identity nodes); part what is not to be fused."""
    _remove_identities(model.graph)
    cancel_transposes(model.graph)
    passes.CommonSubexpressionEliminationPass()(model)
    remove_dead(model.graph)
    passes.RemoveUnusedNodesPass()(model)
    passes.RemoveUnusedOpsetsPass()(model)
    separate_transposed_weights(model.graph)
    name_axes_before_pooling(model.graph)


def _remove_identities(graph: ir.Graph) -> None:
    """Remove the main graph's Identity nodes, but those that give a tensor a further name among the inputs and outputs.

    (onnx_ir's pass would rename an output that is also the input of another Identity.)
    """
    for node in graph:
        x = node.inputs[0] if node.op_type == "Identity" and node.domain == "" else None
        if x is None:
            continue
        y = node.outputs[0]
        if y.is_graph_output():
            if x.is_graph_output() or x.is_graph_input() or x.is_initializer() or x.producer() not in graph:
                continue
            x.name, y.name = y.name, None
            x.shape, x.type, x.doc_string = y.shape or x.shape, y.type or x.type, y.doc_string or x.doc_string
        ir.convenience.replace_all_uses_with(y, x, replace_graph_outputs=True)
        graph.remove(node, safe=True)


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
