"""What one Run of a session, or one call of a method, asks of the pretended device."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx_ir as ir
import onnxruntime

import onnx_ig
from onnx_ig.engine.engine import Engine
from onnx_ig.runtime.fixed_shapes import OFTEN_ON_DEVICE
from onnx_ig.runtime.providers import open_session
from onnx_ig.runtime.session import PROVIDERS, Session
from tools.full_size import FullSize
from tools.gpu.dry_models import STEPS, feeds, loaded
from tools.gpu.pretended import counts
from tools.gpu.tables import Row

_CUDA, _OPTIONS = PROVIDERS["cuda"]
_CONTROL_FLOW = {"If", "Loop", "Scan"}  # ONNX Runtime opens no such model with CUDA graphs


def counted(built: ir.Model) -> Row:
    """One Run for one example, once the session has settled: placement, launches, copies, waits, plans, CUDA graph."""
    with tempfile.TemporaryDirectory() as folder, _profiled(Path(folder) / "run"):
        session, fed = open_session(built, "cuda"), feeds(built)
        for _ in range(OFTEN_ON_DEVICE + 2):
            session.run(fed)
        counts.clear()
        session.run(fed)
        found = counts.read()
        assert isinstance(session, Session)
        nodes = _nodes(session)
    operators = Counter(op for op, provider in nodes if provider != _CUDA)
    return {
        "nodes": len(nodes),
        "on the CPU": sum(operators.values()),
        "Memcpys": sum(op.startswith("Memcpy") for op, _ in nodes),
        "launches": found.launches,
        "waits": found.waits,
        "bytes copied": found.bytes_copied,
        "plans rebuilt": found.plans,
        "CUDA graph": captured(built),
    }


def off_the_device(built: ir.Model) -> dict[str, int]:
    """How many nodes of each operator do not run on the device, once the session has settled; and the copies."""
    with tempfile.TemporaryDirectory() as folder, _profiled(Path(folder) / "run"):
        session, fed = open_session(built, "cuda"), feeds(built)
        for _ in range(OFTEN_ON_DEVICE + 2):
            session.run(fed)
        assert isinstance(session, Session)
        return dict(Counter(op for op, provider in _nodes(session) if provider != _CUDA or op.startswith("Memcpy")))


def called(subject: FullSize, examples: int) -> Iterator[Row]:
    """A first and a second call of IntegratedGradients: Runs, launches, waits, bytes, plans."""
    x, *more = subject.inputs(examples)
    method = onnx_ig.IntegratedGradients(loaded(subject).ir_model, provider="cuda")
    with _unchecked():
        for call in ("first", "second"):
            counts.clear()
            method.attribute(x, target=0, n_steps=STEPS, additional_forward_args=tuple(more) or None)
            found = counts.read()
            yield {
                "call": call,
                "launches": found.launches,
                "waits": found.waits,
                "bytes copied": found.bytes_copied,
                "plans built": found.plans,
            }


@contextmanager
def _unchecked() -> Iterator[None]:
    """Engines take the examples to be independent, of which the pretended device's numbers tell nothing."""
    check = Engine._require_independent_examples
    Engine._require_independent_examples = lambda *_: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        Engine._require_independent_examples = check  # type: ignore[method-assign]


def captured(built: ir.Model) -> str:
    """Whether ONNX Runtime captures the model into a CUDA graph and replays it."""
    loops = sorted({node.op_type for node in ir.traversal.RecursiveGraphIterator(built.graph)} & _CONTROL_FLOW)
    if loops:
        return f"no: {', '.join(loops)}"
    fed, fixed = feeds(built), built.clone()
    for x in fixed.graph.inputs:
        x.shape = ir.Shape(fed[str(x.name)].shape)
    opened = Session(fixed, ((_CUDA, {**_OPTIONS, "enable_cuda_graph": "1"}),))._now_open().session
    binding = opened.io_binding()
    for name, value in fed.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(value, "cuda", 0))
    for y in opened.get_outputs():
        binding.bind_output(y.name, "cuda", 0)
    for _ in range(3):
        opened.run_with_iobinding(binding)
    counts.clear()
    opened.run_with_iobinding(binding)
    found = counts.read()
    return "yes" if found.launches == 0 and counts.of(found, "cudaGraphLaunch") == 1 else "no"


def _nodes(session: Session) -> list[tuple[str, str]]:
    """Operator and provider of every node that ran, from the profile of the session that is open."""
    events = json.loads(Path(session._now_open().session.end_profiling()).read_text())
    ran = [e for e in events if e.get("cat") == "Node" and e["name"].endswith("_kernel_time")]
    nodes = {(e["name"], e["args"]["node_index"]): e["args"] for e in ran}  # of a loop's body many times
    if not nodes:
        raise RuntimeError("the profile holds no node")
    return [(str(node["op_name"]), str(node["provider"])) for node in nodes.values()]


@contextmanager
def _profiled(prefix: Path) -> Iterator[None]:
    """Sessions opened meanwhile profile their Runs."""
    plain = onnxruntime.SessionOptions

    def options() -> Any:
        made = plain()
        made.enable_profiling, made.profile_file_prefix = True, str(prefix)
        return made

    onnxruntime.SessionOptions = options
    try:
        yield
    finally:
        onnxruntime.SessionOptions = plain
