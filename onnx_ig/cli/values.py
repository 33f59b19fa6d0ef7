"""From ``-i``, ``--extra``, ``--baseline`` and ``--target`` to arrays by name, as the model declares its inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from onnx_ig.cli.rows import rows_of
from onnx_ig.common.suggestions import nearest
from onnx_ig.common.types import Array
from onnx_ig.data import (
    MADE_BASELINES,
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
    Words,
    class_index,
    named_baseline,
    parse_baseline,
    parse_numbers,
    parse_size,
    parse_target,
    read_baseline,
    read_inputs,
    read_target,
    split_name,
)
from onnx_ig.errors import InputError, UsageError
from onnx_ig.graph.declared import of_text, type_name


@dataclass(frozen=True)
class Values:
    """What the files of one call hold, by input name; ``notes`` say what was changed to make it fit.

    ``example_names`` are those of the files in a folder, ``features`` the columns of a table that lie side by side
    in an input whose examples are its rows, ``rows`` which of them are taken; ``words`` the texts whose tokens an input
    holds, ``padding`` the tokens that stand for none of them.
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

    def with_padding(self) -> Values:
        """The same with padding as the baseline of tokens that have none, and a note of it."""
        padding = {name: value for name, value in self.padding.items() if name not in self.baselines}
        return replace(
            self,
            baselines={**{name: value.ids for name, value in padding.items()}, **self.baselines},
            notes=(*self.notes, *(f"baseline: {n} has {v.token!r} for each word" for n, v in padding.items())),
        )

    def target(self, otherwise: Any) -> Any:
        """The targets in a table's column, or ``otherwise``."""
        return otherwise if self.rows is None or self.rows.target is None else self.rows.target

    def ordered(self, names: Sequence[str]) -> Values:
        """The same with inputs and extra in the order of ``names``."""
        inputs, extra = ({n: values[n] for n in names if n in values} for values in (self.inputs, self.extra))
        return replace(self, inputs=inputs, extra=extra)


def picture_options(mean: str | None, std: str | None, layout: str | None, size: str | None) -> PictureOptions:
    """The four picture options, parsed."""
    return PictureOptions(
        mean=(0.0,) if mean is None else parse_numbers(mean, "--mean"),
        std=(1.0,) if std is None else parse_numbers(std, "--std"),
        layout=layout,
        size=None if size is None else parse_size(size),
    )


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
    chosen = _attributed(columns, default) if len(columns) > 1 else columns
    unchosen = [name for name in read if read[name].beside or (name in columns and name not in chosen)]
    beside = {name: read.pop(name) for name in unchosen}
    others = [spec for spec in specs if spec.name not in read and spec.name not in beside]
    for text in extra:
        name = split_name(text, names)[0]
        if name in read or name in beside:
            among = "" if name in read else " (beside others in one file)"
            raise UsageError(f"input {name!r} is given twice, by -i{among} and by --extra")
        if name is None and "=" in text and not Path(text).exists():
            raise InputError(f"--extra {text!r}: the model has no such input; its inputs are {', '.join(names)}")
    more = beside | (
        read_inputs(extra, others, pictures, files=_beside_the_data(files), allow_nonfinite=allow_nonfinite)
        if extra
        else {}
    )
    for spec in specs:
        if spec.name not in read and spec.name not in more and spec.name not in otherwise:
            raise InputError(
                f"input {spec.name!r} ({type_name(spec.dtype)} {spec.describe_shape()}) is not fed: "
                f"-i {spec.name}=FILE to attribute it, else --extra {spec.name}=FILE"
            )
    column = None if files is None else files.tables.target
    if column is not None and all(value.rows is None or value.rows.target is None for value in read.values()):
        raise UsageError(f"--target {COLUMN}{column}: none of the files of -i is a table with a row for each example")
    starts = read_baselines(
        baselines,
        [spec for spec in specs if spec.name in read],
        pictures,
        read,
        batched=lambda: batched(list(read)),
        files=files,
        allow_nonfinite=allow_nonfinite,
    )
    tables = [v.rows for v in (*read.values(), *more.values(), *starts.read.values()) if v.rows is not None]
    by_row = bool(tables) and batched(list(read))
    for rows in tables if not by_row else ():
        rows.require_one_example()
    return Values(
        inputs={name: value.value for name, value in read.items()},
        extra={name: value for name, value in otherwise.items() if name not in read}
        | {name: value.value for name, value in more.items()},
        baselines=starts.values,
        pictures={name: value.picture for name, value in read.items() if value.picture is not None},
        series={name: value.series for name, value in read.items() if value.series is not None},
        example_names=next((value.names for value in read.values() if value.names), ()),
        features={name: v.features for name, v in read.items() if v.features and v.rows is not None and by_row},
        words={name: value.words for name, value in read.items() if value.words},
        padding={name: value.padding for name, value in read.items() if value.padding is not None},
        rows=rows_of(specs, read, more, starts.read) if by_row else None,
        notes=(
            *(note for value in (*read.values(), *more.values(), *starts.read.values()) for note in value.notes),
            *(f"baseline: {text}" for text in baselines),
        ),
    )


def _attributed(columns: list[str], default: Callable[[], Sequence[str]]) -> list[str]:
    """Those of the ``columns`` that are attributed by default; all of them where the model tells no default."""
    try:
        by_default = set(default())
    except InputError:
        return columns
    return [name for name in columns if name in by_default] or columns


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


@dataclass(frozen=True)
class Baselines:
    """Baselines by input name, and what was ``read`` of those that are in files."""

    values: dict[str, float | str | Array] = field(default_factory=dict)
    read: dict[str, InputValue] = field(default_factory=dict)


def read_baselines(
    texts: Sequence[str],
    specs: Sequence[InputSpec],
    pictures: PictureOptions,
    given: Mapping[str, InputValue] = MappingProxyType({}),
    *,
    batched: Callable[[], bool] = lambda: True,
    files: FileOptions | None = None,
    allow_nonfinite: bool = False,
) -> Baselines:
    """``--baseline``: a number, text or array by input name; a number or word without a name is for every input.

    ``given``: the data of which some baselines are made, and whose columns' names a table of baselines has as well;
    ``batched`` tells whether their axis 0 holds examples.

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
                starts.read[name] = read_baseline(
                    value,
                    by_name[name],
                    pictures,
                    files=_beside_the_data(files, given[name].features if name in given else ()),
                    allow_nonfinite=allow_nonfinite,
                )
                found[name] = starts.read[name].value
            elif value in MADE_BASELINES and name not in of_text(specs):
                found[name] = _made(str(value), given, name, batched())
            else:
                found[name] = value
    return starts


def _beside_the_data(files: FileOptions | None, features: Sequence[str] = ()) -> FileOptions:
    """How files are read that hold no targets; ``features``: the columns as the data have them, where they do."""
    files = files or FileOptions()
    return replace(files, tables=replace(files.tables, target=None, features=features or files.tables.features))


def _made(word: str, given: Mapping[str, InputValue], name: str, batched: bool) -> Array:
    if name not in given:
        raise UsageError(
            f"--baseline {word} is made from the data, and here others are explained besides; give a number or @FILE"
        )
    return named_baseline(word, given[name], name, batched=batched)


def _of_numbers(specs: Sequence[InputSpec]) -> list[str]:
    """The inputs that a number is for; all of them if they hold nothing but text, so that it is refused."""
    texts = of_text(specs)
    return [spec.name for spec in specs if spec.name not in texts] or texts


COLUMN = "column:"  # --target column:NAME


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
