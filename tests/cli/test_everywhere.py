"""What every command has: options from a file, output for programs, how much is said, completion by the shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import pytest
from click.testing import CliRunner, Result

import onnx_ig
from onnx_ig.cli import app
from onnx_ig.cli.terminal.ending import Ending

MODEL = """<ir_version: 10, opset_import: ["": 21]>
    model (float[N, 2] x) => (float[N, 3] y) <float[2, 3] w = {1, -2, 0.5, 1, 2, -1}>
    { t = Tanh(x)  y = MatMul(t, w) }"""
X = np.array([[0.3, 1.5], [-0.2, 0.7], [0.9, -1]], np.float32)


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = onnx.parser.parse_model(MODEL)
    onnx.helper.set_model_props(model, {"feature_names": '["age", "height"]', "class_names": '["low", "mid", "high"]'})
    onnx.save(model, "m.onnx")
    np.save("x.npy", X)
    Path("x.csv").write_text("height,kind,age\n1.5,high,0.3\n0.7,low,-0.2\n-1,mid,0.9\n")


def run(command: str) -> Result:
    return CliRunner().invoke(app, command.split())


def attributed(folder: str = "out") -> Any:
    return np.load(f"{folder}/attributions.npz")["attribution_x"]


# a file of options, the command, and the keywords of the same call
TAKEN: dict[str, tuple[str, str, dict[str, Any]]] = {
    "everything": ('model = "m.onnx"\ninputs = "x.npy"\nout = "out"\ntarget = 1', "", {"target": 1}),
    "numbers": ("n-steps = 30\nmethod = 'riemann_middle'", "m.onnx -i x.npy -o out --target 0",
                {"n_steps": 30, "method": "riemann_middle", "target": 0}),
    "underscores": ("n_steps = 3", "m.onnx -i x.npy -o out --target 0", {"n_steps": 3, "target": 0}),
    "the command line wins": ("target = 1", "m.onnx -i x.npy -o out --target 2", {"target": 2}),
    "a switch": ("multiply-by-inputs = false", "m.onnx -i x.npy -o out --target 0", {"target": 0, "factor": False}),
    "by name": ('target = "high"\n[baseline]\nx = 0.25', "m.onnx -i x.npy -o out", {"target": 2, "baselines": 0.25}),
    "a table for each command": ("target = 0\n[attribute]\ntarget = 1\n[export]\nform = 'step'",
                                 "m.onnx -i x.npy -o out", {"target": 1}),
    "text that looks like a number": ('target = "1"', "m.onnx -i x.npy -o out", {"target": 1}),
}  # fmt: skip


# a file of options, and a command that excludes one of them, which is not taken then
EXCLUDED: dict[str, tuple[str, str]] = {
    "several targets instead of one": ("target = 1", "attribute m.onnx -i x.npy -o out --targets 0,2"),
    "one target instead of several": ("targets = 'top-2'", "attribute m.onnx -i x.npy -o out --target 2"),
    "a tolerance instead of steps": (
        "n-steps = 7\nmethod = 'riemann_left'", "attribute m.onnx -i x.npy -o out --tolerance 0.1"
    ),
    "steps instead of a tolerance": ("tolerance = 0.1\nmax-steps = 64", "attribute m.onnx -i x.npy -o out --n-steps 3"),
    "no path instead of steps": (
        "n-steps = 7\n[baseline]\nx = 0.5", "attribute m.onnx -i x.npy -o out --algorithm input-x-gradient"
    ),
    "a file instead of a repository": ("triton = 'entry'", "export m.onnx -o ig.onnx --target 1"),
    "a repository instead of a file": ("out = 'ig.onnx'", "export m.onnx --triton entry --target 1"),
    "steps that the caller takes": ("n-steps = 7", "export m.onnx -o ig.onnx --form step"),
    "several targets in a file": ("target = 'predicted'", "export m.onnx -o ig.onnx --targets top-2"),
}  # fmt: skip


@pytest.mark.parametrize("case", EXCLUDED)
def test_the_command_line_excludes_what_a_file_holds(case: str) -> None:
    text, command = EXCLUDED[case]
    Path("options.toml").write_text(text)
    plain, done = run(f"{command} --json"), run(f"{command} --json --config options.toml --overwrite")
    assert plain.exit_code == done.exit_code == 0, done.stderr
    one, other = (json.loads(found.stdout) for found in (plain, done))
    for key in ("summary", "examples", "algorithm", "n_steps", "tolerance", "contract", "wrote"):
        assert one.get(key) == other.get(key)


def test_what_is_computed_is_not_left_out_of_a_file() -> None:
    Path("options.toml").write_text("algorithm = 'input-x-gradient'")
    done = run("attribute m.onnx -i x.npy -o out --n-steps 3 --config options.toml")
    assert done.exit_code == 2 and "input-x-gradient" in done.stderr


def test_options_that_exclude_each_other_in_one_place_are_refused() -> None:
    Path("options.toml").write_text("target = 1\ntargets = '0,2'")
    for command in ("--config options.toml", "--target 1 --targets 0,2"):
        done = run(f"attribute m.onnx -i x.npy -o out {command}")
        assert done.exit_code == 2 and "contradict" in done.stderr


@pytest.mark.parametrize("case", TAKEN)
def test_options_from_a_file(case: str) -> None:
    text, command, keywords = TAKEN[case]
    Path("options.toml").write_text(text)
    done = run(f"attribute --config options.toml {command}")
    assert done.exit_code == 0, done.stderr
    factor = keywords.get("factor", True)
    expected = onnx_ig.IntegratedGradients("m.onnx", multiply_by_inputs=factor).attribute(
        X, **{name: value for name, value in keywords.items() if name != "factor"}
    )
    np.testing.assert_allclose(attributed(), expected, rtol=1e-6)


REFUSED = {
    "n-step = 3": "has no option 'n-step' (did you mean n-steps",
    "n-steps = true": "true means nothing",
    "resume = 1": "true or false is meant",
    "n-steps = 'many'": "'many' is not a valid integer",
    "[attribute]\ntagret = 1": "did you mean target",
    "[atribute]\ntarget = 1": "no option 'atribute'",
    "target = ": "not a TOML file",
}


@pytest.mark.parametrize("text", REFUSED)
def test_options_in_a_file_that_are_none(text: str) -> None:
    Path("options.toml").write_text(text)
    done = run("attribute --config options.toml m.onnx -i x.npy -o out")
    assert done.exit_code == 2 and REFUSED[text] in done.stderr, done.stderr
    assert not Path("out").exists()


def test_a_file_of_options_that_is_not_there() -> None:
    done = run("inspect --config none.toml m.onnx")
    assert done.exit_code == 2 and "--config none.toml" in done.stderr


def test_results_for_programs() -> None:
    found = json.loads(run("attribute m.onnx -i x.csv --target column:kind -o out --json").stdout)
    assert found == {"directory": "out", **json.loads(Path("out/report.json").read_text("utf-8"))}
    assert [example["target_name"] for example in found["examples"]] == ["high", "low", "mid"]
    again = json.loads(run("attribute m.onnx -i x.csv --target column:kind -o out --json --resume").stdout)
    assert again["summary"] == found["summary"]
    missed = run("attribute m.onnx -i x.npy -o missed --json --tolerance 1e-12 --max-steps 8")
    assert missed.exit_code == 7 and json.loads(missed.stdout)["missed"] in missed.stderr
    assert run("export m.onnx -o whole/m.onnx --target 1 --with-test-data").exit_code == 2  # no such folder
    Path("whole").mkdir()
    assert run("export m.onnx -o whole/m.onnx --target 1 --with-test-data").exit_code == 0
    conformed = json.loads(run("conform whole/m.onnx --json").stdout)
    assert conformed["passed"] and {row["output"] for row in conformed["rows"]} >= {"y", "attribution_x"}
    failed = run("verify m.onnx --tolerance 1e-30 --samples 0 --json")
    assert failed.exit_code == 8 and json.loads(failed.stdout)["passed"] is False


# a command that prints a result, and keys of what it prints for programs
PRINTS: dict[str, tuple[str, ...]] = {
    "attribute m.onnx -i x.npy --target 1 -o out": ("directory", "examples", "files"),
    "bench m.onnx --seconds 0 --n-steps 3": ("model", "timings"),
    "conform whole.onnx": ("passed", "rows"),
    "export m.onnx -o ig.onnx --target 1": ("wrote", "contract", "inputs", "outputs", "next"),
    "export m.onnx --triton entry --target 1": ("wrote", "contract"),
    "export m.onnx -o ig.onnx --target 1 --for tract --with-test-data": ("wrote", "test_data", "next"),
    "inspect m.onnx": ("source", "gradients"),
    "verify m.onnx --samples 0": ("passed", "rows"),
    "web m.onnx -o page": ("directory", "files"),
}


@pytest.mark.parametrize("command", PRINTS)
def test_every_command_prints_one_object_for_programs(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of `doctor` tests/checking/test_installation.py tells."""
    assert {name.split()[0] for name in PRINTS} == set(app.commands) - {"completion", "doctor"}
    if command.startswith("conform"):
        onnx_ig.export("m.onnx", "whole.onnx", target=1, n_steps=3, with_test_data=True)
    if command.startswith("web"):
        monkeypatch.setattr("onnx_ig.web.write_site", lambda out, *_, **__: [out / "index.html"])
        monkeypatch.setattr("onnx_ig.web.require_place_for_site", lambda *_, **__: None)
    done = run(f"{command} --json")
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(PRINTS[command]) <= set(found)


