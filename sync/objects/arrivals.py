"""Entirely new audio -> calls, recordings, objects and ingest jobs, a hundred at once.

This is the simple case of `object_rows`, and nearly every object of a first scan of years of audio: no call has the
name, nothing was erased, nothing waits. A few statements serve a hundred objects, instead of twenty for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.calls import object_calls as foundcalls
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.storage.object_store import ObjectInfo
from ml_backend.tables import objects, recordings
from sync.recordings import recording_language
from sync.recordings.layouts import Name

LIVE_FOR = timedelta(days=2)  # audio of the last two days goes before back-fill
MAX_ETAG_CHARS = 120


def take(connection: Connection, found: Sequence[tuple[ObjectInfo, Name]]) -> list[ObjectInfo]:
    """Insert everything for these objects; gives those that another process inserted first."""
    days = {name.call_sid: beginning(name) for _, name in found if name.day is not None}
    call_ids = foundcalls.insert(connection, days)
    there = [(info, name) for info, name in found if name.day is None or name.call_sid in call_ids]
    rows = [values(info, name, call_id=call_ids.get(name.call_sid)) for info, name in there]
    made = db.insert_missing(connection, recordings, rows, returning=("id", "source_identity"))
    ids = {row.source_identity: int(row.id) for row in made}
    taken = [(info, name, ids[identity(info)]) for info, name in there if identity(info) in ids]
    for priority in sorted({priority_of(info, name) for info, name, _ in taken}):
        same = [recording_id for info, name, recording_id in taken if priority_of(info, name) == priority]
        enqueueing.enqueue_many(connection, job_kinds.INGEST_RECORDING, "recording_id", same, priority=priority)
    seen = [{**facts(info, name), "state": "taken", "recording_id": at} for info, name, at in taken]
    db.insert_missing(connection, objects, seen)
    done = {info.key for info, _, _ in taken}
    return [info for info, _ in found if info.key not in done]


def values(info: ObjectInfo, name: Name, *, call_id: int | None = None) -> dict[str, Any]:
    """The values of an object's row in `recordings`."""
    return {
        "source": "object",
        "source_identity": identity(info),
        "bucket": info.bucket,
        "object_key": info.key,
        "call_id": call_id,
        "call_sid": name.call_sid or None,
        "synthetic": name.synthetic,
        "language": name.language,
        "language_by": recording_language.GIVEN if name.language else None,
        "etag": info.etag[:MAX_ETAG_CHARS],
        "object_seen_at": tables.now(),
        "priority": priority_of(info, name),
        "state": "found",
    }


def facts(info: ObjectInfo, name: Name) -> dict[str, Any]:
    """The values of the row in `objects` that come from the listing."""
    return {
        "bucket": info.bucket,
        "object_key": info.key,
        "etag": info.etag[:MAX_ETAG_CHARS],
        "size_bytes": info.size_bytes,
        "modified_at": info.modified_at,
        "seen_at": tables.now(),
        "name": name.stem or None,
    }


def identity(info: ObjectInfo) -> str:
    """The recording's identity: the object's address."""
    return f"s3://{info.bucket}/{info.key}"


def beginning(name: Name) -> datetime:
    """The day in a call's key, as a time: the best known start of the call."""
    return datetime.combine(name.day or date.min, time(), UTC)


def priority_of(info: ObjectInfo, name: Name) -> int:
    """Live calls go before back-fill and synthetic voice. The day in the name decides: old audio may be a new copy."""
    began_at = beginning(name) if name.day is not None else info.modified_at
    fresh = tables.now() - began_at < LIVE_FOR
    return job_kinds.LIVE if fresh and not name.synthetic else job_kinds.BULK
