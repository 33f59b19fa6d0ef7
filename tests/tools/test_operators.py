"""The committed table of operators tells the truth about what is registered."""

from tools.operators import stale, table


def test_table_is_fresh() -> None:
    assert not stale(table(judged=False)), "run: python -m tools.operators --refresh"
