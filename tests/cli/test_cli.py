"""The command line: good runs leave the right numbers, broken ones one message, the right exit code and no files."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner, Result

import onnx_ig
from onnx_ig.cli import app
from onnx_ig.errors import OutOfMemoryError, ToleranceError
from tests.helpers import cli_models
from tests.helpers.cli_cases import BROKEN, CONTRADICTIONS, EXPORTED, FACTORY, GOOD, WEIGHTS, A, loaded

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "data"
    folder.mkdir()
    cli_models.make(folder)
    return folder


@pytest.fixture
def work(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh working folder in which the data lies under its plain names."""
    folder = tmp_path / "work"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes((data.parent / "secret.bin").read_bytes())
    for file in data.iterdir():
        (folder / file.name).symlink_to(file) if file.suffix != ".onnx" else (folder / file.name).write_bytes(
            file.read_bytes()
        )
    monkeypatch.chdir(folder)
    monkeypatch.delenv("ONNX_IG_DEBUG", raising=False)
    monkeypatch.syspath_prepend(str(cli_models.MODELS.parent))
    return folder


def run(command: str, *more: str) -> Result:
    return CliRunner().invoke(app, [*command.split(), *more])


def succeed(command: str, *more: str) -> Result:
    result = run(command, *more)
    assert result.exit_code == 0, result.stderr
    return result


def arrays(folder: str | Path = "out") -> dict[str, Array]:
    with np.load(Path(folder) / "attributions.npz", allow_pickle=False) as found:
        return dict(found)


def report(folder: str | Path = "out") -> dict[str, Any]:
    return dict(json.loads((Path(folder) / "report.json").read_text("utf-8")))


@pytest.mark.parametrize("case", GOOD)
def test_attribute_writes_what_the_api_computes(work: Path, case: str) -> None:
    command, expected = GOOD[case]
    result = succeed(f"attribute {command} -o out")
    found, wanted = arrays(), expected()
    names = {
        name.removeprefix("attribution_"): value for name, value in found.items() if name.startswith("attribution_")
    }
    if not isinstance(wanted, dict):
        wanted = dict(zip(names, [wanted], strict=True))
    assert names.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(names[name], value, rtol=1e-4, atol=1e-5 * np.abs(value).max())
    if (
        not any(word in command for word in ("input-x-gradient", "cam"))
        and "single" not in command
        and "--n-steps 5" not in command
    ):
        assert np.abs(found["convergence_delta"]).max() < 0.1
    assert "CPUExecutionProvider" in result.stdout and "report.html" in result.stdout
    assert report()["provider"] == "CPUExecutionProvider"


def test_the_picture_run_leaves_a_picture_and_names_the_digit(work: Path) -> None:
    result = succeed("attribute digits_cnn.onnx -i seven.png -o out")
    assert (work / "out" / "overlay_image_0.png").stat().st_size > 500
    assert report()["examples"][0]["target"] == 7 and " 7 " in result.stdout
    assert "Traceback" not in result.stderr and result.stderr == ""


def test_names_are_shown(work: Path) -> None:
    result = succeed("attribute two.onnx -i both.npz --target 1 --names names.json -o out")
    assert "green" in result.stdout and "(yes)" in result.stdout


def test_non_finite_values_are_taken_when_allowed(work: Path) -> None:
    succeed("attribute one.onnx -i nan.npy --allow-nonfinite -o out")
    assert np.isnan(arrays()["score"]).all()


# options of export that attribute knows too: what the plain model is asked for to give the same
_ALSO_PLAIN = ("--method", "--n-steps", "--algorithm", "--output", "--at", "--target", "--sum-over")


@pytest.mark.parametrize("case", EXPORTED)
def test_an_exported_model_gives_what_the_plain_one_gives(work: Path, case: str) -> None:
    export, asked, given = EXPORTED[case]
    name, *options = export.split()
    printed = succeed(f"export {name}.onnx -o exported.onnx", *options)
    assert "inputs:" in printed.stdout and "attribution_" in printed.stdout
    succeed(f"attribute exported.onnx {given} {asked} -o out")
    plain = [word for pair in itertools.pairwise(options) if pair[0] in _ALSO_PLAIN for word in pair]
    plain += [
        word
        for pair in itertools.pairwise(options)
        if pair[0] == "--baseline" and "input" not in pair[1]
        for word in pair
    ]
    plain += ["--no-multiply-by-inputs"] if "--no-multiply-by-inputs" in options else []
    if "--target" in plain:  # baked and asked for: once is enough
        asked = asked.replace("--target 1", "")
    pieces = asked.replace("--internal-batch-size 3", "")
    succeed(f"attribute {name}.onnx {given} -o plain {pieces}", *plain)
    ours, theirs = arrays("out"), arrays("plain")
    known = ours.keys() & theirs.keys()
    assert {"score", *(key for key in theirs if key.startswith("attribution_"))} <= known
    if case not in (
        "tokens, step form",
        "summed, step form",
    ):  # the baseline is baked and the path begins inside: F(baseline) cannot be known
        assert known == theirs.keys() - {"error_estimate"}  # a file has a single sum
    for key in known:
        np.testing.assert_allclose(ours[key], theirs[key], rtol=1e-4, atol=2e-5, err_msg=key)
    assert (
        report("out")["n_steps"] == report("plain")["n_steps"] and report("out")["method"] == report("plain")["method"]
    )


