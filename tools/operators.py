"""Print, refresh or check the table of operators: how each is differentiated, how many node tests are right, who runs
it.

python tools/operators.py            judge everything and print the table (minutes)
python tools/operators.py --refresh  ... and write tools/results/operators.md and the README's summary
python tools/operators.py --check    fail when operators, ways or case counts differ from that file (seconds)
"""

from __future__ import annotations

import csv
import sys
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import onnx

sys.path.insert(0, str(Path(__file__).parent.parent))

import onnx_ig.autodiff.rules  # noqa: F401  (fills the table)
from onnx_ig.autodiff.registry import registered
from tools.judge import judge
from tools.node_tests import operators_of, standard_cases

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "tools" / "results" / "operators.md"
RUNTIMES = ROOT / "tools" / "data" / "runtime_ops.tsv"
COLUMNS = {"CUDA": "ort_cuda", "WebGPU": "ort_webgpu", "TensorRT": "tensorrt", "OpenVINO": "openvino"}


@dataclass
class Row:
    """One operator: the way it is differentiated, its node tests by outcome, and the runtimes that have a kernel."""

    name: str
    way: str
    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    runtimes: dict[str, bool] = field(default_factory=dict)

    def structure(self) -> str:
        """The cells that do not need judging."""
        marks = " | ".join("yes" if self.runtimes.get(c) else "" for c in COLUMNS)
        return f"| {self.name} | {self.way} | {self.cases} | {marks} |"

    def line(self) -> str:
        """The table's line."""
        judged = self.outcomes["right"] + self.outcomes["wrong"] + self.outcomes["refused"] + self.outcomes["zero"]
        right = self.outcomes["right"] + self.outcomes["zero"]
        notes = "; ".join(sorted(set(self.notes)))[:160]
        return f"{self.structure()} {right} / {judged} | {self.outcomes['unjudged'] or ''} | {notes} |"


def ways() -> dict[str, Row]:
    """How each operator is differentiated: the standard's newest opset, and other domains that have a rule."""
    table = registered()
    rows = {}
    for schema in onnx.defs.get_all_schemas():
        if schema.domain not in ("", "ai.onnx.ml"):
            continue
        name = schema.name if not schema.domain else f"{schema.domain}::{schema.name}"
        entry = table.get((schema.domain, schema.name))
        body = schema.has_function or schema.has_context_dependent_function
        rows[name] = Row(name, entry.kind if entry else "function body" if body else "refused")
    for (domain, op_type), entry in table.items():
        name = op_type if not domain else f"{domain}::{op_type}"
        rows.setdefault(name, Row(name, entry.kind))
    with RUNTIMES.open() as file:
        for record in csv.DictReader((line for line in file if not line.startswith("#")), delimiter="\t"):
            if record["op"] in rows:
                rows[record["op"]].runtimes = {c: record[key] not in ("-", "", "N") for c, key in COLUMNS.items()}
    return dict(sorted(rows.items(), key=lambda item: ("::" in item[0], item[0])))


def owners() -> dict[str, str]:
    """Each standard node test → the operator it tests: the one with a graph of one node, else the first."""
    result = {}
    for name, case in standard_cases().items():
        ops = operators_of(case)
        domain, op_type = next(iter(ops)) if len(ops) == 1 else _main_operator(name, ops)
        result[name] = op_type if domain in ("", "ai.onnx") else f"{domain}::{op_type}"
    return result


def _main_operator(name: str, ops: set[tuple[str, str]]) -> tuple[str, str]:
    """The operator whose name the test bears; the graph's first otherwise."""
    squeezed = name.replace("_", "")
    named = [op for op in ops if op[1].lower() in squeezed]
    return max(named, key=lambda op: len(op[1])) if named else sorted(ops)[0]


def table(judged: bool) -> list[Row]:
    """All rows; with ``judged`` every node test is judged (static shapes, integer inputs constant)."""
    rows, owner = ways(), owners()
    for name in owner.values():
        rows.setdefault(name, Row(name, "refused"))
        rows[name].cases += 1
    if judged:
        with ProcessPoolExecutor() as pool:
            for name, outcome, detail in pool.map(_judged, owner, chunksize=8):
                row = rows[owner[name]]
                row.outcomes[outcome] += 1
                if outcome in ("wrong", "refused"):
                    row.notes.append(f"{name}: {detail}")
                elif outcome == "unjudged":
                    row.notes.append(detail.split(":")[0])
    return list(rows.values())


def _judged(name: str) -> tuple[str, str, str]:
    verdict = judge(standard_cases()[name])
    return name, verdict.outcome, verdict.detail


def rendered(rows: list[Row]) -> str:
    """The Markdown file."""
    total: Counter[str] = sum((row.outcomes for row in rows), Counter())
    by_way: defaultdict[str, int] = defaultdict(int)
    for row in rows:
        by_way[row.way] += 1
    right, wrong, refused = total["right"] + total["zero"], total["wrong"], total["refused"]
    head = [
        "# Operators",
        "",
        f"Node tests of onnx {onnx.__version__}: {right} right of {right + wrong + refused} judged ({wrong} "
        f"wrong, {refused} refused); "
        f"{total['unjudged']} cannot be judged (no float input or output, or the reason given).",
        f"Operators: {', '.join(f'{count} {way}' for way, count in sorted(by_way.items()))}.",
        "Right: the gradient agrees with central differences in float64, and in float32 in ONNX Runtime. Written by",
        "`python tools/operators.py --refresh`; runtimes from tools/data/runtime_ops.tsv (early 2026; a lead, "
        "not proof).",
        "",
        f"| operator | by | node tests | {' | '.join(COLUMNS)} | right / judged | unjudged | notes |",
        f"|---|---|---|{'---|' * len(COLUMNS)}---|---|---|",
    ]
    return "\n".join(head + [row.line() for row in rows]) + "\n"


def stale(rows: list[Row]) -> list[str]:
    """Lines of the committed table that no longer hold, and rows it lacks."""
    written = TABLE.read_text() if TABLE.exists() else ""
    return [row.structure() for row in rows if row.structure() not in written]


def main(arguments: list[str]) -> int:
    """Run as a command; returns the exit code."""
    if "--check" in arguments:
        differences = stale(table(judged=False))
        print(
            "\n".join(["the table of operators is stale: run tools/operators.py --refresh", *differences])
            if differences
            else "ok"
        )
        return 1 if differences else 0
    rows = table(judged=True)
    text = rendered(rows)
    print(text)
    if "--refresh" in arguments:
        TABLE.write_text(text)
    return 1 if any(row.outcomes["wrong"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