def test_what_was_exported_is_told_to_programs() -> None:
    """As to people, and as `inspect` tells it of the file."""
    found = json.loads(run("export m.onnx -o ig.onnx --target 1 --n-steps 7 --json").stdout)
    assert found["wrote"] == "ig.onnx" and found["contract"]["baked"]["target"] == [1]
    seen = json.loads(run("inspect ig.onnx --json").stdout)
    assert {key: found[key] for key in seen if key != "source"} == {k: v for k, v in seen.items() if k != "source"}
    said = run("export m.onnx -o other.onnx --target 1 --n-steps 7 --overwrite").stdout
    assert said.startswith("wrote other.onnx: integrated-gradients (complete form)")


def test_verify_reads_what_attribute_reads() -> None:
    options = "--samples 0 --json"
    by_name = run(f"verify m.onnx -i x.csv --target column:kind {options}")
    assert by_name.exit_code == 0, by_name.stderr
    np.save("targets.npy", np.array([2, 0, 1]))
    given = json.loads(run(f"verify m.onnx -i x.npy --target @targets.npy {options}").stdout)
    assert json.loads(by_name.stdout) == given and given["passed"] and "given" in given["rows"][0]["what"]
    other = json.loads(run(f"verify m.onnx -i x.npy --target low {options}").stdout)
    assert other["passed"] and other["rows"] != given["rows"]
    assert "did you mean kind" in run("verify m.onnx -i x.csv --target column:kin").stderr
    Path("x.csv").write_text("height,age\n1.5,0.3\n,1\n")
    assert "column 'height' has no value in row 1" in run("verify m.onnx -i x.csv").stderr


