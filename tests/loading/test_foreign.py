"""Operators outside the standard: one table, read while loading, of which differentiation knows nothing."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

import onnx_ig
import onnx_ig.autodiff.rules
import onnx_ig.loading.foreign
from onnx_ig.autodiff.registry import registered
from onnx_ig.errors import NotDifferentiableError
from onnx_ig.inspection import inspect
from onnx_ig.loading.foreign.table import MICROSOFT, ML, foreign, rewritten

ROOT = Path(__file__).resolve().parents[2]
HEAD = f'<ir_version: 8, opset_import: ["" : 18, "{MICROSOFT}" : 1, "{ML}" : 3]>'
# Its one rewriting refuses every node of it, whatever its attributes.
REFUSED = onnx.parser.parse_model(
    f"{HEAD} f (float[N, 3] x) => (float[N, 3] y) {{ h = Sin (x)  s = {MICROSOFT}.ScaledSiLU (h)  y = Cos (s) }}"
)
REASON = r"com\.microsoft::ScaledSiLU .*not documented"
# How many axes come out of the Reshape only a run tells.
OF_UNKNOWN_RANK = onnx.parser.parse_model(
    f"""{HEAD} f (float[N, 6] x, int64[R] shape) => (float y) {{ h = Reshape (x, shape)
        s = {MICROSOFT}.FusedMatMul <transB = 1> (h, h)  y = ReduceSum (s) }}"""
)


@pytest.mark.parametrize(("op_type", "domain"), [("Gelu", MICROSOFT), ("Inverse", MICROSOFT), ("Binarizer", ML)])
def test_a_second_entry_is_an_error(op_type: str, domain: str) -> None:
    with pytest.raises(ValueError, match=f"{domain}::{op_type} already has"):
        foreign(op_type, domain=domain)(lambda op, node: [])


def test_no_operator_is_in_both_tables() -> None:
    assert not rewritten() & registered().keys()


def test_differentiation_names_no_other_domain() -> None:
    files = sorted((ROOT / "onnx_ig" / "autodiff").rglob("*.py"))
    assert len(files) > 40
    assert [str(path) for path in files if re.search(r"com\.microsoft|ai\.onnx\.ml|MICROSOFT", path.read_text())] == []


def test_the_reason_of_a_refusal_reaches_every_door() -> None:
    with pytest.raises(NotDifferentiableError, match=REASON):
        onnx_ig.differentiate(REFUSED)
    with pytest.raises(NotDifferentiableError, match=REASON):
        onnx_ig.InputXGradient(REFUSED).attribute(np.ones((2, 3), np.float32), target=0)
    (gradient,) = inspect(onnx_ig.load(REFUSED)).gradients
    assert gradient.status == "blocked" and "not documented" in str(gradient.obstacles)


def test_the_reason_is_found_again_in_a_pickled_model() -> None:
    model = pickle.loads(pickle.dumps(onnx_ig.load(REFUSED)))
    with pytest.raises(NotDifferentiableError, match=REASON):
        onnx_ig.differentiate(model)


def test_what_was_refused_for_its_rank_is_rewritten_once_a_run_has_told_it() -> None:
    with pytest.raises(NotDifferentiableError, match="FusedMatMul"):
        onnx_ig.differentiate(OF_UNKNOWN_RANK)
    feeds = {"x": np.ones((2, 6), np.float32), "shape": np.array([2, 2, 3])}
    model = onnx_ig.load(OF_UNKNOWN_RANK, example_inputs=feeds)
    assert {node.domain for node in model.ir_model.graph} == {""}
    assert [y.name for y in onnx_ig.differentiate(model).graph.output] == ["y", "grad_x"]
