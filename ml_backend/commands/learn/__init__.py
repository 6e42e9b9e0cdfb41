"""`learn`: the whole training loop, shown step by step, on top of the demo."""
