"""A small deployment for tests of the web app: real database, real app, rows made by hand."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask
from werkzeug.test import TestResponse

from ml_backend import tables
from ml_backend.context import Context
from ml_backend.labelling import labelconfig

FIXTURES = Path(__file__).parents[2] / "fixtures" / "label-studio"
ORIGINAL = labelconfig.read("original")
USER, PASSWORD, SECRET, TOKEN = "label-studio", "p" * 24, "s" * 24, "t" * 24
BASIC = {"Authorization": "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
WEBHOOK = {"X-Webhook-Secret": SECRET}
OPERATE = "o" * 24
BEARER = {"Authorization": f"Bearer {TOKEN}"}
OPERATOR = {"Authorization": f"Bearer {OPERATE}"}
PROJECT = 23


def exchange(name: str) -> dict[str, Any]:
    """One recorded exchange with Label Studio."""
    return json.loads((FIXTURES / f"{name}.json").read_text())


@dataclass
class Serving:
    """The app, its context, and shorthands."""

    app: Flask
    context: Context

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None, **options: Any) -> TestResponse:
        headers = BASIC if headers is None else headers
        return self.app.test_client().post(path, json=body, headers=headers, **options)

    def get(self, path: str, headers: dict[str, str] | None = None) -> TestResponse:
        return self.app.test_client().get(path, headers=headers)

    def predict(self, tasks: list[Any], *, config: str = ORIGINAL, context: Any = None) -> list[Any]:
        params = {"login": None, "password": None, "context": context}
        body = {"tasks": tasks, "project": f"{PROJECT}.1795340392", "label_config": config, "params": params}
        response = self.post("/predict", body)
        assert response.status_code == 200, response.get_data(as_text=True)
        return response.get_json()["results"]

    def setup(self, *, config: str = ORIGINAL, **more: Any) -> TestResponse:
        return self.post("/setup", {"project": f"{PROJECT}.1795340392", "schema": config, **more})

    def rows(self, table: sa.Table) -> list[Any]:
        return list(self.context.db.rows(sa.select(table).order_by(*table.primary_key.columns)))

    def jobs(self, name: str) -> list[Any]:
        return [row for row in self.rows(tables.jobs) if row.name == name]

    def project(self, **values: Any) -> int:
        """A project row, as `project attach` leaves it."""
        row = {
            "instance_url": self.context.settings.label_studio_url,
            "ls_project_id": PROJECT,
            "state": "attached",
            "label_config": ORIGINAL,
            "config_sha256": labelconfig.digest(ORIGINAL),
            "extra_params": {},
            **values,
        }
        return self.insert(tables.projects, row)

    def task(self, project_id: int, ls_task_id: int, **values: Any) -> int:
        """A task row of ours."""
        row = {
            "project_id": project_id,
            "ls_task_id": ls_task_id,
            "external_key": f"{project_id}-{ls_task_id}",
            "data_value": audio(ls_task_id),
            "origin": "label-studio",
            "state": "open",
            **values,
        }
        return self.insert(tables.tasks, row)

    def prediction(self, project_id: int, task_id: int, text: str = "नमस्ते", **values: Any) -> int:
        """A finished prediction; delivered long ago unless told otherwise."""
        label = values.get("draft_label", "draft-1")
        item = {
            "id": "text", "from_name": "transcription", "to_name": "audio", "type": "textarea",
            "value": {"text": [text]},
        }  # fmt: skip
        row = {
            "task_id": task_id,
            "project_id": project_id,
            "draft_label": label,
            "model_version": "secret-model-7",
            "config_sha256": labelconfig.digest(ORIGINAL),
            "body": json.dumps({"model_version": label, "score": 0.8, "result": [item]}, ensure_ascii=False),
            "delivered_by": "push",
            "delivered_at": tables.now() - timedelta(hours=1),
            **values,
        }
        return self.insert(tables.predictions, row)

    def drafted(self, *ls_task_ids: int, **values: Any) -> int:
        """A project with these tasks, each with its prediction."""
        project_id = self.project()
        for ls_task_id in ls_task_ids:
            task_id = self.task(project_id, ls_task_id)
            self.prediction(project_id, task_id, f"text of {ls_task_id}", **values)
        return project_id

    def bump(self, project_id: int, **values: Any) -> None:
        with self.context.db.transaction() as connection:
            connection.execute(
                sa.update(tables.projects)
                .where(tables.projects.c.id == project_id)
                .values(revision=tables.projects.c.revision + 1, **values)
            )

    def insert(self, table: sa.Table, row: dict[str, Any]) -> int:
        with self.context.db.transaction() as connection:
            return int(connection.execute(sa.insert(table).values(**row).returning(table.c.id)).scalar_one())


def audio(ls_task_id: int) -> str:
    """The audio value of a task."""
    return f"s3://speech/utt-{ls_task_id}.wav"


def task(ls_task_id: int, **more: Any) -> dict[str, Any]:
    """A task as Label Studio sends it."""
    return {"id": ls_task_id, "data": {"audio": audio(ls_task_id)}, "annotations": [], "predictions": [], **more}


def texts(results: list[Any]) -> list[str | None]:
    """The drafted text of every entry, None for an empty one."""
    return [entry["result"][0]["value"]["text"][0] if entry else None for entry in results]
