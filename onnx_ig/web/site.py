"""Write the folder of the web page: an attribution model, ONNX Runtime for the browser, and the page itself.

The one idea: all that differs between models stands in settings.json, read from the attribution model's own contract;
the page is the same for all.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onnx_ig.attribution import contract as names
from onnx_ig.attribution.contract import Contract
from onnx_ig.checking.runtimes import npm
from onnx_ig.common.atomic import Manifest, require_free, staged
from onnx_ig.common.destination import writing
from onnx_ig.data import InputSpec, PictureOptions, declared_picture
from onnx_ig.errors import InputError, UsageError
from onnx_ig.exporting.export import export
from onnx_ig.exporting.model_writer import write_model
from onnx_ig.exporting.portable.runtimes import needs_of
from onnx_ig.exporting.portable.write import lacking
from onnx_ig.inspection import Tensor, contract_of, inspect
from onnx_ig.loading.model import Model, load

_STATIC = Path(__file__).with_name("static")
_MODEL = "model.onnx"
# of the npm package, by what computes: a browser loads one of the two
_RUNTIMES = {
    "wasm": {"ort.wasm.bundle.min.mjs": "ort.js", "ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm"},
    "webgpu": {"ort.webgpu.bundle.min.mjs": "ort-webgpu.js", "ort-wasm-simd-threaded.asyncify.wasm": "ort-webgpu.wasm"},
}
_STEPS_PER_RUN = 4  # path points held at once: a phone's page has little memory, and more were not faster
_MANIFEST = Manifest("settings.json", "onnx-ig page", re.compile(r"[a-z-]+\.(html|css|js|json|onnx|svg|wasm)"))


def write_site(
    directory: str | Path,
    model: Model,
    *,
    pictures: PictureOptions | None = None,
    classes: Sequence[str] | None = None,
    output: str | None = None,
    baseline: float = 0,
    overwrite: bool = False,
    sources: Collection[Path] = (),
) -> list[Path]:
    """Write the page for ``model`` to ``directory`` and return its files; any static file server can serve them.

    Args:
        model: a classifier of one picture input, or its attribution model with target and path left open.
        pictures: how a picture becomes the input, as ``onnx-ig attribute`` does it.
        classes: the classes' names, in order.
        output, baseline: of the attribution model that is made of a plain model.
        overwrite: replace files that no earlier run wrote; never the model's own, nor ``sources``.

    Raises:
        UsageError: an attribution model that has baked in what the page chooses, files in the way.
        InputError: no picture input, or names that are not as many as the classes.
        MissingDependencyError: the npm package onnxruntime-web is not installed.
        ModelError, NotDifferentiableError: see :func:`onnx_ig.export`.
    """
    directory = Path(directory)
    sources = {*sources, *model.files}
    require_place_for_site(directory, sources, overwrite=overwrite)
    runtime = npm.package("onnxruntime-web", "the web page") / "dist"
    with staged(directory, _MANIFEST, overwrite=overwrite, sources=sources) as stage, writing(directory):
        file = stage / _MODEL
        if contract_of(model) is None:
            export(model, file, output=output, baselines=baseline, path_as_input=True, steps_per_run=_STEPS_PER_RUN)
        else:
            write_model(model.ir_model, file)
        settings = _settings(model.name, load(file), pictures or PictureOptions(), classes)
        for source in _STATIC.iterdir():
            shutil.copyfile(source, stage / source.name)
        for source_name, name in (pair for one in _RUNTIMES.values() for pair in one.items()):
            shutil.copyfile(runtime / source_name, stage / name)
        files = sorted([_MANIFEST.name, *(path.name for path in stage.iterdir())])
        text = json.dumps({"format": _MANIFEST.format, **settings, "files": files}, indent=2, ensure_ascii=False)
        (stage / _MANIFEST.name).write_text(text + "\n", "utf-8")
    return [directory / name for name in files]


def require_place_for_site(directory: Path, sources: Collection[Path] = (), *, overwrite: bool = False) -> None:
    """Raise UsageError if :func:`write_site` could not write to ``directory``, before there is anything to write."""
    require_free(directory, _MANIFEST, [_MANIFEST.name, _MODEL], sources, overwrite=overwrite)


def _settings(title: str, model: Model, pictures: PictureOptions, classes: Sequence[str] | None) -> dict[str, Any]:
    """What the page must know of its model: names to call it by, the input's layout, the classes."""
    contract = contract_of(model)
    assert contract is not None
    baked = ", ".join(_baked(contract))
    if baked:
        raise UsageError(
            f"the page chooses target and path itself and explains one picture at a time; this attribution model has "
            f"{baked}: export it with --path-as-input and nothing else baked but the baseline, or give the model "
            "without attributions"
        )
    inspected = inspect(model)
    (name,) = contract.named("attributed")
    declared = next(x for x in inspected.inputs if x.name == name)
    if declared.dtype != "float32":
        raise InputError(f"input {name!r} has type {declared.dtype}; the page feeds float32")
    shape = None if declared.shape is None else tuple(declared.shape)
    if pictures != PictureOptions(pictures.mean, pictures.std, pictures.layout, pictures.size):
        raise UsageError("the page stretches RGB pictures with values in [0, 1]: give mean, std, layout and size alone")
    picture, dims = declared_picture(InputSpec(name, np.dtype(declared.dtype), shape), pictures)
    scores = _class_scores(contract, inspected.outputs)
    count = scores.shape[-1] if scores.shape else None
    if classes is not None and isinstance(count, int) and len(classes) != count:
        raise InputError(f"{len(classes)} class names are given, output {scores.name!r} has {count} classes")
    path_nodes, path_weights = contract.named("path")
    wrong = "; ".join(lacking(model.ir_model, needs_of("webgpu")))
    return {
        "title": title,
        "input": {"name": name, "axes": picture.axes, "dims": dims, "mean": picture.mean, "std": picture.std},
        "classes": list(classes or []),
        "runtimes": {
            provider: list(files.values()) for provider, files in _RUNTIMES.items() if provider == "wasm" or not wrong
        },
        "note": f"WebGPU is left out: {wrong}" if wrong else "",
        "names": {
            "target": contract.named("target")[0],
            "path_nodes": path_nodes,
            "path_weights": path_weights,
            "scores": scores.name,
            "attribution": contract.prefix + names.ATTRIBUTION + name,
            **{key: contract.prefix + key for key in (names.SCORE, names.BASELINE_SCORE, names.CONVERGENCE_DELTA)},
        },
    }


