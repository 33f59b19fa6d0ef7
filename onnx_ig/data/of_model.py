"""Files as the inputs of a model, for programs: what the command line reads, with what is known of it besides.

The one idea: the model's declared inputs decide how a file is read, so that reading takes the model too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from onnx_ig.attribution import default_inputs
from onnx_ig.common.types import Array
from onnx_ig.data.files import FileOptions, InputValue, read_inputs
from onnx_ig.data.options import split_name
from onnx_ig.data.pictures import Picture, PictureOptions
from onnx_ig.data.sentences import TextOptions
from onnx_ig.data.series import Series, SoundOptions
from onnx_ig.data.table import Rows, TableOptions, names_in_metadata
from onnx_ig.data.text import Words
from onnx_ig.errors import InputError
from onnx_ig.graph.declared import spec_of
from onnx_ig.inspection import contract_of
from onnx_ig.loading.model import Model, load


@dataclass(frozen=True)
class Data:
    """What files hold, as a method takes it: ``method.explain(data)``, or its parts as the arguments of their names.

    Attributes:
        inputs: arrays by the names of the model's inputs, examples on axis 0.
        additional_forward_args: those that go with them and are not attributed, such as a mask.
        target: the column that was asked for; None without one.
        baselines: padding for sentences, by name; empty for other data, whose baseline is zero unless told.
        notes: what was changed to make the files fit.
        values: the same as it was read, by name, with what is known of how to show it.
    """

    inputs: dict[str, Array]
    additional_forward_args: dict[str, Array] = field(default_factory=dict)
    target: Array | None = None
    baselines: dict[str, Array] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    values: Mapping[str, InputValue] = field(default_factory=dict, repr=False)

    @property
    def pictures(self) -> dict[str, Picture]:
        """How the pictures became arrays, by input."""
        return {name: value.picture for name, value in self.values.items() if value.picture is not None}

    @property
    def series(self) -> dict[str, Series]:
        """What the axes of sounds are, by input."""
        return {name: value.series for name, value in self.values.items() if value.series is not None}

    @property
    def features(self) -> dict[str, Sequence[str]]:
        """The columns of tables whose rows are the examples, by input."""
        return {n: value.features for n, value in self.values.items() if value.features and value.rows is not None}

    @property
    def example_names(self) -> tuple[str, ...]:
        """The files of a folder."""
        return next((value.names for value in self.values.values() if value.names), ())

    @property
    def rows(self) -> Rows | None:
        """Which rows of a table the examples are."""
        return next((value.rows for value in self.values.values() if value.rows is not None), None)

    @property
    def words(self) -> tuple[Words, ...]:
        """The texts that tokens come from."""
        return next((value.words for value in self.values.values() if value.words), ())


def read(
    files: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    model: Any,
    *options: PictureOptions | SoundOptions | TableOptions | TextOptions,
    allow_nonfinite: bool = False,
) -> Data:
    """What ``files`` hold, as inputs of ``model``: pictures, sounds, tables, sentences, arrays, or a folder of them.

    Args:
        files: a file or a folder, or several for several inputs; ``"NAME=FILE"`` says which input it is for.
        model: anything :func:`onnx_ig.load` takes, or an attribution model.
        options: how they are read, where neither file nor model tells: the options of ``onnx-ig attribute`` as objects.
        allow_nonfinite: accept NaN and infinity.

    Raises:
        UsageError, InputError: a missing, broken or unfitting file; MissingDependencyError: for what reads its kind.

    >>> import pathlib, numpy as np, onnx.parser, onnx_ig
    >>> model = onnx.parser.parse_model('''<ir_version: 10, opset_import: ["": 21]>
    ...     square (float[n, 2] x) => (float[n, 2] y) { y = Mul(x, x) }''')
    >>> _ = pathlib.Path("rows.csv").write_text("width,height\\n3,-4\\n")
    >>> data = onnx_ig.read("rows.csv", model)
    >>> found = onnx_ig.IntegratedGradients(model).explain(data, target=1)
    >>> [(entry.name, entry.value, round(entry.attribution, 3)) for entry in found.top(1)]
    [('height', -4.0, 16.0)]
    """
    loaded = load(model)
    contract = contract_of(loaded)
    roles = ("attributed", "per_example", "shared")
    own = None if contract is None else {entry.name for entry in contract.inputs if entry.role in roles}
    specs = [spec_of(x) for x in loaded.inputs if own is None or x.name in own]
    chosen = _file_options(loaded, options)
    several = [files] if isinstance(files, (str, os.PathLike)) else files
    pictures = next((one for one in options if isinstance(one, PictureOptions)), PictureOptions())
    texts = [os.fspath(file) for file in several]
    given = read_inputs(texts, specs, pictures, files=chosen, allow_nonfinite=allow_nonfinite)
    named = {name for text in texts if (name := split_name(text, [spec.name for spec in specs])[0]) is not None}
    free = [name for name, value in given.items() if name not in named and not value.beside]
    attributed = contract.named("attributed") if contract is not None else None
    taken = by_default(free, lambda: default_inputs(loaded, ()) if attributed is None else attributed)
    inputs = {name: value for name, value in given.items() if name in taken or name in named}
    target = next((v.rows.target for v in given.values() if v.rows is not None and v.rows.target is not None), None)
    return Data(
        inputs={name: value.value for name, value in inputs.items()},
        additional_forward_args={name: value.value for name, value in given.items() if name not in inputs},
        target=target,
        baselines={name: value.padding.ids for name, value in inputs.items() if value.padding is not None},
        notes=tuple(note for value in given.values() for note in value.notes),
        values=inputs,
    )


def by_default(columns: list[str], default: Callable[[], Collection[str]]) -> list[str]:
    """Those of the inputs in one file that are attributed by default; all of them where the model tells no default."""
    if len(columns) < 2:
        return columns
    try:
        chosen = default()
    except InputError:
        return columns
    return [name for name in columns if name in chosen] or columns


def _file_options(model: Model, options: Sequence[object]) -> FileOptions:
    """The ``options`` in their places; the names of features and classes are the model's own where none are given."""
    told = names_in_metadata(model.ir_model.metadata_props)
    files = FileOptions(tables=TableOptions(tuple(told.get("features", ())), classes=tuple(told.get("classes", ()))))
    for one in options:
        if isinstance(one, SoundOptions):
            files = replace(files, sounds=one)
        elif isinstance(one, TextOptions):
            files = replace(files, texts=one)
        elif isinstance(one, TableOptions):
            known = files.tables
            files = replace(
                files,
                tables=replace(one, features=one.features or known.features, classes=one.classes or known.classes),
            )
    return files
