"""Database + object store + the outside ledger -> what is wrong, in sentences: the invariants I1 to I6.

Knows the tables and nothing else of the product: whether something was lost must not be judged by the code that may
have lost it. An empty list means nothing was lost.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context
from tests.faults.history import Sent
from tests.faults.label_studio import FakeLabelStudio

FINAL = ("no-recording", "missing", "refused", "kept", "tasked", "erased", "expired")
_NUMBER = re.compile(r"(?<![0-9a-f-])\+?\d{9,}(?![0-9a-f-])")


def wrong(context: Context, *, sent: Iterable[Sent] = (), label_studio: FakeLabelStudio | None = None) -> list[str]:
    """Everything that breaks an invariant."""
    return [
        *events(context, sent),
        *calls(context),
        *recordings(context),
        *tasks(context, label_studio),
        *predictions(context),
        *failures(context),
    ]


def events(context: Context, sent: Iterable[Sent]) -> list[str]:
    """I1: each callback answered 2xx has its event row."""
    kept = {hashlib.sha256(row.body).hexdigest() for row in context.db.rows(sa.select(tables.events.c.body))}
    return [
        f"I1: callback {one.number} was answered {one.status} and is not kept"
        for one in sent
        if one.acknowledged and one.digest not in kept
    ]


def calls(context: Context) -> list[str]:
    """I2: final with a reason, or a next action with a due time; nothing runs without a live lease."""
    bad = []
    for row in context.db.rows(sa.select(tables.calls)):
        if row.state in FINAL and not (row.reason_code and row.reason):
            bad.append(f"I2: call {row.id} is {row.state} without a reason")
        if row.state not in FINAL and not (row.next_action and row.due_at):
            bad.append(f"I2: call {row.id} is {row.state} without a due next action")
    late = tables.now() - timedelta(seconds=30)
    for row in context.db.rows(sa.select(tables.jobs).where(tables.jobs.c.state == "running")):
        if row.lease_until is None or row.lease_until < late:
            bad.append(f"I2: job {row.id} ({row.name}) runs without a lease")
    return bad


def recordings(context: Context) -> list[str]:
    """I3: what is stored exists, with the recorded digest and size."""
    bad = []
    held = sa.select(tables.recordings).where(tables.recordings.c.state.in_(("stored", "ready")))
    for row in context.db.rows(held):
        found = context.store.stat(row.bucket, row.object_key) if row.bucket and row.object_key else None
        if found is None:
            bad.append(f"I3: recording {row.id} is {row.state} and its object is not there")
            continue
        data = _bytes_of(context, row.bucket, row.object_key)
        if len(data) != row.size_bytes or hashlib.sha256(data).hexdigest() != row.sha256:
            bad.append(f"I3: the object of recording {row.id} is not what its row says")
        if row.state == "ready" and not row.duration_s and not row.reason_code:
            bad.append(f"I3: recording {row.id} is ready without a decoded length")
    return bad


def tasks(context: Context, label_studio: FakeLabelStudio | None) -> list[str]:
    """I4: one task per piece of a recording and project, and once in Label Studio; each annotation version once."""
    bad = []
    live = sa.select(tables.tasks).where(tables.tasks.c.state != "deleted", tables.tasks.c.recording_id.is_not(None))
    pieces = Counter((row.project_id, row.recording_id, row.start_s) for row in context.db.rows(live))
    bad += [f"I4: {count} tasks over recording {piece[1]}" for piece, count in pieces.items() if count > 1]
    if label_studio is not None:
        bad += [f"I4: Label Studio has task {key} {n} times" for key, n in label_studio.by_key().items() if n > 1]
        drafts = Counter((one["task"], one.get("model_version")) for one in label_studio.predictions.values())
        bad += [f"I4: task {task} has its draft {n} times in Label Studio" for (task, _), n in drafts.items() if n > 1]
    versions = Counter(
        (row.ls_annotation_id, getattr(row, "ls_updated_at", None), row.deleted_at)
        for row in context.db.rows(sa.select(tables.annotations))
    )
    bad += [f"I4: annotation {version[0]} is kept {n} times" for version, n in versions.items() if n > 1]
    return bad


def predictions(context: Context) -> list[str]:
    """I5: each prediction names a model version that exists."""
    known = {row.version for row in context.db.rows(sa.select(tables.model_versions.c.version))}
    rows = context.db.rows(sa.select(tables.predictions.c.id, tables.predictions.c.model_version))
    return [
        f"I5: prediction {row.id} names {row.model_version}"
        for row in rows
        if row.model_version and row.model_version not in known
    ]


def failures(context: Context) -> list[str]:
    """I6: each failure has a code, a sentence and a next step, and neither a number of a person nor a traceback."""
    bad = []
    rows = context.db.rows(sa.select(tables.jobs).where(tables.jobs.c.state.in_(("failed", "quarantined"))))
    for row in rows:
        if not (row.error_code and row.error and row.next_step):
            bad.append(f"I6: job {row.id} ({row.name}) failed without code, sentence and next step")
    for row in context.db.rows(sa.select(tables.jobs)):
        bad += [f"I6: job {row.id} {what}" for what in unfit(row.error, row.next_step, row.arguments, row.progress)]
    for table in (tables.recordings, tables.calls, tables.tasks):
        for row in context.db.rows(sa.select(table).where(table.c.reason.is_not(None))):
            bad += [f"I6: {table.name} {row.id} {what}" for what in unfit(row.reason)]
            if not row.reason_code:
                bad.append(f"I6: {table.name} {row.id} has a reason without a code")
    return bad


def unfit(*texts: Any) -> list[str]:
    """What must never be shown: persons' numbers, tracebacks."""
    said = " ".join(str(text) for text in texts if text)
    return [
        what
        for what, found in (
            ("shows a number of a person", _NUMBER.search(said)),
            ("shows a traceback", "Traceback (most" in said),
        )
        if found
    ]


def _bytes_of(context: Context, bucket: str, key: str) -> bytes:
    local = context.store.open_local(bucket, key)
    if local is not None:
        return local.read_bytes()
    target = context.settings.data_dir / "checked-object"
    context.store.fetch(bucket, key, target)
    data = Path(target).read_bytes()
    target.unlink()
    return data
