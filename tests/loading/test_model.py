"""Loading: every kind of source, where weights may lie, names of any character, shapes, and what is refused."""

import gzip
import io
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

import onnx_ig
import onnx_ig.loading.model_file as model_file
from onnx_ig.errors import ModelError, OnnxIgWarning, UsageError
from onnx_ig.exporting import model_writer
from onnx_ig.loading.model import load
from onnx_ig.runtime.session import Session

WEIGHTS = np.arange(1, 13, dtype=np.float32).reshape(3, 4)
X = np.array([[0.1, -0.2, 0.3], [1.0, 2.0, -3.0]], np.float32)


def parsed(body: str, opset: int = 18, extra: str = "") -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}{extra}]>\n{body}')


def linear() -> onnx.ModelProto:
    """y = tanh(x W): one weight of 12 numbers."""
    proto = parsed("linear (float[N,3] x) => (float[N,4] y) { h = MatMul (x, W)  y = Tanh (h) }")
    proto.graph.initializer.append(onnx.numpy_helper.from_array(WEIGHTS, "W"))
    return proto


def values(source: object, x: np.ndarray = X) -> np.ndarray:
    model = load(source)
    (y,) = Session(ir.to_proto(model.ir_model), "cpu", threads=1).run({str(model.inputs[0].name): x}).values()
    return y


def saved(proto: onnx.ModelProto, folder: Path) -> Path:
    onnx.save(proto, folder / "model.onnx")
    return folder / "model.onnx"


