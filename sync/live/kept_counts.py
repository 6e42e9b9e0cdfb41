"""Rows that are over -> counts for /metrics: counting them at a scrape would cost more each day, so a job does.

The job writes one summary. States are counted through their indexes. Totals only grow: each run adds the rows that came
since the one before, up to a minute ago, so that a transaction that commits late is not passed over.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.context import JobContext
from ml_backend.jobs import leases
from ml_backend.monitoring import work_numbers
from ml_backend.tables import annotations, calls, jobs, outcomes, recordings, summaries, transcriptions

SETTLED = timedelta(seconds=60)
TOGETHER = 20_000  # rows of one step
DAY = timedelta(days=1)


def keep_counts(context: JobContext) -> None:
    """Count, and replace the summary. Safe to repeat: of two at once, the later one writes nothing."""
    with context.db.reading() as connection:
        now = leases.clock(connection)
        old = connection.execute(sa.select(summaries).where(summaries.c.name == work_numbers.COUNTS)).first()
        before = dict(old.body) if old else {}
        body: dict[str, Any] = {
            "calls": _states(connection, calls.c.state),
            "recordings": _states(connection, recordings.c.state),
            "jobs": _jobs(connection),
            "ended": _ended(connection, before.get("ended") or {}, now),
            "transcribed": _transcribed(connection, before.get("transcribed") or {}, now),
            "annotated": _annotated(connection, before.get("annotated") or {}, now),
            "outcomes": _outcomes(connection, now),
        }
    with context.db.transaction() as connection:
        mine = sa.select(summaries.c.made_at).where(summaries.c.name == work_numbers.COUNTS)
        if connection.execute(mine.with_for_update()).scalar() == (old.made_at if old else None):
            values = {"name": work_numbers.COUNTS, "body": body, "made_at": tables.now()}
            db.upsert(connection, summaries, values, key=("name",))


def _states(connection: Connection, column: sa.Column[Any]) -> dict[str, int]:
    counted = sa.select(column, sa.func.count()).group_by(column)
    return {str(name): int(number) for name, number in connection.execute(counted)}


def _jobs(connection: Connection) -> list[list[Any]]:
    counted = sa.select(jobs.c.queue, jobs.c.state, sa.func.count()).group_by(jobs.c.state, jobs.c.queue)
    return [[queue, state, int(number)] for queue, state, number in connection.execute(counted)]


def _ended(connection: Connection, before: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """How often each kind of job ended, how, and the seconds that it ran."""
    until = now - SETTLED
    since = datetime.fromisoformat(before["until"]) if before else until - DAY
    row, found = jobs.c, {tuple(each[:2]): list(each[2:]) for each in before.get("jobs", ())}
    mine = sa.select(row.name, row.state, row.started_at, row.finished_at).where(
        row.finished_at > since, row.finished_at <= until
    )
    for name, state, started_at, finished_at in connection.execute(mine):
        counted = found.setdefault((name, state), [0, 0.0])
        counted[0] += 1
        counted[1] += max(0.0, (finished_at - started_at).total_seconds()) if started_at else 0.0
    return {
        "until": until.astimezone(UTC).isoformat(),
        "jobs": [[*names, number, round(seconds, 3)] for names, (number, seconds) in sorted(found.items())],
    }


def _steps(
    connection: Connection, table: sa.Table, after: int, now: datetime, columns: Sequence[sa.ColumnElement[Any]]
) -> tuple[int, list[Sequence[Any]]]:
    """(the last row that is settled, the groups of the rows up to it); the last columns are sums or counts."""
    groups: list[Sequence[Any]] = []
    while True:
        some = sa.select(table.c.id, table.c.created_at).where(table.c.id > after).order_by(table.c.id)
        page = some.limit(TOGETHER).subquery()
        settled = sa.select(sa.func.max(page.c.id)).where(page.c.created_at < now - SETTLED)
        last = connection.execute(settled).scalar()
        if last is None:
            return after, groups
        keys = [each for each in columns if isinstance(each, sa.Column)]
        mine = sa.select(*columns).where(table.c.id > after, table.c.id <= last).group_by(*keys)
        groups += connection.execute(mine).all()
        after = int(last)


def _transcribed(connection: Connection, before: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    row = transcriptions.c
    found = {each[0]: list(each[1:]) for each in before.get("versions", ())}
    wanted = (row.model_version, sa.func.count(), sa.func.sum(row.duration_s))
    last, groups = _steps(connection, transcriptions, int(before.get("last", 0)), now, wanted)
    for version, number, audio_s in groups:
        counted = found.setdefault(version, [0, 0.0])
        counted[0] += int(number)
        counted[1] += float(audio_s or 0)
    return {"last": last, "versions": [[name, number, round(s, 3)] for name, (number, s) in sorted(found.items())]}


def _annotated(connection: Connection, before: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    row = annotations.c
    found = dict(before.get("drafts", {}))
    last, groups = _steps(connection, annotations, int(before.get("last", 0)), now, (row.edited, sa.func.count()))
    for edited, number in groups:
        found[edited or "unknown"] = found.get(edited or "unknown", 0) + int(number)
    return {"last": last, "drafts": found}


def _outcomes(connection: Connection, now: datetime) -> dict[str, float | int | None]:
    """How calls went that were reported in the last day."""
    row = outcomes.c
    shares = [sa.case((column.is_(True), 1.0), (column.is_(False), 0.0)) for column in (row.success, row.automated)]
    mean = [sa.func.avg(each) for each in (*shares, row.satisfaction)]
    mine = sa.select(sa.func.count(), *mean).where(row.kind == "call", row.updated_at > now - DAY)
    number, success, automated, satisfaction = connection.execute(mine).one()
    return {"reported": int(number), "success": success, "automated": automated, "satisfaction": satisfaction}
