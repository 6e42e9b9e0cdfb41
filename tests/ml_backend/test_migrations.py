"""An upgrade keeps every row and ends at the schema the code speaks of, on both kinds of database."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from ml_backend import db, tables


@pytest.fixture(params=["sqlite", "postgresql"])
def old_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database with the first release's tables."""
    kind = request.param
    server = request.getfixturevalue("postgres_server") if kind == "postgresql" else None
    url = server.database() if server else f"sqlite:///{tmp_path / 'kaan.db'}"
    database = db.Database(url)
    with database.engine.connect() as connection:
        config = db._alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.commit()
    database.dispose()
    return str(url)


def test_a_database_of_the_first_release_is_upgraded_with_its_rows_and_their_references(old_url: str) -> None:
    old = db.Database(old_url)
    with old.transaction() as connection:
        at = {"at": "2026-11-22 00:00:00"}
        for statement in (
            "INSERT INTO calls (created_at, updated_at, provider, call_sid, state)"
            " VALUES (:at, :at, 'exotel', 'a1', 'expected')",
            "INSERT INTO recordings (created_at, updated_at, source, source_identity, call_id, synthetic, state)"
            " VALUES (:at, :at, 'object', 's3://b/k', 1, false, 'found')",
            "INSERT INTO events (created_at, source, method, body, digest, state)"
            " VALUES (:at, 'label-studio', 'POST', 'x', 'd', 'new')",
        ):
            connection.execute(sa.text(statement), at)
    old.dispose()

    db.upgrade(old_url)
    db.upgrade(old_url)

    new = db.Database(old_url)
    [call], [recording], [event] = (
        new.rows(sa.select(table)) for table in (tables.calls, tables.recordings, tables.events)
    )
    assert (call.call_sid, call.tries, call.merged, call.seen_by) == ("a1", 0, {}, [])
    assert (recording.call_id, recording.priority) == (call.id, 50)
    assert event.copies == 1
    with new.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            assert connection.execute(sa.text("PRAGMA foreign_key_check")).all() == []
    new.dispose()


def test_the_migrations_end_at_the_tables_the_code_speaks_of(database_url: str) -> None:
    database = db.Database(database_url)
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []
    database.dispose()


@pytest.mark.parametrize("url", ["sqlite://", "postgresql://"])
def test_an_index_over_some_rows_is_made_with_its_condition_on_both_databases(url: str) -> None:
    said: list[str] = []
    engine = sa.create_mock_engine(url, lambda ddl, *_: said.append(str(ddl.compile(dialect=engine.dialect))))

    tables.metadata.create_all(engine, checkfirst=False)

    conditions = {line.partition(" ON ")[0].split()[-1]: line.partition(" WHERE ")[2] for line in said}
    assert conditions["ix_predictions_unconfirmed"] == "confirmed_at IS NULL"
    assert conditions["uq_jobs_waiting_key"] == "state IN ('waiting','queued')"
