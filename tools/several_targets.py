"""What three targets cost together, over three calls for one each: the six models of the benchmark.

    python -m tools.several_targets [NAME ...] [--steps N] [--rounds N] [--provider NAME]

In one process, taking turns; seconds of the processor, which other work on the machine disturbs less, and of the clock.
"""

from __future__ import annotations

import argparse
import time
import warnings
from statistics import median
from typing import Any

import numpy as np

import onnx_ig
from onnx_ig.runtime.session import ProviderSpec
from tools.benchmark import SIX
from tools.benchmarking.subjects import subject

_TARGETS = [0, 1, 0]  # BERT has two classes; which they are makes no difference


def ratios(name: str, steps: int, rounds: int, provider: ProviderSpec) -> tuple[float, float, float]:
    """(processor, clock): the ratios of the medians; the largest relative difference of the attributions."""
    model = subject(name)
    assert model.module is not None
    inputs = model.inputs(1)
    method = onnx_ig.IntegratedGradients(model.module(), provider=provider)
    arguments: dict[str, Any] = {"additional_forward_args": inputs[1:] or None, "n_steps": steps}
    taken: dict[str, list[tuple[float, float]]] = {"together": [], "alone": []}
    for turn in range(rounds + 1):
        began = time.process_time(), time.perf_counter()
        together = method.explain_targets(inputs[0], _TARGETS, **arguments)
        middle = time.process_time(), time.perf_counter()
        alone = [method.explain(inputs[0], target=found.report.target, **arguments) for found in together]
        ended = time.process_time(), time.perf_counter()
        if turn:  # the first opens the models
            taken["together"].append((middle[0] - began[0], middle[1] - began[1]))
            taken["alone"].append((ended[0] - middle[0], ended[1] - middle[1]))
    processor, clock = (
        median(t[i] for t in taken["together"]) / median(t[i] for t in taken["alone"]) for i in range(2)
    )
    pairs = [(np.asarray(a.attributions), np.asarray(b.attributions)) for a, b in zip(together, alone, strict=True)]
    return processor, clock, max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)


def main() -> None:
    """Run as a command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="of tools.full_size; default: the benchmark's six")
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--provider", default="cpu")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{options.steps} steps, {options.rounds} rounds, {options.provider}\n")
    print("| model | processor | clock | largest difference |\n|---|---|---|---|")
    for name in options.names or SIX:
        processor, clock, apart = ratios(name, options.steps, options.rounds, options.provider)
        print(f"| {name} | {processor:.2f} | {clock:.2f} | {apart:.1e} |", flush=True)


if __name__ == "__main__":
    main()
