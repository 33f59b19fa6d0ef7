"""Write an attribution model as an entry of a Triton model repository: config.pbtxt and <version>/model.onnx.

The one idea: the configuration is read off the written file and its contract, so that it fits whatever was baked in;
where every tensor has one row per example the server may join requests (dynamic batching), else it must not.

Source: Triton's documentation of model repositories and model configuration.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from onnx_ig.common.atomic import drafts, move
from onnx_ig.common.destination import require_folder, require_free_file, writing
from onnx_ig.errors import ModelError
from onnx_ig.inspection import Tensor, contract_of, inspect
from onnx_ig.loading.model import load

LARGEST_BATCH = 8
_CONFIGURATION = "config.pbtxt"
_TYPES = {
    "float16": "FP16", "float32": "FP32", "float64": "FP64", "bfloat16": "BF16", "bool": "BOOL", "string": "STRING",
    **{f"{sign}int{bits}": f"{sign}int{bits}".upper() for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip


@contextmanager
def repository_entry(folder: Path, sources: Collection[Path] = (), *, overwrite: bool = False) -> Iterator[Path]:
    """The path to export an attribution model to; on leaving, it becomes the next version of the entry ``folder``.

    Earlier versions stay. A config.pbtxt as it was written here is replaced, any other only with ``overwrite``. Nothing
    is left behind if the block or the configuration fails.

    Raises:
        UsageError: the repository, the folder that holds ``folder``, is not there; a config.pbtxt of another hand, or
            one of ``sources``, from which the model is made, is in the way.
        ModelError: a tensor whose number of axes is unknown.
    """
    require_place_for_entry(folder, sources, overwrite=overwrite)
    with drafts(folder.parent) as scratch:
        version = scratch / "version"
        version.mkdir()
        yield version / "model.onnx"
        text = configuration(version / "model.onnx", folder.name)
        with writing(folder):
            (scratch / _CONFIGURATION).write_text(_signature(text) + text, encoding="utf-8")
            folder.mkdir(exist_ok=True)
            older = [int(name) for name in os.listdir(folder) if name.isdecimal()]
            version.rename(folder / str(max(older, default=0) + 1))
            move([_CONFIGURATION], scratch, folder)


def require_place_for_entry(folder: Path, sources: Collection[Path] = (), *, overwrite: bool = False) -> None:
    """Raise UsageError if :func:`repository_entry` could not write to ``folder``, before there is anything to write."""
    require_folder(folder.parent)
    if os.path.lexists(folder):
        require_folder(folder)
        config = folder / _CONFIGURATION
        require_free_file(config, sources, overwrite=overwrite or _is_ours(config))


def _signature(text: str) -> str:
    """A first line by which a configuration is known again, as long as nobody has changed it."""
    return f"# onnx-ig {hashlib.sha256(text.encode()).hexdigest()}\n"


def _is_ours(config: Path) -> bool:
    if not config.is_file():
        return False
    first, _, text = config.read_text(encoding="utf-8", errors="replace").partition("\n")
    return first + "\n" == _signature(text)


def configuration(path: Path, name: str) -> str:
    """The text of config.pbtxt for the attribution model at ``path``, served as ``name``.

    Inputs that have a default value keep it: Triton's ONNX Runtime counts none of them among a model's inputs.

    Raises:
        ModelError: a tensor whose number of axes is unknown, or a file that is no attribution model.
    """
    written = load(path)
    model, contract = inspect(written), contract_of(written)
    if contract is None:
        raise ModelError(f"{path} is no attribution model: write it with onnx_ig.export")
    examples = next((x.shape or [None])[0] for x in model.inputs if x.name in contract.named("attributed"))
    in_rows = [t for t in (*model.inputs, *model.outputs) if t.name not in contract.named("baseline")]  # those may too
    batched = isinstance(examples, str) and all((t.shape or [None])[0] == examples for t in in_rows)
    lines = [
        f"name: {json.dumps(name)}",
        'backend: "onnxruntime"',
        f"max_batch_size: {LARGEST_BATCH if batched else 0}",
        *(["dynamic_batching { }"] if batched else []),
        "version_policy { latest { num_versions: 1 } }",
        "instance_group [ { kind: KIND_AUTO count: 1 } ]",
        *(_described("input", x, batched) for x in model.inputs if x.name not in written.defaults),
        *(_described("output", y, batched) for y in model.outputs),
    ]
    return "\n".join(lines) + "\n"


def _described(side: str, tensor: Tensor, batched: bool) -> str:
    """``input [ { ... } ]``: unknown sizes are -1, the axis of examples is left out where the server joins requests.

    No axes at all cannot be written as ``dims``: [1], reshaped to nothing before the model sees it.
    """
    if tensor.shape is None:
        raise ModelError(
            f"Triton must be told the number of axes of {tensor.name!r}, which the model does not declare: declare it"
        )
    if tensor.dtype not in _TYPES:
        raise ModelError(f"Triton has no type for {tensor.name!r}, which holds {tensor.dtype}")
    sizes = [size if isinstance(size, int) else -1 for size in tensor.shape[1 if batched else 0 :]]
    dims = f"dims: {sizes}" if sizes else "dims: [ 1 ] reshape { shape: [ ] }"
    return f"{side} [ {{ name: {json.dumps(tensor.name)} data_type: TYPE_{_TYPES[tensor.dtype]} {dims} }} ]"
