"""A loop over texts of different lengths with a small BERT: ours against Captum's, first call, exports and all.

    python -m tools.length_loop [--places inputs layer] [--lengths N] [--ascending]

Both explain every text once, in turns in one process: at the embeddings as inputs (IntegratedGradients), or at the
embedding layer (LayerIntegratedGradients). Printed are seconds in all, of the first call and of the median call, by the
clock and of the processor; and the resident memory after the tenth and the last text, each in a process of its own.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import captum.attr
import torch
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification

import onnx_ig

LIBRARIES: dict[str, Any] = {"onnx-ig": onnx_ig, "Captum": captum.attr}
PLACES = ("inputs", "layer")
_SHORTEST = 8
_TENTH = 9


def main() -> None:
    """Run as a command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--places", nargs="+", choices=PLACES, default=PLACES)
    parser.add_argument("--lengths", type=int, default=50)
    parser.add_argument("--ascending", action="store_true", help="instead of in random order")
    parser.add_argument("--alone", choices=LIBRARIES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    lengths = list(range(_SHORTEST, _SHORTEST + options.lengths))
    if not options.ascending:
        random.Random(0).shuffle(lengths)
    warnings.simplefilter("ignore")
    for place in options.places:
        if options.alone:
            used = [memory for *_, memory in _explained(place, lengths, [options.alone])[options.alone]]
            print(f"{used[0]:.0f} {used[min(_TENTH, len(used) - 1)]:.0f} {used[-1]:.0f}")
            continue
        taken = _explained(place, lengths, list(LIBRARIES))
        print(f"\n{len(lengths)} lengths from {min(lengths)} to {max(lengths)}, at the {place}:")
        for name, calls in taken.items():
            clock, processor = ([call[i] for call in calls] for i in (0, 1))
            memory = subprocess.run(
                [sys.executable, "-m", "tools.length_loop", *sys.argv[1:], "--places", place, "--alone", name],
                capture_output=True,
                text=True,
                check=True,
            )
            first, tenth, last = memory.stdout.split()
            print(
                f"  {name:8} {_seconds(clock)} by the clock; {_seconds(processor)} of the processor; "
                f"memory {first} MB after the first, {tenth} after the tenth, {last} after the last",
                flush=True,
            )
        ours, theirs = taken.values()
        ratios = [sum(call[i] for call in ours) / sum(call[i] for call in theirs) for i in (0, 1)]
        print(f"  onnx-ig takes {ratios[0]:.2f} times Captum's time by the clock, {ratios[1]:.2f} of the processor")


def _seconds(calls: Sequence[float]) -> str:
    return f"{sum(calls):.2f} s (first {calls[0]:.2f}, median {statistics.median(calls):.3f})"


def _explained(place: str, lengths: Sequence[int], names: Sequence[str]) -> dict[str, list[tuple[float, float, float]]]:
    """Of each call the seconds, by the clock and of the processor, and the megabytes resident after it."""
    torch.manual_seed(0)
    config = BertConfig(hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=512)
    model = BertForSequenceClassification(config).eval()
    explain = {name: _explainer(LIBRARIES[name], place, model) for name in names}
    taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names}
    for number, length in enumerate(lengths):
        text = torch.randint(1000, config.vocab_size, (1, length))
        for name in names if number % 2 else names[::-1]:
            clock, processor = time.perf_counter(), time.process_time()
            explain[name](text)
            seconds = time.perf_counter() - clock, time.process_time() - processor
            taken[name].append((*seconds, _resident()))
    return taken


def _explainer(library: Any, place: str, model: BertForSequenceClassification) -> Callable[[Tensor], Tensor]:
    embed = model.bert.embeddings
    if place == "layer":
        at_layer = library.LayerIntegratedGradients(lambda text: model(text).logits, embed)
        return lambda text: at_layer.attribute(text, torch.zeros_like(text), target=1)
    at_inputs = library.IntegratedGradients(lambda vectors: model(inputs_embeds=vectors).logits)
    return lambda text: at_inputs.attribute(embed.word_embeddings(text).detach(), target=1)


def _resident() -> float:
    """Megabytes. (Linux)"""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
