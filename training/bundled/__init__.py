"""How the small demonstration model and its telephone calls are made, from text and a speech synthesiser."""
