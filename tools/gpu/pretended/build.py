"""Install ONNX Runtime for CUDA into a folder of its own, and build the pretended libraries that it links against.

The one idea: what the provider library wants of each CUDA library stands in it, as undefined symbols or, where it
loads a library itself, as text. What the C sources here do not answer is filled in: it is counted and succeeds, or
makes an empty handle.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
SOURCES = Path(__file__).parent
# By folder: the version that constraints.txt pins for CPUs; and the header of CUDA 13 that its structures are declared
# in, with whose real libcudart nothing may be run.
_PACKAGES = {"site": "onnxruntime-gpu==1.31.1", "headers": "nvidia-cuda-runtime==13.0.96"}
_COMPILE = ("gcc", "-shared", "-fPIC", "-O1", "-w", "-fvisibility=hidden")
_MAKE_HANDLES = re.compile(r"(cublas|cublasLt|cudnn|cuda)\w*Create\w*")  # the first argument says where to
_ANSWERED = re.compile(r"^API [\w *]*?\b(\w+)\(", re.MULTILINE)
_TELL = re.compile(r"\w+(ErrorString|ErrorName|StatusName|StatusString)")


@dataclass(frozen=True)
class _Library:
    """One library to build.

    Attributes:
        names: the functions that the provider may want of it, as a pattern.
        sources: the C files that answer some of them.
        loaded: it is opened by the provider itself, which therefore holds the names as text.
        versioned: its symbols carry its name as version.
    """

    file: str
    names: str
    sources: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    loaded: bool = False
    versioned: bool = False


_CUDART = _Library(
    "libcudart.so.13", r"_?_?cuda[A-Z]\w*", ("counters.c", "memory.c", "device.c", "kernels.c"), (), False, True
)
_LIBRARIES = (
    _CUDART,
    _Library("libcublas.so.13", r"cublas(?!Lt)\w+", ("cublas.c",), versioned=True),
    _Library("libcublasLt.so.13", r"cublasLt\w+", ("cublas.c",), ("-DLT",), versioned=True),
    _Library("libcurand.so.10", r"curand[A-Z]\w+"),
    _Library("libcuda.so.1", r"cu[A-Z](?!blas|dnn|da)\w+"),
    _Library("libcudnn.so.9", r"cudnn[A-Z]\w+", ("cudnn.c",), loaded=True),
    _Library("libcufft.so.12", r"cufft[A-Z]\w+", loaded=True),
    _Library("libnvrtc.so.13", r"nvrtc[A-Z]\w+", loaded=True),
    # of TensorRT so much that its provider opens, which it must before ONNX Runtime lists any kernels
    _Library("libnvinfer.so.10", r"(createInfer|getInferLib|getPluginRegistry)\w*"),
    _Library("libnvonnxparser.so.10", r"createNvOnnx\w+"),
)


class NotHere(Exception):
    """The pretended device cannot be had on this machine, and why."""


def environment(cache: Path = ROOT / ".cache" / "pretended_cuda") -> dict[str, str]:
    """The variables under which Python imports ONNX Runtime for CUDA over the pretended device; made at the first call.

    Raises:
        NotHere: another kind of machine, no compiler, or no connection to the package index.
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise NotHere(
            f"the wheel and the libraries are for Linux on x86-64, not {platform.system()} {platform.machine()}"
        )
    for tool in ("gcc", "readelf"):
        if shutil.which(tool) is None:
            raise NotHere(f"{tool} is missing: install a C compiler (Debian, Ubuntu: apt install gcc)")
    wanted = f"python{sys.version_info.major}.{sys.version_info.minor} {_PACKAGES}"
    packages = cache / f"packages-{_hash([wanted.encode()])}"
    if not packages.exists():
        _install(packages)
    texts = [path.read_bytes() for path in sorted(SOURCES.rglob("*.[ch]"))]
    libraries = cache / f"libraries-{_hash([packages.name.encode(), Path(__file__).read_bytes(), *texts])}"
    if not libraries.exists():
        _build(libraries, packages)
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(packages / "site"), str(ROOT))),
        "LD_LIBRARY_PATH": str(libraries),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _install(packages: Path) -> None:
    """Fetch the packages, whole or not at all."""
    draft = packages.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    print(f"installing {' and '.join(_PACKAGES.values())} into {packages}: 256 MB, once", file=sys.stderr)
    for folder, package in _PACKAGES.items():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-compile", "--target"]
        done = subprocess.run([*command, str(draft / folder), package], capture_output=True, text=True)
        if done.returncode:
            shutil.rmtree(draft, ignore_errors=True)
            raise NotHere(f"pip could not fetch {package} from the package index: {done.stderr.strip()[-600:]}")
    draft.rename(packages)


