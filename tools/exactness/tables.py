"""The measurements as Markdown and as a plot; every number is of all examples of a row together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tools.exactness.measures import FIXED, LEAST_ORACLE, LEVELS, ORACLES, REFERENCE, AtTolerance, Floats, Measured

HEAD = (
    *("network", "tolerance", "within", "worst error / tolerance", "evaluations"),
    *("oracle", "ratio", "worst ratio", "reliable oracle", "ratio", "worst ratio", "hindsight ratio", "worst"),
)


def row(name: str, found: AtTolerance) -> tuple[str, ...]:
    """One line of the table of tolerances."""
    over = found.error / found.tolerance
    return (
        name,
        f"{100 * found.tolerance:g} %",
        f"{100 * np.mean(over <= 1):.1f} %",
        f"{over.max():.2f}",
        f"{np.median(found.evaluations):.0f}",
        _median(found.oracle),
        *_median_and_largest(found.ratio),
        _median(found.reliable),
        *_median_and_largest(found.reliable_ratio),
        *_median_and_largest(found.hindsight_ratio),
    )


def _median(values: Floats) -> str:
    return "–" if np.isnan(values).all() else f"{np.nanmedian(values):.0f}"


def _median_and_largest(values: Floats) -> tuple[str, str]:
    return (f"{np.median(values):.2f}", f"{values.max():.2f}") if len(values) else ("–", "–")


def together(all_measured: Sequence[Measured]) -> list[AtTolerance]:
    """Each tolerance over the examples of all networks."""
    tolerances = [one.tolerance for one in all_measured[0].adaptive]
    return [
        AtTolerance(
            tolerance,
            *(
                np.concatenate([getattr(m.adaptive[i], part) for m in all_measured])
                for part in ("error", "stated", "evaluations", "oracle", "reliable", "hindsight")
            ),
        )
        for i, tolerance in enumerate(tolerances)
    ]


def report(all_measured: Sequence[Measured]) -> str:
    """The whole text of tools/results/accuracy.md."""
    examples = sum(len(one.subject.inputs) for one in all_measured)
    parts = [
        "# How exact attributions are\n",
        f"`python -m tools.accuracy --write`: {examples} examples of {len(all_measured)} trained networks. Errors are "
        f"Σ |found − true| / Σ |true| of an example, the truth {REFERENCE:,} points of Gauss–Legendre or, of networks "
        "with kinks, of the middle Riemann sum. The oracle is the smallest Gauss–Legendre rule within the tolerance, "
        f"known in hindsight alone and at least {LEAST_ORACLE} points; the ratio is the evaluations over its, of the "
        f"examples for which a rule of up to {ORACLES[-1]} points is within. A small rule may be within by luck: the "
        "reliable oracle is the smallest with which all larger ones that were tried are within. The hindsight ratio "
        f"is that of the first of {LEVELS[0]}, {LEVELS[1]}, {LEVELS[2]}, ..., {LEVELS[-1]} points of the nested rule "
        "that is within, over the oracle: no stopping rule on these points is below it. "
        "Evaluations, oracles, ratios: medians.\n",
        "## Tolerances\n",
        _table(HEAD, [row("**all**", one) for one in together(all_measured)]),
        _table(HEAD, [row(m.subject.name, one) for m in all_measured for one in m.adaptive]),
        "![true error against evaluations](accuracy.png)\n",
        "## Fixed rules: median (worst) error\n",
    ]
    head = ("network", "rule", *(f"{n} points" for n in FIXED))
    rules = list(dict.fromkeys(rule for rule, _ in all_measured[0].fixed))
    lines = [
        (m.subject.name, rule, *(_median_and_worst(m.fixed[rule, n]) for n in FIXED))
        for m in all_measured
        for rule in rules
    ]
    return "\n".join([*parts, _table(head, lines)])


def plot(all_measured: Sequence[Measured], file: Path) -> None:
    """Median true error against evaluations: the five rules as lines, the tolerances as dots, a panel per network."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = min(5, len(all_measured))
    lines = -(-len(all_measured) // columns)
    figure, panels = plt.subplots(lines, columns, figsize=(3.2 * columns, 2.8 * lines), squeeze=False, sharey=True)
    for panel in panels.flat[len(all_measured) :]:
        panel.axis("off")
    for panel, one in zip(panels.flat, all_measured, strict=False):
        for rule in dict.fromkeys(rule for rule, _ in one.fixed):
            panel.loglog(FIXED, [np.median(one.fixed[rule, n]) for n in FIXED], label=rule, linewidth=1)
        evaluations = [np.median(found.evaluations) for found in one.adaptive]
        panel.loglog(evaluations, [np.median(found.error) for found in one.adaptive], "ko", label="tolerance")
        panel.set_title(one.subject.name, fontsize=9)
        panel.set_xlabel("evaluations", fontsize=8)
        panel.set_ylim(1e-6, 3)
    panels[0, 0].set_ylabel("relative error (median)", fontsize=8)
    panels[0, 0].legend(fontsize=6)
    figure.tight_layout()
    figure.savefig(file, dpi=90, metadata={"Software": None})
    plt.close(figure)


def _median_and_worst(values: object) -> str:
    return f"{np.median(np.asarray(values)):.1e} ({np.max(np.asarray(values)):.1e})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
