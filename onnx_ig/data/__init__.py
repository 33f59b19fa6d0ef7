"""Inputs, baselines and targets from files and option values; the declared model input decides what fits."""

from onnx_ig.data.arrays import npy_shape
from onnx_ig.data.baselines import named_baseline
from onnx_ig.data.files import (
    SUFFIXES_OF_ONE_EXAMPLE,
    FileOptions,
    InputValue,
    read_baseline,
    read_input,
    read_inputs,
    rows_in,
)
from onnx_ig.data.of_model import Data, by_default, read
from onnx_ig.data.options import (
    MADE_BASELINES,
    Baseline,
    Target,
    class_index,
    parse_baseline,
    parse_numbers,
    parse_size,
    parse_target,
    read_target,
    split_name,
)
from onnx_ig.data.pictures import LAYOUTS, Picture, PictureOptions, declared_picture
from onnx_ig.data.preprocessing import preprocessing
from onnx_ig.data.sentences import TEXT_SUFFIXES, TextOptions
from onnx_ig.data.series import Series, SoundOptions
from onnx_ig.data.table import Rows, TableOptions, names_in_metadata
from onnx_ig.data.table_file import TABLE_SUFFIXES
from onnx_ig.data.text import Padding, Words, token_input
from onnx_ig.data.window import OpenFiles, Window
from onnx_ig.graph.declared import InputSpec

__all__ = [
    "LAYOUTS",
    "MADE_BASELINES",
    "SUFFIXES_OF_ONE_EXAMPLE",
    "TABLE_SUFFIXES",
    "TEXT_SUFFIXES",
    "Baseline",
    "Data",
    "FileOptions",
    "InputSpec",
    "InputValue",
    "OpenFiles",
    "Padding",
    "Picture",
    "PictureOptions",
    "Rows",
    "Series",
    "SoundOptions",
    "TableOptions",
    "Target",
    "TextOptions",
    "Window",
    "Words",
    "by_default",
    "class_index",
    "declared_picture",
    "named_baseline",
    "names_in_metadata",
    "npy_shape",
    "parse_baseline",
    "parse_numbers",
    "parse_size",
    "parse_target",
    "preprocessing",
    "read",
    "read_baseline",
    "read_input",
    "read_inputs",
    "read_target",
    "rows_in",
    "split_name",
    "token_input",
]
