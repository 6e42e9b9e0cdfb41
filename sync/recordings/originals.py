"""A recording's bytes -> Object: the original, stored once under the key layout that existing calls have.

The key is `recordings/YYYY/MM/DD/{call_sid}.{ext}` in RECORDINGS_BUCKET, by the UTC day on which the call started. It
is chosen once and stored. If it already holds other bytes, the new key includes the SHA-256; neither is overwritten.
While the store is down, an original waits in the spool (`spool`), because the provider deletes its own copy in time.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ml_backend import db, log
from ml_backend.calls.events import LIVE_SOURCE
from ml_backend.context import Context, JobContext
from ml_backend.errors import PermanentError, RetryableError
from ml_backend.jobs import enqueueing, failpoints, job_kinds
from ml_backend.storage.object_store import need_space, sha256_of
from ml_backend.tables import calls, recordings
from sync.recordings import spool

_DIGEST_CHARS = 12

_log = log.get("originals")


def keep_original(context: Context, recording: sa.Row[Any], path: Path, *, extension: str) -> dict[str, Any]:
    """Keep the file at `path` as this recording's original; gives the row's new values, for the caller's transaction.

    The state is `stored`, or `spooled` while the store does not answer. Safe to repeat. Raises RetryableError
    `spool-full` when the store is down and the spool is full, ConfigurationError when the store refuses access.
    """
    sha256, size_bytes = sha256_of(path), path.stat().st_size
    extension = extension.lower().lstrip(".")
    extension = extension if extension.isalnum() and extension.isascii() and len(extension) <= 5 else "bin"
    known = {"sha256": sha256, "size_bytes": size_bytes}
    try:
        key = store(context, recording, path, extension=extension, sha256=sha256)
    except RetryableError as error:
        spool.add(context, recording.id, path, extension=extension)
        return {**known, "state": "spooled", "reason_code": "store-down", "reason": error.sentence}
    return {**known, **values_when_stored(context, recording, key, sha256=sha256)}


def values_when_stored(context: Context, recording: sa.Row[Any], key: str, *, sha256: str) -> dict[str, Any]:
    """The row's values once its original is stored under `key`; the row keeps an earlier, different original."""
    values: dict[str, Any] = {
        "bucket": context.settings.recordings_bucket,
        "object_key": key,
        "state": "stored",
        "reason_code": None,
        "reason": None,
    }
    if recording.object_key and recording.object_key != key:
        found = dict(recording.quality or {})
        earlier = {
            "bucket": recording.bucket,
            "key": recording.object_key,
            "sha256": recording.sha256,
            "duration_s": recording.duration_s,
        }
        values["quality"] = {**found, "earlier": [*found.get("earlier", []), earlier]}
    return values


def store(context: Context, recording: sa.Row[Any], path: Path, *, extension: str, sha256: str) -> str:
    """Store the file under its key, or under a key with its digest if that key holds other bytes; gives the key.

    The digest is always used for further recordings of a call, so that two concurrent ones cannot choose the same key,
    and in a store where the later of two writers would overwrite the earlier.
    """
    bucket, key = context.settings.recordings_bucket, key_of(context, recording, extension=extension)
    own = f"-{sha256[:_DIGEST_CHARS]}.".join((key[: -len(extension) - 1], extension))
    context.store.ensure_bucket(bucket)
    failpoints.hit("original.before-put")
    if _is_first(context, recording) and _first_stays(context, path.stat().st_size):
        try:
            context.store.put_file(bucket, key, path)
        except PermanentError as error:
            if error.code != "object-exists":
                raise
            _log.warning("another object has this recording's key: both are kept", recording=recording.id)
            context.store.put_file(bucket, own, path)
            key = own
    else:
        context.store.put_file(bucket, own, path)
        key = own
    failpoints.hit("original.after-put")
    return key


def _first_stays(context: Context, size_bytes: int) -> bool:
    """Whether this store keeps the first object when two writers use the same key."""
    own = context.settings.audio_bucket
    context.store.ensure_bucket(own)
    return context.store.keeps_first(own, size_bytes=size_bytes)


def _is_first(context: Context, recording: sa.Row[Any]) -> bool:
    """Whether a recording is the first one of its call."""
    if recording.call_id is None:
        return True
    mine = sa.and_(recordings.c.call_id == recording.call_id, recordings.c.source != LIVE_SOURCE)
    first = sa.select(sa.func.min(recordings.c.id)).where(mine)
    with context.db.reading() as connection:
        return bool(connection.execute(first).scalar() == recording.id)


def store_spooled(context: JobContext) -> None:
    """Spool -> Objects, oldest first; then their ingest. Stops without an error at the first one the store refuses."""
    for path in spool.waiting(context):
        recording_id = int(path.stem)
        rows = context.db.rows(sa.select(recordings).where(recordings.c.id == recording_id))
        if not rows or rows[0].state in ("erased", "expired") or (rows[0].state != "spooled" and rows[0].object_key):
            path.unlink(missing_ok=True)
            continue
        if rows[0].state != "spooled":  # its fetch has not yet committed that state
            continue
        sha256 = sha256_of(path)
        try:
            key = store(context, rows[0], path, extension=path.suffix[1:], sha256=sha256)
        except RetryableError as error:
            _log.warning("object store is still down", waiting=len(spool.waiting(context)), reason=error.code)
            return
        values = values_when_stored(context, rows[0], key, sha256=sha256)
        with context.db.transaction() as connection:
            mine = sa.and_(recordings.c.id == recording_id, recordings.c.state == "spooled")
            if not connection.execute(sa.select(recordings.c.id).where(mine)).first():
                context.store.delete(context.settings.recordings_bucket, key)  # erased meanwhile
                continue
            db.update(connection, recordings, recording_id, sha256=sha256, size_bytes=path.stat().st_size, **values)
            enqueueing.enqueue(
                connection,
                job_kinds.INGEST_RECORDING,
                key=str(recording_id),
                priority=rows[0].priority,
                recording_id=recording_id,
            )
        failpoints.hit("spool.after-stored")
        path.unlink(missing_ok=True)


def key_of(context: Context, recording: sa.Row[Any], *, extension: str) -> str:
    """The key of this recording's original: by the UTC day on which its call started, else the day its row was made."""
    started_at = None
    if recording.call_id is not None:
        rows = context.db.rows(sa.select(calls.c.started_at).where(calls.c.id == recording.call_id))
        started_at = rows[0].started_at if rows else None
    day = started_at or recording.created_at
    return f"recordings/{day:%Y/%m/%d}/{recording.call_sid or f'recording-{recording.id}'}.{extension}"


def need_room(context: Context) -> None:
    """Raise RetryableError when nothing may be fetched now: the disk is nearly full, or the spool is full."""
    least_mb = context.settings.min_free_disk_mb
    context.settings.data_dir.mkdir(parents=True, exist_ok=True)
    places = [context.settings.data_dir, Path(tempfile.gettempdir())]
    if context.settings.objects != "s3://":
        places.append(Path(context.settings.objects))
    for place in places:
        need_space(place, more_bytes=0, least_mb=least_mb)
    spool.need_room(context)
