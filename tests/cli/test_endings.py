"""How commands end where the system fails: one plain line, an exit code, nothing half-written; options by name."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import onnx_ig
from onnx_ig.cli.app import app
from onnx_ig.cli.terminal.wording import in_options
from onnx_ig.errors import UsageError
from tests.helpers import cli_models


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "work").mkdir()
    cli_models.make(tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def run(command: str) -> Result:
    return CliRunner().invoke(app, command.split())


def failing(code: int) -> Callable[..., Any]:
    def fail(*args: Any, **keywords: Any) -> Any:
        raise OSError(code, os.strerror(code), "a place")

    return fail


EXPORT, ATTRIBUTE = "export one.onnx -o out.onnx", "attribute one.onnx -i rows.npy -o out"
# what fails, how, the command, the exit code, a word of the message
FAILURES: dict[str, tuple[str, int, str, int, str]] = {
    "a full disk under a model": (
        "onnx_ig.exporting.model_writer._write_message",
        errno.ENOSPC,
        EXPORT,
        2,
        "No space left",
    ),
    "a full disk under test data": (
        "onnx_ig.checking.conformance.numpy_helper.from_array",
        errno.ENOSPC,
        f"{EXPORT} --with-test-data",
        2,
        "No space left",
    ),
    "a full disk under an entry": (
        "onnx_ig.exporting.triton._signature", errno.ENOSPC, "export one.onnx --triton out.onnx", 2, "No space left",
    ),
    "a full disk under a report": ("numpy.savez_compressed", errno.ENOSPC, ATTRIBUTE, 2, "No space left"),
    "a folder without rights": ("tempfile.TemporaryFile", errno.EACCES, ATTRIBUTE, 2, "Permission denied"),
    "no right to write a model": ("tempfile.TemporaryFile", errno.EROFS, EXPORT, 2, "Read-only"),
    "no right to read": ("hashlib.file_digest", errno.EACCES, ATTRIBUTE, 1, "Permission denied"),
    "a broken disk": ("onnx_ig.data.readers.read_npy", errno.EIO, ATTRIBUTE, 1, "Input/output error"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAILURES)
def test_what_the_system_refuses_is_one_plain_line(case: str, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    what, how, command, code, word = FAILURES[case]
    before = sorted(os.listdir())
    monkeypatch.setattr(what, failing(how))
    done = run(command)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]  # of the attributions
    assert (done.exit_code, len(lines)) == (code, 1), done.stderr
    assert word in done.stderr and "internal" not in done.stderr and "report it" not in done.stderr
    assert sorted(os.listdir()) == before


def test_a_reader_that_has_seen_enough_is_no_error(work: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(cli_models.MODELS.parent)}
    shell = f"{sys.executable} -m onnx_ig inspect digits_cnn.onnx --json | true"
    done = subprocess.run(shell, shell=True, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.stderr == "" and done.returncode == 0


# names written wrong, and the one that is meant
MISSPELT: dict[str, tuple[str, str]] = {
    "output": ("attribute digits_cnn.onnx -i seven.npy -o out --output logit", "logits"),
    "tensor": ("attribute digits_cnn.onnx -i seven.npy -o out --at linaer", "linear"),
    "input of export": ("export digits_cnn.onnx -o out.onnx --input imgae", "image"),
    "input of attribute": ("attribute digits_cnn.onnx -i Image=seven.npy -o out", "image"),
    "command": ("atribute digits_cnn.onnx", "attribute"),
    "option": ("attribute digits_cnn.onnx -i seven.npy -o out --n-step 3", "--n-steps"),
}


@pytest.mark.parametrize("case", MISSPELT)
def test_a_misspelt_name_is_answered_with_the_one_that_is_meant(case: str) -> None:
    command, meant = MISSPELT[case]
    done = run(command)
    assert done.exit_code in (2, 4) and meant in done.stderr and "ean" in done.stderr, done.stderr


def test_misspelt_names_in_python() -> None:
    for call in (
        lambda: onnx_ig.differentiate("digits_cnn.onnx", wrt=["imag"]),
        lambda: onnx_ig.InputXGradient("digits_cnn.onnx", provider="cpuu").attribute(np.load("seven.npy"), 7),
        lambda: onnx_ig.InputXGradient("digits_cnn.onnx").attribute({"imaeg": np.load("seven.npy")}, 7),
        lambda: onnx_ig.verify("digits_cnn.onnx", output="logitz"),
    ):
        with pytest.raises(onnx_ig.OnnxIgError, match="did you mean"):
            call()


FURTHER: dict[str, Callable[[Path, Any], object]] = {
    "export": lambda path, given: onnx_ig.export(path, "again.onnx"),
    "differentiate": lambda path, given: onnx_ig.differentiate(path),
    "IntegratedGradients": lambda path, given: onnx_ig.IntegratedGradients(path).attribute(given),
    "InputXGradient": lambda path, given: onnx_ig.InputXGradient(path).attribute(given),
}


@pytest.mark.parametrize("algorithm", ["integrated-gradients", "input-x-gradient"])
def test_an_attribution_model_is_explained_no_further(algorithm: Any) -> None:
    path = onnx_ig.export("digits_cnn.onnx", "explained.onnx", algorithm=algorithm)
    for call in FURTHER.values():
        with pytest.raises(UsageError, match="already an attribution model"):
            call(path, {"image": np.load("seven.npy"), "target": np.array([7])})
    done = run("export explained.onnx -o again.onnx")
    assert done.exit_code == 2 and "already an attribution model" in done.stderr


# a message for Python, the same on the command line
WORDED = {
    "With batch_axis=None (--batch-axis none) all rows": "With --batch-axis none all rows",
    "with batch_axis=1 (--batch-axis 1) of an ONNX model": "with --batch-axis 1 of an ONNX model",
    "its row too: target=(0, 3), --target 0,3": "its row too: --target 0,3",
    "replace it with --overwrite (overwrite=True)": "replace it with --overwrite",
    "give it with --example-input NAME=FILE (example_inputs=)": "give it with --example-input NAME=FILE",
    "choose one with output=: a, b": "choose one with --output: a, b",
    "or pass allow_nonfinite=True": "or pass --allow-nonfinite",
    "or ask for provider='cpu'": "or ask for --provider cpu",
    "attribute at a look-up, at='e' (--at)": "attribute at a look-up, at='e' (--at)",
    "input 'output=' has shape [1]": "input 'output=' has shape [1]",
}


@pytest.mark.parametrize("message", WORDED)
def test_the_command_line_names_options(message: str) -> None:
    assert in_options(message) == WORDED[message]


def test_options_are_named_where_the_model_leaves_a_choice() -> None:
    done = run("attribute two.onnx -i rows.npy -o out")
    assert done.exit_code == 4 and "inputs=" not in done.stderr and "-i" in done.stderr
    done = run("attribute single.onnx -i nan.npy -o out")
    assert "allow_nonfinite" not in done.stderr
