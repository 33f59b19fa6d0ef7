"""From ``-i``, ``--extra``, ``--baseline`` and ``--target`` to arrays by name, as the model declares its inputs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, cast

import numpy as np

from onnx_ig.cli.reading.baselines import Baselines, averaged_over, read_baselines
from onnx_ig.cli.reading.fixed_at_export import fixed_targets
from onnx_ig.cli.reading.rows import in_step, rows_of
from onnx_ig.common.suggestions import nearest
from onnx_ig.common.types import Array
from onnx_ig.data import (
    TABLE_SUFFIXES,
    TEXT_SUFFIXES,
    FileOptions,
    InputSpec,
    InputValue,
    Padding,
    Picture,
    PictureOptions,
    Rows,
    Series,
    Window,
    Words,
    by_default,
    class_index,
    parse_target,
    read_inputs,
    read_target,
    split_name,
)
from onnx_ig.errors import InputError, UsageError
from onnx_ig.graph.declared import type_name


@dataclass(frozen=True)
class Values:
    """What the files of one call hold, by input name; ``notes`` say what was changed to make it fit.

    ``example_names`` are those of the files in a folder, ``features`` the columns of a table that lie side by side
    in an input whose examples are its rows, ``rows`` which of them are taken; ``words`` the texts whose tokens an input
    holds, ``padding`` the tokens that stand for none of them; ``window``: which examples they are of, None for all.
    """

    inputs: dict[str, Array]
    extra: dict[str, Array] = field(default_factory=dict)
    baselines: dict[str, float | str | Array] = field(default_factory=dict)
    pictures: dict[str, Picture] = field(default_factory=dict)
    series: dict[str, Series] = field(default_factory=dict)
    example_names: tuple[str, ...] = ()
    features: dict[str, tuple[str, ...]] = field(default_factory=dict)
    rows: Rows | None = None
    words: dict[str, tuple[Words, ...]] = field(default_factory=dict)
    padding: dict[str, Padding] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    window: Window | None = None

    def with_padding(self) -> Values:
        """The same with padding as the baseline of tokens that have none, and a note of it."""
        padding = {name: value for name, value in self.padding.items() if name not in self.baselines}
        return replace(
            self,
            baselines={**{name: value.ids for name, value in padding.items()}, **self.baselines},
            notes=(*self.notes, *(f"baseline: {n} has {v.token!r} for each word" for n, v in padding.items())),
        )

    def target(self, otherwise: Any) -> Any:
        """The targets in a table's column, or those of these examples in ``otherwise``."""
        if self.rows is not None and self.rows.target is not None:
            return self.rows.target
        return self.of_these(otherwise) if isinstance(otherwise, np.ndarray) and otherwise.ndim else otherwise

    def targets(self, several: Any) -> Any:
        """``top-3``, or a list of targets: of an array [N, K], or [N, K, axes], that of these examples for each k."""
        if not isinstance(several, np.ndarray):
            return several
        own = self.of_these(several)
        return [own[:, k] for k in range(own.shape[1])]

    def of_these(self, told: Any) -> Any:
        """Of what is ``told`` of all examples, an array or a list, that of these, without rows that are left out."""
        own = told if self.window is None else told[self.window.within(len(told))]
        if self.rows is None or len(own) != self.rows.count:
            return own
        return own[self.rows.taken] if isinstance(own, np.ndarray) else [own[row] for row in self.rows.taken]

    @property
    def examples(self) -> int:
        """The rows of the first input that has axes."""
        return next((len(value) for value in self.inputs.values() if value.ndim), 1)

    def ordered(self, names: Sequence[str]) -> Values:
        """The same with inputs and extra in the order of ``names``."""
        inputs, extra = ({n: values[n] for n in names if n in values} for values in (self.inputs, self.extra))
        return replace(self, inputs=inputs, extra=extra)


def apart(values: Values, batched: Callable[[], bool]) -> tuple[Values, dict[str, Array]]:
    """``values`` with one row of each baseline that has another number of rows than the data, and all of its rows.

    Such rows are no baselines of examples: each is one of every example, and the attributions are averaged.

    Raises:
        InputError: two of them with different numbers of rows.
    """
    many = {
        name: given.astype(values.inputs[name].dtype)
        for name, given in values.baselines.items()
        if isinstance(given, np.ndarray) and given.ndim == values.inputs[name].ndim > 0
        and len(given) not in (0, 1, len(values.inputs[name]))
    }  # fmt: skip
    if not many or not batched():
        return values, {}
    if values.window is not None:
        raise averaged_over(many, values.window.of)
    counts = {name: len(rows) for name, rows in many.items()}
    if len(set(counts.values())) > 1:
        raise InputError(
            f"the baselines have {', '.join(f'{count} rows for {name!r}' for name, count in counts.items())}: they are "
            "taken together row by row, so each needs as many"
        )
    return replace(values, baselines=values.baselines | {name: rows[:1] for name, rows in many.items()}), many


