"""The command line: ``onnx-ig`` and ``python -m onnx_ig``."""

from onnx_ig.cli.app import app, main

__all__ = ["app", "main"]
