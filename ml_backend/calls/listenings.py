"""Who listened to which recording: one row for each play, and the audio of a recording as people may listen to it.

A player asks for a play in many parts. A request belongs to the listener's last play of the recording while that is
recent; a request for the beginning starts another play, except right after one began, because players ask for the first
bytes twice. So no part can be had without a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.calls import pseudonyms, tombstones
from ml_backend.context import Context
from ml_backend.errors import InvalidInput, PermanentError
from ml_backend.tables import listenings, recordings

SAME_PLAY = timedelta(minutes=30)  # after its last request
ASKED_TWICE = timedelta(seconds=10)
WRITE_WITHIN_S = 3.0
BATCH = 500
_NOT_YET = ("found", "spooled", "fetched", "stored")


@dataclass(frozen=True)
class Playable:
    """The normalised audio of a recording in AUDIO_BUCKET."""

    recording_id: int
    call_id: int | None
    bucket: str
    key: str
    size_bytes: int
    etag: str


def find(context: Context, recording_id: int) -> Playable:
    """The audio of a recording; InvalidInput with status 404 or 410 where there is none."""
    rows = context.db.rows(sa.select(recordings).where(recordings.c.id == recording_id))
    if not rows:
        raise InvalidInput("no-such-recording", "There is no such recording.", "Open it from its call.", status=404)
    row = rows[0]
    if row.state in ("erased", "expired") or _erased(context, row):
        state = "expired" if row.state == "expired" else "erased"
        raise InvalidInput(
            "recording-gone",
            f"The audio of this recording was {_WHY[state]}.",
            "It cannot be had any more.",
            status=410,
        )
    if not row.derived_key:
        later = row.state in _NOT_YET
        raise InvalidInput(
            "audio-not-there", "This recording has no audio to listen to.",
            "It is still to be fetched and decoded; try later." if later else row.reason or "Its call says why.",
            status=404,
        )  # fmt: skip
    bucket = context.settings.audio_bucket
    found = context.store.stat(bucket, row.derived_key)
    if found is None:
        raise PermanentError(
            "audio-missing", "The audio of this recording is not in the object store.", "Check its bucket and key."
        )
    etag = "".join(each for each in found.etag if each.isalnum() or each in "-_.")[:100]
    return Playable(row.id, row.call_id, bucket, row.derived_key, found.size_bytes, etag)


_WHY = {"erased": "erased", "expired": "removed, because the time of keeping it is over"}


def _erased(context: Context, row: Any) -> bool:
    """Whether a tombstone names it: its audio may still be in the store for a moment."""
    names = [row.source_identity, row.call_sid, f"s3://{row.bucket}/{row.object_key}"]
    names.append(tombstones.audio_identity(row.sha256) if row.sha256 else None)
    with context.db.reading() as connection:
        return bool(tombstones.why_erased(connection, *names, key=pseudonyms.key_of(context.settings)))


def note(context: Context, audio: Playable, *, who: str, from_start: bool) -> None:
    """Write that somebody listens, before any byte is sent."""
    at, row = tables.now(), listenings.c
    mine = sa.select(row.id, row.created_at, row.updated_at).where(
        row.recording_id == audio.recording_id, row.who == who
    )
    with context.db.transaction(wait_s=WRITE_WITHIN_S) as connection:
        last = connection.execute(mine.order_by(row.id.desc()).limit(1)).first()
        again = last is not None and last.updated_at > at - SAME_PLAY
        if last is not None and again and (not from_start or last.created_at > at - ASKED_TWICE):
            change = sa.update(listenings).where(row.id == last.id)
            connection.execute(change.values(requests=row.requests + 1, updated_at=at))
            return
        values = {"created_at": at, "updated_at": at, "who": who[:120], "requests": 1}
        values |= {"recording_id": audio.recording_id, "call_id": audio.call_id}
        connection.execute(sa.insert(listenings).values(values))


def forget_old(context: Context) -> int:
    """Remove rows older than LISTENING_LOG_DAYS; gives how many."""
    before, removed = tables.now() - timedelta(days=context.settings.listening_log_days), 0
    old = sa.select(listenings.c.id).where(listenings.c.created_at < before).limit(BATCH)
    while ids := context.db.scalars(old):
        with context.db.transaction() as connection:
            connection.execute(sa.delete(listenings).where(listenings.c.id.in_(ids)))
        removed += len(ids)
    return removed
