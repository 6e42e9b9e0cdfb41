"""`learn`: the whole loop, watched, on top of the demo."""
