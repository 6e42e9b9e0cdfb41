"""The lease in a job's row: the right to run the job now.

A lease is (job, attempt, owner) with a deadline. Taking it counts the attempt before any work is done. Extending it and
writing the outcome work only while the row still names this attempt and owner (fencing), so a slow process that lost
its lease cannot write. Times come from the database, because the clocks of two machines differ.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import quantities, tables
from ml_backend.errors import ConfigurationError, KaanError, PermanentError, RetryableError
from ml_backend.jobs.job_kinds import WAITED_FOR
from ml_backend.tables import jobs

OPEN = ("waiting", "queued")
MAX_DEATHS = 3
ENDED_BY_DEATH = "The process that ran this job ended without a result."


@dataclass(frozen=True)
class Timing:
    """Every interval of the job system. Tests shorten them; production runs these."""

    lease_s: float = 30.0
    beat_s: float = 10.0
    backoff_s: float = 5.0  # first retry waits up to this, the n-th up to this times 2^(n-1)
    backoff_cap_s: float = 600.0
    report_s: float = 2.0  # progress is written at most this often
    persist_s: float = 60.0  # how long writing an outcome is retried
    exit_grace_s: float = 60.0  # after the time limit a C timer ends the process, even if C code hangs


@dataclass(frozen=True)
class Lease:
    """The right to run one attempt of one job."""

    job_id: int
    attempt: int
    owner: str
    name: str
    arguments: dict[str, Any]
    priority: int
    failures: int
    deaths: int
    queue: str
    trace: str | None = None


@dataclass(frozen=True)
class Settled:
    """The outcome of a job: `state` is done, waiting (retried at `due_at`), failed, quarantined or cancelled."""

    job_id: int
    name: str
    state: str
    attempt: int
    error_code: str | None = None
    sentence: str | None = None
    next_step: str | None = None
    due_at: datetime | None = None


def clock(connection: Connection) -> datetime:
    """The database's current time, UTC."""
    if connection.dialect.name == "sqlite":
        return tables.now()
    found: datetime = connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
    return found.astimezone(UTC)


def due(now: datetime) -> sa.ColumnElement[bool]:
    """Rows that may start: open, due, and no job of their key is running."""
    return sa.and_(jobs.c.state.in_(OPEN), jobs.c.due_at <= now, ~_key_is_running())


def _key_is_running() -> sa.ColumnElement[bool]:
    other = jobs.alias("other")
    same_key = sa.and_(other.c.unique_key == jobs.c.unique_key, other.c.state == "running", other.c.id != jobs.c.id)
    return sa.exists(sa.select(other.c.id).where(same_key))


def take(
    connection: Connection, job_id: int, *, owner: str, lease_s: float, after_attempt: int | None = None
) -> Lease | None:
    """The lease on a due job; None if it is not due, not open, or another job of its key runs.

    `after_attempt` is the number of attempts that the caller knows of; an outdated number takes nothing.
    """
    now = clock(connection)
    wanted = [jobs.c.id == job_id, due(now)]
    if after_attempt is not None:
        wanted.append(jobs.c.attempt == after_attempt)
    values = {
        "state": "running",
        "attempt": jobs.c.attempt + 1,
        "lease_owner": owner,
        "lease_until": now + timedelta(seconds=lease_s),
        "started_at": now,
        "finished_at": None,
        "progress": None,
    }
    row = connection.execute(sa.update(jobs).where(*wanted).values(**values).returning(jobs)).first()
    if row is None:
        return None
    return _lease_of(row)


def extend(connection: Connection, held: Iterable[Lease], *, lease_s: float) -> set[int]:
    """Extend the leases; returns the job ids of those that are still ours."""
    until = clock(connection) + timedelta(seconds=lease_s)
    return {lease.job_id for lease in held if _write(connection, lease, lease_until=until)}


def report(connection: Connection, lease: Lease, fraction: float, note: str) -> bool:
    """Write progress; False if the lease is no longer ours."""
    return _write(connection, lease, progress={"fraction": round(fraction, 3), "note": quantities.shortened(note, 200)})