def read_values(
    specs: Sequence[InputSpec],
    default: Callable[[], Sequence[str]],
    inputs: Sequence[str],
    extra: Sequence[str],
    baselines: Sequence[str],
    pictures: PictureOptions,
    *,
    batched: Callable[[Sequence[str]], bool],
    files: FileOptions | None = None,
    allow_nonfinite: bool = False,
    otherwise: Mapping[str, Array] = MappingProxyType({}),
) -> Values:
    """Read every file. Of the columns of a table in one file those that are not attributed by default become extra.

    Args:
        specs: all inputs that can be fed.
        batched: whether axis 0 of these attributed inputs holds examples.
        otherwise: values of the inputs that need not be fed.
        default: the names of the inputs that are attributed unless others are named.

    Raises:
        UsageError, InputError: a missing, broken or unfitting file, an unknown name, an input fed twice or not at all.
    """

    def all_in_step(files: FileOptions | None) -> _InStep:
        read, beside = _read_attributed(specs, default, inputs, extra, pictures, files, allow_nonfinite)
        more = beside | _read_extra(specs, extra, read, beside, pictures, files, allow_nonfinite)
        _require_all_fed(specs, {*read, *more, *otherwise})
        _require_targets(files, read)
        attributed = [spec for spec in specs if spec.name in read]
        starts = read_baselines(baselines, attributed, pictures, read, files=files, allow_nonfinite=allow_nonfinite)
        rows = [v.rows for v in (*read.values(), *more.values(), *starts.read.values()) if v.rows is not None]
        if not _are_examples(rows, lambda: batched(list(read))):
            return _InStep(read, more, starts, by_row=False)
        data, begun = in_step(specs, {**read, **more}, starts.read)
        return _InStep({n: data[n] for n in read}, {n: data[n] for n in more}, starts.cut(begun), by_row=True)

    found = all_in_step(files)
    read, more, by_row = found.read, found.more, found.by_row
    starts = found.starts.made_from(
        _of_all(read, files, lambda whole: all_in_step(whole).read), lambda: batched(list(read))
    )
    everything = (*read.values(), *more.values(), *starts.read.values())
    examples = next((len(value.value) for value in read.values() if value.value.ndim), 0)
    return Values(
        inputs=_parts(read, lambda value: value.value),
        extra={name: value for name, value in otherwise.items() if name not in read}
        | _parts(more, lambda value: value.value),
        baselines=starts.values,
        pictures=_parts(read, lambda value: value.picture),
        series=_parts(read, lambda value: value.series),
        example_names=next((value.names for value in read.values() if value.names), ()),
        features=_parts(
            read, lambda value: value.features if value.features and value.rows is not None and by_row else None
        ),
        words=_parts(read, lambda value: value.words or None),
        padding=_parts(read, lambda value: value.padding),
        rows=rows_of({**read, **more}, examples) if by_row else None,
        notes=(*(note for value in everything for note in value.notes), *(f"baseline: {text}" for text in baselines)),
        window=None if files is None else files.window,
    )


@dataclass(frozen=True)
class _InStep:
    """What the files hold without the rows that any leaves out; ``by_row``: the rows of some of them are examples."""

    read: dict[str, InputValue]
    more: dict[str, InputValue]
    starts: Baselines
    by_row: bool


def _of_all(
    read: Mapping[str, InputValue], files: FileOptions | None, read_all: Callable[[FileOptions], dict[str, InputValue]]
) -> Callable[[str], InputValue]:
    """The data of an input that a baseline is made from: of pictures each its own, of others all that are explained."""

    def data(name: str) -> InputValue:
        value = read[name]
        if files is None or files.window is None or value.picture is not None:
            return value
        window, everything = files.window, replace(files, window=None)
        return cast(InputValue, window.opened.get("all", Path(), lambda _: read_all(everything))[name])

    return data


def given_names(texts: Sequence[str], specs: Sequence[InputSpec]) -> list[str]:
    """The inputs that ``NAME=FILE`` texts name."""
    names = [spec.name for spec in specs]
    return [name for text in texts if (name := split_name(text, names)[0]) is not None]


Part = TypeVar("Part")


def _parts(read: Mapping[str, InputValue], part: Callable[[InputValue], Part | None]) -> dict[str, Part]:
    """A part of each value by input name, of those that have it."""
    found = {name: part(value) for name, value in read.items()}
    return {name: value for name, value in found.items() if value is not None}


def _read_attributed(
    specs: Sequence[InputSpec],
    default: Callable[[], Sequence[str]],
    inputs: Sequence[str],
    extra: Sequence[str],
    pictures: PictureOptions,
    files: FileOptions | None,
    allow_nonfinite: bool,
) -> tuple[dict[str, InputValue], dict[str, InputValue]]:
    """What ``-i`` gives: the attributed inputs, and those that the same files hold beside them."""
    names = [spec.name for spec in specs]
    taken = {name for text in (*inputs, *extra) if (name := split_name(text, names)[0]) is not None}
    read = read_inputs(
        [_with_name(text, names, default, taken) for text in inputs],
        specs,
        pictures,
        files=files,
        allow_nonfinite=allow_nonfinite,
    )
    columns = [name for name in read if name not in taken and not read[name].beside]
    chosen = by_default(columns, default)
    unchosen = [name for name in read if read[name].beside or (name in columns and name not in chosen)]
    return read, {name: read.pop(name) for name in unchosen}