CLASSES = {
    "labels.txt": "ant\nbee\ncat\n",
    "labels.json": '["ant", "bee", "cat"]',
    "names.json": '{"classes": ["ant", "bee", "cat"]}',
    "config.json": '{"model_type": "x", "id2label": {"0": "ant", "2": "cat", "1": "bee"}}',
}


@pytest.mark.parametrize("file", CLASSES)
def test_names_of_classes(file: str) -> None:
    Path(file).write_text(CLASSES[file])
    found = json.loads(run(f"attribute m.onnx -i x.npy --target bee --names {file} -o out --json").stdout)
    assert [(e["target"], e["target_name"]) for e in found["examples"]] == 3 * [(1, "bee")]
    Path("config.json").write_text('{"id2label": {"0": "ant", "2": "cat"}}')
    refused = run("attribute m.onnx -i x.npy --names config.json -o none")
    assert refused.exit_code == 4 and "0 to 1" in refused.stderr


SAID = {"error": "", "warning": "warning", "info": "warning note", "debug": "warning note"}


@pytest.mark.parametrize("level", SAID)
def test_what_is_said(level: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """That the first line holds numbers is a note; warnings are kept for the report in any case, errors always said."""
    np.savetxt("rows.csv", X, delimiter=",")
    done = run(f"attribute m.onnx -i rows.csv --target 1 -o out --log-level {level}")
    assert done.exit_code == 0 and ("note: " in done.stderr) == ("note" in SAID[level]), done.stderr
    assert "error: " in run(f"attribute m.onnx -i none.npy -o out --log-level {level}").stderr
    ending = Ending()
    ending.level = level
    ending.warn("this is so")
    assert ending.warnings == ["this is so"] and ("warning: " in capsys.readouterr().err) == ("warning" in SAID[level])


COMPLETED = {
    "onnx-ig attr": "plain,attribute",
    "onnx-ig attribute m.onnx --n-st": "plain,--n-steps",
    "onnx-ig attribute m.onnx --method riemann_m": "plain,riemann_middle",
    "onnx-ig attribute m": "file,m",
    "onnx-ig inspect m": "file,m",
    "onnx-ig attribute m.onnx -i x.n": "file,x.n",
    "onnx-ig attribute m.onnx -i x=x.n": "plain,x=x.npy",
    "onnx-ig attribute m.onnx --baseline x=@x.c": "plain,x=@x.csv",
    "onnx-ig attribute m.onnx --target @x.n": "plain,@x.npy",
    "onnx-ig attribute m.onnx --weights x": "file,x",
}


@pytest.mark.parametrize("words", COMPLETED)
def test_words_are_completed(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    *before, last = words.split()
    env = {"_ONNX_IG_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(before))}
    done = CliRunner().invoke(app, [], env=env, prog_name="onnx-ig")
    assert COMPLETED[words] in done.stdout.splitlines(), (last, done.stdout)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_of_completion(shell: str) -> None:
    script = run(f"completion {shell}").stdout
    assert f"_ONNX_IG_COMPLETE={shell}_complete" in script and "onnx-ig" in script


def test_a_shell_completes(tmp_path: Path) -> None:
    """bash reads the script and asks the program, wherever that is installed."""
    script = run("completion bash").stdout
    program = tmp_path / "onnx-ig"
    program.write_text(f"#!{sys.executable}\nfrom onnx_ig.cli import main\n\nmain()\n", "utf-8")
    program.chmod(0o755)
    ask = f'{script}\nCOMP_WORDS=(onnx-ig insp) COMP_CWORD=1\n_onnx_ig_completion onnx-ig\necho "${{COMPREPLY[@]}}"'
    root = str(Path(__file__).parents[2])
    found = {"PYTHONPATH": root, "PATH": os.pathsep.join([str(tmp_path), os.environ["PATH"]])}
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True, env={**os.environ, **found})
    assert done.stdout.strip() == "inspect", done.stderr
