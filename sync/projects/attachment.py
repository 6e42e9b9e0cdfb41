"""Label Studio projects and this service: create, attach and detach a project.

Attaching keeps config, tasks and annotations, and changes four things: a source storage for our audio, the ML backend,
its webhook with the secret header, and `model_version`, which puts the label stream into static mode. Each change is
recorded before it is made and again when it is done, with the value it replaced. So an interrupted run can be
repeated, and detaching undoes the list in reverse order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ml_backend import db, languages, quantities, tables
from ml_backend.context import Context
from ml_backend.errors import ConfigurationError, PermanentError
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.labelling import labelconfig
from ml_backend.settings import Settings
from ml_backend.tables import projects
from sync.label_studio import streams
from sync.label_studio.attached_changes import BACKEND, MODEL_VERSION, STORAGE, WEBHOOK, note, show_label, step_of
from sync.label_studio.label_studio_client import LabelStudioClient, client_of
from sync.projects import connections, my_day_link
from sync.projects.connections import TITLE, hook_url, our_storage, same
from sync.projects.project_sync import project_of
from sync.tasks import ratings

# For a project we create: each language in its own script. English words in a Hindi call are in Roman letters, as the
# bundled model and most annotators write them; datasets leave out Hindi words in Roman letters.
SCRIPT_POLICY = {language.code: language.policy for language in languages.OFFERED}


@dataclass(frozen=True)
class ProjectChange:
    """One change to a Label Studio project. `needed` is False if the project is already in that state."""

    what: str
    sentence: str
    needed: bool = True


@dataclass(frozen=True)
class AttachmentPlan:
    """The changes that attaching will make, in order; their consequences; and warnings."""

    project: dict[str, Any]
    changes: tuple[ProjectChange, ...]
    notices: tuple[str, ...]
    warnings: tuple[str, ...]


def create(context: Context, *, config: str, title: str, extra_params: Mapping[str, Any] | None = None) -> int:
    """A new Label Studio project with this labelling config, attached; gives our row's id.

    Safe to repeat: a project of ours with the same title and config is used again, even if its creation got no answer.
    """
    _require(context.settings)
    controls = labelconfig.parse(config)
    if controls.problems:
        raise ConfigurationError("config-unusable", " ".join(controls.problems), "Correct the labelling config.")
    client = client_of(context)
    ls_id = _made_before(context, client, title, config)
    if ls_id is None:
        ls_id = client.create_project(
            title=title,
            description="Calls transcribed by Kaan." if not controls.parses else "What callers want, drafted by Kaan.",
            label_config=config,
            expert_instruction=labelconfig.instructions(config),
            show_instruction=True,
            show_skip_button=True,
            enable_empty_annotation=True,
            show_collab_predictions=True,
        )
    row_id = _row(context, client.project(ls_id), made=True)
    attach(context, ls_id, extra_params=extra_params)
    my_day_link.put(context, client, ls_id, config)
    streams.add_tab(client, ls_id)
    return row_id


def ensure(context: Context, config_name: str, extra_params: Mapping[str, Any] | None = None) -> int:
    """The project of a ready-made config, created with `extra_params` if it is missing; gives our row's id."""
    title = f"{TITLE} {config_name}"
    mine = sa.and_(projects.c.instance_url == context.settings.label_studio_url, projects.c.title == title)
    if context.db.rows(sa.select(projects.c.id).where(mine, projects.c.state == "attached")):
        extra_params = None  # keep them: a person may have changed them
    return create(
        context,
        config=labelconfig.read(config_name, labelconfig.offered_by(context.settings)),
        title=title,
        extra_params=extra_params,
    )


