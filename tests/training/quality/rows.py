"""Rows for one test: a project, tasks over recordings, and annotations in the shape the way in stores them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.db import Database
from ml_backend.labelling import labelconfig
from ml_backend.labelling.reference import to_reference
from tests.training.quality import team

SECONDS = 20.0


class Rows:
    """Makes rows; whatever a test does not say is plain."""

    def __init__(self, database: Database, **project: Any) -> None:
        self.database = database
        self.project_id = team.project(database, **project)
        self._clock = 0

    def task(self, number: int, **values: Any) -> int:
        """A task over a recording of 20 seconds."""
        audio = {"id": number, "source": "object", "source_identity": f"s3://calls/{number}.wav", "duration_s": SECONDS}
        row = {
            "id": number, "project_id": self.project_id, "recording_id": number, "ls_task_id": 1000 + number,
            "external_key": f"key-{number}", "origin": "ours", "state": "open",
        }  # fmt: skip
        with self.database.transaction() as connection:
            connection.execute(sa.insert(tables.recordings).values(**audio))
            connection.execute(sa.insert(tables.tasks).values(**row | values))
        return number

    def annotation(self, number: int, task_id: int | None, **values: Any) -> int:
        """One state of an annotation, a minute after the one before; gives the row's id."""
        self._clock += 1
        at = team.BEGAN + timedelta(minutes=self._clock)
        row = {
            "project_id": self.project_id, "task_id": task_id, "ls_annotation_id": number, "ls_created_at": team.BEGAN,
            "ls_task_id": 1000 + task_id if task_id else None, "ls_updated_at": at, "annotator": 1, "result": [],
            "text": "मेरा ऑर्डर कहाँ है", "model_version": "small-1", "lead_time_s": 30.0, "edited": "untouched",
            "draft": {"text": "मेरा ऑर्डर कहाँ है", "confidence": 0.7}, "measures": measures(),
        }  # fmt: skip
        config = self.database.row(tables.projects, self.project_id).label_config
        row["choices"] = dict(to_reference(values.get("result") or [], labelconfig.parse(config)).choices)
        with self.database.transaction() as connection:
            made = sa.insert(tables.annotations).values(**row | values).returning(tables.annotations.c.id)
            return int(connection.execute(made).scalar_one())

    def agreement(self, task_id: int, first: int, second: int, **counts: Any) -> None:
        """What two people agree on, by rows of annotations."""
        row = {"task_id": task_id, "first_id": first, "second_id": second, "counts": counts}
        with self.database.transaction() as connection:
            connection.execute(sa.insert(tables.agreements).values(**row))


def measures(words: int = 10, edits: int = 0, **more: Any) -> dict[str, Any]:
    """Counts against the draft, as the job that samples a task stores them."""
    counts = {"words": words, "word_edits": edits, "chars": 5 * words, "char_edits": 2 * edits}
    return {"normaliser": "indic@1", **counts, "unchanged": edits == 0, **more}
