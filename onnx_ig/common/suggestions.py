"""The names that somebody may have meant who wrote another one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_CLOSE = 0.6  # of 1, by difflib's ratio


def nearest(name: object, known: Iterable[object]) -> str:
    """`` (did you mean logits?)`` with the one or two of ``known`` nearest to ``name``; nothing where all are far."""
    by_fold = {str(one).casefold(): str(one) for one in known}
    found = difflib.get_close_matches(str(name).casefold(), by_fold, n=2, cutoff=_CLOSE)
    return f" (did you mean {' or '.join(by_fold[one] for one in found)}?)" if found else ""
