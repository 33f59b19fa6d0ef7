"""Many examples in pieces: the same numbers as together; what ends a run leaves what is finished, and it goes on."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import onnx_ig
from onnx_ig.cli import app
from onnx_ig.data.arrays import read_npy
from onnx_ig.report import shards
from onnx_ig.report.write import ReportWriter

Array = np.ndarray[Any, Any]
ROWS = 23
MODEL = """<ir_version: 10, opset_import: ["": 21]>
    model (float[N, 3] x, float[M, 3] shift) => (float[N, 2] y) <float[3, 2] w = {1, -2, 0.5, 1, 2, -1}>
    { s = Add(x, shift)  t = Tanh(s)  y = MatMul(t, w) }"""
PICTURES = """<ir_version: 10, opset_import: ["": 21]>
    pictures (float[N, 3, 4, 4] image) => (float[N, 2] y) <float[48, 2] w, int64[2] flat = {-1, 48}>
    { s = Mul(image, image)  r = Reshape(s, flat)  y = MatMul(r, w) }"""


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, 3)).astype(np.float32)
    onnx.save(onnx.parser.parse_model(MODEL), "m.onnx")
    pictures = onnx.parser.parse_model(PICTURES.replace("float[48, 2] w, ", ""))
    pictures.graph.initializer.append(onnx.numpy_helper.from_array(rng.standard_normal((48, 2)).astype("f"), "w"))
    onnx.save(pictures, "p.onnx")
    np.save("x.npy", x)
    np.save("by_column.npy", np.asfortranarray(x))
    np.savez("x.npz", x=x)
    np.savez("other_name.npz", values=x)
    np.save("shift.npy", np.full((1, 3), 0.25, np.float32))
    np.save("start.npy", x[::-1] / 2)
    np.save("targets.npy", np.arange(ROWS) % 2)
    table = "\n".join([",".join("abc"), *(",".join(map(repr, row)) for row in x.tolist())])
    Path("x.csv").write_text(table + "\n")
    holes = table.split("\n")
    for row in (*range(4, 8), 20):  # a whole piece, and one amid others
        holes[row + 1] = holes[row + 1].rpartition(",")[0] + ","
    Path("holes.csv").write_text("\n".join(holes) + "\n")
    gaps = x.copy()
    gaps[4:8, 1], gaps[20, 0] = np.nan, np.inf
    np.save("gaps.npy", gaps)
    np.savez("gaps.npz", x=gaps, shift=np.full((1, 3), 0.25, np.float32))
    broken = table.split("\n")
    broken[2], broken[9], broken[21] = broken[2] + ",4", "1,2", "1,high,3"
    Path("broken.csv").write_text("\n".join(broken) + "\n")
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {name: pyarrow.array(column) for name, column in zip("abc", x.T.copy(), strict=True)}
    parquet.write_table(pyarrow.table(columns), "x.parquet", row_group_size=5)
    Path("photos").mkdir()
    for number in range(7):
        Image.fromarray(rng.integers(0, 255, (4, 4, 3), np.uint8)).save(f"photos/{number}.png")
    for form in ("complete", "step"):
        onnx_ig.export("m.onnx", f"{form}.onnx", inputs=["x"], form=form)


def run(command: str) -> Result:
    return CliRunner().invoke(app, command.split())


def succeed(command: str) -> Result:
    done = run(command)
    assert done.exit_code == 0, done.stderr
    return done


def arrays(folder: str) -> dict[str, Array]:
    """All examples of a report, in order."""
    files = [np.load(file) for file in sorted(Path(folder).glob("attributions*.npz"))]
    return {key: np.concatenate([file[key] for file in files]) for key in files[0].files}


def document(folder: str) -> dict[str, Any]:
    """report.json without what differs between any two runs."""
    found = json.loads((Path(folder) / "report.json").read_text("utf-8"))
    for key in ("seconds", "record", "data", "files"):
        found.pop(key)
    return dict(found)


def notes(done: Result) -> list[str]:
    return [line for line in done.stderr.splitlines() if not line.startswith("attribution: ")]


M = "attribute m.onnx --extra shift=shift.npy -i"
JOBS = {
    "an array": f"{M} x.npy",
    "an array by columns": f"{M} x=by_column.npy",
    "a compressed array": f"{M} x.npz",
    "an input beside by another name": "attribute m.onnx -i x=x.npy --extra other_name.npz",
    "a table": f"{M} x=x.csv",
    "a table by record batches": f"{M} x=x.parquet",
    "a table with holes": f"{M} x=holes.csv --on-error skip",
    "an array with holes": f"{M} x=gaps.npy --on-error skip --target @targets.npy",
    "an archive with holes": f"{M} x=gaps.npz --on-error skip",
    "a table with broken rows": f"{M} x=broken.csv --on-error skip",
    "targets and baselines of their own": f"{M} x.npy --target @targets.npy --baseline @start.npy",
    "a baseline of all examples": f"{M} x=x.csv --baseline median",
    "a baseline of the examples that are taken": f"{M} x=holes.csv --on-error skip --baseline median",
    "a tolerance": f"{M} x.npy --tolerance 0.01",
    "several targets": f"{M} x=holes.csv --on-error skip --targets 1,0",
    "several targets to a tolerance": f"{M} x.npy --tolerance 0.01 --targets top-2",
    "no path": f"{M} x.npy --algorithm input-x-gradient",
    "a folder": "attribute p.onnx -i photos --target 1",
    "an exported file": "attribute complete.onnx --extra shift=shift.npy -i x.npy",
    "several targets of an exported file": "attribute complete.onnx --extra shift=shift.npy -i x.npy --targets top-2",
    "an exported file in steps": "attribute step.onnx --extra shift=shift.npy -i x.npy --target 0",
}


@pytest.mark.parametrize("job", JOBS)
def test_pieces_are_what_all_are_together(work: Path, job: str) -> None:
    together = succeed(f"{JOBS[job]} -o together")
    apart = succeed(f"{JOBS[job]} -o apart --rows-per-file 4")
    assert len([*Path("apart").glob("attributions-*.npz")]) > 1 and not Path("apart/unfinished").exists()
    one, several = arrays("together"), arrays("apart")
    assert one.keys() == several.keys()
    for key, array in one.items():
        np.testing.assert_allclose(several[key], array, rtol=1e-5, atol=1e-6, err_msg=key)
    first, second = document("together"), document("apart")
    assert [e["name"] for e in first["examples"]] == [e["name"] for e in second["examples"]]
    assert [e["target"] for e in first["examples"]] == [e["target"] for e in second["examples"]]
    assert first["tensors"].keys() == second["tensors"].keys() and first["left_out"] == second["left_out"]
    assert first["summary"]["targets"] == second["summary"]["targets"]
    assert sorted(notes(together)) == sorted(notes(apart))  # said once, of all examples, as they come up


PAIRS = """<ir_version: 10, opset_import: ["": 21]>
    model (float[N, 3] x, float[N, 3] y) => (float[N, 3] z) { z = Mul(x, y) }"""
OTHER_ROWS = {
    "targets": "-i x=x8.npy --extra y=x8.npy --target @t4.npy",
    "a further input": "-i x=x8.npy -i y=x4.npy --target 0",
    "a further input of one row": "-i x=x8.npy -i y=x1.npy --target 0",
    "an input beside": "-i x=x8.npy --extra y=x4.npy --target 0",
    "an input beside, without a name": "-i x=x8.npy --extra x4.npy --target 0",
    "an input of a larger archive": "-i uneven.npz --target 0",
    "a table beside": "-i x=x8.npy --extra y=x4.csv --target 0",
    "names of features": "-i x=x8.npy --extra y=x8.npy --target 0 --names names.json",
}


@pytest.mark.parametrize("given", OTHER_ROWS)
@pytest.mark.parametrize("size", [3, 4])
def test_what_has_other_rows_than_the_examples_is_refused_as_it_is_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, size: int
) -> None:
    """Also where it has as many as a piece: each of its rows would be taken for an example of every piece."""
    monkeypatch.chdir(tmp_path)
    onnx.save(onnx.parser.parse_model(PAIRS), "pairs.onnx")
    for rows in (1, 4, 8):
        np.save(f"x{rows}.npy", np.arange(3 * rows, dtype=np.float32).reshape(rows, 3))
    np.savez("uneven.npz", x=np.load("x8.npy"), y=np.load("x4.npy"))
    np.savetxt("x4.csv", np.load("x4.npy"), delimiter=",", header="a,b,c", comments="")
    np.save("t4.npy", np.arange(4) % 3)
    Path("names.json").write_text(json.dumps({"features": {"x": [["a", "b", "c"]] * 4}}))
    command = f"attribute pairs.onnx {OTHER_ROWS[given]} -o out"
    together, apart = run(command), run(f"{command} --rows-per-file {size}")
    assert together.exit_code == 4 and not Path("out").exists()
    assert (apart.exit_code, apart.stderr) == (4, together.stderr)


@pytest.mark.parametrize("rows", [3, 4])
def test_baselines_that_are_not_the_examples_are_never_taken_for_theirs(work: Path, rows: int) -> None:
    """Also where they happen to be as many as a piece has examples."""
    np.save("starts.npy", np.random.default_rng(1).normal(size=(rows, 3)).astype(np.float32))
    refused = run(f"{M} x.npy --baseline @starts.npy -o out --rows-per-file 4")
    assert refused.exit_code == 4 and "averaged" in refused.stderr and "--rows-per-file" in refused.stderr


def test_the_first_examples_are_drawn_and_all_summed_up(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ReportWriter.__init__.__kwdefaults__, "pictures", True)
    succeed(f"{JOBS['a table']} --draw 5 -o together")
    succeed(f"{JOBS['a table']} --draw 5 -o apart --rows-per-file 4")
    pictures = [file.name for file in sorted(Path("together").glob("*.png"))]
    assert pictures == [*(f"features_x_{place}.png" for place in range(5)), "summary_x.png"]
    for name in pictures:  # the mean of sums differs by rounding
        one, other = (np.asarray(Image.open(Path(out) / name), int) for out in ("together", "apart"))
        assert one.shape == other.shape and (np.abs(one - other) > 8).mean() < 1e-3, name


LEFT_OUT = {
    "an array with holes": [4, 5, 6, 7, 20],
    "an archive with holes": [4, 5, 6, 7, 20],
    "a table with broken rows": [1, 8, 20],
}


@pytest.mark.parametrize("job", LEFT_OUT)
@pytest.mark.parametrize("size", [4, ROWS])
def test_broken_rows_are_listed_and_the_others_explained(work: Path, job: str, size: int) -> None:
    out = LEFT_OUT[job]
    done = succeed(f"{JOBS[job]} -o out --rows-per-file {size}")
    kept = np.delete(np.arange(ROWS), out)
    assert document("out")["left_out"] == out and f"{len(out)} of {ROWS} rows were left out" in done.stderr
    found, target = arrays("out"), np.load("targets.npy")[kept] if "array" in job else arrays("out")["target"]
    x, shift = np.load("x.npy")[kept], np.load("shift.npy")
    expected = onnx_ig.IntegratedGradients("m.onnx").attribute(
        {"x": x}, target=target, additional_forward_args={"shift": shift}
    )
    assert isinstance(expected, dict)
    np.testing.assert_allclose(found["attribution_x"], expected["x"], rtol=1e-4, atol=1e-6)


def test_rows_that_are_left_out_are_listed(work: Path) -> None:
    succeed(f"{JOBS['a table with holes']} -o out --rows-per-file 4")
    assert document("out")["left_out"] == [4, 5, 6, 7, 20]
    rows = [line.split(",")[0] for f in sorted(Path("out").glob("*.csv")) for line in f.read_text().splitlines()[1:]]
    assert rows == [str(row) for row in range(ROWS) if row not in (4, 5, 6, 7, 20)]


def test_where_no_row_is_left_nothing_is_kept(work: Path) -> None:
    Path("empty.csv").write_text("a,b,c\n" + "1,2,\n" * 9)
    command = f"{M} x=empty.csv --on-error skip --rows-per-file 4 -o out"
    refused = run(command)
    assert refused.exit_code == 4 and "no example is left" in refused.stderr and "--resume" not in refused.stderr
    assert not Path("out").exists()
    again = run(command)
    assert (again.exit_code, again.stderr) == (4, refused.stderr)


def test_the_first_file_of_data_is_named_where_no_row_of_the_first_piece_is_left(work: Path) -> None:
    lines = Path("x.csv").read_text().splitlines()
    Path("late.csv").write_text("\n".join([lines[0], *["1,2,"] * 4, *lines[5:]]) + "\n")
    done = succeed(f"{M} x=late.csv --on-error skip --rows-per-file 4 -o out")
    assert "wrote attributions-00001.csv, attributions-00001.npz, " in done.stdout
    assert "and 8 more files of data to out" in done.stdout  # two each of pieces 2 to 5


def data_files(folder: str) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in Path(folder).glob("attributions*")}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_what_is_finished_is_kept_and_continued(work: Path, number: signal.Signals, code: int) -> None:
    """Whatever ends the process: the pieces that were finished are not computed again, and all files are the same."""
    command = f"{M} x=x.csv --rows-per-file 2 --target 1 -o"
    succeed(f"{command} whole")
    ended = f"""
