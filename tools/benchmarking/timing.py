"""Seconds of Integrated Gradients: ours, the peers', and the limit of two forward passes per path point, in turns."""

from __future__ import annotations

import functools
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import onnx_ig
from onnx_ig.common.types import Provider
from onnx_ig.errors import OnnxIgError
from onnx_ig.runtime.session import Session
from tools.benchmarking.peers import captum_of, converted
from tools.benchmarking.subjects import Subject, Tensors
from tools.gradient_table import take_turns

Row = dict[str, Any]  # numbers; a text where there is none says why
Explain = Callable[..., torch.Tensor]
BATCHES = (4, 8, 16)
LEAST_SECONDS = 3.0  # that the longest call is measured; in fewer an LSTM's ratio varied by a quarter
PROVIDERS: tuple[Provider, ...] = ("cpu", "openvino")
_ALIKE = 0.99  # least cosine of a converted model's attributions to ours; float32 flips kinks, a wrong model far more


def measured(subject: Subject, file: Path, steps: int, rounds: int, examples: int, peer: bool = True) -> Row:
    """One model's seconds, and the cosines of the attributions to float64's; ``peer``: onnx2torch's too."""
    tensors = subject.inputs(examples)
    session = Session(file, "cpu")
    explain = functools.partial(explained, tensors, subject.target, steps)
    module = subject.module() if subject.module else None
    row: Row = {}
    calls: dict[str, Callable[[], Any]] = {}
    found: dict[str, torch.Tensor] = {}
    for provider in PROVIDERS:
        method = onnx_ig.IntegratedGradients(file, provider=provider)
        start = time.perf_counter()
        try:
            found[provider] = explain(method)
        except OnnxIgError as error:
            if provider == "cpu":  # nothing to compare with
                raise
            row[provider] = refused(error)
            continue
        row[f"{provider} first"] = time.perf_counter() - start
        calls[provider] = functools.partial(explain, method)
    if module is not None:
        theirs = captum_of(module)
        calls["captum"] = functools.partial(explain, theirs)
        calls |= {f"captum {b}": functools.partial(explain, theirs, b * examples) for b in BATCHES}
        found["captum"] = explain(theirs, BATCHES[0])
    theirs = _converted(explain, module, file, tensors, found["cpu"]) if peer else "–"
    if isinstance(theirs, str):
        row["onnx2torch"] = theirs
    else:
        calls |= {f"onnx2torch {b}": functools.partial(explain, theirs, b * examples) for b in BATCHES}
    batches = BATCHES if subject.free else (examples,)
    calls |= {f"forward {b}": functools.partial(session.run, _feeds(session, subject.inputs(b))) for b in batches}
    seconds = take_turns(calls, rounds, LEAST_SECONDS)
    row |= {name: seconds[name] for name in PROVIDERS if name in seconds}
    row |= {name: value for name in ("captum", "onnx2torch") if (value := _best(seconds, name)) is not None}
    row["captum default"] = seconds.get("captum")
    row["limit"] = 2 * steps * examples * min(seconds[f"forward {batch}"] / batch for batch in batches)
    if module is not None:
        reference = _reference(module, tensors, steps)
        row |= {f"{name} cosine": cosine(value, reference) for name, value in found.items()}
    return row


def explained(tensors: Tensors, target: Any, steps: int, method: Any, batch: int | None = None) -> torch.Tensor:
    """The attributions of the first tensor by ``method``, ours or Captum's."""
    keywords = {"target": target, "n_steps": steps, "internal_batch_size": batch}
    return torch.as_tensor(method.attribute(tensors[0], additional_forward_args=tensors[1:] or None, **keywords))


def refused(error: Exception) -> str:
    """Why there is no number."""
    return f"refused: {' '.join(str(error).split())[:110] or type(error).__name__}"


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    """Of the angle between two attributions."""
    return float(torch.nn.functional.cosine_similarity(a.flatten().double(), b.flatten().double(), dim=0))


def _converted(
    explain: Explain, module: nn.Module | None, file: Path, tensors: Tensors, right: torch.Tensor
) -> Any | str:
    """Captum on what onnx2torch makes of the model; a text if it makes nothing, or something else."""
    try:
        theirs = captum_of(converted(module, file, tensors))
        likeness = cosine(explain(theirs, BATCHES[0]), right)
    except subprocess.CalledProcessError:
        return "not installed"
    except Exception as error:  # whatever the exporter or onnx2torch raises is the cell's content
        return refused(error)
    return theirs if likeness > _ALIKE else f"refused: wrong (cosine {likeness:.3f})"


def _feeds(session: Session, tensors: Tensors) -> dict[str, Any]:
    return {name: tensor.numpy() for name, tensor in zip(session.input_names, tensors, strict=True)}


def _best(seconds: dict[str, float], of: str) -> float | None:
    return min((value for name, value in seconds.items() if name.split()[0] == of), default=None)


def _reference(module: nn.Module, tensors: Tensors, steps: int) -> torch.Tensor:
    """The attributions in float64, which flips no kinks."""
    wide = tuple(t.double() if t.is_floating_point() else t for t in tensors)
    return explained(wide, 0, steps, captum_of(module.double()), BATCHES[0])
