"""Baselines where rows are left out: made of the rows that stay, as without the others, and a background whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from onnx_ig.cli import app

ROWS, LACKS = 6, 2
MODEL = """<ir_version: 10, opset_import: ["": 21]>
    model (float[N, 1, 4, 4] image, float[N, 2] x, float[N, 2] z) => (float[N, 2] y) {
        flat = Flatten(image)
        all = Concat<axis = 1>(flat, x, z)
        bent = Tanh(all)
        y = MatMul(bent, w)
    }"""
# baselines where a row is left out, and those of the same rows in files without it
BASELINES = {
    "blurred pictures": ("image=blur x=0 z=0", "image=blur x=0 z=0"),
    "black pictures": ("image=black x=0 z=0", "image=black x=0 z=0"),
    "the mean colour": ("image=mean x=0 z=0", "image=mean x=0 z=0"),
    "the mean of another file": ("image=0 x=0 z=mean", "image=0 x=0 z=@mean.npy"),
    "the median of both": ("image=0 x=median z=median", "image=0 x=median z=@median.npy"),
    "the mean of rows whose baselines lack others": ("image=0 x=@gap.npy z=mean", "image=0 x=@five.npy z=@mean.npy"),
}
BACKGROUNDS = {
    "fewer rows": ("x=@3.npy", "x=@3.npy"),
    "more rows": ("x=@10.npy", "x=@10.npy"),
    "those of two inputs": ("x=@10.npy z=@10.npy", "x=@10.npy z=@10.npy"),
    "one that lacks a row itself": ("x=@holed10.npy", "x=@9.npy"),
}


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(5)
    made = onnx.parser.parse_model(MODEL)
    made.graph.initializer.append(onnx.numpy_helper.from_array(rng.normal(size=(20, 2)).astype("f"), "w"))
    onnx.save(made, "m.onnx")
    x, z, starts, background = (rng.normal(size=(rows, 2)).astype("f") for rows in (ROWS, ROWS, ROWS, 10))
    z[LACKS], x[0] = 100, 3  # what would move a mean, and a median
    kept = np.delete(np.arange(ROWS), LACKS)
    for folder, taken in (("all", range(ROWS)), ("kept", kept)):
        Path(folder).mkdir()
        for row in taken:
            pixels = np.random.default_rng(row).integers(0, 255, (4, 4), np.uint8)
            Image.fromarray(pixels).save(f"{folder}/{row}.png")
    for name, values in {"x": x, "z": z}.items():
        np.save(f"kept/{name}.npy", values[kept])
    np.save("all/z.npy", z)
    x[LACKS, 1] = starts[LACKS, 0] = np.nan
    holed = background.copy()
    holed[4, 1] = np.nan
    saved = {"all/x": x, "mean": z[kept].mean(0, keepdims=True), "median": np.median(z[kept], 0, keepdims=True)}
    saved |= {"gap": starts, "five": starts[kept], "10": background, "3": background[:3], "5": background[:5]}
    for name, values in (saved | {"holed10": holed, "9": np.delete(background, 4, 0)}).items():
        np.save(f"{name}.npy", values)
    for folder in ("all", "kept"):
        Path(f"{folder}/pictures").mkdir()
        for file in Path(folder).glob("*.png"):
            file.rename(f"{folder}/pictures/{file.name}")


def attribute(folder: str, baselines: str, options: str) -> Result:
    given = " ".join(f"--baseline {text}" for text in baselines.split())
    files = f"-i image={folder}/pictures -i x={folder}/x.npy -i z={folder}/z.npy"
    command = (
        f"attribute m.onnx {files} {given} --on-error skip --target 0 --n-steps 5 --draw 0 {options} -o {folder}-out"
    )
    return CliRunner().invoke(app, command.split())


def require_same(baselines: tuple[str, str], options: str = "") -> None:
    for folder, texts, how in zip(("all", "kept"), baselines, (options, ""), strict=True):
        done = attribute(folder, texts, how)
        assert done.exit_code == 0, done.stderr
    found, expected = (
        [np.load(file) for file in sorted(Path(f"{folder}-out").glob("attributions*.npz"))]
        for folder in ("all", "kept")
    )
    for name in ("image", "x", "z"):
        arrays = np.concatenate([file[f"attribution_{name}"] for file in found])
        np.testing.assert_allclose(arrays, expected[0][f"attribution_{name}"], rtol=1e-4, atol=1e-6, err_msg=name)
    found_scores, expected_scores = (
        [one["baseline_score"] for one in json.loads(Path(f"{folder}-out/report.json").read_text())["examples"]]
        for folder in ("all", "kept")
    )
    np.testing.assert_allclose(found_scores, expected_scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", BASELINES)
@pytest.mark.parametrize("pieces", ["", "--rows-per-file 4"])
def test_baselines_are_of_the_rows_that_stay(work: None, case: str, pieces: str) -> None:
    require_same(BASELINES[case], pieces)


@pytest.mark.parametrize("case", BACKGROUNDS)
def test_a_background_stays_whole(work: None, case: str) -> None:
    require_same(BACKGROUNDS[case])


def test_a_background_of_as_many_rows_as_stay_is_refused(work: None) -> None:
    """It would be taken for a baseline of each example."""
    refused = attribute("all", "x=@5.npy", "")
    assert refused.exit_code == 4 and "have 5 rows and its data 6" in refused.stderr, refused.output
