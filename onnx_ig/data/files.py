"""Files to input values: the suffix picks the reader, the declared input decides what the value must be."""

from __future__ import annotations

import glob
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from onnx_ig.common.types import Array
from onnx_ig.data.arrays import npy_shape
from onnx_ig.data.finite import finite_rows
from onnx_ig.data.options import split_name
from onnx_ig.data.pictures import PICTURE_SUFFIXES, Picture, PictureOptions, read_picture
from onnx_ig.data.readers import READERS, read_arrays
from onnx_ig.data.sentences import TEXT_SUFFIXES, TextOptions, open_sentences
from onnx_ig.data.series import SOUND_SUFFIXES, Series, SoundOptions, read_sound
from onnx_ig.data.table import Rows, TableOptions, open_table, read_columns
from onnx_ig.data.table_file import TABLE_SUFFIXES
from onnx_ig.data.text import Padding, Words, read_text
from onnx_ig.data.window import OpenFiles, Window
from onnx_ig.errors import InputError, UsageError
from onnx_ig.graph.declared import InputSpec, fit

_SUFFIXES = (*READERS, *TABLE_SUFFIXES, *TEXT_SUFFIXES, *PICTURE_SUFFIXES, *SOUND_SUFFIXES)
SUFFIXES_OF_ONE_EXAMPLE = (*PICTURE_SUFFIXES, *SOUND_SUFFIXES)  # what a folder may hold
_NOTES_SHOWN = 3  # of a folder's files


@dataclass(frozen=True)
class FileOptions:
    """How files are read that do not say themselves what a model needs of them.

    ``window``: the examples that are read; None: all.
    """

    sounds: SoundOptions = field(default_factory=SoundOptions)
    tables: TableOptions = field(default_factory=TableOptions)
    texts: TextOptions = field(default_factory=TextOptions)
    window: Window | None = None

    def beside_the_data(self, features: Sequence[str] = ()) -> FileOptions:
        """For files that hold no targets; ``features``: the columns as the data have them, where they do."""
        return replace(self, tables=replace(self.tables, target=None, features=features or self.tables.features))


@dataclass(frozen=True)
class InputValue:
    """An input's value, notes on what was changed to make it fit, and how it was a picture or a sound, if it was one.

    ``names`` are those of the files in a folder, one for each example; ``features`` the columns of a table that lie
    side by side, ``rows`` which of its rows are the examples, None where all of it is one. ``words`` are the texts that
    an input's tokens come from, ``padding`` what they are replaced by unless told; what goes ``beside`` tokens (a mask)
    is not attributed.
    """

    value: Array
    notes: tuple[str, ...] = ()
    picture: Picture | None = None
    series: Series | None = None
    names: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    rows: Rows | None = None
    words: tuple[Words, ...] = ()
    padding: Padding | None = None
    beside: bool = False

    def of_rows(self, taken: Array) -> InputValue:
        """The same for those of the rows of its file that are ``taken``; without :attr:`rows` it holds all of them."""
        places = taken if self.rows is None else np.flatnonzero(np.isin(self.rows.taken, taken))
        return replace(
            self,
            value=self.value[places],
            picture=None if self.picture is None else self.picture.of_examples(places),
            names=tuple(self.names[place] for place in places) if self.names else (),
            rows=None if self.rows is None else self.rows.of(taken),
            words=tuple(self.words[place] for place in places) if self.words else (),
            padding=None if self.padding is None else replace(self.padding, ids=self.padding.ids[places]),
        )


