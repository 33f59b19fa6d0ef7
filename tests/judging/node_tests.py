"""The ONNX standard's own node tests as cases to judge."""

from __future__ import annotations

import contextlib
import io
import warnings
from functools import cache

import numpy as np
import onnx
from onnx.backend.test.case.node import collect_testcases

from tests.judging.judge import Case

# Float inputs that say where Resize and RoiAlign sample: constants like axes, until they are left at run time.
_PARAMETERS = frozenset({"roi", "rois", "scales"})


@cache
def standard_cases() -> dict[str, Case]:
    """Every node test of the installed onnx with its first data set, by name; integer and boolean inputs are constants.

    The expanded twins (``..._expanded``) are left out: they hold the function body of the test beside them.
    """
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        tests = collect_testcases(None)
    cases = {}
    for test in tests:
        if "_expanded" in test.name or not test.data_sets or test.name in cases:
            continue
        values = test.data_sets[0][0]
        arrays = {}
        for info, value in zip(test.model.graph.input, values, strict=False):
            array = onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
            arrays[info.name] = np.asarray(array) if isinstance(array, np.generic) else array
        constants = tuple(
            n for n, x in arrays.items() if isinstance(x, np.ndarray) and (x.dtype.kind in "iub" or n in _PARAMETERS)
        )
        constants += tuple(n for n in _counting_inputs(test.model) if n not in constants)
        cases[test.name] = Case(test.name, test.model, arrays, constants, 0.0 if "_range_" in test.name else 1e-3)
    return cases


def _counting_inputs(model: onnx.ModelProto) -> list[str]:
    """Float inputs that count or name positions: moved by a hair off an integer, they mean another one."""
    return [name for node in model.graph.node if node.op_type == "OneHot" for name in node.input[:2]]


def operators_of(case: Case) -> set[tuple[str, str]]:
    """(domain, operator) of each node in the case's graph."""
    return {(node.domain, node.op_type) for node in case.model.graph.node}
