"""Our methods where Captum's are expected: isinstance, copies, wrappers, metrics; Captum is the oracle."""

import copy
import functools
import inspect
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import captum.attr
import captum.metrics
import numpy as np
import onnx
import pytest
import tokenizers
import torch
import transformers
from torch import Tensor, nn

import onnx_ig
from onnx_ig.attribution import make_plan
from tests.helpers.frames import Frame
from tests.helpers.networks import NETWORKS, randomise

# Each class, and whether it is given a layer of the model too.
CLASSES = {
    "IntegratedGradients": False,
    "InputXGradient": False,
    "Saliency": False,
    "LayerIntegratedGradients": True,
    "LayerGradientXActivation": True,
    "LayerGradCam": True,
}


@pytest.mark.parametrize("name", CLASSES)
def test_is_of_captums_family(name: str) -> None:
    module = NETWORKS["mlp_smooth"].module()
    own, theirs = getattr(onnx_ig, name), getattr(captum.attr, name)
    given = (module, next(module.children())) if CLASSES[name] else (module,)
    ours, captums = own(*given), theirs(*given)
    assert isinstance(ours, captum.attr.GradientAttribution) and isinstance(ours, captum.attr.Attribution)
    assert isinstance(ours, theirs) and isinstance(ours, own)
    assert not isinstance(ours, captum.attr.DeepLift) and type(ours) is own
    assert type(ours.__class__(*given)) is own
    for said in ("get_name", "has_convergence_delta"):
        assert getattr(ours, said)() == getattr(captums, said)()
    assert ours.multiplies_by_inputs == captums.multiplies_by_inputs
    for attribute in ("__init__", "attribute", "compute_convergence_delta"):  # what is ours comes after, by keyword
        expected = list(inspect.signature(getattr(theirs, attribute)).parameters)
        assert list(inspect.signature(getattr(own, attribute)).parameters)[: len(expected)] == expected
    for copied in (copy.copy(ours), copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert type(copied) is own and isinstance(copied, theirs)
    with pytest.raises(NotImplementedError):
        ours.attribute_future()


def test_a_subclass_is_of_its_bases_family() -> None:
    class Mine(onnx_ig.IntegratedGradients):
        pass

    assert isinstance(Mine(NETWORKS["mlp_smooth"].module()), captum.attr.IntegratedGradients)


def test_neither_library_imports_the_other() -> None:
    program = (
        "import sys, onnx_ig, onnx_ig.methods.integrated_gradients\n"
        "assert not {'torch', 'captum'} & set(sys.modules)\n"
        "ours = onnx_ig.InputXGradient(len)\n"
        "assert ours.__class__ is onnx_ig.InputXGradient and 'captum' not in sys.modules\n"
        "import captum.attr\n"
        "assert isinstance(ours, captum.attr.GradientAttribution)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_another_forward_function_is_explained_from_then_on() -> None:
    first, second = NETWORKS["mlp_smooth"].module(seed=0), NETWORKS["mlp_smooth"].module(seed=1)
    (x,) = NETWORKS["mlp_smooth"].inputs()
    ours = onnx_ig.InputXGradient(first)
    before = ours.attribute(x, target=1)
    other = copy.copy(ours)
    other.forward_func = second
    expected = captum.attr.InputXGradient(second).attribute(x, target=1)
    assert torch.allclose(other.attribute(x, target=1), expected, atol=1e-5)
    assert torch.equal(ours.attribute(x, target=1), before)


def rows(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2))


X = rows(4, 2, 3)
# Arguments of attribute; Captum answers or refuses, and so do we.
FORMS: dict[str, dict[str, Any]] = {
    "leaf_with_gradient": {"inputs": X.clone().requires_grad_()},
    "of_a_graph": {"inputs": X.clone().requires_grad_() * 1},
    "not_contiguous": {"inputs": X.transpose(1, 2).contiguous().transpose(1, 2)},
    "expanded": {"inputs": X[:1].expand(4, 2, 3)},
    "tuple": {"inputs": (X,), "baselines": (0.5,)},
    "target_from_the_end": {"target": -1},
    "target_from_the_end_in_tuple": {"target": (-2,)},
    "target_from_the_end_in_tensor": {"target": torch.tensor([-3])},
    "target_list_from_the_end": {"target": [-1, 0, 1, 2]},
    "target_tensor_from_the_end": {"target": torch.tensor([-1, 0, 1, 2])},
    "target_before_the_first": {"target": -4},
    "target_too_far": {"target": 3},
    "target_tensor": {"target": torch.tensor([2, 1, 0, 1])},
    "target_missing": {"target": None},
    "target_text": {"target": "first"},
    "target_fraction": {"target": 1.0},
    "target_of_two_axes": {"target": (1, 0)},
    "target_too_few": {"target": [0, 1, 2]},
    "baseline_number": {"baselines": 1},
    "baseline_row": {"baselines": rows(1, 2, 3)},
    "baseline_broadcast": {"baselines": rows(1, 1, 3)},
    "baseline_broadcast_one_axis": {"baselines": torch.full((1,), 0.3)},
    "baseline_more_rows": {"baselines": rows(6, 2, 3)},
    "baseline_fewer_rows": {"baselines": rows(2, 2, 3)},
    "baseline_without_examples": {"baselines": rows(2, 3)},
    "baseline_one_too_many": {"baselines": (0, 0)},
    "steps_one": {"n_steps": 1},
    "steps_none": {"n_steps": 0},
    "rule_unknown": {"method": "simpson"},
    "pieces": {"internal_batch_size": 8},
    "whole_numbers": {"inputs": (3 * X).long(), "baselines": 0.5},
    "bytes": {"inputs": (3 * X).abs().byte()},
    "truths": {"inputs": X > 0},
    "no_example": {"inputs": X[:0]},
    "additional_list": {"additional_forward_args": ([2.0, 3.0], "a word", None, True)},
    "additional_dict": {"additional_forward_args": ({"scale": 2.0},)},
}


class Flexible(nn.Module):
    """Takes further arguments of any kind."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor, scale: Any = 1.0, *rest: Any) -> Tensor:
        factor = scale[0] if isinstance(scale, list) else scale["scale"] if isinstance(scale, dict) else scale
        return self.last(torch.tanh(self.first(x.flatten(1).to(self.first.weight.dtype)) * factor))


@functools.cache
def flexible() -> tuple[nn.Module, onnx_ig.IntegratedGradients]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = Flexible().eval()
    return module, onnx_ig.IntegratedGradients(module)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_taken_where_captum_takes_it(name: str) -> None:
    module, ours = flexible()
    arguments = {"inputs": X, "target": 1, "n_steps": 4} | FORMS[name]
    try:
        expected = captum.attr.IntegratedGradients(module).attribute(**arguments)
    except Exception:
        with pytest.raises(onnx_ig.OnnxIgError):
            ours.attribute(**arguments)
        return
    found = ours.attribute(**arguments)
    assert type(found) is type(expected)
    for a, b in zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]:
        assert a.shape == b.shape and a.dtype == b.dtype and torch.allclose(a, b, atol=1e-5)


def test_further_forms() -> None:
    module, ours = flexible()
    expected = captum.attr.IntegratedGradients(module).attribute(X, target=module(X).argmax(1), n_steps=4)
    assert torch.allclose(ours.attribute(X, target="predicted", n_steps=4), expected, atol=1e-5)
    listed = ours.attribute([X], target="predicted", n_steps=4)
    assert isinstance(listed, list) and torch.allclose(listed[0], expected, atol=1e-5)
    start = rows(4, 2, 3)  # in another type of number than the inputs, which Captum leaves to the model to refuse
    moved = captum.attr.IntegratedGradients(module).attribute(X, start, 1, n_steps=4)
    assert torch.allclose(ours.attribute(X, start.double(), 1, n_steps=4), moved, atol=1e-5)
    numbers = ours.attribute(X.tolist(), target="predicted", n_steps=4)
    assert isinstance(numbers, np.ndarray) and np.allclose(numbers, expected, atol=1e-5)
    flat = X.flatten(1).double().numpy()
    table = Frame({f"column {i}": column for i, column in enumerate(flat.T)}, index=[*"abcd"])
    for given in (flat, flat[:, ::-1][:, ::-1], table):
        found = ours.attribute(given, target="predicted", n_steps=4)
        values = np.asarray(found.to_numpy(), np.float64) if given is table else found
        assert type(found) is type(given) and np.allclose(values, expected.flatten(1), atol=1e-5)
    with pytest.raises(onnx_ig.OnnxIgError, match="no tensor"):
        ours.attribute(np.array([["text"]], object), target=1)
    with pytest.raises(onnx_ig.OnnxIgError, match="predicted"):
        onnx_ig.InputXGradient(lambda x: module(x)[:, None] * x[:, 0, :, None]).attribute(X, target="predicted")


def sensitivity(method: Any, module: nn.Module, **keywords: Any) -> Tensor:
    return captum.metrics.sensitivity_max(method.attribute, X, target=1, n_perturb_samples=3, **keywords)


def infidelity(method: Any, module: nn.Module, **keywords: Any) -> Tensor:
    def perturbed(x: Tensor) -> tuple[Tensor, Tensor]:
        noise = 0.01 * torch.randn_like(x)
        return noise, x - noise

    return captum.metrics.infidelity(module, perturbed, X, method.attribute(X, target=1, **keywords), target=1)


def tunnelled(nt_type: str) -> Callable[..., Tensor]:
    def attribute(method: Any, module: nn.Module, **keywords: Any) -> Tensor:
        tunnel = captum.attr.NoiseTunnel(method)
        return tunnel.attribute(X, nt_type=nt_type, nt_samples=3, target=[0, 1, 2, 1], **keywords)

    return attribute


WRAPPERS = {
    "sensitivity": sensitivity,
    "infidelity": infidelity,
    **{nt_type: tunnelled(nt_type) for nt_type in ("smoothgrad", "smoothgrad_sq", "vargrad")},
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("name", "wrapper"),
    [
        *(("IntegratedGradients", wrapper) for wrapper in WRAPPERS),
        ("LayerGradientXActivation", "smoothgrad"),
    ],
)
def test_captums_wrappers_and_metrics_take_ours(name: str, wrapper: str) -> None:
    module, integrated = flexible()
    keywords = {"n_steps": 4} if name == "IntegratedGradients" else {}
    results = []
    for method in (integrated if name == "IntegratedGradients" else gradient(), of_captum(name, module)):
        torch.manual_seed(0)
        results.append(WRAPPERS[wrapper](method, module, **keywords))
    assert float((results[0] - results[1]).abs().max()) <= 1e-4 * float(results[1].abs().max())


@functools.cache
def gradient() -> onnx_ig.LayerGradientXActivation:
    module = flexible()[0]
    return onnx_ig.LayerGradientXActivation(module, module.first)


def of_captum(name: str, module: nn.Module) -> Any:
    return getattr(captum.attr, name)(*((module, module.first) if CLASSES[name] else (module,)))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_captums_language_model_attribution_takes_ours() -> None:
    words = ["<unk>", "the", "cat", "sat", "on", "a", "mat", "dog"]
    vocabulary = tokenizers.models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>")
    split = tokenizers.Tokenizer(vocabulary)
    split.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=split, unk_token="<unk>", pad_token="<unk>")
    sizes = {"vocab_size": len(words), "n_positions": 8, "n_embd": 8, "n_layer": 1, "n_head": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = randomise(transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=0))).eval()
    found = []
    for library in (onnx_ig, captum.attr):
        method = library.LayerIntegratedGradients(model, model.transformer.wte)
        explained = captum.attr.LLMGradientAttribution(method, tokenizer)
        prompt = captum.attr.TextTokenInput("the cat sat on a", tokenizer)
        found.append(explained.attribute(prompt, target="mat", n_steps=4).token_attr)
        assert method.forward_func is model
    assert float((found[0] - found[1]).abs().max()) <= 1e-4 * float(found[1].abs().max())


def test_what_is_printed_is_short() -> None:
    module = NETWORKS["mlp_smooth"].module()
    layer = next(module.children())
    model = onnx_ig.load(
        onnx.parser.parse_model(
            '<ir_version: 8, opset_import: ["": 18]> m (float[n, 2] x) => (float[n, 2] y) {y = Tanh(x)}'
        )
    )
    assert repr(model) == "Model('m': x FLOAT[n,2] → y FLOAT[n,2])"
    assert (
        repr(onnx_ig.InputXGradient(model, at="x", provider="cpu")) == "InputXGradient(Model, at='x', provider='cpu')"
    )
    assert repr(onnx_ig.Saliency(module)) == f"Saliency({type(module).__name__})"
    assert type(layer).__name__ in repr(onnx_ig.LayerIntegratedGradients(module, layer))
    assert repr(onnx_ig.InputXGradient(model).scorer(np.zeros((3, 2), np.float32))) == "Scorer(F of 3 examples of x)"
    assert {*onnx_ig.__all__, "open"} == set(dir(onnx_ig))  # an import of * leaves the builtin alone


def test_names_may_be_a_list() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> m (float[n, 2] x, float[k] scale) => (float[n] y) '
        "{two = Constant<value_ints = [1]>() \n sum = ReduceSum<keepdims = 0>(x, two) \n y = Mul(sum, scale)}"
    )
    x, scale = np.ones((3, 2), np.float32), np.arange(3, dtype=np.float32)
    for names in ("scale", ["scale"], ("scale",)):
        found = onnx_ig.InputXGradient(model).attribute(x, additional_forward_args=scale, per_example=names)
        np.testing.assert_array_equal(found, x * scale[:, None])


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("absolute", (True, False))
def test_saliency_agrees_with_captum(absolute: bool) -> None:
    module, _ = flexible()
    expected = captum.attr.Saliency(module).attribute((X,), [0, 1, 2, 1], absolute)[0]
    of_module = saliency().attribute((X,), [0, 1, 2, 1], absolute)[0]
    assert torch.allclose(of_module, expected, atol=1e-5)
    exported = saliency_model()
    x = X.numpy()
    for given, found in ((x, lambda v: v), ({"x": x}, lambda v: v["x"])):
        of_file = onnx_ig.Saliency(exported).attribute(given, [0, 1, 2, 1], absolute)
        assert np.allclose(found(of_file), expected, atol=1e-5)
    inner = onnx_ig.Saliency(exported, at=["sum", "squashed"]).attribute(x, 2, absolute)
    gradient = np.broadcast_to(module.last.weight.detach().numpy()[2], inner[1].shape)
    assert np.allclose(inner[1], np.abs(gradient) if absolute else gradient, atol=1e-6)
    assert not np.allclose(inner[0], inner[1], atol=1e-3)


@functools.cache
def saliency() -> onnx_ig.Saliency:
    return onnx_ig.Saliency(flexible()[0])


@functools.cache
def saliency_model() -> onnx_ig.Model:
    """``Flexible`` in ONNX operators."""
    module = flexible()[0]
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> m (float[n, 2, 3] x) => (float[n, 3] y) { flat = Flatten(x) \n '
        "sum = Gemm<transB = 1>(flat, a, b) \n squashed = Tanh(sum) \n y = Gemm<transB = 1>(squashed, c, d) }"
    )
    weights = zip("abcd", module.parameters(), strict=True)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(w.detach().numpy(), name) for name, w in weights)
    return onnx_ig.load(model)


@pytest.mark.parametrize(("target", "column"), ((-1, 2), ((-3,), 0)))
def test_a_baked_target_counts_from_the_end_too(target: Any, column: int) -> None:
    assert make_plan(saliency_model(), target=target).target == (column,)
    with pytest.raises(onnx_ig.OnnxIgError, match="does not select"):
        make_plan(saliency_model(), target=-4)
