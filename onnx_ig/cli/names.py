"""``--names``: what to call features and classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from onnx_ig.errors import InputError, UsageError


def read_names(path: Path | None) -> dict[str, Any]:
    """``features`` and ``classes`` from a JSON file.

    Raises:
        UsageError: no such file; InputError: not the JSON that is meant.
    """
    if path is None:
        return {}
    if not path.is_file():
        raise UsageError(f"--names {path}: no such file")
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:  # of JSON or of UTF-8
        raise InputError(f"--names {path}: not a JSON file ({error})") from error
    features = content.get("features", {}) if isinstance(content, dict) else None
    lists = [
        *(features.values() if isinstance(features, dict) else [features]),
        *([content["classes"]] if features is not None and "classes" in content else []),
    ]
    if not all(isinstance(entry, list) and all(isinstance(name, str) for name in entry) for entry in lists):
        raise InputError(
            f'--names {path}: expected {{"features": [...] or {{input: [...]}}, "classes": [...]}} with '
            "lists of strings"
        )
    return dict(content)
