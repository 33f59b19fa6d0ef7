"""ONNX Runtime's own operators: the standard form computes what its kernels compute, and its gradient is right."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnxruntime.capi._pybind_state import quantize_matmul_bnb4
from transformers import T5Config
from transformers.models.t5.modeling_t5 import T5Attention

import onnx_ig
from onnx_ig.errors import NotDifferentiableError, ProviderError
from onnx_ig.runtime.session import Session
from tests.judging.judge import Case, judge, make_case

MS = "com.microsoft"
_rng = np.random.default_rng(0)


def _f(*shape: int) -> np.ndarray:
    return np.asarray(_rng.standard_normal(shape), np.float32)


def _i(*numbers: int, dtype: type = np.int32) -> np.ndarray:
    return np.array(numbers, dtype)


def _ms(op_type: str, inputs: list[np.ndarray | None], name: str = "", **kwargs: Any) -> Case:
    """One node of com.microsoft; its integer inputs are constants."""
    fixed = tuple(i for i, x in enumerate(inputs) if x is not None and x.dtype != np.float32)
    return make_case(op_type, inputs, name=f"{op_type}_{name}", domain=MS, constants=fixed, **kwargs)


_ANGLES = np.outer(np.arange(8), 10.0 ** -np.arange(8)).astype(np.float32)
_COS, _SIN = np.cos(_ANGLES), np.sin(_ANGLES)
_QKV = [_f(2, 5, 16), _f(16, 48) / 4, _f(48)]
_MASK = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0]], np.int32)
_MHA = [_f(2, 5, 16), _f(2, 6, 16), _f(2, 6, 16)]
_NBITS = _rng.integers(0, 256, (8, 2, 8)).astype(np.uint8)
_IDS = np.array([[1, 0, 4], [2, -1, 3]], np.int64)


def _bytes(*shape: int) -> np.ndarray:
    return _rng.integers(0, 256, shape).astype(np.uint8)


def _bnb4(kind: int, n: int, k: int, block: int) -> Case:
    """Weights as ONNX Runtime's own quantiser packs them."""
    packed, absmax = np.zeros((n * k + 1) // 2, np.uint8), np.zeros(-(-n * k // block), np.float32)
    quantize_matmul_bnb4(packed, _f(n, k), absmax, block, kind, n, k)
    sizes = {"N": n, "K": k, "block_size": block, "quant_type": kind}
    return _ms("MatMulBnb4", [_f(2, 3, k), packed, absmax], f"{kind}_{k}", **sizes)


CASES = [
    *(
        _ms("FusedMatMul", [_f(*a), _f(*b)], f"{ta}{tb}", transA=ta, transB=tb, alpha=0.5)
        for (ta, a), (tb, b) in itertools.product(
            [(0, (2, 3, 4)), (1, (2, 4, 3))], [(0, (2, 4, 5)), (1, (2, 5, 4))]
        )
    ),
    _ms("FusedMatMul", [_f(3, 2, 4), _f(2, 4, 5)], "batch_a", transBatchA=1),
    _ms("FusedMatMul", [_f(2, 3, 4), _f(5, 2, 4)], "batch_b", transBatchB=1, transB=1),
    _ms("TransposeMatMul", [_f(2, 4, 3), _f(2, 4, 5)], "a", transA=1),
    _ms("FusedGemm", [_f(3, 4), _f(5, 4), _f(5)], "tanh", transB=1, alpha=0.5, beta=2.0, activation="Tanh"),
    _ms("FusedGemm", [_f(3, 4), _f(4, 5)], "leaky", activation="LeakyRelu", activation_alpha=0.3),
    *(
        _ms("FusedConv", [_f(1, 2, 5, 5), _f(3, 2, 3, 3), _f(3)], kind, activation=kind, activation_params=p, group=1)
        for kind, p in [("Relu", None), ("Sigmoid", None), ("LeakyRelu", [0.2]), ("Clip", [-1.0, 2.0]),
                        ("HardSigmoid", [0.3, 0.4]), ("Tanh", None)]
    ),
    _ms("FusedConv", [_f(1, 2, 5, 5), _f(3, 2, 3, 3), _f(3), _f(1, 3, 3, 3)], "sum", activation="Relu"),
    _ms("Gelu", [_f(3, 4)]),
    _ms("BiasGelu", [_f(2, 3, 4), _f(4)]),
    _ms("FastGelu", [_f(2, 3, 4), _f(4)], "bias"),
    _ms("FastGelu", [_f(2, 3, 4)]),
    _ms("QuickGelu", [_f(3, 4)]),
    _ms("QuickGelu", [_f(3, 4)], "silu", alpha=1.0),
    _ms("SkipLayerNormalization", [_f(2, 3, 8), _f(2, 3, 8), _f(8), _f(8), _f(8)], "bias"),
    _ms("SkipLayerNormalization", [_f(2, 3, 8), _f(2, 3, 8), _f(8)], "plain", epsilon=1e-3),
    _ms("SkipSimplifiedLayerNormalization", [_f(2, 3, 8), _f(2, 3, 8), _f(8), _f(8)], "bias"),
    _ms("Attention", [*_QKV], "plain", num_heads=4),
    _ms("Attention", [*_QKV, _MASK], "mask", num_heads=4),
    _ms("Attention", [*_QKV, _i(4, 3)], "lengths", num_heads=4),
    _ms("Attention", [*_QKV, _MASK], "causal", num_heads=4, unidirectional=1),
    _ms("Attention", [*_QKV, None, None, _f(2, 4, 5, 5)], "bias", num_heads=4, scale=0.3),
    _ms("Attention", [_f(2, 5, 16), _f(16, 40), _f(40)], "sizes", num_heads=4, qkv_hidden_sizes=[16, 16, 8]),
    _ms("Attention", [*_QKV, None, _f(2, 2, 4, 3, 4)], "past", num_heads=4, n_outputs=2, unidirectional=1),
    _ms("MultiHeadAttention", [*_MHA], "plain", num_heads=4),
    _ms("MultiHeadAttention", [*_MHA, _f(48)], "bias", num_heads=4),
    _ms("MultiHeadAttention", [*_MHA, None, _MASK.repeat(1, 1)[:, [0, 1, 2, 3, 3, 4]]], "mask", num_heads=4),
    _ms("MultiHeadAttention", [*_MHA, None, None, _f(2, 4, 5, 6)], "attention_bias", num_heads=4, scale=0.7),
    _ms("MultiHeadAttention", [_f(2, 5, 16), _f(2, 4, 6, 4), _f(2, 4, 6, 4)], "split", num_heads=4),
    _ms("MultiHeadAttention", [_f(2, 5, 16)] * 1 + [_f(2, 5, 16)] * 2, "causal", num_heads=4, unidirectional=1),
    _ms("RotaryEmbedding", [_f(2, 5, 16), _i(2, dtype=np.int64), _COS[:, :4].copy(), _SIN[:, :4].copy()], "offset"),
    _ms("RotaryEmbedding", [_f(2, 5, 16), np.array([[0, 1, 2, 3, 4], [2, 3, 4, 5, 6]]), _COS[:, :2], _SIN[:, :2]],
        "heads", num_heads=4, interleaved=1),
    _ms("RotaryEmbedding", [_f(2, 2, 3, 8), _i(1, dtype=np.int64), _COS[:, :2], _SIN[:, :2]],
        "partial", num_heads=2, rotary_embedding_dim=4),
    _ms("GroupQueryAttention",
        [_f(2, 5, 64), _f(2, 5, 32), _f(2, 5, 32), None, None, _i(4, 4), _i(5)[0:1].reshape(()), _COS, _SIN],
        "rotary", num_heads=4, kv_num_heads=2, do_rotary=1, n_outputs=3),
    _ms("GroupQueryAttention", [_f(2, 5, 128), None, None, None, None, _i(4, 2), _i(5).reshape(())],
        "packed", num_heads=4, kv_num_heads=2, local_window_size=3, n_outputs=3),
    _ms("GroupQueryAttention",
        [_f(2, 1, 64), _f(2, 1, 32), _f(2, 1, 32), _f(2, 2, 4, 16), _f(2, 2, 4, 16), _i(4, 4),
         _i(5).reshape(()), _COS, _SIN],
        "past", num_heads=4, kv_num_heads=2, do_rotary=1, n_outputs=3),
    _ms("MatMulNBits", [_f(3, 32), _NBITS, _f(8, 2)], "no_zero", K=32, N=8, bits=4, block_size=16),
    _ms("MatMulNBits", [_f(3, 32), _NBITS, _f(8, 2), _rng.integers(0, 256, (8, 1)).astype(np.uint8)], "zero",
        K=32, N=8, bits=4, block_size=16),
    _ms("MatMulNBits", [_f(2, 3, 32), _rng.integers(0, 256, (8, 2, 16)).astype(np.uint8), _f(8, 2)], "8", K=32, N=8,
        bits=8, block_size=16),
    *(_bnb4(kind, n, k, block) for kind in (0, 1) for n, k, block in ((8, 32, 16), (7, 30, 16))),
    *(
        _ms("GatherBlockQuantized", [_bytes(5, 4 * bits), _IDS, _f(5, 2), zeros], f"{bits}_{zeros is None}", bits=bits,
            block_size=16, quantize_axis=1, gather_axis=0)
        for bits in (2, 4, 8) for zeros in (None, _bytes(5, max(1, bits // 4)))
    ),
    _ms("CDist", [_f(3, 4), _f(5, 4)], "square"),
    _ms("CDist", [_f(3, 4), _f(5, 4)], "euclidean", metric="euclidean"),
    _ms("Trilu", [_f(4, 4)], "lower", upper=0),
    _ms("Pad", [_f(3, 4), _i(1, 0, 2, 1, dtype=np.int64)]),
    _ms("ExpandDims", [_f(3, 4), _i(-1).reshape(())]),
]  # fmt: skip


def _with_constants(case: Case) -> onnx.ModelProto:
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    for name in case.constants:
        model.graph.initializer.append(onnx.numpy_helper.from_array(case.inputs[name], name))
    kept = [i for i in model.graph.input if i.name not in case.constants]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    return model


def _standard(case: Case) -> Case:
    """The case's model as it is loaded: standard operators only."""
    proto = ir.to_proto(onnx_ig.load(_with_constants(case)).ir_model)
    assert {node.domain for node in proto.graph.node} <= {""}
    return Case(case.name, proto, {n: x for n, x in case.inputs.items() if n not in case.constants})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_value_and_gradient(case: Case) -> None:
    feeds = {n: x for n, x in case.inputs.items() if n not in case.constants}
    own = Session(_with_constants(case), "cpu", threads=1).run(feeds)
    standard = _standard(case)
    mine = Session(standard.model, "cpu", threads=1).run(feeds)
    for name, value in own.items():
        np.testing.assert_allclose(mine[name], value, rtol=1e-5, atol=1e-5 * max(1, np.abs(value).max()))
    verdict = judge(standard)
    assert verdict.outcome == "right", verdict.detail


def _nchw(x: np.ndarray) -> torch.Tensor:
    return torch.tensor(x.astype(np.float64)).movedim(-1, 1)


def _nhwc(x: torch.Tensor) -> np.ndarray:
    return x.movedim(1, -1).numpy()


_IMAGE, _KERNEL = _f(2, 6, 6, 4), _f(3, 3, 3, 4)
_GAMMA, _BETA = _f(4), _f(4)
_PACKED, _QUERY, _PACKED_KV = _f(2, 5, 4, 3, 4), _f(2, 5, 16), _f(2, 6, 4, 2, 4)
_SCORES, _SHIFT = _f(2, 3, 4, 5), _f(2, 1, 1, 5)


def _attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Of [N, S, H, h] each, the heads joined."""
    heads = (torch.tensor(x.astype(np.float64)).transpose(1, 2) for x in (q, k, v))
    y = torch.nn.functional.scaled_dot_product_attention(*heads)
    return y.transpose(1, 2).flatten(2).numpy()


_TABLE = _f(32, 2)
_GATE = [_f(1, 2, 5, 5), _f(4, 6), _f(6), _f(1, 2, 1, 1)]


def _t5_bias(bidirectional: bool) -> np.ndarray:
    config = T5Config(num_heads=2, d_model=8, d_kv=4, is_decoder=not bidirectional)
    config.relative_attention_num_buckets, config.relative_attention_max_distance = 32, 30
    attention = T5Attention(config, has_relative_attention_bias=True, layer_idx=0)
    with torch.no_grad():
        attention.relative_attention_bias.weight.copy_(torch.tensor(_TABLE))
        return attention.compute_bias(40, 50).numpy()


def _gated_bias(query: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """WavLMAttention's: the gates of each head and query, from the sums of two halves."""
    q, rel, w, b, a = (torch.tensor(v).double() for v in (query + shift, *_GATE))
    halves = (q.view(2, 5, 2, 4).permute(0, 2, 1, 3) @ w + b).view(2, 2, 5, 2, 3).sum(-1)
    u, r = torch.sigmoid(halves).chunk(2, dim=-1)
    return ((u * (r * a - 1.0) + 2.0) * rel).numpy()


_GATED = [_f(2, 5, 8), _f(8)]
# operators without a kernel on CPU: a case and what torch says the result is
WITHOUT_KERNEL = {
    "NhwcConv": (
        _ms("NhwcConv", [_IMAGE, _KERNEL], pads=[1, 1, 1, 1]),
        lambda: _nhwc(torch.conv2d(_nchw(_IMAGE), _nchw(_KERNEL), padding=1)),
    ),
    "GroupNorm": (
        _ms("GroupNorm", [_IMAGE, _GAMMA, _BETA], groups=2, activation=1),
        lambda: _nhwc(
            torch.nn.functional.silu(
                torch.nn.functional.group_norm(
                    _nchw(_IMAGE), 2, torch.tensor(_GAMMA).double(), torch.tensor(_BETA).double()
                )
            )
        ),
    ),
    "packed": (
        _ms("MultiHeadAttention", [_PACKED], num_heads=4),
        lambda: _attention(*(_PACKED[:, :, :, i] for i in range(3))),
    ),
    "packed keys and values": (
        _ms("MultiHeadAttention", [_QUERY, _PACKED_KV], num_heads=4),
        lambda: _attention(_QUERY.reshape(2, 5, 4, 4), *(_PACKED_KV[:, :, :, i] for i in range(2))),
    ),
    "BiasSoftmax": (
        _ms("BiasSoftmax", [_SCORES, _SHIFT], axis=3, is_inner_broadcast=0),
        lambda: torch.softmax(torch.tensor(_SCORES + _SHIFT), -1).numpy(),
    ),
    "RelativePositionBias": (
        _ms(
            "RelativePositionBias",
            [_TABLE, _i(40, dtype=np.int64), _i(50, dtype=np.int64)],
            is_bidirectional=1,
            max_distance=30,
        ),
        lambda: _t5_bias(True),
    ),
    "RelativePositionBias of the past": (
        _ms("RelativePositionBias", [_TABLE, _i(40, dtype=np.int64), _i(50, dtype=np.int64)], max_distance=30),
        lambda: _t5_bias(False),
    ),
    "GatedRelativePositionBias": (
        _ms("GatedRelativePositionBias", [*_GATED, *_GATE], num_heads=2),
        lambda: _gated_bias(*_GATED),
    ),
    "BiasAdd": (_ms("BiasAdd", [_IMAGE, _GAMMA, _IMAGE]), lambda: 2 * _IMAGE + _GAMMA),
}


@pytest.mark.parametrize("name", WITHOUT_KERNEL)
def test_operators_without_a_kernel_on_cpu(name: str) -> None:
    case, expected = WITHOUT_KERNEL[name]
    standard = _standard(case)
    (mine,) = Session(standard.model, "cpu", threads=1).run(standard.inputs).values()
    np.testing.assert_allclose(mine, expected(), rtol=1e-4, atol=1e-5)
    verdict = judge(standard)
    assert verdict.outcome == "right", verdict.detail


REFUSED = {
    "PackedMultiHeadAttention": (MS, "packed into a shared buffer"),
    "NGramRepeatBlock": (MS, "no rule"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_standard_form_is_refused_only_on_the_path(name: str) -> None:
    domain, words = REFUSED[name]
    text = f"""<ir_version: 8, opset_import: ["" : 18, "{domain}" : 1]>
        f (float[2, 3] x, float[2, 3] z) => (float[2, 3] y, float[2, 3] w) {{ y = Sin (x)  w = {domain}.{name} (z) }}"""
    model = onnx.parser.parse_model(text.replace(f"{domain}.{name}", "Abs"))
    model.graph.node[1].op_type, model.graph.node[1].domain = name, domain
    with pytest.raises(NotDifferentiableError, match=words):
        onnx_ig.differentiate(model, wrt=["z"], outputs=["w"])
    proto = onnx_ig.differentiate(model, wrt=["x"], outputs=["y"])
    assert [o.name for o in proto.graph.output][-1] == "grad_x"


_TOKENS, _SEGMENTS = _i(1, 2, 3, 4, 5, 8).reshape(2, 3), _i(0, 0, 1, 1, 1, 1).reshape(2, 3)
_KEPT = _i(1, 1, 0, 1, 1, 1).reshape(2, 3)
_SCALES = [np.array(s, np.float32) for s in (0.01, 0.02, 0.015, 0.012, 0.01)]
_ZEROS = [np.array(z, np.uint8) for z in (120, 130, 110, 0, 128)]
_QUANTISED = [_bytes(9, 8), _bytes(6, 8), _bytes(2, 8), _bytes(8), _bytes(8)]
EMBEDDINGS: dict[str, tuple[str, int, list[np.ndarray | None]]] = {
    "floats": (
        "EmbedLayerNormalization",
        3,
        [_TOKENS, _SEGMENTS, _f(9, 8), _f(6, 8), _f(2, 8), _f(8), _f(8), _KEPT],
    ),
    "quantised": (
        "QEmbedLayerNormalization",
        2,
        [_TOKENS, _SEGMENTS, *_QUANTISED, _KEPT, *_SCALES, *_ZEROS],
    ),
    "quantised, no mask": ("QEmbedLayerNormalization", 2, [_TOKENS, _SEGMENTS, *_QUANTISED, None, *_SCALES, *_ZEROS]),
    "quantised, no segments": (
        "QEmbedLayerNormalization",
        2,
        [_TOKENS, None, *_QUANTISED[:2], None, *_QUANTISED[3:], _KEPT, *_SCALES[:2], None, *_SCALES[3:], *_ZEROS[:2],
         None, *_ZEROS[3:]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_embeddings(name: str) -> None:
    op_type, n_outputs, inputs = EMBEDDINGS[name]
    places = tuple(i for i, x in enumerate(inputs) if x is not None)
    case = make_case(op_type, inputs, domain=MS, n_outputs=n_outputs, constants=places, epsilon=1e-5)
    case.model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    case.model.graph.output[1].type.tensor_type.elem_type = onnx.TensorProto.INT32
    own = Session(_with_constants(case), "cpu", threads=1).run({})
    mine = Session(_standard(case).model, "cpu", threads=1).run({})
    for name, value in own.items():
        np.testing.assert_allclose(mine[name], value, atol=1e-5)


def _rounded(x: torch.Tensor) -> torch.Tensor:
    """x to 8 bits by the range of its numbers, the derivative 1 (the range is held constant)."""
    with torch.no_grad():
        low, high = min(0.0, float(x.min())), max(0.0, float(x.max()))
        scale = (high - low) / 255 or 1.0
        error = (torch.round(x / scale) * scale).float() - x
    return x + error


LSTMS: dict[str, dict[str, Any]] = {
    "forward": {"direction": "forward"},
    "reverse": {"direction": "reverse"},
    "bidirectional": {"direction": "bidirectional"},
    "scales per column": {"direction": "forward", "columns": True},
    "coupled gates": {"direction": "forward", "input_forget": 1},
}


@pytest.mark.parametrize("name", LSTMS)
def test_lstm_on_quantised_weights(name: str) -> None:
    """Values as the kernel's; the gradient is autograd's through a cell that rounds x once and h at each step."""
    attributes = dict(LSTMS[name])
    columns, directions = attributes.pop("columns", False), 2 if name == "bidirectional" else 1
    w, r = (_rng.integers(-100, 100, (directions, k, 16)).astype(np.int8) for k in (5, 4))
    shape = (directions, 16) if columns else (directions,)
    scales = [_rng.uniform(0.005, 0.01, shape).astype(np.float32) for _ in range(2)]
    zeros = [_rng.integers(-3, 3, shape).astype(np.int8) * (not columns) for _ in range(2)]
    bias, x = _f(directions, 32), _f(6, 3, 5)
    inputs = [x, w, r, bias, None, None, None, None, scales[0], zeros[0], scales[1], zeros[1]]
    case = make_case(
        "DynamicQuantizeLSTM", inputs, domain=MS, constants=(1, 2, 3, 8, 9, 10, 11), hidden_size=4, **attributes
    )
    own = Session(_with_constants(case), "cpu", threads=1).run({"x0": x})["y0"]
    u = _rng.standard_normal(own.shape).astype(np.float32)
    proto = onnx_ig.differentiate(_with_constants(case))
    assert {node.domain for node in proto.graph.node} == {""}
    values = Session(proto, "cpu", threads=1).run({"x0": x, "cotangent_y0": u})
    np.testing.assert_allclose(values["y0"], own, atol=1e-5)
    leaf = torch.tensor(x, requires_grad=True)
    walks = []
    for d in range(directions):
        weights = [
            (torch.tensor(q[d].astype(np.float32)) - torch.tensor(z[d].astype(np.float32))) * torch.tensor(s[d])
            for q, s, z in zip((w, r), scales, zeros, strict=True)
        ]
        at_x = _rounded(leaf) @ weights[0] + torch.tensor(bias[d, :16] + bias[d, 16:])
        h = c = torch.zeros(3, 4)
        outputs: list[torch.Tensor] = []
        backwards = name == "reverse" or d == 1
        for t in reversed(range(6)) if backwards else range(6):
            i, o, f, g = (at_x[t] + _rounded(h) @ weights[1]).chunk(4, dim=1)
            i = torch.sigmoid(i)
            c = (1 - i if attributes.get("input_forget") else torch.sigmoid(f)) * c + i * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            outputs.append(h)
        walks.append(torch.stack(outputs[::-1] if backwards else outputs))
    y = torch.stack(walks, dim=1)
    np.testing.assert_allclose(y.detach(), own, atol=1e-4)
    (expected,) = torch.autograd.grad(y, leaf, torch.tensor(u))
    np.testing.assert_allclose(values["grad_x0"], expected, atol=1e-3 * float(expected.abs().max()))


def test_simplified_layer_normalization_of_the_default_domain() -> None:
    case = make_case("SimplifiedLayerNormalization", [_f(2, 3, 8), _f(8)], axis=-1, epsilon=1e-5)
    own = Session(case.model, "cpu", threads=1).run(case.inputs)
    standard = _standard(case)
    mine = Session(standard.model, "cpu", threads=1).run(case.inputs)
    np.testing.assert_allclose(mine["y0"], own["y0"], atol=1e-6)
    assert judge(standard).outcome == "right"


def test_inverse_keeps_its_kernel() -> None:
    case = _ms("Inverse", [_f(2, 3, 3) + 3 * np.eye(3, dtype=np.float32)])
    proto = onnx_ig.differentiate(case.model)
    x, u = torch.tensor(case.inputs["x0"], requires_grad=True), torch.tensor(_f(2, 3, 3))
    (expected,) = torch.autograd.grad(torch.linalg.inv(x), x, u)
    try:
        values = Session(proto, "cpu", threads=1).run({"x0": case.inputs["x0"], "cotangent_y0": u.numpy()})
    except ProviderError as error:  # a build without contributed operators
        pytest.fail(str(error))
    np.testing.assert_allclose(values["grad_x0"], expected, rtol=1e-4, atol=1e-5)
