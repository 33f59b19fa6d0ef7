"""Sizes and times on the pages about phones, browsers and microcontrollers: of the digits and of a MobileNet.

    python -m tools.device_table                               all of them, on this machine
    python -m tools.device_table litert c --write              these, into docs/devices

The one idea: each number is of a file that the page's own commands make, 20 path points of the predicted class; what
converts it is found where ``onnx-ig conform`` finds it.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

import onnx_ig
from onnx_ig.checking.runtimes import c, litert, web
from onnx_ig.checking.runtimes.base import Timed
from onnx_ig.common.types import Array
from onnx_ig.errors import MissingDependencyError
from onnx_ig.loading.model import Model, load
from tests.helpers.architectures.mobile import mobilenet_v3_small
from tests.helpers.node_runtime import node_path
from tools.full_size import FullSize

PAGES = Path(__file__).parents[1] / "docs" / "devices"
_DIGITS = Path(__file__).parents[1] / "models" / "digits_cnn"
_BEGIN, _END = "<!-- python -m tools.device_table {kind} --write -->", "<!-- end -->"
_STEPS = 20
_SECONDS, _FEWEST, _MOST = 5.0, 3, 200  # of one measurement


@dataclass(frozen=True)
class Cell:
    """``size``: what is carried to the device, in words; ``seconds``: the fastest run."""

    size: str
    seconds: float


@dataclass(frozen=True)
class Kind:
    """A page of docs/devices: what its sizes are of, what measures a model, and the version of what runs it."""

    page: str
    size: str
    measure: Callable[[Model, Mapping[str, Array], Path], Cell]
    version: Callable[[], str]


def _digits() -> tuple[Model, dict[str, Array]]:
    return load(_DIGITS / "digits_cnn.onnx"), {"image": np.load(_DIGITS / "seven.npy").astype(np.float32)}


def _mobilenet() -> tuple[Model, dict[str, Array]]:
    size = FullSize(mobilenet_v3_small, (3, 224, 224))
    (x,) = size.inputs(1)
    model = load(size.module(), example_inputs=(x,))
    return model, {str(model.inputs[0].name): x.numpy()}


SUBJECTS: dict[str, Callable[[], tuple[Model, dict[str, Array]]]] = {
    "digits, 1×8×8": functools.cache(_digits),
    "MobileNetV3-small, 3×224×224": functools.cache(_mobilenet),
}


def _exported(model: Model, inputs: Mapping[str, Array], folder: Path, **options: Any) -> Path:
    path = folder / "model.onnx"
    return onnx_ig.export(model, path, target="predicted", n_steps=_STEPS, example_inputs=dict(inputs), **options)


def _fastest(run: Callable[[], object]) -> float:
    """Seconds of the fastest of several runs."""
    run()
    taken: list[float] = []
    while len(taken) < _FEWEST or (sum(taken) < _SECONDS and len(taken) < _MOST):
        began = time.perf_counter()
        run()
        taken.append(time.perf_counter() - began)
    return min(taken)


def _bytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def _of_litert(model: Model, inputs: Mapping[str, Array], folder: Path) -> Cell:
    from ai_edge_litert.interpreter import Interpreter

    file = litert.convert(_exported(model, inputs, folder, for_runtime="litert"), folder)
    interpreter = Interpreter(model_content=file.read_bytes(), num_threads=1)
    runner = interpreter.get_signature_runner("serving_default")
    return Cell(_bytes(file.stat().st_size), _fastest(lambda: runner(**inputs)))


def _of_ort(model: Model, inputs: Mapping[str, Array], folder: Path) -> Cell:
    file = _exported(model, inputs, folder)
    subprocess.run(
        [sys.executable, "-m", "onnxruntime.tools.convert_onnx_models_to_ort", str(file)],
        check=True,
        capture_output=True,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(file.with_suffix(".ort")), options, providers=["CPUExecutionProvider"])
    size = file.with_suffix(".ort").stat().st_size
    return Cell(_bytes(size), _fastest(lambda: session.run(None, dict(inputs))))


def _of_web(model: Model, inputs: Mapping[str, Array], folder: Path) -> Cell:
    os.environ["NODE_PATH"] = node_path()
    file = _exported(model, inputs, folder)
    opened = web.RUNTIME.open(file)
    assert isinstance(opened, Timed)
    return Cell(_bytes(file.stat().st_size), min(opened.seconds(inputs, 1) for _ in range(5)))


def _of_c(model: Model, inputs: Mapping[str, Array], folder: Path) -> Cell:
    file = _exported(model, inputs, folder, for_runtime="c")
    source, code = folder / "model.c", folder / "model.o"
    c.write_c(file, source, "--large-temp-threshold", "0")
    subprocess.run(["gcc", "-Os", "-fstack-usage", "-c", source, "-o", code], check=True)
    sizes = subprocess.run(["size", code], check=True, capture_output=True, text=True).stdout.splitlines()[1].split()
    stack = max(int(line.split("\t")[1]) for line in code.with_suffix(".su").read_text("utf-8").splitlines())
    opened = c.RUNTIME.open(file)
    return Cell(f"{_bytes(int(sizes[0]))}; {_bytes(stack)}", _fastest(lambda: opened.run(inputs)))


KINDS = {
    "litert": Kind("litert.md", "the `.tflite` file", _of_litert, lambda: f"LiteRT {litert.RUNTIME.version()}"),
    "ort": Kind("onnxruntime-mobile.md", "the `.ort` file", _of_ort, lambda: f"ONNX Runtime {onnxruntime.__version__}"),
    "web": Kind("web.md", "the `.onnx` file", _of_web, lambda: f"onnxruntime-web {web.RUNTIME.version()} in Chromium"),
    "c": Kind("microcontroller.md", "code and constants; stack", _of_c, lambda: f"emx-onnx-cgen {c.RUNTIME.version()}"),
}


def measured(kind: str) -> str:
    """The table of a page, as Markdown.

    Raises:
        MissingDependencyError: what converts or runs the file is not installed.
    """
    page = KINDS[kind]
    lines = [f"| {_STEPS} path points | {page.size} | a run |", "|---|---|---|"]
    for name, subject in SUBJECTS.items():
        with tempfile.TemporaryDirectory(prefix="onnx_ig_") as folder:
            cell = page.measure(*subject(), Path(folder))
        lines.append(f"| {name} | {cell.size} | {_time(cell.seconds)} |")
    day = datetime.date.today().isoformat()
    note = f"{page.version()}, the fastest run on one core of an x86-64 server that others used too ({day})."
    return "\n".join([*lines, "", note])


def put(text: str, kind: str, table: str) -> str:
    """The page ``text`` with ``table`` between its two marks."""
    begin = _BEGIN.format(kind=kind)
    before, found, rest = text.partition(begin)
    _, also, after = rest.partition(_END)
    if not found or not also:
        raise ValueError(f"{KINDS[kind].page} has no place for the table: {begin} ... {_END}")
    return f"{before}{begin}\n\n{table}\n\n{_END}{after}"


def main() -> int:
    """Print the tables; exit status 1 if something is not installed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kinds", nargs="*", choices=[[], *KINDS], help="default: all")
    parser.add_argument("--write", action="store_true", help=f"into {PAGES}")
    options = parser.parse_args()
    failed = 0
    for kind in options.kinds or KINDS:
        try:
            table = measured(kind)
        except MissingDependencyError as error:
            print(f"{kind}: {error}", file=sys.stderr)
            failed = 1
            continue
        print(table, flush=True)
        if options.write:
            page = PAGES / KINDS[kind].page
            page.write_text(put(page.read_text("utf-8"), kind, table), "utf-8")
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
