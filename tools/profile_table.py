"""Show where the time of Integrated Gradients goes: operator by operator, in our sessions on the CPU.

    python -m tools.profile_table [NAME ...] [--provider cpu|openvino ...] [--rows N] [--runs N] [--write]

NAME is one of full_size.MODELS, or an .onnx file. For each, and each runtime: the operators of one Run of the session
that holds the path points, grouped by shapes, by the runtime's own profiler, medians; what the products (with the
loops, whose bodies hold some) reach of the best rate that a single product has on this machine; and how much faster
than Captum nothing but products at that rate would be. The requests that OpenVINO is given two at once are profiled one
at a time, on all cores. ``--write`` saves tools/results/profile_cpu.md after each model.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import sys
import tempfile
from collections import defaultdict
from datetime import date
from pathlib import Path

import numpy as np
import onnx_ir as ir

from onnx_ig.checking.runtimes import RUNTIMES
from onnx_ig.common.types import Provider
from onnx_ig.runtime.providers import open_session
from tools.benchmark import RESULTS, SIX
from tools.benchmarking.alone import written
from tools.benchmarking.subjects import subject
from tools.benchmarking.tables import Columns, rendered
from tools.benchmarking.timing import PROVIDERS, Row
from tools.lowerings import Choice, model
from tools.profiling.flops import Shape
from tools.profiling.profiles import STEPS, Operator, Profile, node_times, profiled

_RUNTIMES = {"cpu": RUNTIMES["onnxruntime"], "openvino": RUNTIMES["openvino"]}
_LARGE = ((2048, 2048, 2048), (3000, 3000, 3000), (2048, 768, 3072), (2100, 1100, 2100))  # M, K, N
_LEAST_SHARE, _MOST_LINES = 0.02, 15

LINES: Columns = {
    "operator": lambda row: str(row["operator"]),
    "shapes": lambda row: str(row["shapes"]),
    "count": lambda row: str(row["count"]),
    "ms": lambda row: f"{row['ms']:.2f}",
    "% of the total": lambda row: f"{100 * row['share']:.1f}",
    "GFLOP/s": lambda row: f"{row['flops'] / row['ms'] / 1e6:.0f}" if row["flops"] else "",
}


def main() -> None:
    """Run as a command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", default=SIX)
    parser.add_argument("--provider", nargs="+", choices=PROVIDERS, default=PROVIDERS)
    parser.add_argument("--rows", type=int, metavar="N", help="at most at a time; else as many as the engine takes")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    best = {provider: best_rate(provider, options.runs) for provider in options.provider}
    parts = [
        "# Where the time of Integrated Gradients goes, on CPU, fp32",
        f"{date.today()}, {os.cpu_count()} cores, {', '.join(f'{e.title} {e.version()}' for e in _RUNTIMES.values())}, "
        f"medians of {options.runs} Runs (`python -m tools.profile_table {shlex.join(sys.argv[1:])}`).",
        "One Run of the session that holds the path points, after a first one; a loop's products are those of all its "
        "trips. ONNX Runtime's profiler notes each node of each trip, which doubles a loop's time; it leaves out the "
        "shapes of weights that have been rearranged, and has the channels with which the blocks of convolutions are "
        "filled. OpenVINO's requests run one at a time, on all cores.",
        f"GFLOP/s at best, of a single product: {', '.join(f'{best[p]:.0f} in {_RUNTIMES[p].title}' for p in best)}.",
    ]
    print("\n\n".join(parts), flush=True)
    for name in options.names:
        found = subject(name)
        with tempfile.TemporaryDirectory() as folder:
            file = written(found, Path(folder))
            for provider in options.provider:
                profile = profiled(found, file, provider, options.runs, options.rows)
                parts.append(section(found.name, provider, profile, best[provider]))
                print(f"\n{parts[-1]}", flush=True)
        if options.write:
            (RESULTS / "profile_cpu.md").write_text("\n\n".join(parts) + "\n")


def best_rate(provider: Provider, runs: int) -> float:
    """GFLOP/s of the fastest of some large products."""
    rates = []
    generator = np.random.default_rng(0)
    for m, k, n in _LARGE:
        x, w = (generator.standard_normal(shape).astype(np.float32) for shape in ((m, k), (k, n)))
        product = model(Choice("", {"x": x}, {}, "", {"w": w}), "y = MatMul (x, w)")
        times = node_times(open_session(ir.from_proto(product), provider), {"x": x}, runs)
        rates += [operator.flops / min(ms) / 1e6 for operator, ms in times if operator.flops]
    return max(rates)


def section(name: str, provider: str, profile: Profile, best: float) -> str:
    """A model's part of the table in one runtime."""
    rows = lines(profile)
    total = sum(row["ms"] for row in rows)
    heading = f"## {name} in {_RUNTIMES[provider].title}: {profile.points} path points per Run"
    times = f"{profile.milliseconds:.1f} ms; with the profiler, nodes of {total:.1f} ms:"
    return "\n\n".join([heading, times, rendered(LINES, rows), summary(name, profile, best)])


def lines(profile: Profile) -> list[Row]:
    """The nodes by operator and shapes, the most time first, and in the last line all that take little."""
    groups: dict[Operator, list[float]] = defaultdict(list)
    for operator, ms in profile.nodes:
        groups[operator].append(ms)
    total = sum(map(sum, groups.values()))
    rows: list[Row] = [
        {
            "operator": f"{operator.name}, trips: {operator.trips}" if operator.trips else operator.name,
            "shapes": f"{_text(operator.inputs)} → {_text(operator.outputs)}",
            "count": len(ms),
            "ms": sum(ms),
            "share": sum(ms) / total,
            "flops": operator.flops * len(ms),
        }
        for operator, ms in groups.items()
    ]
    rows.sort(key=lambda row: -row["ms"])
    shown = [row for row in rows if row["share"] >= _LEAST_SHARE][:_MOST_LINES]
    rest = rows[len(shown) :]
    sums = {key: sum(row[key] for row in rest) for key in ("count", "ms", "share", "flops")}
    return [*shown, {"operator": "all other", "shapes": "", **sums}]


def summary(name: str, profile: Profile, best: float) -> str:
    """What the products take and reach, and the least time that their number allows."""
    products = [(operator.flops / 1e9, ms / 1000) for operator, ms in profile.nodes if operator.flops]
    if not products:
        return "no products"
    flops, seconds = (sum(column) for column in zip(*products, strict=True))
    per_point = flops / profile.points
    share = 1000 * seconds / sum(ms for _, ms in profile.nodes)
    least = STEPS * per_point / best
    theirs = captums_best(name)
    compared = "" if theirs is None else f", Captum's best {theirs:.3g} s / {least:.3g} = {theirs / least:.2f} at most"
    return (
        f"products: {per_point:.3g} GFLOP per path point, {share:.0%} of the time, {flops / seconds:.0f} GFLOP/s on "
        f"average; at the best rate {best:.0f} and with all else free {STEPS} points would take {least:.3g} s{compared}"
    )


def captums_best(name: str) -> float | None:
    """Seconds, the median of the benchmark's runs; None for a model that it does not have."""
    runs = json.loads((RESULTS / "benchmark_cpu.json").read_text())
    seconds = [row["captum"] for run in runs for row in run if row["model"] == name and row.get("captum")]
    return statistics.median(seconds) if seconds else None


def _text(shapes: tuple[Shape, ...]) -> str:
    return " ".join(f"[{','.join(map(str, shape))}]" for shape in shapes)


if __name__ == "__main__":
    main()
