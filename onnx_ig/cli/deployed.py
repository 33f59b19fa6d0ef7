"""Attribute by an attribution model: its own inputs are read from files, options held against what is baked in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from onnx_ig.attribution import contract as names
from onnx_ig.attribution.contract import Contract
from onnx_ig.cli.request import AttributeOptions, Found
from onnx_ig.cli.values import read_values
from onnx_ig.common.types import Array, Progress
from onnx_ig.deployed.attribution_model import AttributionModel, output_dims
from onnx_ig.deployed.baked import PathChoice
from onnx_ig.errors import UsageError
from onnx_ig.graph.declared import spec_of
from onnx_ig.loading.model import Model
from onnx_ig.methods.requests import Arguments


def attribute_deployed(opened: AttributionModel, options: AttributeOptions, progress: Progress) -> Found:
    """Attributions by the attribution model that is ``opened``.

    Raises:
        UsageError: an option contradicts what is baked into the file.
        InputError, ProviderError, OutOfMemoryError: see those classes.
    """
    contract, model = opened.contract, opened.model
    _refuse_contradictions(contract, options)
    own = {entry.name for entry in contract.inputs if entry.role in ("attributed", "per_example", "shared")}
    attributed = contract.named("attributed")
    batched = contract.layout != "none"
    values = read_values(
        [spec_of(x) for x in model.inputs if x.name in own], lambda: attributed, options.inputs, options.extra,
        options.baselines, options.pictures, batched=lambda _: batched, files=options.files,
        allow_nonfinite=options.allow_nonfinite,
        otherwise={name: value for name, value in model.defaults.items() if name in own},
    )  # fmt: skip
    values = values.with_padding() if contract.named("baseline") else values
    if set(values.inputs) != set(attributed):
        raise UsageError(
            f"this attribution model attributes {', '.join(attributed)}: give exactly these with -i, "
            "others with --extra"
        )
    examples = len(next(iter(values.inputs.values()))) if batched else 1
    options.names.check(_reported_shapes(model, contract, values.inputs), examples, output_dims(model, contract))
    target = values.target(options.target)
    given = Arguments(
        values.inputs,
        values.baselines,
        "predicted" if target is None and contract.named("target") else target,
        values.extra,
        (),
        options.allow_nonfinite,
        options.internal_batch_size,
        progress,
    )
    path = PathChoice(options.method, options.n_steps, options.tolerance, options.max_steps)
    found = opened.answer(given, path)
    return Found(
        algorithm=contract.algorithm,
        attributions=found.attributions,
        score=found.score,
        provider=opened.session.provider,
        inputs={name: value for name, value in values.inputs.items() if name in contract.at},
        batched=batched,
        target=found.target,
        baseline_score=found.baseline_score,
        convergence_delta=found.convergence_delta,
        method=found.method,
        n_steps=found.n_steps,
        tolerance=found.tolerance,
        error_estimate=found.error_estimate,
        steps_used=found.steps_used,
        missed=found.missed,
        pictures={name: value for name, value in values.pictures.items() if name in contract.at},
        series={name: value for name, value in values.series.items() if name in contract.at},
        features={name: value for name, value in values.features.items() if name in contract.at},
        rows=values.rows,
        words=next(iter(values.words.values()), ()),
        example_names=values.example_names if batched else (),
        notes=(*values.notes, *found.notes, *found.advice),
        straight_through=contract.straight_through,
    )


def _refuse_contradictions(contract: Contract, options: AttributeOptions) -> None:
    """Options that choose what is explained, and how: all of them are baked in.

    Raises:
        UsageError: one asks for something else.
    """
    for option, asked, baked in _pairs(contract, options):
        if asked is not None and asked != baked:
            raise UsageError(
                f"{option} {_text(asked)}: this attribution model has {_text(baked)} baked in; leave the option out, "
                "or export again"
            )


def _pairs(contract: Contract, options: AttributeOptions) -> Iterator[tuple[str, Any, Any]]:
    yield "--algorithm", options.algorithm, contract.algorithm
    yield "--output", options.output, contract.output
    yield "--at", list(options.at) or None, contract.at
    yield "--multiply-by-inputs", options.multiply_by_inputs, contract.multiply_by_inputs
    unknown = sorted(set(options.per_example) - set(contract.named("per_example")))
    yield "--per-example", unknown or None, contract.named("per_example") or "none"
    if options.batch_axis or (options.batch_axis is None and contract.layout != "none"):
        yield "--batch-axis", options.batch_axis or "none", f"0 ({contract.layout})"


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _reported_shapes(
    model: Model, contract: Contract, inputs: dict[str, Array]
) -> dict[str, Sequence[int | None] | None]:
    """The shape of each tensor that is reported, the axis of examples included, as far as the file tells."""
    declared = {str(y.name): y.shape for y in model.outputs}
    shapes: dict[str, Sequence[int | None] | None] = {}
    for name in contract.at:
        shape = declared.get(contract.prefix + names.ATTRIBUTION + name)
        given = inputs.get(name)
        known = None if shape is None else [d if isinstance(d, int) else None for d in shape]
        known = known if given is None else list(given.shape)
        shapes[name] = [1, *known] if known is not None and contract.layout == "none" else known
    return shapes
