"""float64 stays float64, also through operators of which ONNX Runtime has no kernel for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import onnx_ig
from onnx_ig.autodiff.float64.rewriting import FORMULAS, SpellOutFloat64Pass

# ONNX Runtime expands the first by the standard's function body, or they have no float64; the others are refused
BODIES = {"Attention", "LeakyRelu", "PRelu", "MeanVarianceNormalization", "RotaryEmbedding", "DequantizeLinear"}
NO_FLOAT64 = {"QuantizeLinear", "QLinearMatMul", "TfIdfVectorizer", "Multinomial"}
REFUSED = {"Det", "MaxRoiPool", "MaxUnpool"}
OF_OLD = {"Affine", "Crop", "ImageScaler", "ParametricSoftplus", "Scale", "ScaledTanh", "Upsample"}
X = torch.linspace(-2, 2, 2 * 4 * 9 * 7, dtype=torch.float64).reshape(2, 4, 9, 7).sin() * 1.7


def kernels(of: str) -> set[str]:
    """The operators of the default domain that ONNX Runtime's CPU provider has a kernel for at a type."""
    known = onnxruntime.capi.onnxruntime_pybind11_state.get_all_opkernel_def()
    return {
        kernel.op_name
        for kernel in known
        if kernel.provider == "CPUExecutionProvider"
        and kernel.domain in ("", "ai.onnx")
        and any(f"tensor({of})" in types for types in kernel.type_constraints.values())
    }


def test_the_table_is_what_onnx_runtime_lacks() -> None:
    lacking = kernels("float") - kernels("double")
    by_other_types = {"OneHot", "NonZero"}  # with other indices than float64; of other types than float64
    bodies = {"Celu", "Gelu", "HardSwish", "Mish"}  # of Elu, Erf, HardSigmoid and Softplus
    unready = {"GRU", "LSTM"}  # registered, and "does not support double yet" when it is opened
    assert lacking - BODIES - NO_FLOAT64 - REFUSED - OF_OLD == FORMULAS.keys() - by_other_types - bodies - unready | (
        lacking & (by_other_types | bodies)
    )


FUNCTIONS: dict[str, tuple[Callable[[float], float], float, float]] = {
    "Erf": (math.erf, -7, 7),
    "Atan": (math.atan, -50, 50),
    "Asin": (math.asin, -1, 1),
    "Acos": (math.acos, -1, 1),
    "Asinh": (math.asinh, -20, 20),
    "Acosh": (math.acosh, 1, 20),
    "Atanh": (math.atanh, -0.99, 0.99),
    "Sinh": (math.sinh, -5, 5),
    "Cosh": (math.cosh, -5, 5),
    "Tan": (math.tan, -1.5, 1.5),
    "Softplus": (lambda x: max(x, 0) + math.log1p(math.exp(-abs(x))), -800, 800),
}


def values(text: str, feeds: dict[str, np.ndarray], **constants: np.ndarray) -> np.ndarray:
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {text}')
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(v, n) for n, v in constants.items())
    model = onnx_ig.load(proto).ir_model
    SpellOutFloat64Pass()(model)
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    return np.asarray(session.run(None, feeds)[0])


@pytest.mark.parametrize("operator", FUNCTIONS)
def test_functions_are_exact_to_the_last_digits(operator: str) -> None:
    function, low, high = FUNCTIONS[operator]
    x = np.concatenate([np.linspace(low, high, 4001), [low, high]])
    found = values(f"f (double[N] x) => (double[N] y) {{ y = {operator} (x) }}", {"x": x})
    np.testing.assert_allclose(found, np.vectorize(function)(x), rtol=1e-13, atol=1e-15)


def test_at_the_ends_of_float64() -> None:
    x = np.array([-np.inf, -1e308, -1e-300, 0, 1e-300, 1e308, np.inf])
    for operator, ends in (("Erf", 1.0), ("Atan", math.pi / 2)):
        found = values(f"f (double[N] x) => (double[N] y) {{ y = {operator} (x) }}", {"x": x})
        np.testing.assert_allclose(found, np.vectorize(getattr(math, operator.lower()))(x), rtol=1e-15)
        assert found[-1] == pytest.approx(ends, rel=1e-15)


