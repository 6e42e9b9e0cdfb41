"""A moment of the week -> a training run that was asked for, once.

The check runs every few minutes; what it remembers is the last moment it acted upon, so that a service that was down on
Sunday night asks on Monday, once. A week with little new work asks for nothing: a tenth of the threshold is the least.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import JobContext
from ml_backend.errors import ConfigurationError
from ml_backend.tables import checkpoints
from training.schedule import threshold

WEEKLY = "weekly"
NAME = "training-weekly"
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def check_weekly(context: JobContext) -> None:
    """Ask for a run when the week's moment has passed since the last time. Safe to repeat and to race."""
    stated = context.settings.training_weekly
    if not stated.strip():
        context.report(1.0, "TRAINING_WEEKLY is empty: no weekly run.")
        return
    moment = last_moment(stated, tables.now(), zone=context.settings.exotel_time_zone)
    least = max(1, context.settings.training_threshold // 10)
    with context.db.transaction() as connection:
        values = {"name": NAME, "position": {"at": moment.isoformat()}, "state": "waiting"}
        known = sa.select(checkpoints.c.position).where(checkpoints.c.name == NAME)
        before = connection.execute(known).scalar()
        if before is None:  # a new service begins with the next one
            connection.execute(sa.insert(checkpoints).values(**values))
            return
        if datetime.fromisoformat(before["at"]) >= moment:
            return
        moved = sa.update(checkpoints).where(checkpoints.c.name == NAME)
        connection.execute(moved.values(position=values["position"], updated_at=tables.now()))
        answer = threshold.ask(connection, least=least, who="schedule", why=WEEKLY)
    context.report(1.0, f"Run {answer.run_id} begins." if answer.run_id else str(answer.reason))


def last_moment(stated: str, now: datetime, *, zone: str) -> datetime:
    """The latest `sun 02:00` that is not in the future, in UTC."""
    day, _, clock = stated.strip().lower().partition(" ")
    try:
        hour, minute = (int(each) for each in clock.split(":"))
        weekday = DAYS.index(day[:3])
        here = now.astimezone(ZoneInfo(zone))
        at = here.replace(hour=hour, minute=minute, second=0, microsecond=0)
    except (ValueError, IndexError):
        raise ConfigurationError(
            "bad-moment", f"TRAINING_WEEKLY {stated[:20]!r} is no moment of a week.", "Write it like: sun 02:00."
        ) from None
    at -= timedelta(days=(at.weekday() - weekday) % 7)
    return (at if at <= here else at - timedelta(days=7)).astimezone(now.tzinfo)
