"""Small models and data files for the tests of the command line and of inspection."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper as oh
from onnx import TensorProto as T

Array = np.ndarray[Any, Any]
MODELS = Path(__file__).parents[2] / "models"
OPSETS = [oh.make_opsetid("", 18), oh.make_opsetid("example.custom", 1)]


def _weights(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def model(
    nodes: list[Any], inputs: dict[str, Any], outputs: dict[str, Any], weights: dict[str, Array]
) -> onnx.ModelProto:
    """A model of opset 18; ``inputs`` and ``outputs`` map names to (element type, shape)."""
    infos = [[oh.make_tensor_value_info(name, *what) for name, what in side.items()] for side in (inputs, outputs)]
    constants = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    return oh.make_model(oh.make_graph(nodes, "g", *infos, constants), opset_imports=OPSETS, ir_version=8)


def node(op_type: str, inputs: str, output: str, **attributes: Any) -> Any:
    return oh.make_node(op_type, inputs.split(), [output], name=f"node_{output}", **attributes)


def _models() -> dict[str, onnx.ModelProto]:
    float_row, float_two = (T.FLOAT, ["N", 3]), (T.FLOAT, ["N", 2])
    w = {"w": _weights(3, 2)}
    embedding = [
        node("Gather", "table ids", "embedded"),
        node("Cast", "mask", "mask_float", to=T.FLOAT),
        node("Unsqueeze", "mask_float last", "mask_column"),
        node("Mul", "embedded mask_column", "masked"),
        node("Flatten", "masked", "flat", axis=1),
        node("MatMul", "flat w", "hidden"),
        node("Tanh", "hidden", "y"),
    ]
    tokens = {"ids": (T.INT64, ["N", 4]), "mask": (T.INT64, ["N", 4])}
    return {
        "two": model(
            [node("Mul", "a b", "product"), node("Tanh", "product", "bent"), node("MatMul", "bent w", "y")],
            {"a": float_row, "b": float_row},
            {"y": float_two},
            w,
        ),
        "one": model(
            [node("MatMul", "x w", "z"), node("Tanh", "z", "y")],
            {"x": float_row},
            {"y": (T.FLOAT, ["N", 1])},
            {"w": _weights(3, 1)},
        ),
        "columns": model(
            [node("Transpose", "x", "rows"), node("MatMul", "rows w", "z"), node("Tanh", "z", "y")],
            {"x": (T.FLOAT, [3, "N"])},
            {"y": float_two},
            w,
        ),
        "deep": model([node("Tanh", "x", "y")], {"x": (T.FLOAT, ["N", 4, 3])}, {"y": (T.FLOAT, ["N", 4, 3])}, {}),
        "fixed": model(
            [node("MatMul", "x w", "z"), node("Tanh", "z", "y")], {"x": (T.FLOAT, [2, 3])}, {"y": (T.FLOAT, [2, 2])}, w
        ),
        "single": model(
            [node("MatMul", "x w", "z"), node("Tanh", "z", "y")], {"x": (T.FLOAT, [3])}, {"y": (T.FLOAT, [2])}, w
        ),
        "tokens": model(
            embedding, tokens, {"y": float_two}, {"table": _weights(9, 3), "last": np.array([2]), "w": _weights(12, 2)}
        ),
        "unknown_operator": model(
            [
                oh.make_node("Mystery", ["x"], ["m"], name="strange_one", domain="example.custom"),
                oh.make_node("Riddle", ["m"], ["r"], name="strange_two", domain="example.custom"),
                node("MatMul", "r w", "y"),
            ],
            {"x": float_row},
            {"y": float_two},
            w,
        ),
        "no_gradient": model(
            [node("Round", "x", "whole"), node("MatMul", "whole w", "y")], {"x": float_row}, {"y": float_two}, w
        ),
        "integers": model(
            [node("Cast", "x", "f", to=T.FLOAT), node("MatMul", "f w", "y")],
            {"x": (T.INT64, ["N", 3])},
            {"y": float_two},
            w,
        ),
    }


def make(folder: Path) -> None:
    """Write every model and data file into ``folder``."""
    for name, proto in _models().items():
        onnx.save(proto, folder / f"{name}.onnx")
    for name in ("digits_cnn/digits_cnn.onnx", "digits_cnn/seven.png", "digits_cnn/seven.npy"):
        (folder / Path(name).name).write_bytes((MODELS / name).read_bytes())
    rows = _weights(2, 3, seed=1)
    np.save(folder / "rows.npy", rows)
    np.savez(folder / "both.npz", a=rows, b=rows[::-1])
    np.savez(folder / "stranger.npz", a=rows, c=rows)
    np.save(folder / "flat.npy", rows[0])
    np.save(folder / "cube.npy", _weights(2, 4, 3))
    np.save(folder / "ids.npy", np.array([[1, 2, 3, 4], [5, 6, 7, 8]]))
    np.save(folder / "mask.npy", np.array([[1, 1, 1, 0], [1, 1, 0, 0]]))
    np.save(folder / "mask_of_three.npy", np.ones((3, 4), np.int64))
    np.save(folder / "whole.npy", np.array([[1, 2, 3]]))
    np.save(folder / "base.npy", np.full((1, 3), 0.5, np.float32))
    np.save(folder / "targets.npy", np.array([0, 1]))
    np.save(folder / "float_targets.npy", np.array([0.0, 1.0]))
    np.save(folder / "wide.npy", _weights(2, 5))
    np.save(folder / "nan.npy", np.array([[1, np.nan, 2]], np.float32))
    np.save(folder / "text.npy", np.array([["a", "b", "c"]]))
    np.save(folder / "pickled.npy", np.array([{"a": 1}], object), allow_pickle=True)
    (folder / "cut.npy").write_bytes((folder / "rows.npy").read_bytes()[:-5])
    (folder / "note.txt").write_text("no array")
    (folder / "broken.png").write_bytes((folder / "seven.png").read_bytes()[:60])
    (folder / "names.json").write_text('{"features": ["red", "green", "blue"], "classes": ["no", "yes"]}')
    (folder / "names_wrong.json").write_text('{"features": [1]}')
    (folder / "cut.onnx").write_bytes((folder / "digits_cnn.onnx").read_bytes()[:3000])
    (folder / "random.onnx").write_bytes(np.random.default_rng(0).bytes(4000))
    (folder / "empty.onnx").write_bytes(b"")
    (folder / "pickled.pt").write_bytes(pickle.dumps(os.getcwd))
    (folder / "pickled.pt2").write_bytes(pickle.dumps(os.getcwd))
    _external(folder)


def _external(folder: Path) -> None:
    """two.onnx with a weight in a file outside its folder, and one whose file is missing."""
    (folder.parent / "secret.bin").write_bytes(_weights(3, 2).tobytes())
    for name, location in {"outside": "../secret.bin", "absolute": "/etc/hostname", "missing": "gone.bin"}.items():
        proto = onnx.load(folder / "two.onnx")
        weight = proto.graph.initializer[0]
        weight.ClearField("raw_data")
        weight.data_location = T.EXTERNAL
        weight.external_data.add(key="location", value=location)
        (folder / f"{name}.onnx").write_bytes(proto.SerializeToString())
