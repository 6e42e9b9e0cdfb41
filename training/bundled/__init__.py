"""How the small demonstration model and its telephone calls are made: text, voices, lines, a model from random weights."""