def test_choices_and_positions() -> None:
    x = np.array([[0.5, 1 + 1e-12, 1.0], [-1, 0, 0]])
    of_x = "f (double[N, M] x) => ({} y) {{ y = {} }}"
    hardmax = values(of_x.format("double[N, M]", "Hardmax <axis = 1> (x)"), {"x": x})
    assert hardmax.tolist() == [[0, 1, 0], [0, 1, 0]]
    found = values(of_x.format("int64[2, K]", "NonZero (x)"), {"x": x})
    assert found.tolist() == [[0, 0, 0, 1], [0, 1, 2, 0]]
    chosen = values(
        "f (int64[N] x) => (double[N, 3] y) { y = OneHot (x, depth, v) }", {"x": np.array([2, 0])},
        depth=np.array(3), v=np.array([0.1, 0.7]),
    )  # fmt: skip
    assert chosen.tolist() == [[0.1, 0.1, 0.7], [0.7, 0.1, 0.1]]


class Of(nn.Module):
    """Σ y and Σ y² of a function of pictures: [N, 2]."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        y = self.function(x).flatten(1)
        return torch.stack([y.sum(1), (y * y).sum(1)], 1)


def seeded(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        parameter.data = torch.rand(parameter.shape, generator=generator).double() - 0.5
    return module.double().eval()


CONV1D = seeded(nn.Conv1d(4, 3, 5, padding=2))
RNN, GRU, LSTM = (seeded(kind(7, 3, batch_first=True)) for kind in (nn.RNN, nn.GRU, nn.LSTM))


def of_float32_attributes(x: Tensor) -> Tensor:
    return F.selu(x) + F.celu(x, 0.5) + F.hardsigmoid(x)


def activations(x: Tensor) -> Tensor:
    smooth = F.gelu(x) + F.gelu(x, approximate="tanh") + F.mish(x) + F.softsign(x)
    return smooth + F.elu(x) + F.hardswish(x) + F.threshold(x, 0.5, 0.0)


def folded(x: Tensor) -> Tensor:
    return F.fold(F.unfold(x, (3, 2), padding=(1, 0), stride=(2, 1)), (9, 7), (3, 2), 1, (1, 0), (2, 1))


# function of [N, 4, 9, 7], and how near it is to torch: not quite where an operator's attributes or scales are float32
ROWS: dict[str, tuple[Any, float]] = {
    "strides, pads, groups": (seeded(nn.Conv2d(4, 6, 3, stride=(2, 1), padding=(1, 2), groups=2)), 1e-14),
    "dilation, depthwise, without bias": (seeded(nn.Conv2d(4, 4, 2, dilation=2, groups=4, bias=False)), 1e-14),
    "pointwise": (seeded(nn.Conv2d(4, 3, 1)), 1e-14),
    "one axis": (lambda x: CONV1D(x.flatten(2)), 1e-14),
    "transposed": (seeded(nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2)), 1e-14),
    "transposed, dilation": (seeded(nn.ConvTranspose2d(4, 2, (2, 3), stride=(1, 3), dilation=2)), 1e-14),
    "transposed, cropped below its window": (seeded(nn.ConvTranspose2d(4, 2, 2, padding=2)), 1e-14),
    "average, padding counted": (lambda x: F.avg_pool2d(x, 3, 2, 1), 1e-14),
    "average, padding not counted": (lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), 1e-14),
    "average, rounded up": (lambda x: F.avg_pool2d(x, 2, 2, ceil_mode=True), 1e-14),
    "of all positions": (lambda x: F.adaptive_avg_pool2d(x, 1) + F.adaptive_max_pool2d(x, 1), 1e-14),
    "norms of windows": (lambda x: F.lp_pool2d(x.abs() + 1, 3.0, 2), 1e-14),
    "instance norm": (seeded(nn.InstanceNorm2d(4, affine=True)), 1e-11),
    "response norm": (lambda x: F.local_response_norm(x, 3), 1e-9),
    "interpolation": (lambda x: F.interpolate(x, scale_factor=2.0, mode="bilinear"), 1e-14),
    "interpolation by a fraction": (lambda x: F.interpolate(x, size=(5, 11), mode="bicubic"), 1e-5),
    "fold": (folded, 1e-14),
    "recurrent": (lambda x: RNN(x[:, 0])[0], 1e-13),
    "gated": (lambda x: GRU(x[:, 0])[0], 1e-13),
    "long memory": (lambda x: LSTM(x[:, 0])[0], 1e-13),
    "activations": (activations, 1e-13),
    "of float32 attributes": (of_float32_attributes, 1e-7),
}


def gradients(module: nn.Module, x: Tensor, target: int) -> Tensor:
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(module(x)[:, target].sum(), x)
    return gradient


@pytest.mark.parametrize("name", ROWS)
def test_operators_and_their_gradients_are_torchs(name: str) -> None:
    function, tolerance = ROWS[name]
    module = Of(function).double().eval()
    found = onnx_ig.InputXGradient(module, provider="cpu").attribute(X, target=1)
    expected = X * gradients(module, X, 1)
    assert found.dtype == torch.float64
    assert float((found - expected).abs().max() / expected.abs().max()) < tolerance


class Several(nn.Module):
    """Convolution, Erf, transposed convolution and pooling, behind each other: [N, 3]."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.ConvTranspose2d(6, 4, 3, stride=2)
        self.last = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.up(F.gelu(self.down(x)))
        return self.last(F.avg_pool2d(F.elu(h), 2).mean((2, 3)))


