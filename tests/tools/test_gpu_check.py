"""tools.gpu_check: its mechanics, tried on CPU; what cannot be measured, or is wrong, never passes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tools import gpu_check
from tools.gpu import parts, tables
from tools.gpu.contenders import Explain, best_batch
from tools.gpu.tables import FAILED, Row, attempt, has_failed, save

DRY_RUN = "--provider cpu --models digits_cnn --precisions fp32 --steps 2 --rounds 1 --parts"


def check(monkeypatch: pytest.MonkeyPatch, arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", *arguments.split()])
    return gpu_check.main()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_no_gpu_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(monkeypatch, "--quick") == 5
    assert "--provider cpu" in capsys.readouterr().err


def test_on_cpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    assert check(monkeypatch, f"{DRY_RUN} correctness placement graphs --write") == 0
    assert "| right |" in capsys.readouterr().out
    (written,) = tmp_path.glob("gpu_cpu_*.json")
    rows = json.loads(written.read_text())["rows"]
    assert [row["part"] for row in rows] == ["correctness", "placement", "graphs"]
    assert rows[1]["nodes"] == rows[1]["on the device"] > 50 and rows[2]["same numbers"] == "yes"
    assert "## placement" in written.with_suffix(".md").read_text()


def test_what_is_worth_most_comes_first(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu_check.py", "--models", "digits_cnn", "MLP", "--examples", "1"])
    rows = [(part, case["precision"], name) for part, name, case in gpu_check._ordered(gpu_check._options())]
    assert rows[:2] == [("correctness", "fp32", "digits_cnn"), ("correctness", "fp32", "MLP")]
    assert [part for part, *_ in rows[-6:]] == ["memory"] * 6 and len(rows) == len(set(rows)) + 3  # two layouts
    assert check(monkeypatch, f"{DRY_RUN} correctness --minutes 0") == 1
    assert "1 rows were left out" in capsys.readouterr().out


def test_wrong_numbers_fail(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    right = parts.ours

    def wrong(*arguments: Any) -> Explain:
        return lambda batch: right(*arguments)(batch).roll(1, -1)

    monkeypatch.setattr(parts, "ours", wrong)
    assert check(monkeypatch, f"{DRY_RUN} correctness") == 1
    assert f"{FAILED}1 − cosine" in capsys.readouterr().out


def test_a_part_that_breaks_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(gpu_check, "placement", _raising(RuntimeError("the driver\nis gone")))
    assert check(monkeypatch, f"{DRY_RUN} placement") == 1
    assert f"{FAILED}RuntimeError: the driver |" in capsys.readouterr().out


def test_batches_that_do_not_fit_are_left_out() -> None:
    def explain(batch: int | None) -> torch.Tensor:
        if batch != 16:
            raise torch.OutOfMemoryError("48 rows")
        return torch.zeros(1)

    assert best_batch(explain, (16, 48)) == 16
    assert attempt(lambda: best_batch(explain, (48,))).startswith(f"{FAILED}OutOfMemoryError")


def test_later_rows_replace_earlier_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    head = {"device": "NVIDIA H100 80GB HBM3", "date": "2026-01-01", "versions": {}, "command": "check"}
    case: Row = {"part": "speed", "model": "MLP", "precision": "fp32", "examples": 1, "layout": "contiguous"}
    save(head, [case | {"ours s": f"{FAILED}no"}, case | {"examples": 64, "ours s": 2.0}])
    save(head, [case | {"ours s": 1.0}])
    rows = json.loads((tmp_path / "gpu_nvidia_h100_80gb_hbm3.json").read_text())["rows"]
    assert [(row["examples"], row["ours s"]) for row in rows] == [(1, 1.0), (64, 2.0)]
    assert not any(map(has_failed, rows))


def _raising(error: Exception) -> Callable[..., Row]:
    def measure(*_: Any) -> Row:
        raise error

    return measure
