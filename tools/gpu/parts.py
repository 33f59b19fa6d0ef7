"""What is measured of one model in one case: each function gives the columns of one row."""

from __future__ import annotations

import functools
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.utils import counters

from onnx_ig.checking.reference import integrated_gradients
from tools.gpu.contenders import Explain, Setting, batches, best_batch, captum, ours
from tools.gpu.subjects import Subject
from tools.gpu.tables import FAILED, Row, attempt, ratio
from tools.gradient_table import take_turns

# Largest 1 − cosine to float64; what the precision alone costs, as Captum shows, is not held against us.
_TOLERANCE = {"fp32": 1e-3, "tf32": 1e-2, "fp16": 1e-2}
_SHARE_OF_CAPTUMS = 4.0
_MEGABYTE = 2**20
_ROOT = Path(__file__).parent.parent.parent


def correctness(subject: Subject, setting: Setting) -> Row:
    """Both sides against the torch reference in float64."""
    exact = _exact(subject, setting)
    found = ours(subject, setting)(None).cpu().double()
    theirs = attempt(lambda: captum(subject, setting)(None).cpu().double())
    row: Row = {"relative error": _relative_error(found, exact), "cosine": _cosine(found, exact)}
    allowed = _TOLERANCE[setting.precision]
    if isinstance(theirs, Tensor):
        row |= {"Captum's error": _relative_error(theirs, exact), "Captum's cosine": _cosine(theirs, exact)}
        allowed = max(allowed, _SHARE_OF_CAPTUMS * (1 - row["Captum's cosine"]))
    else:
        row["Captum's error"] = theirs
    if 1 - row["cosine"] <= allowed:  # False for NaN
        return row | {"verdict": "right"}
    if math.isnan(row.get("Captum's cosine", 0.0)):
        return row | {"verdict": f"the model overflows in {setting.precision}, in torch too"}
    return row | {"verdict": f"{FAILED}1 − cosine is above {allowed:.1e}"}


def _exact(subject: Subject, setting: Setting) -> Tensor:
    setting.device.set_precision("fp32")
    module = subject.module().eval().to(setting.device.kind)
    x, *extra = (t.to(setting.device.kind) for t in subject.inputs(setting.examples))
    found, _ = integrated_gradients(
        module, x, target=0, additional_forward_args=tuple(extra), n_steps=setting.steps, dtype=torch.float64
    )
    return found[0].cpu()


def _relative_error(found: Tensor, exact: Tensor) -> float:
    """‖a − b‖ / ‖b‖."""
    return float((found - exact).norm() / exact.norm())


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0))


def speed(subject: Subject, setting: Setting, rounds: int, with_compiled: bool) -> Row:
    """Seconds of each side with its best internal batch, in turn; ours also with its own choice."""
    makers: dict[str, Any] = {"ours": ours, "eager": captum}
    if with_compiled:
        makers["compiled"] = functools.partial(captum, compiled=True)
    calls: dict[str, Any] = {}
    row: Row = {}
    tried: tuple[int | None, ...] = batches(setting.examples)
    for name, make in makers.items():
        chosen = attempt(lambda: _ready(make(subject, setting), tried))  # noqa: B023  (called at once)
        if isinstance(chosen, str):
            row[f"{name} s"] = chosen
            continue
        if name == "compiled" and not counters["stats"]["unique_graphs"]:
            row[f"{name} s"] = "none: torch.compile left the model as it is"  # recurrent layers, say
            continue
        explain, batch = chosen
        calls[f"{name} s"] = functools.partial(explain, batch)
        row[f"{name} batch"] = batch
        if name == "ours":
            calls["ours, own choice s"] = functools.partial(explain, None)
        if name == "eager":
            tried = (batch,)  # compiling for each would take minutes
    row |= take_turns(calls, rounds)
    columns = ["ours s", "ours, own choice s", *(f"{name} s" for name in makers if name != "ours")]
    ratios = {f"{name} / ours": ratio(row.get(f"{name} s"), row.get("ours s")) for name in makers if name != "ours"}
    chosen_batches = {name: row[name] for name in row if name.endswith("batch")}
    return {name: row.get(name, "") for name in columns} | ratios | chosen_batches


def _ready(explain: Explain, tried: tuple[int | None, ...]) -> tuple[Explain, int | None]:
    return explain, best_batch(explain, tried)


def memory(subject: Subject, setting: Setting) -> Row:
    """Peak megabytes of each side at one internal batch, in a process of its own, weights included.

    Ours is what the GPU's memory in use grew by: ONNX Runtime's arena, which takes more than it needs, and its
    libraries' workspace. Captum's is the most that its tensors held.
    """
    subject.file(setting.precision)
    found = {f"{side} MB": attempt(functools.partial(_alone, side, subject, setting)) for side in SIDES}
    return found | {"ours / eager": ratio(found["ours MB"], found["eager MB"])}


def _alone(side: str, subject: Subject, setting: Setting) -> float:
    command = [sys.executable, "-m", "tools.gpu_check", "--alone", side]
    command += ["--folder", str(subject.folder), "--models", subject.name]
    command += ["--provider", setting.device.kind, "--precisions", setting.precision, "--steps", str(setting.steps)]
    command += ["--examples", str(setting.examples), "--layouts", setting.layout]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=_ROOT, env=environment)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    return float(json.loads(done.stdout.splitlines()[-1]))


SIDES = {"ours": ours, "eager": captum}


def peak_alone(side: str, subject: Subject, setting: Setting) -> float:
    """In a process of its own: the megabytes that one call of ``side`` takes above what the process had."""
    device = setting.device
    torch.zeros(1, device=device.kind)  # the context of the GPU is not counted
    before = device.bytes_in_use()
    SIDES[side](subject, setting)(batches(setting.examples)[0])
    if side == "eager" and device.kind == "cuda":
        return torch.cuda.max_memory_allocated() / _MEGABYTE
    return (device.bytes_in_use() - before) / _MEGABYTE
