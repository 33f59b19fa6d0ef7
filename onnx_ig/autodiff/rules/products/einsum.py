"""VJP rule of Einsum: the cotangent of an operand is an Einsum of the output's cotangent with the other operands.

The one idea: every operand and the output is a string of labels, one per axis. Labels that only one operand has were
summed, so its cotangent is repeated along them; labels it has twice select a diagonal, where its cotangent lies. Axes
are counted from the end, so that an ellipsis in front may stand for any number of them.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence

import onnx_ir as ir

from onnx_ig.autodiff.axes import expand_to
from onnx_ig.autodiff.masks import cast_like
from onnx_ig.autodiff.registry import Cotangents, vjp
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.node import attr_str, given, known_rank, refuse

_ANY = "…"  # the label of an ellipsis in front that stands for a number of axes which only the run knows


@vjp("Einsum")
def einsum(op: OpBuilder, node: ir.Node, dy: ir.Value) -> Cotangents:
    """y = einsum("A,B→Y", a, b):  da = einsum("Y,B→A", dy, b), repeated along labels that only A has."""
    operands = [given(node, i) for i in range(len(node.inputs))]
    labels, output = _labels(node, operands)
    if len(set(output)) != len(output):
        raise refuse(node, f"its output {output!r} repeats a label", "Write the diagonal with other operators")
    return [
        lambda i=i: _cotangent(op, dy, operands, labels, output, i)  # type: ignore[misc]
        for i in range(len(operands))
    ]


def _cotangent(
    op: OpBuilder, dy: ir.Value, operands: Sequence[ir.Value], labels: Sequence[str], output: str, i: int
) -> ir.Value:
    """The cotangent of operand ``i``, whose axes are ``labels[i]``."""
    x, own = operands[i], labels[i]
    others = [(labels[j], v) for j, v in enumerate(operands) if j != i]
    distinct = "".join(dict.fromkeys(own))
    sources = [(output, dy), *others]
    # a label of size one everywhere else was broadcast against x and summed: the sum's cotangent is repeated
    present = [label for label in distinct if any(_spans(s, v, label) for s, v in sources)]
    if _ANY not in present and any(_ANY in s for s, _ in sources):
        present.insert(0, _ANY)  # summed afterwards: runtimes take no ellipsis that the result lacks
    kept = "".join(present)
    equation = (",".join(s for s, _ in sources) + "->" + kept).replace(_ANY, "...")
    if not others and output == kept:
        dx = dy
    elif not others and sorted(output) == sorted(kept) and _ANY not in kept:
        dx = op.Transpose(dy, perm=[output.index(label) for label in kept])
    else:
        dx = op.Einsum(*(v for _, v in sources), equation=equation)
    alone = [axis - len(distinct) for axis, label in enumerate(distinct) if label not in kept and label != _ANY]
    if alone:
        dx = op.Unsqueeze(dx, alone)
    if distinct != own:
        dx = _on_diagonal(op, dx, x, own, distinct)
    elif alone:
        dx = expand_to(op, dx, x)
    return op.unbroadcast(dx, x)


def _spans(labels: str, v: ir.Value, label: str) -> bool:
    """Whether ``v`` has the label with a size that is not known to be one."""
    axes = [axis - len(labels) for axis, other in enumerate(labels) if other == label]
    return bool(axes) and (label == _ANY or v.shape is None or any(v.shape[axis] != 1 for axis in axes))


def _on_diagonal(op: OpBuilder, dx: ir.Value, x: ir.Value, own: str, distinct: str) -> ir.Value:
    """``dx`` [``distinct``] as [``own``]: zero where the axes of a repeated label differ."""
    first = [own.index(label) for label in distinct]
    later = [axis - len(own) for axis in range(len(own)) if axis not in first]
    ordered = sorted(range(len(distinct)), key=lambda position: first[position])
    assert ordered == list(range(len(distinct)))  # distinct labels are in the order of their first axes
    spread, n = op.Unsqueeze(dx, later), len(own.replace(_ANY, ""))
    for axis in later:
        mask = op.Equal(_positions(op, x, own.index(own[axis]) - len(own), n), _positions(op, x, axis, n))
        spread = op.Mul(spread, cast_like(op, mask, x))
    return expand_to(op, spread, x)


def _positions(op: OpBuilder, x: ir.Value, axis: int, count: int) -> ir.Value:
    """0, 1, ... along ``axis`` of x (negative), with the others of the last ``count`` axes of size one."""
    size = op.Squeeze(op.dim(x, axis), [0])
    return op.Reshape(op.Range(0, size, 1), [-1 if a == axis else 1 for a in range(-count, 0)])


def _labels(node: ir.Node, operands: Sequence[ir.Value]) -> tuple[list[str], str]:
    """One label per axis of each operand and of the output; an ellipsis becomes labels, aligned to the right.

    In front of terms of unknown rank it stays a label of its own.
    """
    equation = attr_str(node, "equation", "").replace(" ", "")
    left, arrow, output = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise refuse(node, f"{equation!r} has {len(terms)} terms for {len(operands)} operands", "Repair the equation")
    free = _unused(equation)
    longest = 0
    if not arrow:
        letters = left.replace("...", "").replace(",", "")
        output = ("..." if "..." in left else "") + "".join(c for c in sorted(set(letters)) if letters.count(c) == 1)
    vague = any("..." in term and x.shape is None for term, x in zip(terms, operands, strict=True))
    if vague and all(term.startswith("...") for term in (*terms, output) if "..." in term):
        return [term.replace("...", _ANY) for term in terms], output.replace("...", _ANY)
    labels = []
    for term, x in zip(terms, operands, strict=True):
        if "..." in term:
            extra = known_rank(node, x) - len(term.replace("...", ""))
            longest = max(longest, extra)
            term = term.replace("...", free[len(free) - extra :])
        labels.append(term)
    return labels, output.replace("...", free[len(free) - longest :])


def _unused(taken: Iterable[str]) -> str:
    used = set(taken)
    return "".join(letter for letter in string.ascii_letters if letter not in used)