def read_input(
    path: Path,
    spec: InputSpec,
    options: PictureOptions | None = None,
    *,
    files: FileOptions | None = None,
    allow_nonfinite: bool = False,
) -> InputValue:
    """The value of one input from a file: .npy, .npz (its only array, or the one of that name), a table's columns, a
    picture or a sound.

    The pictures or sounds in a folder become one batch, in order of their names.

    Raises: UsageError for a missing file or a folder without either; InputError for a broken or pickled file and
    for a value that does not fit the declared type or shape or is not finite; MissingDependencyError for a picture
    without Pillow or a sound without soundfile.
    """
    files = files or FileOptions()
    if path.is_dir():
        return _read_folder(path, spec, options or PictureOptions(), files, allow_nonfinite)
    suffix = _suffix(path, [spec.name])
    if suffix in PICTURE_SUFFIXES:
        array, picture, notes = read_picture(path, spec, options or PictureOptions())
        value, more = fit(array, spec, str(path), allow_nonfinite=allow_nonfinite)
        return InputValue(value, (*notes, *more), picture)
    if suffix in SOUND_SUFFIXES:
        array, series, notes = read_sound(path, spec, files.sounds)
        value, more = fit(array, spec, str(path), allow_nonfinite=allow_nonfinite)
        return InputValue(value, (*notes, *more), series=series)
    if suffix in TABLE_SUFFIXES:
        return _read_by_column(path, [spec], files, allow_nonfinite)[spec.name]
    if suffix in TEXT_SUFFIXES:
        return _read_text(path, [spec], files, spec.name)[spec.name]
    arrays = read_arrays(path, files.window, spec.name)
    if len(arrays) > 1 and spec.name not in arrays:
        raise InputError(f"{path}: no array is called {spec.name!r}; the file holds {_listed(arrays)}")
    array = arrays[spec.name] if spec.name in arrays else next(iter(arrays.values()))
    rows, notes = None, list[str]()
    if files.tables.skip and not allow_nonfinite:
        (array,), rows, notes = finite_rows([array], path, files.window)
    value, changes = fit(array, spec, str(path), allow_nonfinite=allow_nonfinite)
    return InputValue(value, (*notes, *changes), rows=rows)


def read_inputs(
    texts: Iterable[str],
    specs: Sequence[InputSpec],
    options: PictureOptions | None = None,
    *,
    files: FileOptions | None = None,
    allow_nonfinite: bool = False,
) -> dict[str, InputValue]:
    """Values by input name from ``NAME=FILE`` or ``FILE`` as given on the command line; also a folder or a pattern.

    Several pictures, or several sounds, of one input are examples of one batch.

    A bare FILE is the value of the only input, a .npz whose keys are input names, or a table whose columns are. An
    input that gets no value is absent from the result. Raises what ``read_input`` raises, and UsageError for an input
    given twice.
    """
    by_name = {spec.name: spec for spec in specs}
    values: dict[str, InputValue] = {}
    for text, several in _found(texts, by_name):
        name, file = split_name(text, by_name)
        path = Path(file)
        if several and (name is not None or len(specs) == 1):
            spec = specs[0] if name is None else by_name[name]
            where = f"{several[0]} and {len(several) - 1} more"
            picked = options or PictureOptions(), files or FileOptions()
            read = {spec.name: _read_several(several, where, spec, *picked, allow_nonfinite)}
        elif path.suffix.lower() in TEXT_SUFFIXES and path.is_file():
            read = _read_text(path, specs, files or FileOptions(), name)
        elif name is not None:
            read = {name: read_input(path, by_name[name], options, files=files, allow_nonfinite=allow_nonfinite)}
        elif not path.is_dir() and _suffix(path, by_name) == ".npz":
            read = _read_by_key(path, by_name, files or FileOptions(), allow_nonfinite)
        elif path.suffix.lower() in TABLE_SUFFIXES:
            read = _read_by_column(path, specs, files or FileOptions(), allow_nonfinite)
        elif len(specs) == 1:
            read = {specs[0].name: read_input(path, specs[0], options, files=files, allow_nonfinite=allow_nonfinite)}
        else:
            raise UsageError(f"{text!r}: the inputs are {_listed(by_name)}; say which one as NAME={text}")
        for key, value in read.items():
            if key in values:
                raise UsageError(f"input {key!r} is given twice, the second time by {text!r}")
            values[key] = value
    return values


def read_baseline(
    path: Path,
    spec: InputSpec,
    options: PictureOptions | None = None,
    *,
    files: FileOptions | None = None,
    allow_nonfinite: bool = False,
) -> InputValue:
    """A baseline from a file: as ``read_input``, with axis 0 of any size: one row can serve all examples."""
    if spec.shape:
        spec = replace(spec, shape=(None, *spec.shape[1:]))
    return read_input(path, spec, options, files=files, allow_nonfinite=allow_nonfinite)


