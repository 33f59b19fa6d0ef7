"""A sentence about several examples that names the worst, and that further examples can join.

The one idea: who explains piece by piece still says it once, of all examples; so a note keeps what it counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

WHICH, WHERE, ARE, COUNT = "<which>", "<where>", "<are>", "<count>"


class Counted(NamedTuple):
    """What a note says.

    Attributes:
        kind: notes of one kind are joined.
        text: the sentence, with ``WHICH`` for "3 of 10 examples", ``WHERE`` for " (example 2)", ``ARE`` for "are",
            ``COUNT`` for the 3.
        some, of: how many examples it is about, of how many.
        worst: the larger, the worse; ``example``: the worst one.
    """

    kind: str
    text: str
    some: int
    of: int
    worst: float = 0.0
    example: int = 0


class Note(str):
    """The sentence itself; ``counted`` is what it is made from.

    >>> print(Note(Counted("kind", f"{WHICH} lack a sum{WHERE}", 3, 10, 0.5, 2)))
    3 of 10 examples lack a sum (example 2)
    """

    counted: Counted

    def __new__(cls, counted: Counted) -> Note:
        which = f"{counted.some} of {counted.of} examples" if counted.of > 1 else "the example"
        where = f" (example {counted.example})" if counted.of > 1 else ""
        said = {WHICH: which, WHERE: where, ARE: "are" if counted.of > 1 else "is", COUNT: str(counted.some)}
        text = counted.text
        for word, meant in said.items():
            text = text.replace(word, meant)
        note = super().__new__(cls, text)
        note.counted = counted
        return note

    def __reduce__(self) -> tuple[Any, ...]:
        return Note, (self.counted,)


def joined(pieces: Iterable[tuple[int, Iterable[str]]]) -> tuple[str, ...]:
    """The notes on consecutive pieces of the examples, each said once of all.

    Args:
        pieces: the examples of each, and its notes; those that count nothing are kept as they are.
    """
    found: dict[str, Counted | str] = {}
    before = 0
    for examples, notes in pieces:
        for note in notes:
            if not isinstance(note, Note):
                found.setdefault(note, note)
                continue
            new = note.counted._replace(example=note.counted.example + before)
            old = found.get(new.kind)
            if isinstance(old, Counted):
                worse = new if new.worst > old.worst else old
                new = worse._replace(some=old.some + new.some)
            found[new.kind] = new
        before += examples
    return tuple(Note(entry._replace(of=before)) if isinstance(entry, Counted) else entry for entry in found.values())
