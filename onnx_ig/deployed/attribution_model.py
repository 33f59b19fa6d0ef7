"""Attribution models from Python: a file that `onnx_ig.export` wrote, called like the method that it holds."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from onnx_ig.attribution.contract import TARGET_USED, Contract
from onnx_ig.attribution.training import require_evaluation
from onnx_ig.common import arrays
from onnx_ig.common.progress import reported
from onnx_ig.common.types import Array, Progress, Rule
from onnx_ig.deployed.baked import PathChoice
from onnx_ig.deployed.run import Explained, Run
from onnx_ig.errors import InputError, UsageError, warn
from onnx_ig.inspection import contract_of
from onnx_ig.loading.model import Model, load
from onnx_ig.methods.answers import delta_type, first, in_form_of_inputs, like
from onnx_ig.methods.arguments import baselines_by_name
from onnx_ig.methods.explanation import Explanation, with_names
from onnx_ig.methods.requests import Arguments
from onnx_ig.methods.sources import by_column, fitted
from onnx_ig.methods.strongest_classes import of_sections, strongest_classes
from onnx_ig.report.record import AttributionReport
from onnx_ig.runtime.providers import AnySession, open_session
from onnx_ig.runtime.session import ProviderSpec
from onnx_ig.runtime.widening import warn_widened


class AttributionModel:
    """An attribution model in a file, or as a model in memory; opened when it is first called.

    Args:
        source: what :func:`onnx_ig.export` wrote: its path, or anything :func:`onnx_ig.load` reads.
        provider: where it runs, as in :class:`onnx_ig.IntegratedGradients`.
        file: where a model in memory was read from; the runtime opens the file itself.

    Attributes:
        contract: what the file computes, how it is called, and what is baked in.

    Raises:
        UsageError: another model, or no such file; ModelError: see :func:`onnx_ig.load`.

    >>> import numpy as np, onnx.parser, onnx_ig
    >>> model = onnx.parser.parse_model('''<ir_version: 10, opset_import: ["": 21]>
    ...     square (float[n, 2] x) => (float[n, 2] y) { y = Mul(x, x) }''')
    >>> explained = onnx_ig.export(model, "input_x_gradient.onnx", algorithm="input-x-gradient", overwrite=True)
    >>> onnx_ig.AttributionModel(explained)
    AttributionModel('input_x_gradient': input-x-gradient, complete)
    """

    def __init__(
        self, source: Any, *, provider: ProviderSpec = "auto", file: str | os.PathLike[str] | None = None
    ) -> None:
        self._model = load(source)
        contract = contract_of(self._model)
        if contract is None:
            raise UsageError(
                f"{self._model.name} is no attribution model: write one with onnx_ig.export, or explain the model "
                "itself with onnx_ig.IntegratedGradients"
            )
        self.contract: Contract = contract
        self._file = os.fspath(source) if isinstance(source, (str, os.PathLike)) else file
        self._provider = provider
        self._session: AnySession | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_session": None}

    def __repr__(self) -> str:
        return f"AttributionModel({self._model.name!r}: {self.contract.algorithm}, {self.contract.form})"

    @property
    def model(self) -> Model:
        """The file's graph, normalised."""
        return self._model

    @property
    def session(self) -> AnySession:
        """The file, open."""
        if self._session is None:
            self._session = open_session(self._file or self._model.ir_model, self._provider)
            if self._session.widened:
                warn_widened(self._model.name)
        return self._session

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int | None = None,
        method: Rule | None = None,
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        *,
        tolerance: float | None = None,
        max_steps: int | None = None,
        allow_nonfinite: bool = False,
        progress: Progress | bool | None = None,
    ) -> Any:
        """The attributions that the file computes, in the form of ``inputs``: arrays or tensors; one, several, a dict.

        What is baked into the file may be left out; asking for it differently is a UsageError.

        Args:
            inputs, baselines, target, additional_forward_args, internal_batch_size, allow_nonfinite, progress: as
                :meth:`onnx_ig.IntegratedGradients.attribute` takes them.
            n_steps, method: the path, where it is an input of the file; default: 50 points of Gauss-Legendre.
            tolerance, max_steps: those that are baked in, or None.
            return_convergence_delta: also return Σ attributions − (F(x) − F(x')), [N].

        Raises:
            UsageError: not as baked, or a delta that the file cannot tell; InputError, ProviderError, ModelError,
                OutOfMemoryError: see those classes.
        """
        found = self.explain(
            inputs,
            baselines,
            target,
            additional_forward_args,
            n_steps,
            method,
            internal_batch_size,
            tolerance=tolerance,
            max_steps=max_steps,
            allow_nonfinite=allow_nonfinite,
            progress=progress,
        )
        if not return_convergence_delta:
            return found.attributions
        if found.convergence_delta is None:
            raise UsageError("this attribution model tells no convergence delta: leave return_convergence_delta out")
        return found.attributions, found.convergence_delta

    def explain(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int | None = None,
        method: Rule | None = None,
        internal_batch_size: int | None = None,
        *,
        tolerance: float | None = None,
        max_steps: int | None = None,
        allow_nonfinite: bool = False,
        progress: Progress | bool | None = None,
    ) -> Explanation[Any]:
        """As :meth:`attribute`, with F at both ends and, of a file with a tolerance, each example's error and steps.

        ``inputs``: also what :func:`onnx_ig.read` returned, as in :meth:`onnx_ig.IntegratedGradients.explain`.

        Raises:
            UsageError, InputError, ProviderError, ModelError, OutOfMemoryError: as :meth:`attribute`.
        """
        began = time.perf_counter()
        given = Arguments(
            inputs,
            baselines,
            target,
            additional_forward_args,
            allow_nonfinite=allow_nonfinite,
            internal_batch_size=internal_batch_size,
            progress=progress,
        ).unpacked(padding=bool(self.contract.named("baseline")))
        return self._explanation(self.answer(given, PathChoice(method, n_steps, tolerance, max_steps)), given, began)

    def explain_targets(
        self,
        inputs: Any,
        targets: Any = None,
        baselines: Any = None,
        additional_forward_args: Any = None,
        n_steps: int | None = None,
        method: Rule | None = None,
        internal_batch_size: int | None = None,
        *,
        tolerance: float | None = None,
        max_steps: int | None = None,
        allow_nonfinite: bool = False,
        progress: Progress | bool | None = None,
    ) -> list[Explanation[Any]]:
        """What :meth:`explain` returns, for each of several targets, in their order.

        A file that was exported with ``targets=`` runs the model forwards once for all of them; one that takes a
        single target is run for one after the other.

        Args:
            targets: as in :meth:`onnx_ig.IntegratedGradients.explain_targets`; those that are baked in may be left out.

        Raises:
            UsageError: a file with one target baked in; and as :meth:`explain`.
        """
        began = time.perf_counter()
        given = Arguments(
            inputs,
            baselines,
            targets,
            additional_forward_args,
            allow_nonfinite=allow_nonfinite,
            internal_batch_size=internal_batch_size,
            progress=progress,
        ).unpacked(padding=bool(self.contract.named("baseline")))
        found = self.answers(given, PathChoice(method, n_steps, tolerance, max_steps))
        return [self._explanation(one, given, began) for one in found]

    def _explanation(self, found: Explained, given: Arguments, began: float) -> Explanation[Any]:
        missed = () if found.missed is None else (found.missed,)
        for note in (*missed, *found.notes):
            warn(note)
        dtype = delta_type(found.attributions)

        def numbers(values: Array | None) -> Any:
            return None if values is None else like(np.asarray(values, dtype), first(given.inputs))

        seconds = time.perf_counter() - began
        return Explanation(
            attributions=self._returned(found, given.inputs),
            scores=numbers(found.score),
            provider=self.session.provider,
            report=self._report(found, given, seconds),
            seconds=seconds,
            baseline_scores=numbers(found.baseline_score),
            convergence_delta=numbers(found.convergence_delta),
            error_estimate=numbers(found.error_estimate),
            steps_used=found.steps_used,
            warnings=(*missed, *found.notes, *found.advice),
            outputs=found.outputs,
        )

    def answer(self, given: Arguments, path: PathChoice = PathChoice()) -> Explained:  # noqa: B008
        """What the file answers to the arguments ``given`` and, where it takes a path, to this one.

        Raises:
            UsageError: it has several targets; and as :meth:`explain`.
        """
        if self.contract.targets > 1:
            raise UsageError(
                f"this attribution model explains {self.contract.targets} targets of each example: call "
                "explain_targets (at the command line, attribute with --targets)"
            )
        with self._bound(given) as bound:
            (found,) = Run(self._model, self.contract, self.session, self._provider, bound, path).explained()
        return found

    def answers(self, given: Arguments, path: PathChoice = PathChoice()) -> list[Explained]:  # noqa: B008
        """What the file answers for each of several targets, those of ``given.target``.

        Raises:
            UsageError: one target is baked in, or none can be chosen; and as :meth:`explain`.
        """
        contract = self.contract
        if contract.targets == 1 and not contract.named("target"):
            baked = contract.baked.get("target", "none")
            raise UsageError(
                f"targets= (--targets): this attribution model explains one target of each example, {baked}; leave it "
                "out, or export with targets= (--targets)"
            )
        if given.target is None and contract.named("target"):
            count = contract.targets
            given = replace(given, target=f"top-{count if count > 1 else 3}")
        with self._bound(given) as bound:
            run = Run(self._model, contract, self.session, self._provider, bound, path, several=True)
            if contract.targets > 1:
                return run.explained()
        return [self.answer(replace(given, target=[*map(_as_given, rows)]), path) for rows in run.targets]

    @contextmanager
    def _bound(self, given: Arguments) -> Iterator[Arguments]:
        """``given`` in terms of the file's inputs, while its progress is shown."""
        attributed = self.contract.named("attributed")
        own = {str(x.name): x for x in self._model.inputs if x.name in self._own()}
        inputs = arrays.named_arrays(by_column(given.inputs, attributed), attributed, "inputs")
        rest = [name for name in own if name not in attributed]
        extra = by_column(given.additional_forward_args, rest)
        extra = {name: value for name, value in self._model.defaults.items() if name in rest} | arrays.named_arrays(
            extra, rest, "additional_forward_args"
        )
        require_evaluation(self._model, extra)
        for name in own:
            if name not in (inputs if name in attributed else extra):
                raise InputError(f"the attribution model's input {name!r} is not fed: it attributes {attributed}")
        bound = replace(
            given,
            inputs={name: fitted(inputs[name], own[name]) for name in attributed},
            additional_forward_args={name: fitted(extra[name], own[name]) for name in rest},
            baselines=baselines_by_name(given.baselines, attributed),
        )
        with reported(given.progress) as progress:
            yield replace(bound, progress=progress)

    def _report(self, found: Explained, given: Arguments, seconds: float) -> AttributionReport:
        contract = self.contract
        report = AttributionReport(
            **found.finding(),
            model=self._model.name if self._file is None else str(self._file),
            model_sha256=self._model.source_sha256 or None,
            exporter=self._model.note or None,
            inputs=found.inputs,
            seconds={"attribution": seconds},
            warnings=(*(() if found.missed is None else (found.missed,)), *found.notes, *found.advice),
        )
        named = with_names(report, given, self._model, output_dims(self._model, contract))
        classes = strongest_classes(
            self._model,
            contract.output,
            of_sections(found.outputs),
            [found.target],
            named.class_names,
            added=[contract.prefix + TARGET_USED],
        )
        return replace(named, classes=classes)

    def _own(self) -> set[str]:
        """The inputs of the model that is explained."""
        roles = ("attributed", "per_example", "shared")
        return {entry.name for entry in self.contract.inputs if entry.role in roles}

    def _returned(self, found: Explained, inputs: Any) -> Any:
        attributed, at = self.contract.named("attributed"), self.contract.at
        if at == attributed:
            return in_form_of_inputs(found.attributions, inputs, attributed, isinstance(inputs, Mapping))
        inner: list[Array] = [like(found.attributions[name], first(inputs)) for name in at]
        return inner[0] if len(inner) == 1 else inner