def test_an_unknown_end_of_the_path_is_said(work: Path) -> None:
    succeed("export tokens.onnx --at embedded --input ids --form step -o exported.onnx")
    result = succeed("attribute exported.onnx -i ids.npy --extra mask=mask.npy --target 0 -o out")
    assert "F(baseline)" in result.stderr and report()["examples"][0]["convergence_delta"] is None


def test_an_exported_model_is_ordinary(work: Path) -> None:
    succeed("export digits_cnn.onnx -o exported.onnx --target predicted")
    session = onnxruntime.InferenceSession("exported.onnx")
    outputs = dict(
        zip([y.name for y in session.get_outputs()], session.run(None, {"image": loaded("seven.npy")}), strict=True)
    )
    succeed("attribute digits_cnn.onnx -i seven.npy -o out")
    np.testing.assert_allclose(outputs["attribution_image"], arrays()["attribution_image"], atol=1e-5)
    assert outputs["target_used"].tolist() == [7]


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_what_is_baked_cannot_be_asked_for_differently(work: Path, case: str) -> None:
    baked, asked, named = CONTRADICTIONS[case]
    succeed(f"export digits_cnn.onnx -o exported.onnx {baked}")
    result = run(f"attribute exported.onnx -i seven.npy -o out {asked}")
    refused(result, 2, named)


def refused(result: Result, code: int, named: list[str]) -> None:
    assert result.exit_code == code, (result.exit_code, result.stdout, result.stderr)
    assert result.stderr.startswith("error: ") and result.stderr.count("error: ") == 1
    assert "Traceback" not in result.stderr and "internal error" not in result.stderr
    for word in named:
        assert word in result.stderr, result.stderr
    assert not Path("out").exists() and not Path("out.onnx").exists()
    assert not [file for file in Path().iterdir() if file.name.startswith(".")]  # no draft left behind


@pytest.mark.parametrize("case", BROKEN)
def test_broken_input_ends_in_one_message(work: Path, case: str) -> None:
    command, code, named = BROKEN[case]
    refused(run(command), code, named)


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="CUDA is here")
@pytest.mark.parametrize("provider", ["cuda", "cuda-tf32", "tensorrt"])
def test_an_absent_provider_is_an_error(work: Path, provider: str) -> None:
    refused(run(f"{A} -o out --provider {provider}"), 5, ["onnx-ig[gpu]", "cpu"])


def test_broken_input_to_an_exported_model(work: Path) -> None:
    succeed("export digits_cnn.onnx -o exported.onnx")
    refused(run("attribute exported.onnx -i seven.npy --target 10 -o out"), 4, ["10", "[N, 10]"])
    refused(run("attribute exported.onnx -i rows.npy -o out"), 4, ["[batch, 1, 8, 8]"])


def test_an_earlier_report_is_replaced_and_other_files_are_not(work: Path) -> None:
    (work / "out").mkdir()
    (work / "out" / "attributions.npz").write_text("mine")
    result = run(f"{A} -o out")
    assert result.exit_code == 2 and "attributions.npz" in result.stderr
    assert [file.name for file in (work / "out").iterdir()] == ["attributions.npz"]
    succeed(f"{A} -o out --overwrite")
    succeed(f"{A} -o out")
    (work / "file").write_text("mine")
    assert run(f"{A} -o file").exit_code == 2 and (work / "file").read_text() == "mine"


def test_export_replaces_only_what_is_complete(work: Path) -> None:
    Path("kept.onnx").write_text("earlier")
    assert run("export unknown_operator.onnx -o kept.onnx --overwrite").exit_code == 3
    assert Path("kept.onnx").read_text() == "earlier"