def _baked(contract: Contract) -> Iterator[str]:
    """What keeps the page from using an attribution model."""
    if contract.algorithm != "integrated-gradients" or contract.form != "complete":
        yield f"the {contract.form} form of {contract.algorithm}"
        return
    if not contract.named("path"):
        yield "the path baked in"
    targets = [x for x in contract.inputs if x.role == "target"]
    if not targets or len(targets[0].shape) > 1:
        yield "no single class as target"
    if contract.named("baseline"):
        yield "the baseline as an input"
    if not contract.multiply_by_inputs:
        yield "local attributions, without × (x − baseline)"
    if contract.sum_over is not None:
        yield f"attributions summed over {contract.sum_over}"
    others = [*contract.named("per_example"), *contract.named("shared"), *contract.named("attributed")[1:]]
    if others or contract.at != contract.named("attributed"):
        yield f"further inputs or tensors ({', '.join(dict.fromkeys([*others, *contract.at]))})"


def _class_scores(contract: Contract, outputs: Sequence[Tensor]) -> Tensor:
    """The model's own output that tells the classes apart: the one explained, else the only one.

    Raises:
        UsageError: there are several.
    """
    added = {contract.prefix + key for key in names.OF_EXAMPLES}
    own = [y for y in outputs if y.name not in added and not y.name.startswith(contract.prefix + names.ATTRIBUTION)]
    chosen = [y for y in own if y.name == contract.output] or own
    if len(chosen) > 1:
        raise UsageError(f"the model has {len(chosen)} outputs; choose with --output: {', '.join(y.name for y in own)}")
    return chosen[0]
