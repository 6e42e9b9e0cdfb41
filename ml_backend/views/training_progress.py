"""Samples -> how much training data there is, and how far the next training run is.

Counts come from rows each time, never from events, so that a bulk import, a repeated job or a lost message cannot
distort them. A sample is new when it was accepted after the newest one that the last run counted. Synthetic voice is
never new, and samples without audio (expired, lost) do not count.
"""

from __future__ import annotations

import fcntl
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import tables
from ml_backend.jobs import schedules
from ml_backend.tables import checkpoints, device_leases, recordings, runs, samples, tasks
from ml_backend.tables import jobs as job_rows

BLIND_AUDIT = "blind"  # the selection reason of a random sample of all speech, annotated without a draft
RATE_DAYS = 14  # the period that the expected date is computed from
UNDER_WAY = ("waiting", "running")
ENDED = ("done", "failed", "cancelled", "trained", "interrupted")


@dataclass(frozen=True)
class Mark:
    """What the last run counted. `until` is when its newest sample was accepted."""

    run_id: int | None = None
    until: datetime | None = None
    looked_at: datetime | None = None


def mark_name(kind: str) -> str:
    """The row of `checkpoints` that holds a kind's mark."""
    return f"training:{kind}"


def read_mark(connection: Connection, kind: str) -> Mark:
    """The mark of a kind; empty before its first run."""
    row = connection.execute(sa.select(checkpoints).where(checkpoints.c.name == mark_name(kind))).first()
    position = dict(row.position) if row is not None else {}
    return Mark(position.get("run_id"), _time(position.get("until")), _time(position.get("looked_at")))


def count(connection: Connection, mark: Mark) -> tuple[int, datetime | None]:
    """(accepted samples since the mark, the time of the newest)."""
    found = sa.select(sa.func.count(), sa.func.max(samples.c.accepted_at)).select_from(_real()).where(_new(mark))
    number, newest = connection.execute(found).one()
    return int(number), _aware(newest)


def by_language(connection: Connection, mark: Mark) -> dict[str, dict[str, Any]]:
    """Per language: accepted samples, hours of them, how many are new, how many are for testing only."""
    seconds = sa.func.sum(samples.c.end_s - samples.c.start_s)
    new = sa.func.sum(sa.case((_new(mark), 1), else_=0))
    tests = sa.func.sum(sa.case((sa.and_(samples.c.blind, tasks.c.selection_reason == BLIND_AUDIT), 1), else_=0))
    found = (
        sa.select(samples.c.language, sa.func.count(), seconds, new, tests)
        .select_from(_real().outerjoin(tasks, tasks.c.id == samples.c.task_id))
        .where(_usable())
        .group_by(samples.c.language)
        .order_by(sa.func.count().desc())
    )
    return {
        str(language or "unknown"): {
            "accepted": int(number),
            "hours": round(float(length or 0) / 3600, 4),
            "new": int(fresh or 0),
            "blind": int(blind or 0),
        }
        for language, number, length, fresh, blind in connection.execute(found)
    }


def excluded(connection: Connection) -> dict[str, int]:
    """Samples that are not used, by reason."""
    why = sa.func.coalesce(samples.c.reason_code, "unknown").label("why")
    found = sa.select(why, sa.func.count()).where(samples.c.state == "excluded")
    rows = connection.execute(found.group_by("why").order_by(sa.func.count().desc()))
    return {str(code): int(number) for code, number in rows}


def synthetic(connection: Connection) -> int:
    """Accepted samples of synthetic voice, which never count as new."""
    wanted = sa.and_(samples.c.state == "accepted", _synthetic())
    return int(connection.execute(sa.select(sa.func.count()).select_from(_real()).where(wanted)).scalar_one())


def why_none(connection: Connection) -> str:
    """Why there are no new samples, as a sentence."""
    real = sa.select(sa.func.count()).select_from(_real()).where(_usable())
    if connection.execute(real).scalar_one():
        return "No sample was accepted since the last run: it would give the same model."
    if number := synthetic(connection):
        return f"{_are(number)} not counted: synthetic voice."
    if left_out := excluded(connection):
        why = ", ".join(f"{number:,} {code}" for code, number in left_out.items())
        return f"{_are(sum(left_out.values()))} not used: {why}."
    return "No annotation has become a sample yet: submit some in Label Studio."


def _are(number: int) -> str:
    return f"{number:,} sample is" if number == 1 else f"{number:,} samples are"


def per_day(connection: Connection, now: datetime) -> float:
    """Recently accepted samples per day; a shorter history is divided by its own length."""
    since = now - timedelta(days=RATE_DAYS)
    recent = sa.select(sa.func.count(), sa.func.min(samples.c.accepted_at)).select_from(_real())
    number, first = connection.execute(recent.where(_new(Mark(until=since)))).one()
    if not number:
        return 0.0
    begun = _aware(first) or since
    return float(number) / max(1.0, (now - begun) / timedelta(days=1))


