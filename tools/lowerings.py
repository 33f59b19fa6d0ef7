"""Time the ways of writing a gradient that were chosen between, in ONNX Runtime and in OpenVINO on the CPU.

    python -m tools.lowerings [--rounds N] [--write]

Each choice is a small graph in several forms, which are checked to agree. ``--write`` saves tools/results/lowerings.md.
"""

from __future__ import annotations

import argparse
import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import onnx
import onnx.parser

import onnx_ig
from onnx_ig.runtime.openvino_session import OpenVinoSession
from onnx_ig.runtime.session import Session
from tools.gradient_table import take_turns

RESULTS = Path(__file__).parent / "results" / "lowerings.md"
Arrays = Mapping[str, np.ndarray]
_RNG = np.random.default_rng(0)


def _random(*shape: int) -> np.ndarray:
    return (0.05 * _RNG.standard_normal(shape)).astype(np.float32)


@dataclass(frozen=True)
class Choice:
    """One decision: the forms by name (nodes in ONNX's text form, from the inputs and constants to y), and why."""

    title: str
    inputs: Arrays
    forms: Mapping[str, str]
    why: str
    constants: Arrays = field(default_factory=dict)


def _phases(w: np.ndarray) -> np.ndarray:
    """A kernel [M, C, 3, 3] of stride 2 and padding 1 as one of stride 1 that gives each output's four phases."""
    taps = ((1, None), (2, 0))  # of the kernel, for the even and the odd places of an axis
    made = np.zeros((w.shape[1], 2, 2, w.shape[0], 2, 2), np.float32)
    for a, b, u, v in np.ndindex(2, 2, 2, 2):
        i, j = taps[a][u], taps[b][v]
        if i is not None and j is not None:
            made[:, a, b, :, u, v] = w[:, :, i, j].T
    return made.reshape(-1, w.shape[0], 2, 2)


_ZERO, _ONE, _HALF = (np.array(value, np.float32) for value in (0, 1, 0.5))
_ROOT = np.sqrt(np.array(2, np.float32))
_KERNEL, _POINT = _random(128, 128, 3, 3), [_random(64, 64, 1, 1) for _ in range(3)]
_BETWEEN = "c = Conv (x, w1) r = Relu (c) d = Conv (dy, w2) {} y = Conv (e, w3)"
_POOL = "MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]> (x)"
_ERF = "a = Div (x, root) b = Erf (a) p = Add (b, one) "

CHOICES = (
    Choice(
        "ReLU's mask between convolutions, [8, 64, 56, 56]",
        {"x": _random(8, 64, 56, 56), "dy": _random(8, 64, 56, 56)},
        {
            "Greater, Cast": _BETWEEN.format("g = Greater (r, zero) m = Cast <to = 1> (g) e = Mul (d, m)"),
            "HardSigmoid": _BETWEEN.format("m = HardSigmoid <alpha = 3e38, beta = 0.0> (r) e = Mul (d, m)"),
            "Where": _BETWEEN.format("g = Greater (r, zero) e = Where (g, d, zero)"),
            "Sign": _BETWEEN.format("m = Sign (r) e = Mul (d, m)"),
        },
        "HardSigmoid in our ONNX Runtime sessions on CPU, where it stays in the convolutions' blocked layout; in files "
        "the first: OpenVINO has the second wrong, and a runtime in float16 would make 0 · ∞ of the slope.",
        {"zero": _ZERO, **{f"w{i}": w for i, w in enumerate(_POINT, 1)}},
    ),
    Choice(
        "Conv of stride 1 backwards, 3×3, 128 channels, [8, 128, 28, 28]",
        {"dy": _random(8, 128, 28, 28)},
        {
            "rotated Conv": "y = Conv <pads = [1, 1, 1, 1]> (dy, rotated)",
            "ConvTranspose": "y = ConvTranspose <pads = [1, 1, 1, 1]> (dy, w)",
        },
        "The rotated Conv: the blocked kernels of ONNX Runtime are for Conv alone.",
        {"w": _KERNEL, "rotated": np.ascontiguousarray(_KERNEL.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1])},
    ),
    Choice(
        "Conv of stride 2 backwards, 3×3, 128 channels, [8, 128, 28, 28]",
        {"dy": _random(8, 128, 28, 28)},
        {
            "ConvTranspose": """y = ConvTranspose
                <pads = [1, 1, 1, 1], strides = [2, 2], output_padding = [1, 1]> (dy, w)""",
            "phases": """p = Conv <pads = [0, 0, 1, 1]> (dy, phases)
                y = DepthToSpace <blocksize = 2, mode = "CRD"> (p)""",
        },
        "ConvTranspose: the phases' kernel is 16/9 as large, its missing taps being zeros.",
        {"w": _KERNEL, "phases": _phases(_KERNEL)},
    ),
    Choice(
        "MaxPool backwards, 3×3 of stride 2, [8, 64, 112, 112]",
        {"x": _random(8, 64, 112, 112), "dy": _random(8, 64, 56, 56)},
        {
            "equal to the largest": "",  # what differentiate makes
            "Indices, ScatterElements": f"""m, i = {_POOL}
                flat = Reshape (dy, all) places = Reshape (i, all) zeros = Expand (zero, count)
                sums = ScatterElements <axis = 0, reduction = "add"> (zeros, places, flat) s = Shape (x)
                y = Reshape (sums, s)""",
        },
        "Comparisons: ScatterElements runs on one thread, and OpenVINO's MaxPool with Indices is its reference kernel.",
        {"zero": _ZERO, "all": np.array([-1]), "count": np.array([8 * 64 * 112 * 112])},
    ),
    Choice(
        "GELU forwards, [8, 128, 3072]",
        {"x": _random(8, 128, 3072)},
        {
            "x · (½ · (1 + erf))": _ERF + "q = Mul (half, p) y = Mul (x, q)",
            "(x · ½) · (1 + erf)": _ERF + "q = Mul (x, half) y = Mul (q, p)",
        },
        "The second: ONNX Runtime fuses it to one operator, and not torch's, the first.",
        {"root": _ROOT, "one": _ONE, "half": _HALF},
    ),
    Choice(
        "MatMul backwards, [8, 128, 3072] by the transpose of [768, 3072]",
        {"dy": _random(8, 128, 3072)},
        {
            "transposed constant": "t = Transpose <perm = [1, 0]> (w) y = MatMul (dy, t)",
            "Gemm": "f = Reshape (dy, rows) g = Gemm <transB = 1> (f, w) y = Reshape (g, back)",
        },
        "The first, which is as fast and keeps every number of axes; our ONNX Runtime sessions on CPU make FusedMatMul "
        "of it, which needs no second copy of the weight.",
        {"w": _random(768, 3072), "rows": np.array([-1, 3072]), "back": np.array([8, 128, 768])},
    ),
    Choice(
        "MatMul over rows that lie a multiple of 4 KiB apart, [8, 128, 3072] by [3072, 768]",
        {"x": _random(8, 128, 3072)},
        {
            "alone": "y = MatMul (x, w)",
            "LeakyRelu of slope 1 behind": "p = MatMul (x, w) y = LeakyRelu <alpha = 1.0> (p)",
        },
        "The second in our OpenVINO sessions: it goes to another kernel, which does not lose them from the cache.",
        {"w": _random(3072, 768)},
    ),
    Choice(
        "Two tensors in turns along the last axis, [8, 64, 112, 2 · 56]",
        {"x": _random(8, 64, 112, 56, 1), "dy": _random(8, 64, 112, 56, 1)},
        {
            "Concat": "y = Concat <axis = 4> (x, dy)",
            "Where": "y = Where (turn, x, dy)",
        },
        "Concat in files and in ONNX Runtime, Where in our OpenVINO sessions.",
        {"turn": np.array([True, False])},
    ),
    Choice(
        "One row of an axis backwards, [8, 197, 384]",
        {"dy": _random(8, 1, 384)},
        {
            "Pad": "y = Pad (dy, pads)",
            "ScatterElements": """z = Expand (zero, whole) i = Expand (first, row)
                y = ScatterElements <axis = 1> (z, i, dy)""",
        },
        "Pad, which most runtimes have on all devices.",
        {
            "zero": _ZERO,
            "pads": np.array([0, 0, 0, 0, 196, 0]),
            "whole": np.array([8, 197, 384]),
            "first": np.zeros((1, 1, 1), np.int64),
            "row": np.array([8, 1, 384]),
        },
    ),
)


