"""A day of minutes becomes one row, once, and says the same as the minutes did."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.context import JobContext, open_context
from ml_backend.jobs import job_kinds, schedules
from ml_backend.settings import Settings
from ml_backend.views import live_views
from sync.live import uptime

LATE = datetime.fromisoformat("2026-11-30T23:50:30+00:00")


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobContext]:
    chosen = Settings(_env_file=None, data_dir=tmp_path, database_url="", object_store="")
    db.upgrade(chosen.database)
    opened = open_context(chosen)
    monkeypatch.setattr(uptime.tables, "now", lambda: LATE)
    yield JobContext(opened.settings, opened.db, opened.store)
    opened.db.dispose()


def put(context: JobContext, at: datetime, *, route: str = "", **more: Any) -> None:
    values = {"minute": at, "process": "a", "route": route, "kind": "", "model_version": "", **more}
    with context.db.transaction() as connection:
        connection.execute(sa.insert(tables.live_minutes).values(values))


def days_ago(days: int, minute: int) -> datetime:
    return LATE.replace(hour=0, minute=0, second=0) - timedelta(days=days) + timedelta(minutes=minute)


def rows(context: JobContext, table: sa.Table) -> list[Any]:
    return list(context.db.rows(sa.select(table).order_by(*table.primary_key.columns)))


def test_days_that_are_over_for_two_days_are_rolled_up_and_say_what_their_minutes_said(
    context: JobContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uptime, "TOGETHER", 7)
    for days in (5, 3, 2, 1, 0):  # nobody was there four days ago
        for minute in range(600, 620):
            put(context, days_ago(days, minute))
        put(context, days_ago(days, 605), route="parse", requests=10, failed=1)
    before = live_views.summary(context.db, now=LATE)
    uptime.roll_up_uptime(context)
    rolled = [(row.day.isoformat(), row.minutes, row.good_minutes) for row in rows(context, tables.uptime_days)]
    assert rolled == [("2026-11-25", 840, 19), ("2026-11-26", 1440, 0), ("2026-11-27", 1440, 19)]
    assert {row.minute.date().isoformat() for row in rows(context, tables.live_minutes)} == {
        "2026-11-28", "2026-11-29", "2026-11-30",
    }  # fmt: skip
    after = live_views.summary(context.db, now=LATE)
    for name in live_views.SPANS:
        assert after["uptime"][name] == before["uptime"][name]
    assert after["uptime"]["days_400"]["requests"] == 50


def test_rolling_up_again_after_a_break_or_with_late_minutes_changes_no_day(context: JobContext) -> None:
    for minute in range(30):
        put(context, days_ago(4, minute))
    uptime.roll_up_uptime(context)
    decided = rows(context, tables.uptime_days)
    assert [(row.minutes, row.good_minutes) for row in decided] == [(1440, 30), (1440, 0)]
    put(context, days_ago(4, 40))  # of a process that could not write for days, or left by a job that was killed
    for _ in range(2):
        uptime.roll_up_uptime(context)
        assert rows(context, tables.uptime_days) == decided
        assert rows(context, tables.live_minutes) == []


def test_400_days_are_kept(context: JobContext) -> None:
    today = LATE.date()
    with context.db.transaction() as connection:
        for days in (1000, 400, 399):
            values = {"day": today - timedelta(days=days), "minutes": 1440, "good_minutes": 1440}
            connection.execute(sa.insert(tables.uptime_days).values(values))
    uptime.roll_up_uptime(context)
    kept = [row.day for row in rows(context, tables.uptime_days)]
    assert (kept[0], kept[-1]) == (today - timedelta(days=399), today - timedelta(days=3))
    assert len(kept) == 397
    assert live_views.summary(context.db, now=LATE)["uptime"]["days_400"]["good_minutes"] == 1440


def test_a_version_that_no_longer_serves_leaves_the_metrics_a_day_after_its_last_answer(context: JobContext) -> None:
    body = {"status": {"200": 1}, "refused": {}}
    with context.db.transaction() as connection:
        for name, hours in (("old", 30), ("recent", 1), ("serves", 30), ("compared", 30), ("", 30)):
            values = {"route": "parse", "kind": "nlu", "model_version": name, "body": body}
            connection.execute(sa.insert(tables.live_totals).values(**values, updated_at=LATE - timedelta(hours=hours)))
        version = {"version": "serves", "kind": "nlu", "location": "x", "manifest": {}, "languages": []}
        made = connection.execute(sa.insert(tables.model_versions).values(version)).inserted_primary_key[0]
        alias = {"kind": "nlu", "language": "*", "alias": "champion", "model_version_id": made, "revision": 1}
        connection.execute(sa.insert(tables.aliases).values(alias))
        experiment = {"name": "x", "champion": "serves", "challenger": "compared", "traffic_share": 0.5}
        connection.execute(sa.insert(tables.experiments).values(experiment))
    uptime.roll_up_uptime(context)
    assert {row.model_version for row in rows(context, tables.live_totals)} == {"recent", "serves", "compared", ""}


def test_it_is_scheduled_once_serve_was_ever_started(context: JobContext) -> None:
    (mine,) = [each for each in schedules.SCHEDULES if each.kind is job_kinds.ROLL_UP_UPTIME]
    with context.db.reading() as connection:
        assert mine.wanted(connection) == []
    put(context, days_ago(0, 1))
    with context.db.reading() as connection:
        assert mine.wanted(connection) == [{}]
