"""What to do about a file of text in another encoding: its bytes seldom tell which one it is, so none is guessed."""

from __future__ import annotations


def encoding_advice(error: Exception) -> str:
    """The end of a message about a file that ``error`` says is not UTF-8; nothing where it says something else."""
    if not isinstance(error, UnicodeDecodeError):
        return ""
    marked = error.start == 0 and error.object[:2] in (b"\xff\xfe", b"\xfe\xff")
    known = "UTF-16" if marked else "LATIN1"
    return f"; save it as UTF-8 (in a spreadsheet: CSV UTF-8), or convert it, such as by iconv -f {known} -t UTF-8"
