"""What waits, what went wrong and when schedules run is said from few rows, however long the history is."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context
from ml_backend.jobs import enqueueing, job_kinds, schedules
from ml_backend.jobs.schedules import Schedule
from ml_backend.reports import work_summary
from ml_backend.tables import jobs
from ml_backend.views.queries import Query


def job(context: Context, kind: job_kinds.JobKind, **changes: Any) -> int:
    with context.db.transaction() as connection:
        job_id = enqueueing.enqueue(connection, kind)
        if changes:
            connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(**changes))
    return job_id


def test_open_and_failed_jobs_are_counted_by_kind_and_trouble_says_what_to_do(context: Context) -> None:
    for _ in range(3):
        job(context, job_kinds.INGEST_RECORDING)
    job(context, job_kinds.TRAIN, state="running")
    job(context, job_kinds.SCAN_BUCKET, state="done", finished_at=tables.now())
    failed = job(
        context, job_kinds.SCAN_BUCKET, state="failed", error="The store is down.", next_step="Start it.",
        error_code="store-down", finished_at=tables.now(),
    )  # fmt: skip
    found = work_summary.of(context, Query())
    states = {one["state"]: one["jobs"] for one in found["states"]}
    assert states == {"running": 1, "queued": 0, "waiting": 3, "failed": 1, "quarantined": 0}
    kinds = {one["kind"]: one for one in found["by_kind"]}
    assert (kinds["ingest-recording"]["waiting"], kinds["train"]["running"]) == (3, 1)
    assert (kinds["scan-bucket"]["recently_done"], kinds["scan-bucket"]["failed"]) == (1, 1)
    assert [(one["job"], one["next_step"]) for one in found["trouble"]] == [(failed, "Start it.")]
    assert [one["queue"] for one in found["oldest"]] == ["sync"]
    assert any("Start it." in line for line in work_summary.lines(found))


def test_a_state_with_more_jobs_than_are_counted_says_at_least(context: Context, monkeypatch: Any) -> None:
    monkeypatch.setattr(work_summary, "MOST_COUNTED", 2)
    for _ in range(4):
        job(context, job_kinds.INGEST_RECORDING)
    waiting = next(one for one in work_summary.of(context, Query())["states"] if one["state"] == "waiting")
    assert (waiting["jobs"], waiting["at_least"]) == (2, True)


def test_a_schedule_says_when_it_ran_how_that_went_and_when_it_looks_next(context: Context) -> None:
    schedule = next(one for one in schedules.SCHEDULES if one.kind is job_kinds.CHECK_WEEKLY)
    assert all(one["last_at"] is None for one in work_summary.every_schedule(context, Query())["schedules"])
    [made] = schedules.make_due(context.db, schedule)
    with context.db.transaction() as connection:
        connection.execute(sa.update(jobs).where(jobs.c.id == made).values(state="failed"))
    found = work_summary.every_schedule(context, Query())
    one = next(each for each in found["schedules"] if each["kind"] == "check-weekly")
    assert (one["last_jobs"], one["last_number"], one["last_state"]) == ([made], 1, "failed")
    assert one["next_at"] - one["last_at"] == timedelta(seconds=600)
    assert any("check-weekly, every 10 min" in line for line in work_summary.schedule_lines(found))


def test_a_schedule_that_makes_many_jobs_is_noted_once_with_a_few_of_them(context: Context) -> None:
    schedule = Schedule(
        job_kinds.SCAN_BUCKET, 60, lambda connection: [{"bucket": f"b{n}", "full": 0} for n in range(60)]
    )
    made = schedules.make_due(context.db, schedule)
    noted = schedules.last_made(context.db)["scan-bucket:60"]
    assert (noted["number"], noted["jobs"]) == (60, made[:5])
    assert schedules.make_due(context.db, schedule) == []
    assert schedules.last_made(context.db)["scan-bucket:60"] == noted, "a tick that makes nothing changes nothing"
