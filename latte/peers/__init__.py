"""The same net in other people's systems, to compare with: Net -> graph -> PyTorch, ONNX."""
