"""Export from PyTorch: every network and every kind of source, and nothing wrong ever comes out."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from onnx_ig.errors import InputError, ModelError, OnnxIgWarning, UsageError
from onnx_ig.pytorch.check import Argument, check_export
from onnx_ig.pytorch.export import TorchExport, export_torch
from onnx_ig.runtime.session import Session
from tests.helpers.networks import NETWORKS

_SMOOTH_TWINS = {name for name in NETWORKS if name.endswith("_smooth")}  # the same operators once more


def _run(exported: TorchExport, *arrays: np.ndarray) -> np.ndarray:
    session = Session(exported.model, provider="cpu")
    return session.run(dict(zip(session.input_names, arrays, strict=True)))[session.output_names[0]]


def _assert_reproduces(exported: TorchExport, function: Callable[..., Tensor], *tensors: Tensor) -> None:
    with torch.no_grad():
        expected = function(*tensors).numpy()
    actual = _run(exported, *(tensor.detach().numpy() for tensor in tensors))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def _mlp() -> nn.Sequential:
    return NETWORKS["mlp"].module()


_X = NETWORKS["mlp"].inputs(1)[0]
_MANY = NETWORKS["mlp"].inputs(5, seed=9)[0]


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - _SMOOTH_TWINS))
def test_every_network_with_any_batch(name: str) -> None:
    network = NETWORKS[name]
    module = network.module()
    exported = export_torch(module, network.inputs(1), network.extras(1))
    assert exported.exporter == "dynamo" and "dynamo" in exported.note
    assert exported.dynamic_batch
    assert {str(value.shape[0]) for value in [*exported.model.graph.inputs, *exported.model.graph.outputs]} == {"batch"}
    assert exported.model.opset_imports == {"": 18}
    for examples in (1, 4):
        _assert_reproduces(exported, module, *network.inputs(examples, seed=3), *network.extras(examples))


class _Predictor:
    """A plain object that holds a model."""

    def __init__(self, model: nn.Module) -> None:
        self.models = [model]

    def logits(self, x: Tensor) -> Tensor:
        return self.models[0](x)

    def __call__(self, x: Tensor) -> Tensor:
        return self.logits(x) * 2


def _scaled(model: nn.Module, x: Tensor, *, factor: float) -> Tensor:
    return model(x) * factor


GLOBAL_MODEL = _mlp()


def _uses_a_global(x: Tensor) -> Tensor:
    return _indirectly(x) + 1


def _indirectly(x: Tensor) -> Tensor:
    return torch.stack([GLOBAL_MODEL(x)])[0]


def _in_a_closure() -> Callable[[Tensor], Tensor]:
    first, second = _mlp(), nn.Linear(5, 3).eval()
    matrix = torch.randn(3, 2)
    return lambda x: second(first(x)) @ matrix


def _nested() -> Callable[[Tensor], Tensor]:
    whole = _mlp()
    part = whole[0]
    return lambda x: whole(x) + part(x)[:, :5]


@pytest.mark.parametrize(
    "source",
    [
        _in_a_closure(),
        _nested(),
        _uses_a_global,
        _Predictor(_mlp()),
        _Predictor(_mlp()).logits,
        functools.partial(_scaled, _mlp(), factor=0.5),
        _mlp().forward,
        torch.sin,
    ],
    ids=["closure", "part-of-another", "global", "callable", "method", "partial", "forward", "no-module"],
)
def test_any_callable(source: Callable[..., Tensor]) -> None:
    exported = export_torch(source, _X)
    _assert_reproduces(exported, source, _MANY)
    assert exported.exporter == "dynamo"
    kept = [value for value in exported.model.graph.initializers.values() if len(value.shape) == 2]
    assert bool(kept) == (source is not torch.sin)


def test_a_transformers_output_and_keyword() -> None:
    model = NETWORKS["bert"].module().model
    x, mask = NETWORKS["bert"].inputs(1)[0], NETWORKS["bert"].extras(1)[0]
    source = lambda e, m: model(inputs_embeds=e, attention_mask=m)  # noqa: E731
    exported = export_torch(source, x, mask)
    assert [value.name for value in exported.model.graph.inputs] == ["e", "m"]
    assert [value.name for value in exported.model.graph.outputs] == ["logits"]


class _Flagged(nn.Module):
    def forward(self, x: Tensor, scale: float, mask: Tensor, square: bool, shift: Tensor) -> Tensor:
        x = x * mask * scale + shift
        return x**2 if square else x


@pytest.mark.parametrize("examples", [1, 3])
def test_additional_arguments(examples: int) -> None:
    """Constants are bound; a tensor with the examples' axis has a batch, one without has none."""
    x, mask, shift = torch.randn(examples, 4), torch.ones(examples, 4).bool(), torch.randn(4)
    exported = export_torch(_Flagged().eval(), x, (1.5, mask, True, shift))
    shapes = {value.name: [str(size) for size in value.shape] for value in exported.model.graph.inputs}
    assert shapes == {"x": ["batch", "4"], "mask": ["batch", "4"], "shift": ["4"]}
    x, mask, shift = torch.randn(6, 4), torch.rand(6, 4) > 0.5, torch.randn(4)
    _assert_reproduces(exported, lambda a, m, s: _Flagged()(a, 1.5, m, True, s), x, mask, shift)


