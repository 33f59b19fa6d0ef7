"""Seconds of a call: a tolerance against Captum with its 50 steps, with as many as the same error takes, and doubling.

The one idea: all ways take turns on the same examples, so that what else the machine does meets all of them.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import captum.attr
import numpy as np
import torch
from torch import Tensor

import onnx_ig
from onnx_ig.errors import OnnxIgWarning
from tools.exactness.measures import ORACLES, REFERENCE, errors
from tools.exactness.subjects import Subject

_MOST = 2048  # steps that doubling goes to
_TURNS = 7  # the first of which opens models


@dataclass(frozen=True)
class Times:
    """Median seconds of a call.

    Attributes:
        ours: with the tolerance; ``default``: Captum's with 50 steps.
        equal: Captum's with ``steps``, the fewest whose mean error over the examples is as small as ours.
        doubling: Captum's steps doubled from 8 until two results in a row agree within the tolerance.
    """

    examples: int
    ours: float
    default: float
    equal: float
    doubling: float
    steps: int

    def line(self, name: str, tolerance: float) -> str:
        """All numbers in words."""
        return (
            f"{name}, {self.examples} example(s) in a call: {1e3 * self.ours:.1f} ms at {100 * tolerance:g} %; Captum "
            f"{1e3 * self.default:.1f} ms at 50 steps ({self.default / self.ours:.2f} times as long), "
            f"{1e3 * self.equal:.1f} ms at {self.steps} steps, for the same error ({self.equal / self.ours:.2f}), "
            f"{1e3 * self.doubling:.1f} ms doubling ({self.doubling / self.ours:.2f})"
        )


def timed(subject: Subject, tolerance: float, examples: int) -> Times:
    """Calls with so many of the ``subject``'s examples at once: the same ones in all turns if that is all of them."""
    ours = onnx_ig.IntegratedGradients(subject.network, provider="cpu")
    theirs = captum.attr.IntegratedGradients(subject.network)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OnnxIgWarning)
        steps = _as_exact(ours, subject, tolerance)

        def doubling(x: Tensor, target: Tensor) -> object:
            before, count = theirs.attribute(x, subject.baseline, target, n_steps=8), 16
            while True:
                now = theirs.attribute(x, subject.baseline, target, n_steps=count)
                change = (now - before).abs().flatten(1).sum(1) / now.abs().flatten(1).sum(1)
                if count >= _MOST or float(change.max()) <= tolerance:
                    return now
                before, count = now, 2 * count

        ways: list[Callable[[Tensor, Tensor], object]] = [
            lambda x, target: ours.attribute(x, subject.baseline, target, tolerance=tolerance),
            lambda x, target: theirs.attribute(x, subject.baseline, target),
            lambda x, target: theirs.attribute(x, subject.baseline, target, n_steps=steps),
            doubling,
        ]
        seconds: list[list[float]] = [[] for _ in ways]
        parts = subject.inputs.split(examples)
        for turn in range(_TURNS):
            x = parts[turn % len(parts)]
            with torch.no_grad():
                target = subject.network(x).argmax(dim=1)
            for way, kept in zip(ways, seconds, strict=True):
                began = time.perf_counter()
                way(x, target)
                if turn:
                    kept.append(time.perf_counter() - began)
    spent, default, equal, doubled = (statistics.median(kept) for kept in seconds)
    return Times(examples, spent, default, equal, doubled, steps)


def _as_exact(method: onnx_ig.IntegratedGradients, subject: Subject, tolerance: float) -> int:
    """The fewest Gauss–Legendre steps whose mean error is as small as that of the tolerance; at most 1,024."""
    x, reference = subject.inputs, "gausslegendre" if subject.smooth else "riemann_middle"
    found = method.attribute(x, subject.baseline, "predicted", n_steps=REFERENCE, method=reference)  # type: ignore[call-overload]
    true = found.numpy().astype(np.float64)
    adaptive = method.attribute(x, subject.baseline, "predicted", tolerance=tolerance)
    enough = errors(adaptive.numpy(), true).mean()
    for steps in (*ORACLES, 320, 384, 512, 768):
        fixed = method.attribute(x, subject.baseline, "predicted", n_steps=steps)
        if errors(fixed.numpy(), true).mean() <= enough:
            return steps
    return 1024
