"""Files to input values: the suffix picks the reader, the declared input decides what the value must be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from onnx_ig.data.arrays import read_npy, read_npz
from onnx_ig.data.options import split_name
from onnx_ig.data.pictures import PICTURE_SUFFIXES, Picture, PictureOptions, read_picture
from onnx_ig.data.spec import Array, InputSpec, fit
from onnx_ig.errors import InputError, UsageError

_SUFFIXES = (".npy", ".npz", *PICTURE_SUFFIXES)


@dataclass(frozen=True)
class InputValue:
    """An input's value, notes on what was changed to make it fit, and how it was a picture, if it was one."""

    value: Array
    notes: tuple[str, ...] = ()
    picture: Picture | None = None


def read_input(
    path: Path, spec: InputSpec, options: PictureOptions | None = None, *, allow_nonfinite: bool = False
) -> InputValue:
    """The value of one input from a file: .npy, .npz (its only array, or the one of that name), or a picture.

    Raises: UsageError for a missing file; InputError for a broken or pickled file and for a value that does
    not fit the declared type or shape or is not finite; MissingDependencyError for a picture without Pillow.
    """
    suffix = _suffix(path, [spec.name])
    if suffix in PICTURE_SUFFIXES:
        array, picture, notes = read_picture(path, spec, options or PictureOptions())
        value, more = fit(array, spec, str(path), allow_nonfinite=allow_nonfinite)
        return InputValue(value, (*notes, *more), picture)
    if suffix == ".npy":
        array = read_npy(path)
    else:
        arrays = read_npz(path)
        if len(arrays) > 1 and spec.name not in arrays:
            raise InputError(f"{path}: no array is called {spec.name!r}; the file holds {_listed(arrays)}")
        array = arrays[spec.name] if spec.name in arrays else next(iter(arrays.values()))
    value, changes = fit(array, spec, str(path), allow_nonfinite=allow_nonfinite)
    return InputValue(value, tuple(changes))


def read_inputs(
    texts: Iterable[str],
    specs: Sequence[InputSpec],
    options: PictureOptions | None = None,
    *,
    allow_nonfinite: bool = False,
) -> dict[str, InputValue]:
    """Values by input name from ``NAME=FILE`` or ``FILE`` as given on the command line.

    A bare FILE is the value of the only input, or a .npz whose keys are input names. An input that gets no
    value is absent from the result. Raises what ``read_input`` raises, and UsageError for an input given
    twice.
    """
    by_name = {spec.name: spec for spec in specs}
    values: dict[str, InputValue] = {}
    for text in texts:
        name, file = split_name(text, by_name)
        path = Path(file)
        if name is not None:
            read = {name: read_input(path, by_name[name], options, allow_nonfinite=allow_nonfinite)}
        elif _suffix(path, by_name) == ".npz":
            read = _read_by_key(path, by_name, allow_nonfinite)
        elif len(specs) == 1:
            read = {specs[0].name: read_input(path, specs[0], options, allow_nonfinite=allow_nonfinite)}
        else:
            raise UsageError(f"{text!r}: the inputs are {_listed(by_name)}; say which one as NAME={text}")
        for key, value in read.items():
            if key in values:
                raise UsageError(f"input {key!r} is given twice, the second time by {text!r}")
            values[key] = value
    return values


def read_baseline(
    path: Path, spec: InputSpec, options: PictureOptions | None = None, *, allow_nonfinite: bool = False
) -> InputValue:
    """A baseline from a file: as ``read_input``, with axis 0 of any size: one row can serve all examples."""
    if spec.shape:
        spec = replace(spec, shape=(None, *spec.shape[1:]))
    return read_input(path, spec, options, allow_nonfinite=allow_nonfinite)


def _read_by_key(path: Path, by_name: Mapping[str, InputSpec], allow_nonfinite: bool) -> dict[str, InputValue]:
    """Keys are input names; when there is one array and one input, the key does not matter."""
    arrays = read_npz(path)
    if len(arrays) == 1 and len(by_name) == 1:
        arrays = dict(zip(by_name, arrays.values(), strict=True))
    unknown = [key for key in arrays if key not in by_name]
    if unknown:
        raise InputError(f"{path}: {_listed(unknown)} is no input of the model; its inputs are {_listed(by_name)}")
    read = {}
    for key, array in arrays.items():
        value, notes = fit(array, by_name[key], f"{path}[{key!r}]", allow_nonfinite=allow_nonfinite)
        read[key] = InputValue(value, tuple(notes))
    return read


def _suffix(path: Path, names: Iterable[str]) -> str:
    if not path.is_file():
        what = "is a directory, not a file" if path.is_dir() else "no such file"
        raise UsageError(f"{path}: {what} (expected as FILE or NAME=FILE for {_listed(names)})")
    suffix = path.suffix.lower()
    if suffix not in _SUFFIXES:
        raise InputError(f"{path}: cannot read {suffix or 'a file without suffix'}; use one of {', '.join(_SUFFIXES)}")
    return suffix


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