def test_names_are_the_callers_choice() -> None:
    exported = export_torch(_mlp(), _X, input_names=["output"])
    assert [value.name for value in exported.model.graph.inputs] == ["output"]
    assert [value.name for value in exported.model.graph.outputs] == ["output_out"]
    with pytest.raises(UsageError, match="2 input_names for 1"):
        export_torch(_mlp(), _X, input_names=["a", "b"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("name", ["mlp", "lenet"])
def test_other_floating_types(name: str, dtype: torch.dtype) -> None:
    network = NETWORKS[name]
    exported = export_torch(network.module(dtype), network.inputs(1, dtype))
    expected = {torch.float16: "FLOAT16", torch.bfloat16: "BFLOAT16", torch.float64: "DOUBLE"}[dtype]
    assert exported.model.graph.inputs[0].dtype == exported.model.graph.outputs[0].dtype == ir.DataType[expected]


def test_frozen_attention_is_not_exported_fused() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval().requires_grad_(False)
    x = torch.randn(1, 3, 8)
    _assert_reproduces(export_torch(layer, x), layer, torch.randn(4, 3, 8))
    assert torch.backends.mha.get_fastpath_enabled()


def test_zeros_in_front_of_a_maximum_stay_zeros() -> None:
    layers = nn.Sequential(nn.ConstantPad2d(1, 0.0), nn.MaxPool2d(3, stride=2)).eval()
    x = torch.randn(2, 1, 4, 4) - 5
    _assert_reproduces(export_torch(layers, x), layers, x)


def test_the_callers_things_are_left_alone(capfd: pytest.CaptureFixture[str]) -> None:
    module = NETWORKS["t5_encoder"].module()  # passes through both exporters
    next(module.parameters()).requires_grad_(False)
    x = NETWORKS["t5_encoder"].inputs(1)[0].requires_grad_()
    before = [(p.requires_grad, p.clone()) for p in module.parameters()]
    exported = export_torch(module, x, NETWORKS["t5_encoder"].extras(1))
    assert not any(sub.training for sub in module.modules())
    assert all(
        p.requires_grad == r and torch.equal(p, v) for p, (r, v) in zip(module.parameters(), before, strict=True)
    )
    assert x.grad is None
    assert x.requires_grad
    assert capfd.readouterr() == ("", "")
    held = [value.const_value.numpy().copy() for value in exported.model.graph.initializers.values()]
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    now = [value.const_value.numpy() for value in exported.model.graph.initializers.values()]
    assert all(np.array_equal(a, b) for a, b in zip(held, now, strict=True))


def test_nothing_of_the_authors_machine_is_kept() -> None:
    for name in ("mlp", "t5_encoder"):
        network = NETWORKS[name]
        exported = export_torch(network.module(), network.inputs(1), network.extras(1))
        assert not re.search(rb"\.py\b", ir.to_proto(exported.model).SerializeToString())


class _IgnoresTheMask(nn.Module):
    """Attention layers ignore a mask that is all ones, decided in Python: only a tracer gets past the decision."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return x * 2 + 0 * bool(mask.all())


@pytest.mark.parametrize("function", [lambda x, mask: x * 2, _IgnoresTheMask().eval()], ids=["dynamo", "torchscript"])
def test_an_unused_input_stays_an_input(function: Callable[..., Tensor]) -> None:
    exported = export_torch(function, torch.rand(1, 4), torch.ones(1, 4))
    shapes = {value.name: [str(size) for size in value.shape] for value in exported.model.graph.inputs}
    assert shapes == {"x": ["batch", "4"], "mask": ["batch", "4"]}


class _Unrolled(nn.Module):
    """Mixes each example with its neighbour by a Python loop: only as many examples as traced."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x[i] + 0.1 * x[i - 1] * i for i in range(x.shape[0])])


def test_a_batch_that_cannot_vary() -> None:
    x = torch.randn(3, 4)
    with pytest.raises(ModelError, match=r"(?s)dynamo exporter, any.*torchscript exporter, any.*dynamic_batch='auto'"):
        export_torch(_Unrolled().eval(), x)
    with pytest.warns(OnnxIgWarning, match="batch size is fixed"):
        exported = export_torch(_Unrolled().eval(), x, dynamic_batch="auto")
    assert not exported.dynamic_batch
    assert list(exported.model.graph.inputs[0].shape) == [3, 4]
    _assert_reproduces(exported, _Unrolled(), torch.randn(3, 4))
    assert not export_torch(_Unrolled().eval(), x, dynamic_batch=False).dynamic_batch


class _FreezesItsScale(nn.Module):
    """A tracer freezes what NumPy computed at the example's value."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.tensor(np.abs(x.detach().numpy()).max())


class _FreezesItsMask(nn.Module):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return x if bool(mask.all()) else x * mask


@pytest.mark.filterwarnings("ignore:the model changes its own gradient")
@pytest.mark.parametrize(
    ("module", "extras"), [(_FreezesItsScale(), ()), (_FreezesItsMask(), (torch.ones(1, 4, dtype=torch.int64),))]
)
def test_an_export_that_only_reproduces_its_example_is_refused(module: nn.Module, extras: tuple[Tensor, ...]) -> None:
    with pytest.raises(ModelError, match=r"torchscript exporter.*differs from torch"):
        export_torch(module.eval(), torch.rand(1, 4), extras)


def test_the_check_rejects_a_slightly_wrong_model() -> None:
    module = _mlp()
    exported = export_torch(module, _X)
    arguments = [Argument("input", _X, True, True)]
    check_export(exported.model, module, arguments, True)
    value = exported.model.graph.initializers["model.5.bias"]
    value.const_value = ir.Tensor(value.const_value.numpy() + np.float32(2e-3))
    with pytest.raises(ModelError, match="differs from torch"):
        check_export(exported.model, module, arguments, True)


@pytest.mark.parametrize(
    ("source", "inputs", "keywords", "error", "said"),
    [
        (_mlp(), torch.zeros(1, 7), {}, InputError, r"fails on these arguments \(\(1, 7\)\)"),
        (_mlp(), (), {}, UsageError, "needs example inputs"),
        (_mlp(), "x", {}, UsageError, "example input is a str"),
        (_mlp(), _X, {"output": "logits"}, UsageError, "single tensor"),
        (_mlp(), _X, {"weights": "w.pt"}, UsageError, "package.module:factory"),
        (lambda x: 3, _X, {}, ModelError, "returns a int"),
        (42, _X, {}, UsageError, "cannot export a int"),
        ("resnet", _X, {}, UsageError, "neither a .pt2 file nor"),
        ("no_such_package:make", _X, {}, UsageError, "cannot find"),
        ("missing.pt2", _X, {}, UsageError, "no such file"),
        ("model.pth", _X, {}, ModelError, "no graph"),
    ],
)
def test_what_is_refused(source: Any, inputs: Any, keywords: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        export_torch(source, inputs, **keywords)


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, onnx_ig, onnx_ig.quadrature; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
