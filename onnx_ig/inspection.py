"""What can be attributed in a model and what stands in the way, as data; nothing is run.

The one idea: the reverse walk is made node by node, so that one refusal does not hide the next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

import onnx_ig.autodiff.rules  # noqa: F401  (fills the table of rules)
from onnx_ig.attribution import contract as names
from onnx_ig.attribution.contract import Contract
from onnx_ig.attribution.layout import Layout, layout_of
from onnx_ig.attribution.plan import make_plan
from onnx_ig.attribution.probability import Probability, probability
from onnx_ig.attribution.training import training_nodes
from onnx_ig.autodiff.entrances import computed, entrances, look_up
from onnx_ig.autodiff.lowering import lower_path
from onnx_ig.autodiff.reverse import dependents, pull_back
from onnx_ig.autodiff.straight_through import straight_through_operators
from onnx_ig.errors import InputError, ModelError, NotDifferentiableError, OnnxIgError
from onnx_ig.graph.builder import OpBuilder
from onnx_ig.graph.reading import is_float, read_by
from onnx_ig.loading.model import Model, Source, load, tensors_of

LAYERS_SHOWN = 40
_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN"})
_SUMS = frozenset({"Add", "Sum"})


@dataclass(frozen=True)
class Tensor:
    """A tensor as the model declares it; ``shape`` holds sizes, symbols and None, or is None where no rank is known."""

    name: str
    dtype: str
    shape: list[int | str | None] | None
    doc: str = ""

    @property
    def array_type(self) -> np.dtype[Any]:
        """The type of the arrays it takes: Python objects for text."""
        return np.dtype(object if self.dtype == "string" else self.dtype)


@dataclass(frozen=True)
class Obstacle:
    """A node that cannot be differentiated, and what to do about it."""

    op_type: str
    node: str
    reason: str
    advice: str


@dataclass(frozen=True)
class Gradient:
    """Whether ``output`` can be differentiated with respect to ``wrt``.

    ``status``: ``yes``; ``zero`` (no dependence, or only through operators whose derivative is zero); ``blocked``.
    ``straight_through``: how many nodes of which operators lend their derivative from the float equivalent.
    """

    wrt: str
    output: str
    status: str
    obstacles: list[Obstacle] = field(default_factory=list)
    straight_through: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Layer:
    """A tensor inside the model that one can attribute at, and the operator that makes it."""

    tensor: Tensor
    op_type: str
    node: str


@dataclass(frozen=True)
class Inspection:
    """All that is known of a model before it runs.

    Attributes:
        layout: ``batched``, ``fixed`` or ``none``; None where the shapes do not tell (``layout_note`` says why).
        gradients: one entry per (float input or first float tensor behind other inputs, float output); empty for
            attribution models.
        embeddings: outputs of look-ups by the inputs' values, on a path: where token models are attributed (``at``).
        in_training_mode: nodes that make the model's output random, or an example's depend on others: it is refused.
        layers: the first float tensors behind integers and text (casts, one-hot columns, word counts), then at most
            :data:`LAYERS_SHOWN` outputs of layers, spread evenly over all, ``layers_in_all`` in sum.
        probabilities: the outputs that end in a softmax or sigmoid, with the tensors in front of it.
        contract: of an attribution model, else None.
        note: how a PyTorch source was exported.
    """

    model: str
    sha256: str
    opset: int
    nodes: int
    operators: dict[str, int]
    inputs: list[Tensor]
    outputs: list[Tensor]
    layout: str | None
    layout_note: str
    gradients: list[Gradient]
    embeddings: list[Layer]
    layers: list[Layer]
    layers_in_all: int
    in_training_mode: list[Obstacle] = field(default_factory=list)
    probabilities: list[Probability] = field(default_factory=list)
    contract: dict[str, Any] | None = None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain JSON types."""
        return asdict(self)


