"""Bundled calls -> Recordings, for the demo: as if the telephone company had just left them in the object store.

They take the same way as every call: an object in `call-recordings` under the layout in use for years, a recording
row, a wanted task in each project, then the ordinary jobs. Safe to repeat; a call that is there stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from ml_backend import jobs, tombstones
from ml_backend.context import Context
from ml_backend.tables import projects, recordings, tasks
from sync.recordings.sources import Source, add_recording
from sync.tasks import Wish, want_task

BUCKET = "call-recordings"
EVERYTHING = {"review": "all", "audit_share": 0, "overlap_share": 0}  # of a demo's projects, for calls of your own too


@dataclass(frozen=True)
class BundledCall:
    """One call of `ml_backend/bundled/calls`; `text` is what is said in it, empty when nobody speaks."""

    path: Path
    call_sid: str
    started_at: datetime
    agent_channel: int | None
    text: str

    @property
    def key(self) -> str:
        """recordings/YYYY/MM/DD/{call_sid}.wav, or what else the telephone company kept."""
        return f"recordings/{self.started_at:%Y/%m/%d}/{self.call_sid}{self.path.suffix}"


def read(manifest: Path) -> list[BundledCall]:
    """The calls a manifest lists, in its order."""
    return [
        BundledCall(
            path=manifest.parent / call["file"],
            call_sid=call["call_sid"],
            started_at=datetime.fromisoformat(call["started_at_utc"]),
            agent_channel=call.get("agent_channel"),
            text=call["text"],
        )
        for call in json.loads(manifest.read_text(encoding="utf-8"))
    ]


def bring_in(context: Context, manifest: Path, project_ids: Sequence[int]) -> list[int]:
    """Store the calls and ask for their tasks in these projects (our row ids); gives the recordings' ids."""
    with context.db.reading() as connection:
        calls = [call for call in read(manifest) if not tombstones.why_buried(connection, call.call_sid)]
    context.store.ensure_bucket(BUCKET)
    for call in calls:
        context.store.put_file(BUCKET, call.key, call.path)
    ids = []
    with context.db.transaction() as connection:
        into = connection.execute(
            sa.select(projects).where(projects.c.id.in_(project_ids)).order_by(projects.c.id)
        ).all()
        plain = sa.and_(projects.c.id.in_(project_ids), projects.c.selection.is_(None))
        connection.execute(sa.update(projects).where(plain).values(selection=EVERYTHING))
        for call in calls:
            source = Source("object", f"s3://{BUCKET}/{call.key}")
            known = {"call_sid": call.call_sid, "agent_channel": call.agent_channel, "synthetic": True}
            recording_id, _ = add_recording(connection, source, **known)
            recording = connection.execute(sa.select(recordings).where(recordings.c.id == recording_id)).one()
            for project in into:
                want_task(connection, project, recording, wish=Wish("demo", probability=1.0))
            waiting = sa.select(tasks.c.id).where(tasks.c.recording_id == recording_id, tasks.c.state == "wanted")
            if recording.state != "refused" and connection.execute(waiting.limit(1)).first():
                jobs.enqueue(connection, jobs.INGEST_RECORDING, key=str(recording_id), recording_id=recording_id)
            ids.append(recording_id)
    return ids
