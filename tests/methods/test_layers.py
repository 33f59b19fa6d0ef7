"""Attributions to layers, of torch modules and of ONNX tensors; Captum is the oracle."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import captum.attr
import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

import onnx_ig
from onnx_ig.errors import UsageError

TOLERANCE = 1e-4  # of the largest attribution of the layer


class Pictures(nn.Module):
    """Convolutions, an activation that works in place, a linear head, and the picture's mean past all layers."""

    def __init__(self, inplace: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, padding=1)
        self.act = nn.ELU(inplace=inplace)
        self.second = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        deep = torch.tanh(self.second(self.act(self.conv(x)))).mean((2, 3))
        return self.head(deep) * (1 + x.mean((1, 2, 3)))[:, None]


class Words(nn.Module):
    """Embeddings of words and positions, one self-attention with a mask, rows of words for a linear layer, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 8)
        self.positions = nn.Embedding(6, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.rows = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        positions = torch.arange(words.shape[1])
        x = self.words(words) + self.positions(positions)
        x = x + self.attention(x, x, x, key_padding_mask=mask == 0, need_weights=False)[0]
        deep = torch.tanh(self.rows(x.reshape(-1, 8))).reshape(x.shape)
        return self.head((deep * mask[..., None]).sum(1) / mask.sum(1, keepdim=True))


class Split(nn.Module):
    """Two tensors out of one."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 3), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.sigmoid(self.left(x)), torch.tanh(self.right(x))


class Merge(nn.Module):
    """One tensor out of two."""

    def __init__(self) -> None:
        super().__init__()
        self.bilinear = nn.Bilinear(3, 2, 3)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return torch.tanh(self.bilinear(a, b))


