"""Is the exported model still the function that is called? Asked of the values themselves, on every call.

The one idea: nothing that can be looked up (parameters, versions, closures) tells all that a function may depend on, so
its output is compared with the exported model's where the answer rests on it: at the inputs, at the baselines, between
them, and at other values, in the inputs' range and beside the inputs, where another gradient shows. Where the function
reads its arguments into Python, which a trace freezes, each example is also compared alone, at the call's own path
points. Whether autograd's gradient still is the derivative of what is computed is watched, since no value tells: a
detached tensor has the same.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from onnx_ig.attribution.layout import ONE_EXAMPLE
from onnx_ig.common.arrays import to_array
from onnx_ig.common.types import Array
from onnx_ig.errors import InputError, ModelError, OutOfMemoryError
from onnx_ig.methods.bound import Chosen, Outputs, Path
from onnx_ig.methods.pytorch.compared import ROUNDING, Compared, Comparison
from onnx_ig.methods.pytorch.exports import Call, Export, Exports, as_tensor_like
from onnx_ig.pytorch.check import redrawn, tolerance
from onnx_ig.pytorch.decisions import Read, first_difference, recorded
from onnx_ig.pytorch.own_derivative import warn_of

_MOST_ALONE = 128  # evaluations of single examples in one call, unless each needs more to have its path seen at all
_LEAST_POINTS = 5
_MOST_TOGETHER = 1 << 14  # elements of the inputs: up to here one call of torch is faster than three
# Ten times the difference that rounding made before is another function, though the check of an export lets it pass.
_SUSPICIOUS = 10.0
_BETWEEN = 3  # points of the path between its ends
_FAR, _NEAR = 1.0, 0.1  # of the way from the inputs to other values in their range
_NOT_FINER = 80.0  # roundings of a type make up what its provider may be off


class _Asked(NamedTuple):
    """The arguments of :meth:`TorchGuard.agrees`."""

    path: Path
    nodes: Sequence[float]
    outputs: Outputs
    chosen: Chosen
    rounding: float


class TorchGuard:
    """Holds one call of a torch function, and its result, against the export that is to serve it."""

    def __init__(self, call: Call, result: Tensor, export: Export, exports: Exports) -> None:
        self._call, self._result, self._export, self._exports = call, result, export, exports

    def agrees(self, path: Path, nodes: Sequence[float], outputs: Outputs, chosen: Chosen, rounding: float) -> bool:
        """Whether the exported model computes the function; if not, it is forgotten, and the next call has a new one.

        Args:
            path: the attributed inputs at a point of the path: 1 for the inputs, 0 for the baselines.
            nodes: the path points that the answer rests on; empty: on the inputs alone.
            outputs: of the exported model for such values, [N, ...].
            chosen: the targets that are explained, from torch's output at the inputs.
            rounding: how far, relative to the largest output, the exported model's provider rounds.

        Raises:
            InputError: the function decides in Python from its data, and otherwise than it was traced; no such target.
            ModelError: it fails at these values, or a new export differs too.
        """
        asked = _Asked(path, nodes, outputs, chosen, rounding)
        made_now = self._export.noise is None
        deciding = [read for read in self._export.reads if read.arguments]
        if not made_now and not deciding and self._agrees_together(asked):
            return True
        along = any(i < len(self._call.inputs) for read in deciding for i in read.arguments)
        try:
            comparison = self._compared_apart(asked, _BETWEEN if made_now else 1, elsewhere=not along)
            agreed = self._agreed(comparison, rounding)
        except ModelError:
            if made_now:
                raise
            self._exports.drop(self._export)
            return False
        if agreed is not None:
            self._exports.drop(self._export)
            if not made_now:
                return False
            self._refuse(*agreed, deciding)
        if deciding:
            self._require_same_decisions(asked, nodes if along else (), comparison)
        if not made_now:  # making it says so itself
            warn_of(self._call.own_derivatives())
        return True

    def _agrees_together(self, asked: _Asked) -> bool:
        """Whether one evaluation of all points but the inputs shows the same function; if not, each is asked alone."""
        call = self._call
        rows = all(call.per_example[: len(call.inputs)])
        if not rows or sum(x.numel() for x in call.inputs) > _MOST_TOGETHER:
            return False
        points = _points(call, asked.nodes, _BETWEEN)
        values = [asked.path(a) for a in points]
        values += self._elsewhere(values[0], (_FAR, _NEAR))
        others = {name: np.concatenate([v[name] for v in values[1:]]) for name in values[0]}
        try:
            results, own = call.evaluate_watched(self._fed(others), len(values) - 1)
            exported = asked.outputs(values)
        except (InputError, ModelError, OutOfMemoryError):
            return False
        if results[0].shape != self._result.shape:
            return False
        where = [*map(_where, points), "at other values", "beside the inputs"]
        compared = [
            Compared(w, i < len(points), functools.partial(self._fed, v), t, e)
            for i, (w, v, t, e) in enumerate(zip(where, values, [self._result, *results], exported, strict=True))
        ]
        if self._agreed(self._comparison(compared, asked), asked.rounding) is not None:
            return False
        warn_of(own)
        return True

    def _agreed(self, comparison: Comparison, rounding: float) -> tuple[float, str, Compared] | None:
        """None where the two differ by rounding, whose size is kept; else by how much, of what, and where."""
        export, made_now = self._export, self._export.noise is None
        allowed = max(self._tolerance(comparison), rounding)
        fine = max(ROUNDING, _SUSPICIOUS * comparison.eps)
        limits = [
            allowed if made_now else min(allowed, max(_SUSPICIOUS * max(noise or 0.0, rounding), floor))
            for noise, floor in ((export.noise, ROUNDING), (export.noise_of_scores, fine))
        ]
        worst, at = comparison.of_outputs()
        if not worst <= limits[0]:
            return worst, "the largest output", at
        least = comparison.least if made_now else 2 * export.least
        found = comparison.of_scores(min(fine, limits[1]) if made_now else limits[1], least, finite_alone=not made_now)
        if not found.relative <= limits[1]:
            return found.relative, "what is explained", found.at
        export.noise = max(worst, export.noise or 0.0)
        export.noise_of_scores = max(found.relative, export.noise_of_scores)
        if made_now:
            export.least = found.passed
        return None

    def _tolerance(self, comparison: Comparison) -> float:
        return tolerance([*self._call.fed, *(c.torch for c in comparison.compared)], self._export.halves)

    def _comparison(self, compared: Sequence[Compared], asked: _Asked) -> Comparison:
        types = {x.dtype for x in self._call.fed if x.is_floating_point()} | self._export.halves | {torch.float32}
        eps = max(*(torch.finfo(t).eps for t in types), asked.rounding / _NOT_FINER)
        return Comparison(compared, asked.chosen, self._call.evaluate, eps)

    def _compared_apart(self, asked: _Asked, between: int, *, elsewhere: bool) -> Comparison:
        compared = []
        for a in _points(self._call, asked.nodes, between):
            values = asked.path(a)
            fed = self._fed(values)
            result = self._result if a == 1 else self._call.evaluate(fed)
            compared.append(
                Compared(_where(a), True, functools.partial(self._fed, values), result, asked.outputs([values])[0])
            )
        few = _FAR if len(asked.nodes) else _NEAR  # a gradient at the inputs rests on what is near
        distances = () if not elsewhere else (_FAR, _NEAR) if self._export.noise is None else (few,)
        for distance, values in zip(distances, self._elsewhere(asked.path(1.0), distances), strict=True):
            fed = self._fed(values)
            try:
                result = self._call.evaluate(fed)
            except InputError:  # the function does not take them
                continue
            where = "at other values in the range of the inputs" if distance == _FAR else "beside the inputs"
            compared.append(
                Compared(where, False, functools.partial(self._fed, values), result, asked.outputs([values])[0])
            )
        return self._comparison(compared, asked)

    def _elsewhere(self, inputs: Mapping[str, Array], distances: Sequence[float]) -> list[dict[str, Array]]:
        """Values at these parts of the way from the inputs to random ones in the range of each."""
        generator = torch.Generator().manual_seed(len(inputs))
        found: list[dict[str, Array]] = [{} for _ in distances]
        for (name, array), given in zip(inputs.items(), self._call.inputs, strict=True):
            tensor = as_tensor_like(array, given).cpu()
            other = redrawn(tensor, generator) if given.is_floating_point() and array.size else tensor
            for distance, values in zip(distances, found, strict=True):
                value = other if distance == _FAR or other is tensor else tensor + distance * (other - tensor)
                values[name] = to_array(value)
        return found

    def _fed(self, values: Mapping[str, Array]) -> list[Tensor]:
        given = self._call.fed
        moved = [as_tensor_like(value, like) for value, like in zip(values.values(), given, strict=False)]
        return [*moved, *given[len(moved) :]]

    def _refuse(self, worst: float, of: str, at: Compared, deciding: Sequence[Read]) -> None:
        """Say why a new export differs."""
        again = self._call.evaluate(at.fed())
        if not torch.allclose(again, at.torch, rtol=1e-5, atol=0, equal_nan=True):
            raise ModelError(
                f"the model's output {at.where} changes from one call to the next at the same values: it draws random "
                "numbers (dropout, torch.rand) or keeps a state, and attributions would be of neither call; make it "
                "deterministic: call .eval(), or draw the numbers beforehand and pass them"
            )
        if deciding:
            _refuse_decision(deciding[0], at.where, self._call)
        raise ModelError(
            f"the exported model differs from the model {at.where} by {worst:.2g} of {of}, though it was "
            "exported for this call: something that the model depends on besides its arguments is not in its graph; "
            "export it to .onnx yourself, or give an nn.Module that holds all it needs"
        )

    def _require_same_decisions(self, asked: _Asked, nodes: Sequence[float], comparison: Comparison) -> None:
        """Each example alone, at the inputs and along ``nodes``: what is decided otherwise must not matter."""
        call, known = self._call, self._export.reads
        allowed = max(self._tolerance(comparison), asked.rounding)
        if call.examples == 1 and not len(nodes):
            return  # alone at the inputs is the call itself, which was compared
        rows = [slice(i, i + 1) for i in range(call.examples)] if call.takes_one_example() else [slice(None)]
        for a in [1.0, *_thinned(nodes, max(_LEAST_POINTS, _MOST_ALONE // max(len(rows), 1)))]:
            values = asked.path(a)
            fed, exported = self._fed(values), asked.outputs([values])[0]
            for row in rows:
                alone = call.rows(fed, row)
                with recorded(alone) as reads:
                    expected = call.evaluate(alone)
                if not comparison.same_alone(row, expected, exported[row], allowed):
                    read = first_difference(reads, known) or next(read for read in known if read.arguments)
                    _refuse_decision(read, _where(a) + (f", for example {row.start}" if len(rows) > 1 else ""), call)
                if a == 1.0:
                    known = reads


def _refuse_decision(read: Read, where: str, call: Call) -> None:
    by_the_inputs = any(i < len(call.inputs) for i in read.arguments) and type(read.value) is not int
    if call.examples > 1 and (read.in_graph or not by_the_inputs):  # lengths, say, of which the longest counts
        raise InputError(
            f"the model mixes examples: {where} its output is another for one row alone than beside the others, by "
            f"what it makes of all of them at {read.place}. {ONE_EXAMPLE}"
        )
    raise InputError(
        f"the model decides in Python from its data ({read.place} reads {read.value!s:.40}), and {where} it decides "
        "otherwise than for the rest, which an exported graph cannot follow: write the decision as torch.where or "
        "torch.cond on tensors"
    )


def _points(call: Call, nodes: Sequence[float], between: int) -> list[float]:
    if not len(nodes):
        return [1.0]
    inner = [a for a in nodes if 0 < a < 1] if all(x.is_floating_point() for x in call.inputs) else []
    chosen = {int((k + 0.5) * len(inner) / between) for k in range(between)} if inner else set()
    return [1.0, *(float(inner[i]) for i in sorted(chosen)), 0.0]


def _where(a: float) -> str:
    return {1.0: "at the inputs", 0.0: "at the baselines"}.get(a, f"at {a:.3g} of the path from baseline to input")


def _thinned(nodes: Sequence[float], most: int) -> Iterator[float]:
    chosen = np.unique(np.linspace(0, len(nodes) - 1, min(most, len(nodes))).round().astype(int)) if len(nodes) else ()
    return (float(nodes[i]) for i in chosen)
