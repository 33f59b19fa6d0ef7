"""Reading and writing ONNX graphs: the builder, sizes, copies, clean-up."""
