"""On random models the path laid behind an affine prefix, however cheap, gives what one laid at the inputs gives."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from numpy.testing import assert_allclose

import onnx_ig
from onnx_ig.attribution import affine, build, make_plan
from onnx_ig.errors import OnnxIgError
from onnx_ig.loading.model import Model
from onnx_ig.quadrature import path_nodes_and_weights
from onnx_ig.runtime.session import Session
from tests.judging.graphs.batches import batches
from tests.judging.judge import Case
from tests.judging.random_graphs import graphs, reproduction

Arrays = dict[str, np.ndarray]
PATH = path_nodes_and_weights("gausslegendre", 3)
SETTINGS = settings(
    max_examples=40, derandomize=True, deadline=None, database=None, phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


class Every:
    """A set of all operators."""

    def __contains__(self, op_type: str) -> bool:
        return True


@pytest.fixture(autouse=True)
def every_prefix_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(affine, "_COSTLY", Every())
    monkeypatch.setattr(affine, "_LARGEST_GROWTH", 1e9)
    yield


def attribution(model: Model, affine_prefix: bool, **options: object) -> Session:
    path = None if options.get("form") == "step" else PATH
    plan = make_plan(model, baselines=0.05, path=path, affine_prefix=affine_prefix, **options)
    return Session(build(model, plan), "cpu", threads=1)


def assert_alike(found: Arrays, expected: Arrays) -> None:
    for name, value in expected.items():
        if name.startswith("attribution_"):
            assert_allclose(found[name], value, rtol=0, atol=1e-3 * max(np.abs(value).max(initial=0), 1e-2))


@SETTINGS
@given(batches())
def test_examples_and_path_points_ride_together(proto: onnx.ModelProto) -> None:
    model, rng = onnx_ig.load(proto), np.random.default_rng(0)
    shapes = {str(x.name): [3, *(d for d in x.shape or () if isinstance(d, int))] for x in model.inputs}
    feeds = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    options = {"inputs": ["x"], "target": (1,)}
    plain = attribution(model, False, **options)
    expected = plain.run(feeds)
    assert_alike(attribution(model, True, **options).run(feeds), expected)
    step = attribution(model, True, form="step", **options)  # at a baseline of one row
    nodes, weights = (values.astype(np.float32) for values in PATH)
    assert_alike(step.run({**feeds, "path_nodes": nodes, "path_weights": weights}), expected)
    rows = [plain.run({n: v[i : i + 1] for n, v in feeds.items()})["attribution_x"] for i in range(3)]
    assert_alike({"attribution_x": np.concatenate(rows)}, expected)


@pytest.mark.filterwarnings("ignore::onnx_ig.errors.OnnxIgWarning")  # not every input is read
@SETTINGS
@given(graphs("static"))
def test_any_graph_of_one_example(case: Case) -> None:
    model = onnx_ig.load(case.model)
    y, feeds = model.outputs[0], case.inputs
    try:
        shape = np.shape(Session(case.model, "cpu", threads=1).run(feeds, [str(y.name)])[str(y.name)])
    except OnnxIgError:  # no kernel for one of the operators
        assume(False)
    assume(0 not in shape)
    options = {
        "inputs": [name for name, value in feeds.items() if value.dtype.kind == "f"],
        "output": y.name,
        "target": tuple(0 if d < 2 else 1 for d in shape) if np.prod(shape) > 1 else None,
        "batch_axis": None,
    }
    try:
        expected = attribution(model, False, **options).run(feeds)
    except OnnxIgError:  # refused, which other tests judge
        assume(False)
    assume(all(np.isfinite(value).all() for value in expected.values()))
    try:
        assert_alike(attribution(model, True, **options).run(feeds), expected)
    except Exception as error:
        error.add_note(reproduction(case))
        raise
