"""Files as ONNX Runtime's offline and transformer optimisers leave them: the gradient of the original model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnxruntime.transformers import optimizer
from torch import nn
from transformers import BertConfig, BertModel, GPT2Config, GPT2Model, LlamaConfig, LlamaModel

import onnx_ig
from onnx_ig.runtime.session import Session

LEVELS = {
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all (99)": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_SMALL = {"vocab_size": 50, "attn_implementation": "eager"}
_WIDE = _SMALL | {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


class FromEmbeddings(nn.Module):
    """The last hidden state from embedded tokens."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [N, S, D] → [N, S, D]."""
        options: dict[str, Any] = {} if isinstance(self.model, BertModel) else {"use_cache": False}
        return self.model(inputs_embeds=x, **options).last_hidden_state


def _network(name: str) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    if name == "convolutions":
        network = nn.Sequential(
            *(nn.Conv2d(3, 8, 3, padding=1), nn.Softplus(), nn.Conv2d(8, 8, 3, stride=2), nn.Tanh()),
            *(nn.Conv2d(8, 8, 3, padding=1), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(200, 5), nn.Sigmoid()),
        )
        return network.eval(), torch.randn(2, 3, 11, 11)
    tokens = torch.randn(2, 7, 32)
    if name == "bert":
        return FromEmbeddings(BertModel(BertConfig(**_WIDE, max_position_embeddings=32))).eval(), tokens
    if name == "gpt2":
        return FromEmbeddings(
            GPT2Model(GPT2Config(**_SMALL, n_embd=32, n_layer=2, n_head=4, n_positions=32))
        ).eval(), tokens
    return FromEmbeddings(LlamaModel(LlamaConfig(**_WIDE, num_key_value_heads=2))).eval(), tokens


@pytest.fixture(scope="module", params=["bert", "gpt2", "llama", "convolutions"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Any]:
    """A model's name, its file, and (x, cotangent, y, gradient) by torch."""
    module, x = _network(request.param)
    path = tmp_path_factory.mktemp("optimised") / f"{request.param}.onnx"
    axes = {0: "N"} if request.param == "convolutions" else {0: "N", 1: "S"}
    torch.onnx.export(
        module,
        (x,),
        path,
        input_names=["x"],
        output_names=["y"],
        opset_version=18,
        dynamic_shapes=(axes,),
        verbose=False,
        external_data=False,
    )
    leaf = x.clone().requires_grad_()
    y = module(leaf)
    u = torch.randn_like(y)
    (gradient,) = torch.autograd.grad(y, leaf, u)
    return request.param, path, (x.numpy(), u.numpy(), y.detach().numpy(), gradient.numpy())


def _agrees(path: Path, expected: Any) -> None:
    x, u, y, gradient = expected
    proto = onnx_ig.differentiate(path, wrt=["x"], outputs=["y"])
    assert {node.domain for node in proto.graph.node} == {""}
    values = Session(proto, "cpu", threads=1).run({"x": x, "cotangent_y": u})
    np.testing.assert_allclose(values["y"], y, atol=1e-5)
    assert np.linalg.norm(values["grad_x"] - gradient) <= 1e-5 * np.linalg.norm(gradient)


def _own_operators(path: Path) -> set[str]:
    nodes = onnx.load(path).graph.node
    return {node.op_type for node in nodes if node.domain or not onnx.defs.has(node.op_type)}


@pytest.mark.parametrize("level", LEVELS)
def test_offline_optimisation(level: str, exported: tuple[str, Path, Any], tmp_path: Path) -> None:
    _, source, expected = exported
    path, options = tmp_path / "optimised.onnx", ort.SessionOptions()
    options.graph_optimization_level, options.optimized_model_filepath = LEVELS[level], str(path)
    options.log_severity_level = 3  # it warns that the file fits this machine only
    ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    assert _own_operators(path), "the optimiser fused nothing: the test tests nothing"
    _agrees(path, expected)


def test_transformer_optimiser(exported: tuple[str, Path, Any], tmp_path: Path) -> None:
    name, source, expected = exported
    if name not in ("bert", "llama"):
        pytest.skip("the optimiser of this version fails on GPT-2 as torch exports it, and knows no convolutions")
    model = optimizer.optimize_model(
        str(source), model_type="bert" if name == "bert" else "gpt2", num_heads=4, hidden_size=32, opt_level=0
    )
    path = tmp_path / "optimised.onnx"
    model.save_model_to_file(str(path))
    assert _own_operators(path)
    _agrees(path, expected)