def test_every_door_is_exact(tmp_path: Path) -> None:
    """Gauss-Legendre with torch's gradients at the same points, to 1e-12."""
    module, source, steps = seeded(Several()), tmp_path / "m.onnx", 6
    program = torch.onnx.export(module, (X,), dynamo=True, dynamic_shapes=({0: "N"},), verbose=False)
    assert program is not None
    program.save(str(source))
    nodes, weights = (values for values in np.polynomial.legendre.leggauss(steps))
    nodes, weights = (nodes + 1) / 2, weights / 2
    expected = sum(w * X * gradients(module, a * X, 1) for a, w in zip(nodes, weights, strict=True))
    assert isinstance(expected, Tensor)

    def hold(found: Any, wanted: Tensor = expected) -> None:
        assert np.asarray(found).dtype == np.float64
        assert np.abs(np.asarray(found) - wanted.numpy()).max() < 1e-12 * float(wanted.abs().max())

    hold(onnx_ig.IntegratedGradients(module, provider="cpu").attribute(X, target=1, n_steps=steps))
    hold(onnx_ig.IntegratedGradients(source, provider="cpu").attribute(X.numpy(), target=1, n_steps=steps))
    forms: dict[str, dict[str, Any]] = {
        "complete": {"n_steps": steps},
        "loop-free": {"n_steps": steps, "steps_per_run": 0},
        "step": {"form": "step"},
    }
    for form, options in forms.items():
        file = onnx_ig.export(source, tmp_path / f"{form}.onnx", target=1, baselines=0, **options)
        session = onnxruntime.InferenceSession(file)
        path = {"path_nodes": nodes, "path_weights": weights} if form == "step" else {}
        (name,) = [y.name for y in session.get_outputs() if y.name.startswith("attribution_")]
        hold(session.run([name], {name.removeprefix("attribution_"): X.numpy(), **path})[0])
    gradient = onnxruntime.InferenceSession(onnx_ig.differentiate(source).SerializeToString())
    x, cotangent = (i.name for i in gradient.get_inputs())
    found = gradient.run([f"grad_{x}"], {x: X.numpy(), cotangent: np.eye(3)[[1, 1]]})[0]
    hold(found, gradients(module, X, 1))
