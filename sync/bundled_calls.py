"""Bundled calls -> Recordings, for the demo: as if the telephone company had just left them in the object store.

They take the same way as every call: an object in `call-recordings` under the layout in use for years, a recording
row, a wanted task in each project, then the ordinary jobs. Safe to repeat; a call that is there stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from ml_backend import jobs
from ml_backend.context import Context
from ml_backend.tables import projects, recordings, tasks
from sync.ingest import add_recording
from sync.sources import Source
from sync.tasks import want_task

BUCKET = "call-recordings"
FOLDER = "recordings/2026/11/02"  # the day these calls were invented


@dataclass(frozen=True)
class BundledCall:
    """One call of `ml_backend/bundled/calls`; `text` is what is said in it, empty for silence."""

    path: Path
    call_sid: str
    language: str
    text: str

    @property
    def key(self) -> str:
        """recordings/YYYY/MM/DD/{call_sid}.wav (or whatever the telephone company kept)."""
        return f"{FOLDER}/{self.call_sid}{self.path.suffix}"


def read(manifest: Path) -> list[BundledCall]:
    """The calls a manifest lists, in its order."""
    found = json.loads(manifest.read_text(encoding="utf-8"))
    return [
        BundledCall(
            path=manifest.parent / call["file"],
            call_sid=Path(call["file"]).stem,
            language=call["language"],
            text=call["text"],
        )
        for call in (found["calls"] if isinstance(found, dict) else found)
    ]


def bring_in(context: Context, manifest: Path, project_ids: Sequence[int]) -> list[int]:
    """Store the calls and ask for their tasks in these projects (our row ids); gives the recordings' ids."""
    calls = read(manifest)
    context.store.ensure_bucket(BUCKET)
    for call in calls:
        context.store.put_file(BUCKET, call.key, call.path)
    ids = []
    with context.db.transaction() as connection:
        into = connection.execute(
            sa.select(projects).where(projects.c.id.in_(project_ids)).order_by(projects.c.id)
        ).all()
        for call in calls:
            source = Source("object", f"s3://{BUCKET}/{call.key}")
            recording_id, _ = add_recording(connection, source, call_sid=call.call_sid, synthetic=True)
            recording = connection.execute(sa.select(recordings).where(recordings.c.id == recording_id)).one()
            for project in into:
                want_task(connection, project, recording, reason="demo")
            waiting = sa.select(tasks.c.id).where(tasks.c.recording_id == recording_id, tasks.c.state == "wanted")
            if recording.state != "refused" and connection.execute(waiting.limit(1)).first():
                jobs.enqueue(connection, jobs.INGEST_RECORDING, key=str(recording_id), recording_id=recording_id)
            ids.append(recording_id)
    return ids
