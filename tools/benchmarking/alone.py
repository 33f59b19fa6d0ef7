"""Peak memory, and what comes before the first explanation: each part in a process of its own.

The one idea: before it is measured a part runs once on a model of three weights, so that all that it imports, however
late, is there already; what remains is the model's. The inputs come from a file, so that no other part's work is left.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

import onnx_ig
from onnx_ig.common.types import Provider
from onnx_ig.errors import OnnxIgError
from onnx_ig.exporting.model_writer import write_model
from onnx_ig.runtime.providers import open_session
from tools.benchmarking.peers import captum_of
from tools.benchmarking.subjects import Subject, Tensors, subject
from tools.benchmarking.timing import BATCHES, PROVIDERS, Row, explained, refused
from tools.full_size import MODELS

_ROOT = Path(__file__).parent.parent.parent
_RUNS = 3  # full ones per call
_SMALL = """<ir_version: 8, opset_import: ["" : 18]> small (float[N, 3] x) => (float[N, 1] y)
<float[3, 1] w = {0.5, 1.0, 2.0}> { h = MatMul(x, w)  y = Tanh(h) }"""


@dataclass(frozen=True)
class Task:
    """What a part works on; ``module`` makes the torch module of the model in ``file``."""

    file: Path
    module: Callable[[], nn.Module] | None
    tensors: Tensors
    target: Any
    batch: int


def started(model: Subject, file: Path, folder: Path) -> Row:
    """Seconds and megabytes of exporting, and seconds of opening what was exported."""
    found: Row = {"file MB": file.stat().st_size / 2**20}
    taken = alone("export", model, file, folder)
    found |= {"export s": taken["seconds"], "export MB": taken["MB"]}
    step = folder / "step.onnx"
    onnx_ig.export(file, step, form="step", baselines="input")
    return found | {f"open {p}": alone(f"open {p}", model, step, folder)["seconds"] for p in PROVIDERS}


def memory(model: Subject, file: Path, folder: Path) -> Row:
    """Megabytes of each at each internal batch size, above the process that has run a small model."""
    sides = [*PROVIDERS, *(["captum"] if model.module else [])]
    taken = [{"batch": b, **{side: alone(side, model, file, folder, b)["MB"] for side in sides}} for b in BATCHES]
    return {"memory": taken}


def written(model: Subject, folder: Path) -> Path:
    """The forward model's file, made by a process of its own where there is none yet."""
    np.savez(folder / "inputs.npz", *(t.numpy() for t in model.inputs(1)))
    if model.file is not None:
        return model.file
    file = folder / "model.onnx"
    alone("write", model, file, folder)
    return file


def alone(part: str, model: Subject, file: Path, folder: Path, batch: int = 1) -> Row:
    """One of PARTS in a process of its own: its seconds, and its peak megabytes above what the imports take.

    A text in their place says why there are none.
    """
    architecture = model.name if model.module else None
    arguments = [part, architecture, model.size, str(file), str(folder / "inputs.npz"), model.target, batch]
    done = subprocess.run(
        [sys.executable, "-m", "tools.benchmarking.alone", json.dumps(arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=_ROOT,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _write(task: Task) -> None:
    """The forward model as a file."""
    assert task.module is not None
    x, *rest = (torch.cat([t, t]) for t in task.tensors)
    write_model(onnx_ig.load(task.module(), example_inputs=x, additional_forward_args=tuple(rest)).ir_model, task.file)


def _export(task: Task) -> None:
    """The attribution model of a file."""
    with tempfile.TemporaryDirectory() as folder:
        onnx_ig.export(task.file, Path(folder) / "attribution.onnx")


def _open(provider: Provider, task: Task) -> None:
    open_session(task.file, provider)


def _ours(provider: Provider, task: Task) -> None:
    _explain(task, onnx_ig.IntegratedGradients(task.file, provider=provider))


def _captum(task: Task) -> None:
    assert task.module is not None
    _explain(task, captum_of(task.module()))


def _explain(task: Task, method: Any) -> None:
    explained(task.tensors, task.target, _RUNS * task.batch, method, task.batch)


PARTS: dict[str, Callable[[Task], None]] = {
    "write": _write,
    "export": _export,
    **{f"open {p}": functools.partial(_open, p) for p in PROVIDERS},
    **{p: functools.partial(_ours, p) for p in PROVIDERS},
    "captum": _captum,
}


def main() -> None:
    """Run one of PARTS, twice: on the small model, and measured on the one that it is told."""
    part, architecture, size, file, inputs, target, batch = json.loads(sys.argv[1])
    warnings.simplefilter("ignore")
    module = None
    if architecture is not None:
        module = subject(architecture, size=size).module
        with torch.device("meta"):  # imports what it is built of, and makes no weights
            MODELS[architecture].build()
    tensors = tuple(torch.from_numpy(value) for value in np.load(inputs).values())
    task = Task(Path(file), module, tensors, tuple(target) if isinstance(target, list) else target, batch)
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.onnx"
        onnx.save(onnx.parser.parse_model(_SMALL), small)
        PARTS[part](Task(small, lambda: nn.Sequential(nn.Linear(3, 1), nn.Tanh()).eval(), (torch.ones(1, 3),), 0, 2))
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before, start = _megabytes("VmRSS"), time.perf_counter()
    try:
        PARTS[part](task)
    except OnnxIgError as error:
        print(json.dumps(dict.fromkeys(("seconds", "MB"), refused(error))))
        return
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "MB": _megabytes("VmHWM") - before}))


def _megabytes(field: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