def _build(libraries: Path, packages: Path) -> None:
    """Compile every library into ``libraries``, whole or not at all."""
    providers = packages / "site" / "onnxruntime" / "capi"
    cuda = providers / "libonnxruntime_providers_cuda.so"
    linked = _undefined(cuda) + _undefined(providers / "libonnxruntime_providers_tensorrt.so")
    written = _texts(cuda, "|".join(one.names for one in _LIBRARIES if one.loaded))
    draft = libraries.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for one in _LIBRARIES:
        wanted = [name for name in (written if one.loaded else linked) if re.fullmatch(one.names, name)]
        _compile(one, wanted, draft, packages / "headers")
    draft.rename(libraries)


def _compile(one: _Library, wanted: Iterable[str], folder: Path, headers: Path) -> None:
    sources = [SOURCES / name for name in one.sources]
    answered = {
        name for path in sources for name in re.findall(r"^API [\w *]*?\b(\w+)\(", path.read_text(), re.MULTILINE)
    }
    filled = folder / f"{one.file}.c"
    filled.write_text("\n".join(_filled(sorted({*wanted} - answered))))
    options = [f"-I{SOURCES}", f"-I{next(headers.glob('nvidia/cu*/include'))}", *one.flags, f"-Wl,-soname,{one.file}"]
    if one.versioned:
        script = folder / f"{one.file}.map"
        script.write_text(f"{one.file} {{ global: *; }};\n")
        options.append(f"-Wl,--version-script={script}")
    beside = [] if one is _CUDART else [str(folder / _CUDART.file)]  # where calls are counted
    command = [*_COMPILE, *options, "-o", str(folder / one.file), str(filled), *map(str, sources), *beside, "-ldl"]
    done = subprocess.run([*command, "-lpthread"], capture_output=True, text=True)
    if done.returncode:
        raise NotHere(f"gcc could not build {one.file}: {done.stderr.strip()[:600]}")


def _filled(names: Collection[str]) -> Iterator[str]:
    """C that answers ``names``: each call is counted and succeeds."""
    yield '#include <stdlib.h>\n#include "pretended.h"'
    for name in names:
        if _TELL.fullmatch(name):
            yield f'API const char *{name}(void) {{ return "an error of the pretended device"; }}'
        elif _MAKE_HANDLES.fullmatch(name):
            yield f"API int {name}(void **made) {{ COUNTED(); *made = calloc(1, 256); return SUCCESS; }}"
        else:
            yield f"API int {name}(void) {{ COUNTED(); return SUCCESS; }}"


def _undefined(library: Path) -> list[str]:
    """The functions that ``library`` wants of those it links against."""
    told = subprocess.run(
        ["readelf", "--dyn-syms", "-W", str(library)], capture_output=True, text=True, check=True
    ).stdout
    columns = (line.split() for line in told.splitlines())
    return [parts[7].partition("@")[0] for parts in columns if len(parts) > 7 and parts[6] == "UND"]


def _texts(library: Path, pattern: str) -> list[str]:
    """The names of ``pattern`` that stand in ``library`` as text."""
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = set(re.findall(rb"(?<=\0)(?:" + pattern.encode() + rb")(?=\0)", data))
    return sorted(name.decode() for name in found)


def _hash(parts: Iterable[bytes]) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]
