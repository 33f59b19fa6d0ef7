"""Where operators without a CUDA kernel run in our sessions, and their gradients: over the pretended device.

    python -m tools.gpu.dry_operators

The exit code is 5 where the device cannot be had, and 1 if such an operator, of those that are rewritten, runs on the
CPU or has a tensor copied.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tools.gpu.pretended.running import is_pretended, run_over_it


def main(arguments: Sequence[str] = ()) -> int:
    """Run as a command; returns the exit code."""
    return _placed() if is_pretended() else run_over_it("tools.gpu.dry_operators", arguments)


def _placed() -> int:
    import onnx_ir as ir

    import onnx_ig
    from onnx_ig.checking.kernels import table
    from tests.helpers.without_kernels import CASES, model_of
    from tools.gpu.dry_counts import off_the_device  # it opens ONNX Runtime, which is another one out there

    wrong = 0
    for name, (_, _, whole) in CASES.items():
        gradient = onnx_ig.differentiate(model_of(name), wrt=["x"])
        off = off_the_device(ir.from_proto(gradient))
        wrong += whole and any(op.startswith("Memcpy") or table()[op]["ort_cuda"] == "-" for op in off)
        print(f"{name}: {', '.join(f'{n} {op}' for op, n in off.items()) or 'all on CUDA'}", flush=True)
    print(f"{len(CASES)} cases, {wrong} that should be on CUDA and are not")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