def plan(context: Context, ls_project_id: int) -> AttachmentPlan:
    """What `attach` would do, without doing any of it."""
    _require(context.settings)
    client = client_of(context)
    there = client.project(ls_project_id)
    with context.db.reading() as connection:
        row = project_of(connection, context.settings.label_studio_url, ls_project_id)
    label = _label(row, there)
    changes, notices, warnings = [], [], []
    storage = our_storage(client, context.settings, ls_project_id)
    changes.append(
        ProjectChange(
            STORAGE, f"Add a source storage for our audio bucket {context.settings.audio_bucket}.", storage is None
        )
    )
    backends = client.ml_backends(ls_project_id)
    mine = [b for b in backends if same(b["url"], context.settings.public_url)]
    changes.append(ProjectChange(BACKEND, f"Add the ML backend {context.settings.public_url}.", not mine))
    if backends and not (mine and backends[0]["id"] == mine[0]["id"]):
        warnings.append(
            f"Another ML backend ({backends[0]['title'] or backends[0]['url']}) is first, and Label Studio always asks "
            "the first: opening a task and Retrieve predictions go to it. The label stream shows our drafts anyway."
        )
    right = connections.working_webhook(client, context.settings, ls_project_id)
    changes.append(
        ProjectChange(WEBHOOK, f"Add a webhook to {hook_url(context.settings)} with a secret header.", not right)
    )
    old = there.get("model_version") or "empty"
    changes.append(
        ProjectChange(MODEL_VERSION, f"Set model_version from {old} to {label}.", there.get("model_version") != label)
    )
    if row is None or row.routing is None:
        notices.append(
            f"Calls, and recordings found in {context.settings.scan_buckets}, become tasks of the first attached "
            f"project, at most {context.settings.max_open_tasks} open at a time; `project rules` narrows that."
        )
    for problem in labelconfig.parse(str(there.get("label_config") or "")).problems:
        warnings.append(f"The labelling config: {problem}")
    if there.get("evaluate_predictions_automatically"):
        warnings.append("The project asks for predictions on every page of its task list: that is slow, turn it off.")
    return AttachmentPlan(there, tuple(changes), tuple(notices), tuple(warnings))


def attach(context: Context, ls_project_id: int, *, extra_params: Mapping[str, Any] | None = None) -> int:
    """Attach an existing Label Studio project; gives our row's id. Safe to repeat, also after an interrupted run."""
    _require(context.settings)
    client = client_of(context)
    there = client.project(ls_project_id)
    row_id = _row(context, there, made=False)
    row = context.db.row(projects, row_id)
    label = _label(row, there)
    with context.db.transaction() as connection:
        db.update(connection, projects, row_id, draft_label=label)
    if step_of(context, row_id, MODEL_VERSION) is None:
        note(context, row_id, MODEL_VERSION, "making", old=there.get("model_version") or "")
    connections.connect_storage(context, client, row)
    connections.connect_backend(context, client, row, extra_params)
    connections.connect_webhook(context, client, row)
    show_label(context, client, context.db.row(projects, row_id), label)
    with context.db.transaction() as connection:
        well = {"state": "attached", "reason_code": None, "reason": None}
        db.update(connection, projects, row_id, **well, checked_at=tables.now())
        enqueueing.enqueue(connection, job_kinds.SYNC_PROJECT, key=str(row_id), project_id=row_id)
        enqueueing.enqueue(connection, job_kinds.FIND_TASKS, key=str(row_id), project_id=row_id)
    return row_id


def detach(context: Context, ls_project_id: int) -> list[str]:
    """Undo the changes of attaching; gives a sentence for each. Safe to repeat. Tasks and annotations stay."""
    client = client_of(context)
    with context.db.reading() as connection:
        row = project_of(connection, context.settings.label_studio_url, ls_project_id)
    if row is None or not row.attached_changes:
        raise PermanentError(
            "not-attached", f"Project {ls_project_id} is not attached.", "See `python -m ml_backend project list`."
        )
    context.db.update(projects, row.id, state="detached")
    said = []
    for step in reversed(row.attached_changes.get("steps", [])):
        if step["state"] == "undone":
            continue
        said.append(_undone(context, client, row, step))
        note(context, row.id, step["what"], "undone")
    with context.db.transaction() as connection:
        values = {"ml_backend_id": None, "next_draft_label": None}
        db.update(connection, projects, row.id, **values)
    return said


