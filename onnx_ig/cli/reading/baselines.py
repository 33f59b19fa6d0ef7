"""From ``--baseline`` to a number, text or array by input name.

The one idea: a baseline is read as the data are that it is the baseline of, by the same names of columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from onnx_ig.common.types import Array
from onnx_ig.data import (
    MADE_BASELINES,
    FileOptions,
    InputSpec,
    InputValue,
    PictureOptions,
    named_baseline,
    parse_baseline,
    read_baseline,
)
from onnx_ig.errors import InputError, UsageError
from onnx_ig.graph.declared import of_text


@dataclass(frozen=True)
class Baselines:
    """Baselines by input name, what was ``read`` of those that are in files, and the words of those to be ``made``."""

    values: dict[str, float | str | Array] = field(default_factory=dict)
    read: dict[str, InputValue] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)

    def cut(self, read: Mapping[str, InputValue]) -> Baselines:
        """The same with what was ``read`` in place of what was before."""
        return replace(self, values=self.values | {n: value.value for n, value in read.items()}, read=dict(read))

    def made_from(self, data: Callable[[str], InputValue], batched: Callable[[], bool]) -> Baselines:
        """The same with an array in place of each word, of the ``data`` of its input, which are those explained.

        ``batched``: whether axis 0 of the data holds examples. Errors as :func:`onnx_ig.data.named_baseline`.
        """
        made = {name: named_baseline(word, data(name), name, batched=batched()) for name, word in self.made.items()}
        return replace(self, values=self.values | made, made={})


def read_baselines(
    texts: Sequence[str],
    specs: Sequence[InputSpec],
    pictures: PictureOptions,
    given: Mapping[str, InputValue] = MappingProxyType({}),
    *,
    files: FileOptions | None = None,
    allow_nonfinite: bool = False,
) -> Baselines:
    """``--baseline``: a number, text or array by input name; a number or word without a name is for every input.

    ``given``: the data whose columns' names a table of baselines has as well. A word for a baseline of the data is left
    to :meth:`Baselines.made_from`: which rows are explained is known once all files are read.

    Raises:
        UsageError, InputError: not a number or file, two for one input, or no telling which input it is for.
    """
    by_name = {spec.name: spec for spec in specs}
    starts = Baselines()
    found = starts.values
    for text in texts:
        parsed = parse_baseline(text, by_name, of_text(specs))
        if parsed.value == "input":
            raise UsageError("--baseline input is for export; here give a number or @FILE")
        if parsed.name is None and isinstance(parsed.value, Path) and len(specs) > 1:
            raise UsageError(
                f"--baseline {text!r}: say for which input, as NAME={text}; the inputs are {', '.join(by_name)}"
            )
        for name in _of_numbers(specs) if parsed.name is None else [parsed.name]:
            if name in found:
                raise UsageError(f"--baseline: input {name!r} has two")
            value = parsed.value
            if isinstance(value, Path):
                options = (files or FileOptions()).beside_the_data(given[name].features if name in given else ())
                starts.read[name] = read_baseline(
                    value, by_name[name], pictures, files=options, allow_nonfinite=allow_nonfinite
                )
                found[name] = starts.read[name].value
            elif value in MADE_BASELINES and name not in of_text(specs):
                if name not in given:
                    raise UsageError(
                        f"--baseline {value} is made from the data, and here others are explained besides; give a "
                        "number or @FILE"
                    )
                found[name] = starts.made[name] = str(value)
            else:
                found[name] = value
    return starts


def averaged_over(names: Iterable[str], examples: int) -> InputError:
    """Baselines of other rows than the data, of which only all examples in one piece tell the average."""
    return InputError(
        f"the baselines of {', '.join(map(repr, names))} have other rows than the data, and are averaged over where "
        f"all examples are one piece: give --rows-per-file {examples}, or one row"
    )


def _of_numbers(specs: Sequence[InputSpec]) -> list[str]:
    """The inputs that a number is for; all of them if they hold nothing but text, so that it is refused."""
    texts = of_text(specs)
    return [spec.name for spec in specs if spec.name not in texts] or texts