def facts(connection: Connection, *, threshold: int, weekly: str = "", kind: str = "asr") -> dict[str, Any]:
    """What `training status` and `/api/training` show."""
    now, mark = tables.now(), read_mark(connection, kind)
    new, _ = count(connection, mark)
    languages, rate = by_language(connection, mark), per_day(connection, now)
    missing = max(0, threshold - new)
    expected = now + timedelta(days=missing / rate) if rate and missing else None
    return {
        "kind": kind,
        "threshold": threshold,
        "new": new,
        "said": f"{new:,} of {threshold:,}",
        "accepted": sum(entry["accepted"] for entry in languages.values()),
        "languages": languages,
        "excluded": excluded(connection),
        "synthetic": synthetic(connection),
        "why_none": why_none(connection),
        "per_day": round(rate, 1),
        "expected_at": now if not missing and new else expected,
        "looked_at": mark.looked_at,
        "weekly": weekly or None,
        "next_check_at": _next_check(connection, mark, now),
        "running": [_run(row, state_of(connection, row)) for row in _runs(connection, kind, UNDER_WAY, 5)],
        "jobs": [_job(row) for row in _jobs(connection)],
        "last_run": last_run(connection, kind),
        "last_refusal": next((_run(row) for row in _runs(connection, kind, ("refused",), 1)), None),
    }


def last_run(connection: Connection, kind: str) -> dict[str, Any] | None:
    """The newest run of a kind that has ended."""
    return next((_run(row) for row in _runs(connection, kind, ENDED, 1)), None)


def alive(database: Any, row: Any) -> bool:
    """Whether a process works on a run: its job has a valid lease, or its process holds the lease of its kind.

    A killed process leaves its lease behind for a minute; the lock of its folder is released at once.
    """
    with database.reading() as connection:
        return _alive(connection, row)


def _alive(connection: Connection, row: Any) -> bool:
    held = sa.select(device_leases.c.device).where(
        device_leases.c.owner == f"run-{row.id}", device_leases.c.until > tables.now()
    )
    devices = list(connection.execute(held).scalars())
    here = socket.gethostname()[:40]
    if any(device.rpartition(":")[0] == here for device in devices):
        return _locked(row.folder)
    if devices:
        return True
    job = job_rows
    mine = job.c.unique_key.in_((f"train:run:{row.id}", f"run-training:{row.id}"))
    working = sa.and_(mine, job.c.state == "running", job.c.lease_until > tables.now())
    return connection.execute(sa.select(job.c.id).where(working).limit(1)).first() is not None


def state_of(connection: Connection, row: Any) -> str:
    """A run's real state: it is not running when its process has ended, whatever its row says."""
    if row.state != "running" or _alive(connection, row):
        return str(row.state)
    job = job_rows
    mine = job.c.unique_key.in_((f"train:run:{row.id}", f"run-training:{row.id}"))
    later = sa.and_(mine, job.c.state.in_(("waiting", "queued", "running")))
    return "waiting" if connection.execute(sa.select(job.c.id).where(later).limit(1)).first() else "interrupted"


def _locked(folder: str | None) -> bool:
    """Whether a process locks a run's folder; True where this machine cannot check."""
    try:
        with (Path(folder or "") / "lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return True  # the folder is not made yet, or is on another machine
    return False


def _next_check(connection: Connection, mark: Mark, now: datetime) -> datetime:
    """The due time of the waiting check, else when the schedule makes the next one."""
    row = job_rows
    waits = sa.select(sa.func.min(row.c.due_at)).where(
        row.c.name == "check-training", row.c.state.in_(("waiting", "queued", "running"))
    )
    due = _aware(connection.execute(waits).scalar())
    return max(now, due or (mark.looked_at or now) + timedelta(seconds=schedules.CHECK_TRAINING_EVERY_S))


def _runs(connection: Connection, kind: str, states: tuple[str, ...], limit: int) -> list[sa.Row[Any]]:
    found = sa.select(runs).where(runs.c.kind == kind, runs.c.state.in_(states)).order_by(runs.c.id.desc())
    return list(connection.execute(found.limit(limit)))


def _jobs(connection: Connection) -> list[sa.Row[Any]]:
    found = sa.select(job_rows).where(
        job_rows.c.name == "train", job_rows.c.state.in_(("waiting", "queued", "running"))
    )
    return list(connection.execute(found.order_by(job_rows.c.id).limit(5)))


def _run(row: Any, state: str = "") -> dict[str, Any]:
    return {
        "run": row.id,
        "state": state or row.state,
        "step": row.step,
        "project": row.project_id,
        "asked_by": row.who,
        "why": row.why,
        "samples": (row.arguments or {}).get("samples"),
        "progress": row.progress,
        "at": row.finished_at or row.started_at or row.created_at,
        "code": row.reason_code,
        "reason": row.reason,
    }


def _job(row: Any) -> dict[str, Any]:
    return {"job": row.id, "state": row.state, "since": row.started_at or row.created_at, "progress": row.progress}


def _real() -> sa.FromClause:
    return samples.outerjoin(recordings, recordings.c.id == samples.c.recording_id)


def _synthetic() -> sa.ColumnElement[bool]:
    return sa.func.coalesce(recordings.c.synthetic, sa.false())


def _usable() -> sa.ColumnElement[bool]:
    return sa.and_(samples.c.state == "accepted", ~_synthetic())


def _new(mark: Mark) -> sa.ColumnElement[bool]:
    """Accepted after the mark, from human voices. Annotations made before the project was attached count too."""
    wanted = sa.and_(_usable(), samples.c.accepted_at.is_not(None))
    return wanted if mark.until is None else sa.and_(wanted, samples.c.accepted_at > mark.until)


def _time(value: Any) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else None


def _aware(value: datetime | None) -> datetime | None:
    """With its zone: on some databases an aggregate loses its column's type."""
    return tables.UtcTime().process_result_value(value, None) if value is not None else None
