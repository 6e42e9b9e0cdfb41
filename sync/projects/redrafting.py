"""Open tasks of a project -> the same tasks with new drafts, when the model or a setting has changed.

Drafts are never changed in place, because Label Studio keeps every prediction it receives. All open tasks are drafted
again under the next draft label and pushed. When each has its new prediction, the label changes, in Label Studio first
and then here. Until then people see the old drafts.

Every possible change starts this job, and so does each transcription that arrives meanwhile. So it must cost nothing
when nothing is new, and a project with ten thousand open tasks must not block other writers:

- a digest of a few rows covers everything that decides a draft (`_wishes`); drafts are compared only if it changed,
- every open task is checked once; the project's row (`redraft`) stores the position,
- texts are rendered outside the transaction that stores them, `PAGE` tasks in each transaction.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db
from ml_backend.context import Context, JobContext
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.labelling import labelconfig
from ml_backend.models.routing import Routes
from ml_backend.tables import company_numbers, predictions, projects, recordings, tasks
from sync.drafts import drafts, recording_route
from sync.drafts.decoding_choice import profile_of
from sync.drafts.utterance_drafts import UtteranceDrafts
from sync.label_studio import missing
from sync.label_studio.attached_changes import show_label
from sync.label_studio.label_studio_client import client_of

PAGE = 25


@missing.noticed
def redraft_project(context: JobContext, project_id: int, again: int = 0) -> None:
    """Draft stale open tasks again under the next label, and change the label when all exist. Safe to repeat.

    `again` enqueues missing transcriptions once more.
    """
    project = context.db.row(projects, project_id)
    routes = Routes(context)
    texts = UtteranceDrafts(context) if labelconfig.parse(project.label_config).parses else None
    project = _begun(context, project, routes, texts)
    if not project.next_draft_label:
        return
    if texts is None:
        _draft_open_tasks(context, project, routes, again=bool(again))
    else:
        _draft_open_texts(context, project, texts)
    if _waits(context, project_id) or not _delivered(context, project):
        return
    label = project.next_draft_label
    if project.state == "attached":
        show_label(context, client_of(context), project, label)
    with context.db.transaction() as connection:
        moved = sa.and_(projects.c.id == project_id, projects.c.next_draft_label == label)
        values = {"draft_label": label, "next_draft_label": None}
        connection.execute(sa.update(projects).where(moved).values(**values))
        drafts.bump(connection, project_id)
        enqueueing.enqueue(connection, job_kinds.PUSH_PREDICTIONS, key=str(project_id), project_id=project_id)


def _begun(context: Context, project: sa.Row[Any], routes: Routes, texts: UtteranceDrafts | None) -> sa.Row[Any]:
    """The project's row; it gets a next label if its open tasks would be drafted differently now."""
    wishes = texts.wishes(project) if texts else _wishes(context, project, routes)
    if (project.redraft or {}).get("wishes") == wishes:
        return project
    pages = _pages(context, project, _shown(project))
    stale = any(texts.stale(project, page) if texts else _stale(context, project, routes, page) for page in pages)
    with context.db.transaction() as connection:
        now = connection.execute(sa.select(projects).where(projects.c.id == project.id).with_for_update()).one()
        values: dict[str, Any] = {"redraft": {"wishes": wishes, "asked": 0, "done": 0}}
        if stale:
            values["next_draft_label"] = _label_after(_shown(now))
        db.update(connection, projects, project.id, **values)
    return context.db.row(projects, project.id)


def _shown(project: sa.Row[Any]) -> str:
    """The label of the current drafts: the next label while there is one."""
    return str(project.next_draft_label or project.draft_label)


def _label_after(label: str) -> str:
    """draft-2 after draft-1; a label of another form starts a new series."""
    stem, _, number = label.rpartition("-")
    return f"{stem}-{int(number) + 1}" if stem and number.isdecimal() else f"{label}-2"


def _wishes(context: Context, project: sa.Row[Any], routes: Routes) -> str:
    """A digest of all that decides a draft besides the audio: the project's settings, the models, the channels."""
    profile = profile_of(project, context.settings)
    numbers = sa.select(company_numbers.c.pseudonym, company_numbers.c.agent_channel, company_numbers.c.language).where(
        sa.or_(company_numbers.c.agent_channel.is_not(None), company_numbers.c.language.is_not(None))
    )
    rows = sorted(list(map(str, row)) for row in context.db.rows(numbers))
    rendering = (project.config_sha256, profile.minimum_confidence, sorted(profile.script_policy.items()))
    said = json.dumps([profile.decoding.digest(), rendering, routes.revision, rows], ensure_ascii=False)
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def _open(project: sa.Row[Any], label: str) -> sa.Select[Any]:
    """Open tasks drafted under a label, which people see now or next."""
    return (
        sa.select(tasks, predictions.c.body, predictions.c.config_sha256, predictions.c.model_version)
        .join(predictions, sa.and_(predictions.c.task_id == tasks.c.id, predictions.c.draft_label == label))
        .where(tasks.c.project_id == project.id, tasks.c.state.in_(drafts.OPEN), tasks.c.blind.is_(False))
        .order_by(tasks.c.id)
    )


def _pages(context: Context, project: sa.Row[Any], label: str) -> Iterator[Sequence[sa.Row[Any]]]:
    last = 0
    while page := context.db.rows(_open(project, label).where(tasks.c.id > last).limit(PAGE)):
        yield page
        last = page[-1].id


