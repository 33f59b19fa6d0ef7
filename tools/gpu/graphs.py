"""One Run of the attribution model with its inputs and outputs at fixed addresses, with CUDA graphs on and off."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime

from tools.gpu.contenders import Setting
from tools.gpu.placement import opened, step_feeds, step_model
from tools.gpu.subjects import Subject
from tools.gpu.tables import FAILED, Row, attempt, ratio
from tools.gradient_table import take_turns

_ON, _OFF = "graph ms", "no graph ms"
_TOLERANCE = 1e-3  # the same kernels, which may add in another order


def graphs(subject: Subject, setting: Setting, rounds: int) -> Row:
    """Milliseconds of one Run without and with a CUDA graph, and whether their attributions agree."""
    off = _Bound(subject, setting, "0")
    expected = off.run()
    nodes = ir.traversal.RecursiveGraphIterator(ir.load(step_model(subject, setting.precision)).graph)
    loops = sorted({node.op_type for node in nodes} & {"If", "Loop", "Scan"})
    if loops:  # ONNX Runtime captures no model with control flow
        return {_OFF: 1000 * take_turns({_OFF: off.run}, rounds)[_OFF], _ON: f"none: {', '.join(loops)}"}
    on: Any = attempt(lambda: _Bound(subject, setting, "1"))
    found: Any = on if isinstance(on, str) else attempt(on.run)
    if isinstance(found, str):
        return {_OFF: 1000 * take_turns({_OFF: off.run}, rounds)[_OFF], _ON: found}
    seconds = take_turns({_OFF: off.run, _ON: on.run}, rounds)
    row: Row = {name: 1000 * value for name, value in seconds.items()}
    return row | {"no graph / graph": ratio(row[_OFF], row[_ON]), "same numbers": _compared(found, expected)}


def _compared(found: np.ndarray, expected: np.ndarray) -> str:
    if not np.isfinite(expected).any():
        return "none is finite"
    same = np.allclose(found, expected, rtol=0, atol=_TOLERANCE * np.nanmax(np.abs(expected)), equal_nan=True)
    return "yes" if same else f"{FAILED}they differ by more than {_TOLERANCE} of the largest"


class _Bound:
    """A session whose inputs and outputs stay where they are on the device, as a captured graph needs it."""

    def __init__(self, subject: Subject, setting: Setting, enabled: str) -> None:
        self._device = setting.device
        path = step_model(subject, setting.precision)
        plain, self._session = (opened(path, setting, enable_cuda_graph=flag) for flag in ("0", enabled))
        self._binding = self._session.io_binding()
        feeds = step_feeds(plain, subject, setting)
        names = [y.name for y in plain.get_outputs()]
        for name, array in feeds.items():
            self._binding.bind_ortvalue_input(name, self._value(array))
        for name, array in zip(names, plain.run(names, feeds), strict=True):
            self._binding.bind_ortvalue_output(name, self._value(np.zeros_like(array)))
        self.run()  # the first Runs choose kernels and capture the graph
        self.run()

    def run(self) -> np.ndarray:
        """One Run; the first output."""
        self._session.run_with_iobinding(self._binding)
        self._device.synchronize()
        return np.asarray(self._binding.copy_outputs_to_cpu()[0])

    def _value(self, array: np.ndarray) -> onnxruntime.OrtValue:
        return onnxruntime.OrtValue.ortvalue_from_numpy(array, self._device.kind, 0)
