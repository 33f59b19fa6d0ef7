"""Which nodes of a model a runtime has no kernel for, told from a table before anything is deployed.

The one idea: ONNX Runtime takes a kernel only for the operator versions that the kernel names, the version being the
opset at which the operator's definition last changed; so a newer opset can lose a kernel that an older one has, and the
table says which opsets have it.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import onnx
import onnx_ir as ir
import onnx_ir.passes.common as passes

from onnx_ig.errors import UsageError

TABLE = Path(__file__).with_name("kernels.tsv")
_NEWEST = 26  # ONNX Runtime reads no newer opset
_ONNX_RUNTIME = {
    "onnxruntime": "ort_cpu",
    "onnxruntime-cuda": "ort_cuda",
    "onnxruntime-webgpu": "ort_webgpu",
}  # what CUDA and WebGPU have no kernel for runs on the CPU, with copies in between
_AT_NO_OPSET = "no kernel at any opset"
_FLOATS = frozenset({"float16", "bfloat16", "float", "double"})
_CONSTANTS = ("const", "initializer", "initializers")  # how TensorRT's conditions on further inputs end
RUNTIMES = (*_ONNX_RUNTIME, "tensorrt", "openvino")


@dataclass(frozen=True)
class Finding:
    """Nodes of one operator that a runtime cannot run, or only under a condition.

    Attributes:
        verdict: ``no kernel``; ``condition``: only under one; ``unknown``: the table does not know the operator.
        detail: the same in words, with the opsets at which there is a kernel, or the condition.
        nodes: their names, or their first output's where they have none.
    """

    op_type: str
    verdict: str
    detail: str
    nodes: list[str]


def findings(model: ir.Model, runtime: str) -> list[Finding]:
    """What stands in the way of ``model`` in ``runtime``, in the order of its nodes; subgraphs and functions included.

    Raises:
        UsageError: a runtime that is not in :data:`RUNTIMES`.
    """
    if runtime not in RUNTIMES:
        raise UsageError(f"unknown runtime {runtime!r}: choose {', '.join(RUNTIMES)}")
    flat = passes.InlinePass()(model.clone()).model
    opsets = {domain or "ai.onnx": version for domain, version in flat.graph.opset_imports.items()}
    found: dict[tuple[str, str, str], list[str]] = {}
    for node in ir.traversal.RecursiveGraphIterator(flat.graph):
        name = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"
        judged = _judged(name, opsets.get(node.domain or "ai.onnx", 1), runtime) or _by_type(node, name, runtime)
        if judged is not None and not (judged[1].endswith(_CONSTANTS) and _has_constants(node)):
            found.setdefault((name, *judged), []).append(node.name or str(node.outputs[0].name))
    return [Finding(*key, nodes) for key, nodes in found.items()]


@cache
def table() -> dict[str, dict[str, str]]:
    """The rows by operator, ``domain::name`` outside the default domain; cells as the file's head explains them."""
    with TABLE.open(encoding="utf-8") as file:
        rows = csv.DictReader((line for line in file if not line.startswith("#")), delimiter="\t")
        return {row["op"]: row for row in rows}


@cache
def _judged(name: str, opset: int, runtime: str) -> tuple[str, str] | None:
    """Verdict and detail; None where there is a kernel without conditions."""
    if name == "Constant":  # an initialiser to every runtime
        return None
    cell, version = table().get(name, {}).get(_ONNX_RUNTIME.get(runtime, runtime), ""), _version(name, opset)
    if cell in ("", "not listed") or version is None:
        return "unknown", f"not in the table for {runtime}"
    if runtime == "tensorrt":
        condition = cell.partition("(")[2].strip(")")
        none = ("no kernel", _AT_NO_OPSET) if cell == "N" else None
        return ("condition", f"on condition: {condition}") if condition else none
    if runtime == "openvino":
        known = [int(v) for v in re.findall(r"\d+", cell)]
        if any(v <= version for v in known):
            return None
        return "no kernel", f"no kernel before opset {min(known)}" if known else _AT_NO_OPSET
    if opset > _NEWEST:
        return "no kernel", f"ONNX Runtime reads no opset above {_NEWEST}"
    if _taken(cell, version) or _by_its_body(name, opset, runtime):
        return None
    having = [o for o in range(1, _NEWEST + 1) if (v := _version(name, o)) is not None and _taken(cell, v)]
    there = f"no kernel at opset {opset}, but at {having[0]} to {having[-1]}" if having else _AT_NO_OPSET
    return "no kernel", there


def _has_constants(node: ir.Node) -> bool:
    """Whether all inputs but the first are known before the run."""
    return all(x is None or ir.convenience.get_const_tensor(x) is not None for x in node.inputs[1:])


def _by_type(node: ir.Node, name: str, runtime: str) -> tuple[str, str] | None:
    """The verdict on a CUDA kernel that does not take the node's float type; None where that is not known."""
    taken = table().get(name, {}).get("ort_cuda_float_types", "-")
    if runtime != "onnxruntime-cuda" or taken == "-":
        return None
    types = {v.dtype.name.lower() for v in (*node.inputs, *node.outputs) if v is not None and v.dtype is not None}
    missing = sorted(types & _FLOATS - set(taken.split(",")))
    return ("no kernel", f"no kernel for {', '.join(missing)}, but for {taken}") if missing else None


def _version(name: str, opset: int) -> int | None:
    """The opset at which the definition in force at ``opset`` was made; None before there is one."""
    domain, _, op_type = name.rpartition("::")
    if onnx.defs.has(op_type, opset, domain):
        return int(onnx.defs.get_schema(op_type, opset, domain).since_version)
    return 1 if domain else None  # ONNX Runtime's own operators have one version


def _taken(cell: str, version: int) -> bool:
    """Whether a kernel of the ranges in ``cell`` ("13+,6-12") serves the operator of ``version``.

    ONNX Runtime takes an open range only where it begins at that version: what changed later is not known to it.
    """
    return any(
        version == int(first) or (last != "" and int(first) <= version <= int(last))
        for first, last in re.findall(r"(\d+)(?:\+|-(\d+))?", cell)
    )


def _by_its_body(name: str, opset: int, runtime: str) -> bool:
    """Whether ONNX Runtime expands the operator, which has no kernel at all, by the standard's function body."""
    domain, _, op_type = name.rpartition("::")
    version = _version(name, opset)
    if version is None or not onnx.defs.has(op_type, opset, domain) or _taken(table()[name]["ort_cpu"], version):
        return False
    schema = onnx.defs.get_schema(op_type, opset, domain)
    known = schema.function_body.node if schema.has_function else []  # other bodies depend on attributes
    return (schema.has_function or schema.has_context_dependent_function) and all(
        _judged(node.op_type, opset, runtime) is None for node in known
    )