import os, signal, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background of a shell is born without
from onnx_ig.report import shards
from onnx_ig.report.write import ReportWriter
write = shards.Shards.write_account
def and_end(self):
    write(self)
    if len(self.finished) == 5:
        os.kill(os.getpid(), {int(number)})
shards.Shards.write_account = and_end
from onnx_ig.cli import app
app({f"{command} out".split()!r})
"""
    done = subprocess.run([sys.executable, "-c", ended], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert not Path("out/report.json").exists()
    refused = run(f"{command} out")
    assert refused.exit_code == 2 and "--resume" in refused.stderr
    times = {file.name: file.stat().st_mtime_ns for file in Path("out/unfinished").glob("*.npz")}
    assert len(times) == 5 if number == signal.SIGKILL else len(times) >= 5  # what is computed is written yet
    said = f"{2 * len(times)} explained examples are kept" in done.stderr
    assert said == (number != signal.SIGKILL), done.stderr
    succeed(f"{command} out --resume")
    assert data_files("out") == data_files("whole") and document("out") == document("whole")
    assert all((Path("out") / name).stat().st_mtime_ns == time for name, time in times.items())
    assert "nothing to do" in succeed(f"{command} out --resume").stdout


def test_moments_of_the_publication(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies while finished files move into place leaves what --resume moves."""
    command = f"{M} x.npy --rows-per-file 6 -o"
    succeed(f"{command} whole")
    files = len([*Path("whole").iterdir()])
    for moved in (0, 1, files - 1, files):
        out, replace, left = f"out{moved}", os.replace, moved

        def dies(source: Any, target: Any, replace: Any = replace, out: str = out) -> None:
            nonlocal left
            if Path(target).parent.name == out:
                left -= 1
                if left < 0:
                    os._exit(9)
            replace(source, target)

        child = os.fork()
        if not child:
            monkeypatch.setattr(os, "replace", dies)
            monkeypatch.setattr("shutil.rmtree", lambda *_, **__: os._exit(9))
            try:
                run(f"{command} {out}")
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        assert run(f"{command} {out} --resume").exit_code == 0
        assert data_files(out) == data_files("whole") and document(out) == document("whole")
        assert not (Path(out) / "unfinished").exists()


