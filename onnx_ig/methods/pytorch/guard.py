"""Is the exported model still the function that is called? Asked of the values themselves, on every call.

The one idea: nothing that can be looked up (parameters, versions, closures) tells all that a function may depend on, so
its output is compared with the exported model's where the answer rests on it: at the inputs, at the baselines, between
them, and at other values of the inputs' range. Where the function reads its arguments into Python, which a trace
freezes, each example is also compared alone, at the call's own path points. Whether autograd's gradient still is the
derivative of what is computed is watched, since no value tells: a detached tensor has the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from onnx_ig.attribution.layout import ONE_EXAMPLE
from onnx_ig.common.arrays import to_array
from onnx_ig.common.types import Array
from onnx_ig.errors import InputError, ModelError
from onnx_ig.methods.bound import Outputs, Path
from onnx_ig.methods.pytorch.exports import Call, Export, Exports, as_tensor_like
from onnx_ig.pytorch.check import redrawn, tolerance
from onnx_ig.pytorch.decisions import Read, first_difference, recorded
from onnx_ig.pytorch.own_derivative import warn_of

_MOST_ALONE = 128  # evaluations of single examples in one call, unless each needs more to have its path seen at all
_LEAST_POINTS = 5
_MOST_TOGETHER = 1 << 14  # elements of the inputs: up to here one call of torch is faster than three
# Ten times the difference that rounding made before is another function, though the check of an export lets it pass.
_SUSPICIOUS, _ROUNDING = 10.0, 1e-5


@dataclass(frozen=True)
class _Compared:
    """The output of torch and of the exported model for the same values; ``where`` they lie."""

    where: str
    values: list[Tensor]
    torch: Tensor
    exported: Array


class TorchGuard:
    """Holds one call of a torch function, and its result, against the export that is to serve it."""

    def __init__(self, call: Call, result: Tensor, export: Export, exports: Exports) -> None:
        self._call, self._result, self._export, self._exports = call, result, export, exports

    def agrees(self, path: Path, nodes: Sequence[float], outputs: Outputs, rounding: float) -> bool:
        """Whether the exported model computes the function; if not, it is forgotten, and the next call has a new one.

        Args:
            path: the attributed inputs at a point of the path: 1 for the inputs, 0 for the baselines.
            nodes: the path points that the answer rests on; empty: on the inputs alone.
            outputs: of the exported model for such values, [N, ...].
            rounding: how far, relative to the largest output, the exported model's provider rounds.

        Raises:
            InputError: the function decides in Python from its data, and otherwise than it was traced.
            ModelError: it fails at these values, or a new export differs too.
        """
        made_now = self._export.noise is None
        deciding = [read for read in self._export.reads if read.arguments]
        if not made_now and not deciding and self._agrees_together(path, nodes, outputs, rounding):
            return True
        along = any(i < len(self._call.inputs) for read in deciding for i in read.arguments)
        try:
            compared = [self._compare(path(a), _where(a), outputs) for a in _points(self._call, nodes)]
            if not along and (further := self._compare_elsewhere(path(1.0), outputs)) is not None:
                compared.append(further)
        except ModelError:
            if made_now:
                raise
            self._exports.drop(self._export)
            return False
        worst, at = _largest_difference(compared)
        allowed, suspicious = self._allowed(compared, rounding)
        if not made_now and not worst <= min(suspicious, allowed):
            self._exports.drop(self._export)
            return False
        if not worst <= allowed:
            self._exports.drop(self._export)
            self._refuse(worst, at, deciding)
        self._export.noise = max(worst, self._export.noise or 0.0)
        if deciding:
            self._require_same_decisions(path, nodes if along else (), outputs, allowed, compared)
        if not made_now:  # making it says so itself
            warn_of(self._call.own_derivatives())
        return True

    def _agrees_together(self, path: Path, nodes: Sequence[float], outputs: Outputs, rounding: float) -> bool:
        """Whether one evaluation of all points but the inputs shows the same function; if not, each is asked alone."""
        call = self._call
        rows = all(call.per_example[: len(call.inputs)])
        if not rows or sum(x.numel() for x in call.inputs) > _MOST_TOGETHER:
            return False
        values = [path(a) for a in _points(call, nodes)]
        values.append(self._drawn(values[0]))
        fed = [self._fed(v) for v in values]
        try:
            results, own = call.evaluate_watched(fed[1:])
            exported = outputs(values)
        except (InputError, ModelError):
            return False
        if any(result.shape != self._result.shape for result in results):
            return False
        compared = [_Compared("", fed[0], torch.stack([self._result, *results]), np.stack(exported))]
        worst = _largest_difference(compared)[0]
        if not worst <= min(self._allowed(compared, rounding)):
            return False
        self._export.noise = max(worst, self._export.noise or 0.0)
        warn_of(own)
        return True

    def _allowed(self, compared: Sequence[_Compared], rounding: float) -> tuple[float, float]:
        """How far, relative to the largest output, the two may lie apart, and from where they are not the same."""
        tensors = [*self._call.fed, *(c.torch for c in compared)]
        allowed = max(tolerance(tensors, self._export.halves), rounding)
        return allowed, max(_SUSPICIOUS * max(self._export.noise or 0.0, rounding), _ROUNDING)

    def _compare(self, values: Mapping[str, Array], where: str, outputs: Outputs) -> _Compared:
        fed = self._fed(values)
        at_inputs = where == _where(1.0)
        return _Compared(where, fed, self._result if at_inputs else self._call.evaluate(fed), outputs([values])[0])

    def _compare_elsewhere(self, inputs: Mapping[str, Array], outputs: Outputs) -> _Compared | None:
        """At random values in the range of each input; None where the function does not take them."""
        try:
            return self._compare(self._drawn(inputs), "at other values in the range of the inputs", outputs)
        except InputError:
            return None

    def _drawn(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        generator = torch.Generator().manual_seed(len(inputs))
        drawn = {}
        for (name, array), given in zip(inputs.items(), self._call.inputs, strict=True):
            changes = given.is_floating_point() and array.size
            value = redrawn(as_tensor_like(array, given).cpu(), generator) if changes else given
            drawn[name] = to_array(value)
        return drawn

    def _fed(self, values: Mapping[str, Array]) -> list[Tensor]:
        given = self._call.fed
        moved = [as_tensor_like(value, like) for value, like in zip(values.values(), given, strict=False)]
        return [*moved, *given[len(moved) :]]

    def _refuse(self, worst: float, at: _Compared, deciding: Sequence[Read]) -> None:
        """Say why a new export differs."""
        again = self._call.evaluate(at.values)
        if not torch.allclose(again, at.torch, rtol=1e-5, atol=0, equal_nan=True):
            raise ModelError(
                f"the model's output {at.where} changes from one call to the next at the same values: it draws random "
                "numbers (dropout, torch.rand) or keeps a state, and attributions would be of neither call; make it "
                "deterministic: call .eval(), or draw the numbers beforehand and pass them"
            )
        if deciding:
            _refuse_decision(deciding[0], at.where, self._call)
        raise ModelError(
            f"the exported model differs from the model {at.where} by {worst:.2g} of the largest output, though it was "
            "exported for this call: something that the model depends on besides its arguments is not in its graph; "
            "export it to .onnx yourself, or give an nn.Module that holds all it needs"
        )

    def _require_same_decisions(
        self,
        path: Path,
        nodes: Sequence[float],
        outputs: Outputs,
        allowed: float,
        compared: Sequence[_Compared],
    ) -> None:
        """Each example alone, at the inputs and along ``nodes``: what is decided otherwise must not matter."""
        call, scale, known = self._call, _scale(compared), self._export.reads
        if call.examples == 1 and not len(nodes):
            return  # alone at the inputs is the call itself, which was compared
        rows = [slice(i, i + 1) for i in range(call.examples)] if call.takes_one_example() else [slice(None)]
        for a in [1.0, *_thinned(nodes, max(_LEAST_POINTS, _MOST_ALONE // max(len(rows), 1)))]:
            values = path(a)
            fed, exported = self._fed(values), outputs([values])[0]
            for row in rows:
                alone = call.rows(fed, row)
                with recorded(alone) as reads:
                    expected = call.evaluate(alone)
                if not _difference(expected.double().numpy(), exported[row].astype(np.float64)) <= allowed * scale:
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


def _points(call: Call, nodes: Sequence[float]) -> list[float]:
    if not len(nodes):
        return [1.0]
    return [1.0, 0.5, 0.0] if all(x.is_floating_point() for x in call.inputs) else [1.0, 0.0]


def _where(a: float) -> str:
    return {1.0: "at the inputs", 0.0: "at the baselines"}.get(a, f"at {a:.3g} of the path from baseline to input")


def _thinned(nodes: Sequence[float], most: int) -> Iterator[float]:
    chosen = np.unique(np.linspace(0, len(nodes) - 1, min(most, len(nodes))).round().astype(int)) if len(nodes) else ()
    return (float(nodes[i]) for i in chosen)


def _scale(compared: Sequence[_Compared]) -> float:
    """The largest finite output of torch."""
    values = [np.abs(c.torch.double().numpy()) for c in compared]
    return max([float(np.max(v, where=np.isfinite(v), initial=0.0)) for v in values] + [1e-12])


def _largest_difference(compared: Sequence[_Compared]) -> tuple[float, _Compared]:
    """Relative to the largest output, and where; infinite for another shape."""
    scale = _scale(compared)
    found = []
    for c in compared:
        found.append((_difference(c.torch.double().numpy(), c.exported.astype(np.float64)) / scale, c))
    return max(found, key=lambda pair: pair[0])


def _difference(wanted: Array, got: Array) -> float:
    """The largest, where torch's output is finite; infinite if the other is not, or has another size."""
    if wanted.size != got.size:  # an axis 0 of one may be the engine's own
        return np.inf
    judged = np.isfinite(wanted)
    gap = np.abs(got.reshape(wanted.shape) - wanted)[judged]
    return float(np.max(np.where(np.isnan(gap), np.inf, gap), initial=0.0))
