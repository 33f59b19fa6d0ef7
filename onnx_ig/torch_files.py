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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from onnx_ig.errors import MissingDependencyError, ModelError, UsageError

_SAVE_WEIGHTS = (
    "save the weights alone, torch.save(model.state_dict(), 'weights.pt') or as .safetensors, "
    "and give the model as package.module:factory"
)
_TENSOR_DATA = ("weight_", "tensor_")  # raw bytes in a .pt2 archive, never unpickled


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
    """The program in a ``.pt2`` file written by ``torch.export.save``.

    torch's own loader falls back to unrestricted unpickling, so every record is checked first.

    Raises:
        UsageError: no such file.
        ModelError: unreadable, compiled (AOTInductor), or holding a pickle or object that could run code.
    """
    path = _existing(path)
    try:
        reader = torch._C.PyTorchFileReader(str(path))
    except RuntimeError as error:
        raise ModelError(
            f"{path} is not a .pt2 file ({_first_line(error)}): write it with torch.export.save"
        ) from error
    for name in reader.get_all_records():
        _refuse_unsafe_record(path, name, reader)
    try:
        return torch.export.load(path)
    except Exception as error:  # torch's reader raises many kinds
        raise ModelError(
            f"cannot read {path} ({_first_line(error)}): save it again with torch.export.save of this torch, "
            f"{torch.__version__}"
        ) from error


def _refuse_unsafe_record(path: Path, name: str, reader: Any) -> None:
    folder, _, leaf = name.rpartition("/")
    where = f"{path} ({name})"
    if "aotinductor" in name:
        raise ModelError(f"{where} holds compiled code, not a graph: save the program with torch.export.save")
    if leaf.startswith(("custom_obj_", "opaque_obj_")):
        raise ModelError(f"{where} holds a pickled object, which could run code when loaded: export a model without")
    if name.endswith("_config.json"):
        entries = json.loads(reader.get_record(name)).get("config", {}).values()
        if any(entry.get("use_pickle") for entry in entries):
            raise ModelError(f"{where} names pickled tensors, which could run code: export with plain tensors")
    elif folder.endswith(("weights", "constants")) and leaf.startswith(_TENSOR_DATA) and not leaf.endswith(".pt"):
        return
    elif name.endswith(".pt") or leaf in ("serialized_state_dict.json", "serialized_constants.json"):
        content = reader.get_record(name)
        if content:
            try:
                torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            except Exception as error:
                raise _unsafe(where, error) from error


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
