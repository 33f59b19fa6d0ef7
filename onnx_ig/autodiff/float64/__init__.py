"""Operators of float64 that ONNX Runtime has no kernel for on the CPU, written in those that it has, in float64."""
