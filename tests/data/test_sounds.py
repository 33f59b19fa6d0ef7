"""Sound files: laid out as the model declares, averaged and resampled when asked, refused with advice; end to end."""

from __future__ import annotations

import json
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper as oh
import pytest
from click.testing import CliRunner
from PIL import Image

import onnx_ig
from onnx_ig.cli import app
from onnx_ig.data import FileOptions, SoundOptions, read_input
from onnx_ig.errors import InputError, MissingDependencyError, UsageError
from onnx_ig.graph.declared import InputSpec

Array = np.ndarray[Any, Any]
RATE, LENGTH = 8000, 400
LEFT = np.rint(8000 * np.sin(2 * np.pi * 100 * np.arange(LENGTH) / RATE)).astype("<i2")
STEREO = np.stack([LEFT, -LEFT // 2], 1)


def write(path: Path, samples: Array, rate: int = RATE) -> Path:
    """A .wav by the standard library, which shares nothing with the reader."""
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(samples.tobytes())
    return path


def spec(*shape: Any, dtype: Any = np.float32) -> InputSpec:
    return InputSpec("wave", np.dtype(dtype), shape)


# samples, the declared shape, options, the array's shape, what its axes are, and its values times 32768
LAID_OUT: dict[str, tuple[Array, tuple[Any, ...], SoundOptions, tuple[int, ...], str, Array]] = {
    "one channel": (LEFT, ("N", "T"), SoundOptions(), (1, LENGTH), "NT", LEFT[None]),
    "without a batch": (LEFT, ("T",), SoundOptions(), (LENGTH,), "T", LEFT),
    "stereo to mono": (STEREO, ("N", "T"), SoundOptions(), (1, LENGTH), "NT", STEREO.mean(1)[None]),
    "channels first": (STEREO, ("N", 2, "T"), SoundOptions(), (1, 2, LENGTH), "NCT", STEREO.T[None]),
    "channels last": (STEREO, ("N", "T", 2), SoundOptions(), (1, LENGTH, 2), "NTC", STEREO[None]),
    "channels last, length stated": (STEREO, (1, LENGTH, 2), SoundOptions(), (1, LENGTH, 2), "NTC", STEREO[None]),
    "any channels": (STEREO, ("N", "C", "T"), SoundOptions(), (1, 2, LENGTH), "NCT", STEREO.T[None]),
    "any channels, mono": (STEREO, ("N", "C", "T"), SoundOptions(mono=True), (1, 1, LENGTH), "NCT",
                           STEREO.mean(1)[None, None]),
    "one channel axis": (STEREO, ("N", 1, "T"), SoundOptions(), (1, 1, LENGTH), "NCT", STEREO.mean(1)[None, None]),
    "its own rate": (LEFT, ("N", "T"), SoundOptions(RATE), (1, LENGTH), "NT", LEFT[None]),
}  # fmt: skip


@pytest.mark.parametrize("case", LAID_OUT)
def test_sounds_lie_as_the_input_declares(case: str, tmp_path: Path) -> None:
    samples, shape, options, expected, axes, values = LAID_OUT[case]
    read = read_input(write(tmp_path / "a.wav", samples), spec(*shape), files=FileOptions(sounds=options))
    assert (read.value.shape, read.value.dtype) == (expected, np.float32)
    assert read.series is not None and (read.series.axes, read.series.rate) == (axes, RATE)
    np.testing.assert_allclose(read.value * 32768, values, atol=1e-2)
    assert any("averaged" in note for note in read.notes) == (samples.ndim == 2 and not options.mono and 1 in (
        expected[1:2] if axes == "NCT" else (1,) if axes == "NT" else ()))  # fmt: skip


def test_a_tone_stays_that_tone_when_resampled(tmp_path: Path) -> None:
    tone = np.rint(8000 * np.sin(2 * np.pi * 100 * np.arange(4000) / RATE)).astype("<i2")
    read = read_input(write(tmp_path / "a.wav", tone), spec("N", "T"), files=FileOptions(SoundOptions(2 * RATE)))
    assert read.value.shape == (1, 8000)
    expected = 8000 / 32768 * np.sin(2 * np.pi * 100 * np.arange(8000) / (2 * RATE))
    np.testing.assert_allclose(read.value[0, 500:-500], expected[500:-500], atol=1e-3)  # the ends ring
    assert "resampled from 8000 to 16000" in read.notes[0]


# what is read, the declared shape, and words of the message
REFUSED: dict[str, tuple[bytes | Array, InputSpec, str]] = {
    "a text": (b"not a sound", spec("N", "T"), "not a readable sound file"),
    "cut in its header": (b"RIFF\x24\x00", spec("N", "T"), "not a readable sound file"),
    "nothing": (LEFT[:0], spec("N", "T"), "no samples"),
    "features": (LEFT, spec("N", 80, 3000), "holds features, not samples"),
    "a picture's input": (LEFT, spec("N", 3, "H", "W"), "needs rank 2 or 3"),
    "whole numbers": (LEFT, spec("N", "T", dtype=np.int64), "read as floating point"),
    "another length": (LEFT, spec("N", 500), "has shape [1, 400]"),
    "another number of channels": (STEREO, spec("N", 3, "T"), "has shape [1, 2, 400]"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_and_why(case: str, tmp_path: Path) -> None:
    content, wanted, words = REFUSED[case]
    path = tmp_path / "a.wav"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        write(path, content)
    with pytest.raises(InputError) as raised:
        read_input(path, wanted)
    assert words in str(raised.value)


@pytest.mark.parametrize(("package", "rate"), [("soundfile", None), ("soxr", 16000)])
def test_a_missing_package_names_its_extra(
    package: str, rate: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=r"onnx-ig\[audio\]"):
        read_input(write(tmp_path / "a.wav", LEFT), spec("N", "T"), files=FileOptions(SoundOptions(rate)))


def test_a_folder_of_sounds_is_a_batch_of_one_length(tmp_path: Path) -> None:
    write(tmp_path / "b.wav", -LEFT)
    write(tmp_path / "a.wav", LEFT)
    read = read_input(tmp_path, spec("N", "T"))
    assert read.names == ("a.wav", "b.wav") and read.series is not None
    np.testing.assert_array_equal(read.value[0], -read.value[1])
    write(tmp_path / "c.wav", LEFT[:9])
    with pytest.raises(InputError, match="cut or pad the sounds to one length"):
        read_input(tmp_path, spec("N", "T"))
    Image.new("L", (2, 2)).save(tmp_path / "d.png")
    with pytest.raises(UsageError, match="pictures and sounds"):
        read_input(tmp_path, spec("N", "T"))


@pytest.mark.parametrize("exported", [False, True])
def test_from_a_sound_file_to_a_line_over_seconds(exported: bool, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    infos = [oh.make_tensor_value_info("wave", 1, ["N", "T"]), oh.make_tensor_value_info("y", 1, ["N", 1])]
    nodes = [oh.make_node("Tanh", ["wave"], ["h"]), oh.make_node("ReduceSum", ["h", "axes"], ["y"], keepdims=1)]
    axes = onnx.numpy_helper.from_array(np.array([1]), "axes")
    graph = oh.make_graph(nodes, "g", infos[:1], infos[1:], [axes])
    onnx.save(oh.make_model(graph, opset_imports=[oh.make_opsetid("", 18)], ir_version=8), "sum.onnx")
    write(Path("a.wav"), np.resize(LEFT, 43844))
    source = "sum.onnx"
    if exported:
        assert CliRunner().invoke(app, ["export", "sum.onnx", "-o", "ig.onnx", "--n-steps", "8"]).exit_code == 0
        source = "ig.onnx"
    done = CliRunner().invoke(app, [*f"attribute {source} -i a.wav -o out --n-steps 8".split()])
    assert done.exit_code == 0, done.stderr
    assert "8000 samples a second, taken as they are" in done.stderr
    samples = (np.resize(LEFT, 43844) / 32768).astype(np.float32)[None]
    expected = onnx_ig.IntegratedGradients("sum.onnx").attribute(samples, n_steps=8)
    np.testing.assert_allclose(np.load("out/attributions.npz")["attribution_wave"], expected, rtol=1e-5, atol=1e-8)
    assert "series_wave_0.png" in json.loads(Path("out/report.json").read_text())["files"]
    assert max(Image.open("out/series_wave_0.png").size) < 2000
