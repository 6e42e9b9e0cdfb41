"""Recording -> all its audio removed: original and copies, normalised audio and pieces, the file in the spool.

Objects that other systems wrote are removed too if the store permits it. Otherwise they are named, so that their owner
can remove them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from ml_backend.calls import live_recordings, live_spool, pseudonyms
from ml_backend.context import Context
from ml_backend.errors import KaanError, RetryableError
from ml_backend.tables import objects, recordings, waveforms
from sync.recordings import spool

GONE = ("erased", "expired")


@dataclass
class Removed:
    """How many objects were removed, and a sentence for each that stays."""

    objects: int = 0
    left: list[str] = field(default_factory=list)


def remove_audio(context: Context, recording: Any, into: Removed) -> None:
    """Remove every object of a recording, and its waveform. Safe to repeat; RetryableError when the store is away."""
    spool.remove(context, recording.id)
    with context.db.transaction() as connection:
        connection.execute(sa.delete(waveforms).where(waveforms.c.recording_id == recording.id))
    for bucket, key in dict.fromkeys(places(context, recording)):
        try:
            if context.store.stat(bucket, key) is None:
                continue
            context.store.delete(bucket, key)
            if context.store.stat(bucket, key) is not None:
                into.left.append(f"{bucket}/{key}: the store kept it")
            else:
                into.objects += 1
        except RetryableError:
            raise
        except KaanError as error:
            into.left.append(f"{bucket}/{key}: {error.sentence}")


def remove_live_audio(context: Context, call: str, into: Removed) -> None:
    """Remove what a call's live requests sent and no recording names yet: on this machine's disk and in the store.

    Another machine's `serve` meets the tombstone and removes its own. RetryableError when the store does not answer.
    """
    key, bucket = pseudonyms.key_of(context.settings), context.settings.recordings_bucket
    live_spool.remove_call(context.settings, call, key=key)
    try:
        for found in list(context.store.list(bucket, prefix=live_recordings.folder_of(call, key))):
            context.store.delete(bucket, found.key)
            into.objects += 1
    except RetryableError:
        raise
    except KaanError as error:
        if error.code not in ("bucket-missing", "object-missing"):
            into.left.append(f"{bucket}, what live requests of the call sent: {error.sentence}")


def places(context: Context, recording: Any) -> Iterator[tuple[str, str]]:
    """(bucket, key) of each object that, by our rows, contains a recording's audio or text."""
    if recording.bucket and recording.object_key and not _shared(context, recording, "object_key"):
        yield recording.bucket, recording.object_key
    for earlier in (recording.quality or {}).get("earlier") or ():
        if earlier.get("bucket") and earlier.get("key"):
            yield str(earlier["bucket"]), str(earlier["key"])
    known = objects.c.recording_id == recording.id
    if recording.call_id is not None:  # objects named after the call that wait or were ignored
        known = sa.or_(known, sa.and_(objects.c.name == recording.call_sid, objects.c.recording_id.is_(None)))
    for row in context.db.rows(sa.select(objects.c.bucket, objects.c.object_key).where(known)):
        yield row.bucket, row.object_key
    shas = {recording.sha256, *(one.get("sha256") for one in (recording.quality or {}).get("earlier") or ())}
    for sha256 in sorted(sha for sha in shas if sha):
        if sha256 == recording.sha256 and _shared(context, recording, "sha256"):
            continue
        ours = context.settings.audio_bucket
        for prefix in (f"derived/{sha256}/", f"originals/{sha256}"):
            try:
                yield from ((ours, found.key) for found in context.store.list(ours, prefix=prefix))
            except RetryableError:
                raise
            except KaanError:  # our own bucket was never made: nothing is in it
                return


def _shared(context: Context, recording: Any, column: str) -> bool:
    """Whether another recording, which stays, has the same object or the same bytes."""
    same = sa.and_(recordings.c[column] == getattr(recording, column), recordings.c.id != recording.id)
    if column == "object_key":
        same = sa.and_(same, recordings.c.bucket == recording.bucket)
    if recording.call_id is not None:
        same = sa.and_(same, sa.or_(recordings.c.call_id.is_(None), recordings.c.call_id != recording.call_id))
    return bool(context.db.rows(sa.select(recordings.c.id).where(same, recordings.c.state.not_in(GONE)).limit(1)))
