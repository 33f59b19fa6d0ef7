"""Classical models (domain ai.onnx.ml), as converters of scikit-learn and others write them."""
