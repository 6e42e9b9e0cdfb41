"""Bundled calls with samples, as the way in leaves them: real recordings, real normalised audio, real rows."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.context import Context
from ml_backend.jobs import job_kinds
from sync.recordings.sources import RecordingSource, add_recording
from tests.sync import offline

CALLS = Path(__file__).resolve().parents[3] / "ml_backend" / "bundled" / "calls"
TEXTS = {call["file"]: call["text"] for call in json.loads((CALLS / "calls.json").read_text(encoding="utf-8"))}
AT = datetime(2026, 3, 4, 10, tzinfo=UTC)
COMPANY = f"{'c' * 24}-99"


def caller(number: int) -> str:
    return f"{number:024x}-{number % 100:02d}"


@dataclass
class Service:
    """A service without Label Studio, and what was put into it."""

    offline: offline.Offline
    annotations: int = 0
    recordings: dict[str, int] = field(default_factory=dict)

    @property
    def context(self) -> Context:
        return self.offline.context

    def call(self, file: str, *, who: str | None, sid: str | None = None, **known: Any) -> int:
        """A bundled call from a person (a pseudonym), ingested; gives its recording's id."""
        context = self.context
        context.store.ensure_bucket("call-recordings")
        sid = sid or f"sid-{file}-{len(self.recordings)}"
        key = f"recordings/2026/03/04/{sid}{Path(file).suffix}"
        context.store.put_file("call-recordings", key, CALLS / file)
        purpose, started_at = known.pop("consent_purpose", None), known.pop("started_at", AT)
        call_id = self.offline.call(
            call_sid=sid, from_pseudonym=who, to_pseudonym=COMPANY, company_number=COMPANY, direction="inbound",
            consent_purpose=purpose, started_at=started_at,
        )  # fmt: skip
        with context.db.transaction() as connection:
            db.insert_once(connection, tables.company_numbers, {"pseudonym": COMPANY}, key=("pseudonym",))
            recording_id, _ = add_recording(connection, RecordingSource("object", f"s3://call-recordings/{key}"))
            db.update(connection, tables.recordings, recording_id, call_id=call_id, call_sid=sid, **known)
        self.offline.run(job_kinds.INGEST_RECORDING, recording_id=recording_id)
        assert self.offline.row(tables.recordings, recording_id).state == "ready"
        self.recordings[sid] = recording_id
        return recording_id

    def sample(self, recording_id: int, start_s: float, end_s: float, text: str, **known: Any) -> int:
        """One accepted sample of a recording; `reason` selects its task, `ls` is Label Studio's annotation id."""
        self.annotations += 1
        row = self.offline.row(tables.recordings, recording_id)
        ls_id = known.pop("ls", self.annotations)
        with self.context.db.transaction() as connection:
            project = {"instance_url": "http://ls", "ls_project_id": 7, "title": "Orders"}
            project_id, _ = db.insert_once(connection, tables.projects, project, key=("instance_url", "ls_project_id"))
            task_id = _insert(
                connection, tables.tasks, project_id=project_id, recording_id=recording_id, ls_task_id=ls_id,
                external_key=f"task-{ls_id}", origin="ours", state="annotated", blind=known.get("blind", False),
                selection_reason=known.pop("reason", "blind" if known.get("blind") else "review"),
                selection_probability=0.5,
            )  # fmt: skip
            annotation_id = _insert(
                connection, tables.annotations, project_id=project_id, task_id=task_id, ls_task_id=ls_id,
                ls_annotation_id=ls_id, ls_updated_at=AT, result=[], text=text, model_version="asr-1",
            )  # fmt: skip
            values = {
                "channel": 0, "language": "hi", "script": "Deva", "state": "accepted", "number": 0,
                "accepted_at": tables.now(), "quality": None, "accent": None, **known,
            }  # fmt: skip
            said = [row.sha256, start_s, end_s, values["channel"], text, values["language"]]
            return _insert(
                connection, tables.samples, project_id=project_id, task_id=task_id, annotation_id=annotation_id,
                recording_id=recording_id, start_s=start_s, end_s=end_s, text=text,
                digest=hashlib.sha256(json.dumps(said).encode()).hexdigest(), **values,
            )  # fmt: skip


def opened(folder: Path, **settings: Any) -> Service:
    return Service(offline.opened(folder, **settings))


def _insert(connection: Any, table: sa.Table, **values: Any) -> int:
    return int(connection.execute(sa.insert(table).values(**values).returning(table.c.id)).scalar_one())
