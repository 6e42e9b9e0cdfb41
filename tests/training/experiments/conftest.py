"""An empty database, rows in it, and an experiment over them."""

from tests.training.quality.conftest import database, databases, rows, schema

__all__ = ["database", "databases", "rows", "schema"]
