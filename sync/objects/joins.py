"""An object and the audio its call already has -> one recording, never two tasks for one call.

An object named after a call waits until the provider's copy has been fetched. The same bytes are the same recording.
Other bytes (the same conversation in another format, for example) are noted beside the call's recording and become no
task, unless that recording cannot be used. An object that is listed as altered but has the old bytes changes nothing.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.calls import ledger, states
from ml_backend.calls.events import LIVE_SOURCE
from ml_backend.context import Context
from ml_backend.errors import InvalidInput, PermanentError
from ml_backend.storage.object_store import sha256_of
from ml_backend.tables import calls, objects, recordings, tasks
from sync.objects import object_rows as found_objects
from sync.recordings import layouts

BATCH = 200  # rows read at once
TOGETHER = 50  # rows written in one transaction


def settle(context: Context, bucket: str) -> Counter[str]:
    """Decide every waiting object of a bucket that can be decided now; counts what happened."""
    counts: Counter[str] = Counter()
    _wake(context, bucket)
    after = ""
    while rows := _waiting(context, bucket, after):
        for row in rows:
            if word := _decide(context, row):
                counts[word] += 1
        after = rows[-1].object_key
    return +counts


def rival(connection: Connection, recording: Any) -> int | None:
    """Another recording of the same call that has a task, if one of the two is an object that we did not write."""
    if recording.call_id is None:
        return None
    connection.execute(sa.select(calls.c.id).where(calls.c.id == recording.call_id).with_for_update())
    theirs = (
        sa.select(recordings.c.id, recordings.c.source)
        .join(tasks, tasks.c.recording_id == recordings.c.id)
        .where(recordings.c.call_id == recording.call_id, recordings.c.id != recording.id)
        .where(recordings.c.source != LIVE_SOURCE)
        .where(tasks.c.state.in_(("waiting", "wanted", "open", "annotated")))
    )
    found = connection.execute(theirs.order_by(recordings.c.id)).all()
    return next((int(row.id) for row in found if "object" in (row.source, recording.source)), None)


def _wake(context: Context, bucket: str) -> None:
    """Reconsider other copies of a call's audio when the recording that stood for the call cannot be used."""
    dead = sa.select(recordings.c.id).where(recordings.c.state.in_(("refused", "lost")))
    mine = sa.and_(objects.c.bucket == bucket, objects.c.state == "same-call", objects.c.recording_id.in_(dead))
    page = sa.select(objects.c.object_key).where(mine).limit(TOGETHER)
    while keys := [row.object_key for row in context.db.rows(page)]:
        with context.db.transaction() as connection:
            some = sa.and_(mine, objects.c.object_key.in_(keys))
            connection.execute(sa.update(objects).where(some).values(state="waiting", recording_id=None))


def _waiting(context: Context, bucket: str, after: str) -> Any:
    """Objects that can be decided; without those (maybe very many) whose call's own audio was not fetched yet."""
    on_its_way = (
        sa.select(recordings.c.id)
        .join(calls, calls.c.id == recordings.c.call_id)
        .where(calls.c.provider == ledger.PROVIDER, calls.c.call_sid == objects.c.name)
        .where(recordings.c.sha256.is_(None), recordings.c.state.not_in(states.GONE))
        .where(recordings.c.source != LIVE_SOURCE)
    )
    mine = sa.select(objects).where(objects.c.bucket == bucket, objects.c.state == "waiting")
    mine = mine.where(sa.or_(objects.c.recording_id.is_not(None), ~on_its_way.exists()))
    return context.db.rows(mine.where(objects.c.object_key > after).order_by(objects.c.object_key).limit(BATCH))


