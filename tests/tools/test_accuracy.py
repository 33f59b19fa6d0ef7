"""The arithmetic of the accuracy tool: errors, the oracle, what is within, and one small network through all of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tools.exactness import measures, subjects, tables, times


def test_errors_are_relative_sums() -> None:
    found = np.array([[1, 2], [0, -4]], np.float32)
    assert measures.errors(found, np.array([[1.0, 1.0], [1.0, -4.0]])).tolist() == [0.5, 0.2]


def test_the_oracle_is_the_first_rule_that_is_within() -> None:
    within = {6: [True, False, False], 8: [False, True, False], 10: [True, True, False]}
    asked: list[int] = []

    def at(size: int) -> np.ndarray:
        asked.append(size)
        return np.array(within[size])

    assert measures.smallest(at, (6, 8, 10), 3).tolist()[:2] == [6, 8]
    assert np.isnan(measures.smallest(at, (6, 8, 10), 3)[2])
    asked.clear()
    within[6] = [True, True, True]
    assert measures.smallest(at, (6, 8, 10), 3).tolist() == [6, 6, 6] and asked == [6]


def test_the_reliable_oracle_is_the_first_rule_from_which_on_all_are_within() -> None:
    within = {6: [True, True, True], 8: [False, True, True], 10: [True, True, False]}
    found = measures.smallest_for_good(lambda size: np.array(within[size]), (6, 8, 10), 3)
    assert found.tolist()[:2] == [10, 6] and np.isnan(found[2])


@pytest.mark.parametrize(
    ("errors", "oracle", "expected"),
    [
        ([0.05, 0.2], [6, 10], ("n", "10 %", "50.0 %", "2.00", "15", "8", "1.80", "2.10", "10", "1.44", "1.75")),
        ([0.05, 0.1], [6, np.nan], ("n", "10 %", "100.0 %", "1.00", "15", "6", "1.50", "1.50", "8", "1.12", "1.12")),
        ([0.0, 0.0], [np.nan, np.nan], ("n", "10 %", "100.0 %", "0.00", "15", *"––––––")),
    ],
)
def test_a_row_tells_shares_medians_and_the_worst(
    errors: list[float], oracle: list[float], expected: tuple[str, ...]
) -> None:
    oracles = np.array(oracle, np.float64)
    found = measures.AtTolerance(
        0.1, np.array(errors), np.array(errors), np.array([9.0, 21.0]), oracles, oracles + 2, 3 * oracles
    )
    hindsight = ("–", "–") if np.isnan(oracles).all() else ("3.00", "3.00")
    assert tables.row("n", found) == (*expected, *hindsight)


def test_a_trained_network_through_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (measures, times):
        monkeypatch.setattr(module, "REFERENCE", 100)
    threads = torch.get_num_threads()
    try:
        subject, again = (subjects.subjects(3, ["tanh MLP"])[0] for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads)
    assert (subject.network(subject.inputs) == again.network(again.inputs)).all()
    found = measures.measured(subject, (0.05,))
    assert (found.adaptive[0].error <= 0.05).all() and (found.adaptive[0].ratio >= 1).all()
    assert (found.fixed["gausslegendre", 50] < 1e-4).all() and (found.fixed["riemann_left", 10] > 1e-3).all()
    text = tables.report([found])
    assert "| **all** | 5 % | 100.0 % |" in text and "| tanh MLP | gausslegendre |" in text
    tables.plot([found], tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    spent = times.timed(subject, 0.05, 3)
    assert spent.steps in measures.ORACLES and min(spent.ours, spent.default, spent.equal, spent.doubling) > 0
    assert f"at {spent.steps} steps" in spent.line("n", 0.05)
    with pytest.raises(SystemExit, match="'x' is not one of digits_cnn"):
        subjects.subjects(1, ["x"])