def _undone(context: Context, client: LabelStudioClient, row: sa.Row[Any], step: Mapping[str, Any]) -> str:
    """Undo one step; if the project was deleted, there is nothing to undo."""
    try:
        return connections.undo(context, client, row, step)
    except PermanentError as error:
        if error.code not in ("http-missing", "http-forbidden", "project-missing"):
            raise
        return f"The {step['what']} went with the project."


def _row(context: Context, there: Mapping[str, Any], *, made: bool) -> int:
    """Upsert our row of a project; its record starts with the time, and whether we created the project."""
    config = str(there.get("label_config") or "")
    values = {
        "instance_url": context.settings.label_studio_url,
        "ls_project_id": int(there["id"]),
        "title": quantities.shortened(str(there.get("title") or ""), 500),
        "label_config": config,
        "config_sha256": labelconfig.digest(config),
    }
    with context.db.transaction() as connection:
        row_id, _ = db.insert_once(connection, projects, values, key=("instance_url", "ls_project_id"))
        row = connection.execute(sa.select(projects).where(projects.c.id == row_id)).one()
        if row.state == "detached" or not row.attached_changes:
            was_made = made or bool((row.attached_changes or {}).get("made"))
            record = {"at": tables.now().isoformat(), "made": was_made, "steps": []}
            db.update(connection, projects, row_id, attached_changes=record, state="seen")
        if made and row.script_policy is None:
            db.update(connection, projects, row_id, script_policy=SCRIPT_POLICY)
        if row.routing is None and labelconfig.parse(config).rates:
            db.update(connection, projects, row_id, routing=ratings.ROUTING)
        db.update(connection, projects, row_id, title=values["title"], label_config=config)
        db.update(connection, projects, row_id, config_sha256=values["config_sha256"])
    return row_id


def _label(row: sa.Row[Any] | None, there: Mapping[str, Any]) -> str:
    """The current draft label; for a project without our drafts, the one above all that Label Studio shows already."""
    if row is not None and row.state != "seen":
        return str(row.draft_label)
    shown = re.fullmatch(r"draft-(\d+)", str(there.get("model_version") or ""))
    known = re.fullmatch(r"draft-(\d+)", str(row.draft_label)) if row is not None else None
    number = int(known[1]) if known else 1
    if shown and not (row is not None and row.attached_changes):
        number = max(number, int(shown[1]) + 1)
    return f"draft-{number}"


def _made_before(context: Context, client: LabelStudioClient, title: str, config: str) -> int | None:
    """A project of ours with this title, or one whose creation got no answer: same config and no task."""
    statement = sa.select(projects).where(
        projects.c.instance_url == context.settings.label_studio_url, projects.c.title == title
    )
    mine = {row.ls_project_id for row in context.db.rows(statement) if (row.attached_changes or {}).get("made")}
    for found in client.projects_titled(title):
        left = not found.get("task_number") and _squeezed(found.get("label_config")) == _squeezed(config)
        if found["id"] in mine or left:
            return int(found["id"])
    return None


def _squeezed(text: Any) -> str:
    return re.sub(r"\s+", "", str(text or ""))


def _require(settings: Settings) -> None:
    """Raise ConfigurationError that names all missing settings at once."""
    needed = {
        "LABEL_STUDIO_URL": settings.label_studio_url,
        "LABEL_STUDIO_API_KEY": settings.label_studio_api_key.get_secret_value(),
        "LABEL_STUDIO_WEBHOOK_SECRET": settings.label_studio_webhook_secret.get_secret_value(),
        "PUBLIC_URL": settings.public_url,
    }
    if missing := [name for name, value in needed.items() if not value]:
        raise ConfigurationError(
            "settings-missing", f"These settings are empty: {', '.join(missing)}.", "Set them; .env.example says how."
        )
