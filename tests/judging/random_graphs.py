"""Judge the gradients of random graphs: chains and DAGs of 3–30 operators, random shapes, declared and undeclared.

Hypothesis draws a graph over the tables of graphs/, judge.py compares its gradient with central
differences in float64 and with ONNX Runtime in float32. What the judge calls wrong is looked at again, so that rounding
and corners are told from mistakes by measurement: see :func:`excuse`.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from hypothesis import strategies as st

from onnx_ig.checking.exact.forward import Forward
from onnx_ig.checking.exact.widening import as_float64
from onnx_ig.errors import OnnxIgError
from onnx_ig.runtime.session import Session
from tests.judging.graphs.draft import FLOAT, Draft, Tensor
from tests.judging.graphs.excuse import excuse, wide_feeds
from tests.judging.graphs.indexing import INDEXING
from tests.judging.graphs.pointwise import POINTWISE
from tests.judging.graphs.structural import STRUCTURAL
from tests.judging.judge import Case, judge

SHAPES = ("static", "batch", "symbolic", "none")  # what a model declares of its inputs' shapes
OPSETS = (17, 18, 20, 21, 23)
LARGEST_VALUE = 300.0  # beyond, differences in float64 lose the digits that the comparison needs
BLOCK = 100  # graphs per Hypothesis run
SHRINKING = 40.0  # seconds given to making a failure small
TABLE: dict[str, Callable[[Draft], object]] = {**POINTWISE, **STRUCTURAL, **INDEXING}


@st.composite
def graphs(draw: Callable[..., Any], shapes: str = "static") -> Case:
    """A model of 3–30 operators over the table, with inputs; ``shapes`` is what it declares (see SHAPES)."""
    n_nodes = draw(st.integers(3, 30))
    opset, chain = draw(st.sampled_from(OPSETS)), draw(st.booleans())
    g = Draft(draw, opset, draw(st.integers(0, 2**20)), chain, n_nodes)
    for _ in range(1 if chain else g.integer(1, 3)):
        g.feed(*(g.integer(1, 5) for _ in range(g.integer(1, 4))))
    names = g.rng.permutation(list(TABLE))  # Hypothesis favours some places: another operator stands there each time
    refused = 0
    while sum(node.op_type != "Constant" for node in g.nodes) < n_nodes and refused < 20:
        refused += not g.attempt(TABLE[names[g.integer(0, len(names) - 1)]])
    assume(sum(node.op_type != "Constant" for node in g.nodes) >= 3)
    read = {name for node in g.nodes for name in node.input}
    ends = [t for t in g.tensors if t.name not in read and t.name not in g.inputs]
    inner = [t for t in g.tensors if t.name in read and t.name not in g.inputs]
    if inner and g.integer(0, 3) == 0:
        ends.append(g.choice(inner))
    assume(ends)
    return Case("random graph", _model(g, ends, shapes), g.inputs, noise=0.0)


def _model(g: Draft, ends: list[Tensor], shapes: str) -> onnx.ModelProto:
    """The draft as a model; in ``batch`` mode every axis 0 of the first input's size is the symbol N."""
    make = onnx.helper.make_tensor_value_info
    batch = next(iter(g.inputs.values())).shape[0]

    def declared(name: str, shape: tuple[int, ...], mode: str) -> list[str | int] | None:
        if mode == "none":
            return None
        if mode == "symbolic":
            return [f"{name}_{axis}" for axis in range(len(shape))]
        return ["N" if mode == "batch" and a == 0 and d == batch else d for a, d in enumerate(shape)]

    infos = [
        make(n, onnx.helper.np_dtype_to_tensor_dtype(x.dtype), declared(n, x.shape, shapes))
        for n, x in g.inputs.items()
    ]
    mode = "symbolic" if shapes == "batch" else shapes  # which outputs have the batch nobody has worked out
    outputs = [make(t.name, FLOAT, declared(t.name, t.shape, mode)) for t in ends]
    graph = onnx.helper.make_graph(g.nodes, "random", infos, outputs, g.initializers)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", g.opset)], ir_version=10)


@dataclass
class Judgement:
    """``outcome``: right, wrong, refused, or discarded; ``reason`` says why for all but right."""

    outcome: str
    reason: str = ""


