"""Which of the results of a PyTorch model is explained: chosen by key, field or position, never guessed."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click.testing
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

import onnx_ig
from onnx_ig.cli import app
from onnx_ig.errors import ModelError, UsageError
from onnx_ig.pytorch.export import export_torch
from onnx_ig.pytorch.source import pick_output
from onnx_ig.runtime.session import Session

_Pair = collections.namedtuple("_Pair", ["sine", "cosine"])


@dataclasses.dataclass
class _Both:
    sine: Tensor
    names: list[str]
    cosine: Tensor


_A, _B, _I = torch.zeros(2, 3), torch.ones(2, 4), torch.zeros(2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("result", "output", "name", "chosen"),
    [
        (_A, None, "output", _A),
        (_A, 0, "output", _A),
        ((_A,), None, "output_0", _A),
        ((_I, _A), None, "output_1", _A),
        ((_A, _B), 1, "output_1", _B),
        ((_A, _B), -1, "output_1", _B),
        ([_A, _B], "0", "output_0", _A),
        ((_A, _B), "output_1", "output_1", _B),
        ({"a": _A, "label": _I, "loss": None}, None, "a", _A),
        ({"a": _A, "b": _B}, "b", "b", _B),
        ({"a": _A, "b": _B}, 1, "b", _B),
        ({0: _A, 1: _B}, 1, "1", _B),
        ({"1": _A, "b": _B}, "1", "1", _A),
        (_Pair(_A, _B), "cosine", "cosine", _B),
        (_Pair(_A, _B), 0, "sine", _A),
        (_Both(_A, ["a"], _B), "cosine", "cosine", _B),
        (SequenceClassifierOutput(logits=_A, hidden_states=(_B, _B)), None, "logits", _A),
        (SequenceClassifierOutput(loss=_B, logits=_A), "logits", "logits", _A),
    ],
)
def test_a_result_is_picked(result: Any, output: str | int | None, name: str, chosen: Tensor) -> None:
    found, value = pick_output(result, output)
    assert found == name
    assert value is chosen


@pytest.mark.parametrize(
    ("result", "output", "error", "said"),
    [
        ((_A, _B), None, UsageError, r"output_0 float32\[2, 3\], output_1 float32\[2, 4\].*such as output='output_0'"),
        ({"features": _A, "logits": _B}, None, UsageError, r"features float32\[2, 3\], logits float32\[2, 4\]"),
        (SequenceClassifierOutput(loss=_B, logits=_A), None, UsageError, "loss .*logits"),
        ({"label": _I, "ids": _I}, None, UsageError, "such as output='label'"),
        ({"a": _A, "b": _B}, "c", UsageError, r"no output 'c'.*a float32\[2, 3\], b float32"),
        ({"a": _A, "b": [_B]}, "b", UsageError, "no tensor at 'b', but a list"),
        ((_A, _B), 2, UsageError, "no output 2"),
        (_A, "logits", UsageError, "single tensor; leave output out"),
        ({"a": [_A]}, None, ModelError, "no tensor"),
        (3, None, ModelError, "returns a int"),
    ],
)
def test_a_result_is_not_guessed(result: Any, output: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        pick_output(result, output)


class _Two(nn.Module):
    """features = sin x, logits = W x."""

    def __init__(self, form: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.head, self.form = nn.Linear(3, 2), form
        nn.init.normal_(self.head.weight, generator=torch.Generator().manual_seed(1))

    def forward(self, x: Tensor) -> Any:
        return self.form(x.sin(), self.head(x))


_X = torch.linspace(-1, 2, 6).reshape(2, 3)
_DICT = _Two(lambda features, logits: {"features": features, "logits": logits}).eval()


def _expected(target: int) -> np.ndarray[Any, Any]:
    return (_X * _DICT.head.weight[target]).detach().numpy()


@pytest.mark.parametrize("output", ["logits", 1, _DICT])
def test_python_classes(output: Any) -> None:
    source = _DICT
    if output is _DICT:  # a tuple by position
        source, output = _Two(lambda features, logits: (features, logits)).eval(), "output_1"
    attributions = onnx_ig.InputXGradient(source, output=output).attribute(_X, target=1)
    np.testing.assert_allclose(attributions.numpy(), _expected(1), atol=1e-6)


def test_every_door_refuses_to_guess(tmp_path: Path) -> None:
    for call in (
        lambda: onnx_ig.IntegratedGradients(_DICT).attribute(_X, target=1),
        lambda: onnx_ig.export(_DICT, tmp_path / "made.onnx", example_inputs=_X),
        lambda: onnx_ig.load(_DICT, example_inputs=_X),
        lambda: onnx_ig.verify(_DICT, inputs=_X),
    ):
        with pytest.raises(UsageError, match=r"features.*logits"):
            call()
    assert not list(tmp_path.iterdir())


_FACTORY = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        return {"features": x.sin(), "logits": self.head(x)}

def make():
    net = Net()
    nn.init.normal_(net.head.weight, generator=torch.Generator().manual_seed(1))
    return net
"""


def _run(command: str, exit_code: int = 0) -> str:
    result = click.testing.CliRunner().invoke(app, command.split())
    assert result.exit_code == exit_code, result.output
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("outputs")
    (path / "net_of_two.py").write_text(_FACTORY)
    np.save(path / "x.npy", _X.numpy())
    torch.export.save(torch.export.export(_DICT, (_X,)), path / "net.pt2")
    return path


@pytest.mark.parametrize(
    "command",
    [
        "attribute net_of_two:make -i x.npy --output logits --target 1 -o report --algorithm input-x-gradient",
        "attribute net.pt2 -i x.npy --output 1 --target 1 -o report --algorithm input-x-gradient",
        "export net.pt2 -o made.onnx --output logits --target 1 --algorithm input-x-gradient",
        "verify net_of_two:make -i x.npy --output logits --target 1 --samples 0",
        "inspect net_of_two:make --example-input 2x3 --output logits",
    ],
)
def test_the_command_line(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.chdir(folder)
    words = command.replace("report", str(tmp_path / "report")).replace("made.onnx", str(tmp_path / "made.onnx"))
    said = _run(words)
    if command.startswith("attribute"):
        found = np.load(tmp_path / "report" / "attributions.npz")
        np.testing.assert_allclose(next(iter(found.values())), _expected(1), atol=1e-6)
    if command.startswith("export"):
        found = Session(tmp_path / "made.onnx", provider="cpu").run({"x": _X.numpy()})
        np.testing.assert_allclose(found["attribution_x"], _expected(1), atol=1e-6)
    if command.startswith("inspect"):
        assert "logits" in said
        assert "features" not in said
    without = words.replace(" --output logits", "").replace(" --output 1", "")
    if command.startswith(("attribute net_of", "inspect")):
        assert "features" in _run(without, exit_code=2)


def test_the_exported_model_is_named_after_the_result() -> None:
    assert [value.name for value in export_torch(_DICT, _X, output=1).model.graph.outputs] == ["logits"]
