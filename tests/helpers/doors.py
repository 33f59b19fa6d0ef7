"""Every way to a model's attributions, beside central differences of the model itself in float64.

The one idea: a case says a model and its inputs once; each door is given the same, and each example's attribution is
that of the example alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

import onnx_ig
from onnx_ig.checking.exact.widening import as_float64

Arrays = dict[str, np.ndarray]
STEPS = 3
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(STEPS)
NODES, WEIGHTS = (_NODES + 1) / 2, _WEIGHTS / 2
_DIFFERENCE = 1e-6


@dataclass(frozen=True)
class Case:
    """A model with one output, and data.

    Attributes:
        inputs: the attributed inputs, examples on axis 0; ``rows``: further inputs with one row per example;
            ``shared``: others.
        target: of every example, None where the output is one number per example.
    """

    model: onnx.ModelProto
    inputs: Arrays
    rows: Arrays = field(default_factory=dict)
    shared: Arrays = field(default_factory=dict)
    target: int | None = 1

    def first(self, n: int) -> Case:
        """The case of its first ``n`` examples."""
        inputs, rows = ({k: v[:n] for k, v in values.items()} for values in (self.inputs, self.rows))
        return Case(self.model, inputs, rows, self.shared, self.target)

    @property
    def feeds(self) -> Arrays:
        """Values for every input of the model."""
        return {**self.inputs, **self.rows, **self.shared}


Baselines = Mapping[str, Any]  # per input a number, or an array of one row or of all
Opened = Callable[[Case, Baselines], Arrays]  # of any number of examples


def expected(case: Case, baselines: Baselines, *, integrated: bool = True) -> Arrays:
    """(x − x') · Σ_k w_k ∇F(x' + a_k (x − x')), or x · ∇F(x), each example alone."""
    session = onnxruntime.InferenceSession(as_float64(case.model).SerializeToString())
    wide = {k: v.astype(np.float64) if v.dtype == np.float32 else v for k, v in case.feeds.items()}

    starts = {k: np.broadcast_to(np.asarray(baselines.get(k, 0), np.float64), v.shape) for k, v in case.inputs.items()}

    def score(feeds: Arrays) -> float:
        row = session.run(None, feeds)[0].reshape(-1)
        return float(row[case.target or 0])

    found = {k: np.zeros(v.shape) for k, v in case.inputs.items()}
    for i in range(len(next(iter(case.inputs.values())))):
        alone = {k: v if k in case.shared else v[i : i + 1] for k, v in wide.items()}
        for a, weight in zip(NODES, WEIGHTS, strict=True) if integrated else [(1.0, 1.0)]:
            point = dict(alone)
            for k in case.inputs:
                point[k] = starts[k][i : i + 1] + a * (alone[k] - starts[k][i : i + 1])
            for k in case.inputs:
                for place in np.ndindex(*point[k].shape[1:]):
                    ends = []
                    for sign in (1, -1):
                        moved = point[k].copy()
                        moved[(0, *place)] += sign * _DIFFERENCE
                        ends.append(score({**point, k: moved}))
                    factor = alone[k][(0, *place)] - starts[k][(i, *place)]
                    found[k][(i, *place)] += weight * factor * (ends[0] - ends[1]) / (2 * _DIFFERENCE)
    return found


def _engine(internal_batch_size: int | None = None) -> Callable[[Case, Baselines, Path], Opened]:
    def opened(case: Case, baselines: Baselines, folder: Path) -> Opened:
        method = onnx_ig.IntegratedGradients(case.model, provider="cpu")

        def attribute(case: Case, baselines: Baselines) -> Arrays:
            given = {k: np.asarray(b, np.float32) if np.ndim(b) else b for k, b in baselines.items()}
            further = {**case.rows, **case.shared} or None
            found = method.attribute(
                case.inputs, given, case.target, further, n_steps=STEPS, internal_batch_size=internal_batch_size
            )
            return dict(found)

        return attribute

    return opened


def _input_x_gradient(case: Case, baselines: Baselines, folder: Path) -> Opened:
    method = onnx_ig.InputXGradient(case.model, provider="cpu")
    return lambda case, _: dict(method.attribute(case.inputs, case.target, {**case.rows, **case.shared} or None))


def _file(**options: Any) -> Callable[[Case, Baselines, Path], Opened]:
    """The exported file of these options in a plain client. Numbers among the baselines are baked, arrays are given."""

    def opened(case: Case, baselines: Baselines, folder: Path) -> Opened:
        path = folder / "attribution.onnx"
        keywords: dict[str, Any] = {"n_steps": STEPS, **options}
        if options.get("algorithm") != "input-x-gradient":
            keywords["baselines"] = {k: "input" if np.ndim(b) else b for k, b in baselines.items()}
        if case.target is not None:
            keywords["target"] = case.target
        with warnings.catch_warnings():
            # bounds of a slice, or numbers of steps, cannot be drawn; the file is run below, on data that fit
            warnings.filterwarnings("ignore", ".* was not run: (the model itself fails|its output .* has shape)")
            warnings.filterwarnings("ignore", "it was not checked that the model treats its examples apart")
            onnx_ig.export(
                case.model, path, inputs=list(case.inputs), per_example=list(case.rows), overwrite=True, **keywords
            )
        onnx.checker.check_model(path, full_check=True)
        session = onnxruntime.InferenceSession(path)
        names = [f"attribution_{k}" for k in case.inputs]
        taken = (*session.get_inputs(), *session.get_overridable_initializers())
        types = {i.name: np.float64 if "double" in i.type else np.float32 for i in taken}

        def attribute(case: Case, baselines: Baselines) -> Arrays:
            total = dict.fromkeys(names, np.zeros(()))
            feeds = {**case.feeds, **{f"baseline_{k}": np.asarray(b, np.float32) for k, b in baselines.items()}}
            for chunk in _chunks(session) if options.get("form") == "step" else [slice(None)]:
                feeds |= {"path_nodes": NODES[chunk], "path_weights": WEIGHTS[chunk]}
                fed = {k: feeds[k].astype(types[k]) if k.startswith("path_") else feeds[k] for k in types if k in feeds}
                for name, part in zip(names, session.run(names, fed), strict=True):
                    total[name] = total[name] + part
            return {k: total[f"attribution_{k}"] for k in case.inputs}

        return attribute

    return opened


def _chunks(session: onnxruntime.InferenceSession) -> list[slice]:
    """Two path points and one, or as many as the file takes."""
    most = next(i.shape[0] for i in session.get_inputs() if i.name == "path_nodes")
    size = most if isinstance(most, int) else 2
    return [slice(start, start + size) for start in range(0, STEPS, size)]


Door = Callable[[Case, Baselines, Path], Opened]
# Integrated Gradients
DOORS: dict[str, Door] = {
    "engine": _engine(),
    "engine in small pieces": _engine(2),
    "complete": _file(steps_per_run=2),
    "loop-free": _file(steps_per_run=0),
    "step": _file(form="step"),
}
# Input×Gradient
PRODUCTS: dict[str, Door] = {"engine": _input_x_gradient, "complete": _file(algorithm="input-x-gradient")}


def first_rows(values: Mapping[str, Any], n: int) -> dict[str, Any]:
    """The values of the first ``n`` examples; numbers, and what has one row for all, as they are."""
    return {k: v[:n] if np.ndim(v) and len(v) > 1 else v for k, v in values.items()}


def assert_right(found: Arrays, wanted: Arrays, tolerance: float = 1e-4, note: str = "") -> None:
    """Every attribution within ``tolerance`` of the largest."""
    scale = max(np.abs(v).max(initial=0.0) for v in wanted.values())
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=tolerance * scale + 1e-7, err_msg=f"{name}: {note}")
