"""Methods, models and errors pickle and copy, used or not: in another process they give the same numbers."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
import torch

import onnx_ig
from onnx_ig import errors
from onnx_ig.loading.packed import packed

RNG = np.random.default_rng(0)
PROTO = onnx.parser.parse_model(
    """<ir_version: 8, opset_import: ["" : 18]> f (float[N, 130] x) => (float[N, 130] y)
    { m = MatMul (x, w)  s = Sin (m)  y = Softplus (s) }"""
)
W = RNG.standard_normal((130, 130)).astype(np.float32)  # large enough to lie beside the message
PROTO.graph.initializer.append(onnx.numpy_helper.from_array(W / 10, "w"))
X = RNG.standard_normal((2, 130)).astype(np.float32)

FORMS: dict[str, Callable[[], Any]] = {
    "bytes": PROTO.SerializeToString,
    "ModelProto": lambda: PROTO,
    "onnx_ir model": lambda: ir.from_proto(PROTO),
    "Model": lambda: onnx_ig.load(PROTO),
}
COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("method", [onnx_ig.InputXGradient, onnx_ig.IntegratedGradients])
def test_a_copy_gives_the_same_numbers(method: Any, how: str, form: str, used: bool) -> None:
    original = method(FORMS[form](), provider="cpu", output="s")
    expected = original.attribute(X, target=3) if used else None
    copied = COPIES[how](original)
    assert type(copied.forward_func) is type(original.forward_func)
    assert copied.provider is None
    if expected is None:
        expected = original.attribute(X, target=3)
    np.testing.assert_array_equal(copied.attribute(X, target=3), expected)
    assert copied.provider == original.provider == "CPUExecutionProvider"


@pytest.mark.parametrize("how", COPIES)
def test_a_torch_module_is_copied_with_the_method(how: str) -> None:
    torch.manual_seed(0)
    module, x = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh()).eval(), torch.rand(2, 3)
    used = onnx_ig.InputXGradient(module)
    expected = used.attribute(x, target=1)
    for original in (used, onnx_ig.InputXGradient(module)):
        copied = COPIES[how](original)
        assert copied.forward_func is not module
        assert torch.equal(copied.attribute(x, target=1), expected)
    with torch.no_grad():
        copied.forward_func[0].weight.mul_(2)  # the copy's own weights are what the copy explains
    assert not torch.allclose(copied.attribute(x, target=1), expected)
    assert torch.equal(used.attribute(x, target=1), expected)


def test_what_pickle_refuses_is_refused_by_pickle() -> None:
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(onnx_ig.InputXGradient(lambda x: x))


def test_in_a_process_of_its_own() -> None:
    method = onnx_ig.IntegratedGradients(PROTO, provider="cpu")
    expected = method.attribute(X, target=3, n_steps=10)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        found = pool.submit(method.attribute, X, target=3, n_steps=10).result()
        np.testing.assert_array_equal(found, expected)
        with pytest.raises(errors.InputError, match="target is needed"):
            pool.submit(method.attribute, X).result()


def test_a_packed_model_is_the_model() -> None:
    model = onnx_ig.load(PROTO).ir_model
    again = packed(model).unpacked()
    assert ir.to_proto(again).SerializeToString() == ir.to_proto(model).SerializeToString()
    assert packed(model).weights[0][1] is model.graph.initializers["w"].const_value.numpy()


ERRORS: dict[type[Exception], tuple[Any, ...]] = {
    errors.NotDifferentiableError: ("Round", "node_1", "piecewise constant", "Leave it out."),
}


@pytest.mark.parametrize(
    "kind", [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
)
@pytest.mark.parametrize("how", COPIES)
def test_errors_keep_their_message_and_attributes(kind: type[Exception], how: str) -> None:
    error = kind(*ERRORS.get(kind, ("what, where and what to do",)))
    error.more = [1]
    copied = COPIES[how](error)
    assert type(copied) is kind and str(copied) == str(error) and vars(copied) == vars(error)
    assert str(error).startswith(("what, where", "cannot differentiate Round (node 'node_1'): piecewise"))