SOURCES: dict[str, Callable[[Path], object]] = {
    "path": lambda folder: saved(linear(), folder),
    "path as text": lambda folder: str(saved(linear(), folder)),
    "bytes": lambda folder: linear().SerializeToString(),
    "ModelProto": lambda folder: linear(),
    "onnx_ir model": lambda folder: ir.from_proto(linear()),
    "loaded model": lambda folder: load(linear()),
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_kind_of_source_gives_the_same_model(name: str, tmp_path: Path) -> None:
    source = SOURCES[name](tmp_path)
    np.testing.assert_allclose(values(source), np.tanh(X @ WEIGHTS), rtol=1e-6)
    model = load(source)
    assert (model.original_opset, model.name) == (18, "model" if "path" in name else "linear")
    assert [str(x.name) for x in model.inputs] == ["x"] and [str(y.name) for y in model.outputs] == ["y"]


def test_the_source_is_left_as_it_was(tmp_path: Path) -> None:
    proto, graph = linear(), ir.from_proto(linear())
    before = proto.SerializeToString(), ir.to_proto(graph).SerializeToString()
    load(proto), load(graph)
    assert (proto.SerializeToString(), ir.to_proto(graph).SerializeToString()) == before


def test_the_source_is_left_as_it_was_by_renamed_weights() -> None:
    """onnx_ir writes a tensor's new name into the message that it was read from."""
    proto = linear()
    before = proto.SerializeToString()
    value = load(proto).clone_ir().graph.initializers["W"]
    value.name = "renamed"
    assert proto.SerializeToString() == before


def with_constant_nodes() -> onnx.ModelProto:
    proto = linear()
    weight = proto.graph.initializer.pop()
    proto.graph.node.insert(0, onnx.helper.make_node("Constant", [], ["W"], value=weight))
    return proto


def with_initialisers_among_inputs() -> onnx.ModelProto:
    proto = linear()
    proto.ir_version = 3
    proto.graph.input.insert(0, onnx.helper.make_tensor_value_info("W", onnx.TensorProto.FLOAT, WEIGHTS.shape))
    return proto


def with_a_function() -> onnx.ModelProto:
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18, "local" : 1]>
        linear (float[N,3] x) => (float[N,4] y) { y = local.outer (x, W) }
        <domain: "local", opset_import: ["" : 18, "local" : 1]> outer (a, w) => (c) { b = local.inner <transposed =
        0> (a, w)  c = Tanh (b) }
        <domain: "local", opset_import: ["" : 18]> inner <transposed> (a, w) => (b) { b = Gemm <transB: int =
        @transposed> (a, w) }"""
    )
    proto.graph.initializer.append(onnx.numpy_helper.from_array(WEIGHTS, "W"))
    return proto


def with_the_domain_spelt_out() -> onnx.ModelProto:
    proto = linear()
    proto.opset_import[0].domain = "ai.onnx"
    for node in proto.graph.node:
        node.domain = "ai.onnx"
    return proto


def with_raw_floats() -> onnx.ModelProto:
    proto = linear()
    proto.graph.initializer[0].CopyFrom(onnx.helper.make_tensor("W", onnx.TensorProto.FLOAT, (3, 4), WEIGHTS.ravel()))
    return proto


def with_weights_in_a_branch() -> onnx.ModelProto:
    branch = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "W"], ["b"])],
        "branch",
        [],
        [onnx.helper.make_tensor_value_info("b", onnx.TensorProto.FLOAT, ["N", 4])],
        [onnx.numpy_helper.from_array(WEIGHTS, "W")],
    )
    proto = linear()
    del proto.graph.node[0], proto.graph.initializer[0]
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "condition"))
    proto.graph.node.insert(
        0, onnx.helper.make_node("If", ["condition"], ["h"], then_branch=branch, else_branch=branch)
    )
    return proto


PLACES = [with_constant_nodes, with_initialisers_among_inputs, with_a_function, with_the_domain_spelt_out]
PLACES += [with_raw_floats, with_weights_in_a_branch]


@pytest.mark.parametrize("make", PLACES)
def test_weights_are_found_wherever_they_lie(make: Callable[[], onnx.ModelProto]) -> None:
    np.testing.assert_allclose(values(make()), np.tanh(X @ WEIGHTS), rtol=1e-6)
    model = load(make())
    assert [str(x.name) for x in model.inputs] == ["x"]
    assert not list(model.ir_model.functions)
    assert all(node.op_type != "Constant" for node in ir.traversal.RecursiveGraphIterator(model.ir_model.graph))


def external(folder: Path, location: str = "weights.bin") -> Path:
    proto = linear()
    onnx.save(proto, folder / "model.onnx", save_as_external_data=True, location=location, size_threshold=0)
    return folder / "model.onnx"


def test_external_data_inside_the_folder(tmp_path: Path) -> None:
    np.testing.assert_allclose(values(external(tmp_path)), np.tanh(X @ WEIGHTS), rtol=1e-6)
    proto = onnx_ig.differentiate(external(tmp_path))
    assert not any(tensor.external_data for tensor in proto.graph.initializer)


def moved(folder: Path, location: str) -> Path:
    """A model in a sub-folder whose weight is said to lie at ``location``."""
    inner = folder / "inner"
    inner.mkdir()
    path = external(inner)
    (inner / "weights.bin").rename(folder / "outside.bin")
    proto = onnx.load(path, load_external_data=False)
    next(entry for entry in proto.graph.initializer[0].external_data if entry.key == "location").value = location
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.mark.parametrize(
    "location", ["../outside.bin", "{folder}/outside.bin", "sub/../../outside.bin", "/etc/passwd", "link.bin", ""]
)
def test_external_data_outside_the_folder_is_refused(location: str, tmp_path: Path) -> None:
    path = moved(tmp_path, location.format(folder=tmp_path))
    (path.parent / "link.bin").symlink_to(tmp_path / "outside.bin")
    with pytest.raises(ModelError, match=r"outside|not in"):
        load(path)


def hub(folder: Path, location: str = "weights.bin", model: str = "snapshots/main/onnx") -> Path:
    """A model as a hub's cache keeps it: names that link to contents, which lie together in one repository's folder."""
    blobs, named = folder / "models--a--b" / "blobs", folder / "models--a--b" / model
    blobs.mkdir(parents=True)
    named.mkdir(parents=True)
    path = external(blobs)
    (blobs / "weights.bin").rename(blobs / "c0de")
    path.rename(blobs / "beef")
    for name, content in (("model.onnx", "beef"), (location, "c0de")):
        (named / name).symlink_to(Path(*[".."] * len(Path(model).parts), "blobs", content))
    return named / "model.onnx"


def test_external_data_in_a_hubs_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = hub(tmp_path)
    np.testing.assert_allclose(values(path), np.tanh(X @ WEIGHTS), rtol=1e-6)
    onnx_ig.export(path, tmp_path / "ig.onnx", target=1)
    secret = tmp_path / "secret.bin"
    secret.write_bytes(WEIGHTS.tobytes())
    link = path.parent / "weights.bin"
    for elsewhere in ("../../../../secret.bin", "/etc/passwd", str(secret)):
        link.unlink()
        link.symlink_to(elsewhere)
        with pytest.raises(ModelError, match="outside the model's folder"):
            load(path)


def test_external_data_that_are_a_pointer(tmp_path: Path) -> None:
    path = external(tmp_path)
    (tmp_path / "weights.bin").write_bytes(broken("a Git LFS pointer")[:40])
    with pytest.raises(
        ModelError, match=r"'W' needs 48 bytes of 'weights\.bin', which has 40: it is a Git LFS pointer"
    ):
        load(path)


def test_external_data_that_is_missing_or_short_is_refused(tmp_path: Path) -> None:
    path = external(tmp_path)
    data = (tmp_path / "weights.bin").read_bytes()
    (tmp_path / "weights.bin").write_bytes(data[:-8])
    with pytest.raises(ModelError, match=r"'W' needs 48 bytes of 'weights\.bin', which has 40"):
        load(path)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelError, match=r"'W'.*weights\.bin.*not in"):
        load(path)


def test_external_data_without_a_path_is_refused(tmp_path: Path) -> None:
    data = external(tmp_path).read_bytes()
    for source in (data, onnx.ModelProto.FromString(data)):
        with pytest.raises(ModelError, match="load such a model by its path"):
            load(source)


def test_a_model_too_large_for_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of models over 2 GB, at 4.8 kB: the matrix stays on disk, the bias does not."""
    monkeypatch.setattr(model_file, "_IN_MEMORY_LIMIT", 4000)
    monkeypatch.setattr(model_file, "_LEAST_ON_DISK", 4000)
    weights = np.random.default_rng(0).standard_normal((3, 400)).astype(np.float32)
    proto = parsed("f (float[N,3] x) => (float[N,400] y) { y = Gemm (x, W, b) }")
    for name, value in (("W", weights), ("b", weights[0])):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    onnx.save(proto, tmp_path / "model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    model = load(tmp_path / "model.onnx")
    kinds = {name: type(v.const_value) for name, v in model.ir_model.graph.initializers.items()}
    assert kinds["W"] is ir.ExternalTensor and kinds["b"] is ir.Tensor
    y = Session(model.ir_model, "cpu", threads=1).run({"x": X})["y"]
    np.testing.assert_allclose(y, X @ weights + weights[0], rtol=1e-5, atol=1e-5)
    with pytest.warns(OnnxIgWarning, match=re.escape(f"stay in w.bin; save the result in {tmp_path}")):
        gradient = onnx_ig.differentiate(tmp_path / "model.onnx")
    onnx.save(gradient, tmp_path / "gradient.onnx")
    result = Session(tmp_path / "gradient.onnx", "cpu", threads=1).run({"x": X, "cotangent_y": y})
    np.testing.assert_allclose(result["grad_x"], y @ weights.T, rtol=1e-5, atol=1e-5)


def test_weights_over_two_gigabytes_stay_on_disk(tmp_path: Path) -> None:
    """A sparse file stands for 2.2 GB of weights: loading must neither read nor copy them."""
    rows = 550_000
    proto = parsed("big (float[N,1000] x, int64[N] i) => (float[N,1000] y) { r = Gather (W, i)  y = Mul (x, r) }")
    weight = onnx.TensorProto(name="W", data_type=onnx.TensorProto.FLOAT, dims=[rows, 1000])
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="weights.bin")
    proto.graph.initializer.append(weight)
    with open(tmp_path / "weights.bin", "wb") as file:
        file.truncate(4000 * rows)
    model = load(saved(proto, tmp_path))
    assert model.ir_model.graph.initializers["W"].const_value.nbytes == 4000 * rows  # type: ignore[union-attr]
    from onnx_ig.autodiff.gradient import gradient_model

    gradient = gradient_model(model.ir_model, ["x"])
    assert isinstance(gradient.graph.initializers["W"].const_value, ir.ExternalTensor)


