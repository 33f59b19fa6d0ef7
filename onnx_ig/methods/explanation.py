"""What a method found, in one object: the attributions, what tells how far they can be trusted, and how they are shown.

The one idea: it holds a report as the command line writes it, so that a notebook shows the same drawings and numbers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from onnx_ig.common.tables import columns_of, is_table
from onnx_ig.common.types import Array, Numbers
from onnx_ig.data import Data, names_in_metadata
from onnx_ig.engine.advice import Notes
from onnx_ig.engine.averaged import innermost
from onnx_ig.engine.engine import Engine
from onnx_ig.engine.path_rule import FixedSteps, PathRule, ToTolerance
from onnx_ig.engine.request import Attribution, Request
from onnx_ig.errors import InputError, UsageError, warn
from onnx_ig.loading.model import Model
from onnx_ig.methods.answers import delta_type, first, like
from onnx_ig.methods.bound import Bound
from onnx_ig.methods.requests import Arguments
from onnx_ig.methods.strongest_classes import of_sections, shares_of_named, strongest_classes
from onnx_ig.report.finding import Finding
from onnx_ig.report.illustrate import Drawings, illustrations, of_example, summaries
from onnx_ig.report.record import AttributionReport
from onnx_ig.report.words import token_names

if TYPE_CHECKING:
    import pandas
    import shap

    from onnx_ig.report.examples import Feature

Inputs = TypeVar("Inputs")
_DRAWN = 2  # examples, in a notebook


@dataclass(frozen=True, repr=False)
class Explanation(Generic[Inputs]):
    """Attributions of N examples with F at both ends of the path and the error of the integral.

    In a notebook it shows itself: drawings of the first examples, scores, warnings.

    Attributes:
        attributions: as ``attribute`` returns them.
        scores: F(x; t), [N]; ``baseline_scores``: F(x'; t), [N]; None where the method has no baseline.
        convergence_delta: Σ attributions − (F(x) − F(x')), [N]; None without a baseline. Errors of opposite sign cancel
            in it: relative to Σ |attributions| it is a lower bound of their error, and no estimate.
        error_estimate: Σ |error of the attributions| / Σ |attributions|, [N]: with a ``tolerance`` estimated from the
            last changes as points were added to the path, else from the difference of two halves of the points. None
            without a path or of a single point.
        steps_used: intervals between path points, int64 [N] in an array; n steps are n + 1 gradients. None where the
            number of points was fixed.
        warnings: sentences about these results: what is given as OnnxIgWarning too, then advice.
        outputs: the model's whole output, [N, C], where it has classes and was computed anyway; else None.
        provider: the execution provider that was used.
        seconds: that the call took, models that it opened included.
        report: the same as arrays by the tensors' names, with what else is known of them.
    """

    attributions: Inputs
    scores: Numbers
    provider: str
    report: AttributionReport
    seconds: float = 0.0
    baseline_scores: Numbers | None = None
    convergence_delta: Numbers | None = None
    error_estimate: Numbers | None = None
    steps_used: Array | None = None
    warnings: tuple[str, ...] = field(default=())
    outputs: Array | None = None

    def __repr__(self) -> str:
        tensors = ", ".join(f"{name} {list(array.shape)}" for name, array in self.report.attributions.items())
        count = self.report.examples
        return f"Explanation({self.report.algorithm} of {tensors}, {count} example{'s' * (count != 1)})"

    def _repr_html_(self) -> str:
        from onnx_ig.report.document import document
        from onnx_ig.report.page import fragment
        from onnx_ig.report.running import Running
        from onnx_ig.report.write import drawn_if_possible

        drawn, notes = drawn_if_possible(None, lambda: illustrations(self.report, _DRAWN))
        if drawn and self.report.examples > _DRAWN:
            notes = [f"pictures were drawn of the first {_DRAWN} of {self.report.examples} examples"]
        running = Running()
        running.add(self.report)
        return fragment(document(replace(self.report, warnings=(*self.report.warnings, *notes)), running, ()), drawn)

    def named(
        self,
        *,
        classes: Sequence[str] | None = None,
        features: Sequence[str] | Sequence[Sequence[str]] | Mapping[str, Sequence[str]] | None = None,
        examples: Sequence[str] | None = None,
    ) -> Explanation[Inputs]:
        """The same with names to show: of the targets, of axis 1 of the attributed tensors, of the examples.

        ``features``: for every tensor, one list or one for each example, or by tensor. Where nothing is said, those of
        the model's metadata, a data frame's columns, or the files that were read.

        Raises:
            InputError: more or fewer names than there is to name.
        """
        known = {
            "class_names": classes,
            "feature_names": features
            if features is None or isinstance(features, Mapping)
            else dict.fromkeys(self.report.attributions, features),
            "example_names": examples,
        }
        given: dict[str, Any] = {name: value for name, value in known.items() if value is not None}
        if classes is not None and self.report.classes and self.report.classes[0].kind == "value":
            given["classes"] = shares_of_named(self.outputs, self.report.target, classes)
        return replace(self, report=replace(self.report, **given))

    def top(self, k: int = 10, example: int = 0) -> list[Feature]:
        """The ``k`` attributions of one example that are largest by magnitude, over all attributed tensors.

        Raises:
            InputError: no such example; UsageError: a negative ``k``.
        """
        from onnx_ig.report.examples import top_features

        if k < 0:
            raise UsageError(f"k is {k}: give how many attributions are wanted, 0 or more")
        return top_features(self.report, self._example(example), k)

    def plot(self, example: int | None = 0, tensor: str | None = None) -> Drawings:
        """Drawings of one example, or with None of all rows of a table; a notebook shows them.

        Args:
            tensor: that of this attributed tensor alone.

        Raises:
            InputError: no such example or tensor, or one that has no drawing (arrays of more than four axes).
            MissingDependencyError: without matplotlib.
        """
        if tensor is not None and tensor not in self.report.attributions:
            known = ", ".join(map(repr, self.report.attributions))
            raise InputError(f"no attributions of {tensor!r}: attributed are {known}")
        found = summaries(self.report) if example is None else of_example(self.report, self._example(example))
        drawn = tuple(one for one in found if tensor in (None, one.tensor))
        if not drawn:
            shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in self.report.attributions.items())
            what = "all examples" if example is None else f"example {example}"
            raise InputError(
                f"there is no drawing of {what} of {shapes}: pictures, tables, series and sequences are drawn, and all "
                "examples together of tables with several rows; take to_pandas() or .attributions"
            )
        return Drawings(drawn)

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each attribution: see :func:`onnx_ig.report.exchange.to_pandas`."""
        from onnx_ig.report.exchange import to_pandas

        return to_pandas(self.report)

    def to_shap(self) -> shap.Explanation:
        """For shap's plots: see :func:`onnx_ig.report.exchange.to_shap`."""
        from onnx_ig.report.exchange import to_shap

        return to_shap(self.report)

    def save(
        self,
        directory: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        others: Sequence[Explanation[Any]] = (),
    ) -> list[Path]:
        """The report that ``onnx-ig attribute -o`` writes: see :func:`onnx_ig.report.write.write_report`.

        Args:
            others: of further targets of the same examples, as :meth:`onnx_ig.IntegratedGradients.explain_targets`
                returns them; the page then has a choice between all.

        Raises:
            InputError: another's examples or tensors are others.
        """
        from onnx_ig.report.several_targets import in_lines
        from onnx_ig.report.write import write_report

        reports = [self.report, *(other.report for other in others)]
        if any(_shapes(report) != _shapes(self.report) for report in reports):
            raise InputError("others= takes what was found for further targets of the same examples and tensors")
        warnings = tuple(dict.fromkeys(warning for report in reports for warning in report.warnings))
        together = replace(in_lines(reports), warnings=warnings) if others else self.report
        return write_report(Path(directory), together, overwrite=overwrite)

    def _example(self, example: int) -> int:
        if not -self.report.examples <= example < self.report.examples:
            raise InputError(f"there is no example {example}: {self.report.examples} were explained")
        return example % self.report.examples


def _shapes(report: AttributionReport) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in report.attributions.items()}


@dataclass(frozen=True)
class Answer:
    """What an engine answered to one call.

    Attributes:
        missed: a sentence where it is less exact than was asked for; ``notes``: what else is to be said of it.
    """

    engine: Engine
    request: Request
    bound: Bound
    found: Attribution
    missed: str | None
    notes: Notes

    def warn(self) -> tuple[str, ...]:
        """Warn of the notes that are no advice; all of them."""
        missed = () if self.missed is None else (self.missed,)
        for note in (*missed, *self.notes.warned):
            warn(note)
        return (*missed, *self.notes.all)

    def finding(self, rule: PathRule) -> Finding:
        """What was found along the points that ``rule`` chose."""
        found, engine, rule = self.found, self.engine, innermost(rule)
        assert found.scores is not None
        return Finding(
            algorithm=engine.plan.algorithm,
            attributions=found.attributions,
            score=found.scores,
            provider=engine.provider,
            target=self.request.target,
            baseline_score=found.baseline_scores,
            convergence_delta=found.delta,
            method=rule.method if isinstance(rule, FixedSteps) else None,
            n_steps=rule.n_steps if isinstance(rule, FixedSteps) else None,
            tolerance=rule.tolerance if isinstance(rule, ToTolerance) else None,
            error_estimate=found.error_estimate,
            steps_used=found.steps_used,
            batched=engine.plan.layout.kind != "none",
            straight_through=engine.straight_through,
        )

    def number_each(self, values: Array | None, given: Arguments) -> Any:
        """A number of each example in the type of a convergence delta, and the kind of the inputs ``given``."""
        return None if values is None else like(values.astype(delta_type(self.request.inputs)), first(given.inputs))


def explanation(
    attributions: Inputs, answer: Answer, given: Arguments, began: float, rule: PathRule
) -> Explanation[Inputs]:
    """The object of one call, whose notes are warned of, if they are no advice.

    Args:
        attributions: in the caller's form; ``given``: the call, of whose first input the numbers get the kind.
        began: when, by ``time.perf_counter``.
    """
    found, warnings = answer.found, answer.warn()
    seconds = time.perf_counter() - began
    return Explanation(
        attributions=attributions,
        scores=answer.number_each(found.scores, given),
        provider=answer.engine.provider,
        report=_report(answer, rule, given, seconds, warnings),
        seconds=seconds,
        baseline_scores=answer.number_each(found.baseline_scores, given),
        convergence_delta=answer.number_each(found.delta, given),
        error_estimate=answer.number_each(found.error_estimate, given),
        steps_used=found.steps_used,
        warnings=warnings,
        outputs=found.outputs,
    )


def _report(
    answer: Answer, rule: PathRule, given: Arguments, seconds: float, warnings: tuple[str, ...]
) -> AttributionReport:
    engine, request, model = answer.engine, answer.request, answer.bound.model
    report = AttributionReport(
        **answer.finding(rule).finding(),
        model=model.name,
        model_sha256=model.source_sha256 or None,
        exporter=model.note or None,
        inputs=request.inputs,
        seconds={"attribution": seconds},
        warnings=warnings,
    )
    named = with_names(report, given, model, engine.output_dims(request))
    target, names = request.target, named.class_names
    classes = strongest_classes(model, engine.plan.output, of_sections(answer.found.outputs), [target], names)
    return replace(named, classes=classes)


def with_names(
    report: AttributionReport, given: Arguments, model: Model, dims: Sequence[int | None]
) -> AttributionReport:
    """The ``report`` with the names that a data frame, files or the model's metadata tell.

    ``dims``: the explained output's dimensions for one example; None where they are not known.
    """
    told = names_in_metadata(model.ir_model.metadata_props)
    classes = told.get("classes")
    features = list(columns_of(given.inputs)) if is_table(given.inputs) else told.get("features", ())
    tables = [
        name for name, array in report.attributions.items() if array.ndim == 2 and array.shape[1] == len(features)
    ]
    named = replace(
        report,
        feature_names=dict.fromkeys(tables, features),
        class_names=classes if classes is not None and list(dims) == [len(classes)] else None,
    )
    return named if given.data is None else _as_read(named, given.data)


def _as_read(report: AttributionReport, data: Data) -> AttributionReport:
    """The ``report`` with what the files told besides the values."""
    names: dict[str, Any] = {**report.feature_names, **data.features, **token_names(report.attributions, data.words)}
    return replace(
        report,
        feature_names={name: names[name] for name in report.attributions if name in names},
        example_names=data.example_names if report.batched else (),
        pictures=data.pictures,
        series={name: series for name, series in data.series.items() if name in report.attributions},
        table=data.rows if report.batched else None,
        words=data.words,
        warnings=(*data.notes, *report.warnings),
    )
