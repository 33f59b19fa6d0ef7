"""PyTorch models as ONNX graphs: read, exported, checked against torch."""
