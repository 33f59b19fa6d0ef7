"""The measurements as Markdown and as a plot; every number is of all examples of a row together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tools.exactness.measures import FIXED, LEAST_ORACLE, ORACLES, REFERENCE, AtTolerance, Measured

HEAD = ("network", "tolerance", "within", "worst error / tolerance", "evaluations", "oracle", "ratio", "worst ratio")


def row(name: str, found: AtTolerance) -> tuple[str, ...]:
    """One line of the table of tolerances."""
    over = found.error / found.tolerance
    ratio = found.ratio
    return (
        name,
        f"{100 * found.tolerance:g} %",
        f"{100 * np.mean(over <= 1):.1f} %",
        f"{over.max():.2f}",
        f"{np.median(found.evaluations):.0f}",
        "–" if np.isnan(found.oracle).all() else f"{np.nanmedian(found.oracle):.0f}",
        "–" if not len(ratio) else f"{np.median(ratio):.2f}",
        "–" if not len(ratio) else f"{ratio.max():.2f}",
    )


def together(all_measured: Sequence[Measured]) -> list[AtTolerance]:
    """Each tolerance over the examples of all networks."""
    tolerances = [one.tolerance for one in all_measured[0].adaptive]
    return [
        AtTolerance(
            tolerance,
            *(
                np.concatenate([getattr(m.adaptive[i], part) for m in all_measured])
                for part in ("error", "stated", "evaluations", "oracle")
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
        f"examples for which a rule of up to {ORACLES[-1]} points is within. "
        "Evaluations, oracle, ratio: medians.\n",
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
