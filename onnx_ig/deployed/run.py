"""Run an attribution model as it is: the complete form in one Run, the step form in chunks of its path.

The one idea: what is baked into the file cannot be asked for differently; the contract in the file says what that is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir

from onnx_ig.attribution import contract as names
from onnx_ig.attribution.contract import Contract
from onnx_ig.attribution.layout import target_axis
from onnx_ig.attribution.plan import STEPS_PER_RUN
from onnx_ig.attribution.probability import probability
from onnx_ig.common.types import Array, Progress
from onnx_ig.deployed.baked import PathChoice, baked_target, require_as_baked
from onnx_ig.deployed.examples import layout_in_file, require_examples_apart_in_file
from onnx_ig.deployed.target import FileOutput
from onnx_ig.engine.advice import cancelling, unsure
from onnx_ig.engine.baseline_advice import hardly_differing, outside_the_data
from onnx_ig.engine.completeness import at_the_baseline, completeness_gap
from onnx_ig.engine.grid import Grid, filled
from onnx_ig.engine.lacking import by_example
from onnx_ig.engine.memory import bytes_per_run, rows_per_run
from onnx_ig.engine.path_rule import not_within
from onnx_ig.errors import InputError, UsageError
from onnx_ig.loading.model import Model
from onnx_ig.methods.arguments import broadcast_baselines, check_inputs
from onnx_ig.methods.requests import Arguments, Remembered, request_of, with_target
from onnx_ig.methods.several_targets import targets_of
from onnx_ig.quadrature import DEFAULT_METHOD, DEFAULT_STEPS, path_nodes_and_weights
from onnx_ig.report.finding import Finding
from onnx_ig.runtime.providers import AnySession
from onnx_ig.runtime.session import ProviderSpec


@dataclass(frozen=True, kw_only=True)
class Explained(Finding):
    """What an attribution model answered: ``attributions`` by the names of ``contract.at``.

    ``notes`` say what a reader of the attributions should know, ``advice`` what may help them; ``missed`` is a sentence
    where an example is less exact than the file was to make it. ``inputs`` are those that the baseline replaces;
    ``outputs`` the model's own, [N, C], where it has classes and the file gives them.
    """

    notes: tuple[str, ...]
    advice: tuple[str, ...] = ()
    missed: str | None = None
    inputs: Mapping[str, Array] = field(default_factory=dict)
    outputs: Array | None = None


class Run:
    """One call of an attribution model that is open in ``session``; ``model`` is its normalised copy.

    Args:
        given: the inputs, baselines and additional ones as dicts by the names of the source model's inputs.
        path: of which points, where that is an input of the file.

    Attributes:
        targets: each of several, [N] or [N, rank], where ``given`` has them as its target and the file as an input.

    Raises:
        UsageError: something contradicts what is baked into the file.
        InputError, ProviderError, OutOfMemoryError: see those classes.
    """

    def __init__(
        self,
        model: Model,
        contract: Contract,
        session: AnySession,
        provider: ProviderSpec,
        given: Arguments,
        path: PathChoice,
        *,
        several: bool = False,
    ) -> None:
        require_as_baked(contract, given.target, given.baselines, path, given.internal_batch_size)
        if contract.at == contract.named("attributed"):
            check_inputs(given.inputs, given.allow_nonfinite, batched=contract.layout != "none")
        self._model, self._contract, self._given = model, contract, given
        self._session, self._provider = session, provider
        self._progress: Progress = given.progress if callable(given.progress) else lambda *_: None
        declared = next((x.shape[0] for x in contract.inputs if x.role == "path"), None)
        self._path_length = declared if isinstance(declared, int) else None  # where each Run has so many points
        whole = self._path_length if contract.form == "complete" else None
        self._path_choice = (path.method or DEFAULT_METHOD, path.n_steps or whole or DEFAULT_STEPS)
        layout, extra = layout_in_file(contract), given.additional_forward_args
        self._request = request_of(layout, contract.named("per_example"), given.inputs, extra, self._open_baselines())
        self._grid = Grid(layout, self._request.examples, self._path_length)
        self._range_unknown = False
        if contract.named("target"):
            of_file = FileOutput(model, contract, provider, self._grid, self._own_feeds, given.internal_batch_size)
            self._range_unknown = of_file.range_unknown
            output = Remembered(of_file)
            if several:
                rows = targets_of(given.target, self._request, output)
                self.targets = [row[:, 0] if row.shape[1] == 1 else row for row in rows]
                self._request = replace(self._request, target=np.stack(self.targets, axis=1))
            else:
                self._request = with_target(self._request, given.target, output)

    def explained(self) -> list[Explained]:
        """Run, and put the results of each target in order."""
        contract = self._contract
        layout = self._grid.layout
        ride = layout.batched and contract.algorithm == "integrated-gradients"  # path points do, as further rows
        if ride or (self._request.examples > 1 and (layout.batched or layout.whole)):
            self._require_independent_examples()
        results = self._stepped() if contract.form == "step" else self._complete()
        if self._range_unknown and np.isnan(results[names.SCORE]).any() and not self._given.allow_nonfinite:
            raise InputError(
                f"F is NaN: a target is out of range for output {contract.output!r}, or the model gives NaN"
            )
        self._outputs = results.pop(contract.output, None)
        if self._outputs is not None and contract.layout == "none":
            self._outputs = self._outputs[np.newaxis]
        if contract.targets == 1:
            return [self._explained(results, self._request.target, 0)]
        own = self._request.target
        return [
            self._explained(self._of_target(results, k), None if own is None else own[:, k], k)
            for k in range(contract.targets)
        ]

    def _of_target(self, results: Mapping[str, Array], k: int) -> dict[str, Array]:
        """The results of one of several targets."""
        axes = {names.ATTRIBUTION + name: target_axis(self._grid.layout) for name in self._contract.at}
        return {name: np.take(value, k, axis=axes.get(name, 1)) for name, value in results.items()}

    def _explained(self, results: Mapping[str, Array], target: Array | None, k: int) -> Explained:
        contract = self._contract
        path = contract.baked.get("path") or dict(zip(("method", "n_steps"), self._path_choice, strict=True))
        fixed = contract.algorithm == "integrated-gradients" and "n_steps" in path
        target = results.get(names.TARGET_USED, target)
        tolerance, error, steps = (
            path.get("tolerance"),
            results.get(names.ERROR_ESTIMATE),
            results.get(names.STEPS_USED),
        )
        return Explained(
            algorithm=contract.algorithm,
            provider=self._session.provider,
            batched=contract.layout != "none",
            straight_through=contract.straight_through,
            attributions={name: results[names.ATTRIBUTION + name] for name in contract.at},
            score=results[names.SCORE],
            target=baked_target(contract, self._request.examples, k) if target is None else target,
            baseline_score=results.get(names.BASELINE_SCORE),
            convergence_delta=results.get(names.CONVERGENCE_DELTA),
            method=path["method"] if fixed else None,
            n_steps=path["n_steps"] if fixed else None,
            notes=self._notes(results),
            advice=self._advice(results),
            tolerance=tolerance,
            error_estimate=error,
            steps_used=steps,
            missed=None if tolerance is None or error is None or steps is None else not_within(tolerance, error, steps),
            inputs=self._request.inputs,
            outputs=self._outputs,
        )

    def _notes(self, results: Mapping[str, Array]) -> tuple[str, ...]:
        contract = self._contract
        notes: tuple[str, ...] = ()
        if contract.form == "step" and names.BASELINE_SCORE not in results:
            notes += (
                "F(baseline) and the delta are unknown: the file's baseline or target is baked and the path begins at "
                "an inner tensor",
            )
        if contract.algorithm == "integrated-gradients" and contract.multiply_by_inputs:
            known = (results.get(name) for name in (names.CONVERGENCE_DELTA, names.SCORE, names.BASELINE_SCORE))
            gap = completeness_gap(*known)
            notes += () if gap is None else (gap,)
        return notes

    def _known_baselines(self) -> dict[str, Array]:
        """Those that are given, and numbers that are baked in."""
        key = names.BASELINE
        baked = {n: v for n in self._request.inputs if isinstance(v := self._contract.baked.get(key + n), int | float)}
        return {name: np.array(value) for name, value in baked.items()} | self._request.baselines

    def _advice(self, results: Mapping[str, Array]) -> tuple[str, ...]:
        contract = self._contract
        if contract.algorithm != "integrated-gradients":
            return ()
        score, baseline_score = results[names.SCORE], results.get(names.BASELINE_SCORE)
        advice: list[str | None] = []
        if any(y.name == contract.output for y in self._model.outputs):  # a step's graph has F of its path points alone
            advice.append(unsure(probability(self._model, contract.output), score, "exported"))
        if contract.multiply_by_inputs:
            attributions = {name: results[names.ATTRIBUTION + name] for name in contract.at}
            alone = contract.layout == "none"
            attributions = by_example(attributions, alone)
            advice.append(cancelling(attributions, score, baseline_score))
            advice.append(hardly_differing(attributions, score, baseline_score))
            if not alone:
                ends = self._request.inputs, self._known_baselines()
                advice += [at_the_baseline(*ends), outside_the_data(*ends)]
        return tuple(filter(None, advice))

    def _require_independent_examples(self) -> None:
        """Refuse a file whose model mixes examples."""
        together = self._grid.layout.whole
        feeds = self._feeds(slice(0, self._request.examples if together else 2))
        for name, value in self._request.baselines.items():
            feeds[self._contract.prefix + names.BASELINE + name] = value if together else value[:1]
        path = self._path_feeds(np.ones(1), np.ones(1)) if self._contract.named("path") else {}
        require_examples_apart_in_file(self._model, self._contract, self._session, self._provider, feeds, path)

    # -- the two forms ------------------------------

    def _complete(self) -> dict[str, Array]:
        """One Run for all examples, or as many Runs as memory or a fixed batch demand."""
        path: dict[str, Array] = {}
        if self._contract.named("path"):
            path = self._path_feeds(*path_nodes_and_weights(*self._path_choice))
        parts: dict[str, list[Array]] = {}

        def take(rows: slice, points: slice, result: Mapping[str, Array]) -> None:
            for name, value in result.items():
                parts.setdefault(name, []).append(self._grid.own(value, rows))
            self._progress(rows.stop, self._request.examples)

        self._grid.evaluate(
            lambda rows, *_: {**self._feeds(rows), **path},
            self._runs(self._result_names()),
            take,
            rows=self._rows_of_all_points(path),
        )
        return {
            self._plain(name): values[0] if len(values) == 1 else np.concatenate(values)
            for name, values in parts.items()
        }

    def _stepped(self) -> dict[str, Array]:
        """Σ over chunks of the path; the scores come from Runs of their own, at points that carry no weight."""
        nodes, weights = path_nodes_and_weights(*self._path_choice)
        sums: dict[str, Array] = {}
        done = 0

        def feeds(rows: slice, points: slice, size: int) -> dict[str, Array]:
            return {**self._feeds(rows), **self._path_feeds(*filled(nodes, weights, points, size))}

        def take(rows: slice, points: slice, result: Mapping[str, Array]) -> None:
            nonlocal done
            for name, part in result.items():
                if self._plain(name) == names.TARGET_USED:
                    self._grid.put(sums, name, part, rows)
                else:
                    wide = part.astype(np.promote_types(part.dtype, np.float32))
                    self._grid.put(sums, name, wide, rows, add=True)
            done += (rows.stop - rows.start) * (points.stop - points.start)
            self._progress(done, self._request.examples * len(nodes))

        runs = self._runs(self._result_names())
        rows, points = self._rows_per_run(), len(nodes)
        self._grid.evaluate(feeds, runs, take, rows=rows, points=points, expect=self._session.expect)
        results = {self._plain(name): value for name, value in sums.items()}
        for name in self._contract.at:
            result = results[names.ATTRIBUTION + name]
            declared = next(
                y.dtype for y in self._model.outputs if y.name == self._contract.prefix + names.ATTRIBUTION + name
            )
            results[names.ATTRIBUTION + name] = result if declared is None else result.astype(declared.numpy())
        results[names.SCORE] = self._end_score(at_baseline=False)
        inner = self._contract.at != self._contract.named("attributed")
        if not inner or self._baselines_are_inputs():
            results[names.BASELINE_SCORE] = self._end_score(at_baseline=True)
            total = sum(
                results[names.ATTRIBUTION + n].reshape(*results[names.SCORE].shape, -1).sum(axis=-1, dtype=np.float64)
                for n in self._contract.at
            )
            results[names.CONVERGENCE_DELTA] = total - (results[names.SCORE] - results[names.BASELINE_SCORE])
        return results

    def _end_score(self, *, at_baseline: bool) -> Array:
        """F at one end of the path.

        At the inputs path point 0 is exactly the baseline; at an inner tensor the rest of the model keeps x's
        value, so the inputs themselves are put at the baseline. F(x) is read at point 1, of a path that begins at
        x too where that is open: x' + (x − x') is x up to rounding only.
        """
        inner = self._contract.at != self._contract.named("attributed")
        node = np.array([0.0 if at_baseline and not inner else 1.0])
        scores: dict[str, Array] = {}
        name = self._contract.prefix + names.PATH_SCORES

        def feeds(rows: slice, points: slice, size: int) -> dict[str, Array]:
            fed = self._feeds(rows)
            for key in self._request.baselines:
                baseline = self._contract.prefix + names.BASELINE + key
                if not at_baseline:
                    fed[baseline] = fed[key]
                elif inner:
                    fed[key] = np.ascontiguousarray(np.broadcast_to(fed[baseline], fed[key].shape))
            return {**fed, **self._path_feeds(node, np.zeros(1))}

        def take(rows: slice, points: slice, result: Mapping[str, Array]) -> None:
            self._grid.put(scores, name, result[name][0], rows)

        self._grid.evaluate(feeds, self._runs([name]), take, rows=self._rows_per_run())
        return scores[name]

    def _runs(self, wanted: Sequence[str]) -> Callable[[Sequence[Mapping[str, Array]]], list[dict[str, Array]]]:
        return lambda several: [self._session.run(feeds, wanted) for feeds in several]

    def _baselines_are_inputs(self) -> bool:
        """Whether the inputs can be put at the baseline: it is known, and the target does not follow the inputs."""
        return len(self._request.baselines) == len(self._request.inputs) and not isinstance(
            self._contract.baked.get("target"), str
        )

    # -- feeds ------------------------------

    def _own_feeds(self, rows: slice) -> dict[str, Array]:
        """What the source model itself is fed."""
        per_row = {**self._request.inputs, **self._request.per_example}
        feeds = {**self._request.shared, **{name: self._grid.rows_of(value, rows) for name, value in per_row.items()}}
        return {name: np.ascontiguousarray(value) if value.ndim else value for name, value in feeds.items()}

    def _feeds(self, rows: slice) -> dict[str, Array]:
        """What every Run is fed, but the path."""
        feeds = self._own_feeds(rows)
        for name, value in self._request.baselines.items():
            whole = self._contract.layout == "batched" and len(value) == 1
            feeds[self._contract.prefix + names.BASELINE + name] = value if whole else self._grid.rows_of(value, rows)
        targets = self._contract.first_targets(self._request.examples)
        if self._request.target is not None:
            targets = dict.fromkeys(targets, self._request.target)
        return {**feeds, **{name: self._grid.rows_of(value, rows) for name, value in targets.items()}}

    def _open_baselines(self) -> dict[str, Array]:
        """The baselines that are graph inputs: one row or N where the batch is dynamic, else of the input's shape."""
        contract, inputs = self._contract, self._given.inputs
        is_open = {name for name in inputs if contract.prefix + names.BASELINE + name in contract.named("baseline")}
        found = broadcast_baselines(inputs, self._given.baselines, self._given.allow_nonfinite)
        if contract.layout != "batched":
            found = {name: np.broadcast_to(value, inputs[name].shape) for name, value in found.items()}
        return {name: value for name, value in found.items() if name in is_open}

    # -- the path ------------------------------

    def _path_feeds(self, nodes: Array, weights: Array) -> dict[str, Array]:
        dtype = next(x.dtype for x in self._model.inputs if x.name == self._contract.prefix + names.PATH_NODES)
        assert dtype is not None
        if self._path_length is not None:
            if len(nodes) > self._path_length:
                raise UsageError(
                    f"n_steps={len(nodes)} (--n-steps): this attribution model takes {self._path_length} path points; "
                    "leave it out, or export again"
                )
            nodes, weights = filled(nodes, weights, slice(None), self._path_length)
        pairs: Mapping[str, Array] = {names.PATH_NODES: nodes, names.PATH_WEIGHTS: weights}
        return {self._contract.prefix + name: value.astype(dtype.numpy()) for name, value in pairs.items()}

    def _rows_per_run(self) -> int:
        at_most = self._given.internal_batch_size
        if self._grid.layout.whole:
            return self._grid.rows_together(at_most)
        if self._contract.layout != "batched":
            return at_most or 1
        shapes = {name: tuple(value.shape) for name, value in self._feeds(slice(0, 1)).items()}
        shapes |= dict.fromkeys(self._contract.named("path"), (1,))
        return rows_per_run(bytes_per_run(self._model.ir_model, shapes), self._session, at_most)

    def _rows_of_all_points(self, path: Mapping[str, Array]) -> int:
        """The examples of a Run of the complete form, whose loop holds a chunk of their path points in each turn."""
        at_most = self._given.internal_batch_size
        if self._contract.layout != "batched" or at_most is not None:
            return self._grid.rows_at_one_point(at_most)
        shapes = {name: tuple(value.shape) for name, value in {**self._feeds(slice(0, 1)), **path}.items()}
        baked = self._contract.baked.get("path") or {}
        path_length = baked.get("n_steps") or baked.get("max_steps") or self._path_choice[1]
        loops = any(node.op_type == "Loop" for node in self._model.ir_model.graph)
        points = min(path_length, STEPS_PER_RUN) if loops else path_length
        return rows_per_run(bytes_per_run(self._model.ir_model, shapes, points=points), self._session)

    # -- names ------------------------------

    def _result_names(self) -> list[str]:
        known = [names.ATTRIBUTION + name for name in self._contract.at]
        known += [*names.OF_EXAMPLES, names.TARGET_USED]
        wanted = [self._contract.prefix + plain for plain in known]
        axes = 1 if self._contract.layout == "none" else 2
        own = [y for y in self._model.outputs if y.name == self._contract.output]
        wanted += [str(y.name) for y in own if _tells_classes(y, axes)]
        return [name for name in wanted if name in self._session.output_names]

    def _plain(self, name: str) -> str:
        return name.removeprefix(self._contract.prefix)


def _tells_classes(output: ir.Value, axes: int) -> bool:
    """Whether the last of so many ``axes`` is one of classes, of any number but one; more axes tell none, and are
    large.
    """
    return output.shape is not None and len(output.shape) == axes and output.shape[-1] != 1
