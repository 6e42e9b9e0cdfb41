"""Calls known only from an object in the store -> their rows, many at once.

`ledger` takes one message at a time. A first scan of years of audio finds hundreds of thousands of calls, and callbacks
must not wait for the database meanwhile. The rows equal those that `ledger` would write for the same events; the caller
inserts the recordings in the same transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.calls import merging
from ml_backend.calls import states as callstates
from ml_backend.calls.events import CallEvent
from ml_backend.calls.ledger import PROVIDER
from ml_backend.tables import calls

FETCHED = "fetched"
_EMPTY = dict.fromkeys(merging.FIELDS) | {"merged": {}, "seen_by": [], "listed_at": None}


def insert(connection: Connection, found: Mapping[str, datetime]) -> dict[str, int]:
    """Call ids with the beginning of their day -> our ids of the rows made. Calls that are there are left out."""
    rows = [_values(call_sid, started_at) for call_sid, started_at in found.items()]
    made = db.insert_missing(connection, calls, rows, returning=("id", "call_sid"))
    return {row.call_sid: int(row.id) for row in made}


def unclaimed(connection: Connection, call_sids: set[str]) -> set[str]:
    """Which of these name audio that came before and belongs to no call yet: `ledger` has to bring them together."""
    objects, recordings = tables.objects, tables.recordings
    named = (
        sa.select(objects.c.name)
        .join(recordings, recordings.c.id == objects.c.recording_id)
        .where(objects.c.name.in_(call_sids), recordings.c.call_id.is_(None))
    )
    return set(connection.execute(named).scalars())


def _values(call_sid: str, started_at: datetime) -> dict[str, Any]:
    at = tables.now()
    event = CallEvent(call_sid=call_sid, source="object", started_at_utc=started_at)
    facts = {**_EMPTY, **merging.merge(_EMPTY, event, key=b"", at=at)}  # no number in it, so no key
    [action] = callstates.STATES[FETCHED]
    return {
        "provider": PROVIDER,
        "call_sid": call_sid,
        **facts,
        "source": "object",
        "state": FETCHED,
        "next_action": action,
        "due_at": at,
    }