def _decide(context: Context, row: Any) -> str:
    if row.recording_id is not None:
        return _altered(context, row)
    name = layouts.read(row.bucket, row.object_key, context.settings)
    sids = [sid for sid in (name.call_sid, layouts.first_of(name.call_sid)) if sid]
    with context.db.reading() as connection:
        named = connection.execute(sa.select(calls).where(calls.c.call_sid.in_(sids))).all()
        call = next((each for sid in sids for each in named if each.call_sid == sid), None)
        mine = sa.select(recordings).where(recordings.c.call_id == (call.id if call is not None else None))
        mine = mine.where(recordings.c.source != LIVE_SOURCE)
        its_recordings = connection.execute(mine.order_by(recordings.c.id)).all()
    if call is not None and call.state in found_objects.DEAD:
        return _put(context, row, "refused", "erased", "This call was erased or has expired.")
    usable = [each for each in its_recordings if each.state not in states.GONE]
    for each in usable:
        same_place = (each.bucket, each.object_key) == (row.bucket, row.object_key)
        if same_place or (each.sha256 and each.size_bytes == row.size_bytes and _digest(context, row) == each.sha256):
            return _put(context, row, "taken", recording_id=each.id, word="joined")
    if any(each.sha256 is None for each in usable):
        return ""  # its call's own audio was not fetched yet
    if usable:
        sentence = f"Its call has recording {usable[0].id}; this object holds other bytes and makes no task."
        return _put(context, row, "same-call", "same-call", sentence, recording_id=usable[0].id, word="same-call")
    with context.db.transaction() as connection:
        recording_id = found_objects.take(connection, context, found_objects.info_of(row), name, call=call)
        _write(connection, row, "taken", recording_id=recording_id)
    return "rescued" if its_recordings else "joined"


def _altered(context: Context, row: Any) -> str:
    """An object that stands for a recording and is now listed with other properties."""
    recording = context.db.row(recordings, row.recording_id)
    info = found_objects.info_of(row)
    if recording.sha256 and recording.size_bytes == row.size_bytes and _digest(context, row) == recording.sha256:
        with context.db.transaction() as connection:
            _write(connection, row, "taken", recording_id=recording.id)
            values: dict[str, Any] = {"etag": row.etag, "object_seen_at": tables.now()}
            if recording.state == "lost" and recording.reason_code == found_objects.GONE:
                values |= {"state": "found", "reason_code": None, "reason": None}
            db.update(connection, recordings, recording.id, **values)
            if "state" in values:
                found_objects.ingest(connection, recording.id, priority=recording.priority)
        return "same bytes"
    name = layouts.read(row.bucket, row.object_key, context.settings)
    with context.db.transaction() as connection:
        call = None
        if recording.call_id is not None:
            call = connection.execute(sa.select(calls).where(calls.c.id == recording.call_id)).one()
        version_id = found_objects.take(connection, context, info, name, call=call, version=True)
        _write(connection, row, "taken", recording_id=version_id)
        if version_id != recording.id and recording.reason_code in (None, found_objects.GONE):
            sentence = f"Its object was replaced by other bytes; recording {version_id} is the new version."
            values = {"reason_code": found_objects.REPLACED, "reason": sentence}
            db.update(connection, recordings, recording.id, **values)
            ledger.recording_moved(connection, recording.id)
        beside = sa.and_(objects.c.bucket == row.bucket, objects.c.state == "paired")
        same = sa.and_(beside, objects.c.recording_id == recording.id)
        connection.execute(sa.update(objects).where(same).values(state="text", recording_id=None))
    return "new version"


def _digest(context: Context, row: Any) -> str | None:
    """SHA-256 of an object's bytes; None when it cannot be read now."""
    try:
        path = context.store.open_local(row.bucket, row.object_key)
        if path is not None:
            return sha256_of(path)
        with tempfile.TemporaryDirectory(prefix="kaan-scan-") as folder:
            return context.store.fetch(row.bucket, row.object_key, Path(folder) / "object")
    except (PermanentError, InvalidInput, FileNotFoundError):
        return None


def _put(
    context: Context,
    row: Any,
    state: str,
    code: str | None = None,
    sentence: str | None = None,
    *,
    recording_id: int | None = None,
    word: str = "",
) -> str:
    with context.db.transaction() as connection:
        _write(connection, row, state, code, sentence, recording_id=recording_id)
    return word or f"{state}: {code}"


def _write(
    connection: Connection,
    row: Any,
    state: str,
    code: str | None = None,
    sentence: str | None = None,
    *,
    recording_id: int | None = None,
) -> None:
    """Settle a row, unless a scan has seen other bytes since."""
    mine = sa.and_(objects.c.bucket == row.bucket, objects.c.object_key == row.object_key, objects.c.etag == row.etag)
    values = {"state": state, "reason_code": code, "reason": sentence, "recording_id": recording_id}
    connection.execute(sa.update(objects).where(mine).values(**values))
