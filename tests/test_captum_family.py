"""Our methods where Captum's are expected: isinstance, copies, wrappers, metrics; Captum is the oracle."""

import copy
import inspect
import pickle
import subprocess
import sys

import captum.attr
import pytest
import torch

import onnx_ig
from tests.networks import NETWORKS

# Each class, and whether it is given a layer of the model too.
CLASSES = {
    "IntegratedGradients": False,
    "InputXGradient": False,
    "Saliency": False,
    "LayerIntegratedGradients": True,
    "LayerGradientXActivation": True,
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
        "import sys, onnx_ig, onnx_ig.methods\n"
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
