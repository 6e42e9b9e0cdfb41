"""Calls of a day -> its balance: every call the provider lists is stored, or explained by a reason or a due time.

A day is India's by default (EXOTEL_TIME_ZONE). A call belongs to the day it began on.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.calls.events import LIVE_SOURCE, zone_of
from ml_backend.calls.states import OPEN, STATES
from ml_backend.db import Database
from ml_backend.tables import calls, events, recordings

CLOCK = "clock-differs"
LATE = timedelta(minutes=25)  # a message that Exotel sends again is up to 20 minutes old; zones differ by 30 or more
STORED = ("stored", "ready")  # states of a recording whose bytes are in the object store


@dataclass(frozen=True)
class Balance:
    """One day. `reported`: calls from any source; `listed`: those of the provider's listing, which must equal
    `stored` + `explained`."""

    day: str
    reported: int
    listed: int
    stored: int  # of the listed ones: at least one recording is in the object store
    explained: int  # of the listed ones: nothing is stored, and a reason or a due action says why
    unexplained: tuple[str, ...]  # call ids; a defect unless empty
    with_recording: int
    downloaded: int
    tasked: int
    waiting: int  # of all: something is still to be done
    missing: int
    reasons: dict[str, int]  # of all calls without a stored recording

    @property
    def balanced(self) -> bool:
        """listed = stored + explained."""
        return self.listed == self.stored + self.explained

    def to_dict(self) -> dict[str, Any]:
        """As the API and `--json` give it."""
        return asdict(self) | {"balanced": self.balanced, "unexplained": list(self.unexplained)}


def clock_differs(ours: datetime, theirs: datetime | None) -> str | None:
    """A warning when a message's time is far from its arrival; almost always its time zone is misread."""
    if theirs is None or abs(ours - theirs) < LATE:
        return None
    minutes = round((ours - theirs).total_seconds() / 60)
    return (
        f"Exotel's time in this message is {abs(minutes)} minutes {'before' if minutes > 0 else 'after'} its arrival."
    )


def clock_warning(database: Database, *, days: int = 7) -> str | None:
    """A sentence when recent messages have an impossible time, else None."""
    mine = sa.and_(events.c.reason_code == CLOCK, events.c.created_at >= tables.now() - timedelta(days=days))
    rows = database.rows(sa.select(events.c.reason).where(mine).order_by(events.c.id.desc()).limit(100))
    if not rows:
        return None
    return f"{rows[0].reason} It was so {len(rows)} times in {days} days: check EXOTEL_TIME_ZONE and this clock."


def began_between(since: datetime | None, until: datetime | None) -> sa.ColumnElement[bool]:
    """Calls that began in a time, by an index: one of whose beginning nothing is known began when its row was made."""

    def within(at: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
        limits = ([at >= since] if since else []) + ([at < until] if until else [])
        return sa.and_(*limits) if limits else sa.true()

    return sa.or_(
        sa.and_(calls.c.started_at.is_not(None), within(calls.c.started_at)),
        sa.and_(calls.c.started_at.is_(None), within(calls.c.created_at)),
    )


def of_days(database: Database, *, days: int, zone: str, last: date | None = None) -> list[Balance]:
    """The balances of `days` days up to `last` (today by default), newest first."""
    last = last or tables.now().astimezone(zone_of(zone)).date()
    return [of_day(database, last - timedelta(days=back), zone=zone) for back in range(days)]


def of_day(database: Database, day: date, *, zone: str) -> Balance:
    begin = datetime.combine(day, time(), zone_of(zone))
    theirs, whole = recordings.c.call_id == calls.c.id, recordings.c.source != LIVE_SOURCE
    kept = sa.exists().where(theirs, whole, recordings.c.state.in_(STORED))
    named = ("call_sid", "state", "reason_code", "next_action", "due_at", "listed_at", "recording_url")
    rows = database.rows(
        sa.select(*(calls.c[name] for name in named), kept.label("kept")).where(
            began_between(begin, datetime.combine(day + timedelta(days=1), time(), zone_of(zone)))
        )
    )
    listed = [row for row in rows if row.listed_at]
    return Balance(
        day=day.isoformat(),
        reported=len(rows),
        listed=len(listed),
        stored=sum(bool(row.kept) for row in listed),
        explained=sum(not row.kept and _explained(row) for row in listed),
        unexplained=tuple(row.call_sid for row in rows if not row.kept and not _explained(row))[:100],
        with_recording=sum(row.recording_url is not None for row in rows),
        downloaded=sum(bool(row.kept) for row in rows),
        tasked=sum(row.state == "tasked" for row in rows),
        waiting=sum(row.state in OPEN for row in rows),
        missing=sum(row.state == "missing" for row in rows),
        reasons=dict(Counter(_why(row) for row in rows if not row.kept).most_common()),
    )


def _explained(row: sa.Row[Any]) -> bool:
    actions = STATES.get(row.state)
    if actions is None:
        return False
    return bool(row.next_action in actions and row.due_at) if actions else bool(row.reason_code)


def _why(row: sa.Row[Any]) -> str:
    return str(row.reason_code or row.next_action or "unexplained")