def _read_extra(
    specs: Sequence[InputSpec],
    extra: Sequence[str],
    read: Mapping[str, InputValue],
    beside: Mapping[str, InputValue],
    pictures: PictureOptions,
    files: FileOptions | None,
    allow_nonfinite: bool,
) -> dict[str, InputValue]:
    """What ``--extra`` gives, of inputs that ``-i`` has not given."""
    names = [spec.name for spec in specs]
    for text in extra:
        name = split_name(text, names)[0]
        if name in read or name in beside:
            among = "" if name in read else " (beside others in one file)"
            raise UsageError(f"input {name!r} is given twice, by -i{among} and by --extra")
        if name is None and "=" in text and not Path(text).exists():
            raise InputError(f"--extra {text!r}: the model has no such input; its inputs are {', '.join(names)}")
    if not extra:
        return {}
    others = [spec for spec in specs if spec.name not in read and spec.name not in beside]
    return read_inputs(
        extra, others, pictures, files=(files or FileOptions()).beside_the_data(), allow_nonfinite=allow_nonfinite
    )


def _require_all_fed(specs: Sequence[InputSpec], fed: Collection[str]) -> None:
    for spec in specs:
        if spec.name not in fed:
            raise InputError(
                f"input {spec.name!r} ({type_name(spec.dtype)} {spec.describe_shape()}) is not fed: "
                f"-i {spec.name}=FILE to attribute it, else --extra {spec.name}=FILE"
            )


def _require_targets(files: FileOptions | None, read: Mapping[str, InputValue]) -> None:
    """Refuse a column for the target where no table has one."""
    column = None if files is None else files.tables.target
    if column is not None and all(value.rows is None or value.rows.target is None for value in read.values()):
        raise UsageError(f"--target {COLUMN}{column}: none of the files of -i is a table with a row for each example")


def _are_examples(tables: Sequence[Rows], batched: Callable[[], bool]) -> bool:
    """Whether the rows of the ``tables``, if there are any, are examples.

    Raises:
        InputError: they are not, and an option takes them for some.
    """
    if not tables or batched():
        return bool(tables)
    for rows in tables:
        rows.require_one_example()
    return False


def _with_name(text: str, names: Sequence[str], default: Callable[[], Sequence[str]], taken: set[str]) -> str:
    """``text`` with the name put before it where only one input can be meant."""
    if split_name(text, names)[0] is not None:
        return text
    if "=" in text and not Path(text).exists():
        wrong = text.partition("=")[0]
        close, known = nearest(wrong, names), ", ".join(map(repr, names))
        raise InputError(f"-i {text!r}: the model has no input {wrong!r}{close}; its inputs are {known}")
    if len(names) == 1:
        return f"{names[0]}={text}"
    if (
        Path(text).suffix.lower() in (".npz", *TABLE_SUFFIXES, *TEXT_SUFFIXES)
        and len([name for name in names if name not in taken]) > 1
    ):
        return text  # its keys, or columns, are input names
    free = [name for name in default() if name not in taken]
    if len(free) > 1:
        raise InputError(f"-i {text!r}: say for which input, as NAME={text}; the inputs are {', '.join(free)}")
    return f"{free[0]}={text}" if free else text


COLUMN = "column:"  # --target column:NAME


def read_targets_option(text: str | None, classes: Sequence[str] = ()) -> Any:
    """``top-3``, a list of indices, an array [N, K] from a file, or None where nothing is said.

    Raises:
        UsageError, InputError: none of these.
    """
    if text is None or not text.startswith("@"):
        found = fixed_targets(text, classes)
        if isinstance(found, str) and found.startswith("input"):
            raise UsageError(f"--targets {found} is for export; here give top-3, indices, names of classes, or @FILE")
        return found
    rows = read_target(Path(text[1:]))
    if rows.ndim < 2:
        raise InputError(f"--targets {text} has shape {list(rows.shape)}: [examples, targets] is needed")
    return rows


def read_target_option(text: str | None, classes: Sequence[str] = ()) -> Any:
    """``predicted``, indices, that of a class's name, an array from a file, or None where nothing is said.

    None also for a column, which is read with the table.
    """
    if text is None or text.startswith(COLUMN):
        return None
    index = class_index(text, classes)
    if index is not None:
        return index
    target = parse_target(text)
    if target == "input":
        raise UsageError("--target input is for export; here give an index, predicted, or @FILE")
    return read_target(target) if isinstance(target, Path) else target
