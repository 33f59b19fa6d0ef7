"""Seconds per example: a tolerance against Captum with its 50 steps, and with steps doubled until two results agree."""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable

import captum.attr
import torch
from torch import Tensor

import onnx_ig
from onnx_ig.errors import OnnxIgWarning
from tools.exactness.subjects import Subject

_MOST = 2048  # steps that doubling goes to
_EXAMPLES = 6


def timed(subject: Subject, tolerance: float) -> tuple[float, float, float]:
    """Median seconds of an example: ours at ``tolerance``, Captum's default, Captum doubling; taking turns."""
    ours = onnx_ig.IntegratedGradients(subject.network, provider="cpu")
    theirs = captum.attr.IntegratedGradients(subject.network)

    def adaptive(x: Tensor, target: int) -> object:
        return ours.attribute(x, subject.baseline, target, tolerance=tolerance)

    def default(x: Tensor, target: int) -> object:
        return theirs.attribute(x, subject.baseline, target=target)

    def doubling(x: Tensor, target: int) -> object:
        before, steps = theirs.attribute(x, subject.baseline, target=target, n_steps=8), 16
        while True:
            now = theirs.attribute(x, subject.baseline, target=target, n_steps=steps)
            if steps >= _MOST or float((now - before).abs().sum() / now.abs().sum()) <= tolerance:
                return now
            before, steps = now, 2 * steps

    ways: list[Callable[[Tensor, int], object]] = [adaptive, default, doubling]
    seconds: list[list[float]] = [[], [], []]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OnnxIgWarning)
        for i, x in enumerate(subject.inputs[: _EXAMPLES + 1].split(1)):
            with torch.no_grad():
                target = int(subject.network(x).argmax())
            for way, kept in zip(ways, seconds, strict=True):
                began = time.perf_counter()
                way(x, target)
                if i:  # the first opens the model
                    kept.append(time.perf_counter() - began)
    first, second, third = (statistics.median(kept) for kept in seconds)
    return first, second, third
