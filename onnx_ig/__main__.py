"""``python -m onnx_ig``: the same as ``onnx-ig``."""

from onnx_ig.cli import main

if __name__ == "__main__":
    main()
