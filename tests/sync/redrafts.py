"""A project with many open, drafted tasks in a scripted Label Studio, for the tests and the benchmark of redrafting."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.asr.transcript import Segment, Transcript, Word
from ml_backend.context import Context, JobContext, open_context
from ml_backend.jobs import enqueueing, job_kinds, runner
from ml_backend.labelling import labelconfig
from ml_backend.models import registry
from ml_backend.serving import default_model
from ml_backend.settings import Settings
from sync.drafts import drafts
from sync.drafts.decoding_choice import profile_of
from sync.projects import attachment
from tests.faults import label_studio

NEXT = "the-next-one"


class Drafted:
    """`number` open tasks, each with its draft by the first champion."""

    def __init__(self, context: Context, studio: label_studio.FakeLabelStudio, number: int) -> None:
        self.context, self.studio, self.number = context, studio, number
        default_model.ensure(context)
        self.first = registry.champion(context)
        self.project_id = attachment.create(context, config=labelconfig.read("calls"), title="many")
        self._fill()
        row = self.row(tables.model_versions, self.first.id)
        values = {"version": NEXT, "kind": "asr", "languages": list(self.first.languages)}
        with context.db.transaction() as connection:
            values |= {"location": row.location, "manifest": row.manifest}
            connection.execute(sa.insert(tables.model_versions).values(**values))

    def promote(self) -> None:
        """The next version becomes the champion."""
        version = registry.find(self.context, NEXT)
        registry.move_alias(self.context, version, expected_revision=1, who="test", why="better")

    def transcribe(self, *numbers: int) -> None:
        """The next version's texts, as its transcription jobs would store them; nobody is told."""
        for begin in range(0, len(numbers), 25):
            with self.context.db.transaction() as connection:
                for number in numbers[begin : begin + 25]:
                    connection.execute(sa.insert(tables.transcriptions).values(**self._heard(number, NEXT)))

    def arrive(self, number: int) -> None:
        """One transcription of the next version is ready, and its tasks are drafted, as its job does."""
        self.transcribe(number)
        with self.context.db.transaction() as connection:
            drafts.draft_recording(connection, self.context.settings, number, NEXT)

    def run(self, *kinds: str) -> int:
        """Run what waits of these kinds, whenever it is due; gives how many jobs."""
        waits = sa.and_(tables.jobs.c.name.in_(kinds), tables.jobs.c.state == "waiting")
        with self.context.db.transaction() as connection:
            connection.execute(sa.update(tables.jobs).where(waits).values(due_at=tables.now()))
        found = self.context.db.rows(sa.select(tables.jobs.c.id).where(waits).order_by(tables.jobs.c.id))
        return sum(len(runner.Runner(self.context).run(row.id)) for row in found)

    def redraft(self) -> None:
        """One look of the job, as if it had just been asked for."""
        with self.context.db.transaction() as connection:
            enqueueing.enqueue(
                connection, job_kinds.REDRAFT_PROJECT, key=str(self.project_id), project_id=self.project_id
            )
        self.run("redraft-project")

    def row(self, table: sa.Table, row_id: int) -> Any:
        return self.context.db.row(table, row_id)

    def project(self) -> Any:
        return self.row(tables.projects, self.project_id)

    def drafted(self, label: str) -> int:
        """How many tasks have a draft under a label."""
        mine = sa.select(sa.func.count()).where(tables.predictions.c.draft_label == label)
        return int(self.context.db.rows(mine)[0][0])

    def waiting(self, kind: str) -> int:
        mine = sa.select(sa.func.count()).where(tables.jobs.c.name == kind, tables.jobs.c.state == "waiting")
        return int(self.context.db.rows(mine)[0][0])

    def _heard(self, number: int, version: str) -> dict[str, Any]:
        words = tuple(Word(at, at + 0.4, f" word{number}-{at}", 0.9) for at in range(20))
        said = (Segment(0.0, 20.0, " ".join(word.text.strip() for word in words), 0, 0.6, words),)
        found = Transcript(said, "en", 0.9, 21.0, 0.6, version)
        profile = profile_of(self.project(), self.context.settings).decoding
        return {
            "recording_id": number, "audio_sha256": f"{number:064}", "model_version": version,
            "decoding_hash": profile.digest(), "decoding": {"language": None}, "language": "en", "text": found.text,
            "transcript": found.to_json(), "confidence": 0.6, "duration_s": 21.0,
        }  # fmt: skip

    def _fill(self) -> None:
        project = self.project()
        for begin in range(1, self.number + 1, 20):
            with self.context.db.transaction() as connection:
                for number in range(begin, min(begin + 20, self.number + 1)):
                    recording = {
                        "id": number, "source": "object", "source_identity": f"s3://b/{number}.wav", "state": "ready",
                        "sha256": f"{number:064}", "duration_s": 21.0, "quality": {"label": "good"},
                        "language": "en", "language_by": "detected",
                    }  # fmt: skip
                    connection.execute(sa.insert(tables.recordings).values(**recording))
                    connection.execute(
                        sa.insert(tables.transcriptions).values(**self._heard(number, self.first.version))
                    )
                    task = {
                        "id": number, "project_id": self.project_id, "recording_id": number,
                        "external_key": str(number),
                        "ls_task_id": self.studio.add_task(project.ls_project_id, {"audio": f"s3://b/{number}.wav"}),
                        "data_value": f"s3://b/{number}.wav",
                        "origin": "ours", "state": "open",
                    }  # fmt: skip
                    connection.execute(sa.insert(tables.tasks).values(**task))
                    drafts.draft_recording(connection, self.context.settings, number, self.first.version)
        with self.context.db.transaction() as connection:
            there = {"delivered_by": "push", "delivered_at": tables.now(), "confirmed_at": tables.now()}
            connection.execute(sa.update(tables.predictions).values(**there))
            connection.execute(sa.update(tables.tasks).values(status_shown=tables.tasks.c.status_line))
            connection.execute(sa.delete(tables.jobs))


@contextmanager
def drafted(folder: Path, number: int, **settings: Any) -> Iterator[Drafted]:
    with label_studio.running() as studio:
        made = Settings(
            _env_file=None, data_dir=folder, label_studio_url=studio.url, label_studio_api_key=label_studio.TOKEN,
            label_studio_webhook_secret="hook-secret-of-a-test", label_studio_local_files_root=str(folder),
            public_url="http://127.0.0.1:1", **settings,
        )  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        db.upgrade(made.database)
        opened = open_context(made)
        yield Drafted(JobContext(opened.settings, opened.db, opened.store, opened.kept), studio, number)
        opened.db.dispose()
