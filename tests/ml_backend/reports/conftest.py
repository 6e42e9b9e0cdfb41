"""A deployment as for the other routes, and one database for the figures: counting is the same on both kinds, which
one test of each file shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_backend import db
from ml_backend.context import Context, open_context
from ml_backend.settings import Settings
from tests.ml_backend.api.conftest import empty_database, serve, serving

__all__ = ["empty_database", "one", "serve", "serving"]


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Context]:
    """A context on an empty SQLite database."""
    url = f"sqlite:///{tmp_path / 'figures.db'}"
    db.upgrade(url)
    opened = open_context(Settings(_env_file=None, data_dir=tmp_path, database_url=url))
    yield opened
    opened.kept.clear()
    opened.db.dispose()