NAMES = [
    "a.b.c",
    "scope/block_1/conv:0",
    "with space",
    "größe→∞",
    "1",
    "-",
    "x;DROP",
    'quo"te',
    "new\nline",
    "%s{}",
    ".",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_any_character_survive(name: str, tmp_path: Path) -> None:
    proto = linear()
    renamed = {"x": name, "h": name + " inner", "y": name + " out", "W": name + "/W"}
    for node in proto.graph.node:
        node.name = ""
        node.input[:] = [renamed[v] for v in node.input]
        node.output[:] = [renamed[v] for v in node.output]
    for info in (*proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        info.name = renamed[info.name]
    np.testing.assert_allclose(values(proto), np.tanh(X @ WEIGHTS), rtol=1e-6)
    model = load(saved(proto, tmp_path))
    assert {str(y.name) for node in model.ir_model.graph for y in node.outputs} == {name + " inner", name + " out"}
    gradient = onnx_ig.differentiate(model, wrt=[name, name + " inner"])
    assert [y.name for y in gradient.graph.output][1:] == [f"grad_{name}", f"grad_{name} inner"]


def test_equal_node_names_and_reused_names_in_branches() -> None:
    proto = parsed(
        """f (float[2,3] x) => (float[2,3] y) <bool c = {1}>
        { t = If (c) <then_branch = a () => (float[2,3] r) { v = Sin (x)  r = Sin (v) },
                      else_branch = b () => (float[2,3] r) { v = Cos (x)  r = Cos (v) }>  y = Exp (t) }"""
    )
    for node in proto.graph.node:
        node.name = "same"
    np.testing.assert_allclose(values(proto), np.exp(np.sin(np.sin(X))), rtol=1e-6)


def _zip(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return file.getvalue()


def broken(name: str) -> bytes:
    data = linear().SerializeToString()
    rng = np.random.default_rng(0)
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    return {
        "random": rng.integers(0, 256, 4096, dtype=np.uint8).tobytes(),
        "truncated": data[: len(data) * 2 // 3],
        "a few bytes": data[:5],
        "another message": linear().graph.SerializeToString(),
        "empty": b"",
        "text": b"this is not a model",
        "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n",
        "a web page": b"\n<!DOCTYPE html><html><body>404: Not Found</body></html>",
        "JSON text": b'{"error": "Repository not found"}',
        "gunzip": gzip.compress(data),
        "unpack it, and give the .onnx file in it (deep/model.onnx)": _zip("deep/model.onnx"),
        "a PyTorch file": _zip("archive/data.pkl"),
        "a .pt2 archive": _zip("net/archive_format"),
        "a Keras model": _zip("model.weights.h5"),
        "a Python pickle": pickle.dumps({"a": 1}),
        "safetensors": len(header).to_bytes(8, "little") + header + bytes(4),
        "ONNX Runtime's .ort format": b"\x1c\x00\x00\x00ORTM" + bytes(64),
        "TensorFlow Lite": b"\x1c\x00\x00\x00TFL3" + bytes(64),
        "a TensorFlow graph": b"\n\x10\n\x01x\x12\x0bPlaceholder",
        "a picture": b"\x89PNG\r\n\x1a\n" + bytes(64),
    }[name]


BROKEN = {"random": "cut short", "truncated": "cut short", "a few bytes": "cut short", "another message": "no graph"}
NAMED = [
    *("empty", "text", "a Git LFS pointer", "a web page", "JSON text", "gunzip", "a PyTorch file", "a .pt2 archive"),
    *("unpack it, and give the .onnx file in it (deep/model.onnx)", "a Keras model", "a Python pickle", "safetensors"),
    *("ONNX Runtime's .ort format", "TensorFlow Lite", "a TensorFlow graph", "a picture"),
]


@pytest.mark.parametrize(("name", "words"), [*BROKEN.items(), *((name, name) for name in NAMED)])
def test_files_that_are_no_model_are_refused_for_what_they_are(name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(broken(name))
    for source in (tmp_path / "model.onnx", broken(name)):
        with pytest.raises(ModelError, match="is not an ONNX model.*" + re.escape(words)):
            load(source)


@pytest.mark.parametrize("at", range(5, 100, 5))
def test_a_model_cut_anywhere_is_refused_or_whole(at: int, tmp_path: Path) -> None:
    """No prefix of a file loads as another model: cut files lack the operator set, which is written last."""
    data = linear().SerializeToString()
    with pytest.raises(ModelError):
        load(data[: len(data) * at // 100])


MALFORMED = {
    "a missing tensor": ("f (float[3] x) => (float[3] y) { y = Add (x, nowhere) }", "nowhere"),
    "a missing output": ("f (float[3] x) => (float[3] y) { z = Sin (x) }", "'y'"),
    "nodes out of order": ("f (float[3] x) => (float[3] y) { y = Sin (z)  z = Cos (x) }", None),
    "a name given twice": ("f (float[3] x) => (float[3] y) { z = Sin (x)  z = Cos (x)  y = Exp (z) }", "z"),
    "an attribute of an older opset": (
        "f (float[3] x) => (float[1] y) { y = Squeeze <axes = [0]> (x) }",
        "Squeeze .*an attribute 'axes'.* at opset 1[378].*another opset",
    ),
    "too many inputs": ("f (float[3] x) => (float[3] y) { y = Sin (x, x) }", "Sin .*has 2 inputs"),
    "too few inputs": ("f (float[3] x) => (float[3] y) { y = Mul (x) }", "Mul .*has 1 inputs"),
    "a foreign operator's missing input": (
        "f (float[3] x) => (float[3] y) { y = com.microsoft.BiasGelu (x) }",
        "BiasGelu .*lacks its input 1",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_graphs(name: str) -> None:
    text, words = MALFORMED[name]
    if words is None:
        np.testing.assert_allclose(values(parsed(text), X[0]), np.sin(np.cos(X[0])), rtol=1e-6)
        return
    with pytest.raises(ModelError, match=words):
        load(parsed(text))


def test_what_is_no_source_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "dangling.onnx").symlink_to("nowhere")
    for source, words in (
        (tmp_path / "nothing.onnx", "no such file"),
        (tmp_path, r"is a folder.*dangling\.onnx"),
        (tmp_path / "dangling.onnx", "a link to nowhere"),
        ("https://example.com/model.onnx", "is an address"),
    ):
        with pytest.raises(UsageError, match=words):
            load(source)
    with pytest.raises(UsageError, match="cannot load a model from int"):
        load(3)


SHAPES = {
    # name: declared shape of x, what normalisation makes of it
    "symbols stay": (["N", "T", 4], ["N", "T", 4]),
    "unknowns get names": ([None, None, 4], ["x_0", "x_1", 4]),
    "question marks differ": (["?", "?", 4], ["x_0", "x_1", 4]),
    "minus one and zero are unknown": ([-1, 0, 4], ["x_0", "x_1", 4]),
    "numbers stay": ([2, 3, 4], [2, 3, 4]),
}


@pytest.mark.parametrize("name", SHAPES)
def test_declared_dimensions_are_read_for_what_they_mean(name: str) -> None:
    declared, expected = SHAPES[name]
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, declared)
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["?", "?", 4])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Sin", ["x"], ["y"])], "f", [x], [y])
    model = load(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8))
    for value in (model.inputs[0], model.outputs[0]):
        assert [d if isinstance(d, int) else d.value for d in value.shape] == expected  # type: ignore[union-attr]


def test_stale_shapes_of_inner_tensors_are_not_believed() -> None:
    """Made for one example, then its input declared dynamic: the file speaks of inner tensors of the old batch."""
    proto = parsed("f (float[N,4] x, int64[2] s) => (float[1,6] y) { h = Sin (x)  r = Reshape (h, s)  y = Exp (r) }")
    for name, dims in (("h", [1, 4]), ("r", [1, 4])):
        proto.graph.value_info.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dims))
    known = {str(y.name): y.shape for node in load(proto).ir_model.graph for y in node.outputs}
    assert [str(d) for d in known["h"]] == ["N", "4"]  # type: ignore[union-attr]
    assert all(not isinstance(d, int) for name in ("r", "y") for d in known[name])  # type: ignore[union-attr]


def test_believable_shapes_fill_what_inference_leaves_open() -> None:
    proto = parsed(
        "f (float[N,4] x, int64[2] s) => (float y) { r = Reshape (x, s)  e = Exp (r) y = ReduceSum <keepdims = 0> (e) }"
    )
    proto.graph.value_info.append(onnx.helper.make_tensor_value_info("r", onnx.TensorProto.FLOAT, ["M", 2]))
    known = {str(y.name): y.shape for node in load(proto).ir_model.graph for y in node.outputs}
    assert [str(d) for d in known["e"]] == ["M", "2"]  # type: ignore[union-attr]


def test_shapes_can_be_given() -> None:
    proto = parsed("f (float[a,b] x) => (float[c,d] y) { y = MatMul (x, W) }")
    proto.graph.initializer.append(onnx.numpy_helper.from_array(WEIGHTS, "W"))
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    model = load(proto, shapes={"x": ("N", 3)})
    assert [str(d) for d in model.outputs[0].shape] == ["N", "4"]  # type: ignore[union-attr]
    with pytest.raises(UsageError, match=re.escape("no input 'z'")):
        load(proto, shapes={"z": (1,)})
    with pytest.raises(UsageError, match="axes"):
        load(linear(), shapes={"x": (1, 2, 3)})


def test_operators_outside_the_standard_get_shapes() -> None:
    proto = parsed(
        """f (float[N,4] x) => (float[a,b] y) <float[4,2] w = {1,2,3,4,5,6,7,8}>
        { s = ai.onnx.ml.Scaler <offset = [0.0], scale = [2.0]> (x)  h = MatMul (s, w)
          t = ai.onnx.ml.Normalizer <norm = "L2"> (h)  y = Tanh (t) }""",
        extra=', "ai.onnx.ml" : 3',
    )
    known = {str(y.name): (y.dtype, str(y.shape)) for node in load(proto).ir_model.graph for y in node.outputs}
    assert known["y"] == (ir.DataType.FLOAT, "[N,2]") and known["s"] == (ir.DataType.FLOAT, "[N,4]")


@pytest.mark.parametrize("value", ["", ", zero"])
@pytest.mark.parametrize("opset", [13, 18])
def test_zeros_in_front_of_a_maximum_stay_zeros(opset: int, value: str) -> None:
    proto = parsed(
        f"""f (float[N,1,3] x) => (float[N,1,2] y) <int64[6] z_axes = {{0,0,1,0,0,1}}, float zero = {{0}}>
        {{ z = Pad (x, z_axes{value})  y = MaxPool <kernel_shape = [3], strides = [2]> (z) }}""",
        opset,
    )
    x = np.array([[[-3, -2, -1]], [[1, -2, -1]]], np.float32)
    np.testing.assert_array_equal(values(proto, x), [[[0, 0]], [[1, 0]]])
    np.testing.assert_array_equal(
        onnx_ig.InputXGradient(proto, provider="cpu").attribute(x, target=(0, 0)), [[[0, 0, 0]], [[1, 0, 0]]]
    )


def test_weights_written_one_by_one_make_an_ordinary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same message as in one piece, but for the order of the weights; nothing of the model in memory changes."""
    monkeypatch.setattr(model_writer, "_LEAST_APART", 8)
    loaded = onnx_ig.load(linear())
    names = set(loaded.ir_model.graph.initializers)
    model_writer.write_model(loaded.ir_model, tmp_path / "apart.onnx")
    onnx.checker.check_model(tmp_path / "apart.onnx", full_check=True)
    written, whole = onnx.load(tmp_path / "apart.onnx"), ir.to_proto(loaded.ir_model)
    assert set(loaded.ir_model.graph.initializers) == names
    for proto in (written, whole):
        proto.graph.initializer.sort(key=lambda tensor: str(tensor.name))
        proto.graph.ClearField("value_info")  # a weight says its type itself
    assert written == whole