def inspect(source: Source) -> Inspection:
    """Report on ``source``: anything :func:`onnx_ig.load` takes.

    Raises:
        UsageError, ModelError: the model cannot be read.
    """
    model = load(source)
    graph = model.ir_model.graph
    contract = contract_of(model)
    entered = [] if contract else entrances(graph)
    layout, layout_note = (contract.layout, "") if contract else _layout(model)
    gradients, on_path = ([], set()) if contract else _gradients(model, [str(value.name) for value in entered])
    entered = [value for value in entered if value.name in on_path]  # optimisers leave some for their shape alone
    embeddings = [_layer(value) for value in entered if look_up(value) is not None]
    others = [_layer(value) for value in entered if look_up(value) is None]
    layers = [] if contract else _layers(graph, on_path - {str(value.name) for value in entered})
    operators = Counter(node.op_type for node in graph)
    return Inspection(
        model=model.name,
        sha256=model.source_sha256,
        opset=model.original_opset,
        nodes=len(graph),
        operators=dict(sorted(operators.items(), key=lambda item: (-item[1], item[0]))),
        inputs=[_described(x, x.name in model.defaults) for x in model.inputs],
        outputs=[_described(y) for y in model.outputs],
        layout=layout,
        layout_note=layout_note,
        gradients=gradients,
        embeddings=embeddings,
        layers=[*others, *_spread(layers, LAYERS_SHOWN)],
        layers_in_all=len(others) + len(layers),
        in_training_mode=[_obstacle(one, one.node_name) for one in training_nodes(graph, model)],
        probabilities=[] if contract else list(filter(None, (probability(model, str(y.name)) for y in model.outputs))),
        contract=None if contract is None else asdict(contract),
        note=model.note,
    )


def contract_of(model: Model) -> Contract | None:
    """The contract in the metadata of an attribution model; None for any other model.

    Raises:
        ModelError: a contract that this version does not read.
    """
    text = model.ir_model.metadata_props.get(names.KEY)
    if text is None:
        return None
    try:
        return Contract.from_json(text)
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(
            f"the model's {names.KEY} metadata cannot be read ({error}): export it again with this version"
        ) from error


def _described(value: ir.Value, optional: bool = False) -> Tensor:
    dtype = "unknown type"
    if value.dtype is not None:
        dtype = "string" if value.dtype == ir.DataType.STRING else np.dtype(value.dtype.numpy()).name
    shape = None if value.shape is None else [d if isinstance(d, int) else d.value for d in value.shape]
    doc = "; ".join(text for text in (value.doc_string, "has a default value" if optional else "") if text)
    return Tensor(str(value.name), dtype, shape, doc)


def _layout(model: Model) -> tuple[str | None, str]:
    """Of all float inputs together; where that has no axis of examples, of those alone that have one."""
    sources = [x for x in model.required_inputs if is_float(x)] or model.inputs
    output = next((y for y in model.outputs if is_float(y)), None)
    if output is None:
        return None, "the model has no float output"
    try:
        layout = _layout_of(model, sources, output)
        alone = [] if layout.kind != "none" or len(sources) == 1 else [_layout_of(model, [x], output) for x in sources]
    except InputError as error:
        return None, str(error)
    usable = {str(x.name): found for x, found in zip(sources, alone, strict=False) if found.kind != "none"}
    if not usable:
        return layout.kind, _note(layout)
    kinds = {found.kind for found in usable.values()}
    note = "; ".join(f"where {name} alone is attributed: {_note(found)}" for name, found in usable.items())
    return kinds.pop() if len(kinds) == 1 else None, note


def _layout_of(model: Model, attributed: Sequence[ir.Value], output: ir.Value) -> Layout:
    """As it is planned, or as the shapes tell where that is refused."""
    try:
        return make_plan(model, inputs=[str(x.name) for x in attributed], output=str(output.name)).layout
    except OnnxIgError:
        return layout_of(list(attributed), output)


def _note(layout: Layout) -> str:
    if layout.apart:
        return "any number of examples on axis 0; the data decide what is run, so one at one path point per evaluation"
    if layout.whole:
        return "any number of examples on axis 0, and elsewhere in another input; one path point per evaluation"
    return {
        "batched": "any number of examples on axis 0; path points ride along",
        "fixed": f"{layout.n} example(s) on axis 0; path points ride along where a run shows that rows are apart",
        "none": "no axis of examples; one path point per evaluation",
    }[layout.kind]


# -- what can be differentiated ------------------------------


def _gradients(model: Model, embeddings: Sequence[str]) -> tuple[list[Gradient], set[str]]:
    """Every (source, output) pair, and the names of the tensors that lie on some path."""
    wrt = [str(x.name) for x in model.inputs if is_float(x)] + list(embeddings)
    if not wrt:
        return [], set()
    walk = _Walk(model, wrt)
    outputs = [str(y.name) for y in model.outputs if is_float(y)]
    found = [walk.gradient(source, output) for source in wrt for output in outputs]
    return found, walk.visited


