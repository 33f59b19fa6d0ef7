"""What commands print: tables and lines on stdout."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from onnx_ig.attribution.contract import Contract

if TYPE_CHECKING:
    from onnx_ig.inspection import Tensor
    from onnx_ig.report import AttributionReport

EXAMPLES_SHOWN, FEATURES_SHOWN = 8, 5


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> None:
    """A plain table; columns with the indices in ``right`` are aligned right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_literal(cell) for cell in row))
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 140, highlight=False).print(table)


def _literal(text: str) -> Any:
    from rich.text import Text

    return Text(text)  # tensor names may hold square brackets, which are mark-up in a plain string


def print_attributions(report: AttributionReport, examples: int) -> None:
    """Target, scores, delta, what is known of the error, and the strongest features of the first of ``examples``."""
    columns = ["example", "target", "F(x)", "F(baseline)", "delta", "error", "steps", "strongest attributions"]
    rows = []
    head = max(1, EXAMPLES_SHOWN // report.targets)
    for index in range(min(report.examples, head * report.targets)):
        rows.append(
            [
                report.describe_example(index),
                report.describe_target(index),
                _number(report.score[index]),
                "" if report.baseline_score is None else _number(report.baseline_score[index]),
                "" if report.convergence_delta is None else f"{float(report.convergence_delta[index]):+.2g}",
                "" if report.error_estimate is None else f"{100 * float(report.error_estimate[index]):.2g} %",
                "" if report.steps_used is None else str(report.steps_used[index]),
                ", ".join(f"{name} {attribution:+.4g}" for name, attribution in _strongest(report, index)),
            ]
        )
    known = {"F(baseline)": report.baseline_score, "delta": report.baseline_score,
             "error": report.error_estimate, "steps": report.steps_used}  # fmt: skip
    shown = [i for i, column in enumerate(columns) if known.get(column, report) is not None]
    columns, rows = [columns[i] for i in shown], [[row[i] for i in shown] for row in rows]
    print_table(columns, rows, right=range(2, len(columns) - 1))
    _print_words(report)
    if examples > head:
        print(f"({examples - head} more examples in the report)")


def _strongest(report: AttributionReport, example: int) -> list[tuple[str, float]]:
    """What counts most in an example: the words of a text, whose vectors nobody reads by element, else the elements."""
    from onnx_ig.report.examples import top_features
    from onnx_ig.report.words import words_of

    for words in words_of(report, example):
        largest = sorted(words, key=lambda word: -abs(word[1]))[:FEATURES_SHOWN]
        return [(_printable(word), attribution) for word, attribution in largest]
    return [
        (feature.name or feature.tensor + str(list(feature.index)), feature.attribution)
        for feature in top_features(report, example, FEATURES_SHOWN)
    ]


def _printable(text: str) -> str:
    """What would steer the terminal is shown as a box."""
    return "".join(sign if sign.isprintable() else "□" for sign in text)


def _print_words(report: AttributionReport) -> None:
    """The words of the first examples, in colour on a terminal."""
    from rich.console import Console
    from rich.text import Text

    from onnx_ig.report.words import words_of

    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 140, highlight=False)
    for index in range(min(report.examples, EXAMPLES_SHOWN)):
        for words in words_of(report, index):
            limit = max((abs(value) for _, value in words), default=0.0) or 1.0
            line = Text(f"{report.describe_example(index)}: ")
            for word, value in words:
                strength = min(abs(value) / limit, 1.0)
                fade = round(255 - 135 * strength)
                colour = f"rgb(255,{fade},{fade})" if value > 0 else f"rgb({fade},{fade},255)"
                line.append(_printable(word), style=f"black on {colour}")
                line.append(" ")
            console.print(line)


def to_json(found: Any, **more: Any) -> str:
    """What a command found, a dataclass or its fields by name, as one JSON object, with ``more`` beside them.

    What is no finite number is null.
    """
    from onnx_ig.report.document import as_text

    def finite(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: finite(one) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [finite(one) for one in value]
        if isinstance(value, float | np.number):
            return float(value) if math.isfinite(value) else None
        return bool(value) if isinstance(value, np.bool_) else value

    content = found if isinstance(found, Mapping) else asdict(found)
    return as_text(finite({**content, **more})).rstrip()


def _number(value: Any) -> str:
    return f"{float(value):.5g}"


def call_signature(contract: Contract, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> str:
    """How an attribution model is called, for people who write the call in any language."""
    roles = {entry.name: entry.role.replace("_", "-") for entry in contract.inputs}
    factor = "" if contract.multiply_by_inputs else ", without the factor (x − baseline)"
    factor += "" if contract.sum_over is None else f", summed over {contract.sum_over}"
    where = ", ".join(map(repr, contract.at))
    lines = [f"{contract.algorithm} ({contract.form} form) of {contract.output!r} at {where}{factor}"]
    lines += ["inputs:", *aligned((x.name, shown(x), roles.get(x.name, ""), x.doc) for x in inputs)]
    lines += ["outputs:", *aligned((y.name, shown(y), y.doc) for y in outputs)]
    baked = [f"{key} = {_baked(value)}" for key, value in contract.baked.items()]
    lines.append("baked in: " + (", ".join(baked) or "nothing"))
    return "\n".join(lines + ([straight_through(contract.straight_through)] if contract.straight_through else []))


def counted(operators: Mapping[str, int]) -> str:
    """``2 DequantizeLinear, 1 QuantizeLinear``."""
    return ", ".join(f"{count} {name}" for name, count in operators.items())


def straight_through(operators: Mapping[str, int]) -> str:
    """The line that says what of a gradient is not that of the model itself."""
    return f"gradient: straight-through at {counted(operators)} (that of the float equivalent, not of rounding)"


def shown(tensor: Tensor) -> str:
    """``float32 [N, 3, 224, 224]``."""
    if tensor.shape is None:
        return f"{tensor.dtype}, any shape"
    return f"{tensor.dtype} [{', '.join('?' if d is None else str(d) for d in tensor.shape)}]"


def aligned(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Rows of equal length as indented lines with aligned columns."""
    table = list(rows)
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    for row in table:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _baked(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key} {item}" for key, item in value.items())
    if isinstance(value, list):
        return (";" if any(isinstance(item, list) for item in value) else ",").join(map(_baked, value))
    return str(value)