def test_torch_sources(work: Path) -> None:
    result = succeed(f"attribute {FACTORY} --weights {WEIGHTS} -i seven.npy -o out")
    assert "exported by torch's" in result.stdout and report()["model"]["exporter"]
    succeed("attribute digits_cnn.onnx -i seven.npy -o plain")
    (ours,) = (value for name, value in arrays("out").items() if name.startswith("attribution_"))
    np.testing.assert_allclose(ours, arrays("plain")["attribution_image"], atol=1e-3)
    succeed(
        f"export {FACTORY} --weights {WEIGHTS} --example-input image=1x1x8x8:float32 -o torch.onnx --target predicted"
    )
    succeed("attribute torch.onnx -i seven.npy -o exported")
    np.testing.assert_allclose(arrays("exported")["score"], arrays("plain")["score"], rtol=1e-4)


PAIR = """
import torch
class Pair(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.out = torch.nn.Embedding(9, 3), torch.nn.Linear(12, 2)
    def forward(self, ids, mask):
        return self.out((torch.tanh(self.table(ids)) * mask[:, :, None]).flatten(1))
class Product(torch.nn.Module):
    def forward(self, x, scale):
        return torch.tanh(x) * scale
def tokens():
    torch.manual_seed(0)
    return Pair()
"""


def test_torch_sources_of_several_arguments(work: Path) -> None:
    (work / "torch_pair.py").write_text(PAIR)
    shapes = "--example-input 2x4:int64 --example-input mask=2x4:float32"
    found = json.loads(succeed(f"inspect torch_pair:tokens {shapes} --json").stdout)
    (embedding,) = (layer["tensor"]["name"] for layer in found["embeddings"])
    succeed(f"attribute torch_pair:tokens -i ids.npy --extra mask=mask.npy --at {embedding} -o out")
    assert arrays()[f"attribution_{embedding}"].shape == (2, 4, 3)
    succeed("verify torch_pair:Product -i rows.npy --extra scale=rows.npy --samples 0 --target 1")
    assert run("attribute torch_pair:tokens -i mask=mask.npy -o no").exit_code == 2
    assert run("attribute torch_pair:tokens -i ids.npy --extra q=mask.npy -o no").exit_code == 2


def test_exported_programs(work: Path) -> None:
    import torch

    from onnx_ig.pytorch.files import load_factory

    module, batch = load_factory(FACTORY, WEIGHTS), torch.export.Dim("batch")
    program = torch.export.export(module, (torch.rand(2, 1, 8, 8),), dynamic_shapes=({0: batch},))
    torch.export.save(program, "digits.pt2")
    succeed("attribute digits.pt2 -i seven.npy -o out")
    assert report()["examples"][0]["target"] == 7


def test_warnings_are_one_line_each_and_reach_the_report(work: Path) -> None:
    result = succeed("attribute two.onnx -i both.npz --output product --target 1 --algorithm input-x-gradient -o out")
    assert result.stderr == ""
    proto = cli_models.model(
        [cli_models.node("Tanh", "a", "y")],
        {"a": (1, ["N", 3]), "b": (1, ["N", 3])}, {"y": (1, ["N", 3])}, {},
    )  # fmt: skip
    Path("unused.onnx").write_bytes(proto.SerializeToString())
    result = succeed("attribute unused.onnx -i both.npz --target 1 -o unused")
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("warning: ") and "'b'" in result.stderr
    assert any("'b'" in warning for warning in report("unused")["warnings"])
    assert not arrays("unused")["attribution_b"].any()


def test_verify(work: Path) -> None:
    result = succeed("verify digits_cnn.onnx --samples 2")
    assert "verified" in result.stdout and "differences" in result.stdout
    result = succeed(
        f"verify {FACTORY} --weights {WEIGHTS} -i seven.npy --float64 --samples 1 --baseline 0.25 --n-steps 9"
    )
    assert "verified" in result.stdout and "torch autograd" in result.stdout
    result = run(f"verify {FACTORY} --weights {WEIGHTS} --example-input 2x1x8x8 --samples 0 --tolerance 1e-15")
    assert result.exit_code == 8 and "differs" in result.stdout and result.stderr.startswith("error: ")
    assert run("verify digits_cnn.onnx --float64").exit_code == 2
    assert run("verify gone.onnx").exit_code == 2
    assert run("verify unknown_operator.onnx").exit_code == 3
    assert run("verify tokens.onnx").exit_code == 4
    succeed("verify two.onnx -i both.npz --samples 0")
    assert run("verify columns.onnx").exit_code == 4  # an undeclared dimension
    for more in ("", "-i rows.npy"):
        succeed(f"verify columns.onnx --batch-axis 1 --samples 0 {more}")
    succeed("verify fixed.onnx --batch-axis none --samples 0")
    assert run(f"verify {FACTORY} --weights {WEIGHTS} -i seven.npy --batch-axis 1").exit_code == 2