class _Walk:
    """A reverse walk that notes refusals and goes on behind them."""

    def __init__(self, model: Model, wrt: Sequence[str]) -> None:
        graph = model.clone_ir().graph
        self._op = OpBuilder(graph)
        by_name = {value.name: value for value in tensors_of(graph)}
        lower_path(self._op, [by_name[name] for name in wrt])
        self._nodes = list(graph)
        self._values = {v.name: v for v in (*graph.inputs, *(y for node in self._nodes for y in node.outputs))}
        self._results: dict[tuple[Any, ...], tuple[set[ir.Value], Obstacle | None]] = {}
        self.visited: set[str] = set()

    def gradient(self, source: str, output: str) -> Gradient:
        """Walk from ``output`` back to ``source``."""
        start, end = self._values[source], self._values[output]
        reached = dependents(self._nodes, [start])
        arrived = {end} & reached
        obstacles: list[Obstacle] = []
        for node in reversed(self._nodes):
            seeded = tuple(y for y in node.outputs if y in arrived)
            on_path = tuple(x for x in dict.fromkeys(read_by(node)) if x in reached)
            if not seeded or not on_path or start in node.outputs:
                continue
            passed, obstacle = self._through(node, seeded, on_path)
            arrived |= passed
            if obstacle is not None:
                obstacles.append(obstacle)
        if start not in arrived:
            return Gradient(source, output, "zero")
        self.visited |= {str(value.name) for value in arrived}
        quantised = straight_through_operators(arrived)
        return Gradient(source, output, "blocked" if obstacles else "yes", obstacles[::-1], quantised)

    def _through(
        self, node: ir.Node, seeded: tuple[ir.Value, ...], on_path: tuple[ir.Value, ...]
    ) -> tuple[set[ir.Value], Obstacle | None]:
        """The inputs that a cotangent reaches through ``node``; all of them where it cannot be differentiated."""
        key = (node, seeded, on_path)
        if key not in self._results:
            try:
                sent = pull_back(self._op, [node], {y: self._seed(y) for y in seeded}, on_path)
                self._results[key] = set(sent), None
            except NotDifferentiableError as error:
                name = error.node_name or f"the node that makes {node.outputs[0].name!r}"
                self._results[key] = set(on_path), _obstacle(error, name)
        return self._results[key]

    def _seed(self, y: ir.Value) -> ir.Value:
        shape = None if y.shape is None else y.shape.copy()
        return ir.Value(name=self._op.fresh("seed"), type=y.type, shape=shape)


def _obstacle(error: NotDifferentiableError, node: str) -> Obstacle:
    return Obstacle(error.op_type, node, error.reason, error.advice)


# -- where one can attribute ------------------------------


def _layers(graph: ir.Graph, on_path: set[str]) -> list[Layer]:
    """Outputs of layers with weights (their bias included) and of residual sums, in order."""
    moving = computed(graph)
    found: dict[str, Layer] = {}
    for node in graph:
        fixed = [x is not None and x not in moving for x in node.inputs]
        weighted = node.op_type in _LAYERS and any(fixed)
        residual = node.op_type in _SUMS and not any(fixed)
        if not weighted and not residual:
            continue
        value = _with_bias(node.outputs[0], moving)
        if value.name in on_path and not value.is_graph_output() and value.shape is not None:
            found.setdefault(str(value.name), _layer(value, node))
    return list(found.values())


def _with_bias(value: ir.Value, moving: set[ir.Value]) -> ir.Value:
    consumers = list(value.consumers())
    if len(consumers) == 1 and consumers[0].op_type == "Add" and any(x not in moving for x in consumers[0].inputs):
        return consumers[0].outputs[0]
    return value


def _layer(value: ir.Value, made_by: ir.Node | None = None) -> Layer:
    node = made_by or value.producer()
    assert node is not None
    return Layer(_described(value), node.op_type, node.name or "")


def _spread(layers: list[Layer], most: int) -> list[Layer]:
    if len(layers) <= most:
        return layers
    return [layers[round(i * (len(layers) - 1) / (most - 1))] for i in range(most)]
