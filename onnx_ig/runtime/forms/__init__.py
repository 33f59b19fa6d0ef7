"""Forms of a graph that are faster in our own sessions, and that exported files do not have: one a file.

The one idea: each is a graph pass, which changes no value that the model computes; the lists say which session uses
which.
"""

from __future__ import annotations

import onnx_ir as ir

from onnx_ig.runtime.forms.constant_hard_swish import WriteOutConstantHardSwishPass
from onnx_ig.runtime.forms.hard_sigmoid import ClipForHardSigmoidPass
from onnx_ig.runtime.forms.hard_swish import HardSwishInAnyLayoutPass
from onnx_ig.runtime.forms.interleaving import InterleaveBySelectionPass
from onnx_ig.runtime.forms.kept_statistics import KeepStatisticsPass
from onnx_ig.runtime.forms.masks import MaskInAnyLayoutPass
from onnx_ig.runtime.forms.max_places import ScatterToMaximaPass
from onnx_ig.runtime.forms.multiplied_sums import AddProductsPass
from onnx_ig.runtime.forms.normalised import ReadNormalisedPass
from onnx_ig.runtime.forms.outside_scans import ComputeOutsideScansPass
from onnx_ig.runtime.forms.recurrent_library import UseRecurrentLibraryPass
from onnx_ig.runtime.forms.rows_apart import KeepRowsApartPass
from onnx_ig.runtime.forms.scaled_weights import ScaleWeightsPass
from onnx_ig.runtime.forms.scales_before_masks import ScaleBeforeMasksPass
from onnx_ig.runtime.forms.scans import WalkBackwardsPass
from onnx_ig.runtime.forms.selected_cotangents import SelectByMasksPass
from onnx_ig.runtime.forms.stepped_hard_swish import StepForHardSwishPass
from onnx_ig.runtime.forms.unexpanded import LeaveUnexpandedPass
from onnx_ig.runtime.forms.whole_numbers import CompareWithWholeNumbersPass
from onnx_ig.runtime.forms.without_kernels import WriteWithoutKernelsPass

ONNX_RUNTIME = ir.passes.Sequential(WalkBackwardsPass())
ONNX_RUNTIME_CPU = ir.passes.Sequential(ONNX_RUNTIME, MaskInAnyLayoutPass(), HardSwishInAnyLayoutPass())
ONNX_RUNTIME_CUDA = ir.passes.Sequential(
    WriteWithoutKernelsPass(),
    *(ComputeOutsideScansPass(), UseRecurrentLibraryPass()),  # of Scans that walk forwards still
    *(ONNX_RUNTIME, ScatterToMaximaPass(), StepForHardSwishPass(), SelectByMasksPass(), ScaleBeforeMasksPass()),
    *(CompareWithWholeNumbersPass(), ScaleWeightsPass(), LeaveUnexpandedPass()),
    *(KeepStatisticsPass(), ReadNormalisedPass(), AddProductsPass(), WriteOutConstantHardSwishPass()),
)
OPENVINO = ir.passes.Sequential(
    WalkBackwardsPass(), KeepRowsApartPass(), InterleaveBySelectionPass(), ClipForHardSigmoidPass()
)