def _stale(context: Context, project: sa.Row[Any], routes: Routes, page: Sequence[sa.Row[Any]]) -> bool:
    """Whether one of these tasks would be drafted differently now, by the same model or another."""
    if any(task.config_sha256 != (project.config_sha256 or "") for task in page):
        return True
    with context.db.reading() as connection:
        for task in page:
            recording = _recording(connection, task)
            version = recording_route.chosen(connection, routes, context.settings, recording).version
            if version != task.model_version:
                return True
            made = drafts.render(
                connection, context.settings, project, task, recording, model_version=version, labels=(_shown(project),)
            )
            if made is None or made.rows[0]["body"] != task.body:
                return True
    return False


def _draft_open_tasks(context: Context, project: sa.Row[Any], routes: Routes, *, again: bool) -> None:
    """Draft each task under the next label if its transcription exists; otherwise enqueue that transcription once.

    When the transcription arrives, `drafts.draft_tasks` drafts the task.
    """
    label = project.next_draft_label
    after = 0 if again else (project.redraft or {}).get("asked")
    while after is not None:
        page = context.db.rows(_lacking(project).where(tasks.c.id > after).limit(PAGE))
        ready: list[tuple[drafts.Draft, dict[str, Any]]] = []
        missing: list[int] = []
        decided: list[tuple[sa.Row[Any], recording_route.RecordingRoute]] = []
        with context.db.reading() as connection:
            for task in page:
                recording = _recording(connection, task)
                found = recording_route.chosen(connection, routes, context.settings, recording)
                decided.append((recording, found))
                made = drafts.render(
                    connection, context.settings, project, task, recording,
                    model_version=found.version, labels=(label,),
                )  # fmt: skip
                if made is None:
                    missing.append(recording.id)
                else:
                    ready.append((made, {"experiment_id": found.route.experiment_id, "arm": found.route.arm}))
        after = page[-1].id if len(page) == PAGE else None
        with context.db.transaction() as connection:
            now = connection.execute(sa.select(projects).where(projects.c.id == project.id).with_for_update()).one()
            if now.next_draft_label != label:
                return  # something changed meanwhile: the job that it enqueued sets the next label
            mine = sa.select(tasks.c.id).where(tasks.c.id.in_([row.id for row in page]), tasks.c.state.in_(drafts.OPEN))
            still = set(connection.execute(mine).scalars())
            for recording, found in decided:
                recording_route.keep(connection, routes, recording, found)
            for made, side in ready:
                if made.task_id in still:
                    drafts.store(connection, made, **side)
            for recording_id in dict.fromkeys(missing):
                enqueueing.enqueue(
                    connection,
                    job_kinds.TRANSCRIBE_RECORDING,
                    key=str(recording_id),
                    priority=job_kinds.BULK,
                    recording_id=recording_id,
                )
            db.update(connection, projects, project.id, redraft={**(now.redraft or {}), "asked": after})


def _draft_open_texts(context: Context, project: sa.Row[Any], texts: UtteranceDrafts) -> None:
    """Draft each task over an utterance under the next label."""
    last = 0
    while page := context.db.rows(_lacking(project).where(tasks.c.id > last).limit(PAGE)):
        texts.draft_page(project, page, project.next_draft_label)
        last = page[-1].id


def _lacking(project: sa.Row[Any]) -> sa.Select[Any]:
    """Open tasks with a visible draft and none under the next label, except those that cannot be transcribed.

    Blind tasks count too: Label Studio shows their empty regions only under the current label."""
    drafted = sa.exists().where(
        predictions.c.task_id == tasks.c.id, predictions.c.draft_label == project.next_draft_label
    )
    seen = sa.exists().where(predictions.c.task_id == tasks.c.id, predictions.c.draft_label == project.draft_label)
    return (
        sa.select(tasks)
        .where(tasks.c.project_id == project.id, tasks.c.state.in_(drafts.OPEN))
        .where(tasks.c.reason_code.is_(None), seen, ~drafted)
        .order_by(tasks.c.id)
    )


def _waits(context: Context, project_id: int) -> bool:
    """Whether an open task lacks its next draft. Tasks before the first such task are not checked again."""
    project = context.db.row(projects, project_id)
    known = project.redraft or {}
    done = int(known.get("done") or 0)
    first = context.db.rows(_lacking(project).with_only_columns(tasks.c.id).where(tasks.c.id > done).limit(1))
    if first and first[0].id - 1 > done:
        with context.db.transaction() as connection:
            now = connection.execute(sa.select(projects.c.redraft).where(projects.c.id == project_id)).scalar_one()
            db.update(connection, projects, project_id, redraft={**(now or {}), "done": first[0].id - 1})
    return bool(first)


def _recording(connection: Connection, task: sa.Row[Any]) -> sa.Row[Any]:
    return connection.execute(sa.select(recordings).where(recordings.c.id == task.recording_id)).one()


def _delivered(context: Context, project: sa.Row[Any]) -> bool:
    """Whether Label Studio has all predictions under the next label; if not, enqueues the push."""
    statement = (
        sa.select(predictions.c.id)
        .join(tasks, tasks.c.id == predictions.c.task_id)
        .where(predictions.c.project_id == project.id, predictions.c.draft_label == project.next_draft_label)
        .where(predictions.c.confirmed_at.is_(None), tasks.c.state == "open")
    )
    if not context.db.rows(statement.limit(1)):
        return True
    with context.db.transaction() as connection:
        enqueueing.enqueue(connection, job_kinds.PUSH_PREDICTIONS, key=str(project.id), project_id=project.id)
    return False