def done(connection: Connection, lease: Lease) -> Settled | None:
    """Mark the job as done. None if the lease was lost: then nothing is written."""
    cleared = {"error_code": None, "error": None, "next_step": None, "error_branch": None}
    if not _write(connection, lease, state="done", **_ended(connection), **cleared):
        return None
    return Settled(lease.job_id, lease.name, "done", lease.attempt)


def failed(
    connection: Connection, lease: Lease, error: BaseException, *, max_attempts: int, timing: Timing
) -> Settled | None:
    """Mark the job as failed: the branch of the error decides whether it is retried. None as for `done`."""
    code, sentence, next_step, branch = describe(error, lease.job_id)
    failures = lease.failures + 1  # deaths have a separate limit
    reason: dict[str, Any] = {"error_code": code, "error": sentence, "next_step": next_step, "error_branch": branch}
    reason |= {"failures": failures}
    if branch == "retryable" and failures < max_attempts:
        due_at = clock(connection) + timedelta(seconds=_delay_s(error, failures, timing))
        state = _wait_again(connection, lease, due_at=due_at, **reason)
        if not state:
            return None
        return Settled(lease.job_id, lease.name, state, lease.attempt, code, sentence, next_step, due_at)
    if not _write(connection, lease, state="failed", **_ended(connection), **reason):
        return None
    return Settled(lease.job_id, lease.name, "failed", lease.attempt, code, sentence, next_step)


def release(connection: Connection, lease: Lease) -> None:
    """The job was interrupted on purpose (Ctrl-C): make it due again at once."""
    _wait_again(connection, lease, due_at=clock(connection))


def died(connection: Connection, lease: Lease, *, counts: bool = True) -> Settled | None:
    """The lease's process ended. The third death quarantines the job; `counts` is False for a requested stop."""
    deaths = lease.deaths + (1 if counts else 0)
    if deaths >= MAX_DEATHS:
        sentence = f"This job ended its process {deaths} times and was set aside."
        next_step = f"Look at the worker's log, then `python -m ml_backend jobs retry {lease.job_id}`."
        aside = {
            "error_code": "quarantined",
            "error": sentence,
            "next_step": next_step,
            "error_branch": "death",
        }
        if not _write(connection, lease, state="quarantined", deaths=deaths, **_ended(connection), **aside):
            return None
        return Settled(lease.job_id, lease.name, "quarantined", lease.attempt, "quarantined", sentence, next_step)
    reason = {"error_code": "process-ended", "error": ENDED_BY_DEATH, "next_step": "", "error_branch": "death"}
    now = clock(connection)
    state = _wait_again(connection, lease, due_at=now, deaths=deaths, **reason)
    if not state:
        return None
    return Settled(lease.job_id, lease.name, state, lease.attempt, "process-ended", ENDED_BY_DEATH, "", now)


def take_back(connection: Connection, *, lease_s: float) -> list[Settled]:
    """Make every running job with an expired lease wait again. Call it only if live runners could have renewed theirs.

    A lease far in the future was written before the clock was set back: it counts as expired too. A process that was
    asked to stop and then killed does not count as a death (a deployment is not the job's fault).
    """
    rows = ran_out(connection, lease_s=lease_s)
    stopping = _stopping(connection, [row.lease_owner for row in rows])
    settled = [died(connection, _lease_of(row), counts=row.lease_owner not in stopping) for row in rows]
    return [one for one in settled if one is not None]


def ran_out(connection: Connection, *, lease_s: float) -> Sequence[sa.Row[Any]]:
    """Running jobs with an expired lease."""
    now = clock(connection)
    too_far = now + timedelta(seconds=4 * lease_s)
    gone = sa.or_(jobs.c.lease_until < now, jobs.c.lease_until > too_far, jobs.c.lease_until.is_(None))
    return connection.execute(sa.select(jobs).where(jobs.c.state == "running", gone).order_by(jobs.c.id)).all()


def take_back_from(connection: Connection, owner: str) -> list[Settled]:
    """`take_back` for one owner whose process has ended, without waiting for its leases to expire."""
    rows = connection.execute(sa.select(jobs).where(jobs.c.state == "running", jobs.c.lease_owner == owner)).all()
    stopping = _stopping(connection, [owner])
    settled = [died(connection, _lease_of(row), counts=owner not in stopping) for row in rows]
    return [one for one in settled if one is not None]


