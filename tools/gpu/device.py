"""Where the check runs: a GPU, or the CPU to try the check itself.

The one idea: both sides are told the same precision and layout, each in its own words.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx.parser
import torch

from onnx_ig.errors import ProviderError
from onnx_ig.runtime.session import PROVIDERS, Session

PRECISIONS = ("fp32", "tf32", "fp16")
LAYOUTS = ("contiguous", "channels_last")
_TINY = '<ir_version: 8, opset_import: ["" : 18]> g (float[1] x) => (float[1] y) { y = Sin (x) }'


@dataclass(frozen=True)
class Device:
    """``cuda`` or ``cpu``, as torch and :class:`onnx_ig.runtime.session.Session` call it.

    ``pretended``: CUDA over tools.gpu.pretended, which torch does not see.

    Raises:
        ProviderError: there is no GPU, or one of the two cannot use it.
    """

    kind: str
    pretended: bool = False

    def __post_init__(self) -> None:
        if self.kind == "cuda" and not self.pretended and not torch.cuda.is_available():
            raise ProviderError(
                "torch sees no GPU here: run this on a machine with an NVIDIA GPU, torch for CUDA and onnxruntime-gpu, "
                "or with --provider cpu to try the check itself"
            )
        Session(onnx.parser.parse_model(_TINY), self.kind)  # type: ignore[arg-type]  # a word of the command line

    @property
    def name(self) -> str:
        """The GPU's name, or the processor's."""
        if self.pretended:
            return "pretended GPU"
        return torch.cuda.get_device_name() if self.kind == "cuda" else f"CPU {platform.machine()}"

    def providers(self, precision: str, layout: str = "contiguous", **options: str) -> list[tuple[str, dict[str, str]]]:
        """ONNX Runtime's provider list: full float32 unless ``tf32``; ``options`` are further ones of CUDA."""
        name, own = PROVIDERS["cuda-tf32" if precision == "tf32" else self.kind]
        further = {"prefer_nhwc": str(int(layout == "channels_last")), **options} if self.kind == "cuda" else {}
        return [(name, {**own, **further})]

    def set_precision(self, precision: str) -> None:
        """Tell torch whether the tensor cores may round float32 factors."""
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"

    def synchronize(self) -> None:
        """Wait until everything asked for is computed."""
        if self.kind == "cuda" and not self.pretended:
            torch.cuda.synchronize()

    def bytes_in_use(self) -> int:
        """What all processes hold of the GPU's memory; on CPU this process's highest resident size so far."""
        if self.kind == "cuda":
            free, total = torch.cuda.mem_get_info()
            return total - free
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

    def versions(self) -> dict[str, Any]:
        """What the numbers depend on."""
        import captum
        import onnxruntime

        return {
            "python": platform.python_version(),
            "onnxruntime": onnxruntime.__version__,
            "torch": torch.__version__,
            "captum": captum.__version__,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version() if self.kind == "cuda" else None,
        }
