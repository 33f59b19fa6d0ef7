"""The profile of the session that holds the path points, in the form and with the rows that an explanation gives it.

The one idea: an explanation is made as a user makes it; the feeds of one of its Runs are kept and run again, alone,
with the runtime's profiler on. Where the engine has two requests evaluated at once (OpenVINO), each on its share of the
cores, one runs here on all of them: operators that overlap have no times of their own.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import onnx_ir as ir
import onnxruntime

import onnx_ig
from onnx_ig.attribution import contract
from onnx_ig.common.types import Array, Provider
from onnx_ig.runtime.fixed_shapes import FixedShapesSession
from onnx_ig.runtime.openvino_session import OpenVinoSession
from onnx_ig.runtime.providers import AnySession
from tools.benchmarking.subjects import Subject
from tools.benchmarking.timing import explained
from tools.gradient_table import take_turns
from tools.profiling.flops import Shape, flops

STEPS = 48
_OPENVINO_LOOPS = ("Loop", "TensorIterator")
_KERNEL = "_kernel_time"  # how ONNX Runtime ends the names of the events that are nodes


@dataclass(frozen=True)
class Operator:
    """What a node computes.

    Attributes:
        inputs: their shapes; ONNX Runtime leaves out weights that it has rearranged for itself.
        flops: of a product, or of the products that a loop computes in all its trips.
        trips: of a loop; 0 for anything else.
    """

    name: str
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    flops: int
    trips: int = 0


Times = list[tuple[Operator, list[float]]]  # milliseconds in each run


@dataclass(frozen=True)
class Profile:
    """``points`` of the path per Run; its median milliseconds without the profiler; the nodes with theirs."""

    points: int
    milliseconds: float
    nodes: list[tuple[Operator, float]]


def profiled(model: Subject, file: Path, provider: Provider, runs: int, rows: int | None = None) -> Profile:
    """Of one example's explanation with 48 path points: ``rows`` at a time at most, or as many as the engine takes."""
    method = onnx_ig.IntegratedGradients(file, provider=provider)
    explained(model.inputs(1), model.target, 1, method)  # opens the engine
    engine = method._engine_used
    assert engine is not None
    session = engine.session
    with mock.patch.object(session, "run_each", wraps=session.run_each) as run_each:
        explained(model.inputs(1), model.target, STEPS, method, rows)
    feeds = run_each.call_args_list[0].args[0][0]
    points = next(len(value) for name, value in feeds.items() if name.endswith(contract.PATH_NODES))
    if isinstance(session, OpenVinoSession):
        session._compiled.clear()  # each of two requests has a share of the cores
    whole = take_turns({"run": lambda: session.run(feeds)}, runs + 1)["run"]  # the first may open the model again
    times = node_times(session, feeds, runs)
    return Profile(points, 1000 * whole, [(operator, statistics.median(values)) for operator, values in times])


def node_times(session: AnySession, feeds: Mapping[str, Array], runs: int) -> Times:
    """The milliseconds of each node of a session in ``runs``, after a first one."""
    if isinstance(session, OpenVinoSession):
        return _in_openvino(session, feeds, runs)
    assert isinstance(session, FixedShapesSession)
    return _in_onnx_runtime(session, feeds, runs)


# -- ONNX Runtime -----------------------------------------------------------------------------------------------------


def _in_onnx_runtime(session: FixedShapesSession, feeds: Mapping[str, Array], runs: int) -> Times:
    assert isinstance(session._model, ir.Model)
    session._often = 0
    session.run(feeds)  # has opened the model for fixed shapes now, if it ever does
    kernels = _kernels(session._model)
    make_options = onnxruntime.SessionOptions
    with tempfile.TemporaryDirectory() as folder:

        def options() -> Any:
            made = make_options()
            made.enable_profiling, made.profile_file_prefix = True, f"{folder}/profile"
            return made

        with mock.patch.object(onnxruntime, "SessionOptions", options):
            session.open(session.fixed or {})
        for _ in range(runs + 1):
            session.run(feeds)
        events = json.loads(Path(session._now_open().session.end_profiling()).read_text())
    start = [event["ts"] for event in events if event["name"] == "model_run"][-runs]
    return _by_node([e for e in events if e["name"].endswith(_KERNEL) and e["ts"] >= start], runs, kernels)


