"""Forms of a graph that are faster in our own sessions, and that exported files do not have: one a file.

The one idea: each changes an onnx_ir model in place, and no value that it computes; the lists say which session uses
which.
"""

from __future__ import annotations

from onnx_ig.runtime.forms.hard_sigmoid import clip_for_hard_sigmoid
from onnx_ig.runtime.forms.hard_swish import hard_swish_in_any_layout
from onnx_ig.runtime.forms.interleaving import interleave_by_selection
from onnx_ig.runtime.forms.masks import mask_in_any_layout
from onnx_ig.runtime.forms.rows_apart import keep_rows_apart
from onnx_ig.runtime.forms.scans import walk_backwards

ONNX_RUNTIME = (walk_backwards,)
ONNX_RUNTIME_CPU = (*ONNX_RUNTIME, mask_in_any_layout, hard_swish_in_any_layout)
OPENVINO = (walk_backwards, keep_rows_apart, interleave_by_selection, clip_for_hard_sigmoid)
