"""A listed object -> its row in `objects`, and the recording it stands for.

Objects are only read here, never written, and rows are never deleted: an altered object becomes a new recording beside
the old one, a deleted object makes its recording `lost` with the reason, and a returned object is ingested again. An
object named after a call belongs to that call. Whether the call already has the same audio is decided after the page
(`joins`), because the object has to be read for that.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.calls import ledger, phone_numbers, pseudonyms, states
from ml_backend.calls import object_calls as foundcalls
from ml_backend.calls.events import LIVE_SOURCE, CallEvent
from ml_backend.context import Context
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.storage.object_store import ObjectInfo
from ml_backend.tables import calls, objects, recordings, tombstones
from sync.objects import arrivals
from sync.recordings import layouts
from sync.recordings.layouts import Name

CHUNK = 20  # objects per transaction, each with a recording, a call and a job: a callback waits for one chunk at most
ALTERED, GONE, REPLACED = "object-altered", "object-deleted", "object-replaced"
DEAD = ("erased", "expired")


@dataclass(frozen=True)
class _Around:
    """The rows related to one chunk of objects."""

    rows: dict[str, Any]  # objects by key
    originals: dict[str, Any]  # the latest recording whose original lies under the key
    calls: dict[str, Any]  # by call id of the provider
    recordings_of: dict[int, list[Any]]  # recordings by our call id
    erased_before: set[str]
    unclaimed: set[str]  # names of audio without a call
    named: Counter[str]  # how many of these objects are named after each call


def appeared(context: Context, bucket: str, found: Sequence[ObjectInfo]) -> Counter[str]:
    """Record new, altered and returned objects; counts the outcomes. Safe to repeat."""
    counts: Counter[str] = Counter()
    storable = [info for info in found if len(info.key) <= 1024 and "\x00" not in info.key]
    counts["refused: bad-object-key"] += len(found) - len(storable)
    with context.db.transaction() as connection:
        names = {info.key: layouts.read(bucket, info.key, context.settings) for info in storable}
        around = _around(connection, context, bucket, names)
        plain = [(info, names[info.key]) for info in storable if _plain(info, names, around)]
        left = {info.key for info in arrivals.take(connection, plain)}
        counts["new"] += len(plain) - len(left)
        done = {info.key for info, _ in plain} - left
        for info in sorted(storable, key=lambda info: names[info.key].day is None):  # objects that create calls first
            if info.key in done:
                continue
            row = around.rows.get(info.key)
            if row is not None and _same(row, info) and row.state != "lost":
                continue  # another scan was here first
            values, news = _judge(connection, context, info, names[info.key], row, around)
            _put(connection, info, names[info.key], row, values)
            counts[news] += 1
    return +counts


def gone(context: Context, bucket: str, keys: Sequence[str]) -> Counter[str]:
    """Record keys that are no longer listed. Each is looked up first: it may have been written during the listing."""
    missing = [key for key in keys if layouts.problem_of(key) or context.store.stat(bucket, key) is None]
    counts: Counter[str] = Counter()
    with context.db.transaction() as connection:
        mine = sa.and_(objects.c.bucket == bucket, objects.c.object_key.in_(missing), objects.c.state != "lost")
        for row in connection.execute(sa.select(objects).where(mine)).all():
            sentence = f"The object was deleted from the store; it was last seen on {row.seen_at:%Y-%m-%d}."
            values = {"state": "lost", "reason_code": GONE, "reason": sentence, "seen_at": tables.now()}
            connection.execute(sa.update(objects).where(_is(row.bucket, row.object_key)).values(**values))
            counts["gone"] += 1
            if row.recording_id is not None:
                _lose(connection, row, sentence)
    return counts


def take(
    connection: Connection,
    context: Context,
    info: ObjectInfo,
    name: Name,
    *,
    call: Any = None,
    version: bool = False,
) -> int:
    """Insert an object's recording and its ingest job; gives the recording's id. `version`: it replaces other bytes."""
    values = arrivals.values(info, name)
    if call is not None:
        values |= {"call_id": call.id, "call_sid": call.call_sid, "call_duration_s": call.talk_seconds}
    if version:
        values["source_identity"] += f"#{_mark(info)}"
    recording_id, _ = db.insert_once(connection, recordings, values, key=("source", "source_identity"))
    ingest(connection, recording_id, priority=values["priority"])
    return recording_id


def ingest(connection: Connection, recording_id: int, *, priority: int) -> None:
    """Enqueue a recording's ingest and update its call."""
    enqueueing.enqueue(
        connection, job_kinds.INGEST_RECORDING, key=str(recording_id), priority=priority, recording_id=recording_id
    )
    ledger.recording_moved(connection, recording_id)


