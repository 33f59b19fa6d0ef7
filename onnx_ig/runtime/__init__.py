"""Running models: the only package that imports ONNX Runtime."""
