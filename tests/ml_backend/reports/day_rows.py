"""Hand-made rows of the days that the reports count."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context, JobContext
from ml_backend.latency_buckets import LatencyBuckets
from ml_backend.reports import day_counts

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
_NUMBERS = count(1)


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def put(context: Context, table: sa.Table, **values: Any) -> int:
    with context.db.transaction() as connection:
        key = connection.execute(sa.insert(table).values(**values)).inserted_primary_key
        return int(key[0]) if key else 0


def project(context: Context, **values: Any) -> int:
    number = next(_NUMBERS)
    named = {"instance_url": "http://ls.example", "ls_project_id": number, "title": f"Calls {number}"}
    return put(context, tables.projects, **{**named, "state": "attached", **values})


def recording(context: Context, at: datetime, *, seconds: float = 60.0, **values: Any) -> int:
    named = {"source": "object", "source_identity": f"s3://calls/{next(_NUMBERS)}.wav", "state": "ready"}
    return put(context, tables.recordings, **{**named, "created_at": at, "duration_s": seconds, **values})


def task(context: Context, project_id: int, at: datetime, *, seconds: float = 60.0, **values: Any) -> int:
    number = next(_NUMBERS)
    known = {"recording_id": values.pop("recording_id", None) or recording(context, at, seconds=seconds)}
    named = {"project_id": project_id, "external_key": f"task-{number}", "ls_task_id": number, "origin": "ours"}
    return put(
        context,
        tables.tasks,
        **{**named, **known, "start_s": 0.0, "end_s": seconds, "created_at": at, "state": "open"} | values,
    )


def annotation(context: Context, project_id: int, task_id: int | None, at: datetime, **values: Any) -> int:
    number = next(_NUMBERS)
    named = {
        "project_id": project_id, "task_id": task_id, "ls_annotation_id": number, "ls_updated_at": at,
        "ls_created_at": at, "annotator": 7, "result": [], "text": "one two three", "lead_time_s": 90.0,
        "edited": "edited", "measures": {"words": 3, "word_edits": 1},
    }  # fmt: skip
    return put(context, tables.annotations, **{**named, **values})


def sample(context: Context, project_id: int, at: datetime, *, seconds: float, **values: Any) -> int:
    task_id = task(context, project_id, at, seconds=seconds)
    annotation_id = annotation(context, project_id, task_id, at)
    named = {
        "project_id": project_id, "task_id": task_id, "number": 0, "annotation_id": annotation_id, "start_s": 0.0,
        "end_s": seconds, "text": "one two three", "digest": "0" * 64, "state": "accepted", "accepted_at": at,
    }  # fmt: skip
    return put(context, tables.samples, **{**named, **values})


def outcome(context: Context, at: datetime, **values: Any) -> int:
    return put(context, tables.outcomes, call_sid=f"call-{next(_NUMBERS)}", kind="call", created_at=at, **values)


def minute(context: Context, at: datetime, *seconds: float, kind: str = "", failed: int = 0) -> int:
    """One minute of `serve`; without a kind, that it was there."""
    buckets = LatencyBuckets()
    for each in seconds:
        buckets.add(each)
    return put(
        context, tables.live_minutes, minute=at.replace(second=0, microsecond=0), process="a", kind=kind,
        route="parse" if kind else "", requests=len(seconds) + failed, failed=failed, seconds=buckets.to_json(),
    )  # fmt: skip


def counted(context: Context, monkeypatch: Any, *, now: datetime = NOW) -> None:
    """The job ran, at a time that every clock shows from now on."""
    monkeypatch.setattr(tables, "now", lambda: now)
    day_counts.count_days(JobContext(context.settings, context.db, context.store), days=day_counts.RECENT_DAYS)