def info_of(row: Any) -> ObjectInfo:
    """A row of `objects` as the listing gave it."""
    return ObjectInfo(row.bucket, row.object_key, row.size_bytes, row.etag, row.modified_at or row.seen_at)


def _plain(info: ObjectInfo, names: Mapping[str, Name], around: _Around) -> bool:
    """Whether an object is entirely new audio, which `arrivals` inserts."""
    name = names[info.key]
    first = layouts.first_of(name.call_sid)
    if name.problem or name.kind != layouts.AUDIO or not info.size_bytes:
        return False
    if info.key in around.rows or info.key in around.originals or around.erased_before:
        return False
    if not name.call_sid:
        return True
    known = name.call_sid in around.calls or first in around.calls or name.call_sid in around.unclaimed
    return not known and not (first and name.day) and around.named[name.call_sid] == 1


def _judge(
    connection: Connection, context: Context, info: ObjectInfo, name: Name, row: Any, around: _Around
) -> tuple[dict[str, Any], str]:
    """(the row's values, the word under which the report counts it)."""
    identity = f"s3://{info.bucket}/{info.key}"
    if name.problem:
        return _refused("bad-object-key", name.problem)
    if {identity, name.call_sid, layouts.first_of(name.call_sid) or identity} & around.erased_before:
        return _refused("erased", "This recording was erased or has expired, and is not taken up again.")
    if name.kind == layouts.OTHER:
        return _values("ignored", "not-audio", "The name's suffix is of neither audio nor text."), "ignored"
    if not info.size_bytes:
        return _refused("object-empty", "The object has no bytes.")
    if name.kind == layouts.TEXT:
        return _values("text"), "new" if row is None else "altered"
    if row is not None and row.recording_id is not None and row.state != "same-call":
        return _known_before(connection, info, row, around)
    original = around.originals.get(info.key)
    if original is not None:
        if original.etag is None:
            db.update(connection, recordings, original.id, etag=info.etag[:120], object_seen_at=tables.now())
        return _values("taken", recording_id=original.id), "known"
    call = _call(connection, context, name, around)
    if call is None:
        return _values("taken", recording_id=take(connection, context, info, name)), "new"
    if call.state in DEAD:
        return _refused("erased", "This call was erased or has expired, and is not taken up again.")
    if around.recordings_of.get(call.id):
        return _values("waiting", "call-has-audio", "Its call has audio of its own, or will soon."), "new"
    recording_id = take(connection, context, info, name, call=call)
    around.recordings_of.setdefault(call.id, []).append(recording_id)
    return _values("taken", recording_id=recording_id), "new"


def _known_before(connection: Connection, info: ObjectInfo, row: Any, around: _Around) -> tuple[dict[str, Any], str]:
    """(the row's values, a word) for an object that stands for a recording and was altered or has returned."""
    recording = connection.execute(sa.select(recordings).where(recordings.c.id == row.recording_id)).one()
    if recording.state in DEAD:
        return _refused("erased", "This recording was erased or has expired, and is not taken up again.")
    if (recording.bucket, recording.object_key) != (info.bucket, info.key):  # another copy of its call's audio
        return _values("waiting", "call-has-audio", "Its call has audio of its own."), "altered"
    if _same(row, info):
        if recording.state == "lost" and recording.reason_code == GONE:
            db.update(connection, recordings, recording.id, state="found", reason_code=None, reason=None)
            ingest(connection, recording.id, priority=job_kinds.BULK)
        return _values("taken", recording_id=recording.id), "back"
    if recording.source != "object":  # an original of ours: sync/recordings/verification checks it
        return _values("taken", recording_id=recording.id), "known"
    if recording.sha256 is None and recording.state == "found":  # the bytes were never read
        db.update(connection, recordings, recording.id, etag=info.etag[:120], object_seen_at=tables.now())
        ingest(connection, recording.id, priority=recording.priority)
        return _values("taken", recording_id=recording.id), "altered"
    return _values("waiting", ALTERED, "The object was altered.", recording_id=recording.id), "altered"