def describe(error: BaseException, job_id: int) -> tuple[str, str, str, str]:
    """(code, sentence, next step, branch) of any exception; the text of an unknown exception is not stored."""
    if isinstance(error, ConfigurationError):
        return error.code, error.sentence, error.next_step, "configuration"
    if isinstance(error, PermanentError):
        return error.code, error.sentence, error.next_step, "permanent"
    if isinstance(error, KaanError):
        return error.code, error.sentence, error.next_step, "retryable"
    if type(error) is LookupError:  # from `db.row`; its subclasses KeyError and IndexError are bugs
        sentence = "What this job was made for is no longer in the database."
        return "row-gone", sentence, "Nothing, if it was erased on purpose; else look at your last backup.", "permanent"
    sentence = f"Something unexpected went wrong ({type(error).__name__})."
    next_step = f"The worker's log has the details of job {job_id}; report it if it stays."
    return "unexpected-error", sentence, next_step, "retryable"


def _delay_s(error: BaseException, failures: int, timing: Timing) -> float:
    """Full jitter: a random delay up to the doubled bound, so that many failed jobs do not return at once."""
    if isinstance(error, RetryableError) and error.after_s is not None:
        return error.after_s
    return random.uniform(0, min(timing.backoff_cap_s, timing.backoff_s * 2 ** (failures - 1)))


def _write(connection: Connection, lease: Lease, **values: Any) -> bool:
    """Update the row if this lease is still valid."""
    ours = sa.and_(
        jobs.c.id == lease.job_id,
        jobs.c.attempt == lease.attempt,
        jobs.c.lease_owner == lease.owner,
        jobs.c.state == "running",
    )
    return connection.execute(sa.update(jobs).where(ours).values(**values)).rowcount == 1


def _ended(connection: Connection) -> dict[str, Any]:
    return {"finished_at": clock(connection), "lease_owner": None, "lease_until": None, "queued_at": None}


def _wait_again(connection: Connection, lease: Lease, *, due_at: datetime, **values: Any) -> str:
    """running -> waiting, unless a newer job of the same key waits: that one takes over. '' if the lease was lost."""
    values |= {"lease_owner": None, "lease_until": None, "queued_at": None}
    try:
        with connection.begin_nested():
            return "waiting" if _write(connection, lease, state="waiting", due_at=due_at, **values) else ""
    except sa.exc.IntegrityError:
        pass
    values |= {
        "error_code": "superseded",
        "error": "A newer job for the same thing was waiting and took over.",
        "next_step": "",
    }
    if not _write(connection, lease, state="cancelled", finished_at=clock(connection), **values):
        return ""
    _bequeath(connection, lease, due_at, {name: values.get(name, 0) for name in ("deaths", "failures")})
    return "cancelled"


def _bequeath(connection: Connection, lease: Lease, due_at: datetime, counted: dict[str, int]) -> None:
    """Copy deaths, failures, priority and back-off to the newer job (no back-off if a person waits for it). Otherwise a
    failing job whose key is enqueued again and again would be retried without pause or limit."""
    key = sa.select(jobs.c.unique_key).where(jobs.c.id == lease.job_id).scalar_subquery()
    heir = sa.update(jobs).where(jobs.c.unique_key == key, jobs.c.state.in_(OPEN))
    for name, number in counted.items():
        connection.execute(heir.where(jobs.c[name] < number).values({name: number}))
    connection.execute(heir.where(jobs.c.priority > lease.priority).values(priority=lease.priority))
    patient = sa.and_(jobs.c.priority > WAITED_FOR, jobs.c.due_at < due_at)
    connection.execute(heir.where(patient).values(due_at=due_at))


def _lease_of(row: sa.Row[Any]) -> Lease:
    return Lease(
        row.id,
        row.attempt,
        row.lease_owner,
        row.name,
        row.arguments,
        row.priority,
        row.failures,
        row.deaths,
        row.queue,
        row.trace or f"job-{row.id}",
    )


def _stopping(connection: Connection, owners: Sequence[str]) -> set[str]:
    """Those of the owners that recorded a request to stop."""
    known = tables.processes
    rows = connection.execute(sa.select(known.c.name, known.c.detail).where(known.c.name.in_(set(owners)))).all()
    return {row.name for row in rows if (row.detail or {}).get("stopping")}