def interrupt(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """End a run after its second piece."""
    with monkeypatch.context() as patch:
        add = shards.Shards.add

        def two(self: shards.Shards, *args: Any) -> None:
            if len(self.finished) == 2:
                raise KeyboardInterrupt
            add(self, *args)

        patch.setattr(shards.Shards, "add", two)
        assert run(command).exit_code == 130


OTHER_WORK = {
    "model": lambda: onnx.save(onnx.parser.parse_model(MODEL.replace("-2", "-3")), "m.onnx"),
    "data": lambda: np.save("x.npy", np.ones((ROWS, 3), np.float32)),
    "options": lambda: None,
}


@pytest.mark.parametrize("changed", OTHER_WORK)
def test_other_work_is_not_continued(work: Path, monkeypatch: pytest.MonkeyPatch, changed: str) -> None:
    command = f"{M} x.npy --rows-per-file 4 -o out"
    interrupt(monkeypatch, command)
    OTHER_WORK[changed]()
    more = " --n-steps 7" if changed == "options" else ""
    refused = run(f"{command} --resume{more}")
    assert (refused.exit_code == 2 and f"{changed} changed" in refused.stderr) or "data changed" in refused.stderr
    succeed(f"{command} --overwrite{more}")
    assert not Path("out/unfinished").exists()


def test_a_finished_report_that_missed_its_tolerance_still_does(work: Path) -> None:
    command = f"{M} x.npy --tolerance 1e-12 --max-steps 8 -o out"
    first, again = run(command), run(f"{command} --resume")
    assert "nothing to do" in again.stdout
    assert (first.exit_code, again.exit_code) == (7, 7)
    assert again.stderr.splitlines()[-1] == first.stderr.splitlines()[-1]
    assert document("out")["missed"] in first.stderr


FACTORY = """import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed({seed})
        self.wide = torch.nn.Linear(3, {width})
    def forward(self, x):
        return torch.{function}(self.wide(x))
"""


@pytest.mark.parametrize(
    "other",
    [{"seed": 1}, {"function": "sigmoid"}, {"seed": 1, "width": 6000}],
    ids=["weights", "function", "large weights"],
)
def test_another_module_of_the_same_factory_is_not_continued(
    work: Path, monkeypatch: pytest.MonkeyPatch, other: dict[str, Any]
) -> None:
    pytest.importorskip("torch")
    first = {"seed": 0, "function": "tanh", "width": other.get("width", 2)}
    command = "attribute made_for_pieces:Net -i x.npy --target 1 --n-steps 2 --rows-per-file 4 -o out"

    def write(values: dict[str, Any]) -> None:
        Path("made_for_pieces.py").write_text(FACTORY.format(**values))
        sys.modules.pop("made_for_pieces", None)
        importlib.invalidate_caches()

    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    write(first)
    interrupt(monkeypatch, command)
    write(first | other)
    refused = run(f"{command} --resume")
    assert refused.exit_code == 2 and "model changed" in refused.stderr
    write(first)
    succeed(f"{command} --resume")


def test_a_damaged_piece_is_computed_again(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = f"{M} x.npy --rows-per-file 4 -o"
    succeed(f"{command} whole")
    interrupt(monkeypatch, f"{command} out")
    file = Path("out/unfinished/attributions-00001.npz")
    file.write_bytes(file.read_bytes()[:-9])
    succeed(f"{command} out --resume")
    assert data_files("out") == data_files("whole")


def test_arrays_of_safetensors(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    command = f"{M} x.npy --rows-per-file 4"
    interrupt(monkeypatch, f"{command} --format safetensors -o out")
    assert "options changed" in run(f"{command} --resume -o out").stderr
    succeed(f"{command} --format safetensors --resume -o out")
    succeed(f"{command} -o npz")
    files = [safetensors.load_file(file) for file in sorted(Path("out").glob("attributions-*.safetensors"))]
    assert len(files) == len([*Path("npz").glob("*.npz")]) and not [*Path("out").glob("*.npz")]
    for key, array in arrays("npz").items():
        np.testing.assert_array_equal(np.concatenate([file[key] for file in files]), array)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    refused = run(f"{M} x.npy --format safetensors -o other")
    assert refused.exit_code == 2 and "onnx-ig[safetensors]" in refused.stderr and not Path("other").exists()


HOLDS = """
import sys
from pathlib import Path
from onnx_ig.common.lock import alone_in
with alone_in(Path("out/unfinished")):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")
@pytest.mark.parametrize("dies", [False, True])
def test_one_process_at_a_time_writes_a_report(work: Path, dies: bool) -> None:
    command = f"{M} x.npy --rows-per-file 4 -o out"
    holder = subprocess.Popen([sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        for more in ("", " --resume", " --overwrite"):
            refused = run(command + more)
            assert refused.exit_code == 2 and "another process writes to" in refused.stderr
    finally:
        holder.kill() if dies else holder.communicate("\n")
        holder.wait()
    assert Path("out/unfinished").exists() == dies
    succeed(command)
    assert not Path("out/unfinished").exists() and Path("out/report.json").exists()


def test_an_earlier_report_stays_until_the_new_one_is_whole(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    succeed(f"{M} x.npy -o out")
    before = data_files("out")
    interrupt(monkeypatch, f"{M} x.npy --rows-per-file 4 -o out")
    assert data_files("out") == before and Path("out/report.json").is_file()
    succeed(f"{M} x.npy --rows-per-file 4 -o out --resume")
    assert "attributions.npz" not in data_files("out") and len(data_files("out")) == 6


def test_rows_of_a_large_array_are_read_alone(tmp_path: Path) -> None:
    """16 GB that are no block on the disk: who reads all of them needs as much memory."""
    file = tmp_path / "large.npy"
    rows = np.lib.format.open_memmap(file, "w+", np.float32, (1 << 30, 4))
    rows[5] = [1, 2, 3, 4]
    del rows
    np.testing.assert_array_equal(read_npy(file, slice(5, 7)), [[1, 2, 3, 4], [0, 0, 0, 0]])


def test_only_the_main_thread_meets_signals(work: Path) -> None:
    """A command that a thread runs, as a service may, works without them."""
    results: list[Result] = []
    thread = threading.Thread(target=lambda: results.append(run(f"{M} x.npy --rows-per-file 9 -o out")))
    thread.start()
    thread.join()
    assert results[0].exit_code == 0, results[0].stderr
