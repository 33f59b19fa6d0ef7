"""Reading inputs: what each kind of file becomes for a declared input, and one clear error per broken one."""

from __future__ import annotations

import io
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onnx_ig.data import (
    Baseline,
    InputSpec,
    PictureOptions,
    parse_baseline,
    parse_numbers,
    parse_size,
    parse_target,
    read_baseline,
    read_input,
    read_inputs,
    read_target,
    split_name,
)
from onnx_ig.errors import InputError, MissingDependencyError, OnnxIgError, UsageError

Shape = tuple[int | str | None, ...] | None


def spec(shape: Shape = ("N", 4), dtype: Any = np.float32, name: str = "x") -> InputSpec:
    return InputSpec(name, np.dtype(dtype), shape)


def npy_bytes(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def png_bytes(mode: str = "RGB", size: tuple[int, int] = (6, 4), colour: Any = None, **save: Any) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size, colour if colour is not None else 0).save(stream, "PNG", **save)
    return stream.getvalue()


ROW = np.arange(8, dtype=np.float32).reshape(2, 4)

# array in the file, declared shape, declared type, expected value (None: the array's own), a note is made
FITTING = {
    "exact": (ROW, ("N", 4), "float32", None, False),
    "static": (ROW, (2, 4), "float32", None, False),
    "unknown axes": (ROW, (None, None), "float32", None, False),
    "unknown rank": (ROW, None, "float32", None, False),
    "float64 rounds": (np.array([[0.1]]), ("N", 1), "float32", np.float32([[0.1]]), False),
    "float16 widens": (ROW.astype("float16"), ("N", 4), "float32", None, False),
    "float32 to float16": (ROW, ("N", 4), "float16", None, False),
    "int64 to float32": (ROW.astype("int64"), ("N", 4), "float32", None, False),
    "uint8 to float32": (ROW.astype("uint8"), ("N", 4), "float32", None, False),
    "bool to float32": (ROW > 3, ("N", 4), "float32", None, False),
    "int32 to int64": (ROW.astype("int32"), ("N", 4), "int64", None, False),
    "int64 to int32 that fits": (ROW.astype("int64"), ("N", 4), "int32", None, False),
    "big endian": (ROW.astype(">f4"), ("N", 4), "float32", None, False),
    "fortran order": (np.asfortranarray(ROW), ("N", 4), "float32", None, False),
    "batch axis added": (ROW, ("N", 2, 4), "float32", ROW[None], True),
    "static batch of one added": (ROW, (1, 2, 4), "float32", ROW[None], True),
    "scalar": (np.float32(2.5), (), "float32", None, False),
    "scalar to batch": (np.float32(2.5), ("N",), "float32", np.float32([2.5]), True),
    "empty batch": (ROW[:0], ("N", 4), "float32", None, False),
    "one symbol twice": (np.eye(3, dtype=np.float32), ("T", "T"), "float32", None, False),
}


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@pytest.mark.parametrize("case", FITTING)
def test_array_files_become_the_declared_input(case: str, suffix: str, tmp_path: Path) -> None:
    array, shape, dtype, expected, noted = FITTING[case]
    path = tmp_path / f"value{suffix}"
    np.save(path, array) if suffix == ".npy" else np.savez(path, whatever=array)
    read = read_input(path, spec(shape, dtype))
    expected = array if expected is None else expected
    assert read.value.dtype == np.dtype(dtype)
    assert read.value.shape == np.shape(expected)
    assert read.value.flags.c_contiguous
    np.testing.assert_array_equal(read.value, np.asarray(expected).astype(dtype))
    assert bool(read.notes) == noted


