"""ONNX Runtime's own operators (domains com.microsoft, com.microsoft.nchwc), as its optimiser leaves them in files."""