def _call(connection: Connection, context: Context, name: Name, around: _Around) -> Any:
    """The call an object is named after; inserted if the key follows the layout of calls."""
    first = layouts.first_of(name.call_sid)
    call = around.calls.get(name.call_sid) or (around.calls.get(first) if first else None)
    if call is None and name.day is not None:
        event = CallEvent(call_sid=name.call_sid, source="object", started_at_utc=arrivals.beginning(name))
        key = context.keep("pseudonym-key", lambda: pseudonyms.key_of(context.settings))
        call = ledger.record(connection, event, key=key, priority=job_kinds.BULK)
        around.calls[name.call_sid] = call
        there = sa.select(recordings.c.id).where(recordings.c.call_id == call.id, recordings.c.source != LIVE_SOURCE)
        around.recordings_of[call.id] = list(connection.execute(there).scalars())
    return call


def _around(connection: Connection, context: Context, bucket: str, names: dict[str, Name]) -> _Around:
    keys = list(names)
    sids = {name.call_sid for name in names.values()} | {
        layouts.first_of(name.call_sid) or "" for name in names.values()
    }
    rows = connection.execute(sa.select(objects).where(objects.c.bucket == bucket, objects.c.object_key.in_(keys)))
    columns = (recordings.c.id, recordings.c.object_key, recordings.c.etag)
    mine = sa.select(*columns).where(recordings.c.bucket == bucket, recordings.c.object_key.in_(keys))
    named = connection.execute(sa.select(calls).where(calls.c.call_sid.in_(sids - {""}))).all()
    recordings_of: dict[int, list[Any]] = {}
    theirs = sa.select(recordings.c.call_id, recordings.c.id, recordings.c.state)
    theirs = theirs.where(recordings.c.source != LIVE_SOURCE)
    for found in connection.execute(theirs.where(recordings.c.call_id.in_([call.id for call in named]))).all():
        if found.state not in states.GONE:
            recordings_of.setdefault(found.call_id, []).append(found.id)
    identities = [f"s3://{bucket}/{key}" for key in keys] + sorted(sids - {""})
    key = context.keep("pseudonym-key", lambda: pseudonyms.key_of(context.settings))
    asked = {name: each for each in identities for name in {each, phone_numbers.hidden(each, key)}}
    erased_before = sa.select(tombstones.c.identity).where(tombstones.c.identity.in_(list(asked)))
    return _Around(
        rows={row.object_key: row for row in rows.all()},
        originals={row.object_key: row for row in connection.execute(mine.order_by(recordings.c.id)).all()},
        calls={call.call_sid: call for call in named},
        recordings_of=recordings_of,
        erased_before={asked[name] for name in connection.execute(erased_before).scalars()},
        named=Counter(name.call_sid for name in names.values()),
        unclaimed=foundcalls.unclaimed(connection, {name.call_sid for name in names.values() if name.day}),
    )


def _lose(connection: Connection, row: Any, sentence: str) -> None:
    """Mark a recording lost that has no object left. For an original of ours, sync/recordings/verification decides."""
    elsewhere = sa.select(objects.c.object_key).where(objects.c.recording_id == row.recording_id)
    no_audio = ("lost", "paired", "refused")  # the text beside it names the recording too
    if connection.execute(elsewhere.where(objects.c.state.not_in(no_audio)).limit(1)).first():
        return
    recording = connection.execute(sa.select(recordings).where(recordings.c.id == row.recording_id)).one()
    if recording.source == "object" and recording.state in ("found", "stored", "ready"):
        db.update(connection, recordings, recording.id, state="lost", reason_code=GONE, reason=sentence)
        ledger.recording_moved(connection, recording.id)


def _put(connection: Connection, info: ObjectInfo, name: Name, row: Any, values: dict[str, Any]) -> None:
    seen = {**arrivals.facts(info, name), **values}
    if row is not None:
        connection.execute(sa.update(objects).where(_is(info.bucket, info.key)).values(**seen))
    else:
        db.insert_missing(connection, objects, [seen])  # two scans may run concurrently


def _is(bucket: str, key: str) -> sa.ColumnElement[bool]:
    return sa.and_(objects.c.bucket == bucket, objects.c.object_key == key)


def _same(row: Any, info: ObjectInfo) -> bool:
    return bool(row.etag == info.etag[:120] and row.size_bytes == info.size_bytes)


def _mark(info: ObjectInfo) -> str:
    """A short name for these bytes, as far as a listing distinguishes versions."""
    return hashlib.sha256(f"{info.etag}:{info.size_bytes}".encode()).hexdigest()[:12]


def _values(
    state: str, code: str | None = None, sentence: str | None = None, *, recording_id: int | None = None
) -> dict[str, Any]:
    return {"state": state, "reason_code": code, "reason": sentence, "recording_id": recording_id}


def _refused(code: str, sentence: str) -> tuple[dict[str, Any], str]:
    return _values("refused", code, sentence), f"refused: {code}"