# array, declared shape, declared type, words the message must hold
MISFITTING = {
    "wrong width": (ROW, ("N", 5), "float32", ["[2, 4]", "[N, 5]", "'x'"]),
    "wrong rank": (ROW, ("N", 1, 2, 4), "float32", ["[2, 4]", "[N, 1, 2, 4]"]),
    "missing axis of a batch of three": (ROW, (3, 2, 4), "float32", ["[2, 4]", "[3, 2, 4]"]),
    "one symbol, two sizes": (ROW, ("T", "T"), "float32", ["[2, 4]", "[T, T]"]),
    "float for integer": (ROW, ("N", 4), "int64", ["floating-point", "int64", "'x'"]),
    "integer for boolean": (ROW.astype(int), ("N", 4), "bool", ["integer", "bool"]),
    "complex": (ROW.astype("complex64"), ("N", 4), "float32", ["complex64"]),
    "text": (np.array([["a"] * 4]), ("N", 4), "float32", ["<U1"]),
    "structured": (np.zeros(2, [("a", "f4")]), ("N",), "float32", ["'a'"]),
    "text input": (ROW, ("N", 4), "object", ["takes text"]),
    "int64 beyond float32": (np.array([[2**24 + 1]]), ("N", 1), "float32", ["16777217"]),
    "int64 beyond int32": (np.array([[2**31]]), ("N", 1), "int32", ["2147483648"]),
    "uint64 beyond int64": (np.array([[2**63]], "uint64"), ("N", 1), "int64", ["9223372036854775808"]),
    "negative for unsigned": (np.array([[-1]]), ("N", 1), "uint64", ["-1"]),
    "float64 beyond float32": (np.array([[1e300]]), ("N", 1), "float32", ["1e+300"]),
    "NaN": (np.where(ROW == 5, np.nan, ROW), ("N", 4), "float32", ["NaN", "[1, 1]", "'x'"]),
    "infinity": (np.where(ROW == 5, -np.inf, ROW), ("N", 4), "float32", ["infinite", "-inf"]),
}


@pytest.mark.parametrize("case", MISFITTING)
def test_arrays_that_do_not_fit_are_refused(case: str, tmp_path: Path) -> None:
    array, shape, dtype, words = MISFITTING[case]
    np.save(tmp_path / "value.npy", array)
    with pytest.raises(InputError) as caught:
        read_input(tmp_path / "value.npy", spec(shape, dtype))
    assert caught.value.exit_code == 4
    for word in (*words, "value.npy"):
        assert word in str(caught.value)


