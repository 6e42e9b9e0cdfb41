"""A small world with people in it, for the tests of privacy: calls with raw events, audio, text, drafts and tasks."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.calls import ledger, pseudonyms
from ml_backend.context import JobContext, open_context
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.labelling import labelconfig
from ml_backend.serving import default_model
from ml_backend.settings import Settings
from sync.exotel import callbacks as calls
from sync.tasks import selection

ELSEWHERE = "http://label-studio.example"
ANNA, BERT, COMPANY = "00000000101", "00000000202", "00000000001"


class People:
    """Calls by known people, each stored, heard, drafted, annotated. No Label Studio: tasks are not there yet."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        found = Settings(
            _env_file=None, data_dir=folder, audit_share=0.0, overlap_share=0.0, min_free_disk_mb=0, **settings
        )
        db.upgrade(found.database)
        opened = open_context(found)
        default_model.ensure(opened)
        self.context = JobContext(opened.settings, opened.db, opened.store)
        self.key = pseudonyms.key_of(found)
        with self.context.db.transaction() as connection:
            own = {"pseudonym": pseudonyms.pseudonym(COMPANY, self.key), "name": "Support"}
            connection.execute(sa.insert(tables.company_numbers).values(**own))
        for bucket in ("call-recordings", found.audio_bucket):
            opened.store.ensure_bucket(bucket)

    def call(self, sid: str, number: str, *, began: datetime | None = None, annotated: bool = True) -> int:
        """One call of a person, with all that hangs on it; gives the recording's id."""
        began = began or tables.now() - timedelta(days=2)
        event_id = self.event(sid, number, began)
        calls.read_call_event(self.context, event_id)
        sha = sid.rjust(64, "0")
        original, derived = f"recordings/2026/11/20/{sid}.mp3", f"derived/{sha}/audio.wav"
        store, ours = self.context.store, self.context.settings.audio_bucket
        store.put_bytes("call-recordings", original, f"sound of {sid}".encode())
        store.put_bytes(ours, derived, f"normalised {sid}".encode())
        store.put_bytes(ours, f"derived/{sha}/0-300000.wav", f"a piece of {sid}".encode())
        with self.context.db.transaction() as connection:
            [row] = connection.execute(sa.select(tables.recordings).where(tables.recordings.c.call_sid == sid)).all()
            values = {
                "state": "ready", "sha256": sha, "bucket": "call-recordings", "object_key": original,
                "derived_key": derived, "duration_s": 8.0, "quality_score": 0.9, "known_text": f"text of {sid}",
            }  # fmt: skip
            db.update(connection, tables.recordings, row.id, **values)
            said = {
                "recording_id": row.id, "audio_sha256": sha, "model_version": "m1", "decoding_hash": "h",
                "decoding": {}, "text": f"words of {sid}", "transcript": {"text": f"words of {sid}"},
                "confidence": 0.5, "duration_s": 8.0,
            }  # fmt: skip
            connection.execute(sa.insert(tables.transcriptions).values(**said))
            project = self.project(connection)
            task_id, _ = selection.request_task(connection, project, row, reason="review")
            if annotated:
                self._annotate(connection, project, task_id, sid)
            ledger.recording_moved(connection, row.id)
        return int(row.id)

    def event(self, sid: str, number: str, began: datetime, *, extra: str = "") -> int:
        """A raw callback, as the receiver keeps it."""
        body = json.dumps({
            "CallSid": sid, "From": number, "To": COMPANY, "PhoneNumberSid": COMPANY, "Status": "completed",
            "Direction": "inbound", "StartTime": f"{began + timedelta(hours=5, minutes=30):%Y-%m-%d %H:%M:%S}",
            "RecordingUrl": f"https://recordings.exotel.com/exotelrecordings/a/{sid}.mp3", "CustomField": extra,
        })  # fmt: skip
        return self._insert(tables.events, {
            "source": "exotel", "method": "POST", "content_type": "application/json", "body": body.encode(),
            "digest": "d", "once_key": f"{sid}{extra}", "call_sid": sid,
        })  # fmt: skip

    def project(self, connection: Any) -> Any:
        values = {
            "instance_url": self.context.settings.label_studio_url or ELSEWHERE, "ls_project_id": 1,
            "state": "attached", "label_config": labelconfig.read("calls"),
        }  # fmt: skip
        row_id, _ = db.insert_once(connection, tables.projects, values, key=("instance_url", "ls_project_id"))
        return connection.execute(sa.select(tables.projects).where(tables.projects.c.id == row_id)).one()

    def _annotate(self, connection: Any, project: Any, task_id: int, sid: str) -> None:
        db.update(connection, tables.tasks, task_id, state="annotated", status_line="draft ready")
        draft = {"task_id": task_id, "project_id": project.id, "draft_label": "draft-1", "model_version": "m1",
                 "config_sha256": "", "body": json.dumps({"result": [f"draft of {sid}"]})}  # fmt: skip
        connection.execute(sa.insert(tables.predictions).values(**draft))
        written = {
            "project_id": project.id, "task_id": task_id, "ls_annotation_id": task_id,
            "ls_updated_at": tables.now(), "result": [{"written": sid}], "text": f"written of {sid}",
        }  # fmt: skip
        connection.execute(sa.insert(tables.annotations).values(**written))
        key = connection.execute(sa.select(tables.tasks.c.external_key).where(tables.tasks.c.id == task_id)).scalar()
        body = {"action": "ANNOTATION_CREATED", "annotation": {"id": task_id, "result": [f"written of {sid}"]},
                "task": {"id": 900 + task_id, "data": {"kaan_key": key}}}  # fmt: skip
        hook = {"source": "label-studio", "method": "POST", "body": json.dumps(body).encode(), "digest": "d"}
        connection.execute(sa.insert(tables.events).values(**hook))

    def rows(self, table: sa.Table, **wanted: Any) -> list[Any]:
        return list(self.context.db.rows(sa.select(table).filter_by(**wanted)))

    def objects(self) -> list[str]:
        """Every object in both buckets but what models are made of."""
        buckets = ("call-recordings", self.context.settings.audio_bucket)
        found = [f"{bucket}/{item.key}" for bucket in buckets for item in self.context.store.list(bucket)]
        return [name for name in found if not name.startswith("kaan-audio/models/")]

    def everything(self) -> str:
        """All rows of all tables as one text, to search for what must not be there."""
        with self.context.db.reading() as connection:
            tables_ = tables.metadata.sorted_tables
            return "\n".join(str(tuple(row)) for table in tables_ for row in connection.execute(sa.select(table)))

    def jobs(self, *states: str) -> list[Any]:
        return [row for row in self.rows(tables.jobs) if row.state in states]

    def enqueue(self, kind: job_kinds.JobKind, recording_id: int) -> int:
        with self.context.db.transaction() as connection:
            return enqueueing.enqueue(connection, kind, key=str(recording_id), recording_id=recording_id)

    def _insert(self, table: sa.Table, values: dict[str, Any]) -> int:
        with self.context.db.transaction() as connection:
            return int(connection.execute(sa.insert(table).values(**values).returning(table.c.id)).scalar_one())
