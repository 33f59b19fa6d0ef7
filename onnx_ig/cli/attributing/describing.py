"""What was found of some examples as the piece of a report that they are."""

from __future__ import annotations

from dataclasses import dataclass

from onnx_ig.cli.attributing.request import AttributeOptions, Found
from onnx_ig.cli.reading.values import Values
from onnx_ig.loading.model import Model
from onnx_ig.report import AttributionReport
from onnx_ig.report.several_targets import in_lines
from onnx_ig.report.words import token_names


@dataclass(frozen=True)
class Describing:
    """The report's pieces on ``model``, which ``source`` names, and ``options``."""

    source: str
    model: Model
    options: AttributeOptions

    def __call__(self, found: Found, values: Values) -> AttributionReport:
        """The piece of the examples whose ``values`` were explained."""
        if found.targets > 1:
            return in_lines([self(found.of_target(k), values) for k in range(found.targets)])
        attributed, shown = found.attributions, self.options.names.of_some(values.of_these)
        words = next(iter(values.words.values()), ())
        return AttributionReport(
            **found.finding(),
            model=self.source,
            model_sha256=self.model.source_sha256 or None,
            exporter=self.model.note or None,
            inputs=values.inputs,
            feature_names={
                **{name: columns for name, columns in values.features.items() if name in attributed},
                **token_names(attributed, words),
                **shown.of_features(list(attributed)),
            },
            class_names=shown.classes,
            pictures=values.pictures,
            series={name: series for name, series in values.series.items() if name in attributed},
            table=values.rows,
            words=words,
            classes=found.classes,
            example_names=values.example_names if found.batched else (),
            style=self.options.style,
        )
