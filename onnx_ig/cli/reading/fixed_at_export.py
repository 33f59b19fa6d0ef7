"""From ``--target`` and ``--baseline`` to what ``export`` writes into the file, before there are any data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from onnx_ig.attribution.chosen_targets import TargetSpec, TargetsSpec, targets_said
from onnx_ig.attribution.plan import BaselineSpec
from onnx_ig.cli.terminal.ending import note
from onnx_ig.common.suggestions import nearest
from onnx_ig.data import (
    MADE_BASELINES,
    FileOptions,
    InputSpec,
    TableOptions,
    class_index,
    names_in_metadata,
    parse_baseline,
    parse_target,
    read_baseline,
)
from onnx_ig.errors import UsageError
from onnx_ig.graph.declared import kind_of, of_text


def refuse_what_is_left_to_the_caller(
    algorithm: str,
    form: str,
    method: str | None,
    n_steps: int | None,
    path_as_input: bool,
    steps_per_run: int | None,
    baselines: Sequence[str],
) -> None:
    """Refuse options that the written model would not obey.

    Raises:
        UsageError: one is given.
    """
    of_the_path = {
        "--method": method,
        "--n-steps": n_steps,
        "--path-as-input": path_as_input or None,
        "--steps-per-run": steps_per_run,
    }
    if algorithm != "integrated-gradients":
        for name, value in {**of_the_path, "--baseline": baselines or None}.items():
            if value is not None:
                raise UsageError(f"{name} goes with integrated-gradients: {algorithm} has no path and no baseline")
    if form == "step" and steps_per_run is not None:
        raise UsageError("--steps-per-run goes with --form complete: the step form has no loop")
    if path_as_input or form == "step":
        for name in ("--method", "--n-steps"):
            if of_the_path[name] is not None:
                why = "--path-as-input" if path_as_input else "--form step"
                raise UsageError(f"{name} is not baked where the path is an input ({why}): the caller chooses it")


def fixed_target(text: str, classes: Sequence[str]) -> TargetSpec:
    """``--target`` as it is written into the file: an index per axis, ``input`` or ``predicted``.

    Raises:
        UsageError: targets that are in a file.
    """
    index = class_index(text, classes)
    target = parse_target(text) if index is None else index
    if isinstance(target, Path):
        raise UsageError("--target @FILE cannot be baked: export with --target input and give the targets when running")
    return target


def fixed_targets(text: str | None, classes: Sequence[str]) -> TargetsSpec | None:
    """``--targets``: ``top-3`` and ``input-3`` as they are, else an index, or the name of a class, between commas;
    between semicolons positions with an index per axis.

    Raises:
        UsageError: a part is none of them.
    """
    if text is None or targets_said(text):
        return text
    found: list[int | tuple[int, ...]] = []
    positions = [part.split(",") for part in text.split(";")]
    if len(positions) > 1 and all(part.strip().removeprefix("-").isdecimal() for one in positions for part in one):
        return [tuple(map(int, one)) for one in positions]
    for part in map(str.strip, text.split(",")):
        index = class_index(part, classes)
        if index is None and not part.removeprefix("-").isdecimal():
            raise UsageError(
                f"--targets {text}: {part!r} is neither an index nor the name of a class{nearest(part, classes)}: give "
                "top-3, indices or names with commas between (3,5,9), or positions with semicolons (0,1;2,5)"
            )
        found.append(int(part) if index is None else index)
    return found


def fixed_baselines(
    texts: Sequence[str], specs: Sequence[InputSpec], chosen: Sequence[str], properties: Mapping[str, str]
) -> BaselineSpec | dict[str, BaselineSpec]:
    """A number or ``input`` for all attributed inputs, or a dict by name.

    Args:
        properties: the model's metadata, which may name the columns of a table.

    Raises:
        UsageError, InputError: not a number or file, two for one input, or no telling which input it is for.
    """
    by_name = {spec.name: spec for spec in specs}
    files = FileOptions(tables=TableOptions(names_in_metadata(properties).get("features", ())))
    found: dict[str, BaselineSpec] = {}
    for text in texts:
        parsed = parse_baseline(text, by_name, of_text(specs))
        if parsed.value in MADE_BASELINES and parsed.name not in of_text(specs):
            raise UsageError(
                f"--baseline {text!r} is made from the data, and a file is written before there are any: give a number "
                "or @FILE, or --baseline input and the baselines when running"
            )
        candidates = list(chosen) or [spec.name for spec in specs if kind_of(spec.dtype) == "f"]
        if parsed.name is None and not isinstance(parsed.value, Path):
            if len(texts) > 1:
                raise UsageError(
                    f"--baseline {text!r}: several baselines are given, so say for which input, as NAME={text}"
                )
            return parsed.value
        name = parsed.name or (candidates[0] if len(candidates) == 1 else None)
        if name is None:
            raise UsageError(
                f"--baseline {text!r}: say for which input, as NAME={text}; the inputs are {', '.join(by_name)}"
            )
        if name not in by_name:
            raise UsageError(
                f"the model has no input {name!r}{nearest(name, by_name)}; its inputs are {', '.join(by_name)}"
            )
        if name in found:
            raise UsageError(f"--baseline: input {name!r} has two")
        if isinstance(parsed.value, Path):
            read = read_baseline(parsed.value, by_name[name], files=files)
            for said in read.notes:
                note(said)
            found[name] = read.value
        else:
            found[name] = parsed.value
    return found or 0
