"""What is over is counted by a job, each row once; a scrape reads no table that grows, on either database."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.context import JobContext, open_context
from ml_backend.jobs import job_kinds
from ml_backend.metrics import Metrics
from ml_backend.monitoring import work_numbers
from ml_backend.settings import Settings
from sync.live import kept_counts
from tests.servers import postgres

GROWING = (
    "calls", "recordings", "annotations", "events", "jobs", "transcriptions", "predictions", "tasks", "samples",
    "outcomes", "objects", "live_minutes", "utterances", "evaluations", "alias_history",
)  # fmt: skip


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    with postgres.running() as server:
        url = server.database()
        db.upgrade(url)
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def context(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobContext]:
    url = f"sqlite:///{tmp_path / 'kaan.db'}"
    if request.param == "sqlite":
        db.upgrade(url)
    else:
        url = request.getfixturevalue("postgres_url")
    opened = open_context(Settings(_env_file=None, data_dir=tmp_path, database_url=url))
    if request.param == "postgresql":
        with opened.db.transaction() as connection:
            names = ", ".join(table.name for table in tables.metadata.sorted_tables)
            connection.execute(sa.text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
    yield JobContext(opened.settings, opened.db, opened.store)
    opened.db.dispose()


def put(context: JobContext, table: sa.Table, **values: Any) -> int:
    with context.db.transaction() as connection:
        return int(connection.execute(sa.insert(table).values(**values).returning(table.c.id)).scalar_one())


def shown(context: JobContext) -> str:
    return Metrics(context).text().decode()


def call(context: JobContext, sid: str, state: str = "kept") -> None:
    put(context, tables.calls, provider="exotel", call_sid=sid, state=state, due_at=tables.now())


def transcription(context: JobContext, name: str, *, seconds: float, at: Any) -> None:
    recording = put(context, tables.recordings, source="upload", source_identity=name, state="ready")
    put(
        context, tables.transcriptions, recording_id=recording, audio_sha256=name, model_version="v1",
        decoding_hash="h", decoding={}, text="", transcript={}, confidence=1.0, duration_s=seconds, created_at=at,
    )  # fmt: skip


def test_what_is_over_is_counted_and_each_row_is_added_once(context: JobContext) -> None:
    old, now = tables.now() - timedelta(minutes=5), tables.now()
    call(context, "c1")
    call(context, "c2", "to-fetch")
    transcription(context, "a", seconds=30.0, at=old)
    transcription(context, "late", seconds=5.0, at=now)  # its transaction may not be the last one to commit
    ended = {"queue": "sync", "arguments": {}, "priority": 50, "name": "scan-bucket", "state": "done"}
    put(context, tables.jobs, **ended, started_at=old - timedelta(seconds=4), finished_at=old)
    put(context, tables.outcomes, call_sid="c1", kind="call", success=True, satisfaction=0.8)
    put(context, tables.outcomes, call_sid="c2", kind="call", success=False)
    for _ in range(2):
        kept_counts.keep_counts(context)
    text = shown(context)
    assert 'kaan_calls{state="kept"} 1.0' in text
    assert 'kaan_calls{state="to-fetch"} 1.0' in text
    assert 'kaan_jobs{queue="sync",state="done"} 1.0' in text
    assert 'kaan_jobs_ended_total{job="scan-bucket",state="done"} 1.0' in text
    assert 'kaan_job_run_seconds_total{job="scan-bucket",state="done"} 4.0' in text
    assert 'kaan_transcribed_audio_seconds_total{version="v1"} 30.0' in text
    assert 'kaan_recordings{state="ready"} 2.0' in text
    assert "kaan_call_success_ratio 0.5" in text
    assert "kaan_call_satisfaction_ratio 0.8" in text
    with context.db.transaction() as connection:
        connection.execute(sa.update(tables.transcriptions).values(created_at=old))
    kept_counts.keep_counts(context)
    assert 'kaan_transcribed_audio_seconds_total{version="v1"} 35.0' in shown(context)


def test_a_long_queue_is_counted_up_to_a_bound_and_then_by_the_job(
    context: JobContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_numbers, "MOST_COUNTED", 3)
    for _ in range(5):
        put(context, tables.jobs, name="scan-bucket", queue="sync", arguments={}, priority=100, state="waiting")
    assert 'kaan_jobs{queue="sync",state="waiting"} 3.0' in shown(context)
    kept_counts.keep_counts(context)
    assert 'kaan_jobs{queue="sync",state="waiting"} 5.0' in shown(context)


def statements(context: JobContext) -> list[tuple[str, Any]]:
    """Every SELECT of one scrape, with its parameters."""
    found: list[tuple[str, Any]] = []

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *more: Any) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "WITH")) and "clock_timestamp" not in statement:
            found.append((statement, parameters))

    sa.event.listen(sa.engine.Engine, "before_cursor_execute", note)
    try:
        shown(context)
    finally:
        sa.event.remove(sa.engine.Engine, "before_cursor_execute", note)
    return found


def scanned(context: JobContext, statement: str, parameters: Any) -> set[str]:
    """The growing tables of which the plan reads more than a bound. The first row by its key is no scan."""
    if re.search(r"LIMIT \S+( OFFSET \S+)?\s*$", statement.strip()) and "WHERE" not in statement:
        return set()
    with context.db.reading() as connection:
        if connection.dialect.name == "sqlite":
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            found = {match[1] for row in rows if (match := re.match(r"SCAN (\w+)", str(row[-1])))}
        else:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")  # with few rows a scan is the best plan
            rows = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).all()
            found = {match[1] for row in rows if (match := re.search(r"Seq Scan on (\w+)", str(row[0])))}
    return found & set(GROWING)


def test_a_scrape_scans_no_table_that_grows(context: JobContext) -> None:
    put(context, tables.projects, instance_url="http://label-studio", ls_project_id=1, state="attached")
    kept_counts.keep_counts(context)
    asked = statements(context)
    assert len(asked) > 20
    assert not {table: text for text, values in asked for table in scanned(context, text, values)}


def test_the_check_sees_a_scan(context: JobContext) -> None:
    assert scanned(context, "SELECT count(*) FROM calls WHERE custom_field = 'x'", ()) == {"calls"}


def test_every_kind_of_job_has_its_series_before_it_ever_ended(context: JobContext) -> None:
    text = shown(context)
    assert all(f'kaan_jobs_ended_total{{job="{name}",state="done"}} 0.0' in text for name in job_kinds.KINDS)
