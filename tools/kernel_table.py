"""Bring the column of ONNX Runtime's CPU kernels in onnx_ig/checking/kernels.tsv up to date with the one installed.

    python -m tools.kernel_table

The one idea: ONNX Runtime tells its own kernels, so that column is a fact; the others are retyped from published lists.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import onnxruntime

from onnx_ig.checking.kernels import TABLE, table

_OPEN = 2**31 - 1  # the end of a range without one
_DOMAINS = ("", "ai.onnx.ml", "com.microsoft")


def cpu_kernels() -> dict[str, str]:
    """The version ranges of each operator, newest first, as the table writes them."""
    found: dict[str, set[tuple[int, int]]] = defaultdict(set)
    for kernel in onnxruntime.capi.onnxruntime_pybind11_state.get_all_opkernel_def():
        if kernel.domain in _DOMAINS:
            found[f"{kernel.domain}::{kernel.op_name}".removeprefix("::")].add(kernel.version_range)
    return {name: ",".join(_range(*r) for r in sorted(ranges, reverse=True)) for name, ranges in found.items()}


def _range(first: int, last: int) -> str:
    return f"{first}+" if last == _OPEN else str(first) if first == last else f"{first}-{last}"


def main() -> None:
    """Rewrite the table."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    head = [line for line in TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    rows, cpu = table(), cpu_kernels()
    columns = list(rows["Abs"])
    lines = ["\t".join(columns)]
    for name in sorted({*rows, *cpu}, key=lambda name: ("::" in name, name)):
        cells = {**rows.get(name, {}), "op": name, "ort_cpu": cpu.get(name, "-")}
        lines.append("\t".join(cells.get(column) or "" for column in columns))
    TABLE.write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
