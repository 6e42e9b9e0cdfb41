"""Fixtures of the kernel's tests: a database of either kind, a context on it, real servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.context import Context, open_context
from ml_backend.settings import Settings
from tests.servers import moto, postgres, redis


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.PostgresServer]:
    with postgres.running() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres_server: postgres.PostgresServer) -> str:
    """One database with our tables. `database_url` empties it before each test: making one takes much longer."""
    url = postgres_server.database()
    db.upgrade(url)
    return url


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    """A quick S3 server that checks no signature."""
    with moto.running() as endpoint:
        yield endpoint


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database with our tables; a test that asks for it runs on both kinds."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'kaan.db'}"
        db.upgrade(url)
        return url
    url = str(request.getfixturevalue("postgres_url"))
    database = db.Database(url)
    with database.transaction() as connection:
        names = ", ".join(table.name for table in tables.metadata.sorted_tables)
        connection.execute(sa.text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
    database.dispose()
    return url


@pytest.fixture
def context(database_url: str, tmp_path: Path) -> Iterator[Context]:
    """A context on `database_url`, without Redis."""
    opened = open_context(Settings(_env_file=None, data_dir=tmp_path, database_url=database_url))
    yield opened
    opened.kept.clear()
    opened.db.dispose()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[redis.RedisServer]:
    with redis.running(tmp_path / "redis") as server:
        yield server
