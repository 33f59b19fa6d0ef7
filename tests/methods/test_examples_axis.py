"""Where a torch function has its examples: one or several of them, and rows that are one example together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import captum.attr
import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

import onnx_ig
from onnx_ig.checking.verification import verify
from onnx_ig.cli.app import app
from onnx_ig.errors import InputError, OnnxIgWarning, UsageError, VerificationError
from tests.helpers.doors import NODES, WEIGHTS

torch.manual_seed(0)
_LINEAR = nn.Linear(6, 3).eval()
_BASELINES: list[Callable[[Tensor], Any]] = [
    lambda x: None,
    lambda x: 0.3,
    lambda x: torch.full_like(x[:1], 0.2),
    lambda x: torch.full_like(x, 0.2),
]


def _net(x: Tensor) -> Tensor:
    return torch.tanh(_LINEAR(x))


class _Module(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._function = function

    def forward(self, x: Tensor) -> Tensor:
        return self._function(x)


# the function; the same as Captum needs it; the additional arguments of N examples; the target; which N it takes
FORMS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], Callable[[int], Any], Any, tuple[int, ...]]] = {
    "view(1, -1)": (lambda x: _net(x.view(1, -1)), _net, lambda n: None, 1, (1,)),
    "the first row": (lambda x: _net(x)[0:1], _net, lambda n: None, 1, (1,)),
    "mean over all rows": (lambda x: _net(x).mean(0, keepdim=True), _net, lambda n: None, 1, (1,)),
    "squeeze() of classes": (lambda x: _net(x).squeeze(), _net, lambda n: None, 1, (1, 2, 7)),
    "squeeze() of numbers": (
        lambda x: _net(x).sum(1, keepdim=True).squeeze(),
        lambda x: _net(x).sum(1),
        lambda n: None,
        None,
        (1, 2, 7),
    ),
    "a factor for each example": (
        lambda x, w: _net(x) * w[:, None],
        lambda x, w: _net(x) * w[:, None],
        lambda n: torch.linspace(0.5, 2, n),
        1,
        (1, 2, 7),
    ),
    "an index for each example": (
        lambda x, i: _net(x).gather(1, i[:, None])[:, 0],
        lambda x, i: _net(x).gather(1, i[:, None])[:, 0],
        lambda n: torch.arange(n) % 3,
        None,
        (1, 2, 7),
    ),
}

# functions of x [N, 6] and of arguments that all examples share, one of which is as long as there are examples
_OTHERS = nn.Linear(6, 7).eval()
_SHARED: dict[str, tuple[Callable[..., Tensor], tuple[Tensor, ...]]] = {
    "a weight for each class": (lambda x, w: torch.tanh(_OTHERS(x)) * w, (torch.linspace(0.5, 2, 7),)),
    "the same weight for each class": (lambda x, w: torch.tanh(_OTHERS(x)) * w, (torch.full((7,), 2.0),)),
    "a matrix": (lambda x, w: torch.tanh(_OTHERS(x) @ w), (torch.linspace(-1, 1, 49).view(7, 7),)),
    "a table": (lambda x, t: torch.tanh(x @ t[torch.arange(6)]), (torch.linspace(-1, 1, 21).view(7, 3),)),
    "a mean": (lambda x, w: _net(x) * w.mean(), (torch.linspace(0.5, 2, 7),)),
    "a weight for each class, and one row": (lambda x, w: torch.tanh(_OTHERS(x)) * w, (torch.ones(1, 7) / 3,)),
    "a factor for each example besides": (
        lambda x, w, f: torch.tanh(_OTHERS(x)) * w * f[:, None],
        (torch.linspace(0.5, 2, 7), torch.linspace(1, 3, 7)),
    ),
}


@pytest.mark.parametrize("name", _SHARED)
def test_arguments_that_look_as_if_they_had_a_row_per_example(name: str) -> None:
    """Captum repeats every additional tensor for each path point, so it is asked for one path point at a time."""
    function, shared = _SHARED[name]
    integrated, product = onnx_ig.IntegratedGradients(function), onnx_ig.InputXGradient(function)
    for n in (1, 2, 7):
        extra = (*shared[:1], *(f[:n] for f in shared[1:]))
        x = torch.linspace(-1, 2, 6 * n).view(n, 6).sin()
        for baseline in _BASELINES[1:]:
            ours = integrated.attribute(x, baseline(x), 1, extra, n_steps=5)
            theirs = captum.attr.IntegratedGradients(function)
            wanted = theirs.attribute(x, baseline(x), 1, extra, n_steps=5, internal_batch_size=n)
            assert torch.allclose(ours, wanted.float(), atol=1e-6)
        wanted = captum.attr.InputXGradient(function).attribute(x.clone().requires_grad_(), 1, extra)
        assert torch.allclose(product.attribute(x, 1, extra), wanted.detach(), atol=1e-6)


@pytest.mark.filterwarnings("ignore:the batch size is fixed")
@pytest.mark.parametrize("form", FORMS)
def test_any_number_of_examples(form: str) -> None:
    function, reference, additional, target, sizes = FORMS[form]
    method = onnx_ig.IntegratedGradients(function)
    for n in sizes:
        x, extra = torch.linspace(-1, 2, 6 * n).view(n, 6).sin(), additional(n)
        keywords = {"target": target, "additional_forward_args": extra, "n_steps": 5}
        for baseline in _BASELINES:
            ours = method.attribute(x, baseline(x), **keywords)
            theirs = captum.attr.IntegratedGradients(reference).attribute(
                x, baseline(x), **keywords, internal_batch_size=n
            )
            assert torch.allclose(ours, theirs.float(), atol=1e-6)


# functions of rows that belong together, and the target among their outputs
TOGETHER: dict[str, tuple[Callable[[Tensor], Tensor], Any]] = {
    "neighbours in a graph": (lambda x: torch.tanh(torch.ones(4, len(x)) @ _net(x)) * x.mean(), (2, 1)),
    "sentences of a document": (lambda x: _net(x).softmax(0), (3, 2)),
    "four rows in and one out": (lambda x: _net(x).mean(0, keepdim=True), (0, 1)),
    "four rows in and two out": (lambda x: _net(x).view(2, 2, 3).mean(1), (1, 1)),
    "four rows flattened": (lambda x: torch.tanh(x.reshape(1, -1))[:, 5:8], (0, 1)),
}


@pytest.mark.filterwarnings("ignore:the batch size is fixed")
@pytest.mark.parametrize("name", TOGETHER)
def test_rows_that_belong_together(name: str) -> None:
    """Refused as a batch of examples, with the way out; as one example the same as Captum's on a batch of one."""
    function, target = TOGETHER[name]
    x = torch.linspace(-1, 2, 24).view(4, 6).sin()
    with pytest.raises(InputError, match=r"mixes examples.*batch_axis=None"):
        onnx_ig.IntegratedGradients(function).attribute(x, target=target[1], n_steps=5)
    ours = onnx_ig.IntegratedGradients(function, batch_axis=None).attribute(x, target=target, n_steps=5)
    whole = captum.attr.IntegratedGradients(lambda batch: torch.stack([function(rows) for rows in batch]))
    assert torch.allclose(ours, whole.attribute(x[None], target=target, n_steps=5)[0].float(), atol=1e-6)


