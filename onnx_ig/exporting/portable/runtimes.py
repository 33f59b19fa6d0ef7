"""What each runtime needs of a file, and what it cannot compute: the one table that export, inspect and tests read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from onnx_ig.common.suggestions import nearest
from onnx_ig.errors import UsageError


@dataclass(frozen=True)
class Needs:
    """A runtime, as ``export --for`` names it.

    Attributes:
        title: what people call it.
        versions: those in which what is said here was seen; "" where only its documentation was read.
        spelling: the edits of :data:`onnx_ig.exporting.portable.spelling.SPELLINGS` that it needs, in order.
        weights_in_order: whether weights are stored as its operators read them, once more for the gradient, instead of
            being turned round by nodes.
        activations_apart: whether it fuses two activations with a convolution and computes one.
        no_constant_outputs: whether it has no name for an output that is a constant which no node reads.
        vectors_of_three_wrong: whether it convolves a multiple of three channels, but no multiple of four, wrong.
        one_example: whether it computes several rows wrong.
        lacks: operators that it lacks or computes wrong, with what happens.
        command: what comes next, ``{file}`` being the file and ``{stem}`` its path without ``.onnx``.
    """

    title: str
    versions: str = ""
    spelling: tuple[str, ...] = ()
    weights_in_order: bool = False
    activations_apart: bool = False
    no_constant_outputs: bool = False
    vectors_of_three_wrong: bool = False
    one_example: bool = False
    lacks: Mapping[str, str] = field(default_factory=dict)
    command: str = ""

    def refusals(self, rows: int | None) -> list[str]:
        """Why the runtime would compute wrong for so many ``rows``, with what to do."""
        if self.one_example and rows is not None and rows > 1:
            return [f"{self.title} ({self.versions}) sums several rows wrong: leave batch= (--batch) out"]
        return []

    def next_step(self, file: Path) -> str:
        """How ``file`` is brought to the runtime."""
        return self.command.format(file=file, stem=file.with_suffix(""))


_UNKNOWN_LAYER = "it has no such layer"
ANY = Needs("any runtime", activations_apart=True)
NEEDS: dict[str, Needs] = {
    "opencv": Needs(
        "OpenCV 5",
        versions="5.0.0",
        spelling=("bools are gathered as floats",),
        command='cv2.dnn.readNetFromONNX("{file}") reads it as it is',
    ),
    "opencv4": Needs(
        "OpenCV 4",
        versions="4.14.0",
        spelling=(
            "steps are gathered",
            "axes are reduced in turn",
            "places keep their axis",
            "places are gathered flat",
            "logic is in floats",
            "bool constants are cast",
            "constants are read once",
        ),
        weights_in_order=True,
        no_constant_outputs=True,
        one_example=True,
        lacks={
            **dict.fromkeys(("And", "Or", "Xor", "GatherND", "OneHot", "Trilu"), _UNKNOWN_LAYER),
            "ScatterND": "it takes updates of another rank than the standard's",
        },
        command='cv2.dnn.readNetFromONNX("{file}") reads it as it is',
    ),
    "litert": Needs(
        "LiteRT",
        versions="ai-edge-litert 2.3.0 with onnx2tf 2.6.9",
        spelling=("steps are gathered",),
        weights_in_order=True,
        command="onnx2tf -i {file} -o {stem}_litert -osd -kat <each input>",
    ),
    "tract": Needs("tract", versions="0.23.9", command='tract_onnx::onnx().model_for_path("{file}") reads it as it is'),
    "mnn": Needs(
        "MNN",
        versions="3.6.1",
        spelling=("slopes are written out",),
        weights_in_order=True,
        command="MNNConvert -f ONNX --modelFile {file} --MNNModel {stem}.mnn --bizCode onnx_ig --keepInputFormat 1",
    ),
    "tvm": Needs(
        "TVM", versions="0.27.0", command='tvm.relax.frontend.onnx.from_onnx(onnx.load("{file}")), then tvm.compile'
    ),
    "iree": Needs(
        "IREE",
        versions="3.13.0",
        spelling=("what no window reads is not padded",),
        command="iree-import-onnx {file} -o {stem}.mlir --opset-version 18, then iree-compile",
    ),
    "tinygrad": Needs("tinygrad", versions="0.14.0", command='tinygrad.nn.onnx.OnnxRunner("{file}") reads it as it is'),
    "c": Needs(
        "C",
        versions="emx-onnx-cgen 1.4.0",
        spelling=("steps are gathered",),
        command="emx-onnx-cgen compile {file} {stem}.c --large-weight-threshold 0",
    ),
    "webgpu": Needs(
        "ONNX Runtime WebGPU",
        versions="onnxruntime-web 1.30.0",
        activations_apart=True,
        vectors_of_three_wrong=True,
        command='ort.InferenceSession.create("{file}", {{executionProviders: ["webgpu"]}})',
    ),
    "tensorrt": Needs("TensorRT", command="trtexec --onnx={file} --saveEngine={stem}.engine"),
    "coreml": Needs("Core ML", command='onnxruntime reads it with providers=["CoreMLExecutionProvider"]'),
    "qnn": Needs("QNN", command="qnn-onnx-converter --input_network {file}"),
}


def needs_of(name: str) -> Needs:
    """The runtime called ``name``.

    Raises:
        UsageError: there is none.
    """
    if name not in NEEDS:
        raise UsageError(f"unknown runtime {name!r}{nearest(name, NEEDS)}: choose {', '.join(NEEDS)}")
    return NEEDS[name]
