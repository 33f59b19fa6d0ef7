"""Where results go: nothing replaces what it is made from, by any door and any name; other files only when asked."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

import onnx_ig
from onnx_ig.cli.app import app
from onnx_ig.errors import UsageError
from tests.helpers import cli_models
from tests.helpers.node_runtime import node_path

KEPT = ("digits_cnn.onnx", "apart.onnx", "apart.onnx.data", "seven.npy", "base.npy", "names.json")


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, one whose weights lie beside it, data, and links to the model."""
    cli_models.make(tmp_path)
    onnx.save(
        onnx.load(tmp_path / "digits_cnn.onnx"), tmp_path / "apart.onnx", save_as_external_data=True,
        location="apart.onnx.data", size_threshold=0,
    )  # fmt: skip
    np.save(tmp_path / "base.npy", np.zeros((1, 1, 8, 8), np.float32))
    (tmp_path / "names.json").write_text('{"classes": ["digit"]}')
    (tmp_path / "soft.onnx").symlink_to("digits_cnn.onnx")
    os.link(tmp_path / "digits_cnn.onnx", tmp_path / "hard.onnx")
    (tmp_path / "folder").symlink_to(tmp_path, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NODE_PATH", node_path())
    return tmp_path


def run(command: str) -> Result:
    return CliRunner().invoke(app, command.split())


def contents() -> dict[str, bytes]:
    return {name: Path(name).read_bytes() for name in KEPT}


# never, not even with --overwrite
ONTO_A_SOURCE = {
    "itself": "export digits_cnn.onnx -o digits_cnn.onnx",
    "another spelling": "export digits_cnn.onnx -o folder/./digits_cnn.onnx",
    "a link to it": "export digits_cnn.onnx -o soft.onnx",
    "the file behind the link": "export soft.onnx -o digits_cnn.onnx",
    "a second name of it": "export digits_cnn.onnx -o hard.onnx",
    "by a linked folder": "export folder/digits_cnn.onnx -o digits_cnn.onnx",
    "itself, weights apart": "export apart.onnx -o apart.onnx",
    "a baseline": "export digits_cnn.onnx --baseline image=@base.npy -o base.npy",
    "example inputs": "export digits_cnn.onnx --example-input image=seven.npy -o seven.npy",
    "the step form": "export digits_cnn.onnx --form step -o digits_cnn.onnx",
    "input x gradient": "export digits_cnn.onnx --algorithm input-x-gradient -o digits_cnn.onnx",
}


# What a model's weights are called is known when it is read; until then they are just a file that exists.
ITS_WEIGHTS = "export apart.onnx -o apart.onnx.data"


def test_weights_beside_a_model_are_not_replaced(work: Path) -> None:
    before = contents()
    assert run(ITS_WEIGHTS).exit_code == 2
    done = run(ITS_WEIGHTS + " --overwrite")
    assert (done.exit_code, "never replaced" in done.stderr) == (2, True), done.stderr
    assert contents() == before


@pytest.mark.parametrize("case", ONTO_A_SOURCE)
@pytest.mark.parametrize("more", ["", " --overwrite"])
def test_no_source_is_replaced(work: Path, case: str, more: str) -> None:
    before = contents()
    done = run(ONTO_A_SOURCE[case] + more)
    assert (done.exit_code, "never replaced" in done.stderr) == (2, True), done.stderr
    assert contents() == before and Path("soft.onnx").is_symlink()


PYTHON: dict[str, Callable[[], object]] = {
    "a path": lambda: "digits_cnn.onnx",
    "a Path": lambda: Path("digits_cnn.onnx"),
    "a loaded model": lambda: onnx_ig.load("digits_cnn.onnx"),
}


@pytest.mark.parametrize("case", PYTHON)
def test_no_source_is_replaced_from_python(work: Path, case: str) -> None:
    before = contents()
    for file in ("digits_cnn.onnx", "soft.onnx"):
        with pytest.raises(UsageError, match="never replaced"):
            onnx_ig.export(PYTHON[case](), file, overwrite=True)
    with pytest.raises(UsageError, match="never replaced"):
        onnx_ig.export("apart.onnx", "apart.onnx.data", overwrite=True)
    assert contents() == before


def test_weights_beside_a_large_model_replace_no_source(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnx_ig.exporting.model_writer._SINGLE_FILE_LIMIT", 0)
    Path("apart.onnx.data").rename("new.onnx.data")  # as the written model's own weights would be called
    proto = onnx.load("apart.onnx", load_external_data=False)
    for weight in proto.graph.initializer:
        next(entry for entry in weight.external_data if entry.key == "location").value = "new.onnx.data"
    Path("model.onnx").write_bytes(proto.SerializeToString())
    before = Path("new.onnx.data").read_bytes()
    with pytest.raises(UsageError, match=r"new\.onnx\.data.* never replaced"):
        onnx_ig.export("model.onnx", "new.onnx", overwrite=True)
    assert Path("new.onnx.data").read_bytes() == before and not Path("new.onnx").exists()


def test_a_file_is_replaced_when_asked(work: Path) -> None:
    command = "export digits_cnn.onnx -o other.onnx --n-steps 2"
    Path("other.onnx").write_text("mine")
    done = run(command)
    assert done.exit_code == 2 and "--overwrite" in done.stderr and Path("other.onnx").read_text() == "mine"
    with pytest.raises(UsageError, match="overwrite=True"):
        onnx_ig.export("digits_cnn.onnx", "other.onnx")
    assert run(command + " --overwrite").exit_code == 0
    first = Path("other.onnx").read_bytes()
    assert run(command).exit_code == 2
    onnx_ig.export("digits_cnn.onnx", "other.onnx", n_steps=3, overwrite=True)
    assert Path("other.onnx").read_bytes() != first
    Path("dangling.onnx").symlink_to("nowhere.onnx")
    assert run("export digits_cnn.onnx -o dangling.onnx").exit_code == 2


# a place, whether it is a folder's, words of the message
NO_PLACES = {
    "export digits_cnn.onnx -o .": "is a folder",
    "export digits_cnn.onnx -o note.txt/new.onnx": "note.txt is a file",
    "export digits_cnn.onnx -o absent/new.onnx": "no such folder: absent",
    f"export digits_cnn.onnx -o {'n' * 300}.onnx": "File name too long",
    "export digits_cnn.onnx -o /dev/null --overwrite": "no ordinary file",
    "export digits_cnn.onnx --triton note.txt": "note.txt is a file",
    "export digits_cnn.onnx --triton note.txt/entry": "note.txt is a file",
    "attribute digits_cnn.onnx -i seven.npy -o note.txt/out": "is a file",
    f"attribute digits_cnn.onnx -i seven.npy -o {'n' * 300}": "File name too long",
    "web digits_cnn.onnx -o note.txt": "is a file",
}


@pytest.mark.parametrize("command", NO_PLACES)
def test_places_are_judged_before_anything_is_computed(
    work: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onnx_ig.loading.model.normalise", None)  # not even the model is read
    done = run(command)
    assert done.exit_code == 2 and NO_PLACES[command] in done.stderr and "internal" not in done.stderr, done.stderr


def test_a_report_replaces_nothing_that_it_is_made_from(work: Path) -> None:
    assert run("attribute digits_cnn.onnx -i seven.npy -o out").exit_code == 0
    Path("digits_cnn.onnx").rename("out/report.html")  # as a model may be called
    with np.load("out/attributions.npz") as arrays:
        np.savez("out/attributions.npz", image=arrays["attribution_image"])
    before = {file: file.read_bytes() for file in Path("out").iterdir()}
    Path("link.npz").symlink_to("out/attributions.npz")
    for given in ("out/attributions.npz", "link.npz"):
        done = run(f"attribute apart.onnx -i {given} -o out --overwrite")
        assert done.exit_code == 2 and "never replaced" in done.stderr
    Path("model.onnx").symlink_to("out/report.html")
    done = run("attribute model.onnx -i seven.npy -o out")
    assert done.exit_code == 2 and "never replaced" in done.stderr
    assert {file: file.read_bytes() for file in Path("out").iterdir()} == before


def test_a_page_replaces_no_model(work: Path) -> None:
    assert run("web digits_cnn.onnx -o page").exit_code == 0
    before = Path("page/model.onnx").read_bytes()
    for more in ("", " --overwrite"):
        done = run(f"web page/model.onnx -o page{more}")
        assert done.exit_code == 2 and "never replaced" in done.stderr
    Path("model.onnx").write_bytes(Path("digits_cnn.onnx").read_bytes())
    done = run("web model.onnx -o . --overwrite")
    assert done.exit_code == 2 and "never replaced" in done.stderr
    assert Path("page/model.onnx").read_bytes() == before


def test_an_entry_keeps_its_versions_and_what_was_changed_by_hand(work: Path) -> None:
    command = "export digits_cnn.onnx --n-steps 2 --triton entry"
    assert run(command).exit_code == 0
    first = Path("entry/1/model.onnx").read_bytes()
    assert run("export entry/1/model.onnx --triton entry").exit_code != 0  # an attribution model
    assert run(command).exit_code == 0 and Path("entry/1/model.onnx").read_bytes() == first
    config = Path("entry/config.pbtxt")
    config.write_text(config.read_text().replace("max_batch_size: 8", "max_batch_size: 4"))
    done = run(command)
    assert done.exit_code == 2 and "config.pbtxt exists" in done.stderr and "--overwrite" in done.stderr
    assert "max_batch_size: 4" in config.read_text() and not Path("entry/3").exists()
    assert run(command + " --overwrite").exit_code == 0
    assert "max_batch_size: 8" in config.read_text() and Path("entry/3/model.onnx").is_file()


def test_test_data_of_another_hand_are_kept(work: Path) -> None:
    folder = Path("test_data_set_0")
    folder.mkdir()
    (folder / "input_0.pb").write_text("mine")  # as models are published, with no note of whose they are
    for more in ("", " --overwrite"):
        done = run(f"export digits_cnn.onnx -o new.onnx --with-test-data{more}")
        assert done.exit_code == 2 and "test_data_set_0" in done.stderr
    assert (folder / "input_0.pb").read_text() == "mine" and not Path("new.onnx").exists()


def test_test_data_go_with_their_model(work: Path) -> None:
    """Beside a new file the data of the old one would condemn every runtime."""
    command = "export digits_cnn.onnx -o new.onnx"
    assert run(f"{command} --n-steps 4 --with-test-data").exit_code == 0 and Path("test_data_set_1").is_dir()
    Path("new.onnx").rename("kept.onnx")
    for more in ("", " --with-test-data"):
        done = run(command + more)
        assert done.exit_code == 2 and "test_data_set_0" in done.stderr and "--overwrite" in done.stderr
    assert Path("test_data_set_1").is_dir() and not Path("new.onnx").exists()
    assert run(f"{command} --overwrite").exit_code == 0 and not list(Path().glob("test_data_set_*"))
