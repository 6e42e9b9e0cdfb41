"""A project in which people say what texts mean, with its utterances and tasks. No Label Studio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.context import JobContext, open_context
from ml_backend.labelling import labelconfig
from ml_backend.labelling.utterance_marks import digest
from ml_backend.settings import Settings
from sync.tasks import utterance_tasks


class Texts:
    def __init__(self, folder: Path, **chosen: Any) -> None:
        settings = Settings(_env_file=None, data_dir=folder, database_url="", **chosen)
        db.upgrade(settings.database)
        opened = open_context(settings)
        self.context = JobContext(opened.settings, opened.db, opened.store)
        self.project_id = self.insert(
            tables.projects, instance_url="http://label-studio", ls_project_id=1, state="attached", config_sha256="c",
            label_config=labelconfig.read("nlu"),
        )  # fmt: skip

    def insert(self, table: sa.Table, **values: Any) -> int:
        with self.context.db.transaction() as connection:
            return int(connection.execute(sa.insert(table).values(**values).returning(table.c.id)).scalar_one())

    def utterance(self, number: int, **values: Any) -> int:
        text = f"where is my order {number}"
        row = {"origin": "calls", "external_id": str(number), "source": "call", "text": text, "state": "waiting",
               "digest": digest(text, None, (), None)}  # fmt: skip
        return self.insert(tables.utterances, **row | values)

    def rows(self, table: sa.Table) -> list[Any]:
        return list(self.context.db.rows(sa.select(table).order_by(table.c.id)))

    def task(self, text: str | None, **values: Any) -> Any:
        number = len(self.rows(tables.tasks)) + 1
        row = {"project_id": self.project_id, "ls_task_id": number, "external_key": f"k{number}", "data_value": text,
               "origin": "label-studio", "state": "open"}  # fmt: skip
        return self.context.db.row(tables.tasks, self.insert(tables.tasks, **row | values))

    def adopt(self, task: Any) -> None:
        with self.context.db.transaction() as connection:
            utterance_tasks.adopt(connection, self.context.db.row(tables.tasks, task.id))
