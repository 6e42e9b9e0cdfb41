"""Makes the small bundled model and its calls from text and a speech synthesiser."""
