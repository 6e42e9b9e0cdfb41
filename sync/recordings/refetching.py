"""A recording that came cut, damaged or as something else -> fetched once more; the better of both is kept.

Downloads break in ways nobody reports: a proxy cuts a body, the provider has not finished writing. One more fetch after
a few minutes tells such an accident from a recording that is so. Both originals stay in the store; the row names the
one in use, and the other under `quality.earlier`.
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

KEPT = ("earlier", "fetched_again")  # of `recordings.quality`, over a new measurement
_AGAIN_AFTER = timedelta(minutes=3)
_ACCIDENTS = ("audio-empty", "audio-not-audio", "audio-undecodable", "audio-cut", "audio-damaged", "audio-missing")
_NOT_WORSE_S = 0.5


def waits(recording: sa.Row[Any]) -> bool:
    """Whether a recording is still to be fetched from its provider, for the first time or once more."""
    again = bool((recording.quality or {}).get("fetched_again"))
    return recording.source == ledger.PROVIDER and recording.state == "found" and (again or not recording.object_key)


def once(
    context: Context, recording: sa.Row[Any], code: str | None, sentence: str | None, *, duration_s: float | None = None
) -> bool:
    """Have it fetched once more, unless it was already or cannot be; whether it will be."""
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
            return True  # and nothing else is to be done either
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
    """Whether a recording was not erased and has not expired while somebody worked on it; holds its row."""
    mine = sa.select(recordings.c.state).where(recordings.c.id == recording_id).with_for_update()
    return connection.execute(mine).scalar() not in ("erased", "expired")


def give_up(connection: Connection, recording: sa.Row[Any]) -> bool:
    """The second fetch failed for good: go on with what the first one brought; False when there was none.

    For the downloader, before it calls a recording lost.
    """
    if not (recording.object_key and (recording.quality or {}).get("fetched_again")):
        return False
    _ingest(connection, recording, state="stored")
    return True


def fall_back(context: Context, recording: sa.Row[Any], *, duration_s: float = 0.0) -> bool:
    """Go back to the earlier original when it holds more than these seconds; whether it does."""
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
