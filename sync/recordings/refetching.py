"""A recording that arrived cut, damaged or not as audio -> fetched once more; the better of the two is used.

Some downloads break without an error: a proxy cuts a body, or the provider has not finished writing. One more fetch
after a few minutes separates a broken download from a faulty recording. Both originals stay in the store; the row names
the one in use, and the other under `quality.earlier`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.calls import ledger
from ml_backend.context import Context
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.tables import recordings

KEPT = ("earlier", "fetched_again")  # keys of `recordings.quality` that a new measurement keeps
_AGAIN_AFTER = timedelta(minutes=3)
_ACCIDENTS = ("audio-empty", "audio-not-audio", "audio-undecodable", "audio-cut", "audio-damaged", "audio-missing")
_NOT_WORSE_S = 0.5


def waits(recording: sa.Row[Any]) -> bool:
    """Whether a recording still has to be fetched from its provider, for the first time or once more."""
    again = bool((recording.quality or {}).get("fetched_again"))
    return recording.source == ledger.PROVIDER and recording.state == "found" and (again or not recording.object_key)


def once(
    context: Context, recording: sa.Row[Any], code: str | None, sentence: str | None, *, duration_s: float | None = None
) -> bool:
    """Enqueue one more fetch, unless it was done already or is impossible; gives whether it will happen."""
    found = dict(recording.quality or {})
    if recording.source != ledger.PROVIDER or code not in _ACCIDENTS or found.get("fetched_again"):
        return False
    values = {
        "state": "found",
        "reason_code": code,
        "reason": f"{sentence} It is fetched once more.",
        "duration_s": duration_s,
        "quality": {**found, "fetched_again": True},
    }
    with context.db.transaction() as connection:
        if not is_wanted(connection, recording.id):
            return True  # the caller has nothing else to do either
        db.update(connection, recordings, recording.id, **values)
        enqueueing.enqueue(
            connection,
            job_kinds.FETCH_RECORDING,
            key=str(recording.id),
            priority=recording.priority,
            due_at=tables.now() + _AGAIN_AFTER,
            recording_id=recording.id,
        )
        ledger.recording_moved(connection, recording.id)
    return True


def is_wanted(connection: Connection, recording_id: int) -> bool:
    """Whether a recording has not been erased or expired meanwhile; locks its row."""
    mine = sa.select(recordings.c.state).where(recordings.c.id == recording_id).with_for_update()
    return connection.execute(mine).scalar() not in ("erased", "expired")


def give_up(connection: Connection, recording: sa.Row[Any]) -> bool:
    """The second fetch failed permanently: continue with the result of the first; False if there was none.

    The downloader calls this before it marks a recording lost.
    """
    if not (recording.object_key and (recording.quality or {}).get("fetched_again")):
        return False
    _ingest(connection, recording, state="stored")
    return True


def fall_back(context: Context, recording: sa.Row[Any], *, duration_s: float = 0.0) -> bool:
    """Go back to the earlier original if it is longer than `duration_s`; gives whether it is."""
    found = dict(recording.quality or {})
    earlier = list(found.get("earlier", []))
    best = max(earlier, key=lambda one: one["duration_s"] or 0.0, default=None)
    if best is None or (best["duration_s"] or 0.0) <= duration_s + _NOT_WORSE_S:
        return False
    now = {
        "bucket": recording.bucket,
        "key": recording.object_key,
        "sha256": recording.sha256,
        "duration_s": duration_s,
    }
    rest = [one for one in earlier if one is not best]
    with context.db.transaction() as connection:
        _ingest(
            connection,
            recording,
            state="stored",
            bucket=best["bucket"],
            object_key=best["key"],
            sha256=best["sha256"],
            quality={**found, "earlier": [*rest, now]},
        )
    return True


def _ingest(connection: Connection, recording: sa.Row[Any], **values: Any) -> None:
    if not is_wanted(connection, recording.id):
        return
    db.update(connection, recordings, recording.id, **values)
    enqueueing.enqueue(
        connection,
        job_kinds.INGEST_RECORDING,
        key=str(recording.id),
        priority=recording.priority,
        recording_id=recording.id,
    )
    ledger.recording_moved(connection, recording.id)
