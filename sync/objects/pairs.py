"""A `.txt` object beside an audio object -> the recording's known text, in whichever order the two arrived.

A text that is unreadable, or that changed after its recording became a task, changes nothing and keeps the reason.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ml_backend import db
from ml_backend.context import Context
from ml_backend.errors import PermanentError
from ml_backend.tables import objects, recordings, tasks
from sync.recordings import layouts

BATCH = 50
MAX_TEXT_BYTES = 64_000


def settle(context: Context, bucket: str, *, since: datetime | None = None) -> Counter[str]:
    """Pair the texts of a bucket whose audio is known; with `since`, only texts that arrived after that."""
    counts: Counter[str] = Counter()
    after = ""
    while rows := _unpaired(context, bucket, after, since):
        audios = _audios(context, bucket, rows)
        for row in rows:
            recording_id = next((audios[key] for key in _beside(row.object_key) if key in audios), None)
            if recording_id is not None:
                counts[_pair(context, row, recording_id)] += 1
        after = rows[-1].object_key
    return +counts


def _unpaired(context: Context, bucket: str, after: str, since: datetime | None) -> Sequence[Any]:
    waiting = sa.select(objects).where(objects.c.bucket == bucket, objects.c.state == "text")
    if since is not None:
        waiting = waiting.where(objects.c.seen_at >= since)
    return context.db.rows(waiting.where(objects.c.object_key > after).order_by(objects.c.object_key).limit(BATCH))


def _beside(key: str) -> list[str]:
    return [f"{stem}{suffix}" for stem in layouts.beside(key) for suffix in layouts.AUDIO_SUFFIXES]


def _audios(context: Context, bucket: str, rows: Sequence[Any]) -> dict[str, int]:
    keys = [key for row in rows for key in _beside(row.object_key)]
    here = sa.select(objects.c.object_key, objects.c.recording_id).where(
        objects.c.bucket == bucket, objects.c.object_key.in_(keys), objects.c.state == "taken"
    )
    return {row.object_key: int(row.recording_id) for row in context.db.rows(here) if row.recording_id is not None}


def _pair(context: Context, row: Any, recording_id: int) -> str:
    text, code, sentence = _read(context, row)
    with context.db.transaction() as connection:
        mine = sa.and_(
            objects.c.bucket == row.bucket, objects.c.object_key == row.object_key, objects.c.etag == row.etag
        )
        recording = connection.execute(sa.select(recordings).where(recordings.c.id == recording_id)).one()
        in_use = sa.select(tasks.c.id).where(tasks.c.recording_id == recording_id).limit(1)
        if text is not None and recording.known_text not in (None, text) and connection.execute(in_use).first():
            text, code = None, "text-changed"
            sentence = "The text changed after its audio became a task; the task keeps the old one."
        if text is not None:
            db.update(connection, recordings, recording_id, known_text=text)
        state = "paired" if text is not None else "refused"
        values = {"state": state, "recording_id": recording_id, "reason_code": code, "reason": sentence}
        connection.execute(sa.update(objects).where(mine).values(**values))
    return "paired" if text is not None else f"refused: {code}"


def _read(context: Context, row: Any) -> tuple[str | None, str | None, str | None]:
    """(text, None, None), or (None, code, sentence)."""
    if row.size_bytes > MAX_TEXT_BYTES:
        return None, "text-too-large", f"The text is larger than {MAX_TEXT_BYTES} bytes."
    try:
        with tempfile.TemporaryDirectory(prefix="kaan-scan-") as folder:
            path = Path(folder) / "text"
            context.store.fetch(row.bucket, row.object_key, path)
            text = path.read_bytes().decode("utf-8-sig").strip()
    except PermanentError as error:
        return None, error.code, error.sentence
    except UnicodeDecodeError:
        return None, "text-unreadable", "The text is not UTF-8."
    if not text or "\x00" in text:
        return None, "text-empty", "The text is empty."
    return text, None, None
