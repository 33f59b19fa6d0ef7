"""How the cost grows with path points, examples and the input's size: seconds, and the straight line through them."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import onnx_ig
from tools.benchmarking.alone import written
from tools.benchmarking.subjects import Subject, subject
from tools.benchmarking.timing import LEAST_SECONDS, Row, explained
from tools.gradient_table import take_turns

STEPS = (12, 24, 48, 96, 192)
EXAMPLES = (1, 2, 4, 8)
FIXED_STEPS = 24
SIZES = {"ResNet-50": (112, 160, 224), "MobileNetV3": (112, 160, 224), "LSTM": (16, 32, 64)}


def grown(name: str, data: Path | None, rounds: int) -> Iterator[Row]:
    """A row for each of what grows: seconds by value, cost of one more unit, and the largest deviation."""
    model = subject(name, data)
    with tempfile.TemporaryDirectory() as folder:
        method = onnx_ig.IntegratedGradients(written(model, Path(folder)), provider="cpu")
        calls = {steps: _call(method, model, 1, steps) for steps in STEPS}
        yield _row(model.name, "steps", "path point", calls, {steps: steps for steps in STEPS}, rounds)
        if model.free:
            calls = {n: _call(method, model, n, FIXED_STEPS) for n in EXAMPLES}
            points = {n: n * FIXED_STEPS for n in EXAMPLES}
            yield _row(model.name, "examples", "path point", calls, points, rounds)
    if name in SIZES:
        yield _by_size(name, rounds)


def straight_line(x: list[float], seconds: list[float]) -> tuple[float, float]:
    """Slope of the line that is nearest in relative terms, and the largest relative deviation from it."""
    t = np.array(seconds)
    slope, start = np.polyfit(x, t, 1, w=1 / t)
    return float(slope), float(np.abs((start + slope * np.array(x)) / t - 1).max())


def _by_size(name: str, rounds: int) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        calls, units = {}, {}
        for size in SIZES[name]:
            model = subject(name, size=size)
            (place := Path(folder) / str(size)).mkdir()
            method = onnx_ig.IntegratedGradients(written(model, place), provider="cpu")
            calls[size] = _call(method, model, 1, FIXED_STEPS)
            units[size] = FIXED_STEPS * model.inputs(1)[0].numel() / 1000
        return _row(name, "input size", "path point and 1000 elements", calls, units, rounds)


def _call(method: Any, model: Subject, examples: int, steps: int) -> Callable[[], Any]:
    return functools.partial(explained, model.inputs(examples), model.target, steps, method)


def _row(
    name: str, what: str, unit: str, calls: dict[int, Callable[[], Any]], units: Mapping[int, float], rounds: int
) -> Row:
    taken = take_turns({str(value): call for value, call in calls.items()}, rounds, LEAST_SECONDS)
    slope, deviation = straight_line([units[value] for value in calls], list(taken.values()))
    return {"model": name, "grows": what, "seconds": taken, "unit": unit, "slope": slope, "deviation": deviation}
