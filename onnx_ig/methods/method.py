"""What all methods share: a source, the engines opened for it, and one call from the user's forms to the answer.

The one idea: a method chooses where along the path the gradient is read; everything else is the same for all.
F(x; t) is the selected output of example x, ∇F its gradient.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from onnx_ig.common import arrays
from onnx_ig.common.kept import Kept
from onnx_ig.common.progress import reported
from onnx_ig.common.types import Array, SumOver
from onnx_ig.engine.advice import Notes, notes_of
from onnx_ig.engine.averaged import from_each, row_by_row
from onnx_ig.engine.engine import Engine
from onnx_ig.engine.opening import open_engine
from onnx_ig.engine.path_rule import PathRule
from onnx_ig.engine.request import Attribution, Request
from onnx_ig.errors import InputError
from onnx_ig.methods import arguments
from onnx_ig.methods.answers import delta_type, described, first, in_form_of_inputs, like
from onnx_ig.methods.batches import Batches
from onnx_ig.methods.bound import ENGINES_KEPT, Bound
from onnx_ig.methods.captum_family import CaptumMember
from onnx_ig.methods.explanation import Answer, Explanation, explanation
from onnx_ig.methods.requests import (
    Answering,
    Arguments,
    GivenOutput,
    Remembered,
    Scorer,
    path_point,
    request_of,
    with_target,
)
from onnx_ig.methods.several_targets import as_targets, count_of, of_target, targets_of
from onnx_ig.methods.sources import forward_of, picklable, unpickled
from onnx_ig.runtime.session import ProviderSpec

# How far providers that compute with fewer bits lie off, relative to the largest output.
_ROUNDING = {"cuda-tf32": 1e-2, "tensorrt": 1e-2, "openvino-bf16": 6e-2}
_Chosen: TypeAlias = Callable[[Request, Answering], list[Array | None]]


class Method(Batches, CaptumMember):
    """What both methods share: the source, the engines built for it, and the forms of arguments and results.

    Threads may share one. Pickled or copied, it opens its models again when it is first called.

    Args:
        forward_func: an nn.Module, a callable on tensors, or anything :func:`onnx_ig.load` takes.
        output: the tensor F is selected from: of an ONNX model its name, or its position among the outputs; of what a
            PyTorch model returns a key, a field or a position. Default: the only float output.
        at: report the attribution of this float tensor inside the graph instead of the inputs', or of several: a list
            for a list. (ONNX sources)
        sum_over: add the attributions up inside the graph, along the axis of ``channels`` (the one behind the examples;
            of an input that lies as NHWC, the last) or of an ``embedding`` (the last); the axis stays, with size 1.
        batch_axis: where the examples lie in an ONNX model's inputs; None (PyTorch models too): the tensors hold one
            example, even if their shapes look like a batch. Arrays are taken and given with the examples on axis 0.
        provider: ``auto`` (CUDA if it opens, else the faster of ONNX Runtime and OpenVINO), ``cpu``, ``cuda``,
            ``cuda-tf32``, ``tensorrt``, ``openvino``, ``openvino-bf16``, or ONNX Runtime's own list.
    """

    algorithm = ""
    pooled = False  # see onnx_ig.attribution.plan.Plan

    def __init__(
        self,
        forward_func: Any,
        multiply_by_inputs: bool = True,
        *,
        output: str | int | None = None,
        at: str | Sequence[str] | None = None,
        sum_over: SumOver | None = None,
        provider: ProviderSpec = "auto",
        batch_axis: int | None = 0,
    ) -> None:
        self._multiply_by_inputs, self._sum_over = multiply_by_inputs, sum_over
        self._output, self._at, self._provider, self._batch_axis = output, at, provider, batch_axis
        self.forward_func = forward_func

    @property
    def forward_func(self) -> Any:
        """What is explained. Captum's classes for language models put another one into a copy of the method."""
        return self._forward_func

    @forward_func.setter
    def forward_func(self, forward_func: Any) -> None:
        self._forward_func = forward_func
        along_path = self.algorithm == "integrated-gradients" and self._places is None
        self._forward = forward_of(forward_func, self._batch_axis, self._output, along_path=along_path)
        self._forget_engines()

    def _forget_engines(self) -> None:
        self._engines: Kept[Engine] = Kept(ENGINES_KEPT)
        self._engine_used: Engine | None = None

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name not in ("_engines", "_engine_used")}
        return state | {"_forward_func": picklable(self._forward_func)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _forward_func=unpickled(state["_forward_func"]))
        self._forget_engines()

    def __repr__(self) -> str:
        return described(
            self,
            self._forward_func,
            at=self._at,
            sum_over=self._sum_over,
            output=self._output,
            provider=self._provider,
        )

    @property
    def _places(self) -> list[str] | None:
        return [self._at] if isinstance(self._at, str) else list(self._at) if self._at else None

    @property
    def multiplies_by_inputs(self) -> bool:
        """Whether attributions hold the factor (x − baseline); without it they are local."""
        return self._multiply_by_inputs

    @property
    def provider(self) -> str | None:
        """The execution provider of the last call, None before the first."""
        return None if self._engine_used is None else self._engine_used.provider

    def compute_convergence_delta(
        self,
        attributions: Any,
        start_point: Any,
        end_point: Any,
        target: Any = None,
        additional_forward_args: Any = None,
    ) -> Any:
        """Σ attributions − (F(end_point) − F(start_point)) of each example, [N]; ``start_point`` is the baseline."""
        given = Arguments(end_point, start_point, target, additional_forward_args)
        engine, request, _ = self._current(given, (0.0,))
        request = with_target(request, target, engine)
        values = attributions.values() if isinstance(attributions, dict) else arrays.as_list(attributions)
        total = sum(arrays.to_array(a).reshape(request.examples, -1).sum(axis=1, dtype=np.float64) for a in values)
        score, baseline_score = engine.end_scores(request)
        delta = np.asarray(total - (score - baseline_score), delta_type(request.inputs))
        return like(delta, first(end_point))

    def scorer(self, inputs: Any, target: Any = None, additional_forward_args: Any = None) -> Scorer:
        """F as a function of the inputs' arrays: what finite differences evaluate.

        A missing target is the arg-max class for outputs of rank 2, the first element for more axes.
        """

        def chosen(request: Request, model: Answering) -> Any:
            dims = model.output_dims(request)
            if target is not None or all(d == 1 for d in dims):
                return target
            return model.predicted(request) if len(dims) == 1 else (0,) * len(dims)

        given = Arguments(inputs, additional_forward_args=additional_forward_args)
        engine, request, _ = self._current(given, (), lambda r, m: [with_target(r, chosen(r, m), m).target])
        found = chosen(request, engine)
        return Scorer(engine, with_target(request, found, engine), found, list(request.inputs))

    def answer(self, given: Arguments, rule: PathRule, *, ends: bool = True, estimate: bool = False) -> Answer:
        """What the engine answers to the arguments ``given``.

        ``ends``, ``estimate``: see :func:`onnx_ig.engine.fixed.integrate_fixed`.
        """
        engine, request, bound = self._current(given, rule.nodes, path_parts=rule.path_parts)
        remembered = Remembered(engine)
        request = with_target(request, given.target, remembered)
        rule = from_each(rule, given.averaged_over(bound.inputs))
        with reported(given.progress) as progress:
            options: dict[str, Any] = {"internal_batch_size": given.internal_batch_size, "progress": progress}
            found = rule.integrate(engine, request, estimate, ends=ends, **options)
        found.outputs = remembered.found
        notes = Notes() if found.delta is None else notes_of(engine, bound.model, request, found)
        return Answer(engine, request, bound, found, rule.missed(found), notes)

    def answers(self, given: Arguments, targets: Any, rule: PathRule) -> list[Answer]:
        """What the engine answers for each of the ``targets``: one forward pass serves all at a point of the path."""
        engine, request, bound = self._current(
            given,
            rule.nodes,
            lambda r, m: [as_targets([row])[:, 0] for row in targets_of(targets, r, m)],
            targets=count_of(targets),
            path_parts=rule.path_parts,
        )
        remembered = Remembered(engine)
        rows = targets_of(targets, request, remembered)
        if engine.plan.targets == 1:
            each = [self.answer(replace(given, target=list(map(tuple, r))), rule, estimate=True) for r in rows]
            for answer in each:
                answer.found.outputs = remembered.found
            return each
        rule = from_each(rule, given.averaged_over(bound.inputs))
        with reported(given.progress) as progress:
            options: dict[str, Any] = {"internal_batch_size": given.internal_batch_size, "progress": progress}
            found = rule.integrate(engine, request.repeated(as_targets(rows)), True, **options)
        answers = []
        for k, target in enumerate(rows):
            own, asked = of_target(found, k, len(rows)), replace(request, target=as_targets([target])[:, 0])
            own.outputs = remembered.found
            notes = notes_of(engine, bound.model, asked, own)
            answers.append(Answer(engine, asked, bound, own, rule.missed(own), notes))
        return answers

    def _explained(
        self, given: Arguments, rule: PathRule, *, ends: bool = True, estimate: bool = False
    ) -> Explanation[Any]:
        began = time.perf_counter()
        answer = self.answer(given, rule, ends=ends, estimate=estimate)
        returned = self._returned(answer.found, given.inputs, answer.bound)
        return explanation(returned, answer, given, began, rule)

    def _attributed(self, given: Arguments, rule: PathRule, *, ends: bool = True) -> tuple[Any, Any]:
        """The attributions and the convergence delta of :meth:`_explained`, without the report of them."""
        answer = self.answer(given, rule, ends=ends)
        answer.warn()
        return self._returned(answer.found, given.inputs, answer.bound), answer.number_each(answer.found.delta, given)

    def _current(
        self,
        given: Arguments,
        nodes: Sequence[float] | Array,
        chosen: _Chosen | None = None,
        targets: int = 1,
        path_parts: int = 1,
    ) -> tuple[Engine, Request, Bound]:
        """An engine of what the source is now, and the request without its target.

        ``chosen``: the ``targets`` that are explained, each for all examples; default: the one that is ``given``.
        """
        chosen = chosen or (lambda request, model: [with_target(request, given.target, model).target])
        while True:
            bound = self._forward.bind(given.inputs, given.additional_forward_args)
            engine = self._engine(bound, arrays.names_as_tuple(given.per_example), targets, path_parts)
            if self._places is None:
                batched = engine.plan.layout.kind != "none"
                arguments.check_inputs(bound.inputs, given.allow_nonfinite, batched=batched)
            starts = _starts(given, bound.inputs, engine)
            request = request_of(engine.plan.layout, engine.plan.per_example, bound.inputs, bound.extra, starts[0])
            if bound.guard is None or all(
                bound.guard.agrees(
                    functools.partial(path_point, bound.inputs, start),
                    list(nodes),
                    functools.partial(engine.outputs_at, request),
                    functools.partial(_of_output, chosen, request, engine.batched),
                    _ROUNDING.get(str(self._provider), 0.0),
                )
                for start in starts
            ):
                return engine, request, bound
            self._kept(bound).drop(engine)

    def _engine(self, bound: Bound, per_example: tuple[str, ...], targets: int, path_parts: int) -> Engine:
        places = repr((self._provider, self._places, self._batch_axis))
        options = (self.algorithm, self.pooled, self._multiply_by_inputs, self._sum_over, places)
        key = (bound.key, tuple(bound.inputs), per_example, options, targets, path_parts)
        opened = functools.partial(self._opened, bound, per_example, targets, path_parts)
        self._engine_used = self._kept(bound).get_or_make(key, opened)
        return self._engine_used

    def _kept(self, bound: Bound) -> Kept[Engine]:
        return self._engines if bound.engines is None else bound.engines

    def _opened(self, bound: Bound, per_example: tuple[str, ...], targets: int, path_parts: int) -> Engine:
        return open_engine(
            bound.model,
            {**bound.inputs, **bound.extra},
            algorithm=self.algorithm,
            provider=self._provider,
            inputs=list(bound.inputs),
            output=self._forward.output,
            at=self._places,
            per_example=per_example,
            multiply_by_inputs=self._multiply_by_inputs,
            batch_axis=self._batch_axis and 0,
            targets=targets,
            path_parts=path_parts,
            pooled=self.pooled,
            sum_over=self._sum_over,
        )

    def _returned(self, result: Attribution, inputs: Any, bound: Bound) -> Any:
        """Attributions in the form of ``inputs``: one or a tuple or a dict, arrays or tensors."""
        if self._places is not None:
            inner = [like(result.attributions[name], first(inputs)) for name in self._places]
            return inner[0] if isinstance(self._at, str) else inner
        return in_form_of_inputs(result.attributions, inputs, list(bound.inputs), bound.names_given)


def _starts(given: Arguments, inputs: dict[str, Array], engine: Engine) -> list[dict[str, Array]]:
    """Where the paths begin that are averaged: at the one baseline of each example unless asked for several."""
    if not given.average_baselines:
        return [arguments.broadcast_baselines(inputs, given.baselines, given.allow_nonfinite)]
    if engine.plan.layout.kind == "none":
        raise InputError(
            "average_baselines takes the rows of baselines along the axis of examples, and the model's tensors have "
            "none: they hold one example; take the mean of one call for each baseline"
        )
    return row_by_row(given.averaged_over(inputs))


def _of_output(chosen: _Chosen, request: Request, batched: bool, output: Array) -> list[Array | None]:
    return chosen(request, GivenOutput(output, batched))
