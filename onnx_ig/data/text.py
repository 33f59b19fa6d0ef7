"""Sentences as the ids, masks and types that a model of text takes, and which of its tokens make which word.

The one idea: everything about the text is in `tokenizer.json` (pieces, special tokens, padding); the names of the
model's inputs say which of the encoder's answers each one takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnx_ig.common.types import Array
from onnx_ig.data.sentences import TextOptions, open_sentences, read_sentences
from onnx_ig.data.table import Rows
from onnx_ig.data.table_file import said_of_left_out
from onnx_ig.data.window import Window
from onnx_ig.errors import InputError, MissingDependencyError, UsageError
from onnx_ig.graph.declared import InputSpec, kind_of

_PADDING = ("[PAD]", "<pad>", "<|pad|>", "<|endoftext|>", "</s>")  # as tokenizers call it, if the file does not say


@dataclass(frozen=True)
class Words:
    """One example's text: its words in order, the positions of each word's tokens, and all ``tokens``.

    Special and padding tokens belong to no word.
    """

    words: tuple[str, ...]
    positions: tuple[tuple[int, ...], ...]
    tokens: tuple[str, ...]

    def sums(self, by_token: Array) -> Array:
        """The sum over each word's tokens [words] of ``by_token`` [T]."""
        return np.array([by_token[list(places)].sum(dtype=np.float64) for places in self.positions])


@dataclass(frozen=True)
class Padding:
    """Sentences that say nothing: their ids [N, T], which have the ``token`` of padding for each word."""

    ids: Array
    token: str


@dataclass(frozen=True)
class TextRead:
    """``values`` [N, T] by input name; ``ids`` names that of the tokens, for which there is ``padding``.

    ``rows``: which of the file's sentences these are, None where none may be left out.
    """

    values: dict[str, Array]
    ids: str
    padding: Padding
    words: tuple[Words, ...]
    notes: tuple[str, ...]
    rows: Rows | None = None


def token_input(specs: Sequence[InputSpec], path: Path, ids: str | None = None) -> str:
    """The input that takes the tokens of ``path``; ``ids`` where a user named it.

    Raises:
        InputError: it cannot be told.
    """
    return next(name for name, role in _roles(specs, path, ids).items() if role == "ids")


def read_text(
    path: Path,
    specs: Sequence[InputSpec],
    options: TextOptions,
    ids: str | None = None,
    window: Window | None = None,
) -> TextRead:
    """The sentences of a file as values of ``specs``; ``ids`` is the input of the tokens where a user named it.

    Sentences of different lengths are padded to the longest of the ``window``, or to the length that the input
    declares.

    Raises:
        UsageError: no tokenizer; InputError: inputs of which it is not known what they take, a sentence that is too
            long; MissingDependencyError: without tokenizers.
    """
    roles = _roles(specs, path, ids)
    tokenizer = _open(path, options)
    padding = _padding(tokenizer, path)
    most = (tokenizer.truncation or {}).get("max_length")
    tokenizer.no_padding()
    tokenizer.no_truncation()  # which cuts without a word
    every = read_sentences(path, options) if window is None else open_sentences(path, options, window.opened)
    piece = slice(0, len(every)) if window is None else window.within(len(every))
    numbered = {number: text for number, text in enumerate(every[piece], piece.start) if text is not None}
    spec = next(spec for spec in specs if roles.get(spec.name) == "ids")
    declared = spec.shape[1] if spec.shape is not None and len(spec.shape) == 2 else None
    limits = {f"input {spec.name!r} takes {declared}": declared, f"the tokenizer is set to cut behind {most}": most}
    lengths = dict(zip(numbered, (len(one.ids) for one in tokenizer.encode_batch([*numbered.values()])), strict=True))
    refused = _too_long(path, lengths, {words: limit for words, limit in limits.items() if isinstance(limit, int)})
    taken = [number for number in lengths if number not in refused]
    if refused and (not options.skip or (not taken and window is None)):
        raise next(iter(refused.values()))
    sentences = [numbered[number] for number in taken]
    longest = max((lengths[number] for number in taken), default=1)
    width = declared if isinstance(declared, int) else longest
    tokenizer.enable_padding(**{**padding, "length": width})
    encoded = tokenizer.encode_batch(sentences)

    def by_token(part: str) -> Array:
        return np.array([getattr(one, part) for one in encoded], np.int64).reshape(len(encoded), width)

    masks, tokens = by_token("attention_mask"), by_token("ids")
    parts = {
        "ids": tokens,
        "mask": masks,
        "types": by_token("type_ids"),
        "positions": np.maximum(masks.cumsum(axis=1) - 1, 0) * masks,
    }
    special = by_token("special_tokens_mask").astype(bool)
    by_name = {spec.name: spec for spec in specs}
    values = {name: parts[role].astype(by_name[name].dtype) for name, role in roles.items()}
    notes = [f"{path}: {len(sentences)} sentence(s) of {longest} tokens at most"]
    silent = np.asarray(np.where(special, tokens, padding["pad_id"]), spec.dtype)
    words = tuple(_words(sentence, one) for sentence, one in zip(sentences, encoded, strict=True))
    count = piece.stop - piece.start
    rows = Rows(path, count, np.array(taken, np.int64) - piece.start, first=piece.start, named=True)
    if window is None and rows.left_out.any():
        notes.append(said_of_left_out(path, np.flatnonzero(rows.left_out).tolist(), count))
    return TextRead(
        values,
        spec.name,
        Padding(silent, str(padding["pad_token"])),
        words,
        tuple(notes),
        rows if options.skip else None,
    )