@pytest.mark.filterwarnings("ignore:the batch size is fixed")
@pytest.mark.parametrize("name", ["neighbours in a graph", "four rows in and two out", "four rows flattened"])
def test_rows_that_belong_together_in_files(name: str, tmp_path: Path) -> None:
    """Of a number, a row for all, and rows of their own as baselines; in plain clients and on the command line."""
    function, target = TOGETHER[name]
    x = torch.linspace(-1, 2, 24).view(4, 6).sin()
    model = onnx_ig.load(_Module(function), example_inputs=x)
    (given,) = [str(v.name) for v in model.inputs]
    np.save(tmp_path / "x.npy", x.numpy())
    whole = captum.attr.IntegratedGradients(lambda batch: torch.stack([function(rows) for rows in batch]))
    starts: dict[str, Any] = {"0.25": 0.25, "@row.npy": torch.full((1, 6), 0.2), "@rows.npy": x.flip(0) / 2}
    for text, start in starts.items():
        full = start if isinstance(start, float) else start.expand(4, 6)[None]
        wanted = whole.attribute(x[None], full, target=target, n_steps=3)[0].numpy()
        is_array = isinstance(start, Tensor)
        if is_array:
            np.save(tmp_path / text[1:], start.numpy())
        baked = start.numpy() if is_array else start
        for form in ("complete", "step"):
            path = tmp_path / f"{form}.onnx"
            options: dict[str, Any] = {"baselines": "input" if is_array and form == "step" else baked}
            options |= {"n_steps": 3} if form == "complete" else {"form": form}
            onnx_ig.export(model, path, target=target, batch_axis=None, overwrite=True, **options)
            session = onnxruntime.InferenceSession(path)
            names, feeds = {i.name for i in session.get_inputs()}, {given: x.numpy()}
            if f"baseline_{given}" in names:
                feeds[f"baseline_{given}"] = full[0].numpy()
            found = np.zeros(())
            for node, weight in zip(NODES, WEIGHTS, strict=True) if form == "step" else [(0, 0)]:
                point = {"path_nodes": node, "path_weights": weight}
                fed = feeds | {k: np.array([v], np.float32) for k, v in point.items() if k in names}
                found = found + session.run([f"attribution_{given}"], fed)[0]
            np.testing.assert_allclose(found, wanted, atol=1e-6)
        if text != "@rows.npy":
            continue
        given_baseline = f" --baseline {text.replace('@', f'@{tmp_path}/')}"
        (tmp_path / "model.onnx").write_bytes(ir.to_proto(model.ir_model).SerializeToString())
        indices = ",".join(map(str, target))
        for source, more in (
            ("model.onnx", f"{given_baseline} --batch-axis none --target {indices}"),
            ("complete.onnx", ""),
            ("step.onnx", given_baseline if is_array else ""),
        ):
            steps = "" if source == "complete.onnx" else " --n-steps 3"
            words = (
                f"attribute {tmp_path / source} -i {tmp_path / 'x.npy'} -o {tmp_path / 'out'}{steps}{more} --overwrite"
            )
            result = CliRunner().invoke(app, words.split())
            assert result.exit_code == 0, result.output
            with np.load(tmp_path / "out" / "attributions.npz") as saved:
                np.testing.assert_allclose(saved[f"attribution_{given}"], wanted, atol=1e-6)
    with pytest.raises(UsageError, match="a loop-free model needs a batch axis"):
        onnx_ig.export(model, tmp_path / "loop_free.onnx", target=target, batch_axis=None, steps_per_run=0)


