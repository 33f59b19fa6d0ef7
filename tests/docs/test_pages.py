"""Every command and snippet of the pages runs, prints what is said, and makes the picture that is shown."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.pages import DOCS, PAGES, blocks, made, pictures, run_page

NOT_RUN = 15  # blocks of all pages that say why they cannot be run here
_SHARE, _STEP = 0.005, 24  # of the pixels that may differ by more than so many levels: another font's edges
_COOKBOOK = [page for page in PAGES if page.startswith("cookbook/")]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)])
def test_what_a_page_shows_is_so(page: str, tmp_path: Path) -> None:
    run_page(page, tmp_path)
    for shown, pattern in pictures(page):
        kept, new = (Image.open(file).convert("RGB") for file in (shown, made(tmp_path, pattern)))
        assert kept.size == new.size, f"{shown}: python -m tools.docs_pictures draws it again"
        differences = np.abs(np.asarray(kept, int) - np.asarray(new, int)).max(axis=-1)
        assert (differences > _STEP).mean() < _SHARE, f"{shown}: python -m tools.docs_pictures draws it again"


def test_blocks_that_are_not_run_are_counted() -> None:
    """Each has its reason, and another one is another number here."""
    all_blocks = [block for page in PAGES for block in blocks(page)]
    assert {block.language for block in all_blocks} <= {"bash", "python", "text"}
    assert sum(bool(block.not_run) for block in all_blocks) == NOT_RUN


@pytest.mark.parametrize("page", _COOKBOOK)
def test_a_recipe_is_one_command_and_its_picture(page: str) -> None:
    shown = [
        block.code.replace("\\\n", " ") for block in blocks(page) if block.language == "bash" and not block.not_run
    ]
    assert [code.split()[:2] for code in shown] == [["onnx-ig", "attribute"]] and shown[0].count("\n") == 1
    assert pictures(page)


def test_every_picture_is_shown() -> None:
    shown = {file for page in PAGES for file, _ in pictures(page)}
    assert shown == set((DOCS / "pictures").iterdir())


WRONG: dict[str, tuple[str, str]] = {
    "a command that fails": ("```bash\nonnx-ig attribute none.onnx -i x.npy -o r\n```\n", "none.onnx"),
    "a program that fails": ("```bash\npython -c 'print(1); raise SystemExit(3)'\n```\n", "line 2"),
    "another output": (
        "```bash\nonnx-ig --version\n```\n\n```text\n... version 99\n```\n",
        "not printed: ... version 99",
    ),
    "another value": ("```python\nprint(2)\n```\n\n```text\n3\n```\n", "not printed: 3"),
    "an error": ("```python\nassert 1 == 2, 'one is not two'\n```\n", "one is not two"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_page_that_is_wrong_is_found(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, words = WRONG[case]
    (tmp_path / "page.md").write_text(text)
    monkeypatch.setitem(PAGES, "page.md", tmp_path / "page.md")
    (tmp_path / "run").mkdir()
    with pytest.raises(AssertionError, match=words):
        run_page("page.md", tmp_path / "run")


def test_a_reason_is_a_reason_not_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page.md").write_text('```{ .bash data-not-run="no such program" }\nno-such-program\n```\n')
    monkeypatch.setitem(PAGES, "page.md", tmp_path / "page.md")
    assert [block.not_run for block in blocks("page.md")] == ["no such program"]
    (tmp_path / "run").mkdir()
    run_page("page.md", tmp_path / "run")
    assert shutil.which("no-such-program") is None
