"""Rows of one day -> that day's counts in `day_counts`, kept for pages, commands and /api.

Tables that grow are never scanned when somebody looks. A job counts today again and again, the last fortnight a few
times a day because annotations, reports and samples arrive late, and older days once. Every source is found by an
index on its time. A day is one of EXOTEL_TIME_ZONE; only the minutes of serving are kept by days of UTC.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.calls.events import zone_of
from ml_backend.context import Context, JobContext
from ml_backend.db import Database
from ml_backend.latency_buckets import LatencyBuckets
from ml_backend.outcomes.call_outcomes import CALL
from ml_backend.reports import annotation_days
from ml_backend.reports.annotation_days import PersonDay
from ml_backend.reports.intervals import Ratio
from ml_backend.tables import annotations as written
from ml_backend.tables import day_counts, live_minutes, outcomes, recordings, samples, tasks, uptime_days
from ml_backend.views import live_views, voice_views
from ml_backend.views.voice_views import RatingsQuery

SUCCESS, PEOPLE, MOS = "success", "people", "mos"  # names of rows
KEPT_DAYS = 400
RECENT_DAYS = 15  # annotated within 7 days: the tasks of a day are settled after 8
IN_TIME = timedelta(days=7)
STORED = ("stored", "ready")
OFFERED = ("waiting", "wanted", "open", "annotated")
MINUTES_OF_DAYS = 2  # before today, of UTC: older minutes of serving are removed
MOST_COMPONENTS = 20  # that a phone system reports latencies of


def count_days(context: JobContext, days: int) -> None:
    """The job: count the last `days` days again, and older days that were never counted. Safe to repeat.

    What is older than KEPT_DAYS is removed.
    """
    now = tables.now()
    zone = zone_of(context.settings.exotel_time_zone)
    today = now.astimezone(zone).date()
    recent = [today - timedelta(days=back) for back in range(days)]
    missing = _missing(context, before=recent[-1], zone=zone) if days > 1 else []
    for day in (*recent, *missing):
        _count_day(context, day, zone=zone, now=now)
    _keep_mos(context, today)
    with context.db.transaction() as connection:
        old = today - timedelta(days=KEPT_DAYS)
        row = day_counts.c
        connection.execute(sa.delete(day_counts).where(row.day <= old, row.name.in_((SUCCESS, PEOPLE, MOS))))


def kept(database: Database, name: str, *, since: date) -> dict[date, Any]:
    """The counts of one name by day, oldest first."""
    row = day_counts.c
    statement = sa.select(row.day, row.body).where(row.name == name, row.day >= since).order_by(row.day)
    return {one.day: one.body for one in database.rows(statement)}


def counted_at(database: Database) -> datetime | None:
    """When days were last counted; None before the job ever ran."""
    row = day_counts.c
    newest = sa.select(row.made_at).where(row.name == SUCCESS).order_by(row.day.desc()).limit(1)
    found = database.rows(newest)
    return found[0].made_at if found else None


def span_of(day: date, zone: tzinfo) -> tuple[datetime, datetime]:
    """The first moment of a day, and that of the next."""
    return datetime.combine(day, time(), zone), datetime.combine(day + timedelta(days=1), time(), zone)


def today_of(context: Context) -> date:
    """The day that it is for the people who use this."""
    return tables.now().astimezone(zone_of(context.settings.exotel_time_zone)).date()


def _missing(context: JobContext, *, before: date, zone: tzinfo) -> list[date]:
    """Days that were never counted, since the oldest row of any source."""
    known = set(kept(context.db, SUCCESS, since=before - timedelta(days=KEPT_DAYS)))
    with context.db.reading() as connection:
        oldest = [
            connection.execute(sa.select(column).where(column.is_not(None)).order_by(column).limit(1)).scalar()
            for column in (recordings.c.created_at, tasks.c.created_at, written.c.ls_created_at)
        ]
    begun = min((at.astimezone(zone).date() for at in oldest if at is not None), default=before)
    first = max(begun, before - timedelta(days=KEPT_DAYS - RECENT_DAYS - 1))
    every = (before - timedelta(days=back) for back in range(1, (before - first).days + 1))
    return [day for day in every if day not in known]


def _count_day(context: JobContext, day: date, *, zone: tzinfo, now: datetime) -> None:
    begin, end = span_of(day, zone)
    with context.db.reading() as connection:
        people = annotation_days.people(annotation_days.rows_between(connection, begin, end))
        body = {
            "data": _data(connection, begin, end),
            "tasks": _tasks(connection, begin, end),
            "samples": _samples(connection, begin, end),
            "work": _work(people),
            "uptime": _uptime(connection, day, now=now),
            "calls": _reported(connection, begin, end),
            "latency": _answered(connection, begin, end),
        }
    old = kept(context.db, SUCCESS, since=day).get(day) or {}
    whole = datetime.combine(now.astimezone(UTC).date() - timedelta(days=MINUTES_OF_DAYS), time(), UTC)
    if begin < whole and "latency" in old:  # some of its minutes may be removed by now
        body["latency"] = old["latency"]
    persons = [one.to_json() for one in people]
    with context.db.transaction() as connection:
        for name, counts in ((SUCCESS, body), (PEOPLE, persons)):
            keep(connection, name, day, counts)


def keep(connection: Connection, name: str, day: date, body: Any) -> None:
    """Replace what is kept of a day."""
    db.upsert(
        connection, day_counts, {"name": name, "day": day, "body": body, "made_at": tables.now()}, key=("name", "day")
    )


def _data(connection: Connection, begin: datetime, end: datetime) -> dict[str, Any]:
    """Audio that came on the day and is in the store: no synthetic voice, no live audio of a call that came whole."""
    row = recordings.c
    found = sa.select(sa.func.count(row.duration_s), sa.func.coalesce(sa.func.sum(row.duration_s), 0.0)).where(
        row.created_at >= begin, row.created_at < end, ~row.synthetic, row.state.in_(STORED)
    )
    number, seconds = connection.execute(found).one()
    return {"recordings": int(number), "audio_s": round(float(seconds), 1)}


def _tasks(connection: Connection, begin: datetime, end: datetime) -> dict[str, int]:
    """Tasks made on the day, and those that a person answered within seven days."""
    answered = sa.and_(written.c.task_id == tasks.c.id, written.c.deleted_at.is_(None), written.c.skipped.is_(False))
    found = (
        sa.select(
            tasks.c.id, tasks.c.created_at, written.c.ls_created_at, written.c.before_attach,
            written.c.created_at.label("came_at"),
        )
        .outerjoin(written, answered)
        .where(tasks.c.created_at >= begin, tasks.c.created_at < end, tasks.c.state.in_(OFFERED))
    )  # fmt: skip
    made: set[int] = set()
    in_time, earlier = set[int](), set[int]()
    for row in connection.execute(found):
        made.add(row.id)
        at = row.ls_created_at or row.came_at
        if row.before_attach:
            earlier.add(row.id)
        elif at is not None and at <= row.created_at + IN_TIME:
            in_time.add(row.id)
    return {"made": len(made - earlier), "in_time": len(in_time - earlier)}


def _samples(connection: Connection, begin: datetime, end: datetime) -> dict[str, Any]:
    """Pieces accepted for datasets on the day; of people's voices."""
    row = samples.c
    found = (
        sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(row.end_s - row.start_s), 0.0))
        .select_from(samples.outerjoin(recordings, recordings.c.id == row.recording_id))
        .where(row.accepted_at >= begin, row.accepted_at < end, row.state == "accepted")
        .where(~sa.func.coalesce(recordings.c.synthetic, sa.false()))
    )
    number, seconds = connection.execute(found).one()
    return {"samples": int(number), "audio_s": round(float(seconds), 1)}