def _too_long(path: Path, lengths: Mapping[int, int], limits: Mapping[str, int]) -> dict[int, InputError]:
    """What is to be said of each sentence that has more tokens than one of the ``limits``, told in words."""
    return {
        number: InputError(
            f"{path}: sentence {number} has {length} tokens, {words}; shorten it, or split it into several"
        )
        for words, limit in limits.items()
        for number, length in lengths.items()
        if length > limit
    }


def _roles(specs: Sequence[InputSpec], path: Path, ids: str | None) -> dict[str, str]:
    """What each input takes, by words in its name: ids, mask, types, or positions."""
    words = {"mask": "mask", "type": "types", "segment": "types", "position": "positions"}
    roles = {}
    for spec in specs:
        found = next((role for word, role in words.items() if word in spec.name.lower()), None)
        if ids in (None, spec.name) and found is None and kind_of(spec.dtype) in "iu":
            found = "ids"
        if found is not None:
            roles[spec.name] = found
    named = [name for name, role in roles.items() if role == "ids"]
    known = ", ".join(repr(spec.name) for spec in specs)
    if not any(kind_of(spec.dtype) in "iu" for spec in specs):
        raise InputError(
            f"{path}: a {path.suffix} holds sentences, and no input takes tokens, which are whole numbers ({known}): "
            "give numbers as .npy, .npz or .csv"
        )
    if len(named) != 1:
        raise InputError(
            f"{path}: which input takes the tokens cannot be told from their names ({known}): say NAME={path}"
            if named or ids is None
            else f"{path}: input {ids!r} takes no tokens, which are whole numbers"
        )
    return roles


def _open(path: Path, options: TextOptions) -> Any:
    if options.tokenizer is None:
        raise UsageError(f"{path}: sentences need the model's tokenizer: --tokenizer tokenizer.json, or its folder")
    file = options.tokenizer / "tokenizer.json" if options.tokenizer.is_dir() else options.tokenizer
    if not file.is_file():
        raise UsageError(f"--tokenizer {file}: no such file")
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingDependencyError(f"{path}: sentences need tokenizers: pip install 'onnx-ig[text]'") from error
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # of the type Exception itself, which is all that the library raises
        raise InputError(f"--tokenizer {file}: not a tokenizer.json: {error}") from error


def _padding(tokenizer: Any, path: Path) -> dict[str, Any]:
    """How the tokenizer pads: as its file says, else behind, with the token that is called like one."""
    if tokenizer.padding is not None:
        return {name: tokenizer.padding[name] for name in ("direction", "pad_id", "pad_type_id", "pad_token")}
    for name in _PADDING:
        if (index := tokenizer.token_to_id(name)) is not None:
            return {"direction": "right", "pad_id": index, "pad_type_id": 0, "pad_token": name}
    raise InputError(f"{path}: the tokenizer names no padding token ({', '.join(_PADDING)}); add one to it")


def _words(sentence: str, encoded: Any) -> Words:
    """Tokens are one word where the tokenizer says so, or, where it knows no words, between blanks of the sentence."""
    groups: dict[int, list[int]] = {}
    own = [word for word in encoded.word_ids if word is not None]
    knows = len(set(own)) > 1
    for place, (word, (first, last)) in enumerate(zip(encoded.word_ids, encoded.offsets, strict=True)):
        if encoded.special_tokens_mask[place] or word is None:
            continue
        begun = len(sentence[:last].split()) if last > first else len(groups)
        groups.setdefault(word if knows else begun, []).append(place)
    texts = []
    for places in groups.values():
        first = min(encoded.offsets[place][0] for place in places)
        last = max(encoded.offsets[place][1] for place in places)
        texts.append(sentence[first:last].strip() or "".join(encoded.tokens[place] for place in places))
    return Words(tuple(texts), tuple(tuple(places) for places in groups.values()), tuple(encoded.tokens))
