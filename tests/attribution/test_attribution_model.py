"""The exported file: every form and baking gives the reference's numbers, and bad calls never look right."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file

import onnx_ig
from models.digits_cnn.model import digits_cnn
from onnx_ig.attribution import Contract, make_plan
from onnx_ig.checking import reference
from onnx_ig.errors import InputError, ModelError, NotDifferentiableError, UsageError
from onnx_ig.inspection import inspect
from onnx_ig.quadrature import path_nodes_and_weights

FOLDER = Path(__file__).parents[2] / "models" / "digits_cnn"
DIGITS = FOLDER / "digits_cnn.onnx"
STEPS = 9
X = np.concatenate([np.load(FOLDER / "seven.npy"), 0.5 * np.load(FOLDER / "seven.npy")]).astype(np.float32)
TARGET = np.array([7, 1])
BASELINE = np.full((1, 1, 8, 8), 0.1, np.float32)


def module() -> torch.nn.Module:
    net = digits_cnn()
    net.load_state_dict(load_file(FOLDER / "digits_cnn.safetensors"))
    return net.eval()


@pytest.fixture(scope="module")
def expected() -> dict[bool, tuple[np.ndarray, np.ndarray]]:
    """(attribution, delta) with and without the factor x − baseline."""
    result = {}
    for multiply in (True, False):
        (attribution,), delta = reference.integrated_gradients(
            module(),
            torch.from_numpy(X),
            torch.from_numpy(BASELINE),
            TARGET.tolist(),
            None,
            STEPS,
            "gausslegendre",
            multiply,
        )
        result[multiply] = attribution.numpy(), delta.numpy()
    return result


def run(path: Path, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path)
    named = {i.name: feeds[i.name] for i in session.get_inputs()}
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, named), strict=True))


def path_feeds(n: int = STEPS) -> dict[str, np.ndarray]:
    nodes, weights = path_nodes_and_weights("gausslegendre", n)
    return {"path_nodes": nodes.astype(np.float32), "path_weights": weights.astype(np.float32)}


FEEDS = {"image": X, "target": TARGET, "baseline_image": BASELINE, **path_feeds()}


@pytest.mark.parametrize(
    ("steps_per_run", "path_as_input", "bake_baseline", "multiply"),
    list(itertools.product((None, 0, 4, 1), (False, True), (False, True), (True, False))),
)
def test_complete_form(
    tmp_path: Path, expected: Any, steps_per_run: int | None, path_as_input: bool, bake_baseline: bool, multiply: bool
) -> None:
    file = onnx_ig.export(
        DIGITS,
        tmp_path / "ig.onnx",
        baselines=BASELINE if bake_baseline else "input",
        n_steps=STEPS,
        path_as_input=path_as_input,
        steps_per_run=steps_per_run,
        multiply_by_inputs=multiply,
    )
    onnx.checker.check_model(file, full_check=True)
    result = run(file, FEEDS)
    attribution, delta = expected[multiply]
    np.testing.assert_allclose(result["attribution_image"], attribution, atol=2e-6 * np.abs(attribution).max())
    np.testing.assert_allclose(result["convergence_delta"], delta, atol=2e-5)
    logits = module()(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(result["logits"], logits, atol=1e-5)
    np.testing.assert_allclose(result["score"], logits[[0, 1], TARGET], atol=1e-5)


def test_step_form_is_linear_in_the_weights(tmp_path: Path, expected: Any) -> None:
    file = onnx_ig.export(DIGITS, tmp_path / "step.onnx", form="step", baselines="input")
    whole = run(file, FEEDS)
    parts = [run(file, {**FEEDS, **{n: v[s] for n, v in path_feeds().items()}}) for s in (slice(0, 4), slice(4, None))]
    attribution = expected[True][0]
    scale = np.abs(attribution).max()
    np.testing.assert_allclose(whole["attribution_image"], attribution, atol=2e-6 * scale)
    np.testing.assert_allclose(sum(p["attribution_image"] for p in parts), attribution, atol=2e-6 * scale)
    np.testing.assert_allclose(np.concatenate([p["path_scores"] for p in parts]), whole["path_scores"], atol=1e-5)


@pytest.mark.parametrize("target", ["predicted", 3, (3,)])
def test_baked_target(tmp_path: Path, target: Any) -> None:
    file = onnx_ig.export(DIGITS, tmp_path / "ig.onnx", target=target, n_steps=STEPS)
    result = run(file, FEEDS)
    chosen = result["logits"].argmax(1) if target == "predicted" else np.array([3, 3])
    if target == "predicted":
        np.testing.assert_array_equal(result["target_used"], chosen)
    (wanted,), _ = reference.integrated_gradients(module(), torch.from_numpy(X), 0, chosen.tolist(), None, STEPS)
    np.testing.assert_allclose(result["attribution_image"], wanted.numpy(), atol=2e-6 * float(wanted.abs().max()))


def test_input_x_gradient(tmp_path: Path) -> None:
    file = onnx_ig.export(DIGITS, tmp_path / "ixg.onnx", algorithm="input-x-gradient")
    (wanted,) = reference.input_x_gradient(module(), torch.from_numpy(X), TARGET.tolist())
    got = run(file, FEEDS)["attribution_image"]
    np.testing.assert_allclose(got, wanted.detach().numpy(), atol=2e-6 * float(wanted.abs().max()))


@pytest.mark.parametrize("algorithm", ["integrated-gradients", "input-x-gradient"])
@pytest.mark.parametrize("bad", [-1, 10, 2**40])
def test_a_target_out_of_range_gives_nan(tmp_path: Path, algorithm: str, bad: int) -> None:
    file = onnx_ig.export(DIGITS, tmp_path / "ig.onnx", algorithm=algorithm, n_steps=3)
    result = run(file, {**FEEDS, "target": np.array([7, bad])})
    for name in ("attribution_image", "score"):
        assert np.isfinite(result[name][0]).all() and np.isnan(result[name][1]).all()


def test_an_unequal_path_fails(tmp_path: Path) -> None:
    file = onnx_ig.export(DIGITS, tmp_path / "ig.onnx", path_as_input=True)
    for length in (1, STEPS - 1):
        with pytest.raises(Exception, match=r"[Rr]eshape"):
            run(file, {**FEEDS, "path_weights": FEEDS["path_weights"][:length]})


def text_model(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]>\n{text}')


FIXED = "f (float[1, 3] x) => (float[1, 2] y) <float[3, 2] w = {1, -2, 3, 4, -5, 6}> { s = Sin (x)  y = MatMul (s, w) }"
NO_BATCH = "f (float[3] x) => (float[2] y) <float[3, 2] w = {1, -2, 3, 4, -5, 6}> { s = Sin (x)  y = MatMul (s, w) }"
SCALAR = "f (float[N, 3] x) => (float[N] y) <int64[1] a = {1}> { s = Sin (x)  y = ReduceSum <keepdims = 0> (s, a) }"


@pytest.mark.parametrize(("text", "layout"), [(FIXED, "fixed"), (NO_BATCH, "none"), (SCALAR, "batched")])
def test_layouts(tmp_path: Path, text: str, layout: str) -> None:
    file = onnx_ig.export(text_model(text), tmp_path / "ig.onnx", n_steps=20)
    contract = Contract.from_json(onnx.load(file).metadata_props[0].value)
    assert contract.layout == layout
    x = np.array([[0.3, -0.6, 0.9]], np.float32)
    result = run(file, {"x": x[0] if layout == "none" else x, "target": np.array([1])})
    weights = np.array([1, 1, 1] if layout == "batched" else [-2, 4, 6], np.float32)
    np.testing.assert_allclose(result["attribution_x"].ravel(), np.sin(x[0]) * weights, rtol=1e-5)
    assert result["convergence_delta"].shape == (1,) and abs(result["convergence_delta"][0]) < 1e-5


def test_at_an_embedding(tmp_path: Path) -> None:
    text = """f (int64[N, T] ids) => (float[N, 2] y)
    <float[5, 3] table = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 1, 1, 2, 2, 2}, float[3, 2] w = {1, -2, 3, 4, -5, 6}, int64[1]
    a = {1}>
    { e = Gather (table, ids)  s = Sin (e)  m = ReduceMean <keepdims = 0> (s, a)  y = MatMul (m, w) }"""
    with pytest.raises(InputError, match="at="):
        onnx_ig.export(text_model(text), tmp_path / "ig.onnx")
    file = onnx_ig.export(text_model(text), tmp_path / "ig.onnx", at="e", target=0, baselines=4, n_steps=40)
    result = run(file, {"ids": np.array([[0, 1, 4], [3, 3, 2]])})
    assert result["attribution_e"].shape == (2, 3, 3)
    assert not result["attribution_e"][0, 2].any()  # its own baseline
    np.testing.assert_allclose(result["convergence_delta"], 0, atol=1e-4)


def test_additional_inputs_are_repeated_along_the_path(tmp_path: Path) -> None:
    text = """f (float[N, 3] x, float[N, 3] scale, float[3] shared) => (float[N, 2] y)
    <float[3, 2] w = {1, -2, 3, 4, -5, 6}> { s = Sin (x)  t = Mul (s, scale)  u = Mul (t, shared)  y = MatMul (u, w)
    }"""
    file = onnx_ig.export(text_model(text), tmp_path / "ig.onnx", inputs=["x"], target=1, n_steps=20)
    x, scale = np.random.default_rng(0).standard_normal((2, 4, 3)).astype(np.float32)
    shared = np.array([1, 2, 3], np.float32)
    result = run(file, {"x": x, "scale": scale, "shared": shared})
    np.testing.assert_allclose(result["attribution_x"], np.sin(x) * scale * shared * [-2, 4, 6], atol=1e-5)


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "step of input-x-gradient": ({"algorithm": "input-x-gradient", "form": "step"}, UsageError, "no path"),
    "unknown method": ({"method": "simpson"}, UsageError, "simpson"),
    "unknown input": ({"inputs": ["nope"]}, UsageError, "image"),
    "unknown output": ({"output": "nope"}, UsageError, "nope"),
    "target out of range": ({"target": 10}, InputError, "10"),
    "baseline shape": ({"baselines": np.zeros((1, 1, 4, 4))}, InputError, r"\[1, 1, 4, 4\]"),
    "no such folder": ({}, UsageError, "folder"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_write_nothing(tmp_path: Path, name: str) -> None:
    keywords, error, words = REFUSED[name]
    target = tmp_path / ("absent/ig.onnx" if name == "no such folder" else "ig.onnx")
    with pytest.raises(error, match=words):
        onnx_ig.export(DIGITS, target, **keywords)
    assert not list(tmp_path.iterdir())


# output, and whether the node in training mode stands in the way
TRAINING: dict[str, tuple[str, bool]] = {
    "dropout": ("y = Dropout (x, half, yes)", True),
    "dropout with its default ratio": ("y = Dropout (x, , yes)", True),
    "dropout of a mode known at run time": ("y = Dropout (x, half, mode)", True),
    "in a branch": (
        """y = If (mode) <then_branch = a () => (float[N, 3] p) { p = Dropout (x, half, yes) },
                          else_branch = b () => (float[N, 3] q) { q = Sin (x) }>""",
        True,
    ),
    "batch statistics": ("y, m, v = BatchNormalization <training_mode = 1> (x, one, one, one, one)", True),
    "dropout of nothing": ("d = Dropout (x, zero, yes)  y = Sin (d)", False),
    "evaluation": ("d = Dropout (x, half)  y = Sin (d)", False),
    "a constant mode": ("d = Dropout (x, half, no)  y = Sin (d)", False),
    "a mode computed from constants": ("t = Not (yes)  d = Dropout (x, half, t)  y = Sin (d)", False),
    "a mode computed from constants, on": ("t = Not (no)  y = Dropout (x, half, t)", True),
    "a mode that is off unless it is fed": ("d = Dropout (x, half, off)  y = Sin (d)", False),
    "a mode that is on unless it is fed": ("y = Dropout (x, half, on)", True),
    "off the way": ("y = Sin (x)  z = Dropout (x, half, yes)", False),
}


@pytest.mark.parametrize("name", TRAINING)
def test_a_model_in_training_mode_is_refused(name: str) -> None:
    body, refused = TRAINING[name]
    outputs = "float[N, 3] y, float[N, 3] z" if "z =" in body else "float[N, 3] y"
    proto = text_model(
        f"""f (float[N, 3] x, bool mode, bool off, bool on) => ({outputs})
        <bool off = {{0}}, bool on = {{1}}, bool yes = {{1}}, bool no = {{0}}, float half = {{0.5}}, float zero = {{0}},
        float[3] one = {{1, 1, 1}}> {{ {body} }}"""
    )
    onnx_ig.differentiate(proto, ["x"], ["y"])
    if refused:
        with pytest.raises(NotDifferentiableError, match=r"(Dropout|BatchNormalization).*evaluation mode"):
            make_plan(onnx_ig.load(proto), output="y", inputs=["x"])
        assert len(inspect(proto).in_training_mode) == 1
    else:
        assert make_plan(onnx_ig.load(proto), output="y", inputs=["x"]).output == "y"


def test_a_mode_that_is_off_unless_it_is_fed_stays_off(tmp_path: Path) -> None:
    proto = text_model(
        """f (float[N, 3] x, bool training) => (float[N, 3] y) <bool training = {0}, float half = {0.5}> {
        h = Sin (x)  d = Dropout (h, half, training)  y = Mul (d, d) }"""
    )
    x = np.array([[0.5, -1, 2], [1, 0.25, -0.5]], np.float32)
    wanted = np.zeros_like(x)
    wanted[:, 1] = np.sin(x[:, 1]) ** 2  # the other elements play no part, so completeness tells the attribution
    path = onnx_ig.export(proto, tmp_path / "explained.onnx", target=1)
    for method in (onnx_ig.IntegratedGradients(proto), onnx_ig.open(path)):
        for fed in (None, {"training": np.array(False)}):
            np.testing.assert_allclose(method.attribute(x, target=1, additional_forward_args=fed), wanted, atol=1e-5)
        with pytest.raises(InputError, match="training: so fed, the model drops at random"):
            method.attribute(x, target=1, additional_forward_args={"training": np.array(True)})


def test_a_clash_with_the_models_own_names_needs_a_prefix(tmp_path: Path) -> None:
    text = text_model("f (float[N, 3] x) => (float[N, 3] score) { score = Sin (x) }")
    with pytest.raises(ModelError, match="prefix"):
        onnx_ig.export(text, tmp_path / "ig.onnx")
    file = onnx_ig.export(text, tmp_path / "ig.onnx", prefix="ig_", n_steps=2)
    assert "ig_score" in [o.name for o in onnx.load(file).graph.output]
    got = onnx_ig.InputXGradient(text).attribute(np.ones((1, 3), np.float32), target=0)
    np.testing.assert_allclose(got, [[np.cos(1), 0, 0]], rtol=1e-6)