class Table(nn.Module):
    """Two inputs, a layer with two outputs, one with two inputs, one activation called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(2, 4)
        self.act = nn.Softplus()
        self.split, self.merge = Split(), Merge()
        self.head = nn.Linear(3, 2)

    def forward(self, a: Tensor, b: Tensor, scale: float = 1.0) -> Tensor:
        joined = self.act(self.first(a)) * scale + self.act(self.second(b))
        return self.head(self.merge(*self.split(joined)))


def seeded(build: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return build().eval()


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(4))


MODULES = {build.__name__: seeded(build) for build in (Pictures, Words, Table)}
# Captum cannot explain the layer before one that works in place; the twin is the same function.
TWINS = MODULES | {"Pictures": seeded(functools.partial(Pictures, inplace=False))}
WORDS = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
MASK = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0]])
TABLE = (drawn(3, 3), drawn(3, 2))


@dataclass(frozen=True)
class Case:
    """A row: layers by name, a name for one layer and a list for several; the arguments of attribute."""

    module: str
    layer: str | list[str]
    inputs: Any
    arguments: dict[str, Any]
    integral: dict[str, Any] = field(default_factory=dict)  # those of LayerIntegratedGradients alone
    multiply: bool = True
    only: str = ""  # the one class that Captum answers with

    def layers(self, module: nn.Module) -> Any:
        named = dict(module.named_modules())
        return named[self.layer] if isinstance(self.layer, str) else [named[name] for name in self.layer]


ON_INPUT = {"attribute_to_layer_input": True}
PICTURE = {"target": 1}
SENTENCE = {"target": [0, 2], "additional_forward_args": MASK}
PADDED = {"baselines": torch.zeros(1, 5, dtype=torch.int64)}
INTEGRAL, GRADIENT = "LayerIntegratedGradients", "LayerGradientXActivation"
# Captum's delta has an assertion in its way where axis 0 of the layer is not the examples'.
NO_DELTA = {"return_convergence_delta": False}
CASES = {
    "convolution": Case("Pictures", "conv", drawn(2, 2, 5, 5), PICTURE, {"baselines": 0.3}),
    "convolution_local": Case("Pictures", "conv", drawn(2, 2, 5, 5), PICTURE, multiply=False, only=INTEGRAL),
    "input_in_place": Case("Pictures", "act", drawn(2, 2, 5, 5), PICTURE | ON_INPUT, only=GRADIENT),
    "one_example": Case("Pictures", "second", drawn(1, 2, 5, 5), PICTURE, {"method": "riemann_left"}, only=INTEGRAL),
    "embedding": Case("Words", "words", WORDS, SENTENCE, PADDED),
    "rows_of_words": Case("Words", "rows", WORDS, SENTENCE, PADDED | NO_DELTA),
    "rows_of_words_in": Case("Words", "rows", WORDS, SENTENCE | ON_INPUT, PADDED | NO_DELTA, only=INTEGRAL),
    "two_tensors_out": Case("Table", "split", TABLE, {"target": 0}, {"baselines": (0.1, drawn(1, 2))}),
    "two_tensors_in": Case("Table", "merge", TABLE, {"target": torch.tensor([0, 1, 1])} | ON_INPUT),
    "a_list_of_one": Case(
        "Table", ["merge"], TABLE, {"target": 0, "additional_forward_args": 0.5}, multiply=False, only=GRADIENT
    ),
    "several_apart": Case("Table", ["first", "second"], TABLE, {"target": 0}, {"n_steps": 9}, only=INTEGRAL),
    "several_in_a_row": Case("Table", ["split", "merge"], TABLE, {"target": 1}, only=GRADIENT),
    "called_twice": Case("Table", "act", TABLE, {"target": 1}),
}


def flat(values: Any) -> list[Any]:
    return [inner for v in values for inner in flat(v)] if isinstance(values, (tuple, list)) else [values]


def form(values: Any) -> Any:
    """The nesting of an answer, with shapes and kinds."""
    if isinstance(values, (tuple, list)):
        return type(values), [form(v) for v in values]
    return type(values), tuple(values.shape), values.dtype


def assert_agrees(ours: Any, theirs: Any) -> None:
    assert form(ours) == form(theirs)
    for a, b in zip(flat(ours), flat(theirs), strict=True):
        assert (a - b).abs().max() <= TOLERANCE * b.abs().max()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("method", "name"), [(m, n) for n, case in CASES.items() for m in (INTEGRAL, GRADIENT) if case.only in ("", m)]
)
def test_agrees_with_captum(method: str, name: str) -> None:
    case = CASES[name]
    integral = method == INTEGRAL
    arguments = dict(case.arguments)
    if integral:
        arguments |= {"n_steps": 5, "return_convergence_delta": True} | case.integral
    results = []
    for library, modules in ((onnx_ig, MODULES), (captum.attr, TWINS)):
        module = modules[case.module]
        explained = getattr(library, method)(module, case.layers(module), multiply_by_inputs=case.multiply)
        assert isinstance(explained, getattr(captum.attr, method))
        results.append(explained.attribute(case.inputs, **arguments))
    ours, theirs = results
    if arguments.get("return_convergence_delta"):
        (ours, delta), (theirs, expected) = results
        assert torch.allclose(delta, expected, atol=1e-4)
    assert_agrees(ours, theirs)


class Sentences(nn.Module):
    """The torch twin of ``SENTENCES``."""

    def __init__(self, table: Tensor, hidden: Tensor, head: Tensor) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(table)
        self.hidden, self.act, self.head = nn.Linear(4, 4, bias=False), nn.Tanh(), nn.Linear(4, 3, bias=False)
        self.hidden.weight, self.head.weight = nn.Parameter(hidden.T), nn.Parameter(head.T)

    def forward(self, ids: Tensor) -> Tensor:
        embedded = self.embedding(ids)
        return self.head((self.act(self.hidden(embedded)) * embedded).sum(1))


SENTENCES = """<ir_version: 8, opset_import: ["": 18]>
sentences (int64[n, 5] ids) => (float[n, 3] y) {
    embedded = Gather(table, ids)
    hidden = MatMul(embedded, hidden_weight)
    act = Tanh(hidden)
    gated = Mul(act, embedded)
    axis = Constant<value_ints = [1]>()
    pooled = ReduceSum<keepdims = 0>(gated, axis)
    y = MatMul(pooled, head_weight)
}"""


@functools.cache
def sentences() -> tuple[bytes, Sentences]:
    """The ONNX model and its twin."""
    weights = {"table": drawn(20, 4), "hidden_weight": drawn(4, 4) / 2, "head_weight": drawn(4, 3)}
    model = onnx.parser.parse_model(SENTENCES)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(w.numpy(), name) for name, w in weights.items())
    return model.SerializeToString(), Sentences(*weights.values()).eval()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("given", (torch.Tensor, np.ndarray))
@pytest.mark.parametrize(
    ("method", "names", "layers", "at_input"),
    (
        (INTEGRAL, "embedded", "embedding", False),
        (INTEGRAL, ["act"], ["act"], False),
        (INTEGRAL, "act", "act", True),
        (GRADIENT, "hidden", "hidden", False),
        (GRADIENT, ["act", "embedded"], ["act", "embedding"], False),
        (GRADIENT, ["act"], ["act"], True),
    ),
)
def test_tensors_of_a_graph_are_layers(given: type, method: str, names: Any, layers: Any, at_input: bool) -> None:
    model, twin = sentences()
    named = dict(twin.named_modules())
    modules = [named[name] for name in layers] if isinstance(layers, list) else named[layers]
    arguments = {"target": [0, 2], "attribute_to_layer_input": at_input}
    if method == INTEGRAL:
        arguments |= {"baselines": 7, "n_steps": 5, "return_convergence_delta": True}
    ids = WORDS if given is torch.Tensor else WORDS.numpy()
    ours = getattr(onnx_ig, method)(model, names).attribute(ids, **arguments)
    theirs = getattr(captum.attr, method)(twin, modules).attribute(WORDS, **arguments)
    if method == INTEGRAL:
        (ours, delta), (theirs, expected) = ours, theirs
        assert torch.allclose(torch.as_tensor(delta), expected, atol=1e-4)
    assert all(isinstance(value, given) for value in flat(ours))
    assert_agrees(torch_form(ours), theirs)


def torch_form(values: Any) -> Any:
    if isinstance(values, (tuple, list)):
        return type(values)(torch_form(v) for v in values)
    return torch.as_tensor(values)


class Returns(nn.Module):
    """Returns its input in another kind of container."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"x": x}


