"""Bundled calls -> Recordings, for the demo: as if the telephone company had just put them into the object store.

They are processed like every call: an object in `call-recordings` under the usual layout, a recording row, a task in
each project, then the ordinary jobs. Every call becomes a task, and every selection reason occurs: certain calls get
the random reasons, the transcripts decide about the rest. Safe to repeat; an existing call stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db
from ml_backend.asr.transcript import Transcript
from ml_backend.calls import pseudonyms, tombstones
from ml_backend.context import Context
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.labelling import labelconfig
from ml_backend.tables import projects, recordings, tasks, transcriptions
from ml_backend.views.training_progress import BLIND_AUDIT
from sync.drafts import drafts
from sync.drafts.recording_pieces import RecordingPiece
from sync.projects import attachment
from sync.recordings.sources import RecordingSource, add_recording
from sync.tasks import choices, selection
from sync.tasks.task_creation import TaskRequest, request_task

BUCKET = "call-recordings"
# Of a demo's projects, for your own calls too: all become tasks, those the model is least sure of first.
EVERYTHING = {"review": "all", "max_confidence": 1.0, "audit_share": 0, "overlap_share": 0}
UNSURE_BELOW = 0.9  # the demo marks a region `check` below this confidence: the bundled model errs there
WAITS = "It waits until it is transcribed."
DRAWN = {
    "en-delivery-noisy.wav": BLIND_AUDIT,
    "hi-mixed-order.wav": "audit",
    "mr-new-address.wav": choices.BY_HAND,
}


@dataclass(frozen=True)
class BundledCall:
    """One call of `ml_backend/bundled/calls`; `text` is its reference, empty without speech."""

    path: Path
    call_sid: str
    started_at: datetime
    agent_channel: int | None
    text: str

    @property
    def key(self) -> str:
        """recordings/YYYY/MM/DD/{call_sid}.wav, or with another suffix."""
        return f"recordings/{self.started_at:%Y/%m/%d}/{self.call_sid}{self.path.suffix}"


def read(manifest: Path) -> list[BundledCall]:
    """The calls of a manifest, in its order."""
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


def ensure_projects(context: Context) -> list[int]:
    """Create the demo's two projects where they are missing; returns our rows' ids."""
    unsure = {"minimum_confidence": UNSURE_BELOW}  # marks regions; without regions it would leave text out
    return [attachment.ensure(context, "original"), attachment.ensure(context, "calls", unsure)]


def bring_in(context: Context, manifest: Path, project_ids: Sequence[int]) -> list[int]:
    """Store the calls and make waiting tasks of them in these projects (our row ids); returns the recordings' ids."""
    with context.db.reading() as connection:
        every = read(manifest)
        key = pseudonyms.key_of(context.settings)
        calls = [call for call in every if not tombstones.why_erased(connection, call.call_sid, key=key)]
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
            source = RecordingSource("object", f"s3://{BUCKET}/{call.key}")
            known = {"call_sid": call.call_sid, "agent_channel": call.agent_channel, "synthetic": True}
            recording_id, _ = add_recording(connection, source, **known)
            recording = connection.execute(sa.select(recordings).where(recordings.c.id == recording_id)).one()
            for project in into:
                request_task(connection, project, recording, wish=TaskRequest("demo", probability=1.0, waits=WAITS))
            waiting = sa.select(tasks.c.id).where(tasks.c.recording_id == recording_id, tasks.c.state == "waiting")
            if recording.state != "refused" and connection.execute(waiting.limit(1)).first():
                enqueueing.enqueue(
                    connection, job_kinds.INGEST_RECORDING, key=str(recording_id), recording_id=recording_id
                )
            ids.append(recording_id)
    return ids


def transcribed(context: Context, recording_ids: Sequence[int]) -> int:
    """How many of these recordings are transcribed, or cannot be."""
    mine = sa.select(sa.func.count(sa.distinct(recordings.c.id))).where(recordings.c.id.in_(recording_ids))
    known = sa.exists().where(transcriptions.c.audio_sha256 == recordings.c.sha256)
    over = sa.and_(recordings.c.state != "found", sa.or_(known, recordings.c.state != "ready"))
    return int(context.db.rows(mine.where(over))[0][0])


def choose(context: Context, manifest: Path, project_ids: Sequence[int]) -> int:
    """Admit the calls' waiting tasks, each with its reason and its place in the order of work; returns how many."""
    files = {f"{BUCKET}/{call.key}": call.path.name for call in read(manifest)}
    mine = (
        sa.select(tasks.c.id, tasks.c.project_id, recordings)
        .join(recordings, recordings.c.id == tasks.c.recording_id)
        .where(tasks.c.project_id.in_(project_ids), tasks.c.state == "waiting", tasks.c.reason == WAITS)
    )
    with context.db.transaction() as connection:
        rows = connection.execute(mine.order_by(tasks.c.id)).all()
        for row in rows:
            project = connection.execute(sa.select(projects).where(projects.c.id == row.project_id)).one()
            by_text = not labelconfig.parse(project.label_config).by_regions
            drawn = DRAWN.get(files.get(f"{row.bucket}/{row.object_key}", ""))
            values = _chosen(connection, context, project, row, None if by_text else drawn)
            db.update(connection, tasks, row[0], state="wanted", reason_code=None, reason=None, **values)
        for row in {row[2]: row for row in rows}.values():
            found = _latest(connection, row.sha256)
            if found is not None:
                drafts.draft_recording(connection, context.settings, row[2], str(found.model_version))
    return len(rows)


def _chosen(
    connection: Connection, context: Context, project: sa.Row[Any], recording: sa.Row[Any], drawn: str | None
) -> dict[str, Any]:
    """Reason and usefulness of a call's task (docs/explanation/sampling.md)."""
    found = _latest(connection, recording.sha256)
    if found is None:
        return {"selection_reason": "all", "usefulness": 0.0, "usefulness_reason": choices.NOTHING_TO_CORRECT}
    facts = selection.facts_of(connection, project, recording, Transcript.from_json(found.transcript), RecordingPiece())
    everything = choices.choose(choices.policy_of(EVERYTHING, context.settings), facts)
    some = choices.choose(choices.policy_of({"audit_share": 0, "max_confidence": 0.95}, context.settings), facts)
    reason = drawn or some.reason or "all"
    if reason == choices.BY_HAND:  # first in the order of work, so that the first task of the demo has a draft
        usefulness, why = 1.0, choices.ASKED_FOR
    elif reason in (BLIND_AUDIT, "audit"):
        usefulness, why = 0.5 + 0.5 * choices.draw(facts.name, "order"), choices.AT_RANDOM
    else:
        usefulness, why = everything.usefulness, everything.usefulness_reason or ""
    return {
        "selection_reason": reason,
        "usefulness": usefulness,
        "usefulness_reason": why,
        "expected": facts.worth.to_json() if facts.worth else None,
        "blind": reason == BLIND_AUDIT,
    }


def _latest(connection: Connection, sha256: str | None) -> sa.Row[Any] | None:
    same = sa.select(transcriptions).where(transcriptions.c.audio_sha256 == sha256)
    return connection.execute(same.order_by(transcriptions.c.id.desc()).limit(1)).first()
