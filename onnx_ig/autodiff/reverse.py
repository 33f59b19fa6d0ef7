"""The reverse walk: from cotangents of some values to cotangents of others, visiting only the path between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import onnx_ir as ir

from onnx_ig.autodiff.composites import composite_of
from onnx_ig.autodiff.registry import Cotangent, Cotangents, Missing, lookup
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import REFUSAL, refuse
from onnx_ig.graph.reading import is_float, read_by, surrogates_of

# Key of a surrogate's ``meta``: a cotangent has been handed to it.
PASSED = "onnx_ig.passed"

# Their derivative may be infinite or NaN where their value is.
_SINGULAR = frozenset({"Acos", "Acosh", "Asin", "Atanh", "Div", "Log", "Mod", "Pow", "Reciprocal", "Sqrt"})


def dependents(nodes: Iterable[ir.Node], roots: Iterable[ir.Value]) -> set[ir.Value]:
    """The values among the nodes' outputs (and the roots) that depend on ``roots`` differentiably.

    That is through float tensors and operators whose derivative is not zero everywhere.
    """
    reached = set(roots)
    for node in nodes:
        extend(reached, node)
    return reached


def extend(reached: set[ir.Value], node: ir.Node) -> None:
    """Add those outputs of ``node`` that depend differentiably on what is in ``reached`` already."""
    if not any(x in reached for x in read_by(node)):
        return
    surrogates = surrogates_of(node)
    reached.update(y for y, expression in surrogates.items() if expression in reached)
    entry = lookup(node)
    if entry is not None and entry.kind in ("zero", "straight-through"):
        return
    if any(x in reached for x in read_by(node) if x not in surrogates.values()):
        reached.update(y for y in node.outputs if is_float(y))


def pull_back(
    op: OpBuilder,
    nodes: Sequence[ir.Node],
    cotangents: Mapping[ir.Value, ir.Value],
    wrt: Sequence[ir.Value],
    *,
    partial: bool = False,
) -> dict[ir.Value, ir.Value]:
    """Vector–Jacobian product: Σ_y cotangent_y · ∂y/∂t for each t of ``wrt``.

    Args:
        op: builder of the graph that receives the adjoint nodes.
        nodes: the primal nodes in topological order; they stay as they are.
        cotangents: one value per output to start from, of the output's shape.
        wrt: the tensors asked for.
        partial: take the tensors of ``wrt`` for independent of each other, whatever computes them.

    Returns:
        Cotangents of the tensors of ``wrt`` that are reached; the others have derivative zero.

    Raises:
        NotDifferentiableError: a node on the path has no rule, or its rule misses that input.
    """
    on_path = dependents(nodes, wrt)
    filled = _ancestors(nodes, [x for node in nodes if node.op_type == "IsNaN" for x in node.inputs if x is not None])
    arrived: dict[ir.Value, ir.Value] = {}
    for value, cotangent in cotangents.items():
        if value in on_path:
            _accumulate(op, arrived, value, cotangent)
    targets = set(wrt)
    for node in reversed(nodes):
        surrogates = surrogates_of(node)
        for y, expression in surrogates.items():
            if y in arrived and expression in on_path:
                _accumulate(op, arrived, expression, arrived[y])
                expression.meta[PASSED] = True
        ends = targets.union(surrogates) if partial else surrogates
        dys = [arrived.get(y) if y in on_path and y not in ends else None for y in node.outputs]
        if all(dy is None for dy in dys) or not any(x in on_path for x in read_by(node)):
            _drop(arrived, node, targets)
            continue
        whole = composite_of(node)
        if whole is not None and dys[0] is not None and not targets & whole.inner:
            sent = [(whole.x, whole.cotangent(op, dys[0]))] if whole.x in on_path else []
        else:
            sent = _node_cotangents(op, node, dys, on_path, filled)
        for x, cotangent in sent:
            _accumulate(op, arrived, x, cotangent)
        _drop(arrived, node, targets)
    return {t: arrived[t] for t in wrt if t in arrived}


def derivative_of(op: OpBuilder, expression: Callable[[], ir.Value], dy: ir.Value, x: ir.Value) -> ir.Value | None:
    """The cotangent of ``x`` where ``expression``, which adds nodes and returns their result, has the cotangent ``dy``.

    For rules whose forward formula is shorter than its derivative; None where the derivative is zero.
    """
    before = len(op.graph)
    y = expression()
    return pull_back(op, list(op.graph)[before:], {y: dy}, [x]).get(x)


def _drop(arrived: dict[ir.Value, ir.Value], node: ir.Node, targets: set[ir.Value]) -> None:
    """Let go of the cotangents of the node's outputs: nothing before it reads them."""
    for y in node.outputs:
        if y not in targets:
            arrived.pop(y, None)


