"""Torch models and weights from files, read so that nothing in a file can run code.

The one idea: pickles are read by torch's restricted unpickler only; a file that needs more is refused.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import pickle
import sys
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from onnx_ig.errors import MissingDependencyError, ModelError, UsageError
from onnx_ig.pytorch.program_text import refuse_unsafe_text

_SAVE_WEIGHTS = (
    "save the weights alone, torch.save(model.state_dict(), 'weights.pt') or as .safetensors, "
    "and give the model as package.module:factory"
)
_TENSOR_DATA = ("weight_", "tensor_")  # names of raw bytes in a .pt2 archive; others are unpickled


def load_weights(path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """The state dict in ``path``: .safetensors, or what ``torch.save(model.state_dict(), ...)`` writes.

    A checkpoint that keeps it under the key ``state_dict`` or ``model_state_dict`` is taken too.

    Raises:
        UsageError: no such file.
        ModelError: unreadable, holding anything but tensors by name, or a pickle that could run code.
    """
    path = _existing(path)
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch remarks on the pickle's protocol
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _unsafe(str(path), error) from error
    except Exception as error:  # torch's reader raises RuntimeError, EOFError, KeyError, UnicodeDecodeError...
        raise ModelError(f"{path} is not a file of torch weights ({_first_line(error)}): {_SAVE_WEIGHTS}") from error
    for key in ("state_dict", "model_state_dict"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise ModelError(f"{path} does not hold a state dict (tensors by name): {_SAVE_WEIGHTS}")
    return dict(loaded)


def load_factory(spec: str, weights: str | os.PathLike[str] | None = None) -> nn.Module:
    """The module that ``package.module:factory`` names, with ``weights`` put in, in eval mode.

    The factory is called without arguments; it may also be a module itself. The package is looked for in the
    working directory too. Importing it runs its code: name only code you trust.

    Raises:
        UsageError: the package or the factory does not exist.
        ModelError: the factory fails, makes no ``nn.Module``, or the weights do not fit it.
    """
    package, _, attribute = spec.partition(":")
    here = os.getcwd()
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        factory = getattr(importlib.import_module(package), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"cannot find {spec!r} ({_first_line(error)}): give package.module:factory") from error
    finally:
        if added:
            sys.path.remove(here)
    try:
        module = factory if isinstance(factory, nn.Module) else factory()
    except Exception as error:  # the user's own code
        raise ModelError(f"{spec} failed: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"{spec} made a {type(module).__name__}: a factory returns a torch.nn.Module")
    if weights is not None:
        try:
            module.load_state_dict(load_weights(weights))
        except RuntimeError as error:  # torch lists missing and unexpected names, and shapes that differ
            raise ModelError(f"the weights in {os.fspath(weights)} do not fit {spec}: {error}") from error
    return module.eval()


def load_exported_program(path: str | os.PathLike[str]) -> torch.export.ExportedProgram:
    """The program in a ``.pt2`` file written by ``torch.export.save``, without its guards.

    torch's own loader unpickles without restriction, makes Python code of the file's names and size expressions, and
    takes any function of torch's for an operator, so every record is checked first.

    Raises:
        UsageError: no such file.
        ModelError: unreadable, compiled (AOTInductor), or holding anything that could run code.
    """
    path = _existing(path)
    try:
        reader = torch._C.PyTorchFileReader(str(path))
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (RuntimeError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{path} is not a .pt2 file ({_first_line(error)}): write it with torch.export.save"
        ) from error
    if any("serialized_" in name for name in names):  # torch reads this form as a last resort, by another reader
        raise ModelError(f"{path} has the form that torch wrote before 2.8: save it again with torch.export.save")
    for name in reader.get_all_records():
        _refuse_unsafe_record(f"{path} ({name})", name, reader)
    try:
        program = torch.export.load(path)
    except Exception as error:  # torch's reader raises many kinds
        raise ModelError(
            f"cannot read {path} ({_first_line(error)}): save it again with torch.export.save of this torch, "
            f"{torch.__version__}"
        ) from error
    program._guards_code = []  # Python text, which .module() would execute
    return program


def _refuse_unsafe_record(where: str, name: str, reader: Any) -> None:
    if "aotinductor" in name:
        raise ModelError(f"{where} holds compiled code, not a graph: save the program with torch.export.save")
    if name.endswith("_config.json"):
        for entry in _json(where, reader.get_record(name)).get("config", {}).values():
            if entry.get("use_pickle") or not str(entry.get("path_name")).startswith(_TENSOR_DATA):
                raise ModelError(f"{where} names pickled objects, which could run code: export with plain tensors")
    elif name.endswith(".json"):
        refuse_unsafe_text(where, _json(where, reader.get_record(name)))
    elif name.endswith(".pt"):
        content = reader.get_record(name)
        if content:
            try:
                torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            except Exception as error:
                raise _unsafe(where, error) from error


def _json(where: str, content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError as error:
        raise ModelError(f"{where} is not JSON ({_first_line(error)}): the file is damaged, save it again") from error


def _load_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise MissingDependencyError("reading .safetensors needs safetensors: pip install 'onnx-ig[torch]'") from error
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path} is not a readable .safetensors file ({_first_line(error)})") from error


def _existing(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"no such file: {path}")
    return path


def _unsafe(where: str, error: Exception) -> ModelError:
    # torch names the object on a line like "WeightsUnpickler error: Unsupported global: GLOBAL os.system"
    named = [line.strip() for line in str(error).splitlines() if "WeightsUnpickler error" in line]
    named = named or [_first_line(error)]
    return ModelError(
        f"{where} is refused: it is a pickle of more than tensors ({named[0][:160]}), and loading one runs "
        f"whatever code it holds. If you trust its origin, load it in torch yourself and {_SAVE_WEIGHTS}"
    )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
