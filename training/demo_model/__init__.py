"""How the small bundled model and its calls are made, from text and a speech synthesiser."""