class Odd(nn.Module):
    """Layers that no attribution goes to, and one that is not called."""

    def __init__(self) -> None:
        super().__init__()
        self.kept, self.boxed, self.turned, self.named = nn.Identity(), Returns(), nn.Identity(), nn.Identity()
        self.embedding, self.never = nn.Embedding(4, 3), nn.Linear(3, 3)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.boxed(self.embedding(self.kept(ids)))["x"]
        return self.named(input=self.turned(x.transpose(0, 1)).sum(0))


ODD, IDS = Odd().eval(), torch.tensor([[1, 2, 3], [3, 1, 0]])
REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "not_called": (ODD.never, {}, "not called"),
    "not_a_tensor": (ODD.boxed, {}, "dict"),
    "whole_numbers": (ODD.kept, {}, "int64"),
    "whole_numbers_in": (ODD.embedding, ON_INPUT, "int64.*Leave attribute_to_layer_input out"),
    "given_by_name": (ODD.named, ON_INPUT, "by position"),
    "examples_elsewhere": (ODD.turned, {}, r"\[3, 2, 3\] for 2 examples"),
    "graph_of_gradients": (ODD.embedding, {"grad_kwargs": {"create_graph": True}}, "create_graph"),
    "name_of_a_module": ("embedding", {}, "one of its modules"),
    "no_layer": ([], {}, "empty"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_layer_is_refused(name: str) -> None:
    layer, arguments, words = REFUSED[name]
    with pytest.raises(onnx_ig.OnnxIgError, match=words):
        onnx_ig.LayerGradientXActivation(ODD, layer).attribute(IDS, target=0, **arguments)


@pytest.mark.parametrize(
    ("layer", "at_input", "words"),
    (
        (nn.Tanh(), False, "name of a tensor"),
        ("embeded", True, "no tensor 'embeded' .did you mean embedded"),
        ("nowhere", False, "no tensor 'nowhere'"),
        ("ids", True, "input of the model"),
        ("embedded", True, "Gather from no float tensor"),
    ),
)
def test_what_is_no_tensor_of_the_graph_is_refused(layer: Any, at_input: bool, words: str) -> None:
    with pytest.raises(onnx_ig.OnnxIgError, match=words):
        onnx_ig.LayerIntegratedGradients(sentences()[0], layer).attribute(
            WORDS.numpy(), target=0, attribute_to_layer_input=at_input
        )


def test_a_layers_attribution_is_resized_as_captum_does() -> None:
    values = drawn(2, 3, 2, 2)
    expected = captum.attr.LayerAttribution.interpolate(values, (4, 6), "bilinear")
    assert torch.equal(onnx_ig.LayerGradientXActivation.interpolate(values, (4, 6), "bilinear"), expected)
    assert np.array_equal(onnx_ig.LayerIntegratedGradients.interpolate(values.numpy(), (4, 6), "bilinear"), expected)


def test_a_tolerance_holds_at_layers_of_both_kinds() -> None:
    """At a module, and at the tensor of the exported graph: within it of very many points, at far fewer."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3), torch.nn.GELU()).eval()
    graph = onnx_ig.load(module, example_inputs=(torch.zeros(2, 4),))
    place = next(str(node.outputs[0].name) for node in graph.ir_model.graph if node.op_type == "Tanh")
    x = torch.randn(3, 4)
    for method in (
        onnx_ig.LayerIntegratedGradients(module, module[1], provider="cpu"),
        onnx_ig.LayerIntegratedGradients(graph, place, provider="cpu"),
    ):
        true = np.asarray(method.attribute(x, target=1, n_steps=300))
        points: list[int] = []
        found = np.asarray(
            method.attribute(
                x, target=1, tolerance=0.01, progress=lambda done, total, points=points: points.append(done)
            )
        )
        assert (np.abs(found - true).sum(axis=1) <= 0.01 * np.abs(true).sum(axis=1)).all() and (found != true).any()
        assert points[-1] < 3 * 50
        with pytest.raises(UsageError, match="contradict"):
            method.attribute(x, target=1, tolerance=0.01, n_steps=50)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("given", (torch.Tensor, np.ndarray))
@pytest.mark.parametrize("source", ("graph", "module"))
def test_explain_is_attribute_with_numbers(source: str, given: type) -> None:
    """What attribute gives, with F at both ends as torch computes it, where a branch passes the layer by."""
    model, twin = sentences()
    function, layer = (model, "act") if source == "graph" else (twin, twin.act)
    ids = WORDS if given is torch.Tensor else WORDS.numpy()
    with torch.no_grad():
        at_x, at_start = (twin(t)[:, 2].numpy() for t in (WORDS, torch.full_like(WORDS, 7)))
    method = onnx_ig.LayerIntegratedGradients(function, layer, provider="cpu")
    asked: dict[str, Any] = {"baselines": 7, "target": 2}
    expected, delta = method.attribute(ids, **asked, tolerance=0.01, return_convergence_delta=True)
    found = method.explain(ids, **asked, tolerance=0.01)
    numbers = (found.scores, found.baseline_scores, found.convergence_delta, found.error_estimate)
    assert all(isinstance(n, given) and n.shape == (2,) for n in (*numbers, found.attributions[:, 0, 0]))
    assert np.allclose(found.attributions, expected, atol=1e-6) and np.allclose(
        found.convergence_delta, delta, atol=1e-5
    )
    assert np.allclose(found.scores, at_x, atol=1e-5) and np.allclose(found.baseline_scores, at_start, atol=1e-5)
    assert (np.asarray(found.error_estimate) <= 0.01).all() and (found.steps_used >= 8).all()
    assert method.explain(ids, **asked).steps_used is None

    gradient = onnx_ig.LayerGradientXActivation(function, [layer], provider="cpu")
    at_layer = gradient.explain(ids, 2)
    assert np.allclose(at_layer.attributions[0], gradient.attribute(ids, 2)[0]) and at_layer.baseline_scores is None
    assert isinstance(at_layer.scores, given) and np.allclose(at_layer.scores, at_x, atol=1e-5)
    (reported,) = at_layer.report.attributions.values()
    assert np.allclose(reported, at_layer.attributions[0]) and np.allclose(
        found.report.baseline_score, at_start, atol=1e-5
    )
