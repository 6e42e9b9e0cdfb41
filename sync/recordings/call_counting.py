"""Calls and annotated data -> the counts that reports and the page read: the job.

A call goes on for weeks after its day (its task is annotated, its text comes into a dataset), so days are counted
again: recent ones every few minutes, older ones in turn. A day that took long to count waits longer: counting takes
about a thousandth of the time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from typing import Any

import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.calls.events import zone_of
from ml_backend.context import Context, JobContext
from ml_backend.reports import call_days, data_composition, dataset_parts, day_counts
from ml_backend.tables import calls, checkpoints, summaries
from ml_backend.views import ledger_balance

RECENT_DAYS, OLDER_DAYS, NEW_DAYS = 35, 30, 400  # in one run: recent ones, others in turn, and for the first time
DAY_AGE_S, DAY_PATIENCE = 240.0, 1000.0  # a day is not counted again before so long, or so many times what it took
LEAST_AGE_S, PATIENCE = 200.0, 30.0  # nor does the whole job run again
OLDER = "call-days"


def count_calls(context: JobContext) -> None:
    """The job: count the days of calls that are due, and the annotated data. Safe to repeat.

    It is asked for often and does nothing until thirty times as long as it took has passed.
    """
    kept = data_composition.kept(context)
    age = tables.now() - kept.made_at if kept is not None else None
    if age is not None and age < timedelta(seconds=max(LEAST_AGE_S, PATIENCE * float(kept.body.get("took_s") or 0))):
        return
    begun = time.monotonic()
    in_datasets = dataset_parts.read(context)
    count_due(context, in_datasets)
    body = {
        "annotated": data_composition.annotated(context),
        "callers": int(context.db.scalars(sa.select(sa.func.count(sa.distinct(calls.c.from_pseudonym))))[0]),
        "changes": {str(key): value for key, value in in_datasets.changes.items()},
        "unreadable": {str(key): value for key, value in in_datasets.unreadable.items()},
    }
    body["took_s"] = round(time.monotonic() - begun, 3)
    with context.db.transaction() as connection:
        db.upsert(
            connection, summaries, {"name": data_composition.NAME, "body": body, "made_at": tables.now()}, key=("name",)
        )


def count_due(context: JobContext, in_datasets: dataset_parts.InDatasets) -> None:
    """Count the days that are due, one transaction each. Safe to repeat."""
    for day in _due(context):
        begun = time.monotonic()
        with context.db.reading() as connection:
            found = call_days.of_day(connection, day, zone=context.settings.exotel_time_zone, in_datasets=in_datasets)
        balance = ledger_balance.of_day(context.db, day, zone=context.settings.exotel_time_zone).to_dict()
        body = found.to_json() | {"balance": balance, "took_s": round(time.monotonic() - begun, 3)}
        with context.db.transaction() as connection:
            day_counts.keep(connection, call_days.NAME, day, body)


def _due(context: Context) -> Iterator[date]:
    """The days to count now: recent ones that are old enough, those never counted, and older ones in turn."""
    zone = context.settings.exotel_time_zone
    today = tables.now().astimezone(zone_of(zone)).date()
    row = tables.day_counts
    seen = {each.day: each for each in context.db.rows(sa.select(row).where(row.c.name == call_days.NAME))}
    recent = [today - timedelta(days=back) for back in range(RECENT_DAYS)]
    yield from (day for day in recent if _is_due(seen.get(day)) and (day in seen or _day_before(context, day) == day))
    last = context.db.rows(sa.select(checkpoints).where(checkpoints.c.name == OLDER))
    day, new = _day_before(context, recent[-1] - timedelta(days=1)), 0
    while day is not None and new < NEW_DAYS:
        if day not in seen:
            new += 1
            yield day
        day = _day_before(context, day - timedelta(days=1))
    older = sorted((day for day in seen if day < recent[-1]), reverse=True)
    reached = date.fromisoformat(last[0].position["day"]) if last else date.max
    turn = [*(day for day in older if day < reached), *(day for day in older if day >= reached)][:OLDER_DAYS]
    yield from (day for day in turn if _is_due(seen.get(day)))
    with context.db.transaction() as connection:
        at = {"day": (turn or recent)[-1].isoformat()}
        values = {"name": OLDER, "position": at, "state": "done", "updated_at": tables.now()}
        db.upsert(connection, checkpoints, values, key=("name",))


def _day_before(context: Context, day: date) -> date | None:
    """The latest day up to `day` on which a call began; None when there is none. Two look-ups in an index."""
    zone = zone_of(context.settings.exotel_time_zone)
    end = datetime.combine(day + timedelta(days=1), clock_time(), zone)
    begun = sa.select(calls.c.started_at).where(calls.c.started_at < end).order_by(calls.c.started_at.desc()).limit(1)
    made = (
        sa.select(calls.c.created_at)
        .where(calls.c.started_at.is_(None), calls.c.created_at < end)
        .order_by(calls.c.created_at.desc())
        .limit(1)
    )
    found = [at.astimezone(zone).date() for at in (*context.db.scalars(begun), *context.db.scalars(made))]
    return max(found, default=None)


def _is_due(row: Any) -> bool:
    if row is None:
        return True
    took_s = row.body.get("took_s") or 0.0
    return bool(tables.now() - row.made_at >= timedelta(seconds=max(DAY_AGE_S, DAY_PATIENCE * took_s)))