def _work(people: list[PersonDay]) -> dict[str, Any]:
    """`time`: seconds of work over seconds of audio; `hours`: of each person who worked on the day."""
    whole, hours = Ratio(), defaultdict[Any, float](float)
    for one in people:
        whole = whole.plus(one.time)
        hours[one.annotator] += one.worked_s / 3600
    persons = Ratio()
    for each in hours.values():
        persons = persons.plus(Ratio.of(each)) if each else persons
    return {"time": whole.to_json(), "hours": persons.to_json()}


def _uptime(connection: Connection, day: date, *, now: datetime) -> dict[str, int]:
    """Minutes of serving: a day of UTC. Nothing before the first minute ever."""
    kept_day = connection.execute(sa.select(uptime_days).where(uptime_days.c.day == day)).first()
    if kept_day is not None:
        return {"minutes": kept_day.minutes, "good": kept_day.good_minutes}
    first = live_views.first_minute(connection)
    if first is None or datetime.combine(day, time(), UTC) + timedelta(days=1) <= first:
        return {"minutes": 0, "good": 0}
    found = live_views.day_of(connection, day, now=now, first=first)
    return {"minutes": found.minutes, "good": found.good_minutes}


def _reported(connection: Connection, begin: datetime, end: datetime) -> dict[str, Any]:
    """What the phone system reported of calls that became known on the day."""
    row = outcomes.c
    counted: dict[str, int] = defaultdict(int)
    content, times = Ratio(), defaultdict[str, LatencyBuckets](LatencyBuckets)
    found = sa.select(row.success, row.automated, row.satisfaction, row.latencies).where(
        row.kind == CALL, row.created_at >= begin, row.created_at < end
    )
    for one in connection.execute(found):
        for name, said in (("success", one.success), ("automated", one.automated)):
            counted[name] += bool(said)
            counted[f"{name}_of"] += said is not None
        if one.satisfaction is not None:
            content = content.plus(Ratio.of(1 + 4 * one.satisfaction))
        for name, seconds in (one.latencies or {}).items():
            if name in times or len(times) < MOST_COMPONENTS:
                times[name].add(float(seconds))
    latencies = {name: buckets.to_json() for name, buckets in sorted(times.items())}
    return {**counted, "satisfaction": content.to_json(), "latencies": latencies} if counted else {}


def _answered(connection: Connection, begin: datetime, end: datetime) -> dict[str, Any]:
    """Time to answer of what `serve` answered, in buckets by kind."""
    row, found = live_minutes.c, defaultdict[str, LatencyBuckets](LatencyBuckets)
    statement = sa.select(row.kind, row.seconds).where(row.minute >= begin, row.minute < end, row.kind != "")
    for one in connection.execute(statement):
        found[one.kind].merge(LatencyBuckets.from_json(one.seconds))
    return {kind: buckets.to_json() for kind, buckets in sorted(found.items()) if buckets.count}


def _keep_mos(context: JobContext, today: date) -> None:
    """Today's opinion scores: the report about them holds the present only."""
    summary: Mapping[str, Any] | None = voice_views.kept_ratings(context.db, RatingsQuery())["summary"]
    if summary is not None:
        found = {one["version"]: one["axes"] for one in summary["versions"]}
        with context.db.transaction() as connection:
            keep(connection, MOS, today, found)
