"""Say what a file that is no ONNX model is, and what to do: by its first bytes, whatever its name says."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

_TO_TORCH = "load it in PyTorch and give the module, or export it with torch.onnx.export"
_AGAIN = "download the file itself"
# At the beginning of the file, and what it is with what to do.
_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs.github.com/spec/", "a Git LFS pointer to the model: fetch it with `git lfs pull`"),
    (b"\x1f\x8b", "compressed (gzip): unpack it with `gunzip`"),
    (b"BZh", "compressed (bzip2): unpack it with `bunzip2`"),
    (b"\xfd7zXZ\x00", "compressed (xz): unpack it with `unxz`"),
    (b"\x28\xb5\x2f\xfd", "compressed (Zstandard): unpack it with `unzstd`"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive: unpack it"),
    (b"Rar!", "a RAR archive: unpack it"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras): convert the model with tf2onnx"),
    (b"\x93NUMPY", "a NumPy array, not a model"),
    (b"\x89PNG", "a picture, not a model"),
    (b"\xff\xd8\xff", "a picture, not a model"),
    (b"GGUF", f"a GGUF file, which holds weights without a graph: {_TO_TORCH}"),
    (b"ftrt", "a TensorRT engine, which cannot be read back: give the .onnx file it was built from"),
    (b"ptrt", "a TensorRT engine, which cannot be read back: give the .onnx file it was built from"),
)
# From byte 4 on: the identifiers of FlatBuffers.
_IDENTIFIERS = {
    b"ORTM": "a model in ONNX Runtime's .ort format: give the .onnx file it was converted from",
    b"TFL3": "a TensorFlow Lite model: convert it with `python -m tf2onnx.convert --tflite FILE --output model.onnx`",
}
_PICKLES = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))


def kind_of(data: bytes, file: Path | None = None) -> str:
    """What ``data``, the beginning of ``file`` or all there is, says it is, and what to do; empty where unknown."""
    if not data:
        return "empty: save or download it again"
    for beginning, what in _BEGINNINGS:
        if data.startswith(beginning):
            return what
    if data[4:8] in _IDENTIFIERS:
        return _IDENTIFIERS[data[4:8]]
    if data.startswith(b"PK\x03\x04"):
        return _archive(io.BytesIO(data) if file is None else file)
    if data[257:262] == b"ustar":
        return "a tar archive: unpack it, and give the .onnx file in it"
    if data.startswith(_PICKLES):
        return f"a Python pickle: of a PyTorch model, {_TO_TORCH}; of a scikit-learn model, convert it with skl2onnx"
    size = int.from_bytes(data[:8], "little")
    if data[8:9] == b"{" and 2 <= size < 1 << 32:
        return f"a safetensors file, which holds weights without a graph: {_TO_TORCH}"
    if (
        data[:1] == b"\n"
        and b"\x12" in data[:256]
        and any(op in data for op in (b"Placeholder", b"NoOp", b"VarHandle"))
    ):
        return "a TensorFlow graph: convert it with `python -m tf2onnx.convert`"
    if data[:3] == b"\x08\x01\x12" and b"saved_model" in data:
        return "a TensorFlow SavedModel: convert its folder with `python -m tf2onnx.convert --saved-model FOLDER`"
    return _text(data)


def _archive(file: io.BytesIO | Path) -> str:
    """A zip archive by the names in it."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return "a zip archive that is cut short: download it again"
    models = [name for name in names if name.endswith(".onnx")]
    rules: tuple[tuple[Callable[[str], bool], str], ...] = (
        (lambda name: name.endswith(("archive_format", "models/model.json")), "a .pt2 archive: name it .pt2"),
        (lambda name: name.endswith("/data.pkl") or name == "data.pkl", f"a PyTorch file: {_TO_TORCH}"),
        (lambda name: name == "model.weights.h5", "a Keras model: convert it with tf2onnx"),
        (lambda name: name.endswith(".npy"), "an archive of NumPy arrays, not a model"),
    )
    if models:
        return f"a zip archive: unpack it, and give the .onnx file in it ({models[0]})"
    return next((what for holds, what in rules if any(map(holds, names))), "a zip archive: unpack it")


def _text(data: bytes) -> str:
    """What a text is, if it is one."""
    try:
        text = data[:4096].decode("utf-8").strip()
    except UnicodeDecodeError as error:
        if error.start < min(len(data), 4096) - 4:
            return ""
        text = data[: error.start].decode("utf-8").strip()
    if not text or not all(character.isprintable() or character.isspace() for character in text):
        return ""
    if text[:15].lower().startswith(("<!doctype html", "<html")):
        return f"a web page (an error, or the page around the file): {_AGAIN}"
    if text.startswith(("<?xml", "<net")):
        return "XML (an OpenVINO model's?): give the .onnx file it was converted from"
    if text[0] == "{":
        return f"JSON text (a server's answer, or an index of weights?), not a model: {_AGAIN}"
    return f"text ({text.splitlines()[0][:60]!r}), not a model: {_AGAIN}"
