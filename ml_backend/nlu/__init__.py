"""A text -> its intent and entities, without torch: ONNX Runtime, tokenizers and numpy, one thread."""