def test_nonfinite_values_pass_when_allowed(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", [[np.nan, np.inf]])
    read = read_input(tmp_path / "v.npy", spec(("N", 2)), allow_nonfinite=True)
    np.testing.assert_array_equal(read.value, np.float32([[np.nan, np.inf]]))


class Bomb:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return pytest.fail, ("a pickle was executed",)


def zip_of(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return stream.getvalue()


def npy_with_header(header: str) -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


NOISE = np.random.default_rng(0).bytes(4096)
OBJECTS = np.array([Bomb()], dtype=object)

# file name, its bytes, a word the message must hold
BROKEN = {
    "npy empty": ("v.npy", b"", "is empty: save or download it again"),
    "npy random": ("v.npy", NOISE, "signature"),
    "npy signature only": ("v.npy", b"\x93NUMPY", "truncated or damaged"),
    "npy truncated": ("v.npy", npy_bytes(ROW)[:-1], "truncated or damaged"),
    "npy header truncated": ("v.npy", npy_bytes(ROW)[:40], "truncated or damaged"),
    "npy of the future": ("v.npy", b"\x93NUMPY\x09\x00" + NOISE, "version 9.0"),
    "npy announcing a petabyte": (
        "v.npy",
        npy_with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000, 1000)}"),
        "announces",
    ),
    "npy negative size": (
        "v.npy",
        npy_with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -4)}"),
        "announces",
    ),
    "npy code in header": ("v.npy", npy_with_header("__import__('os').abort()"), "truncated or damaged"),
    "npy pickled array": ("v.npy", npy_bytes(OBJECTS), "pickled"),
    "npy plain pickle": ("v.npy", pickle.dumps(Bomb()), "pickled"),
    "npz empty": ("v.npz", b"", "is empty"),
    "npz random": ("v.npz", NOISE, "not a readable .npz"),
    "npz truncated": ("v.npz", zip_of(x__npy=npy_bytes(ROW))[:-30], "not a readable .npz"),
    "npz damaged data": ("v.npz", zip_of(x__npy=npy_bytes(ROW)).replace(b"\x80?", b"\x81?"), "CRC"),
    "npz no arrays": ("v.npz", zip_of(), "no arrays"),
    "npz foreign member": ("v.npz", zip_of(readme__txt=b"hello"), "readme.txt"),
    "npz truncated member": ("v.npz", zip_of(x__npy=npy_bytes(ROW)[:-1]), "truncated or damaged"),
    "npz pickled array": ("v.npz", zip_of(x__npy=npy_bytes(OBJECTS)), "pickled"),
    "npz pickle": ("v.npz", pickle.dumps(Bomb()), "not a readable .npz"),
    "png empty": ("v.png", b"", "is empty"),
    "png random": ("v.png", NOISE, "PNG, JPEG, WEBP, BMP or TIFF"),
    "png truncated": ("v.png", png_bytes(size=(400, 400))[:-60], "PNG, JPEG, WEBP, BMP or TIFF"),
    "png that is text": ("v.jpg", b"<html>not found</html>", "PNG, JPEG, WEBP, BMP or TIFF"),
    "other kind": ("v.csv", b"1,2,3", ".csv"),
    "csv of zero bytes": ("v.csv", b"", "is empty"),
    "wav of zero bytes": ("v.wav", b"", "is empty"),
    "csv in Latin-1": ("v.csv", "größe,a,b,c\n1,2,3,4\n".encode("latin-1"), "iconv -f LATIN1 -t UTF-8"),
    "csv in UTF-16": ("v.csv", "a,b,c,d\n1,2,3,4\n".encode("utf-16"), "iconv -f UTF-16 -t UTF-8"),
    "no suffix": ("v", b"1,2,3", "without suffix"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_end_in_one_clear_error(case: str, tmp_path: Path) -> None:
    name, content, word = BROKEN[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_input(tmp_path / name, spec(("N", 3, "H", "W") if name[-3:] in ("png", "jpg") else ("N", 4)))
    assert word in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize("kind", ["npy", "npz", "png", "jpg"])
def test_damage_anywhere_never_escapes_as_another_error(kind: str, tmp_path: Path) -> None:
    """Every file cut at many places and with random bytes replaced either reads or raises InputError."""
    jpg = io.BytesIO()
    Image.new("RGB", (9, 7), (200, 10, 60)).save(jpg, "JPEG")
    whole = {
        "npy": npy_bytes(ROW),
        "npz": zip_of(x__npy=npy_bytes(ROW)),
        "png": png_bytes(),
        "jpg": jpg.getvalue(),
    }
    content, wanted = whole[kind], spec((None, 3, None, None) if kind in ("png", "jpg") else None)
    path = tmp_path / f"v.{kind}"
    rng = np.random.default_rng(1)
    damaged = [content[:cut] for cut in range(0, len(content), 1 + len(content) // 60)]
    for _ in range(300):
        copy = bytearray(content)
        for place in rng.integers(0, len(copy), 2):
            copy[place] = rng.integers(256)
        damaged.append(bytes(copy))
    refused = 0
    for bytes_ in damaged:
        path.write_bytes(bytes_)
        try:
            read_input(path, wanted, allow_nonfinite=True)
        except InputError:
            refused += 1
    assert refused > 20


def test_missing_file_and_empty_folder_are_usage_errors(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.npy", tmp_path):
        with pytest.raises(UsageError) as caught:
            read_input(path, spec())
        assert caught.value.exit_code == 2
        assert str(path) in str(caught.value)


# picture mode and colour (6 wide, 4 high), declared shape, options, expected shape, expected channel values
RED, RED_SHARES = (255, 0, 51), [1, 0, 0.2]
ANY, GREY, COLOUR = ("N", "C", "H", "W"), ("N", 1, "H", "W"), ("N", 3, "H", "W")
PLAIN, CHANNELS_FIRST = PictureOptions(), PictureOptions(layout="NCHW")
PICTURES: dict[str, tuple[str, Any, Shape, PictureOptions, tuple[int, ...], Any]] = {
    "NCHW inferred": ("RGB", RED, COLOUR, PLAIN, (1, 3, 4, 6), RED_SHARES),
    "NHWC inferred": ("RGB", RED, ("N", "H", "W", 3), PLAIN, (1, 4, 6, 3), RED_SHARES),
    "CHW": ("RGB", RED, (3, 4, 6), PLAIN, (3, 4, 6), RED_SHARES),
    "HWC": ("RGB", RED, (4, 6, 3), PLAIN, (4, 6, 3), RED_SHARES),
    "grey without channel axis": ("L", 51, ("N", 4, 6), PLAIN, (1, 4, 6), [0.2]),
    "grey input of colour picture": ("RGB", (51,) * 3, GREY, PLAIN, (1, 1, 4, 6), [0.2]),
    "colour input of grey picture": ("L", 51, COLOUR, PLAIN, (1, 3, 4, 6), [0.2] * 3),
    "own mode grey": ("L", 51, ANY, CHANNELS_FIRST, (1, 1, 4, 6), [0.2]),
    "own mode colour": ("RGB", RED, ANY, CHANNELS_FIRST, (1, 3, 4, 6), RED_SHARES),
    "unknown rank": ("RGB", RED, None, PictureOptions(layout="NHWC"), (1, 4, 6, 3), RED_SHARES),
    "mean and std": ("RGB", RED, COLOUR, PictureOptions((0.5,), (0.5,)), (1, 3, 4, 6), [1, -1, -0.6]),
    "per channel": (
        "RGB",
        RED,
        COLOUR,
        PictureOptions((1.0, 0.5, 0.2), (1.0, 2.0, 4.0)),
        (1, 3, 4, 6),
        [0, -0.25, 0],
    ),
    "declared size": ("RGB", RED, ("N", 3, 8, 10), PLAIN, (1, 3, 8, 10), RED_SHARES),
    "given size": ("RGB", RED, COLOUR, PictureOptions(size=(2, 3)), (1, 3, 2, 3), RED_SHARES),
    "transparent on white": ("RGBA", (0, 0, 0, 51), COLOUR, PLAIN, (1, 3, 4, 6), [0.8] * 3),
    "grey with alpha": ("LA", (0, 51), ANY, CHANNELS_FIRST, (1, 1, 4, 6), [0.8]),
    "16-bit grey": ("I;16", 13107, GREY, PLAIN, (1, 1, 4, 6), [0.2]),
    "16-bit grey in colour": ("I;16", 13107, COLOUR, PLAIN, (1, 3, 4, 6), [0.2] * 3),
    "black and white": ("1", 1, GREY, PLAIN, (1, 1, 4, 6), [1]),
    "palette": ("P", 0, COLOUR, PLAIN, (1, 3, 4, 6), [0, 0, 0]),
}


@pytest.mark.parametrize("case", PICTURES)
def test_pictures_become_the_declared_input(case: str, tmp_path: Path) -> None:
    mode, colour, shape, options, expected_shape, pixel = PICTURES[case]
    (tmp_path / "p.png").write_bytes(png_bytes(mode, colour=colour))
    read = read_input(tmp_path / "p.png", spec(shape), options)
    assert read.value.dtype == np.float32
    assert read.value.shape == expected_shape
    assert read.picture is not None
    assert len(read.picture.axes) == len(expected_shape)
    channel_axis = read.picture.axes.find("C")
    flat = read.value.reshape(1, -1) if channel_axis < 0 else np.moveaxis(read.value, channel_axis, 0)
    for channel, value in zip(flat, pixel, strict=True):
        np.testing.assert_allclose(channel, value, atol=1e-4)
    assert bool(read.notes) == ("size" in case)


def test_rows_stay_rows_and_exif_orientation_is_honoured(tmp_path: Path) -> None:
    gradient = np.repeat(np.uint8([[0], [80], [160], [240]]), 6, axis=1)  # dark above, bright below
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side: show after a quarter turn clockwise
    Image.fromarray(gradient).save(tmp_path / "p.png")
    Image.fromarray(np.rot90(gradient)).save(tmp_path / "turned.png", exif=exif)
    for name in ("p.png", "turned.png"):
        value = read_input(tmp_path / name, spec(("N", 1, "H", "W"))).value
        np.testing.assert_allclose(value[0, 0], gradient / np.float32(255), rtol=1e-6)


def test_integer_inputs_take_pixels_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(png_bytes(colour=RED))
    read = read_input(tmp_path / "p.png", spec(("N", "H", "W", 3), np.uint8))
    assert read.value.dtype == np.uint8
    assert read.value[0, 0, 0].tolist() == [255, 0, 51]


# declared shape, type, options, error, words of the message
REFUSED_PICTURES: dict[str, tuple[Shape, str, dict[str, Any], type[OnnxIgError], str]] = {
    "layout unknown": (("N", "C", "H", "W"), "float32", {}, InputError, "--layout"),
    "layout ambiguous": ((1, 3, 4, 3), "float32", {}, InputError, "--layout"),
    "rank unknown": (None, "float32", {}, InputError, "--layout"),
    "a table": (("N", 24), "float32", {}, InputError, "[N, 24]"),
    "four channels": (("N", 4, "H", "W"), "float32", {"layout": "NCHW"}, InputError, "4 channels"),
    "size against the model": (("N", 3, 4, 6), "float32", {"size": (2, 2)}, InputError, "[1, 3, 2, 2]"),
    "mean of three for grey": (("N", 1, "H", "W"), "float32", {"mean": (0, 0, 0)}, UsageError, "mean"),
    "mean of two": (("N", 3, "H", "W"), "float32", {"mean": (0, 0)}, UsageError, "mean"),
    "std zero": (("N", 3, "H", "W"), "float32", {"std": (0.0,)}, UsageError, "std"),
    "std NaN": (("N", 3, "H", "W"), "float32", {"std": (float("nan"),)}, UsageError, "std"),
    "no such layout": (("N", 3, "H", "W"), "float32", {"layout": "CHWN"}, UsageError, "CHWN"),
    "size zero": (("N", 3, "H", "W"), "float32", {"size": (0, 4)}, UsageError, "size"),
    "mean for bytes": (("N", 3, "H", "W"), "uint8", {"mean": (0.5,)}, UsageError, "uint8"),
    "too narrow": (("N", 3, "H", "W"), "int8", {}, InputError, "int8"),
    "boolean": (("N", 3, "H", "W"), "bool", {}, InputError, "bool"),
}


@pytest.mark.parametrize("case", REFUSED_PICTURES)
def test_pictures_that_do_not_fit_are_refused(case: str, tmp_path: Path) -> None:
    shape, dtype, options, error, word = REFUSED_PICTURES[case]
    (tmp_path / "p.png").write_bytes(png_bytes(colour=RED))
    with pytest.raises(error) as caught:
        read_input(tmp_path / "p.png", spec(shape, dtype), PictureOptions(**options))
    assert word in str(caught.value)


def test_a_mean_in_units_of_255_is_noted(tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(png_bytes())
    read = read_input(tmp_path / "p.png", spec(("N", 3, "H", "W")), PictureOptions(mean=(123.7,)))
    assert "255" in read.notes[0]


def test_without_pillow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p.png").write_bytes(png_bytes())
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingDependencyError, match=r"onnx-ig\[viz\]"):
        read_input(tmp_path / "p.png", spec(("N", 3, "H", "W")))


TWO = [spec(("N", 4), name="a"), spec(("N", 1), np.int64, name="b=c")]
A, B = ROW, np.array([[1], [2]])


def test_several_inputs_from_several_files_or_one_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", A)
    np.save(tmp_path / "b.npy", B)
    np.savez(tmp_path / "ab.npz", **{"a": A, "b=c": B})
    np.savez(tmp_path / "more.npz", a=A, unused=B)
    for texts in (
        [f"a={tmp_path}/a.npy", f"b=c={tmp_path}/b.npy"],
        [f"{tmp_path}/ab.npz"],
        [f"a={tmp_path}/ab.npz", f"b=c={tmp_path}/ab.npz"],
        [f"a={tmp_path}/more.npz", f"b=c={tmp_path}/b.npy"],
    ):
        read = read_inputs(texts, TWO)
        np.testing.assert_array_equal(read["a"].value, A)
        np.testing.assert_array_equal(read["b=c"].value, B)
    assert list(read_inputs([f"{tmp_path}/a.npy"], TWO[:1])) == ["a"]
    assert read_inputs([], TWO) == {}


# texts, error, words of the message
REFUSED_INPUTS = {
    "no name": (["DIR/a.npy"], UsageError, ["'a'", "'b=c'", "NAME="]),
    "unknown key": (["DIR/unknown.npz"], InputError, ["'z'", "'a'", "'b=c'"]),
    "named, but several others": (["a=DIR/unknown.npz"], InputError, ["'z'", "'y'"]),
    "twice": (["a=DIR/a.npy", "a=DIR/a.npy"], UsageError, ["'a'", "twice"]),
    "misspelt name": (["aa=DIR/a.npy"], UsageError, ["aa=", "'a'"]),
}


@pytest.mark.parametrize("case", REFUSED_INPUTS)
def test_names_that_do_not_fit_are_refused(case: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", A)
    np.savez(tmp_path / "unknown.npz", y=A, z=B)
    texts, error, words = REFUSED_INPUTS[case]
    with pytest.raises(error) as caught:
        read_inputs([text.replace("DIR", str(tmp_path)) for text in texts], TWO)
    for word in words:
        assert word in str(caught.value)


def test_a_baseline_may_be_one_row(tmp_path: Path) -> None:
    np.save(tmp_path / "row.npy", ROW[:1])
    assert read_baseline(tmp_path / "row.npy", spec((8, 4))).value.shape == (1, 4)
    with pytest.raises(InputError, match="needs"):
        read_baseline(tmp_path / "row.npy", spec((8, 5)))


SPLITS = {
    "x=a.npy": ("x", "a.npy"),
    "a.npy": (None, "a.npy"),
    "x=y=a.npy": ("x=y", "a.npy"),
    "x=z=a.npy": ("x", "z=a.npy"),
    "./x=1.npy": (None, "./x=1.npy"),
    "other=a.npy": (None, "other=a.npy"),
    "x": (None, "x"),
    "x=": ("x", ""),
}


@pytest.mark.parametrize("text", SPLITS)
def test_the_longest_declared_name_wins(text: str) -> None:
    assert split_name(text, ["x", "x=y"]) == SPLITS[text]


PARSED: list[tuple[Callable[[str], object], str, object]] = [
    (lambda text: parse_baseline(text, ["x", "x=1"]), "0", Baseline(None, 0.0)),
    (lambda text: parse_baseline(text, ["x", "x=1"]), "-0.5e1", Baseline(None, -5.0)),
    (lambda text: parse_baseline(text, ["x", "x=1"]), "zero", Baseline(None, 0.0)),
    (lambda text: parse_baseline(text, ["x", "x=1"]), "x=blur", Baseline("x", "blur")),
    (lambda text: parse_baseline(text, ["x"], ["x"]), "x=blur", Baseline("x", "blur")),
    (lambda text: parse_baseline(text, ["x", "x=1"]), "input", Baseline(None, "input")),
    (lambda text: parse_baseline(text, ["x", "x=1"]), "@b.npy", Baseline(None, Path("b.npy"))),
    (lambda text: parse_baseline(text, ["x", "x=1"]), "x=2", Baseline("x", 2.0)),
    (lambda text: parse_baseline(text, ["x", "x=1"]), "x=1=2", Baseline("x=1", 2.0)),
    (lambda text: parse_baseline(text, ["x", "x=1"]), "x=input", Baseline("x", "input")),
    (lambda text: parse_baseline(text, ["x", "x=1"]), "x=@dir/b.npy", Baseline("x", Path("dir/b.npy"))),
    (parse_target, "3", 3),
    (parse_target, "3,4", (3, 4)),
    (parse_target, "-1", -1),
    (parse_target, "@t.npy", Path("t.npy")),
    (parse_target, "predicted", "predicted"),
    (parse_target, "input", "input"),
    (parse_size, "224x160", (224, 160)),
    (lambda text: parse_numbers(text, "--mean"), "0.485,0.456,0.406", (0.485, 0.456, 0.406)),
    (lambda text: parse_numbers(text, "--mean"), "0.5", (0.5,)),
]


@pytest.mark.parametrize(("parse", "text", "expected"), PARSED)
def test_option_values(parse: Callable[[str], object], text: str, expected: object) -> None:
    assert parse(text) == expected


UNPARSED: list[tuple[Callable[[str], object], str, type[OnnxIgError]]] = [
    (parse_baseline, "none", UsageError),
    (parse_baseline, "b.npy", UsageError),
    (parse_baseline, "y=1", UsageError),
    (parse_baseline, "@", UsageError),
    (parse_baseline, "nan", InputError),
    (parse_baseline, "inf", InputError),
    (parse_target, "three", UsageError),
    (parse_target, "1.5", UsageError),
    (parse_target, "3,", UsageError),
    (parse_target, "", UsageError),
    (parse_target, "@", UsageError),
    (parse_size, "224", UsageError),
    (parse_size, "0x4", UsageError),
    (parse_size, "²x4", UsageError),
    (parse_size, "2x3x4", UsageError),
    (lambda text: parse_numbers(text, "--std"), "a,b", UsageError),
]


@pytest.mark.parametrize(("parse", "text", "error"), UNPARSED)
def test_option_values_that_cannot_be_meant(
    parse: Callable[[str], object], text: str, error: type[OnnxIgError]
) -> None:
    with pytest.raises(error) as caught:
        parse(text)
    assert repr(text) in str(caught.value)


def test_targets_from_files(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", np.uint8([3, 1]))
    np.savez(tmp_path / "t.npz", t=np.int32([[3, 1]]))
    assert read_target(tmp_path / "t.npy").tolist() == [3, 1]
    assert read_target(tmp_path / "t.npz").tolist() == [[3, 1]]
    assert read_target(tmp_path / "t.npy").dtype == np.int64


@pytest.mark.parametrize(
    ("name", "array", "error"),
    [
        ("absent.npy", None, UsageError),
        ("t.txt", [1], InputError),
        ("t.npy", [0.5], InputError),
        ("t.npy", [True], InputError),
        ("t.npy", [[[1]]], InputError),
        ("t.npy", np.uint64([2**63]), InputError),
    ],
)
def test_targets_that_cannot_be_meant(name: str, array: Any, error: type[OnnxIgError], tmp_path: Path) -> None:
    if array is not None:
        (tmp_path / name).write_bytes(npy_bytes(np.array(array)))
    with pytest.raises(error, match=name):
        read_target(tmp_path / name)
