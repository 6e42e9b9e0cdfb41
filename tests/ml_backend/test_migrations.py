"""An upgrade keeps every row and ends at the schema the code speaks of, on both kinds of database."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from ml_backend import db, tables
from ml_backend.labelling import labelconfig


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


def test_what_is_decided_once_is_filled_in_for_older_rows_and_the_way_back_keeps_them(old_url: str) -> None:
    rejecting = '[{"from_name": "reject", "to_name": "audio", "type": "choices", "value": {"choices": ["private"]}}]'
    old = db.Database(old_url)
    with old.engine.connect() as connection:
        config = db._alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
        values = {"at": "2026-11-22 00:00:00", "result": rejecting, "config": labelconfig.read("calls")}
        for statement in (
            "INSERT INTO projects (created_at, updated_at, instance_url, ls_project_id, state, label_config,"
            " extra_params, draft_label, revision) VALUES (:at, :at, 'u', 1, 'attached', :config, '{}', 'draft-1', 0)",
            "INSERT INTO recordings (created_at, updated_at, source, source_identity, synthetic, state, priority)"
            " VALUES (:at, :at, 'object', 's3://b/1', false, 'ready', 50),"
            " (:at, :at, 'object', 's3://b/2', false, 'ready', 50)",
            "INSERT INTO tasks (created_at, updated_at, project_id, recording_id, start_s, external_key, origin,"
            " blind, overlap, state) VALUES (:at, :at, 1, 2, 0, 'k', 'ours', false, 1, 'open')",
            "INSERT INTO annotations (created_at, project_id, task_id, ls_annotation_id, ls_updated_at, result,"
            " skipped, ground_truth, before_attach) VALUES (:at, 1, 1, 1, :at, :result, false, false, false)",
            "INSERT INTO calls (created_at, updated_at, provider, call_sid, merged, seen_by, state, tries,"
            " consent_purpose) VALUES (:at, :at, 'exotel', 'a', '{}', '[]', 'tasked', 0, 'review')",
            "UPDATE recordings SET call_id = 1 WHERE id = 2",
            "INSERT INTO samples (created_at, project_id, task_id, number, annotation_id, recording_id, start_s, end_s,"
            " channel, text, blind, before_attach, digest, state)"
            " VALUES (:at, 1, 1, 0, 1, 2, 0, 1, 0, 'namaste', false, false, 'd', 'accepted')",
        ):
            connection.execute(sa.text(statement), values)
        connection.commit()
    old.dispose()

    db.upgrade(old_url)

    new = db.Database(old_url)
    homes = new.rows(sa.select(tables.recordings.c.project_id, tables.recordings.c.route).order_by(sa.text("id")))
    assert [tuple(row) for row in homes] == [(None, None), (1, None)]
    [said] = new.rows(sa.select(tables.annotations.c.choices, tables.annotations.c.redraft))
    assert tuple(said) == ({"reject": ["private"]}, None)
    [sample] = new.rows(sa.select(tables.samples.c.state, tables.samples.c.reason_code))
    assert tuple(sample) == ("excluded", "consent")
    with new.engine.connect() as connection:
        db._check_foreign_keys(connection, False)
        config = db._alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "0004")
        connection.commit()
        assert connection.execute(sa.text("SELECT COUNT(*) FROM annotations")).scalar() == 1
        assert "project_id" not in {column["name"] for column in sa.inspect(connection).get_columns("recordings")}
    new.dispose()
