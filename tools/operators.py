"""The table of operators: how each is differentiated, how many node tests are right, which runtimes have a kernel.

python -m tools.operators            judge everything and print the table (minutes)
python -m tools.operators --refresh  ... and write it to tools/results/operators.md
python -m tools.operators --check    fail when operators, ways or case counts differ from that file (seconds)
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx

import onnx_ig.autodiff.rules
import onnx_ig.loading.foreign  # noqa: F401  (both fill their tables)
from onnx_ig.autodiff.registry import Entry, registered
from onnx_ig.checking.kernels import table as table_of_kernels
from onnx_ig.loading.foreign.table import rewritten
from tests.judging.judge import judge
from tests.judging.node_tests import operators_of, standard_cases

ROOT = Path(__file__).parent.parent
TABLE = ROOT / "tools" / "results" / "operators.md"
# Operators that never reach the engine, and what becomes of them when a model is loaded.
AT_LOAD = {
    "Scatter": ("lowering", "rewritten to ScatterElements at load"),
    "Upsample": ("lowering", "rewritten to Resize at load"),
    "ai.onnx.ml::ZipMap": ("lowering", "at load: the scores it maps to labels are the output"),
}
WORKING, NEWEST_RUN = 18, 26  # the opset models are brought to; the newest that ONNX Runtime reads
_NO_KERNEL = ("-", "N", "not listed", "")
COLUMNS = {"CUDA": "ort_cuda", "WebGPU": "ort_webgpu", "TensorRT": "tensorrt", "OpenVINO": "openvino"}


@dataclass
class Row:
    """One operator: the way it is differentiated, its node tests by outcome, and the runtimes that have a kernel.

    ``outcomes`` are of the tests that ONNX Runtime reads, ``newest`` of those at opsets beyond, ``at_run_time`` of both
    with every input left at run time. ``reason``: why the derivative is zero or refused.
    """

    name: str
    way: str
    reason: str = ""
    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    newest: Counter[str] = field(default_factory=Counter)
    at_run_time: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    runtimes: dict[str, bool] = field(default_factory=dict)

    def structure(self) -> str:
        """The cells that do not need judging."""
        marks = " | ".join("yes" if self.runtimes.get(c) else "" for c in COLUMNS)
        return f"| {self.name} | {self.way} | {self.reason} | {self.cases} | {marks} |"

    def line(self) -> str:
        """The table's line."""
        notes = "; ".join(sorted(set(self.notes)))
        shares = " | ".join(_share(counts) for counts in (self.outcomes, self.newest, self.at_run_time))
        unjudged = self.outcomes["unjudged"] + self.newest["unjudged"]
        return f"{self.structure()} {shares} | {unjudged or ''} | {notes} |"


def _right(counts: Counter[str]) -> int:
    return counts["right"] + counts["zero"]


def _judged_of(counts: Counter[str]) -> int:
    return _right(counts) + counts["wrong"] + counts["refused"]


def _share(counts: Counter[str]) -> str:
    """Right / judged, empty where none is judged."""
    return f"{_right(counts)} / {_judged_of(counts)}" if _judged_of(counts) else ""


def ways() -> dict[str, Row]:
    """How each operator is differentiated: the standard's newest opset, and other domains that have a rule."""
    table = registered() | dict.fromkeys(rewritten(), Entry("lowering"))
    rows = {}
    for schema in onnx.defs.get_all_schemas():
        if schema.domain not in ("", "ai.onnx.ml", "ai.onnx.preview"):
            continue
        name = schema.name if not schema.domain else f"{schema.domain}::{schema.name}"
        entry = table.get((schema.domain, schema.name))
        rows[name] = Row(name, *_way(name, schema, entry))
    for (domain, op_type), entry in table.items():
        name = op_type if not domain else f"{domain}::{op_type}"
        rows.setdefault(name, Row(name, entry.kind, entry.reason))
    for name, record in table_of_kernels().items():
        if name in rows:
            rows[name].runtimes = {c: record[key] not in _NO_KERNEL for c, key in COLUMNS.items()}
    return dict(sorted(rows.items(), key=lambda item: ("::" in item[0], item[0])))


