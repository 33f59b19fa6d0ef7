"""Weights read from a model's file one by one: whole, of every type, and refused where the file is not."""

import hashlib
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_ig.errors import ModelError
from onnx_ig.loading import model_file, wire
from tests.helpers.peak_memory import megabytes, on_linux

RANDOM = np.random.default_rng(0)
TYPES = ["?", "b", "B", "h", "H", "i", "I", "q", "Q", "e", "f", "d", "F", ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn]


def with_weight(tensor: onnx.TensorProto) -> onnx.ModelProto:
    """A model that hands its weight out, with smaller ones before and after it."""
    small = [onnx.numpy_helper.from_array(np.arange(3, dtype=np.float32), name) for name in ("a", "z")]
    y = onnx.helper.make_tensor_value_info("y", tensor.data_type, None)
    node = onnx.helper.make_node("Identity", ["w"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [], [y], [small[0], tensor, small[1]], doc_string="d" * 5000)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)])


def read(proto: onnx.ModelProto | bytes, folder: Path) -> ir.Model:
    """The model after its way through a file."""
    path = folder / "model.onnx"
    path.write_bytes(proto if isinstance(proto, bytes) else proto.SerializeToString())
    model, digest, _ = model_file.read(path)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    return model


def weight(model: ir.Model, name: str = "w") -> np.ndarray:
    tensor = model.graph.initializers[name].const_value
    assert tensor is not None
    return tensor.numpy()


@pytest.mark.parametrize("kind", TYPES, ids=str)
@pytest.mark.parametrize("shape", [(40, 50), (2000,), (1, 2000, 1), (1,)], ids=str)
def test_weights_of_any_type_and_size(kind: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    array = RANDOM.integers(0, 2, shape).astype(kind)
    model = read(with_weight(onnx.numpy_helper.from_array(array, "w")), tmp_path)
    found = weight(model)
    assert found.dtype == array.dtype and found.flags.aligned and np.array_equal(found, array)
    assert np.array_equal(weight(model, "a"), np.arange(3)) and np.array_equal(weight(model, "z"), np.arange(3))


@pytest.mark.parametrize("kind", [ir.DataType.INT4, ir.DataType.UINT4, ir.DataType.FLOAT4E2M1])
def test_weights_of_half_a_byte(kind: ir.DataType, tmp_path: Path) -> None:
    array = RANDOM.integers(0, 2, (100, 200)).astype(kind.numpy())
    tensor = ir.to_proto(ir.Tensor(array, dtype=kind, name="w"))
    assert np.array_equal(weight(read(with_weight(tensor), tmp_path)), array)


def test_weights_as_lists_of_numbers(tmp_path: Path) -> None:
    numbers = RANDOM.standard_normal(5000).astype(np.float32)
    tensor = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [5000], numbers)
    assert np.array_equal(weight(read(with_weight(tensor), tmp_path)), numbers)


def test_a_graph_in_parts(tmp_path: Path) -> None:
    """A message may hold its one graph in parts, and a parser merges them: weights in either are found."""
    first, second = (np.full(3000, value, np.float32) for value in (1, 2))
    one = with_weight(onnx.numpy_helper.from_array(first, "w"))
    two = onnx.ModelProto(graph=onnx.GraphProto(initializer=[onnx.numpy_helper.from_array(second, "v")]))
    model = read(one.SerializeToString() + two.SerializeToString(), tmp_path)
    assert np.array_equal(weight(model), first) and np.array_equal(weight(model, "v"), second)


def test_bytes_that_do_not_fit_the_shape_are_refused(tmp_path: Path) -> None:
    tensor = onnx.numpy_helper.from_array(np.zeros(5000, np.float32), "w")
    tensor.dims[:] = [4999]
    with pytest.raises(ModelError, match=r"malformed: weight 'w' of FLOAT\[4999\] has 20000 bytes"):
        read(with_weight(tensor), tmp_path)


def test_files_cut_short_anywhere_are_refused(tmp_path: Path) -> None:
    data = with_weight(onnx.numpy_helper.from_array(np.zeros(5000, np.float32), "w")).SerializeToString()
    read(data, tmp_path)
    for size in {0, 1, 2, 5, *range(7, len(data), 997), len(data) - 1}:
        with pytest.raises(ModelError, match=r"is not an ONNX model|names no operator set|malformed"):
            read(data[:size], tmp_path)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        kept, spans = wire.without_weights(data, 1)
    except ValueError:
        return
    assert len(kept) <= len(data) + 20 and all(span.offset + span.size <= len(data) for span in spans.values())


@given(st.integers(1, 2**29 - 1), st.integers(0, 70_000))
def test_a_head_is_read_as_it_was_written(number: int, size: int) -> None:
    head = wire.head(number, size)
    data = head + bytes(size)
    (field,) = wire.fields(data, 0, len(data))
    assert field.holds(number) and (field.start, field.body, field.stop) == (0, len(head), len(data))


@on_linux
def test_weights_are_in_memory_once(tmp_path: Path) -> None:
    """Reading 256 MB of weights takes 256 MB and little more, as Linux counts it."""
    file = tmp_path / "large.onnx"
    array = np.ones((1 << 12, 1 << 14), np.float32)
    file.write_bytes(with_weight(onnx.numpy_helper.from_array(array, "w")).SerializeToString())
    before = "from pathlib import Path; import onnx; from onnx_ig.loading.model_file import read"
    measured = "w = read(Path(sys.argv[1]))[0].graph.initializers['w'].const_value; assert w.numpy()[-1, -1] == 1"
    assert 200 < megabytes(before, measured, str(file)) < 1.25 * 256
