"""The models that are checked: torch modules, and their .onnx files in float32 and float16."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
import safetensors.torch
from torch import Tensor, nn

import onnx_ig
from models.digits_cnn.model import digits_cnn
from onnx_ig.exporting.model_writer import write_model
from tools.full_size import MODELS, FullSize

_WEIGHTS = Path(__file__).parent.parent.parent / "models" / "digits_cnn" / "digits_cnn.safetensors"


def _trained_digits_cnn() -> nn.Module:
    module = digits_cnn()
    safetensors.torch.load_model(module, _WEIGHTS)
    return module


# Of the benchmark's six, in the order in which a GPU's minutes are spent on them.
_BY_WORTH = ("ResNet-50", "BERT-base", "MLP", "LSTM", "MobileNetV3", "ViT-small")
CHECKED: dict[str, FullSize] = {
    "digits_cnn": FullSize(_trained_digits_cnn, (1, 8, 8), redrawn=False),
    **{name: MODELS[name] for name in _BY_WORTH},
}


@dataclass(frozen=True)
class Subject:
    """One model of CHECKED, its files in ``folder``."""

    name: str
    folder: Path

    @property
    def is_picture(self) -> bool:
        """Whether inputs are [N, channels, height, width], so that there is a layout to choose."""
        return len(CHECKED[self.name].shape) == 3

    def module(self) -> nn.Module:
        """In eval mode, but for recurrent layers: cuDNN has no backward for those, and they have no dropout."""
        module = CHECKED[self.name].module()
        for layer in module.modules():
            if isinstance(layer, nn.RNNBase):
                assert layer.dropout == 0
                layer.train()
        return module

    def inputs(self, examples: int, precision: str = "fp32") -> tuple[Tensor, ...]:
        """Random examples, and the mask of token models."""
        tensors = CHECKED[self.name].inputs(examples)
        return tuple(t.half() if precision == "fp16" and t.is_floating_point() else t for t in tensors)

    def file(self, precision: str) -> Path:
        """The forward model, written at the first call; ``fp16``: weights, inputs and outputs in float16."""
        path = self.folder / f"{self.name}.{'fp16' if precision == 'fp16' else 'fp32'}.onnx"
        if not path.exists():
            (self._write_half if precision == "fp16" else self._write)(path)
        return path

    def _write(self, path: Path) -> None:
        module, tensors = CHECKED[self.name].module(), self.inputs(2)
        loaded = onnx_ig.load(module, example_inputs=tensors[0], additional_forward_args=tensors[1:] or None)
        write_model(loaded.ir_model, path)

    def _write_half(self, path: Path) -> None:
        from onnxruntime.transformers.float16 import convert_float_to_float16

        onnx.save(convert_float_to_float16(onnx.load(self.file("fp32")), disable_shape_infer=True), path)
