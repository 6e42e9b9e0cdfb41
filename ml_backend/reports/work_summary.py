"""Jobs and schedules -> what waits, what runs, what went wrong, and when each schedule ran and runs next.

Nothing here grows with history: open and failed jobs are counted up to a bound, ended ones in the newest
`RECENT` rows, and what a schedule did last is a row that the relay writes when it makes a schedule's jobs.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ml_backend import quantities, tables
from ml_backend.context import Context
from ml_backend.jobs import leases, processes, schedules
from ml_backend.tables import JOB_TROUBLE, jobs
from ml_backend.views.queries import Query

MOST_COUNTED = 20_000  # jobs of one state; more are said to be at least so many
RECENT = 5_000  # newest rows that ended jobs are counted in
MOST_TROUBLE = 20
COUNTED = ("running", "queued", "waiting", *JOB_TROUBLE)


def of(context: Context, query: Query) -> dict[str, Any]:
    """`by_kind`: jobs of each state by kind; `recent`: how the newest ended; `trouble` with next steps; `processes`."""
    with context.db.reading() as connection:
        now = leases.clock(connection)
        counted = {state: _count(connection, state) for state in COUNTED}
        newest = int(connection.execute(sa.select(sa.func.max(jobs.c.id))).scalar() or 0)
        newest_rows = sa.select(jobs.c.name, jobs.c.state).order_by(jobs.c.id.desc()).limit(RECENT).subquery()
        number = sa.func.count().label("number")
        recent = sa.select(newest_rows, number).group_by(newest_rows.c.name, newest_rows.c.state)
        found = {(row.name, row.state): int(row.number) for row in connection.execute(recent)}
        ended = {key: number for key, number in found.items() if key[1] in ("done", "cancelled")}
        oldest = connection.execute(
            sa.select(jobs.c.queue, sa.func.min(jobs.c.due_at).label("since"))
            .where(jobs.c.state.in_(leases.OPEN), jobs.c.due_at <= now)
            .group_by(jobs.c.queue)
        ).all()
    names = sorted({*(name for some in counted.values() for name in some), *(name for name, _ in ended)})
    by_kind = [
        {
            "kind": name, **{state: counted[state].get(name, 0) for state in COUNTED},
            "recently_done": ended.get((name, "done"), 0), "recently_cancelled": ended.get((name, "cancelled"), 0),
        }
        for name in names
    ]  # fmt: skip
    totals = {state: sum(counted[state].values()) for state in COUNTED}
    return {
        "states": [
            {"state": state, "jobs": number, "at_least": number >= MOST_COUNTED} for state, number in totals.items()
        ],
        "by_kind": by_kind, "recent_rows": min(RECENT, newest),
        "oldest": [
            {"queue": queue, "due_since": since, "waits_s": round((now - since).total_seconds())}
            for queue, since in ((row.queue, _utc(row.since)) for row in oldest)
        ],
        "trouble": trouble(context),
        "processes": [
            {"name": row.name, "role": row.role, "started_at": row.started_at, "seen_at": row.seen_at}
            for row in processes.alive(context.db)
        ],
    }  # fmt: skip


def trouble(context: Context) -> list[dict[str, Any]]:
    """The newest jobs that ended badly, with what to do."""
    ended = sa.select(jobs).where(jobs.c.state.in_(JOB_TROUBLE)).order_by(jobs.c.id.desc()).limit(MOST_TROUBLE)
    return [
        {
            "job": row.id, "kind": row.name, "state": row.state, "code": row.error_code, "error": row.error,
            "next_step": row.next_step, "at": row.finished_at,
        }
        for row in context.db.rows(ended)
    ]  # fmt: skip


def every_schedule(context: Context, query: Query) -> dict[str, Any]:
    """Each schedule with its interval, what it made last and how that went, and when it looks next."""
    noted = schedules.last_made(context.db)
    ids = [job_id for each in noted.values() for job_id in each["jobs"]]
    with context.db.reading() as connection:
        now = leases.clock(connection)
        made = {row.id: row for row in connection.execute(sa.select(jobs).where(jobs.c.id.in_(ids)))}
    return {
        "schedules": [_schedule(each, noted.get(schedules.name_of(each)), made, now) for each in schedules.SCHEDULES]
    }


def lines(found: dict[str, Any]) -> list[str]:
    """For a terminal."""
    said = [
        ", ".join(f"{'at least ' * one['at_least']}{one['jobs']:,} {one['state']}" for one in found["states"]),
        *(f"queue {one['queue']}: the oldest waits {one['waits_s']:,} s" for one in found["oldest"]),
    ]
    for one in found["by_kind"]:
        numbers = [f"{one[state]:,} {state}" for state in COUNTED if one[state]]
        numbers += [f"{one['recently_done']:,} recently done"] if one["recently_done"] else []
        said.append(f"{one['kind']}: {', '.join(numbers) or 'none open'}")
    for one in found["trouble"]:
        said.append(f"job {one['job']} {one['kind']}: {one['error'] or one['state']} {one['next_step'] or ''}".strip())
    return said


def schedule_lines(found: dict[str, Any]) -> list[str]:
    """For a terminal."""
    said = []
    for one in found["schedules"]:
        last = (
            f"last {one['last_at']:%Y-%m-%d %H:%M} UTC ({one['last_state']})" if one["last_at"] else "made nothing yet"
        )
        said.append(f"{one['kind']}, every {one['every']}: {last}; {one['next']}")
    return said


def _schedule(
    schedule: schedules.Schedule, noted: dict[str, Any] | None, made: dict[int, Any], now: datetime
) -> dict[str, Any]:
    rows = [made[job_id] for job_id in (noted or {}).get("jobs", ()) if job_id in made]
    last_at = datetime.fromisoformat(noted["at"]) if noted else None
    next_at = max(now, last_at + timedelta(seconds=schedule.every_s)) if last_at else None
    states = sorted({row.state for row in rows})
    return {
        "kind": schedule.kind.name, "queue": schedule.kind.queue, "every_s": schedule.every_s,
        "every": quantities.rough_duration(schedule.every_s), "last_at": last_at,
        "last_jobs": [row.id for row in rows], "last_number": (noted or {}).get("number", 0),
        "last_state": ", ".join(states) or ("removed since" if noted else None), "next_at": next_at,
        "next": f"next from {next_at:%Y-%m-%d %H:%M} UTC on, if there is something to do"
        if next_at else "as soon as there is something to do",
        "what": (schedule.wanted.__doc__ or "").strip().partition("\n")[0],
    }  # fmt: skip


def _count(connection: sa.Connection, state: str) -> dict[str, int]:
    """Jobs of one state by kind, at most `MOST_COUNTED` of them."""
    some = sa.select(jobs.c.name).where(jobs.c.state == state).limit(MOST_COUNTED).subquery()
    found = connection.execute(sa.select(some.c.name, sa.func.count().label("number")).group_by(some.c.name))
    return {row.name: int(row.number) for row in found}


def _utc(value: datetime) -> datetime:
    """With its zone: on some databases an aggregate loses its column's type."""
    found = tables.UtcTime().process_result_value(value, None)
    assert found is not None  # noqa: S101 - there is a row
    return found
