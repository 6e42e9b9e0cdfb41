"""The changes that attaching made in a Label Studio project (`projects.attached_changes`), and the draft label.

Each step is recorded as `making` before it is made, `done` after and `undone` when detached, with the replaced value.

Label Studio accepts as `model_version` only the version of an existing prediction of the project, or a backend's title.
So the label of a new project is set after its first prediction; until then the label stream asks the backend itself.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ml_backend import db
from ml_backend.context import Context
from ml_backend.errors import PermanentError
from ml_backend.tables import projects
from sync.label_studio.label_studio_client import LabelStudioClient

STORAGE, BACKEND, WEBHOOK, MODEL_VERSION = "storage", "ml-backend", "webhook", "model-version"


def note(context: Context, row_id: int, what: str, state: str, **details: Any) -> None:
    """Record a step: `making` before it is made, `done` after, `undone` when detached. First values are kept."""
    with context.db.transaction() as connection:
        record = connection.execute(sa.select(projects.c.attached_changes).where(projects.c.id == row_id)).scalar_one()
        record = {**(record or {}), "steps": [dict(step) for step in (record or {}).get("steps", [])]}
        step = next((s for s in record["steps"] if s["what"] == what), None)
        if step is None:
            step = {"what": what}
            record["steps"].append(step)
        again = step.get("state") == "undone"
        for name, value in details.items():
            if again or name not in step or name in ("id", "kind", "new"):
                step[name] = value
        step["state"] = state
        db.update(connection, projects, row_id, attached_changes=record)


def finish(context: Context, row_id: int, what: str, **details: Any) -> None:
    """Complete a step whose result already exists: it is ours if an earlier run recorded `making`."""
    step = step_of(context, row_id, what)
    if step is not None and step["state"] in ("making", "done"):
        note(context, row_id, what, "done", **details)


def step_of(context: Context, row_id: int, what: str) -> dict[str, Any] | None:
    record = context.db.row(projects, row_id).attached_changes or {}
    found = next((s for s in record.get("steps", []) if s["what"] == what), None)
    return dict(found) if found and found["state"] != "undone" else None


def show_label(context: Context, client: LabelStudioClient, project: sa.Row[Any], label: str) -> bool:
    """Put the label stream into static mode under `label`; False while no prediction has that label. Safe to repeat."""
    try:
        client.change_project(project.ls_project_id, model_version=label)
    except PermanentError as error:
        if error.status != 400:
            raise
        return False
    note(context, project.id, MODEL_VERSION, "done", new=label)
    return True


def label_shown(context: Context, project: sa.Row[Any]) -> bool:
    """Whether our record says that the project is in static mode under its draft label."""
    step = step_of(context, project.id, MODEL_VERSION)
    return step is not None and step["state"] == "done" and step.get("new") == project.draft_label
