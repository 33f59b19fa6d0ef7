"""Attribute by an attribution model: its own inputs are read from files, options held against what is baked in."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from onnx_ig.attribution import contract as names
from onnx_ig.attribution.contract import Contract
from onnx_ig.cli.attributing.pieces import bytes_of_a_row
from onnx_ig.cli.attributing.request import AttributeOptions, Found, of_several
from onnx_ig.cli.reading.values import Values, read_values
from onnx_ig.common.types import Array, Progress
from onnx_ig.data import Window
from onnx_ig.deployed.attribution_model import AttributionModel, output_dims
from onnx_ig.deployed.baked import PathChoice
from onnx_ig.deployed.examples import layout_in_file
from onnx_ig.deployed.run import Explained
from onnx_ig.errors import UsageError
from onnx_ig.graph.declared import spec_of
from onnx_ig.loading.model import Model
from onnx_ig.methods.requests import Arguments
from onnx_ig.methods.strongest_classes import strongest_classes
from onnx_ig.report.page import most_sections


class Deployed:
    """An attribution model that is ``opened``.

    Raises:
        UsageError: an option contradicts what is baked into the file.
        InputError: see that class.
    """

    def __init__(self, opened: AttributionModel, options: AttributeOptions) -> None:
        self._opened, self._options = opened, options
        self._contract, self._model = opened.contract, opened.model
        _refuse_contradictions(self._contract, options)
        own = {entry.name for entry in self._contract.inputs if entry.role in ("attributed", "per_example", "shared")}
        self._specs = [spec_of(x) for x in self._model.inputs if x.name in own]
        self._attributed = self._contract.named("attributed")
        self._batched = self._contract.layout != "none"

    def cut(self) -> Collection[str] | None:
        """As :class:`.request.Explainer` says; so :meth:`row_bytes`, :meth:`read`, :meth:`found`."""
        if not self._batched or layout_in_file(self._contract).whole:
            return None
        return {*self._attributed, *self._contract.named("per_example")}

    def row_bytes(self) -> int:
        prefix = self._contract.prefix + names.ATTRIBUTION
        inner = [y for y in self._model.outputs if str(y.name).removeprefix(prefix) in self._contract.at]
        return bytes_of_a_row([*self._specs, *map(spec_of, inner)], self._options)

    def read(self, window: Window | None) -> Values:
        options, own = self._options, {spec.name for spec in self._specs}
        values = read_values(
            self._specs, lambda: self._attributed, options.inputs, options.extra,
            options.baselines, options.pictures, batched=lambda _: self._batched,
            files=replace(options.files, window=window), allow_nonfinite=options.allow_nonfinite,
            otherwise={name: value for name, value in self._model.defaults.items() if name in own},
        )  # fmt: skip
        return values.with_padding() if self._contract.named("baseline") else values

    def found(self, values: Values, progress: Progress) -> Found:
        contract, model, options = self._contract, self._model, self._options
        if set(values.inputs) != set(self._attributed):
            raise UsageError(
                f"this attribution model attributes {', '.join(self._attributed)}: give exactly these with -i, "
                "others with --extra"
            )
        shapes = _reported_shapes(model, contract, values.inputs)
        examples = values.examples if self._batched else 1
        options.names.of_some(values.of_these).check(shapes, examples, output_dims(model, contract))
        several = options.targets is not None or contract.targets > 1
        if several and options.target is not None:
            raise UsageError(
                f"--target: this attribution model explains {contract.targets} targets of each example; choose them "
                "with --targets, or leave both out"
            )
        target = values.targets(options.targets) if several else values.target(options.target)
        given = Arguments(
            values.inputs,
            values.baselines,
            "predicted" if target is None and contract.named("target") and not several else target,
            values.extra,
            (),
            options.allow_nonfinite,
            options.internal_batch_size,
            progress,
        )
        path = PathChoice(options.method, options.n_steps, options.tolerance, options.max_steps)
        answers = self._opened.answers(given, path) if several else [self._opened.answer(given, path)]
        outputs = answers[0].outputs
        shown = most_sections(options.draw) - (0 if values.window is None else values.window.rows.start)
        classes = strongest_classes(
            model,
            contract.output,
            None if outputs is None or shown < 1 else outputs[:shown],
            [found.target for found in answers],
            options.names.classes,
            added=[contract.prefix + names.TARGET_USED],
        )
        return replace(of_several([self._found(found) for found in answers]), classes=classes)

    def _found(self, found: Explained) -> Found:
        """The answer for one target."""
        return Found(**found.finding(), missed=found.missed, notes=(*found.notes, *found.advice))


def _refuse_contradictions(contract: Contract, options: AttributeOptions) -> None:
    """Options that choose what is explained, and how: all of them are baked in.

    Raises:
        UsageError: one asks for something else.
    """
    if options.noise_samples or options.noise_std is not None or options.noise_kind:
        raise UsageError("--noise-samples goes with ordinary models: attribute the model that this one was made from")
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
    yield "--sum-over", options.sum_over, contract.sum_over or "every element"
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
        known = known if given is None else contract.summed(name, list(given.shape))
        shapes[name] = [1, *known] if known is not None and contract.layout == "none" else known
    return shapes
