"""Attribute an ordinary model by the method that Python has for it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cached_property

from onnx_ig.attribution import Plan, default_inputs, make_plan
from onnx_ig.attribution.batch_axis import examples_first
from onnx_ig.attribution.layout import example_shape, require_row_each
from onnx_ig.cli.attributing.noise import baseline_notes, noise_notes, requested_noise
from onnx_ig.cli.attributing.pieces import bytes_of_a_row
from onnx_ig.cli.attributing.request import AttributeOptions, Found, of_several
from onnx_ig.cli.attributing.text import at_the_embedding
from onnx_ig.cli.options.path import requested_rule
from onnx_ig.cli.options.shared import DEFAULT_ALGORITHM
from onnx_ig.cli.reading.values import Values, apart, given_names, read_values
from onnx_ig.common.types import Progress
from onnx_ig.data import Window
from onnx_ig.engine.averaged import from_each, smoothed
from onnx_ig.errors import InputError
from onnx_ig.graph.declared import spec_of
from onnx_ig.loading.model import Model, tensors_of
from onnx_ig.methods.arguments import broadcast_baselines, broadcast_target
from onnx_ig.methods.by_algorithm import method_for
from onnx_ig.methods.explanation import Answer
from onnx_ig.methods.gradients import InputXGradient
from onnx_ig.methods.integrated_gradients import IntegratedGradients
from onnx_ig.methods.requests import Arguments
from onnx_ig.methods.strongest_classes import outputs_of_first, strongest_classes
from onnx_ig.report.page import most_sections


class Plain:
    """An ordinary model, whose inputs are attributed, or the tensors ``options.at``.

    Raises:
        UsageError, InputError: see those classes.
    """

    def __init__(self, model: Model, options: AttributeOptions) -> None:
        self._model = examples_first(model, options.batch_axis)
        self._options = options = at_the_embedding(self._model, options)
        self._algorithm = options.algorithm or DEFAULT_ALGORITHM
        self._integrated = self._algorithm == DEFAULT_ALGORITHM
        self._rule = requested_rule(
            self._algorithm, options.method, options.n_steps, options.tolerance, options.max_steps, options.baselines
        )

    @cached_property
    def _method(self) -> IntegratedGradients | InputXGradient:
        options = self._options
        return method_for(self._algorithm)(
            self._model,
            options.multiply_by_inputs is not False,
            output=options.output,
            at=options.at,
            sum_over=options.sum_over,
            provider=options.provider,
            batch_axis=options.batch_axis and 0,
        )

    def cut(self) -> Collection[str] | None:
        """As :class:`.request.Explainer` says; so :meth:`row_bytes`, :meth:`read`, :meth:`found`."""
        try:
            names = [*given_names(self._options.inputs, [spec_of(x) for x in self._model.inputs])] or self._default()
        except InputError:
            return None
        plan = _planned(self._model, self._options, names)
        if plan is None or plan.layout.kind == "none" or plan.layout.whole:
            return None
        return {*names, *plan.per_example, *self._options.per_example}

    def row_bytes(self) -> int:
        by_name = {str(tensor.name): tensor for tensor in tensors_of(self._model.ir_model.graph)}
        inner = [by_name[name] for name in self._options.at if name in by_name]
        return bytes_of_a_row([spec_of(x) for x in (*self._model.inputs, *inner)], self._options)

    def _default(self) -> Sequence[str]:
        return default_inputs(self._model, self._options.at)

    def read(self, window: Window | None) -> Values:
        options, model = self._options, self._model
        values = read_values(
            [spec_of(x) for x in model.inputs], self._default, options.inputs, options.extra,
            options.baselines, options.pictures, batched=lambda names: _batched(model, options, names),
            files=replace(options.files, window=window), allow_nonfinite=options.allow_nonfinite,
            otherwise=model.defaults,
        )  # fmt: skip
        return values.with_padding() if self._integrated else values

    def found(self, values: Values, progress: Progress) -> Found:
        options = self._options
        values, many = apart(values, lambda: _batched(self._model, options, list(values.inputs)))
        _refuse_early(self._model, options, values)
        target, noise = values.target(options.target), requested_noise(options)
        given = Arguments(
            values.inputs,
            values.baselines,
            "predicted" if target is None else target,
            values.extra,
            options.per_example,
            options.allow_nonfinite,
            options.internal_batch_size,
            progress,
        )
        rule = from_each(smoothed(self._rule, noise), many)
        said = (*baseline_notes(many), *noise_notes(noise))
        if options.targets is None:
            answers = [self._method.answer(given, rule, estimate=True)]
        else:
            answers = self._method.answers(given, values.targets(options.targets), rule)
        found = of_several([self._found(answer, said) for answer in answers])
        first, targets = answers[0], [answer.request.target for answer in answers]
        shown = most_sections(options.draw) - (0 if values.window is None else values.window.rows.start)
        shown = min(shown, first.request.examples)
        outputs = outputs_of_first(first.engine, first.request, first.found.outputs, shown)
        output = first.engine.plan.output
        classes = strongest_classes(first.bound.model, output, outputs, targets, options.names.classes)
        return replace(found, classes=classes)

    def _found(self, answer: Answer, said: Sequence[str]) -> Found:
        """The answer for one target; ``said``: notes on what was asked."""
        finding = answer.finding(self._rule).finding() | {"algorithm": self._algorithm}
        return Found(**finding, missed=answer.missed, notes=(*said, *answer.notes.all))


def _batched(model: Model, options: AttributeOptions, inputs: Sequence[str]) -> bool:
    plan = _planned(model, options, inputs)
    return options.batch_axis is not None if plan is None else plan.layout.kind != "none"


def _planned(model: Model, options: AttributeOptions, inputs: Sequence[str]) -> Plan | None:
    """What is done as far as declared shapes tell; None where only the data tell the ranks: the engine sees both."""
    if any(x.shape is None for x in model.inputs if x.name in inputs):
        return None
    try:
        return make_plan(
            model,
            algorithm=options.algorithm or DEFAULT_ALGORITHM,
            inputs=inputs,
            output=options.output,
            at=list(options.at),
            batch_axis=options.batch_axis and 0,
            sum_over=options.sum_over,
            multiply_by_inputs=options.multiply_by_inputs is not False,
        )
    except InputError:
        return None


def _refuse_early(model: Model, options: AttributeOptions, values: Values) -> None:
    """Whether names, target and baselines fit, as far as declared shapes tell: building the gradient takes its time.

    Raises:
        UsageError, InputError: they do not.
    """
    broadcast_baselines(values.inputs, values.baselines, options.allow_nonfinite)
    plan = _planned(model, options, list(values.inputs))
    if plan is None:
        return
    by_name = {str(tensor.name): tensor for tensor in tensors_of(model.ir_model.graph)}
    alone, examples = plan.layout.kind == "none", len(next(iter(values.inputs.values()), ()))
    if model.note and alone and options.batch_axis is not None:  # PyTorch's examples lie on axis 0
        require_row_each({name: value.shape for name, value in values.inputs.items()}, by_name[plan.output])
    fed = {**values.inputs, **values.extra}
    sizes = {d: n for x in model.inputs if x.shape for d, n in zip(x.shape, fed[str(x.name)].shape, strict=False)}
    shapes: dict[str, Sequence[int | None] | None] = {}
    for name in plan.at:
        declared = by_name[name].shape
        shape = None if declared is None else [d if isinstance(d, int) else sizes.get(d) for d in declared]
        if shape is not None and name in plan.summed_axes:
            shape[plan.summed_axes[name]] = 1
        shapes[name] = [1, *shape] if alone and shape is not None else shape
    dims = example_shape(by_name[plan.output], plan.layout)
    options.names.of_some(values.of_these).check(shapes, 1 if alone else examples, dims)
    known = [d for d in dims if d is not None]
    several = values.targets(options.targets)
    for target in several if isinstance(several, list) else [values.target(options.target)]:
        if len(known) == len(dims) and not (target is None or isinstance(target, str)):
            broadcast_target(target, 1 if alone else examples, known, batched=not alone)