def main() -> None:
    """Run as a command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    lines = ["| gradient | form | ONNX Runtime ms | OpenVINO ms | chosen |", "|---|---|---|---|---|"]
    for choice in CHOICES:
        lines += rows(choice, options.rounds)
        print("\n".join(lines[-len(choice.forms) :]), flush=True)
    if options.write:
        RESULTS.write_text(
            f"# Ways of writing a gradient, on CPU\n\n{date.today()}, {os.cpu_count()} cores, medians of "
            f"{options.rounds} rounds in turn (`python -m tools.lowerings --write`).\n\n" + "\n".join(lines) + "\n"
        )


def rows(choice: Choice, rounds: int) -> list[str]:
    """The table's lines for one choice: each form's milliseconds in both runtimes."""
    models = {name: model(choice, nodes) for name, nodes in choice.forms.items()}
    calls = {}
    expected: np.ndarray | None = None
    for runtime in ("ONNX Runtime", "OpenVINO"):
        for name, proto in models.items():
            session = Session(proto, "cpu") if runtime == "ONNX Runtime" else OpenVinoSession(proto, checked=False)
            (found,) = session.run(choice.inputs, [proto.graph.output[-1].name]).values()
            expected = found if expected is None else expected
            if np.allclose(found, expected, rtol=1e-3, atol=1e-5):
                calls[f"{runtime} {name}"] = functools.partial(session.run, choice.inputs)
    seconds = take_turns(calls, rounds)
    cells = {name: f"{1000 * value:.2f}" for name, value in seconds.items()}
    return [
        f"| {choice.title if i == 0 else ''} | {name} | {cells[f'ONNX Runtime {name}']} | "
        f"{cells.get(f'OpenVINO {name}', 'wrong')} | {choice.why if i == 0 else ''} |"
        for i, name in enumerate(models)
    ]


def model(choice: Choice, nodes: str) -> onnx.ModelProto:
    """The form as a model; without nodes the gradient of the MaxPool, as :func:`onnx_ig.differentiate` has it."""
    if not nodes:
        made = onnx_ig.differentiate(_parsed({"x": choice.inputs["x"]}, f"y = {_POOL}"))
        del made.graph.output[0]
        made.graph.input[1].name = "dy"
        for node in made.graph.node:
            node.input[:] = ["dy" if name == "cotangent_y" else name for name in node.input]
        return made
    made = _parsed(choice.inputs, nodes)
    made.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in choice.constants.items())
    return made


def _parsed(inputs: Arrays, nodes: str) -> onnx.ModelProto:
    declared = ", ".join(f"float[{', '.join(map(str, value.shape))}] {name}" for name, value in inputs.items())
    made = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 18]> g ({declared}) => (float y) {{ {nodes} }}'
    )
    made.graph.output[0].type.tensor_type.ClearField("shape")
    return made


if __name__ == "__main__":
    main()
