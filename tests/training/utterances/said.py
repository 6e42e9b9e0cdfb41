"""Calls with two channels as ingest and transcription leave them: who said what, and what people corrected."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.asr.transcript import Segment, Transcript
from ml_backend.context import JobContext
from ml_backend.labelling import labelconfig
from tests.training.utterances.rows import open_in
from training.samples.sampling import sample_task

COMPANY = "number-of-the-company"
AGENT, CUSTOMER = 0, 1
Turns = Sequence[tuple[int, str]]


class Calls:
    """A database with calls in it. Rows are an hour old, so that no run reads them twice."""

    def __init__(self, folder: Path, *, database_url: str = "", **chosen: Any) -> None:
        opened = open_in(folder, database_url=database_url, **chosen)
        self.context = JobContext(opened.settings, opened.db, opened.store)
        self.number = self.samplings = 0
        self.at = tables.now() - timedelta(hours=1)
        self.insert(tables.company_numbers, pseudonym=COMPANY, agent_channel=AGENT)
        self.project_id = self.insert(
            tables.projects, instance_url="http://label-studio", ls_project_id=1, state="attached",
            label_config=labelconfig.read("calls"),
        )  # fmt: skip

    def insert(self, table: sa.Table, **values: Any) -> int:
        with self.context.db.transaction() as connection:
            made = sa.insert(table).values(**values).returning(table.c.id)
            return int(connection.execute(made).scalar_one())

    def rows(self, table: sa.Table = tables.utterances, **where: Any) -> Sequence[Any]:
        statement = sa.select(table).order_by(table.c.id)
        for name, value in where.items():
            statement = statement.where(table.c[name] == value)
        return self.context.db.rows(statement)

    def call(self, turns: Turns, *, caller: str = "", purpose: str | None = None, **values: Any) -> int:
        """A transcribed call; gives its recording's id."""
        self.number += 1
        call_id = self.insert(
            tables.calls, provider="exotel", call_sid=f"sid-{self.number}", consent_purpose=purpose,
            from_pseudonym=caller or f"caller-{self.number}", to_pseudonym=COMPANY, company_number=COMPANY,
            direction="inbound", state="tasked",
        )  # fmt: skip
        common = {
            "source": "exotel", "source_identity": f"sid-{self.number}", "call_id": call_id,
            "call_sid": f"sid-{self.number}", "sha256": f"{self.number:064d}", "duration_s": 60.0, "channels": 2,
            "state": "ready",
        }  # fmt: skip
        recording_id = self.insert(tables.recordings, **common | values)
        self.transcribe(recording_id, turns)
        return recording_id

    def transcribe(self, recording_id: int, turns: Turns, *, confidence: float = 0.8, version: str = "v1") -> None:
        segments = tuple(
            Segment(3.0 * number, 3.0 * number + 2.5, text, channel, confidence)
            for number, (channel, text) in enumerate(turns)
        )
        made = Transcript(segments, "en", 0.9, 60.0, confidence, version)
        self.insert(
            tables.transcriptions, recording_id=recording_id, audio_sha256=f"{recording_id:064d}", decoding={},
            model_version=version, decoding_hash="h", language="en", language_probability=0.9, text=made.text,
            transcript=made.to_json(), confidence=confidence, duration_s=60.0, created_at=self.at,
        )  # fmt: skip

    def correct(
        self,
        recording_id: int,
        turns: Turns,
        *,
        labels: bool = False,
        sampled: bool = True,
        written: Any = None,
        **task: Any,
    ) -> int:
        """A person wrote this; the samples are made as the job makes them. `written`: more of the annotation."""
        self.number += 1
        names = {AGENT: ["Agent"], CUSTOMER: ["Customer"]} if labels else {}
        channels = self.context.db.row(tables.recordings, recording_id).channels
        regions = [
            {"start_s": 3.0 * n, "end_s": 3.0 * n + 2.5, "channel": who if channels == 2 else 0, "text": text,
             "labels": names.get(who, [])}
            for n, (who, text) in enumerate(turns)
        ]  # fmt: skip
        task_id = self.insert(
            tables.tasks, project_id=self.project_id, recording_id=recording_id, origin="ours", state="annotated",
            external_key=f"task-{self.number}", ls_task_id=self.number, **{"end_s": 60.0, **task},
        )  # fmt: skip
        annotation = {
            "project_id": self.project_id, "task_id": task_id, "ls_annotation_id": self.number,
            "ls_updated_at": tables.now(), "annotator": 7, "result": [], "language": "en", "segments": regions,
            "reject": [], "choices": {}, "text": " ".join(text for _, text in turns), "edited": "manual",
            "created_at": self.at,
        }  # fmt: skip
        self.insert(tables.annotations, **annotation | (written or {}))
        if sampled:
            self.sample(task_id)
        return task_id

    def sample(self, task_id: int) -> None:
        """What the job does, some seconds after it did so for another task."""
        self.samplings += 1
        sample_task(self.context, task_id)
        mine = sa.update(tables.samples).where(tables.samples.c.task_id == task_id)
        with self.context.db.transaction() as connection:
            connection.execute(mine.values(created_at=self.at + timedelta(seconds=self.samplings)))
