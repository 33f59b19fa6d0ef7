"""Count what attribution models ask of a GPU, on a machine without one: over a pretended device (tools.gpu.pretended).

    python -m tools.gpu.dry_run [--models NAME ...] [--forms FORM ...] [--calls] [--rows FILE] [--write]

Thirteen architectures in each form, in the sessions of this package: nodes that ONNX Runtime leaves to the CPU, Memcpy
nodes that it adds, and of one Run for one example (16 path points in the step, 48 in the other forms) the kernels
launched, the waits, the bytes copied between host and device, the convolutions that cuDNN plans anew, and whether the
model is captured into a CUDA graph. Then what calls of IntegratedGradients copy and plan, the first time and the
second. ``--calls`` counts these alone, ``--rows`` keeps the rows as JSON, ``--write`` puts them into
tools/results/cuda_dry_run.{md,json}.

It needs Linux on x86-64, gcc and, the first time, 256 MB from the package index, in .cache/pretended_cuda; the exit
code is 5 where these are missing, and 1 if a node is off CUDA.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from tools.gpu.pretended.running import is_pretended, run_over_it
from tools.gpu.tables import RESULTS, Row, has_failed, line

_CALLS = (("ResNet-50", 64), ("MobileNetV3", 64), ("LSTM", 64), ("MLP", 64), ("ResNet-50", 1))
_CASE = ("model", "form", "examples", "call")  # what tells a row from the others
STEM = "cuda_dry_run"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a command; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _options(given)
    return _counted(options) if is_pretended() else run_over_it("tools.gpu.dry_run", given)


def _options(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", nargs="+", metavar="NAME")
    parser.add_argument("--forms", nargs="+", metavar="FORM")
    parser.add_argument("--calls", action="store_true")
    parser.add_argument("--rows", type=Path, metavar="FILE")
    parser.add_argument("--write", action="store_true")
    return parser.parse_args(given)


def _counted(options: argparse.Namespace) -> int:
    warnings.simplefilter("ignore")
    rows: list[Row] = []
    for row in _rows(options):
        if not rows or list(row) != list(rows[-1]):
            print(f"\n{line(row)}\n|{'---|' * len(row)}")
        rows.append(row)
        print(line(row.values()), flush=True)
        if options.rows:
            options.rows.write_text(json.dumps(rows, indent=1) + "\n")
        if options.write:
            _write(rows)
    print(f"\n{summary(rows)}")
    return int(any(row.get("on the CPU", 0) or row.get("Memcpys", 0) or has_failed(row) for row in rows))


def _rows(options: argparse.Namespace) -> Iterator[Row]:
    from tools.full_size import MODELS
    from tools.gpu.dry_counts import called, counted  # they open ONNX Runtime, which is another one out there
    from tools.gpu.dry_models import DRY, FORMS, attribution_model, loaded

    for name in () if options.calls else options.models or DRY:
        model = loaded(MODELS[name])
        for form in options.forms or FORMS:
            yield {"model": name, "form": form, **counted(attribution_model(model, form))}
    if options.calls or not (options.models or options.forms):
        for name, examples in _CALLS:
            yield from ({"model": name, "examples": examples, **row} for row in called(MODELS[name], examples))


def summary(rows: list[Row]) -> str:
    """All of it in one line."""
    runs = [row for row in rows if "form" in row]
    models = len({row["model"] for row in runs})
    captured = sum(row["CUDA graph"] == "yes" for row in runs)
    total = {name: sum(row[name] for row in runs) for name in ("on the CPU", "Memcpys", "launches", "plans rebuilt")}
    return (
        f"{models} models: {total['on the CPU']} nodes off CUDA, {total['Memcpys']} Memcpy, "
        f"{total['launches']} launches, {total['plans rebuilt']} plans rebuilt, "
        f"{captured} of {len(runs)} captured into CUDA graphs"
    )


def _write(found: list[Row]) -> None:
    """Put these rows in the place of the files' rows of the same models, forms and calls."""
    path = RESULTS / f"{STEM}.json"
    earlier: list[Row] = json.loads(path.read_text()) if path.exists() else []
    merged = {tuple(row.get(key) for key in _CASE): row for row in [*earlier, *found]}
    rows = list(merged.values())
    parts = ["# What the attribution models ask of a GPU", f"`python -m tools.gpu.dry_run --write`: {_READ}"]
    for title, key in (("One Run", "form"), ("Calls of 48 steps", "examples")):
        own = [row for row in rows if key in row]
        if own:
            table = [line(own[0]), "|" + "---|" * len(own[0]), *(line(row.values()) for row in own)]
            parts += [f"## {title}", "\n".join(table)]
    RESULTS.joinpath(f"{STEM}.md").write_text("\n\n".join([*parts, summary(rows)]) + "\n")
    path.write_text(json.dumps(rows, indent=1) + "\n")


_READ = (
    "counted over a pretended device, by ONNX Runtime 1.31.1's own CUDA provider. The step for 16 path points and one "
    "example, the others for 48; bytes between host and device; loops and scans cannot be captured into CUDA graphs."
)


if __name__ == "__main__":
    sys.exit(main())
