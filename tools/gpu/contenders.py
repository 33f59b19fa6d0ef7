"""Integrated Gradients by either side, as a function of the internal batch size.

Ours takes and gives tensors in the host's memory and pays for the transfer; Captum's stay on the GPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.utils import counters

import onnx_ig
from onnx_ig.errors import OutOfMemoryError
from tools.gpu.device import Device
from tools.gpu.subjects import Subject

Explain = Callable[[int | None], Tensor]


@dataclass(frozen=True)
class Setting:
    """What both sides are told alike."""

    device: Device
    steps: int
    precision: str = "fp32"
    examples: int = 1
    layout: str = "contiguous"


def ours(subject: Subject, setting: Setting) -> Explain:
    """This package, in ONNX Runtime."""
    providers = setting.device.providers(setting.precision, setting.layout)
    method = onnx_ig.IntegratedGradients(subject.file(setting.precision), provider=tuple(providers))
    x, *extra = subject.inputs(setting.examples, setting.precision)

    def explain(batch: int | None) -> Tensor:
        keywords: dict[str, Any] = {"target": 0, "n_steps": setting.steps, "internal_batch_size": batch}
        return torch.as_tensor(method.attribute(x, additional_forward_args=tuple(extra) or None, **keywords))

    return explain


def captum(subject: Subject, setting: Setting, *, compiled: bool = False) -> Explain:
    """Captum on torch, eager or through ``torch.compile``."""
    from captum.attr import IntegratedGradients

    device, half = setting.device, setting.precision == "fp16"
    memory = torch.channels_last if setting.layout == "channels_last" else torch.contiguous_format
    module = subject.module().to(device.kind, torch.float16 if half else torch.float32)
    if subject.is_picture:
        module = module.to(memory_format=memory)
    tensors = [t.to(device.kind) for t in subject.inputs(setting.examples, setting.precision)]
    x = tensors[0].contiguous(memory_format=memory) if subject.is_picture else tensors[0]
    torch.compiler.reset()  # after a few modules of one class it would go on uncompiled, without a word
    counters.clear()
    method = IntegratedGradients(torch.compile(module, dynamic=False) if compiled else module)

    def explain(batch: int | None) -> Tensor:
        device.set_precision(setting.precision)
        keywords = {"target": 0, "n_steps": setting.steps, "internal_batch_size": batch}
        found = method.attribute(x, additional_forward_args=tuple(tensors[1:]) or None, **keywords)
        device.synchronize()
        return torch.as_tensor(found)

    return explain


def batches(examples: int) -> tuple[int, int]:
    """The internal batch sizes tried: several examples ride together, or one with many path points."""
    return max(16, examples), max(48, 4 * examples)


def best_batch(explain: Explain, tried: Sequence[int | None]) -> int | None:
    """The fastest of the batch sizes ``tried`` that fit in memory, by one call each after another.

    Raises:
        OutOfMemoryError: none fits.
    """
    seconds: dict[int | None, float] = {}
    for batch in tried:
        try:
            explain(batch)
            start = time.perf_counter()
            explain(batch)
        except (OutOfMemoryError, torch.OutOfMemoryError):
            torch.cuda.empty_cache()
            continue
        seconds[batch] = time.perf_counter() - start
    if not seconds:
        raise OutOfMemoryError(f"no internal batch of {tried} fits in the device's memory")
    return min(seconds, key=seconds.__getitem__)
