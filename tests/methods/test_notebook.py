"""A notebook from beginning to end, as a user runs it: a cell shows what it should, and the bar stays when done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
from nbconvert.preprocessors import ExecutePreprocessor

ROOT = Path(__file__).resolve().parents[2]
CELLS = {
    "progress": """
import onnx_ig
model = "models/digits_cnn/digits_cnn.onnx"
data = onnx_ig.read("models/digits_cnn/seven.png", model)
found = onnx_ig.IntegratedGradients(model).explain(data, target=7, progress=True)""",
    "repr": "found",
    "plot": "found.plot()",
    "table": "found.to_pandas().head(3)",
    "quiet": "quiet = onnx_ig.InputXGradient(model).explain(data, target=7)",
}


def test_a_notebook_shows_what_was_found() -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS.values()])
    ExecutePreprocessor(timeout=300, kernel_name="python3").preprocess(notebook, {"metadata": {"path": str(ROOT)}})
    shown = dict(zip(CELLS, (_html(cell.outputs) for cell in notebook.cells), strict=True))
    assert '<progress value="50" max="50"' in shown["progress"] and "50 of 50" in shown["progress"]
    assert "data:image/png" in shown["repr"] and "score F(x)" in shown["repr"]
    assert shown["plot"].startswith("<img") and 'alt="The input, its attributions' in shown["plot"]
    assert 'class="dataframe"' in shown["table"]
    assert shown["quiet"] == ""


def _html(outputs: list[Any]) -> str:
    assert all(output.output_type in ("display_data", "execute_result") for output in outputs), outputs
    return "".join(output.data["text/html"] for output in outputs)
