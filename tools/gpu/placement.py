"""Which nodes of the attribution model run where, as ONNX Runtime's own profile of one Run tells."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime

import onnx_ig
from onnx_ig.checking.kernels import findings
from tools.gpu.contenders import Setting
from tools.gpu.subjects import Subject
from tools.gpu.tables import FAILED, Row

_SMALL = 1024  # bytes: shapes and indices, which ONNX Runtime computes on the CPU on purpose
_COPIES = ("MemcpyFromHost", "MemcpyToHost")
_INTEGERS = frozenset({"int64", "int32", "bool"})


def step_model(subject: Subject, precision: str) -> Path:
    """The attribution model in the step form, as users deploy it."""
    path = subject.file(precision).with_suffix(".step.onnx")
    return path if path.exists() else onnx_ig.export(subject.file(precision), path, form="step")


def opened(
    path: Path, setting: Setting, *, profiled: bool = False, **provider_options: str
) -> onnxruntime.InferenceSession:
    """The model opened on the device for the sizes of ``setting``, or an error: without a way back to the CPU.

    With the sizes open, arithmetic on shapes is left to the CPU, and a GPU waits for it.
    """
    options = onnxruntime.SessionOptions()
    options.add_free_dimension_override_by_name("batch", setting.examples)
    options.add_free_dimension_override_by_name("path_points", setting.steps)
    options.log_severity_level = 3
    options.enable_profiling = profiled
    options.profile_file_prefix = str(path.with_suffix(""))
    providers = setting.device.providers(setting.precision, **provider_options)
    return onnxruntime.InferenceSession(path, options, providers=providers, enable_fallback=0)


def step_feeds(session: onnxruntime.InferenceSession, subject: Subject, setting: Setting) -> dict[str, np.ndarray]:
    """Values for its inputs: ``setting.steps`` path points of equal weight."""
    n, tensors = setting.steps, subject.inputs(setting.examples, setting.precision)
    given = {
        "target": np.zeros(setting.examples, np.int64),
        "path_nodes": np.linspace(0, 1, n, dtype=np.float32),
        "path_weights": np.full(n, 1 / n, np.float32),
    }
    names = [x.name for x in session.get_inputs() if x.name not in given]
    return {**dict(zip(names, (t.numpy() for t in tensors), strict=True)), **given}


def placement(subject: Subject, setting: Setting) -> Row:
    """How many nodes run on which provider; those that should run on the device and do not, with the reason."""
    path = step_model(subject, setting.precision)
    session = opened(path, setting, profiled=True)
    session.run(None, step_feeds(session, subject, setting))
    events = json.loads(Path(session.end_profiling()).read_text())
    # a node in a loop's body has several events, of one name and index
    nodes = {(e["name"], e["args"]["node_index"]): e["args"] for e in events if e.get("cat") == "Node"}
    if not nodes:
        raise RuntimeError("the profile holds no node")
    device = session.get_providers()[0]
    away = [node for node in nodes.values() if node["provider"] != device]
    wrong = Counter(str(node["op_name"]) for node in away if not _is_small(node))
    reasons = {f.op_type: f.detail for f in findings(ir.load(path), "onnxruntime-cuda")}
    return {
        "nodes": len(nodes),
        "on the device": len(nodes) - len(away),
        "copies between host and device": sum(node["op_name"] in _COPIES for node in nodes.values()),
        "small ones on the CPU": _listed(Counter(str(node["op_name"]) for node in away if _is_small(node))),
        "others on the CPU": FAILED + _listed(wrong, reasons) if wrong else "none",
    }


def _is_small(node: dict[str, Any]) -> bool:
    types = {name for output in node["output_type_shape"] for name in output}
    return types <= _INTEGERS and int(node["output_size"]) <= _SMALL


def _listed(operators: Counter[str], reasons: dict[str, str] | None = None) -> str:
    said = {} if reasons is None else {op: f" ({reasons.get(op, 'it has a kernel: by choice')})" for op in operators}
    return ", ".join(f"{count} {op}{said.get(op, '')}" for op, count in operators.most_common()) or "none"
