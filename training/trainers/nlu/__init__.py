"""The trainer of parsers: any BERT-like encoder, an intent head and an entity head, and its served ONNX form."""