def _node_cotangents(
    op: OpBuilder, node: ir.Node, dys: Sequence[ir.Value | None], on_path: set[ir.Value], filled: set[ir.Value]
) -> list[tuple[ir.Value, ir.Value]]:
    """What the node's rule sends to each of its inputs that lies on the path.

    ``filled``: values of which the model asks whether they are NaN, to fill in others. What it computes there is not
    read, so that a cotangent of zero stays zero whatever the derivative.
    """
    entry = lookup(node)
    if REFUSAL in node.meta:
        raise node.meta[REFUSAL]
    if entry is None or entry.function is None:
        raise refuse(
            node,
            "no rule, function body or lowering is known for this operator",
            "Attribute at a tensor after it (--at), or add a rule (CONTRIBUTING.md, 'Add an operator')",
        )
    sent: list[tuple[ir.Value, ir.Value]] = []
    wanted = {"wanted": [x for x in dict.fromkeys(read_by(node)) if x in on_path]} if entry.selective else {}
    for x, cotangent in _by_input(node, entry.function(op, node, *dys, **wanted)):
        if x is None or x not in on_path:
            continue
        built = cotangent() if callable(cotangent) else cotangent
        if isinstance(built, Missing):
            raise refuse(node, f"with respect to its input {x.name!r}: {built.reason}", built.advice)
        if built is None:
            continue
        if node.op_type in _SINGULAR and node.outputs[0] in filled and dys[0] is not None:
            built = op.Where(op.Equal(dys[0], 0.0), 0.0, built)
        if entry.broadcasts:
            built = op.unbroadcast(built, x)
        sent.append((x, built))
    return sent


def _ancestors(nodes: Sequence[ir.Node], values: Iterable[ir.Value]) -> set[ir.Value]:
    """``values``, and what they are computed from."""
    found = set(values)
    for node in reversed(nodes) if found else ():
        if any(y in found for y in node.outputs):
            found.update(read_by(node))
    return found


def _by_input(node: ir.Node, result: Cotangents) -> list[tuple[ir.Value | None, Cotangent]]:
    if isinstance(result, Mapping):
        return list(result.items())
    cotangents: Sequence[Cotangent] = result if isinstance(result, Sequence) else (result,)
    if len(cotangents) > len(node.inputs) and all(c is None for c in cotangents[len(node.inputs) :]):
        cotangents = cotangents[: len(node.inputs)]  # trailing optional inputs left out by the node
    if len(cotangents) != len(node.inputs) and not (len(cotangents) == 1 and len(node.inputs) > 1):
        raise AssertionError(
            f"the rule of {node.op_type} gave {len(cotangents)} cotangents for {len(node.inputs)} inputs"
        )
    # a single cotangent is the first input's: the others are shapes, axes, indices
    return list(zip(node.inputs, cotangents, strict=False))


def _accumulate(op: OpBuilder, arrived: dict[ir.Value, ir.Value], x: ir.Value, cotangent: ir.Value) -> None:
    """Add ``cotangent`` to what has arrived at ``x``; it has x's shape and type by definition."""
    if cotangent.shape is None and x.shape is not None:
        cotangent.shape = x.shape.copy()
    elif cotangent.shape is not None and x.shape is not None:
        _assert_fits(cotangent, x)
    if cotangent.dtype is None and x.dtype is not None:
        cotangent.dtype = x.dtype
    arrived[x] = op.Add(arrived[x], cotangent) if x in arrived else cotangent


def _assert_fits(cotangent: ir.Value, x: ir.Value) -> None:
    assert cotangent.shape is not None and x.shape is not None
    pairs = zip(cotangent.shape, x.shape, strict=False)
    if len(cotangent.shape) != len(x.shape) or any(
        isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs
    ):
        node = cotangent.producer()
        raise AssertionError(
            f"a rule built a cotangent of shape {cotangent.shape} (by {node.op_type if node else 'a constant'}) "
            f"for {x.name!r} of shape {x.shape}"
        )
    if not cotangent.shape.frozen and cotangent.const_value is None:
        cotangent.shape = ir.Shape(
            [
                b if isinstance(b, int) or b.value is not None else a
                for a, b in zip(cotangent.shape, x.shape, strict=True)
            ]
        )
