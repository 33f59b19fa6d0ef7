"""Bring ONNX Runtime's own columns of onnx_ig/checking/kernels.tsv, of its CPU and CUDA kernels, up to date.

    python -m tools.kernel_table [--cpu]

The one idea: ONNX Runtime tells its own kernels, so these columns are facts; the others are retyped from published
lists. The CUDA kernels are those of ONNX Runtime for CUDA, asked over the pretended device (tools.gpu.pretended: 256
MB, once), because its library must be loaded to tell. ``--cpu`` leaves them as they are.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
from collections import defaultdict

import onnxruntime

from onnx_ig.checking.kernels import TABLE, table
from tools.gpu.pretended.build import NotHere, environment

_OPEN = 2**31 - 1  # the end of a range without one
_DOMAINS = ("", "ai.onnx.ml", "com.microsoft")
_FLOATS = ("float16", "bfloat16", "float", "double")  # in the table's order
_CUDA = "CUDAExecutionProvider"


def cpu_kernels() -> dict[str, str]:
    """The version ranges of each operator, newest first, as the table writes them.

    Raises:
        SystemExit: this ONNX Runtime is one for CUDA that finds no CUDA, and would crash if asked.
    """
    return {name: cells[0] for name, cells in _registered("CPUExecutionProvider").items()}


def cuda_kernels() -> dict[str, tuple[str, str]]:
    """The version ranges of each operator's CUDA kernels, and the float types they take, as the table writes them.

    Raises:
        NotHere: the pretended device cannot be had here.
    """
    command = [sys.executable, "-m", "tools.kernel_table", "--tell-cuda"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    if done.returncode:
        raise NotHere(f"ONNX Runtime for CUDA did not tell its kernels: {done.stderr.strip()[-600:]}")
    return {name: (versions, types) for name, (versions, types) in json.loads(done.stdout).items()}


def _registered(provider: str) -> dict[str, tuple[str, str]]:
    """Version ranges and float types by operator, of the kernels in this process's ONNX Runtime."""
    if _CUDA in onnxruntime.get_available_providers():
        _require_cuda()
    ranges: dict[str, set[tuple[int, int]]] = defaultdict(set)
    types: dict[str, set[str]] = defaultdict(set)
    for kernel in onnxruntime.capi.onnxruntime_pybind11_state.get_all_opkernel_def():
        if kernel.provider == provider and kernel.domain in _DOMAINS and not kernel.op_name.startswith("Memcpy"):
            name = f"{kernel.domain}::{kernel.op_name}".removeprefix("::")
            ranges[name].add(kernel.version_range)
            types[name].update(
                t.removeprefix("tensor(").removesuffix(")") for ts in kernel.type_constraints.values() for t in ts
            )
    return {
        name: (
            ",".join(_range(*r) for r in sorted(found, reverse=True)),
            ",".join(t for t in _FLOATS if t in types[name]) or "-",
        )
        for name, found in ranges.items()
    }


def _require_cuda() -> None:
    try:
        ctypes.CDLL("libcudart.so.13")
    except OSError:
        raise SystemExit(
            "this onnxruntime-gpu finds no CUDA libraries, without which it crashes when it is asked for its kernels: "
            "run this where onnxruntime (for CPUs) is installed; the CUDA kernels are asked over a pretended device"
        ) from None


def _range(first: int, last: int) -> str:
    return f"{first}+" if last == _OPEN else str(first) if first == last else f"{first}-{last}"


def rewritten(rows: dict[str, dict[str, str]], cpu: dict[str, str], cuda: dict[str, tuple[str, str]] | None) -> str:
    """The table's lines below its head with these columns; ``cuda`` None: as it is there."""
    columns = list(rows["Abs"])
    lines = ["\t".join(columns)]
    for name in sorted({*rows, *cpu, *(cuda or {})}, key=lambda name: ("::" in name, name)):
        cells = {**rows.get(name, {}), "op": name, "ort_cpu": cpu.get(name, "-")}
        if cuda is not None and name != "Constant":  # an initialiser everywhere
            cells["ort_cuda"], cells["ort_cuda_float_types"] = cuda.get(name, ("-", "-"))
        lines.append("\t".join(cells.get(column) or "" for column in columns))
    return "\n".join(lines) + "\n"


def main() -> None:
    """Rewrite the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cpu", action="store_true", help="the CPU's column only, for which nothing is fetched")
    parser.add_argument("--tell-cuda", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.tell_cuda:
        print(json.dumps(_registered(_CUDA)))
        return
    try:
        cuda = None if options.cpu else cuda_kernels()
    except NotHere as error:
        raise SystemExit(f"the CUDA kernels are not known: {error}") from error
    head = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    TABLE.write_text("\n".join(head) + "\n" + rewritten(table(), cpu_kernels(), cuda), encoding="utf-8")


if __name__ == "__main__":
    main()
