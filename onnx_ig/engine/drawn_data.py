"""Values for a model's inputs where nobody gives any: drawn within what the model says of them.

The one idea: a drawn value is a guess that a model may refuse, never a reason to call the model wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from onnx_ig.attribution import contract as names
from onnx_ig.attribution.contract import Contract
from onnx_ig.common.types import Array
from onnx_ig.errors import InputError
from onnx_ig.graph.declared import InputSpec, kind_of
from onnx_ig.quadrature import path_nodes_and_weights

Floats: TypeAlias = Callable[[np.random.Generator, Sequence[int]], Array]
_GIVE = "give it with --example-input NAME=FILE (example_inputs=)"


def normal(rng: np.random.Generator, shape: Sequence[int]) -> Array:
    """Standard normal values."""
    return rng.standard_normal(shape)


def positive(rng: np.random.Generator, shape: Sequence[int]) -> Array:
    """Values in [0.1, 1): where square roots and logarithms are finite as well."""
    return rng.uniform(0.1, 1, shape)


def drawn(
    specs: Sequence[InputSpec],
    rng: np.random.Generator,
    *,
    rows: int,
    size: int | None = None,
    floats: Floats = normal,
    whole: int | None = None,
    sizes: Mapping[str, int] | None = None,
    words: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Array]:
    """An array for each input: floats as ``floats`` draws them, whole numbers 0 and 1, which every table of ids has.

    Args:
        rows: the size of an open axis 0; axes of one name have one size.
        size: of further open axes.
        whole: the number that all whole numbers are, instead of 0 and 1 at random.
        sizes: of axes by their names, where other values have them already.
        words: texts to choose from, by the input's name.

    Raises:
        InputError: no rank, an open axis without ``size``, or text without words.
    """
    values: dict[str, Array] = {}
    named = {spec.shape[0]: rows for spec in specs if spec.shape and isinstance(spec.shape[0], str)} | dict(sizes or {})
    for spec in specs:
        kind, known = kind_of(spec.dtype), (words or {}).get(spec.name, ())
        shape = [_size(d, axis, rows, size, named) for axis, d in enumerate(spec.shape or ())]
        sure = [d for d in shape if d is not None]
        if spec.shape is None or len(sure) < len(shape) or (kind in "OU" and not known):
            what = f"{'text' if kind in 'OU' else spec.dtype.name} {spec.describe_shape()}"
            raise InputError(f"no values can be drawn for input {spec.name!r} ({what}): {_GIVE}")
        if kind in "OU":
            values[spec.name] = rng.choice(np.array(known, object), sure)
        else:
            low, high = (0, 2) if whole is None else (whole, whole + 1)
            found = floats(rng, sure) if kind == "f" else rng.integers(low, high, sure)
            values[spec.name] = np.asarray(found, dtype=spec.dtype)
    return values


def perhaps_rows(specs: Sequence[InputSpec], per_row: Collection[str], rows: int) -> dict[str, int]:
    """``rows`` as the size of axes that may hold a row per example though they are not first: of other inputs' own."""
    of_rows = {d for x in specs if x.name in per_row for d in x.shape or ()}
    further = (d for x in specs if x.name not in per_row for d in (x.shape or ())[1:])
    return {d: rows for d in further if isinstance(d, str) and d not in of_rows}


def _size(declared: int | str | None, axis: int, rows: int, size: int | None, named: Mapping[str, int]) -> int | None:
    if isinstance(declared, int):
        return declared
    if declared is not None and declared in named:
        return named[declared]
    return rows if axis == 0 else size


def known_words(x: ir.Value) -> list[str]:
    """Texts that the operators know which read the text ``x``: their categories, keys or vocabulary."""
    for node in (use.node for use in x.uses()):
        for attribute in node.attributes.values():
            if attribute.type == ir.AttributeType.STRINGS and attribute.as_strings():
                return [str(word) for word in attribute.as_strings()]
        for y in node.outputs:
            if y.dtype in (None, ir.DataType.STRING) and (found := known_words(y)):
                return found
    return []


def own_inputs(contract: Contract) -> list[InputSpec]:
    """The source model's own inputs, as an attribution model declares them."""
    own = [entry for entry in contract.inputs if entry.role in ("attributed", "per_example", "shared")]
    return [InputSpec(x.name, np.dtype(ir.DataType[x.dtype.upper()].numpy()), tuple(x.shape)) for x in own]


def with_the_rest(
    contract: Contract, own: Mapping[str, Array], rng: np.random.Generator, *, points: int
) -> dict[str, Array]:
    """What an attribution model is fed for the values ``own`` of the source model's inputs, in its order.

    Targets are 0 and 1 in turn, baselines near zero (of ids: those of other examples), the path has ``points`` points.
    """
    feeds = dict(own)
    rows = len(feeds[contract.named("attributed")[0]]) if contract.layout != "none" else 1
    declared = next((entry.shape[0] for entry in contract.inputs if entry.role == "path"), None)
    nodes, weights = path_nodes_and_weights("gausslegendre", declared if isinstance(declared, int) else points)
    for entry in contract.inputs:
        dtype, bare = ir.DataType[entry.dtype.upper()].numpy(), entry.name.removeprefix(contract.prefix)
        if entry.role == "target":
            behind = [d for d in entry.shape[1:] if isinstance(d, int)]
            feeds[entry.name] = np.resize(np.arange(rows, dtype=np.int64), (rows, *behind)) % 2
        elif entry.role == "baseline":
            x = feeds[bare.removeprefix(names.BASELINE)]
            shape = (1, *x.shape[1:]) if contract.layout == "batched" else x.shape
            floating = kind_of(np.dtype(dtype)) == "f"
            feeds[entry.name] = (0.1 * rng.standard_normal(shape) if floating else np.resize(x[::-1], shape)).astype(
                dtype
            )
        elif entry.role == "path":
            feeds[entry.name] = (nodes if bare == names.PATH_NODES else weights).astype(dtype)
    return {entry.name: feeds[entry.name] for entry in contract.inputs}
