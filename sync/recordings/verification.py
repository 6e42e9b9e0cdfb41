"""Stored originals -> a check every night that they exist and are unchanged, in slices that let other jobs run.

Each original we keep is looked up. Its bytes are read again if the store shows another version than the last one read;
in addition a thirtieth of all originals is read each night, so silent damage is found within a month. A missing or
altered original is fetched again while the provider has it; otherwise it becomes `lost` and an error is logged.
Missing normalised audio is made again. The scan (`sync.objects.scan`) checks objects in other buckets.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, log, tables
from ml_backend.calls import ledger
from ml_backend.context import Context, JobContext
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.storage.object_store import ObjectInfo, sha256_of
from ml_backend.tables import recordings, tasks
from sync.recordings import lengths, refetching

SLICE_S, SLICE_ROWS = 600.0, 5000
_NIGHTS = 30  # in which every original is read again
_KEPT = ("stored", "ready")
_TEMPORARY = re.compile(r"kaan-([a-z]+-)?[a-z0-9_]{8}")  # names that tempfile makes from our prefixes
_LEFT_OVER_S = 24 * 3600.0  # no job works as long

_log = log.get("verification")


def verify_objects(context: JobContext, after_id: int = 0) -> None:
    """Verify the next slice of originals, then enqueue the one after it. Safe to repeat."""
    began = time.monotonic()
    if not after_id:
        _sweep()
        context.store.sweep(_LEFT_OVER_S)
    night = tables.now().toordinal()
    mine = sa.and_(recordings.c.state.in_(_KEPT), recordings.c.source != "object", recordings.c.object_key.is_not(None))
    rows = context.db.rows(
        sa.select(recordings).where(mine, recordings.c.id > after_id).order_by(recordings.c.id).limit(SLICE_ROWS)
    )
    for row in rows:
        verify(context, row, read_again=row.id % _NIGHTS == night % _NIGHTS)
        after_id = int(row.id)
        if time.monotonic() - began > SLICE_S:
            break
    if rows:
        with context.db.transaction() as connection:
            enqueueing.enqueue(connection, job_kinds.VERIFY_OBJECTS, key=str(after_id), after_id=after_id)


def verify(context: Context, recording: sa.Row[Any], *, read_again: bool) -> str:
    """Check one recording and act on the result: sound, missing, altered, rebuilt or short."""
    bucket, key = str(recording.bucket), str(recording.object_key)
    found = context.store.stat(bucket, key)
    if found is None:
        return _gone(context, recording, "missing", "Its object is no longer in the store.")
    if read_again or found.etag != recording.etag or found.size_bytes != recording.size_bytes:
        if _sha256(context, found) != recording.sha256:
            return _gone(context, recording, "altered", "Its object holds other bytes than were stored.")
        context.db.update(recordings, recording.id, etag=found.etag[:120], updated_at=recording.updated_at)
    if recording.state == "ready":
        derived = [str(recording.derived_key), *(str(span[2]) for span in recording.spans or [])]
        if any(context.store.stat(context.settings.audio_bucket, name) is None for name in derived):
            with context.db.transaction() as connection:
                _again(connection, recording, job_kinds.INGEST_RECORDING, state="stored")
            _log.warning("normalised audio is missing and is made again", recording=recording.id)
            return "rebuilt"
        return _late_length(context, recording)
    return "sound"


def _sweep() -> None:
    """Remove files of killed workers from this machine's temporary folder: a call of hours decodes to a gigabyte."""
    for folder in Path(tempfile.gettempdir()).glob("kaan-*"):
        with contextlib.suppress(OSError):
            status = folder.lstat()
            old = time.time() - status.st_mtime > _LEFT_OVER_S
            if old and status.st_uid == os.getuid() and _TEMPORARY.fullmatch(folder.name) and folder.is_dir():
                shutil.rmtree(folder)


def _gone(context: Context, recording: sa.Row[Any], what: str, sentence: str) -> str:
    """The original is missing or altered: fetch it again from its provider, or mark it lost."""
    from_provider = recording.source == ledger.PROVIDER and recording.call_id is not None
    earlier = {"bucket": recording.bucket, "key": recording.object_key, "sha256": None, "duration_s": None}
    found = dict(recording.quality or {})
    values: dict[str, Any] = {
        "reason_code": f"object-{what}",
        "reason": f"{sentence} It is fetched again." if from_provider else f"{sentence} There is no other copy.",
        "quality": {**found, "earlier": [*found.get("earlier", []), earlier]},
        "etag": None,
    }
    with context.db.transaction() as connection:
        if from_provider:
            values |= {"state": "found", "bucket": None, "object_key": None}
            _again(connection, recording, job_kinds.FETCH_RECORDING, **values)
        else:
            db.update(connection, recordings, recording.id, state="lost", **values)
            ledger.recording_moved(connection, recording.id)
    _log.error(
        "a stored recording is damaged", recording=recording.id, what=what, object=str(recording.object_key)[:200],
        then="fetched again" if from_provider else "lost",
    )  # fmt: skip
    return what


def _late_length(context: Context, recording: sa.Row[Any]) -> str:
    """Check the length again: the call's length may have become known after its recording was ingested."""
    call_s = lengths.of_call(context, recording)
    if recording.reason_code or call_s is None or not lengths.is_short(recording.duration_s, call_s):
        return "sound"
    code, sentence = lengths.short_of_call(recording.duration_s, call_s)
    used = context.db.rows(sa.select(tasks.c.id).where(tasks.c.recording_id == recording.id).limit(1))
    if used or not refetching.once(context, recording, code, sentence, duration_s=recording.duration_s):
        context.db.update(recordings, recording.id, reason_code=code, reason=sentence)
    return "short"


def _again(connection: Connection, recording: sa.Row[Any], kind: job_kinds.JobKind, **values: Any) -> None:
    db.update(connection, recordings, recording.id, **values)
    enqueueing.enqueue(connection, kind, key=str(recording.id), priority=recording.priority, recording_id=recording.id)
    ledger.recording_moved(connection, recording.id)


def _sha256(context: Context, found: ObjectInfo) -> str:
    path = context.store.open_local(found.bucket, found.key)
    if path is not None:
        return sha256_of(path)
    with tempfile.TemporaryDirectory(prefix="kaan-verify-") as folder:
        return context.store.fetch(found.bucket, found.key, Path(folder) / "object")
