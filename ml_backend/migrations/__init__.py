"""Schema changes, oldest first. `python -m ml_backend db upgrade` applies them."""
