"""Attribute an ordinary model by the method that Python has for it."""

from __future__ import annotations

from collections.abc import Sequence

from onnx_ig.attribution import Plan, default_inputs, make_plan
from onnx_ig.attribution.batch_axis import examples_first
from onnx_ig.attribution.layout import example_shape, require_row_each
from onnx_ig.cli.options import DEFAULT_ALGORITHM
from onnx_ig.cli.path_options import requested_rule
from onnx_ig.cli.request import AttributeOptions, Found
from onnx_ig.cli.text import at_the_embedding
from onnx_ig.cli.values import Values, read_values
from onnx_ig.common.types import Progress
from onnx_ig.engine.path_rule import FixedSteps
from onnx_ig.errors import InputError
from onnx_ig.graph.declared import spec_of
from onnx_ig.loading.model import Model, tensors_of
from onnx_ig.methods.arguments import broadcast_baselines, broadcast_target
from onnx_ig.methods.gradients import InputXGradient
from onnx_ig.methods.integrated_gradients import IntegratedGradients
from onnx_ig.methods.requests import Arguments


def attribute_plain(model: Model, options: AttributeOptions, progress: Progress) -> Found:
    """Attributions of ``model``'s inputs, or of the tensors ``options.at``.

    Raises:
        UsageError, InputError, NotDifferentiableError, ProviderError, OutOfMemoryError: see those classes.
    """
    model = examples_first(model, options.batch_axis)
    options = at_the_embedding(model, options)
    algorithm = options.algorithm or DEFAULT_ALGORITHM
    integrated = algorithm == DEFAULT_ALGORITHM
    rule = requested_rule(
        algorithm, options.method, options.n_steps, options.tolerance, options.max_steps, options.baselines
    )

    values = read_values(
        [spec_of(x) for x in model.inputs], lambda: default_inputs(model, options.at), options.inputs, options.extra,
        options.baselines, options.pictures, batched=lambda names: _batched(model, options, names), files=options.files,
        allow_nonfinite=options.allow_nonfinite, otherwise=model.defaults,
    )  # fmt: skip
    values = values.with_padding() if integrated else values
    _refuse_early(model, options, values)
    method = (IntegratedGradients if integrated else InputXGradient)(
        model,
        options.multiply_by_inputs is not False,
        output=options.output,
        at=options.at,
        provider=options.provider,
        batch_axis=options.batch_axis and 0,
    )
    target = values.target(options.target)
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
    answer = method.answer(given, rule, estimate=True)
    found, plan = answer.found, answer.engine.plan
    assert found.scores is not None
    return Found(
        algorithm=algorithm,
        attributions=found.attributions,
        score=found.scores,
        provider=answer.engine.provider,
        inputs={name: value for name, value in values.inputs.items() if name in found.attributions},
        batched=plan.layout.kind != "none",
        target=answer.request.target,
        baseline_score=found.baseline_scores,
        convergence_delta=found.delta,
        method=rule.method if isinstance(rule, FixedSteps) else None,
        n_steps=rule.n_steps if isinstance(rule, FixedSteps) else None,
        tolerance=options.tolerance,
        error_estimate=found.error_estimate,
        steps_used=found.steps_used,
        missed=answer.missed,
        pictures={name: value for name, value in values.pictures.items() if name in found.attributions},
        series={name: value for name, value in values.series.items() if name in found.attributions},
        features={name: value for name, value in values.features.items() if name in found.attributions},
        rows=values.rows,
        words=next(iter(values.words.values()), ()),
        example_names=values.example_names if plan.layout.kind != "none" else (),
        notes=(*values.notes, *answer.notes.all),
        straight_through=answer.engine.straight_through,
    )


def _batched(model: Model, options: AttributeOptions, inputs: Sequence[str]) -> bool:
    plan = _planned(model, options, inputs)
    return options.batch_axis is not None if plan is None else plan.layout.kind != "none"


def _planned(model: Model, options: AttributeOptions, inputs: Sequence[str]) -> Plan | None:
    """What is done as far as declared shapes tell; None where only the data tell the ranks: the engine sees both."""
    if any(x.shape is None for x in model.inputs if x.name in inputs):
        return None
    try:
        return make_plan(
            model, inputs=inputs, output=options.output, at=list(options.at), batch_axis=options.batch_axis and 0
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
        shapes[name] = [1, *shape] if alone and shape is not None else shape
    dims = example_shape(by_name[plan.output], plan.layout)
    options.names.check(shapes, 1 if alone else examples, dims)
    known = [d for d in dims if d is not None]
    target = values.target(options.target)
    if len(known) == len(dims) and not (target is None or isinstance(target, str)):
        broadcast_target(target, 1 if alone else examples, known, batched=not alone)