def _as_given(index: Array) -> int | tuple[int, ...]:
    """The target of one example in one of Captum's forms."""
    return tuple(map(int, index)) if index.ndim else int(index)


def output_dims(model: Model, contract: Contract) -> list[int | None]:
    """The explained output's dimensions for one example, as declared; empty where they are not."""
    shape = next((y.shape for y in model.outputs if y.name == contract.output), None)
    dims = [] if shape is None else [d if isinstance(d, int) else None for d in shape]
    return dims if contract.layout == "none" else dims[1:]


def open(source: Any, *, provider: ProviderSpec = "auto") -> AttributionModel:
    """The attribution model in ``source``, ready to be called: ``onnx_ig.open("explained.onnx").attribute(x)``.

    Args and errors: those of :class:`AttributionModel`.

    >>> import numpy as np, onnx.parser, onnx_ig
    >>> model = onnx.parser.parse_model('''<ir_version: 10, opset_import: ["": 21]>
    ...     square (float[n, 2] x) => (float[n, 2] y) { y = Mul(x, x) }''')
    >>> x = np.array([[3, -4]], np.float32)
    >>> explained = onnx_ig.export(model, "any_target.onnx", overwrite=True)
    >>> print(onnx_ig.open(explained).attribute(x, target=1).round(3))
    [[ 0. 16.]]
    """
    return AttributionModel(source, provider=provider)