def test_inspect(work: Path) -> None:
    text = succeed("inspect unknown_operator.onnx").stdout
    for word in ("Mystery", "strange_one", "Riddle", "strange_two", "2 nodes stand in the way", "float32 [N, 3]"):
        assert word in text
    assert "derivative is zero" in succeed("inspect no_gradient.onnx").stdout
    assert "embedded" in succeed("inspect tokens.onnx").stdout
    assert json.loads(succeed("inspect digits_cnn.onnx --json").stdout)["gradients"][0]["status"] == "yes"
    succeed("export digits_cnn.onnx -o exported.onnx")
    text = succeed("inspect exported.onnx").stdout
    assert "attribution model" in text and "target" in text and "n_steps 50" in text
    assert "can be differentiated" in succeed(f"inspect {FACTORY} --example-input 1x1x8x8").stdout


def raising(error: BaseException) -> Callable[..., Any]:
    def raise_it(*args: Any, **kwargs: Any) -> Any:
        raise error

    return raise_it


ENDINGS: dict[str, tuple[BaseException, int, str]] = {
    "interrupted": (KeyboardInterrupt(), 130, "interrupted"),
    "memory": (OutOfMemoryError("one example does not fit"), 6, "one example"),
    "memory of Python": (MemoryError("array of 3 TiB"), 6, "out of memory"),
    "tolerance": (ToleranceError("delta 0.1"), 7, "delta 0.1"),
    "a mistake of ours": (RuntimeError("first line\nsecond line"), 1, "internal error: RuntimeError: first line"),
}


@pytest.mark.parametrize("case", ENDINGS)
def test_endings(work: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    error, code, message = ENDINGS[case]
    monkeypatch.setattr("onnx_ig.methods.method.open_engine", raising(error))
    result = run(f"{A} -o out")
    assert result.exit_code == code and message in result.stderr and result.stderr.count("\n") == 1
    assert not Path("out").exists()


@pytest.mark.parametrize("way", ["option", "variable"])
def test_tracebacks_on_request(work: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setattr("onnx_ig.methods.method.open_engine", raising(RuntimeError("a mistake")))
    if way == "variable":
        monkeypatch.setenv("ONNX_IG_DEBUG", "1")
    result = run(f"{A} -o out", *(["--debug"] if way == "option" else []))
    assert result.exit_code == 1 and "Traceback" in result.stderr and "a mistake" in result.stderr


def test_every_command_and_option_has_help() -> None:
    for name, command in app.commands.items():
        text = CliRunner().invoke(app, [name, "--help"]).stdout
        assert "Examples:" in text and command.help
        for parameter in command.params:
            assert not isinstance(parameter, click.Option) or parameter.help, f"{name} {parameter.name}"
    assert onnx_ig.__version__ in run("--version").stdout


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(cli_models.MODELS.parent), "OMP_NUM_THREADS": "1"}


def python(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command.split()], capture_output=True, text=True, timeout=120, check=False, env=environment()
    )


def test_as_a_process(work: Path) -> None:
    good = python("-m onnx_ig attribute digits_cnn.onnx -i seven.png -o out")
    assert good.returncode == 0 and good.stderr == "" and "wrote" in good.stdout  # no progress bar without a terminal
    bad = python("-m onnx_ig attribute cut.onnx -i seven.png -o no")
    assert bad.returncode == 3 and bad.stderr.startswith("error: ") and not Path("no").exists()


def test_control_c_leaves_nothing(work: Path) -> None:
    code = (
        "import signal, sys, time; import onnx_ig.methods.method as m; from onnx_ig.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in the background
        "def working(*args, **keywords): print('working', flush=True); time.sleep(100)\n"
        "m.open_engine = working; sys.argv = ['onnx-ig', *'attribute one.onnx -i rows.npy -o out'.split()]; main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "working\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and errors == "interrupted\n"
    assert not Path("out").exists() and not [file for file in Path().iterdir() if file.name.endswith(".tmp")]


def test_help_needs_no_heavy_library() -> None:
    code = (
        "import sys; from onnx_ig.cli import app\n"
        "try: app(['attribute', '--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'onnxruntime', 'matplotlib', 'PIL') if name in sys.modules])"
    )
    process = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=cli_models.MODELS.parent,
        check=True,
    )
    assert process.stdout.splitlines()[-1] == "[]"
