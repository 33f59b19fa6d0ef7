"""Which nodes a runtime cannot run: the table is ONNX Runtime's own word, and ONNX Runtime does what it says."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest
from click.testing import CliRunner

import onnx_ig
from onnx_ig.checking.kernels import RUNTIMES, findings, table
from onnx_ig.cli.app import app
from onnx_ig.cli.commands.inspect import RUNTIMES as OFFERED
from onnx_ig.errors import UsageError
from tests.judging.node_tests import standard_cases
from tools.kernel_table import cpu_kernels

DIGITS = Path(__file__).parents[2] / "models" / "digits_cnn" / "digits_cnn.onnx"
# its function body depends on its attributes, so the table cannot tell that RandomUniformLike has no kernel at opset 22
UNFORESEEN = {"Bernoulli"}


def test_the_cpu_column_is_what_onnx_runtime_registers() -> None:
    registered = cpu_kernels()
    assert {name: row["ort_cpu"] for name, row in table().items()} == {n: registered.get(n, "-") for n in table()}


def test_onnx_runtime_opens_what_the_table_says_it_opens() -> None:
    onnxruntime.set_default_logger_severity(4)
    wrong, judged = [], set()
    for name, case in standard_cases().items():
        (node, *others), opset = case.model.graph.node, case.model.opset_import[0].version
        if others or node.domain or opset > 26 or (node.op_type, opset) in judged or node.op_type in UNFORESEEN:
            continue
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        model.ir_version = min(model.ir_version, 10)
        foreseen = not findings(ir.from_proto(model), "onnxruntime")
        try:
            onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        except Exception as error:
            if "NOT_IMPLEMENTED" in str(error) and foreseen:
                wrong.append(f"{name}: {error}")
            continue
        judged.add((node.op_type, opset))
        if not foreseen:
            wrong.append(f"{name}: opened")
    assert not wrong
    assert len(judged) > 150


# runtime, opset, model body, what is found: (operator, verdict, words of the detail)
CASES = {
    "newer than the kernel": ("onnxruntime-webgpu", 22, "y = Acos (x)", [("Acos", "no kernel", "at 7 to 21")]),
    "older": ("onnxruntime-webgpu", 18, "y = Acos (x)", []),
    "never": ("onnxruntime-cuda", 18, "y = Acos (x)", [("Acos", "no kernel", "at any opset")]),
    "by its function body": ("onnxruntime-webgpu", 18, "y = Mish (x)", []),
    "its body lacks one": ("onnxruntime-cuda", 18, "t = Acosh (x)  y = Mish (t)", [("Acosh", "no kernel", "any")]),
    "on a condition": (
        "tensorrt",
        18,
        "y, i = MaxPool <kernel_shape = [1]> (x)",
        [("MaxPool", "condition", "Indices")],
    ),
    "constant axes": ("tensorrt", 18, "a = Constant <value_ints = [1]> ()  y = Squeeze (x, a)", []),
    "computed axes": ("tensorrt", 18, "a = Shape (x)  y = Squeeze (x, a)", [("Squeeze", "condition", "axes const")]),
    "not in TensorRT": ("tensorrt", 18, "y = Det (x)", [("Det", "no kernel", "at any opset")]),
    "not in OpenVINO": ("openvino", 18, "y = Det (x)", [("Det", "no kernel", "at any opset")]),
    "of another domain": ("tensorrt", 18, "y = com.microsoft.Gelu (x)", [("com.microsoft::Gelu", "unknown", "table")]),
    "kernel of another domain": ("onnxruntime", 18, "y = com.microsoft.Gelu (x)", []),
    "too new to be read": ("onnxruntime", 27, "y = Sin (x)", [("Sin", "no kernel", "no opset above 26")]),
}


@pytest.mark.parametrize("name", CASES)
def test_findings(name: str) -> None:
    runtime, opset, body, wanted = CASES[name]
    head = f'<ir_version: 8, opset_import: ["" : {opset}, "com.microsoft" : 1]>'
    model = onnx.parser.parse_model(f"{head} f (float[N, 3, 3] x) => (float y) {{ {body} }}")
    found = findings(ir.from_proto(model), runtime)
    assert [(one.op_type, one.verdict) for one in found] == [want[:2] for want in wanted]
    assert all(want[2] in one.detail for one, want in zip(found, wanted, strict=True))


def test_a_float_type_without_a_kernel() -> None:
    x, depth = ir.val("x", ir.DataType.INT64, [2]), ir.val("d", ir.DataType.INT64, [1])
    values, y = ir.val("v", ir.DataType.DOUBLE, [2]), ir.val("y", ir.DataType.DOUBLE, [2, 3])
    graph = ir.Graph([x, depth, values], [y], nodes=[ir.node("OneHot", [x, depth, values], outputs=[y])])
    graph.opset_imports[""] = 18
    (found,) = findings(ir.Model(graph, ir_version=8), "onnxruntime-cuda")
    assert "no kernel for double" in found.detail


def test_unknown_runtime() -> None:
    with pytest.raises(UsageError, match="tensorrt"):
        findings(ir.from_proto(onnx.load(DIGITS)), "caffe")


def test_the_command_line_looks_into_loops(tmp_path: Path) -> None:
    assert OFFERED == RUNTIMES
    path = onnx_ig.export(DIGITS, tmp_path / "ig.onnx", target="predicted")
    printed = CliRunner().invoke(app, ["inspect", str(path), "--runtime", "onnxruntime-webgpu"], standalone_mode=False)
    assert "Loop 1 (grad_Loop): no kernel at any opset" in printed.output
    printed = CliRunner().invoke(app, ["inspect", str(path), "--runtime", "openvino", "--json"], standalone_mode=False)
    assert json.loads(printed.output)["runtime"] == {"name": "openvino", "findings": []}
