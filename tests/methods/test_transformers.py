"""Every architecture of the zoo, exported by torch and as ONNX Runtime's optimisers leave it, against torch in float64.

The one idea: one export per architecture and kind of input serves all comparisons, since exporting takes the time.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import captum.attr
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from onnxruntime.transformers.optimizer import optimize_model

import onnx_ig
from onnx_ig.checking import reference
from onnx_ig.errors import InputError
from onnx_ig.inspection import inspect
from onnx_ig.loading.model import Model
from onnx_ig.pytorch.export import export_torch
from tests.helpers.zoo import HIDDEN, VOCABULARY, ZOO, Entry, FromIds

TOLERANCE = 1e-4  # of the largest attribution
STEPS = 5
TARGET = 1
PADDING = 2  # the token that fills the baseline

Pair = tuple[np.ndarray, np.ndarray]  # Input×Gradient and Integrated Gradients


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """ONNX Runtime's optimiser and transformers report their progress as warnings."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    yield
    logging.disable(before)


def of_torch(entry: Entry) -> Pair:
    """By torch in float64: at the float input by the reference, at the embedding by Captum."""
    module, (x, *extras) = entry.module().double(), entry.inputs()
    if entry.reader is not FromIds:
        rest = tuple(extras) or None
        (gradient,) = reference.input_x_gradient(module, x, TARGET, rest, dtype=torch.float64)
        (integrated,), _ = reference.integrated_gradients(
            module, x, target=TARGET, additional_forward_args=rest, n_steps=STEPS, dtype=torch.float64
        )
        return gradient.numpy(), integrated.numpy()
    tables = [m for m in module.modules() if isinstance(m, torch.nn.Embedding) and m.num_embeddings == VOCABULARY]
    layer, shared = tables[-1], {"target": TARGET, "additional_forward_args": tuple(extras)}  # T5 never calls its first
    gradient = captum.attr.LayerGradientXActivation(module, layer).attribute(x, **shared)
    integrated = captum.attr.LayerIntegratedGradients(module, layer).attribute(
        x, baselines=torch.full_like(x[:1], PADDING), n_steps=STEPS, **shared
    )
    return gradient.detach().numpy(), integrated.detach().numpy()


def of_model(model: Model, entry: Entry) -> Pair:
    """By this package."""
    x, *extras = (tensor.numpy() for tensor in entry.inputs())
    at, baseline = (embedding(model), np.full_like(x[:1], PADDING)) if entry.reader is FromIds else (None, 0)
    shared = {"target": TARGET, "additional_forward_args": tuple(extras) or None}
    gradient = onnx_ig.InputXGradient(model, at=at, provider="cpu").attribute(x, **shared)
    method = onnx_ig.IntegratedGradients(model, at=at, provider="cpu")
    return gradient, method.attribute(x, baselines=baseline, n_steps=STEPS, **shared)


def embedding(model: Model) -> str:
    """The look-up in the token table, which inspection and the refusal of token ids must propose."""
    found = {str(node.outputs[0].name): node for node in model.ir_model.graph if node.op_type == "Gather"}
    names = [layer.tensor.name for layer in inspect(model).embeddings]
    (name,) = (name for name in names if found[name].inputs[0].shape[0] == VOCABULARY)
    with pytest.raises(InputError, match=f"attribute at its embedding, at='{name}'"):
        onnx_ig.differentiate(model)
    return name


def optimised(path: Path, level: onnxruntime.GraphOptimizationLevel) -> Path:
    """The file as ONNX Runtime's offline optimisation writes it on this machine."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.optimized_model_filepath = str(path.with_suffix(".optimised.onnx"))
    options.log_severity_level = 4  # it warns that the file is for this machine alone
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return Path(options.optimized_model_filepath)


def fused(path: Path, entry: Entry) -> Path:
    """The file as ONNX Runtime's transformer optimiser writes it."""
    result = optimize_model(str(path), entry.fusion, num_heads=entry.heads, hidden_size=HIDDEN, opt_level=0)
    result.save_model_to_file(str(path.with_suffix(".fused.onnx")))
    return path.with_suffix(".fused.onnx")


def own_operators(path: Path) -> set[str]:
    """ONNX Runtime's own operators in the file."""
    return {node.op_type for node in onnx.load(path).graph.node if node.domain}


def assert_close(ours: Pair, expected: Pair) -> None:
    for mine, theirs in zip(ours, expected, strict=True):
        assert mine.shape == theirs.shape
        assert np.abs(mine - theirs).max() < TOLERANCE * np.abs(theirs).max()


@pytest.mark.parametrize("name", ZOO)
def test_agrees_with_torch(name: str, tmp_path: Path) -> None:
    entry, path = ZOO[name], tmp_path / "model.onnx"
    x, *extras = entry.inputs()
    ir.save(export_torch(entry.module(), x, tuple(extras)).model, path)
    files = {"exported": path, "optimised": optimised(path, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL)}
    if entry.fusion:
        files["fused"] = fused(path, entry)
        assert own_operators(files["fused"]), "the optimiser does not apply: take it out of the table"
    expected = of_torch(entry)
    for kind, file in files.items():
        print(kind)  # shown with a failure
        assert_close(of_model(onnx_ig.load(file), entry), expected)


@pytest.mark.parametrize("name", ["bert_ids", "distilbert_ids"])
def test_attention_and_embedding_in_one_operator_each(name: str, tmp_path: Path) -> None:
    """The form of most deployed BERT files: exported by TorchScript with plain attention, which the optimiser knows."""
    entry, path = ZOO[name], tmp_path / "model.onnx"
    module, inputs = entry.module(), entry.inputs()
    module.base.config._attn_implementation = "eager"
    names = ["input_ids", "attention_mask"]
    axes = {key: {0: "batch"} for key in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, inputs, str(path), dynamo=False, opset_version=17, input_names=names, dynamic_axes=axes
        )
    file = fused(path, entry)
    assert own_operators(file) >= {"EmbedLayerNormalization", "Attention", "SkipLayerNormalization", "BiasGelu"}
    assert_close(of_model(onnx_ig.load(file), entry), of_torch(entry))
