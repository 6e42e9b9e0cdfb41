"""One page of the listing -> rows of the ledger, each in its own transaction, so that callbacks are not blocked."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import tables
from ml_backend.calls import ledger, merging, pseudonyms
from ml_backend.calls.events import CallEvent, of_call, time_of
from ml_backend.context import Context
from ml_backend.errors import InvalidInput, RetryableError
from ml_backend.settings import Settings
from ml_backend.tables import calls

LONGEST_GAP_S = 0.5
HOLD_S = 10.0  # the reader's lease is renewed this often within a page


@dataclass
class Kept:
    """Counts of what was read so far."""

    calls: int = 0
    new: int = 0  # calls that were first known from the listing
    with_recording: int = 0


def keep(
    context: Context,
    rows: Sequence[Mapping[str, Any]],
    kept: Kept,
    *,
    priority: int,
    holds: Callable[[Connection], None],
) -> None:
    """Merge a page into the ledger. `holds` renews the reader's lease and raises when it was lost.

    Nothing is written when one of the rows cannot be a call. A call without news costs one read.
    """
    events = _events(rows, context.settings)
    key = pseudonyms.key_of(context.settings)
    known = _known(context, events)
    fresh = [event for event in events if _says_something(known.get(event.call_sid), event, key)]
    held_at = -math.inf
    for event in fresh:
        begun = time.monotonic()
        with context.db.transaction() as connection:
            if begun - held_at > HOLD_S:
                holds(connection)
                held_at = begun
            ledger.record(connection, event, key=key, priority=priority)
        if context.db.is_sqlite:  # SQLite has one writer, and waiting writers poll: leave them half the time
            time.sleep(min(LONGEST_GAP_S, time.monotonic() - begun))
    kept.calls += len(events)
    kept.new += sum(event.call_sid not in known for event in fresh)
    kept.with_recording += sum(event.recording_url is not None for event in events)


def created(row: Mapping[str, Any], settings: Settings) -> datetime | None:
    """When a listed call was created, UTC."""
    text = row.get("DateCreated")
    return time_of(text, zone=settings.exotel_time_zone) if isinstance(text, str) else None


def _events(rows: Sequence[Mapping[str, Any]], settings: Settings) -> list[CallEvent]:
    """The page's calls; a call that is repeated on the page is given once."""
    try:
        events = [of_call(row, source="listing", zone=settings.exotel_time_zone) for row in rows]
    except InvalidInput as error:
        raise RetryableError(
            "exotel-strange-answer",
            "Exotel listed something that is not a call, so nothing of that page was used.",
            "It is asked again; report it to Exotel if it lasts.",
        ) from error
    return list({event.call_sid: event for event in events}.values())


def _known(context: Context, events: Sequence[CallEvent]) -> dict[str, sa.Row[Any]]:
    sids = [event.call_sid for event in events]
    mine = sa.and_(calls.c.provider == ledger.PROVIDER, calls.c.call_sid.in_(sids))
    return {row.call_sid: row for row in context.db.rows(sa.select(calls).where(mine))}


def _says_something(row: sa.Row[Any] | None, event: CallEvent, key: bytes) -> bool:
    return row is None or bool(merging.merge(row._asdict(), event, key=key, at=tables.now()))