def judge_graph(case: Case) -> Judgement:
    """The judge's verdict on a random graph, with what cannot be judged at this point sorted out."""
    values = _values(case)
    if values is None:
        return Judgement("discarded", "the forward model does not run in float64")
    if not max(np.max(np.abs(v), initial=0) for v in values.values()) <= LARGEST_VALUE:
        return Judgement("discarded", f"values beyond {LARGEST_VALUE:g}")
    if not _agree(case, values):
        return Judgement("discarded", "ONNX Runtime and onnx's evaluator differ on the forward model")
    try:
        verdict = judge(case)
    except Exception as error:
        return Judgement("wrong", f"it breaks: {type(error).__name__}: {str(error)[:200]}")
    if verdict.outcome in ("right", "zero"):
        return Judgement("right", verdict.detail)
    if verdict.outcome == "refused":
        return Judgement("refused", verdict.detail)
    if verdict.outcome == "unjudged":
        return Judgement("discarded", verdict.detail)
    reason = excuse(case)
    return Judgement("discarded", reason) if reason else Judgement("wrong", verdict.detail)


def _values(case: Case) -> dict[str, np.ndarray] | None:
    """The float tensors inside the graph in float64; None when it does not run."""
    model = as_float64(case.model)
    known = {o.name for o in model.graph.output}
    inferred = onnx.shape_inference.infer_shapes(model).graph
    for info in inferred.value_info:
        if info.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE and info.name not in known:
            model.graph.output.append(info)
    forward, feeds = Forward(model), wide_feeds(case.inputs)
    try:
        return forward(feeds)
    except Exception:  # whatever onnx's evaluator does not know: counted as discarded
        return None


def _agree(case: Case, values: dict[str, np.ndarray]) -> bool:
    """Whether ONNX Runtime in float32 gives the same outputs to three digits: else one of the two is wrong."""
    try:
        outputs = Session(case.model, "cpu", threads=1).run(case.inputs)
    except OnnxIgError:
        return True  # the judge says what to make of it
    pairs = [(y, values[name]) for name, y in outputs.items()]
    return all(y.shape == other.shape and np.allclose(y, other, rtol=1e-3, atol=1e-3) for y, other in pairs)


@dataclass
class Tally:
    """Counts over a run: outcomes, reasons, how often each operator was in a right graph, and the shrunk failures."""

    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    operators: Counter[str] = field(default_factory=Counter)
    sizes: Counter[int] = field(default_factory=Counter)
    seen: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)

    def add(self, case: Case) -> Judgement:
        """Judge and count; a graph seen before is not counted again."""
        key = hashlib.sha256(case.model.SerializeToString()).hexdigest()
        judgement = judge_graph(case)
        if key not in self.seen:
            self.seen.add(key)
            self.outcomes[judgement.outcome] += 1
            if judgement.outcome == "right":
                kinds = [n.op_type for n in case.model.graph.node if n.op_type != "Constant"]
                self.operators.update(set(kinds))
                self.sizes[len(kinds)] += 1
            else:
                named = re.sub(r"'[^']*'", "…", judgement.reason)  # one line for a reason, whatever the node
                self.reasons[f"{judgement.outcome}: {named}"] += 1
        return judgement

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.outcomes + other.outcomes, self.reasons + other.reasons, self.operators + other.operators,
            self.sizes + other.sizes, self.seen | other.seen, self.failures + other.failures,
        )  # fmt: skip


def run_block(number: int, size: int = BLOCK) -> Tally:
    """``size`` graphs of one kind of declaration; the first wrong one is shrunk for a while and ends the block."""
    tally, shapes = Tally(), SHAPES[number % len(SHAPES)]
    found, smallest = 0.0, ""

    @seed(number)
    @settings(
        max_examples=size, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )  # fmt: skip
    @given(graphs(shapes))
    def check(case: Case) -> None:
        nonlocal found, smallest
        assume(not found or time.monotonic() < found + SHRINKING)
        judgement = judge_graph(case) if found else tally.add(case)
        assume(judgement.outcome != "discarded")
        if judgement.outcome == "wrong":
            found, smallest = found or time.monotonic(), f"{judgement.reason}\n{reproduction(case)}"
        assert judgement.outcome != "wrong"

    try:
        check()
    except Exception:  # the assertion, or Hypothesis' complaint that it no longer fails when the time is up
        if not found:
            raise
        tally.failures.append(f"block {number} ({shapes} shapes): {smallest}")
    return tally


def reproduction(case: Case) -> str:
    """The model in onnx's text form, and its inputs."""
    with np.printoptions(threshold=10_000, floatmode="unique"):
        feeds = "\n".join(f"# {n} = {x!r}" for n, x in case.inputs.items())
    return f"{onnx.printer.to_text(case.model)}\n{feeds}"