def _read_folder(
    folder: Path, spec: InputSpec, options: PictureOptions, files: FileOptions, allow_nonfinite: bool
) -> InputValue:
    """One example for each picture, or for each sound, in ``folder``."""
    paths = _files_of_examples(folder)
    paths = paths if files.window is None else paths[files.window.within(len(paths), spec.name)]
    return _read_several(paths, str(folder), spec, options, files, allow_nonfinite)


def _read_several(
    paths: Sequence[Path],
    where: str,
    spec: InputSpec,
    options: PictureOptions,
    files: FileOptions,
    allow_nonfinite: bool,
) -> InputValue:
    """One example for each file; those that cannot be read are left out, and a note names each.

    Raises:
        UsageError: files of two kinds; InputError: none can be read, or they do not go into one batch.
    """
    if len({file.suffix.lower() in SOUND_SUFFIXES for file in paths}) > 1:
        raise UsageError(f"{where}: pictures and sounds together; the examples of one input are of one kind")
    read: list[tuple[Path, InputValue]] = []
    broken: list[InputError] = []
    for file in paths:
        try:
            read.append((file, read_input(file, spec, options, files=files, allow_nonfinite=allow_nonfinite)))
        except InputError as error:
            broken.append(error)
    if not read:
        raise broken[0]
    (first_file, first), *_ = read
    meaning = first.picture or first.series
    kind = "sound" if first.series else "picture"
    if meaning is None or not meaning.axes.startswith("N"):
        raise InputError(f"{where}: input {spec.name!r} ({spec.describe_shape()}) takes one {kind}, not a batch")
    advice = "give --size HxW" if first.picture else "cut or pad the sounds to one length"
    for file, one in read:
        if one.value.shape != first.value.shape:
            raise InputError(
                f"{file} has shape {list(one.value.shape)}, {first_file} {list(first.value.shape)}: the files of a "
                f"folder become one batch; {advice}"
            )
    notes = [note for _, one in read for note in one.notes]
    if len(notes) > _NOTES_SHOWN:
        notes[_NOTES_SHOWN:] = [f"{where}: {len(notes) - _NOTES_SHOWN} more note(s) of this kind"]
    notes += [f"left out: {error}" for error in broken]
    picture = first.picture
    if picture is not None:
        every = tuple(one.picture.originals[0] for _, one in read if one.picture is not None)
        picture = replace(picture, originals=every)
    value = np.concatenate([one.value for _, one in read])
    return InputValue(value, tuple(notes), picture, first.series, tuple(file.name for file, _ in read))


def _found(texts: Iterable[str], names: Collection[str]) -> Iterator[tuple[str, list[Path]]]:
    """Each of ``texts``, or all of one input's pictures or sounds as one, with the files of several.

    A pattern (``photos/*.jpg``) stands for the files that it matches, in order of their names.

    Raises:
        UsageError: it matches none.
    """
    several: dict[str | None, list[Path]] = {}
    for text in texts:
        name, file = split_name(text, names)
        paths = [Path(file)]
        if glob.has_magic(file) and not paths[0].exists():
            paths = [Path(match) for match in sorted(glob.glob(file, recursive=True))]
            if not paths:
                raise UsageError(f"{file}: no file is called so")
        if all(path.suffix.lower() in SUFFIXES_OF_ONE_EXAMPLE and path.is_file() for path in paths):
            several.setdefault(name, []).extend(paths)
        else:
            yield from ((str(path) if name is None else f"{name}={path}", []) for path in paths)
    for name, paths in several.items():
        text = str(paths[0]) if name is None else f"{name}={paths[0]}"
        yield text, paths if len(paths) > 1 else []


def _files_of_examples(folder: Path) -> list[Path]:
    paths = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES_OF_ONE_EXAMPLE)
    if not paths:
        raise UsageError(f"{folder}: a folder without pictures or sounds ({', '.join(SUFFIXES_OF_ONE_EXAMPLE)})")
    if len({file.suffix.lower() in SOUND_SUFFIXES for file in paths}) > 1:
        raise UsageError(f"{folder}: a folder of pictures and sounds; the examples of one input are of one kind")
    return paths


