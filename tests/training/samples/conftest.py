"""A project with tasks and annotations in a real database, as the way in leaves them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.context import JobContext
from ml_backend.db import Database
from ml_backend.labelling import labelconfig, rendering
from ml_backend.settings import Settings
from ml_backend.storage.local_store import LocalStore
from ml_backend.tables import agreements, annotations, projects, recordings, samples, tasks, transcriptions
from tests.servers import postgres
from training.samples.sampling import sample_task

Words = Sequence[tuple[float, float, str]]


def words_of(text: str, *, start_s: float = 0.0, each_s: float = 0.5, pause_s: float = 1.0, every: int = 6) -> Words:
    """Word times: every few words a pause."""
    found, at = [], start_s
    for number, word in enumerate(text.split()):
        if number and number % every == 0:
            at += pause_s
        found.append((round(at, 3), round(at + each_s - 0.05, 3), word))
        at += each_s
    return found


@dataclass
class World:
    """Makes rows; `sample()` runs the job and gives the task's samples."""

    context: JobContext
    project_id: int = 0
    number: int = field(default=0)

    def project(self, **values: Any) -> int:
        self.number += 1
        common = {
            "instance_url": "http://label-studio", "ls_project_id": self.number, "state": "attached",
            "label_config": labelconfig.read("calls"), "script_policy": {"hi": "Deva", "mr": "Deva", "en": "Latn"},
        }  # fmt: skip
        self.project_id = self._insert(projects, **common | values)
        return self.project_id

    def task(
        self,
        *,
        length_s: float = 20.0,
        channels: int = 1,
        start_s: float = 0.0,
        end_s: float | None = None,
        **more: Any,
    ) -> int:
        self.number += 1
        recording_id = self._insert(
            recordings, source="object", source_identity=f"s3://calls/{self.number}.wav", state="ready",
            sha256=f"{self.number:064d}", duration_s=length_s, channels=channels,
        )  # fmt: skip
        return self._insert(
            tasks, project_id=self.project_id, recording_id=recording_id, start_s=start_s, end_s=end_s,
            ls_task_id=self.number, external_key=f"key-{self.number}", origin="ours", state="open", **more,
        )  # fmt: skip

    def heard(self, task_id: int, words: Words, *, language: str = "hi", certainty: float = 0.99) -> None:
        """A transcription of the task's recording."""
        recording_id = self.context.db.row(tasks, task_id).recording_id
        transcript = {
            "segments": [
                {"start_s": 0.0, "end_s": 1.0, "channel": 0, "text": "",
                 "words": [{"start_s": a, "end_s": b, "text": t, "probability": 0.9} for a, b, t in words]}
            ]
        }  # fmt: skip
        self._insert(
            transcriptions, recording_id=recording_id, audio_sha256="a" * 64, model_version="v1",
            decoding_hash=f"h{task_id}", decoding={}, language=language, language_probability=certainty,
            text=" ".join(t for _, _, t in words), transcript=transcript, confidence=0.9, duration_s=60.0,
        )  # fmt: skip

    def annotate(
        self,
        task_id: int,
        text: str = "",
        *,
        regions: Sequence[tuple[float, float, int, str]] = (),
        draft: str | None = None,
        words: Sequence[tuple[Any, ...]] = (),
        **values: Any,
    ) -> int:
        """`regions` are (start, end, channel, text), `words` those of its draft, with a channel or not."""
        self.number += 1
        shown = draft if draft is not None else " ".join(w[2] for w in words) if words else None
        common = {
            "project_id": self.project_id, "task_id": task_id, "ls_annotation_id": self.number, "result": [],
            "ls_updated_at": tables.now() + timedelta(seconds=self.number), "annotator": self.number, "language": "hi",
            "text": text or " ".join(t for *_, t in regions if t),
            "segments": [{"start_s": a, "end_s": b, "channel": c, "text": t, "labels": []} for a, b, c, t in regions],
            "reject": [], "edited": "manual" if shown is None else "edited",
            "draft": None if shown is None else {
                "text": shown, "language": "hi", "language_probability": 0.95,
                "words": [
                    {"start_s": w[0], "end_s": w[1], "text": w[2], "probability": 0.9,
                     "channel": w[3] if len(w) > 3 else 0}
                    for w in words
                ],
            },
        }  # fmt: skip
        label_config = self.context.db.row(projects, self.project_id).label_config
        said = rendering.to_reference(values.get("result") or [], labelconfig.parse(label_config))
        common |= {"choices": dict(said.choices), "redraft": said.redraft}
        return self._insert(annotations, **common | values)

    def sample(self, task_id: int) -> Sequence[Any]:
        sample_task(self.context, task_id)
        return self.context.db.rows(sa.select(samples).where(samples.c.task_id == task_id).order_by(samples.c.number))

    def agreements(self, task_id: int) -> Sequence[Any]:
        return self.context.db.rows(sa.select(agreements).where(agreements.c.task_id == task_id))

    def _insert(self, table: sa.Table, **values: Any) -> int:
        with self.context.db.transaction() as connection:
            return int(connection.execute(sa.insert(table).values(**values).returning(table.c.id)).scalar_one())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    yield from _world(f"sqlite:///{tmp_path / 'kaan.db'}", tmp_path)


@pytest.fixture
def world_on_postgresql(tmp_path: Path) -> Iterator[World]:
    with postgres.running() as server:
        yield from _world(server.database(), tmp_path)


def _world(url: str, tmp_path: Path) -> Iterator[World]:
    db.upgrade(url)
    settings = Settings(_env_file=None, data_dir=tmp_path, database_url=url)
    database = Database(url)
    made = World(JobContext(settings, database, LocalStore(tmp_path / "objects")))
    made.project()
    yield made
    database.dispose()
