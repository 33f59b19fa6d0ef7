"""The sentences in a file, a line each: as they are in a .txt, under a key in a .jsonl.

The one idea: a line is a row, as in a table; one that cannot be read is refused, or counted and left out.
"""

from __future__ import annotations

import codecs
import json
from dataclasses import dataclass
from pathlib import Path

from onnx_ig.data.encoding import encoding_advice
from onnx_ig.data.window import OpenFiles
from onnx_ig.errors import InputError

TEXT_SUFFIXES = (".txt", ".jsonl")
_MEND = "; mend it, or leave such lines out with --on-error skip"


@dataclass(frozen=True)
class TextOptions:
    """``tokenizer``: a tokenizer.json, or the folder that holds it; ``key``: of each line's object in a .jsonl.

    ``skip``: lines that cannot be read, and sentences that are too long, are left out, not refused.
    """

    tokenizer: Path | None = None
    key: str = "text"
    skip: bool = False


def read_sentences(path: Path, options: TextOptions) -> list[str | None]:
    """Every line of a .txt that is not empty; of a .jsonl the text under ``options.key`` of each line's object.

    None, with ``options.skip``, for a line without one; empty lines are no rows of the file, and are not counted.

    Raises:
        InputError: not UTF-8, no such key, no sentence.
    """
    try:
        content = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise InputError(f"{path}: not a readable text: {error}") from error
    found: list[str | None] = []
    errors: list[InputError] = []
    for number, line in enumerate(content.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n"), 1):
        try:
            sentence = _sentence(line, f"{path}: row {len(found)}, line {number} of the file,", path, options.key)
        except InputError as error:
            if not options.skip:
                raise
            errors.append(error)
            found.append(None)
        else:
            found += [] if sentence is None else [sentence]
    if len(errors) == len(found) > 0:
        raise InputError(f"{path}: no line of the file can be read; the first: {errors[0].args[0].removesuffix(_MEND)}")
    if not found:
        raise InputError(f"{path}: the file holds no sentence")
    return found


def _sentence(line: bytes, where: str, path: Path, key: str) -> str | None:
    """The text of a line, None of an empty one."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{where} is not UTF-8: {error}{encoding_advice(error)}") from error
    if not text.strip():
        return None
    return _from_json(text, where, key) if path.suffix.lower() == ".jsonl" else text


def open_sentences(path: Path, options: TextOptions, opened: OpenFiles) -> list[str | None]:
    """The sentences of a file that is read in pieces."""
    sentences: list[str | None] = opened.get("sentences", path, lambda path: read_sentences(path, options))
    return sentences


def _from_json(line: str, where: str, key: str) -> str:
    try:
        content = json.loads(line)
    except ValueError as error:
        raise InputError(f"{where} is not JSON ({error}){_MEND}") from error
    if not isinstance(content, dict) or not isinstance(content.get(key), str):
        keys = f", which has {', '.join(map(repr, content))}" if isinstance(content, dict) and content else ""
        raise InputError(f"{where} has no text under {key!r}{keys}; name the key with --text-key{_MEND}")
    text = str(content[key])
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"{where} holds half a character ({error}){_MEND}") from error
    return text
