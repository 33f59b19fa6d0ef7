"""torch's two ONNX exporters behind one call: quiet, and leaving a model that owns its weights.

The one idea: an exporter is a function from a module and example arguments to a model; what it prints is held back,
what it raises is left to the caller.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import onnx_ir as ir
import onnx_ir.external_data
import onnxscript.optimizer
import torch

import onnx_ig.pytorch.operator_table
import onnx_ig.pytorch.packed_sequences
import onnx_ig.pytorch.rewrite_rules
import onnx_ig.pytorch.second_trace
import onnx_ig.pytorch.substitutes
import onnx_ig.pytorch.type_promotion  # noqa: F401  (from here on exports use all six)
from onnx_ig.errors import OnnxIgError
from onnx_ig.graph.quirks.padding_before_pooling import NameAxesBeforePoolingPass
from onnx_ig.graph.quirks.squeezed_axes import NameSqueezedAxesPass
from onnx_ig.pytorch.check import BATCH, Argument
from onnx_ig.pytorch.quiet import exporting
from onnx_ig.pytorch.source import ForwardModule

OPSET = 18  # the newest whose kernels ONNX Runtime's CUDA provider has complete
Exporter = Literal["dynamo", "torchscript"]
EXPORTERS: tuple[Exporter, ...] = ("dynamo", "torchscript")


def run_exporter(
    exporter: Exporter, module: ForwardModule, arguments: Sequence[Argument], output: str, dynamic: bool
) -> ir.Model:
    """``module`` at ``arguments`` as a model with those inputs and the one ``output``, batch ``dynamic`` or not.

    Raises:
        Exception: whatever torch raises; :func:`reason` makes it short.
    """
    with exporting():
        model = _EXPORTERS[exporter](module, arguments, output, dynamic)
    NameAxesBeforePoolingPass()(model)
    if dynamic:
        NameSqueezedAxesPass()(model)
    _own_weights(model)
    _restore_unused_inputs(model, arguments, dynamic)
    return model


def reason(error: BaseException) -> str:
    """The cause at the root of an exporter's error, on one line."""
    if isinstance(error, OnnxIgError):
        return str(error)
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", str(error)).splitlines() if line.strip()]
    for number, line in enumerate(lines):
        if number and line.startswith(("While executing", "Original traceback", "The error above occurred")):
            lines = lines[:number]
            break
    return f"{type(error).__name__}: " + " ".join(lines[:3])[:400]


def _dynamo(module: ForwardModule, arguments: Sequence[Argument], output: str, dynamic: bool) -> ir.Model:
    batch = torch.export.Dim(BATCH)
    axes = tuple(
        ({0: batch} if argument.per_example else {}) | dict.fromkeys(argument.lengths, torch.export.Dim.AUTO)
        for argument in arguments
    )
    program = torch.onnx.export(
        module,
        tuple(argument.example for argument in arguments),
        dynamo=True,
        opset_version=OPSET,
        input_names=[argument.name for argument in arguments],
        output_names=[output],
        dynamic_shapes={"tensors": axes} if dynamic else None,
        verbose=False,
    )
    assert program is not None  # None is for export to a file
    model: ir.Model = program.model
    return model


def _torchscript(module: ForwardModule, arguments: Sequence[Argument], output: str, dynamic: bool) -> ir.Model:
    examples = tuple(argument.example for argument in arguments)
    axes = {
        argument.name: ({0: BATCH} if argument.per_example else {}) | argument.lengths
        for argument in arguments
        if argument.per_example or argument.lengths
    }
    sizes = {argument.example.shape[0] for argument in arguments if argument.per_example}
    with torch.no_grad():
        result = module(*examples)
    if result.dim() and result.shape[0] in sizes:
        axes[output] = {0: BATCH}
    with tempfile.TemporaryDirectory(prefix="onnx_ig_") as scratch:
        path = Path(scratch, "model.onnx")  # a file, because weights over 2 GB go beside it
        torch.onnx.export(
            module.scripted or module,
            examples,
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=[argument.name for argument in arguments],
            output_names=[output],
            dynamic_axes=axes if dynamic else None,
            training=torch.onnx.TrainingMode.PRESERVE,  # any other sets the mode of the caller's modules
        )
        model = ir.load(path)
        onnx_ir.external_data.load_to_model(model)
    onnxscript.optimizer.optimize_ir(model)
    return model


_EXPORTERS: dict[Exporter, Callable[[ForwardModule, Sequence[Argument], str, bool], ir.Model]] = {
    "dynamo": _dynamo,
    "torchscript": _torchscript,
}


def _restore_unused_inputs(model: ir.Model, arguments: Sequence[Argument], dynamic: bool) -> None:
    """The TorchScript exporter drops inputs that the output does not depend on; callers feed them all."""
    present = {value.name: value for value in model.graph.inputs}
    model.graph.inputs.clear()
    for argument in arguments:
        sizes: list[int | str] = list(argument.example.shape)
        if dynamic and argument.per_example:
            sizes[0] = BATCH
        for axis, name in argument.lengths.items():
            sizes[axis] = name
        kind = ir.TensorType(ir.tensor(argument.example[:0].cpu() if sizes else argument.example.cpu()).dtype)
        unused = ir.Value(name=argument.name, shape=ir.Shape(sizes), type=kind)
        model.graph.inputs.append(present.get(argument.name, unused))


def _own_weights(model: ir.Model) -> None:
    """Copies instead of the live parameters; no source paths and stack traces of the author's machine."""
    for name, value in model.graph.initializers.items():
        if value.const_value is not None:
            value.const_value = ir.Tensor(np.array(value.const_value.numpy()), value.const_value.dtype, name=name)
    for node in model.graph.all_nodes():
        node.doc_string = None
        for key in [key for key in node.metadata_props if "stack_trace" in key]:
            del node.metadata_props[key]
