"""An empty database for every test of annotation quality."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ml_backend import db
from ml_backend.db import Database
from tests.training.quality.rows import Rows


@pytest.fixture(scope="session")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An up-to-date database file to copy."""
    path = tmp_path_factory.mktemp("schema") / "kaan.db"
    db.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def databases(schema: Path, tmp_path: Path) -> Iterator[Callable[[], Database]]:
    """Makes empty databases, as many as a test wants."""
    made: list[Database] = []

    def make() -> Database:
        path = tmp_path / f"{len(made)}.db"
        shutil.copy(schema, path)
        made.append(Database(f"sqlite:///{path}"))
        return made[-1]

    yield make
    for each in made:
        each.dispose()


@pytest.fixture
def database(databases: Callable[[], Database]) -> Database:
    """One of them."""
    return databases()


@pytest.fixture
def rows(database: Database) -> Rows:
    """Makes rows in it."""
    return Rows(database)
