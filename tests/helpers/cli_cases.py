"""What the tests of the command line go through: commands, and what each must give or say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

import onnx_ig
from tests.helpers.cli_models import MODELS

Array = np.ndarray[Any, Any]
FACTORY = "models.digits_cnn.model:digits_cnn"
WEIGHTS = str(MODELS / "digits_cnn" / "digits_cnn.safetensors")
IG, IXG, CAM = onnx_ig.IntegratedGradients, onnx_ig.InputXGradient, onnx_ig.LayerGradCam


def loaded(name: str) -> Array:
    return np.asarray(np.load(name))


def picture() -> Array:

    return (np.asarray(Image.open("seven.png"), np.float32) / 255)[None, None]


def rows() -> Array:
    return loaded("rows.npy")


def digits(**keywords: Any) -> Any:
    return IG("digits_cnn.onnx").attribute(loaded("seven.npy"), **{"target": 7, **keywords})


def tokens(**keywords: Any) -> Any:
    method, mask = IG("tokens.onnx", at="embedded"), {"mask": loaded("mask.npy")}
    return {
        "embedded": method.attribute({"ids": loaded("ids.npy")}, target=0, additional_forward_args=mask, **keywords)
    }


SEVEN = "digits_cnn.onnx -i seven.npy"
TOKENS = "tokens.onnx -i ids=ids.npy --extra mask=mask.npy --at embedded"

# the arguments of attribute, and the same by the Python API
GOOD: dict[str, tuple[str, Callable[[], Any]]] = {
    "picture": ("digits_cnn.onnx -i seven.png", lambda: IG("digits_cnn.onnx").attribute(picture(), target=7)),
    "array": (f"{SEVEN}", digits),
    "by name": ("digits_cnn.onnx -i image=seven.npy --target 7", digits),
    "normalised picture": (
        "digits_cnn.onnx -i seven.png --mean 0.5 --std 0.25 --layout NCHW --size 8x8 --target 3",
        lambda: IG("digits_cnn.onnx").attribute((picture() - 0.5) / 0.25, target=3),
    ),
    "baseline number": (f"{SEVEN} --baseline 0.5 --target 1", lambda: digits(baselines=0.5, target=1)),
    "method and steps": (
        f"{SEVEN} --target 1 --method riemann_left --n-steps 5",
        lambda: digits(target=1, method="riemann_left", n_steps=5),
    ),
    "pieces": (f"{SEVEN} --internal-batch-size 7", digits),
    "provider cpu": (f"{SEVEN} --provider cpu", digits),
    "input x gradient": (
        f"{SEVEN} --algorithm input-x-gradient",
        lambda: IXG("digits_cnn.onnx").attribute(loaded("seven.npy"), target=7),
    ),
    "gradient alone": (
        f"{SEVEN} --algorithm input-x-gradient --no-multiply-by-inputs",
        lambda: IXG("digits_cnn.onnx", multiply_by_inputs=False).attribute(loaded("seven.npy"), target=7),
    ),
    "grad-cam": (
        f"{SEVEN} --algorithm grad-cam --at getitem_3 --target 3",
        lambda: {"getitem_3": CAM("digits_cnn.onnx", "getitem_3").attribute(loaded("seven.npy"), 3)},
    ),
    "hirescam": (
        f"{SEVEN} --algorithm hirescam --at getitem_3",
        lambda: {
            "getitem_3": CAM("digits_cnn.onnx", "getitem_3").attribute(loaded("seven.npy"), 7, weights="hirescam")
        },
    ),
    "summed over channels": (
        f"{SEVEN} --at getitem_3 --sum-over channels",
        lambda: {
            "getitem_3": IG("digits_cnn.onnx", at="getitem_3")
            .attribute(loaded("seven.npy"), target=7)
            .sum(1, keepdims=True)
        },
    ),
    "one example without batch axis": ("one.onnx -i flat.npy", lambda: IG("one.onnx").attribute(rows()[:1])),
    "one number per example": ("one.onnx -i rows.npy", lambda: IG("one.onnx").attribute(rows())),
    "inner output": ("one.onnx -i rows.npy --output z", lambda: IG("one.onnx", output="z").attribute(rows())),
    "inner tensor": ("one.onnx -i rows.npy --at z", lambda: {"z": IG("one.onnx", at="z").attribute(rows())}),
    "two inputs in one file": (
        "two.onnx -i both.npz --target 1",
        lambda: IG("two.onnx").attribute({"a": rows(), "b": rows()[::-1]}, target=1),
    ),
    "two inputs in two files": (
        "two.onnx -i b=rows.npy -i a=rows.npy --target @targets.npy",
        lambda: IG("two.onnx").attribute({"a": rows(), "b": rows()}, target=[0, 1]),
    ),
    "two baselines": (
        "two.onnx -i both.npz --target 1 --baseline a=0.25 --baseline b=@base.npy",
        lambda: IG("two.onnx").attribute({"a": rows(), "b": rows()[::-1]}, {"a": 0.25, "b": loaded("base.npy")}, 1),
    ),
    "one of two inputs": (
        "two.onnx -i a=rows.npy --extra b=rows.npy --target 0",
        lambda: IG("two.onnx").attribute({"a": rows()}, target=0, additional_forward_args={"b": rows()}),
    ),
    "target of two axes": (
        "deep.onnx -i cube.npy --target 3,1",
        lambda: IG("deep.onnx").attribute(loaded("cube.npy"), target=(3, 1)),
    ),
    "fixed batch": ("fixed.onnx -i rows.npy --target 1", lambda: IG("fixed.onnx").attribute(rows(), target=1)),
    "no batch axis": (
        "single.onnx -i flat.npy --target 1",
        lambda: IG("single.onnx").attribute(loaded("flat.npy"), target=1),
    ),
    "whole numbers for floats": (
        "one.onnx -i whole.npy",
        lambda: IG("one.onnx").attribute(loaded("whole.npy").astype(np.float32)),
    ),
    "tokens": (
        f"{TOKENS} --target 0",
        tokens,
    ),
    "tokens, name of the input left out": (
        "tokens.onnx -i ids.npy --extra mask.npy --at embedded --target 0 --n-steps 4",
        lambda: tokens(n_steps=4),
    ),
}

TWO, BOTH = "two --input a --input b", "-i both.npz"
IDS, FED = "tokens --at embedded --input ids", "-i ids.npy --extra mask=mask.npy"

# what export is asked for, then how attribute is told what was left open; the model is "two" or as named
EXPORTED: dict[str, tuple[str, str, str]] = {
    "defaults": (f"{TWO}", "--target 1", BOTH),
    "predicted when attributing": (f"{TWO}", "", BOTH),
    "predicted when exporting": (f"{TWO} --target predicted", "", BOTH),
    "target baked": (f"{TWO} --target 1", "--target 1", BOTH),
    "no loop": (f"{TWO} --steps-per-run 0", "--target 1", BOTH),
    "small loop": (f"{TWO} --steps-per-run 7", "--target 1", BOTH),
    "step form": (f"{TWO} --form step", "--target 1", BOTH),
    "step form in pieces": (f"{TWO} --form step", "--target 1 --internal-batch-size 3", BOTH),
    "step form, predicted": (f"{TWO} --form step --target predicted", "", BOTH),
    "step form, open baseline": (f"{TWO} --form step --baseline input", "--target 1 --baseline 0.25", BOTH),
    "path as input": (f"{TWO} --path-as-input", "--target 1 --method riemann_middle --n-steps 9", BOTH),
    "baselines": (f"{TWO} --baseline a=@base.npy --baseline b=input", "--target 1 --baseline b=0.125", BOTH),
    "method and steps": (f"{TWO} --method riemann_right --n-steps 12", "--target 1", BOTH),
    "prefix": (f"{TWO} --prefix ig_", "--target 1", BOTH),
    "step form with prefix": (f"{TWO} --form step --prefix ig_", "--target 1", BOTH),
    "local": (f"{TWO} --no-multiply-by-inputs", "--target 1", BOTH),
    "input x gradient": (f"{TWO} --algorithm input-x-gradient", "--target 1", BOTH),
    "grad-cam": ("digits_cnn --algorithm grad-cam --at getitem_3", "--target 1", "-i seven.npy"),
    "hirescam": ("digits_cnn --algorithm hirescam --at getitem_3 --target predicted", "", "-i seven.npy"),
    "summed, step form": (f"{IDS} --form step --sum-over embedding", "--target 0", FED),
    "summed": (f"{IDS} --sum-over embedding", "--target 0", FED),
    "one attributed": ("two --input a", "--target @targets.npy", "-i a=rows.npy --extra b=rows.npy"),
    "per example": ("two --input a --per-example b", "--target 0", "-i a=rows.npy --extra b=rows.npy"),
    "fixed batch": ("fixed", "--target 1", "-i rows.npy"),
    "fixed batch, step form": ("fixed --form step", "--target 1", "-i rows.npy"),
    "no batch axis": ("single", "--target 1", "-i flat.npy"),
    "no batch axis, step form": ("single --form step", "--target 1", "-i flat.npy"),
    "one number": ("one --output z", "", "-i rows.npy"),
    "rank 3": ("deep --target 3,1", "", "-i cube.npy"),
    "rank 3, open": ("deep", "--target 3,1", "-i cube.npy"),
    "rank 3, open, step form": ("deep --form step", "--target 3,1", "-i cube.npy"),
    "tokens": (f"{IDS}", "--target 0", FED),
    "tokens, step form": (f"{IDS} --form step", "--target 0", FED),
    "tokens, step form, open baseline": (f"{IDS} --form step --baseline input", "--target 0 --baseline 3", FED),
}

# what is baked, what is asked for, what the message must name
CONTRADICTIONS: dict[str, tuple[str, str, list[str]]] = {
    "algorithm": ("", "--algorithm input-x-gradient", ["--algorithm", "integrated-gradients"]),
    "target": ("--target 3", "--target 4", ["--target 4", "3"]),
    "predicted target": ("--target predicted", "--target 4", ["predicted"]),
    "baseline": ("--baseline 0.5", "--baseline 0.25", ["--baseline 0.25", "0.5"]),
    "method": ("", "--method riemann_left", ["gausslegendre"]),
    "steps": ("--n-steps 10", "--n-steps 20", ["--n-steps 20", "10"]),
    "output": ("", "--output linear", ["--output", "logits"]),
    "at": ("", "--at linear", ["--at", "image"]),
    "sum": ("", "--sum-over channels", ["--sum-over channels", "every element"]),
    "map": ("--algorithm grad-cam --at getitem_3", "--algorithm hirescam", ["hirescam", "grad-cam"]),
    "steps of a map": ("--algorithm grad-cam --at getitem_3", "--n-steps 4", ["grad-cam has no path"]),
    "factor": ("", "--no-multiply-by-inputs", ["--multiply-by-inputs"]),
    "pieces of a complete form": ("", "--internal-batch-size 4", ["--form step"]),
    "steps of input x gradient": ("--algorithm input-x-gradient", "--n-steps 4", ["--n-steps"]),
    "per example": ("", "--per-example image", ["--per-example"]),
}

A = "attribute one.onnx -i rows.npy"
D = "attribute digits_cnn.onnx -i seven.npy"
OTHER = MODELS / "tabular_mlp" / "tabular_mlp.safetensors"
# command, exit code, what the message must name
BROKEN: dict[str, tuple[str, int, list[str]]] = {
    # usage
    "no such command": ("atribute", 2, ["atribute"]),
    "no such option": (f"{A} -o out --stepz 3", 2, ["--stepz", "--help"]),
    "no input": ("attribute one.onnx -o out", 2, ["-i"]),
    "no output folder": (A, 2, ["--out"]),
    "not a number of steps": (f"{A} -o out --n-steps many", 2, ["many"]),
    "no steps": (f"{A} -o out --n-steps 0", 2, ["--n-steps"]),
    "one step of a trapezoid": (f"{A} -o out --n-steps 1 --method riemann_trapezoid", 2, ["riemann_trapezoid"]),
    "no such method": (f"{A} -o out --method simpson", 2, ["simpson", "gausslegendre"]),
    "no such provider": (f"{A} -o out --provider abacus", 2, ["abacus"]),
    "steps without a path": (f"{A} -o out --algorithm input-x-gradient --n-steps 4", 2, ["--n-steps"]),
    "a map of no layer": (f"{D} --algorithm grad-cam -o out", 2, ["'getitem_3'", "--at"]),
    "a map of no layer in export": (
        "export digits_cnn.onnx --algorithm grad-cam -o out.onnx",
        2,
        ["'getitem_3'", "--at"],
    ),
    "a map of no convolution": (f"{D} --algorithm hirescam --at linear -o out", 4, ["'linear'", "[batch, 64]"]),
    "a map without a factor": (
        f"{D} --algorithm grad-cam --at getitem_3 --no-multiply-by-inputs -o out",
        2,
        ["products"],
    ),
    "a sum along no axis": (f"{A} --sum-over channels -o out", 4, ["'x'", "--sum-over"]),
    "a sum of gradients": (f"{A} --sum-over channels --no-multiply-by-inputs -o out", 2, ["--no-multiply-by-inputs"]),
    "weights without a factory": (f"{A} -o out --weights rows.npy", 2, ["--weights"]),
    "missing model": ("attribute gone.onnx -i rows.npy -o out", 2, ["gone.onnx"]),
    "missing input": ("attribute one.onnx -i gone.npy -o out", 2, ["gone.npy"]),
    "missing baseline": (f"{A} --baseline @gone.npy -o out", 2, ["gone.npy"]),
    "missing target": (f"{A} --target @gone.npy -o out", 2, ["gone.npy"]),
    "missing names": (f"{A} --names gone.json -o out", 2, ["gone.json"]),
    "missing weights": (
        f"export {FACTORY} --weights gone.safetensors --example-input 1x1x8x8 -o out.onnx",
        2,
        ["gone"],
    ),
    "missing factory": ("export models.digits_cnn.model:digits --example-input 1x1x8x8 -o out.onnx", 2, ["digits"]),
    "factory without examples": (f"export {FACTORY} -o out.onnx", 2, ["--example-input"]),
    "no such folder": ("export one.onnx -o nowhere/out.onnx", 2, ["nowhere"]),
    "input given twice": ("attribute one.onnx -i rows.npy -i x=rows.npy -o out", 2, ["twice"]),
    "which input": ("attribute two.onnx -i rows.npy -o out", 4, ["a", "b"]),
    "which baseline": ("attribute two.onnx -i both.npz --baseline @base.npy -o out", 2, ["NAME="]),
    "baseline from nowhere": (f"{A} --baseline input -o out", 2, ["export"]),
    "baseline not a number": (f"{A} --baseline dark -o out", 2, ["dark"]),
    "target not a number": (f"{A} --target seven -o out", 2, ["seven"]),
    "target of a file in export": ("export two.onnx --input a --target @targets.npy -o out.onnx", 2, ["--target"]),
    "method of a step form": ("export one.onnx --form step --n-steps 9 -o out.onnx", 2, ["--n-steps"]),
    "loop of a step form": ("export one.onnx --form step --steps-per-run 9 -o out.onnx", 2, ["--steps-per-run"]),
    "no such output": (f"{A} --output q -o out", 2, ["'q'", "inspect"]),
    "no such tensor": (f"{A} --at q -o out", 2, ["'q'", "inspect"]),
    "no such input in export": ("export one.onnx --input q -o out.onnx", 2, ["'q'", "x"]),
    "size": ("attribute digits_cnn.onnx -i seven.png --size big -o out", 2, ["--size"]),
    "mean": ("attribute digits_cnn.onnx -i seven.png --mean 0.1,0.2 -o out", 2, ["mean"]),
    # models
    "truncated model": ("attribute cut.onnx -i seven.npy -o out", 3, ["cut.onnx"]),
    "random bytes": ("attribute random.onnx -i rows.npy -o out", 3, ["random.onnx", "not an ONNX model"]),
    "empty model": ("attribute empty.onnx -i rows.npy -o out", 3, ["empty.onnx"]),
    "text as a model": ("inspect note.txt", 3, ["note.txt"]),
    "unknown operator": (
        "attribute unknown_operator.onnx -i rows.npy --target 0 -o out",
        3,
        ["Mystery", "strange_one", "1 more"],
    ),
    "unknown operator in export": ("export unknown_operator.onnx -o out.onnx", 3, ["Mystery", "strange_one", "1 more"]),
    "no gradient path": (
        "attribute no_gradient.onnx -i rows.npy --target 0 -o out",
        3,
        ["no gradient path", "x", "Round"],
    ),
    "pickled model": ("attribute pickled.pt -i rows.npy -o out", 3, ["pickle", "package.module:factory"]),
    "pickled program": ("attribute pickled.pt2 -i rows.npy -o out", 3, ["pickled.pt2"]),
    "weights that do not fit": (
        f"export {FACTORY} --weights {OTHER} --example-input 1x1x8x8 -o out.onnx",
        3,
        ["do not fit"],
    ),
    "pickled weights": (f"export {FACTORY} --weights pickled.pt --example-input 1x1x8x8 -o out.onnx", 3, ["pickle"]),
    "external data outside": (
        "attribute outside.onnx -i both.npz -o out",
        3,
        ["outside the model's folder", "../secret.bin"],
    ),
    "external data at an absolute path": ("attribute absolute.onnx -i both.npz -o out", 3, ["outside"]),
    "external data missing": ("attribute missing.onnx -i both.npz -o out", 3, ["gone.bin"]),
    # data
    "integer input": ("attribute integers.onnx -i whole.npy -o out", 4, ["int64", "--at"]),
    "token model": ("attribute tokens.onnx -i ids=ids.npy --extra mask=mask.npy -o out", 4, ["at='embedded'"]),
    "integer input in export": ("export integers.onnx -o out.onnx", 4, ["--at"]),
    "wrong shape": ("attribute one.onnx -i wide.npy -o out", 4, ["[2, 5]", "[N, 3]"]),
    "wrong type": ("attribute one.onnx -i text.npy -o out", 4, ["text.npy", "float32"]),
    "floats for integers": (
        "attribute tokens.onnx -i ids=cube.npy --extra mask=mask.npy --at embedded -o out",
        4,
        ["int64"],
    ),
    "wrong name": ("attribute one.onnx -i y=rows.npy -o out", 4, ["'y'", "'x'"]),
    "wrong name of extra": ("attribute two.onnx -i a=rows.npy --extra c=rows.npy -o out", 4, ["c=rows.npy", "a, b"]),
    "wrong key": ("attribute two.onnx -i stranger.npz -o out", 4, ["'c'"]),
    "unfed": ("attribute two.onnx -i a=rows.npy -o out", 4, ["'b'", "--extra b=FILE"]),
    "different numbers of examples": ("attribute two.onnx -i a=rows.npy -i b=base.npy -o out", 4, ["a: 2", "b: 1"]),
    "rows of an additional input": (
        f"attribute {TOKENS} --target 0 -o out".replace("mask.npy", "mask_of_three.npy"),
        4,
        ["'mask'", "[3, 4]"],
    ),
    "nan": ("attribute one.onnx -i nan.npy -o out", 4, ["NaN", "index [0, 1]"]),
    "nan in a baseline": (f"{A} --baseline @nan.npy -o out", 4, ["NaN"]),
    "infinite baseline": (f"{A} --baseline inf -o out", 4, ["finite"]),
    "shape of a baseline": (f"{A} --baseline @wide.npy -o out", 4, ["wide.npy"]),
    "pickled array": ("attribute one.onnx -i pickled.npy -o out", 4, ["pickle"]),
    "truncated array": ("attribute one.onnx -i cut.npy -o out", 4, ["cut.npy", "truncated"]),
    "not an array": ("attribute one.onnx -i note.txt -o out", 4, [".txt", ".npy"]),
    "truncated picture": ("attribute digits_cnn.onnx -i broken.png -o out", 4, ["broken.png"]),
    "picture for a table": ("attribute one.onnx -i seven.png -o out", 4, ["rank 4"]),
    "names of another shape": (
        "attribute one.onnx -i rows.npy --names names_wrong.json -o out",
        4,
        ["names_wrong.json"],
    ),
    "target out of range": (f"{D} --target 10 -o out", 4, ["10", "[N, 10]"]),
    "negative target": (f"{D} --target -11 -o out", 4, ["-11", "[N, 10]"]),
    "target out of range in export": ("export digits_cnn.onnx --target 10 -o out.onnx", 4, ["10", "logits"]),
    "target where there is none to choose": (f"{A} --target 3 -o out", 4, ["one number per example"]),
    "target of too many axes": (f"{D} --target 1,2 -o out", 4, ["[N, 10]"]),
    "target needed": ("attribute deep.onnx -i cube.npy -o out", 4, ["[N, 4, 3]", "--target"]),
    "targets that are floats": (
        "attribute two.onnx -i both.npz --target @float_targets.npy -o out",
        4,
        ["float_targets.npy", "integers"],
    ),
    "number of targets": ("attribute two.onnx -i both.npz --target @ids.npy -o out", 4, ["[N, 2]"]),
}