@pytest.mark.filterwarnings("ignore:the batch size is fixed")
@pytest.mark.parametrize("method", [onnx_ig.InputXGradient, onnx_ig.Saliency, onnx_ig.IntegratedGradients])
def test_several_rows_out_of_one_example(method: Any, tmp_path: Path) -> None:
    """No row of the score is taken for the whole, whose gradient would be the sum's; named, a row is explained."""
    nodes = "r = Reshape (x, shape)  m = MatMul (r, w)  a = Add (m, b)  y = Tanh (a)"
    text = f"f (float[N, 24] x) => (float[M, 3] y) {{ {nodes} }}"
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {text}')
    constants = {"shape": np.array([-1, 6]), "w": _LINEAR.weight.detach().numpy().T, "b": _LINEAR.bias.detach().numpy()}
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(v.copy(), n) for n, v in constants.items())
    x = torch.linspace(-1, 2, 24).view(1, 24).sin()

    def rows(x: Tensor) -> Tensor:
        return _net(x.reshape(-1, 6))

    for source, given in ((rows, x), (proto, x.numpy())):
        with pytest.raises(InputError, match=r"mixes examples.*batch_axis=None"):
            method(source).attribute(given, target=1)
        found = method(source, batch_axis=None).attribute(given, target=(2, 1))
        theirs = getattr(captum.attr, method.__name__)(lambda batch: torch.stack([rows(one) for one in batch]))
        wanted = theirs.attribute(x[None].requires_grad_(), target=(2, 1))
        np.testing.assert_allclose(np.asarray(found), wanted[0].detach().numpy(), atol=1e-6)
    if method is not onnx_ig.Saliency:
        algorithm: Any = "input-x-gradient" if method is onnx_ig.InputXGradient else "integrated-gradients"
        with pytest.raises(InputError, match=r"mixes examples.*batch_axis=None"):
            onnx_ig.export(proto, tmp_path / "refused.onnx", target=1, algorithm=algorithm)


@pytest.mark.filterwarnings("ignore:the batch size is fixed")
def test_rows_that_belong_together_are_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    function, target = TOGETHER["sentences of a document"]
    x = torch.linspace(-1, 2, 24).view(4, 6).sin()
    options: dict[str, Any] = {"inputs": x, "target": target, "n_steps": 3, "samples": 0}
    for baseline in (0.25, torch.full((1, 6), 0.2), (x.flip(0) / 2,)):
        verify(_Module(function), baselines=baseline, batch_axis=None, **options).require()
    with pytest.raises(UsageError, match="let the module transpose its inputs"):
        verify(_Module(function), batch_axis=1, **options)
    monkeypatch.setattr("onnx_ig.engine.path_rule.path_nodes_and_weights", lambda *_: (NODES, WEIGHTS / 2))
    with pytest.raises(VerificationError), pytest.warns(OnnxIgWarning, match="do not add up"):
        verify(_Module(function), batch_axis=None, **options).require()
