"""The pages about devices have a place for each table of sizes and times, and it holds one."""

from __future__ import annotations

import pytest

from tools.device_table import KINDS, PAGES, SUBJECTS, put


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_holds_a_row_of_each_model(kind: str) -> None:
    text = (PAGES / KINDS[kind].page).read_text("utf-8")
    table = text.partition(f"tools.device_table {kind} --write -->")[2].partition("<!-- end -->")[0]
    rows = [line.split("|")[1:4] for line in table.splitlines() if line.startswith("| ")][1:]
    assert [row[0].strip() for row in rows] == list(SUBJECTS)
    assert all(row[1].strip() and row[2].strip() for row in rows)


def test_a_table_takes_the_old_one_s_place() -> None:
    text = "before\n<!-- python -m tools.device_table c --write -->\nold\n<!-- end -->\nafter"
    assert put(put(text, "c", "one"), "c", "two").split("\n\n") == [
        text.partition("old")[0].rstrip(),
        "two",
        text[-18:],
    ]
    with pytest.raises(ValueError, match=r"microcontroller\.md has no place"):
        put("before", "c", "one")
