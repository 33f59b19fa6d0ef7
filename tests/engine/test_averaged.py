"""Averages over noise and over baselines: Captum's NoiseTunnel with the same noise, the mean of single answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import captum.attr
import numpy as np
import pytest
import torch
from click.testing import CliRunner

import onnx_ig
from onnx_ig.cli import app
from onnx_ig.errors import InputError, UsageError
from tests.helpers.cli_models import MODELS

RNG = np.random.default_rng(0)
X = RNG.standard_normal((3, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def net() -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).eval()


@pytest.mark.parametrize("kind", ["smoothgrad", "smoothgrad_sq", "vargrad"])
@pytest.mark.parametrize("name", ["IntegratedGradients", "InputXGradient", "Saliency"])
def test_the_same_noise_gives_captums_numbers(
    kind: Any, name: str, net: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = onnx_ig.Noise(samples=6, std=0.3, kind=kind, seed=5)
    drawn = iter([torch.as_tensor(inputs["x"] - X) for inputs in noise.drawn({"x": X})])
    monkeypatch.setattr(torch, "normal", lambda *_, **__: next(drawn))
    keywords: dict[str, Any] = {"target": 1, **({"n_steps": 20} if name == "IntegratedGradients" else {})}
    tunnel = captum.attr.NoiseTunnel(getattr(captum.attr, name)(net))
    expected = tunnel.attribute(
        torch.as_tensor(X), nt_type=kind, nt_samples=6, nt_samples_batch_size=1, stdevs=0.3, **keywords
    )
    found = getattr(onnx_ig, name)(net).attribute(torch.as_tensor(X), noise=noise, **keywords)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


def test_what_is_explained_is_x_and_the_deltas_are_those_of_the_samples(net: torch.nn.Module) -> None:
    method = onnx_ig.IntegratedGradients(net)
    seen: list[tuple[int, int]] = []
    found = method.explain(
        torch.as_tensor(X), target="predicted", n_steps=30, noise=onnx_ig.Noise(4, 0.1),
        progress=lambda *now: seen.append(now),
    )  # fmt: skip
    plain = method.explain(torch.as_tensor(X), target="predicted", n_steps=30)
    np.testing.assert_allclose(found.scores, plain.scores, rtol=1e-6)
    assert found.convergence_delta is not None and np.abs(np.asarray(found.convergence_delta)).max() < 1e-3
    assert seen[-1][0] == seen[-1][1] and sorted(seen) == seen and found.report.n_steps == 30
    again = method.explain(torch.as_tensor(X), target="predicted", n_steps=30, noise=onnx_ig.Noise(4, 0.1))
    assert torch.equal(again.attributions, found.attributions)


@pytest.mark.parametrize("options", [{"samples": 0}, {"std": -1.0}, {"std": float("nan")}, {"kind": "maxgrad"}])
def test_no_such_noise(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        onnx_ig.Noise(**options)
    with pytest.raises(InputError, match="hold none"):
        next(onnx_ig.Noise().drawn({"ids": np.zeros((1, 2), np.int64)}))


def attribute(tmp_path: Path, *more: str) -> dict[str, Any]:
    model = str(MODELS / "tabular_mlp/tabular_mlp.onnx")
    inputs = str(MODELS / "tabular_mlp/malignant.npy")
    result = CliRunner().invoke(app, ["attribute", model, "-i", inputs, "-o", str(tmp_path / "out"), "--draw", "none",
                                      "--overwrite", *more])  # fmt: skip
    assert result.exit_code == 0, result.stderr
    found = dict(np.load(tmp_path / "out/attributions.npz"))
    return found | {"warnings": json.loads((tmp_path / "out/report.json").read_text("utf-8"))["warnings"]}


def test_noise_on_the_command_line(tmp_path: Path) -> None:
    x = np.load(MODELS / "tabular_mlp/malignant.npy")
    found = attribute(tmp_path, "--noise-samples", "5", "--noise-std", "0.2", "--seed", "3", "--n-steps", "10")
    method = onnx_ig.IntegratedGradients(MODELS / "tabular_mlp/tabular_mlp.onnx")
    target = found.get("target")
    expected = method.attribute(x, target=target, n_steps=10, noise=onnx_ig.Noise(5, 0.2, seed=3))
    np.testing.assert_allclose(found["attribution_features"], expected, rtol=1e-4, atol=1e-6)
    assert any("noise: smoothgrad of 5 samples" in warning for warning in found["warnings"])
    command = ["attribute", "m.onnx", "-i", "x.npy", "-o", "o", "--noise-std", "1"]
    model = str(MODELS / "tabular_mlp/tabular_mlp.onnx")
    command[1:4] = [model, "-i", str(MODELS / "tabular_mlp/malignant.npy")]
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 2 and "--noise-std goes with --noise-samples" in refused.stderr


def test_many_baselines_are_averaged(tmp_path: Path) -> None:
    x = np.load(MODELS / "tabular_mlp/malignant.npy")
    rows = RNG.standard_normal((5, x.shape[1])).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    found = attribute(tmp_path, "--baseline", f"@{tmp_path}/rows.npy", "--n-steps", "10")
    method = onnx_ig.IntegratedGradients(MODELS / "tabular_mlp/tabular_mlp.onnx")
    each = [method.explain(x, row[None], target=found.get("target"), n_steps=10) for row in rows]
    expected = np.mean([one.attributions for one in each], axis=0)
    np.testing.assert_allclose(found["attribution_features"], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        found["baseline_score"], np.mean([one.baseline_scores for one in each], axis=0), rtol=1e-5
    )
    assert any("averaged over 5 baselines (expected gradients)" in warning for warning in found["warnings"])


@pytest.mark.parametrize("many", ["tensor", "graph", "tolerance", "noise", "targets", "two inputs"])
def test_averaged_baselines_are_the_mean_of_single_calls(many: str, net: torch.nn.Module) -> None:
    rows = RNG.standard_normal((3, 4)).astype(np.float32)  # as many as examples: not a baseline of each
    x: Any = X
    source: Any = MODELS / "tabular_mlp/tabular_mlp.onnx" if many == "graph" else net
    if many == "graph":
        x = np.load(MODELS / "tabular_mlp/malignant.npy")
        rows = RNG.standard_normal((5, x.shape[1])).astype(np.float32)
    baselines: Any = rows
    each: list[Any] = [row[None] for row in rows]
    if many == "two inputs":
        source, x = lambda a, b: net(a * b), (torch.as_tensor(X), torch.as_tensor(X + 1))
        baselines, each = (torch.as_tensor(rows), 0.5), [(torch.as_tensor(row), 0.5) for row in each]
    method = onnx_ig.IntegratedGradients(source)
    options: dict[str, Any] = {"tolerance": 0.05} if many == "tolerance" else {"n_steps": 12}
    if many == "noise":
        options["noise"] = onnx_ig.Noise(3, 0.2, seed=4)

    def explained(start: Any, **more: Any) -> Any:
        if many == "targets":
            return method.explain_targets(x, [2, 0], start, **options, **more)[0]
        return method.explain(x, start, target=1, **options, **more)

    found, singles = explained(baselines, average_baselines=True), [explained(start) for start in each]
    for name in found.report.attributions:
        expected = np.mean([one.report.attributions[name] for one in singles], axis=0)
        np.testing.assert_allclose(found.report.attributions[name], expected, rtol=1e-4, atol=1e-6)
    for name in ("scores", "baseline_scores", "convergence_delta"):
        expected = np.mean([np.asarray(getattr(one, name)) for one in singles], axis=0)
        np.testing.assert_allclose(np.asarray(getattr(found, name)), expected, rtol=1e-4, atol=1e-5)
    if many == "tensor":
        attributions, delta = method.attribute(
            x, baselines, target=1, n_steps=12, return_convergence_delta=True, average_baselines=True
        )
        np.testing.assert_allclose(attributions, found.attributions, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(delta, found.convergence_delta, atol=1e-5)


@pytest.mark.parametrize(
    ("baselines", "message"),
    [
        (None, "none are given"),
        (np.zeros((0, 4), np.float32), "no row to average over"),
        (np.zeros((5, 3), np.float32), r"has shape \[5, 3\]"),
    ],
)
def test_no_baselines_to_average(baselines: Any, message: str, net: torch.nn.Module) -> None:
    with pytest.raises((InputError, UsageError), match=message):
        onnx_ig.IntegratedGradients(net).attribute(X, baselines, target=1, average_baselines=True)