def _kernels(model: ir.Model) -> dict[str, Shape]:
    """Of the transposed convolutions, by their events' names: ONNX Runtime rearranges some, and keeps no shape."""
    found: dict[str, Shape] = {}
    for number, node in enumerate(ir.traversal.RecursiveGraphIterator(model.graph)):
        if node.op_type != "ConvTranspose" or node.inputs[1] is None:
            continue
        kernel = ir.convenience.get_const_tensor(node.inputs[1])
        if kernel is not None:
            node.name = node.name or f"ConvTranspose {number}"
            found[node.name + _KERNEL] = tuple(kernel.shape.numpy())
    return found


def _by_node(events: Sequence[Any], runs: int, kernels: Mapping[str, Shape]) -> Times:
    """The nodes of the main graph; what happened while one of them ran is its body's, and in its time already."""
    milliseconds: dict[str, list[float]] = defaultdict(list)
    first: dict[str, Any] = {}
    inside: dict[str, list[Any]] = defaultdict(list)
    node, end = "", 0
    for event in sorted(events, key=lambda event: (event["ts"], -event["dur"])):
        if event["ts"] < end:
            inside[node].append(event)
            continue
        node, end = f"{event['args']['node_index']} {event['name']}", event["ts"] + event["dur"]
        first.setdefault(node, event)
        milliseconds[node].append(event["dur"] / 1000)
    return [(_operator(first[node], inside[node], runs, kernels), values) for node, values in milliseconds.items()]


def _operator(event: Any, inside: Sequence[Any], runs: int, kernels: Mapping[str, Shape]) -> Operator:
    """An event's; ``inside`` are the events of its body in all ``runs``."""
    name = event["args"]["op_name"]
    inputs, outputs = (
        tuple(tuple(shape) for typed in event["args"][f"{side}_type_shape"] for shape in typed.values())
        for side in ("input", "output")
    )
    if inside:
        trips = Counter(each["name"] for each in inside)[inside[0]["name"]] // runs
        total = sum(_operator(each, [], runs, kernels).flops for each in inside) // runs
        return Operator(name, inputs, outputs, total, trips)
    if event["name"] in kernels:
        inputs = (inputs[0], kernels[event["name"]])
    return Operator(name, inputs, outputs, flops(name, inputs, outputs))


# -- OpenVINO ---------------------------------------------------------------------------------------------------------


def _in_openvino(session: OpenVinoSession, feeds: Mapping[str, Array], runs: int) -> Times:
    session._core.set_property("CPU", {"PERF_COUNT": "YES"})
    session._compiled.clear()
    session.run(feeds)
    ((request,),) = session._compiled.values()
    milliseconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(runs):
        session.run(feeds)
        for node in request.get_profiling_info():
            if node.status.name == "EXECUTED":
                milliseconds[node.node_name, node.node_type].append(1000 * node.real_time.total_seconds())
    ran = {node.friendly_name: node for node in request.get_compiled_model().get_runtime_model().get_ops()}
    model = session._model.clone()
    model.reshape({port: list(feeds[port.node.friendly_name].shape) for port in model.inputs})
    loops = {node.friendly_name: node for node in model.get_ops() if node.get_type_name() in _OPENVINO_LOOPS}
    found = []
    for (name, kind), values in milliseconds.items():
        inputs, outputs = _shapes(ran[name].inputs()), _shapes(ran[name].outputs())
        loop = loops.get(name)
        total = flops(kind, inputs, outputs) if loop is None else _flops_of_loop(loop)
        found.append((Operator(kind, inputs, outputs, total, 0 if loop is None else _trips(loop)), values))
    return found


def _flops_of_loop(loop: Any) -> int:
    """Of all trips, with the loops inside."""
    nodes = [(node, node.get_type_name()) for node in loop.get_function().get_ops()]
    return _trips(loop) * sum(
        _flops_of_loop(node)
        if kind in _OPENVINO_LOOPS
        else flops(kind, _shapes(node.inputs()), _shapes(node.outputs()))
        for node, kind in nodes
    )


def _trips(loop: Any) -> int:
    """0 where OpenVINO cannot tell before it runs."""
    return max(0, loop.get_num_iterations())


def _shapes(ports: Iterable[Any]) -> tuple[Shape, ...]:
    return tuple(tuple(port.get_shape()) for port in ports)
