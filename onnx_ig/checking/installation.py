"""What of an installation works, what it lacks, and the pip line that mends it.

The one idea: what is wanted is read from the package's own metadata, and whether it works is tried.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from packaging.requirements import Requirement

from onnx_ig.checking.runtimes import RUNTIMES
from onnx_ig.common.types import Provider
from onnx_ig.errors import MissingDependencyError, OnnxIgError

# What each extra is for. Those for the project's own tests and pages are nobody else's business.
PURPOSES = {
    "": "everything",
    "cpu": "run models in ONNX Runtime",
    "gpu": "run models on an NVIDIA GPU",
    "torch": "explain PyTorch models",
    "openvino": "run models in OpenVINO",
    "opencv": "run exported files in OpenCV (`onnx-ig conform --runtime opencv`)",
    "tract": "run exported files in tract (`onnx-ig conform --runtime tract`)",
    "mnn": "run exported files in MNN (`onnx-ig conform --runtime mnn`)",
    "viz": "read and draw pictures",
    "audio": "read sounds",
    "tables": "read and write Parquet",
    "safetensors": "write arrays for other programs (`--format safetensors`)",
    "text": "read sentences",
    "frames": "attributions as data frames",
    "shap": "draw with SHAP's plots",
    "browser": "run models in Chromium (`onnx-ig conform --runtime web`)",
}
_NVIDIA = Path("/proc/driver/nvidia/version")
_TRIED: tuple[Provider, ...] = ("cpu", "cuda", "tensorrt", "openvino")
_BESIDES = ("node", "web")  # runtimes that pip does not install
_SQUARE = """<ir_version: 10, opset_import: ["": 18]>
square (float[n, 2] x) => (float[n, 2] y) { y = Mul(x, x) }"""


@dataclass(frozen=True)
class Package:
    """A package that is wanted: for which ``extra`` ("" for none), in which versions, and which is here.

    Attributes:
        state: ``ok``, ``missing`` or ``too old``.
    """

    name: str
    extra: str
    wanted: str
    version: str | None
    state: str


@dataclass(frozen=True)
class Trial:
    """A provider or runtime: whether it works; ``said``: in how much time or which version, or why not."""

    name: str
    works: bool
    said: str


@dataclass(frozen=True)
class Installation:
    """What :func:`examine` found.

    Attributes:
        cores: that this process may use; ``memory_bytes`` and ``free_memory_bytes``: None where the system does not
            tell.
        providers: where Integrated Gradients of y = x² were computed, and came out right or not.
        runtimes: that `onnx-ig conform` and `onnx-ig web` use besides.
        problems: what is wrong, in sentences; ``remedies``: the commands that mend it, or add what is missing.
    """

    versions: dict[str, str]
    cores: int
    memory_bytes: int | None
    free_memory_bytes: int | None
    packages: list[Package]
    providers: list[Trial]
    runtimes: list[Trial]
    problems: list[str]
    remedies: list[str]

    @property
    def works(self) -> bool:
        """Whether a model can be explained here."""
        return any(provider.works for provider in self.providers)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {**asdict(self), "works": self.works}


def examine() -> Installation:
    """The packages, providers and machine that onnx-ig finds here. Takes seconds: providers are opened."""
    packages = list(_packages())
    providers = [trial for name in _TRIED if (trial := _tried(name)) is not None]
    return Installation(
        versions={
            "onnx-ig": metadata.version("onnx-ig"),
            "python": platform.python_version(),
            "system": platform.platform(),
        },
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_bytes=_memory("SC_PHYS_PAGES"),
        free_memory_bytes=_memory("SC_AVPHYS_PAGES"),
        packages=packages,
        providers=providers,
        runtimes=[_found(name) for name in _BESIDES],
        problems=list(_problems(packages, providers)),
        remedies=list(remedies(packages)),
    )


def _packages() -> Iterator[Package]:
    for line in metadata.requires("onnx-ig") or ():
        requirement = Requirement(line)
        extra = next(
            (e for e in PURPOSES if requirement.marker is None or requirement.marker.evaluate({"extra": e})), None
        )
        if extra is None or (extra == "gpu" and not _NVIDIA.exists() and _version(requirement.name) is None):
            continue
        if extra == "cpu" and _version(requirement.name) is None and find_spec("onnxruntime"):
            continue  # another package brings it: onnxruntime-gpu, onnxruntime-openvino
        version = _version(requirement.name)
        old = version is not None and not requirement.specifier.contains(version, prereleases=True)
        state = "missing" if version is None else "too old" if old else "ok"
        yield Package(requirement.name, extra, str(requirement.specifier), version, state)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def remedies(packages: Sequence[Package]) -> Iterator[str]:
    """The commands that install what is missing and renew what is too old.

    ``onnxruntime-gpu`` takes the place of ``onnxruntime``: each overwrites the other's files.
    """
    state = {package.name: package.state for package in packages}
    for_gpu = state.get("onnxruntime-gpu") == "missing"
    if for_gpu and state.get("onnxruntime", "missing") != "missing":
        yield "pip uninstall -y onnxruntime"
    wanted = [package for package in packages if not (for_gpu and package.name == "onnxruntime")]
    old = [f"'{package.name}{package.wanted}'" for package in wanted if package.state == "too old"]
    if old:
        yield f"pip install --upgrade {' '.join(old)}"
    missing = list(dict.fromkeys(package.extra for package in wanted if package.state == "missing"))
    if missing:
        extras = ",".join(filter(None, missing))
        yield f"pip install 'onnx-ig[{extras}]'" if extras else "pip install onnx-ig"


def _problems(packages: Sequence[Package], providers: Sequence[Trial]) -> Iterator[str]:
    both = [name for name in ("onnxruntime", "onnxruntime-gpu") if _version(name) is not None]
    if len(both) > 1:
        yield (
            "onnxruntime and onnxruntime-gpu are both installed, and each overwrites the other's files: "
            "pip uninstall -y onnxruntime onnxruntime-gpu, then install one of them"
        )
    for package in packages:
        if package.state == "too old" or (package.state == "missing" and not package.extra):
            here = f"{package.version} is installed" if package.version else "it is not installed"
            yield f"{package.name} must be {package.wanted}, but {here}"
    for provider in providers:
        if not provider.works:
            yield f"provider {provider.name}: {provider.said}"
    if not any(provider.works for provider in providers):
        yield "no provider can run a model: pip install 'onnx-ig[cpu]', or 'onnx-ig[gpu]' with an NVIDIA GPU"


def _tried(provider: Provider) -> Trial | None:
    """Integrated Gradients of y = x² there, held against 9 and 16; None where it is not meant to be here."""
    if not _is_offered(provider):
        return None
    import onnx.parser

    from onnx_ig.methods.integrated_gradients import IntegratedGradients

    began = time.perf_counter()
    try:
        method = IntegratedGradients(onnx.parser.parse_model(_SQUARE), provider=provider)
        found = [method.attribute(np.array([[3, 4]], np.float32), target=i)[0, i] for i in (0, 1)]
    except OnnxIgError as error:
        return Trial(provider, False, str(error))
    if not np.allclose(found, [9, 16], rtol=1e-3):
        return Trial(
            provider, False, f"Integrated Gradients of x² at 3 and 4 are {found[0]:.4g} and {found[1]:.4g} there"
        )
    return Trial(provider, True, f"right, opened and run in {time.perf_counter() - began:.2f} s")


def _is_offered(provider: str) -> bool:
    """Whether what is installed has it."""
    from onnx_ig.runtime.session import PROVIDERS, import_onnxruntime

    if provider not in PROVIDERS:
        return _version(provider) is not None
    try:
        return PROVIDERS[provider][0] in import_onnxruntime().get_available_providers()
    except MissingDependencyError:
        return False


def _found(runtime: str) -> Trial:
    try:
        return Trial(runtime, True, RUNTIMES[runtime].version())
    except OnnxIgError as error:
        return Trial(runtime, False, str(error))


def _memory(pages: str) -> int | None:
    try:
        return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on every system
        return None