def rows_in(path: Path, files: FileOptions, opened: OpenFiles) -> dict[str, int]:
    """How many rows a file has, by the names of its arrays, "" where they have none; of a folder, how many files.

    Raises:
        UsageError, InputError: as :func:`read_input`.
    """
    if path.is_dir():
        return {"": len(_files_of_examples(path))}
    suffix = _suffix(path, ["an input"])
    if suffix in TABLE_SUFFIXES:
        return {"": int(open_table(path, files.tables, opened).count)}
    if suffix in TEXT_SUFFIXES:
        return {"": len(open_sentences(path, files.texts, opened))}
    if suffix == ".npy":
        shape, _ = npy_shape(path)
        return {"": shape[0] if shape else 1}
    if suffix in READERS:
        arrays = opened.get("arrays", path, READERS[suffix])
        return {key: len(array) if array.ndim else 1 for key, array in arrays.items()}
    return {"": 1}


def _read_by_key(
    path: Path, by_name: Mapping[str, InputSpec], files: FileOptions, allow_nonfinite: bool
) -> dict[str, InputValue]:
    """Keys are input names; when there is one array and one input, the key does not matter."""
    arrays = read_arrays(path, files.window, next(iter(by_name)) if len(by_name) == 1 else None)
    if len(arrays) == 1 and len(by_name) == 1:
        arrays = dict(zip(by_name, arrays.values(), strict=True))
    unknown = [key for key in arrays if key not in by_name]
    if unknown:
        raise InputError(f"{path}: {_listed(unknown)} is no input of the model; its inputs are {_listed(by_name)}")
    rows, said = None, list[str]()
    if files.tables.skip and not allow_nonfinite:
        finite, rows, said = finite_rows(list(arrays.values()), path, files.window)
        arrays = dict(zip(arrays, finite, strict=True))
    read = dict[str, InputValue]()
    for key, array in arrays.items():
        value, notes = fit(array, by_name[key], f"{path}[{key!r}]", allow_nonfinite=allow_nonfinite)
        notes = notes if read else [*said, *notes]
        own = rows if rows is not None and value.ndim and len(value) == len(rows.taken) else None
        read[key] = InputValue(value, tuple(notes), rows=own)
    return read


def _read_by_column(
    path: Path, specs: Sequence[InputSpec], files: FileOptions, allow_nonfinite: bool
) -> dict[str, InputValue]:
    """The inputs that a table's columns are; what was noted of the table stands at the first."""
    options = replace(files.tables, keep_missing=files.tables.keep_missing or allow_nonfinite)
    table = read_columns(path, specs, options, files.window)
    by_name, read = {spec.name: spec for spec in specs}, dict[str, InputValue]()
    for name, array in table.values.items():
        value, notes = fit(array, by_name[name], str(path), allow_nonfinite=allow_nonfinite)
        notes = notes if read else [*table.notes, *notes]
        features = table.features.get(name, ())
        series = _series(value, features) if value.ndim == 3 else None
        read[name] = InputValue(value, tuple(notes), series=series, features=features, rows=table.rows)
    return read


def _series(value: Array, channels: tuple[str, ...]) -> Series:
    """A table that is one example: a row for each time, in the order of axes that the input declares."""
    return Series("NTC" if value.shape[-1] == len(channels) else "NCT", channels=channels)


def _read_text(path: Path, specs: Sequence[InputSpec], files: FileOptions, ids: str | None) -> dict[str, InputValue]:
    """The tokens of sentences, and what goes beside them."""
    text = read_text(path, specs, files.texts, ids, files.window)
    read = {name: InputValue(value, rows=text.rows, beside=True) for name, value in text.values.items()}
    ids = text.ids
    read[ids] = replace(read[ids], notes=text.notes, words=text.words, padding=text.padding, beside=False)
    return read


def _suffix(path: Path, names: Iterable[str]) -> str:
    if not path.is_file():
        raise UsageError(f"{path}: no such file (expected as FILE or NAME=FILE for {_listed(names)})")
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise InputError(f"{path}: cannot read {suffix or 'a file without suffix'}; use one of {', '.join(_SUFFIXES)}")
    if not path.stat().st_size:
        raise InputError(f"{path}: the file is empty: save or download it again")
    return suffix


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