def _way(name: str, schema: onnx.defs.OpSchema, entry: Entry | None) -> tuple[str, str]:
    """How the operator is differentiated, and the reason where its derivative is zero or refused."""
    if name in AT_LOAD:
        return AT_LOAD[name]
    body = schema.has_function or schema.has_context_dependent_function
    if entry is None:
        return ("function body", "") if body else ("refused", "no rule is written")
    if entry.kind in ("rule", "lowering") and body and not onnx.defs.has(name, WORKING, schema.domain):
        return f"function body, {entry.kind}", ""  # the body brings it down to opset 18; the rule serves where it stays
    return entry.kind, entry.reason


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
    """All rows; with ``judged`` every node test is judged (static shapes), with its integer inputs constant and not."""
    rows, owner = ways(), owners()
    for name in owner.values():
        rows.setdefault(name, Row(name, "refused", "no rule is written"))
        rows[name].cases += 1
    if judged:
        with ProcessPoolExecutor() as pool:
            for result in pool.map(_judged, owner, chunksize=8):
                row = rows[owner[result.name]]
                if row.way == "refused" and result.outcome == "refused":  # as it should be: the reason stands beside
                    result = replace(result, outcome="unjudged", detail="refused by name")
                (row.newest if result.newest else row.outcomes)[result.outcome] += 1
                if result.outcome == "unjudged":
                    row.notes.append(result.detail.split(":")[0])
                elif result.outcome in ("wrong", "refused"):
                    row.notes.append(f"{result.outcome}: {_reason(result.detail)}")
                elif result.detail and not result.newest and result.outcome == "right":
                    row.notes.append(result.detail)
                if result.outcome in ("right", "zero") and result.at_run_time:
                    row.at_run_time[result.at_run_time] += 1
                    if result.at_run_time in ("wrong", "refused"):
                        row.notes.append(f"{result.at_run_time} at run time: {_reason(result.run_time_detail)}")
    return list(rows.values())


@dataclass(frozen=True)
class Result:
    """What the judge says of a node test; ``at_run_time`` is empty where it has no input that was made constant."""

    name: str
    newest: bool
    outcome: str
    detail: str
    at_run_time: str = ""
    run_time_detail: str = ""


def _judged(name: str) -> Result:
    case = standard_cases()[name]
    verdict = judge(case)
    opset = next((o.version for o in case.model.opset_import if o.domain in ("", "ai.onnx")), 0)
    result = Result(name, opset > NEWEST_RUN, verdict.outcome, verdict.detail)
    if not any(case.constants):
        return result
    free = judge(replace(case, constants=()))
    return replace(result, at_run_time=free.outcome, run_time_detail=free.detail)


def _reason(message: str) -> str:
    """Why, from the message of a refusal: what stands between the node and the advice."""
    return message.split("): ", 1)[-1].split(". ")[0]


def rendered(rows: list[Row]) -> str:
    """The Markdown file."""
    nothing: Counter[str] = Counter()
    total = sum((row.outcomes for row in rows), nothing)
    newest = sum((row.newest for row in rows), nothing)
    free = sum((row.at_run_time for row in rows), nothing)
    by_way = Counter(row.way for row in rows)
    head = [
        "# Operators",
        "",
        f"Node tests of onnx {onnx.__version__}, inputs such as axes and shapes as constants: {_sentence(total)}; "
        f"at opsets above {NEWEST_RUN}, which ONNX Runtime refuses (onnx's reference evaluator runs them): "
        f"{_sentence(newest)}. Not judged: {total['unjudged'] + newest['unjudged']}, for the reason in the notes.",
        "",
        f"The same with those inputs left at run time: {_sentence(free)}; each refusal's reason is in the notes.",
        "",
        f"Operators: {', '.join(f'{way} {count}' for way, count in sorted(by_way.items()))}. *Function body, "
        f"rule*: the body brings a model down to opset {WORKING}; the rule serves where another node keeps it newer.",
        "",
        "Right: the gradient agrees with central differences in float64, and in float32 in ONNX Runtime. Written by",
        "`python -m tools.operators --refresh`; runtimes from onnx_ig/checking/kernels.tsv (early 2026; a lead, "
        "not proof).",
        "",
        f"| operator | by | why zero or refused | node tests | {' | '.join(COLUMNS)} | right / judged | "
        f"opset above {NEWEST_RUN} | at run time | unjudged | notes |",
        f"|---|---|---|---|{'---|' * len(COLUMNS)}---|---|---|---|---|",
    ]
    return "\n".join(head + [row.line() for row in rows]) + "\n"


def _sentence(counts: Counter[str]) -> str:
    return (
        f"{_right(counts)} right of {_judged_of(counts)} judged ({counts['wrong']} wrong, {counts['refused']} refused)"
    )


def stale(rows: list[Row]) -> list[str]:
    """Lines of the committed table that no longer hold, and rows it lacks."""
    written = TABLE.read_text() if TABLE.exists() else ""
    return [row.structure() for row in rows if row.structure() not in written]


def main() -> int:
    """Run as a command; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--refresh", action="store_true", help=f"also write it to {TABLE.relative_to(ROOT)}")
    instead.add_argument("--check", action="store_true", help="judge nothing: fail where that file is stale (seconds)")
    options = parser.parse_args()
    if options.check:
        differences = stale(table(judged=False))
        print(
            "\n".join(["the table of operators is stale: run python -m tools.operators --refresh", *differences])
            if differences
            else "ok"
        )
        return 1 if differences else 0
    rows = table(judged=True)
    text = rendered(rows)
    print(text)
    if options.refresh:
        TABLE.write_text(text)
    return 1 if any(row.outcomes["wrong"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
