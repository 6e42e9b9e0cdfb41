"""A refused key stops the account's queue: one alarm, no attempts used up, one test request at intervals.

Exotel's 401 means that the key is wrong for every call. So all jobs that need it are rescheduled together, and one row
keeps the reason, which `status` shows. After some minutes the first of these jobs tries again. A new key in the
settings is tried at once.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from ml_backend import log, tables
from ml_backend.context import Context
from ml_backend.errors import ConfigurationError
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.settings import Settings
from ml_backend.tables import jobs as job_rows
from sync.exotel import reader_positions

PAUSE = timedelta(minutes=5)
_KINDS = ("fetch-recording", "look-up-call")

_log = log.get("exotel")


def until(context: Context) -> datetime | None:
    """When the account's queue resumes; None when it runs. The first caller after that time makes the test request."""
    name = _name(context.settings)
    with context.db.reading() as connection:
        found = connection.execute(
            sa.select(tables.checkpoints.c.position).where(tables.checkpoints.c.name == name)
        ).scalar()
    if found is None or found.get("key") != _key(context.settings):
        return None
    at = datetime.fromisoformat(found["until"]).astimezone(UTC)
    return at if tables.now() < at <= tables.now() + PAUSE else None


def stop(context: Context, error: ConfigurationError) -> datetime:
    """The key was refused: reschedule all jobs of this account; gives the time of the next try."""
    at = tables.now() + PAUSE
    with context.db.transaction() as connection:
        is_news = reader_positions.read(connection, _name(context.settings)) is None
        position = {"until": at.isoformat(), "key": _key(context.settings)}
        reader_positions.write(
            connection, _name(context.settings), position, state="stopped", reason_code=error.code,
            reason=f"{error.sentence} {error.next_step}",
        )  # fmt: skip
        waiting = sa.and_(job_rows.c.name.in_(_KINDS), job_rows.c.state.in_(("waiting", "queued")))
        connection.execute(sa.update(job_rows).where(waiting, job_rows.c.due_at < at).values(due_at=at))
    say = _log.error if is_news else _log.warning
    say("credentials refused: nothing is fetched or looked up until they are accepted", code=error.code)
    return at


def accepted(context: Context) -> None:
    """The key works: end the alarm."""
    name = _name(context.settings)
    with context.db.reading() as connection:
        known = sa.select(tables.checkpoints.c.name).where(tables.checkpoints.c.name == name)
        if connection.execute(known).first() is None:
            return
    with context.db.transaction() as connection:
        reader_positions.remove(connection, name)
    _log.info("credentials accepted again")


def again(
    context: Context, kind: job_kinds.JobKind, at: datetime, *, key: int, priority: int, **arguments: int
) -> None:
    """Reschedule the running job for that time; this does not count as an attempt."""
    with context.db.transaction() as connection:
        enqueueing.enqueue(connection, kind, key=str(key), priority=priority, due_at=at, **arguments)


def _name(settings: Settings) -> str:
    return f"exotel-stopped:{settings.exotel_account_sid}"[:200]


def _key(settings: Settings) -> str:
    """A fingerprint that distinguishes pairs of credentials without storing them."""
    pair = f"{settings.exotel_api_key.get_secret_value()}\0{settings.exotel_api_token.get_secret_value()}"
    return hashlib.sha256(pair.encode()).hexdigest()[:16]
