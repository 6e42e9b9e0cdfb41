"""How live serving goes, for `status` and `/api/live`: percentiles of the last hour, and uptime.

Everything is read from `live_minutes`, which all processes write, so it does not matter who is asked. A minute was good
when a process of `serve` was there and at least 99 % of its requests were answered; without requests it was good too. A
minute without a process is down, planned or not, from the first minute ever on. The current minute is not judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import tables
from ml_backend.db import Database
from ml_backend.jobs import processes
from ml_backend.latency_buckets import LatencyBuckets
from ml_backend.tables import live_minutes, uptime_days

MINUTE = timedelta(minutes=1)
SPANS = {"today": 1, "days_30": 30, "days_400": 400}
KEPT_DAYS = 400
PERCENTILES = {"p50_s": 0.5, "p95_s": 0.95, "p99_s": 0.99}
TIMES = {"answer": "seconds", "queue_wait": "waits", "compute": "computes", "first_partial": "first_partials"}
SOURCE = "Bucket counts of all processes; linear within a bucket, as Prometheus's histogram_quantile."


@dataclass(frozen=True)
class UptimeDay:
    """The minutes of one day that are judged."""

    minutes: int
    good_minutes: int
    requests: int = 0
    failed: int = 0


def summary(database: Database, *, now: datetime | None = None) -> dict[str, Any]:
    """The last hour by route and kind, and uptime today, in 30 and in 400 days (UTC)."""
    now = now or tables.now()
    serving = processes.alive(database, role="live")
    with database.reading() as connection:
        return {
            "processes": len(serving), "last_hour": _last_hour(connection, now), "source": SOURCE,
            "uptime": _uptime(connection, now),
        }  # fmt: skip


def day_of(connection: Connection, day: date, *, now: datetime, first: datetime) -> UptimeDay:
    """One day from its minutes; `first` is the first minute ever."""
    begin = datetime.combine(day, time(), UTC)
    end = min(begin + timedelta(days=1), now.replace(second=0, microsecond=0))
    begin = max(begin, first)
    row = live_minutes.c
    there = sa.func.max(sa.case((row.route == "", 1), else_=0)).label("there")
    counted = (
        sa.select(there, sa.func.sum(row.requests).label("requests"), sa.func.sum(row.failed).label("failed"))
        .where(row.minute >= begin, row.minute < end)
        .group_by(row.minute)
    )
    found = connection.execute(counted).all()
    return UptimeDay(
        minutes=max(0, (end - begin) // MINUTE),
        good_minutes=sum(1 for one in found if one.there and is_good(int(one.requests), int(one.failed))),
        requests=sum(int(one.requests) for one in found),
        failed=sum(int(one.failed) for one in found),
    )


def is_good(requests: int, failed: int) -> bool:
    """Whether at least 99 % were answered."""
    return failed * 100 <= requests


def first_minute(connection: Connection) -> datetime | None:
    """The first minute in which `serve` was there; None before it was ever started."""
    oldest = connection.execute(sa.select(sa.func.min(uptime_days.c.day))).scalar()
    if oldest is not None:
        return datetime.combine(oldest, time(), UTC)
    there = sa.select(sa.func.min(live_minutes.c.minute)).where(live_minutes.c.route == "")
    found: datetime | None = connection.execute(there).scalar()
    return found


def _uptime(connection: Connection, now: datetime) -> dict[str, Any]:
    first = first_minute(connection)
    since = None if first is None else max(first, now - timedelta(days=KEPT_DAYS))
    found: dict[str, Any] = {"since": since.isoformat() if since is not None else None}
    days = {} if since is None else _days(connection, since, now=now)
    today = now.astimezone(UTC).date()
    for name, number in SPANS.items():
        mine = [one for day, one in days.items() if day > today - timedelta(days=number)]
        found[name] = _judged(mine)
    return found


def _days(connection: Connection, first: datetime, *, now: datetime) -> Mapping[date, UptimeDay]:
    """Every day since the first minute: those that were rolled up, the others from their minutes."""
    row = uptime_days.c
    kept = {
        one.day: UptimeDay(one.minutes, one.good_minutes, one.requests, one.failed)
        for one in connection.execute(sa.select(uptime_days).where(row.day >= first.date()))
    }
    last = now.astimezone(UTC).date()
    every = (first.date() + timedelta(days=number) for number in range((last - first.date()).days + 1))
    return {day: kept[day] if day in kept else day_of(connection, day, now=now, first=first) for day in every}


def _judged(days: Iterable[UptimeDay]) -> dict[str, Any]:
    some = list(days)
    minutes, good = sum(one.minutes for one in some), sum(one.good_minutes for one in some)
    return {
        "minutes": minutes, "good_minutes": good, "share": round(good / minutes, 6) if minutes else None,
        "requests": sum(one.requests for one in some), "failed": sum(one.failed for one in some),
    }  # fmt: skip


def _last_hour(connection: Connection, now: datetime) -> list[dict[str, Any]]:
    row = live_minutes.c
    recent = sa.select(live_minutes).where(row.minute > now - timedelta(hours=1), row.route != "")
    counted: dict[tuple[str, str], dict[str, Any]] = {}
    for one in connection.execute(recent):
        here = counted.setdefault(
            (one.route, one.kind), {"requests": 0, "failed": 0, **{name: LatencyBuckets() for name in TIMES}}
        )
        here["requests"] += one.requests
        here["failed"] += one.failed
        for name, column in TIMES.items():
            here[name].merge(LatencyBuckets.from_json(getattr(one, column)))
    return [
        {
            "route": route, "kind": kind, "requests": here["requests"], "failed": here["failed"],
            **{name: _percentiles(here[name]) for name in TIMES},
        }
        for (route, kind), here in sorted(counted.items())
    ]  # fmt: skip


def _percentiles(buckets: LatencyBuckets) -> dict[str, Any] | None:
    """p50, p95 and p99 with their count; None where nothing was measured."""
    if not buckets.count:
        return None
    found = {name: round(buckets.quantile(share) or 0.0, 4) for name, share in PERCENTILES.items()}
    return {**found, "count": buckets.count}
