"""Commands of the upper package; `ml_backend.cli` names them by dotted path."""
