"""float64 kernels for operators that ONNX Runtime has only in float32: what judges a gradient."""
