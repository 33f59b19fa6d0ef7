"""Inputs, baselines and targets from files and option values; the declared model input decides what fits."""

from onnx_ig.data.options import (
    Baseline,
    Target,
    parse_baseline,
    parse_numbers,
    parse_size,
    parse_target,
    read_target,
    split_name,
)
from onnx_ig.data.pictures import LAYOUTS, Picture, PictureOptions, declared_picture
from onnx_ig.data.read import InputValue, read_baseline, read_input, read_inputs
from onnx_ig.data.series import Series, SoundOptions
from onnx_ig.graph.declared import InputSpec

__all__ = [
    "LAYOUTS",
    "Baseline",
    "InputSpec",
    "InputValue",
    "Picture",
    "PictureOptions",
    "Series",
    "SoundOptions",
    "Target",
    "declared_picture",
    "parse_baseline",
    "parse_numbers",
    "parse_size",
    "parse_target",
    "read_baseline",
    "read_input",
    "read_inputs",
    "read_target",
    "split_name",
]
