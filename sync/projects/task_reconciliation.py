"""Label Studio's list of tasks -> our rows, corrected where webhooks were lost or wrong.

Webhooks are hints (design D4): Label Studio sends each once, waits a second and never retries. So the tasks are read at
intervals (`annotation_comparison`) and after each hint, with their annotations. A task without a row gets one, with a
recording and an ingest job; a deleted task is marked; annotations are compared one by one. For annotated tasks the
audio is ingested, for datasets, but they are not transcribed unless a request names them by id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.context import Context, JobContext
from ml_backend.errors import PermanentError
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.jobs.enqueueing import urgency
from ml_backend.labelling import labelconfig, rendering
from ml_backend.tables import predictions, projects, recordings, tasks
from sync.annotations import annotation_lists
from sync.annotations.annotation_rows import mark_tasks_gone, time_of
from sync.drafts import drafts
from sync.label_studio import missing
from sync.label_studio.label_studio_client import LabelStudioClient, client_of
from sync.recordings.sources import add_recording, source_of
from sync.tasks.prediction_push import withdraw
from sync.tasks.task_creation import KEY, external_key, refused_line
from sync.tasks.utterance_tasks import adopt

CHUNK = 100  # tasks compared at once
_STAYS_GONE = ("erased", "superseded", "task-duplicate", "cut-into-pieces")
_TEXT = dict.fromkeys(("recording_id", "reason_code", "reason", "status_line"))  # of a task without audio
TOGETHER = 20  # tasks in one transaction, each with a recording and a job


@dataclass(frozen=True)
class ReconciledTasks:
    """The result of reading a list of tasks. `latest` is the last change in it, by Label Studio's clock."""

    tasks: int = 0
    annotations: int = 0
    repaired: int = 0
    latest: datetime | None = None


@missing.noticed
def find_tasks(context: JobContext, project_id: int, task_ids: list[int] | None = None) -> None:
    """Update our rows from Label Studio's tasks and annotations: all of a project, or only the given ids, first."""
    project = context.db.row(projects, project_id)
    read(context, project, ids=task_ids, priority=urgency(context), report=context.report)


def read(
    context: Context,
    project: sa.Row[Any],
    *,
    ids: Sequence[int] | None = None,
    changed_after: str | None = None,
    priority: int = job_kinds.BULK,
    report: Callable[[float, str], None] = lambda fraction, note: None,
) -> ReconciledTasks:
    """Read tasks by id, or those changed after a time, or all. Only reading all of them finds deleted tasks."""
    client = client_of(context)
    storages = client.storages(project.ls_project_id) if changed_after is None else None
    known = _known(context, project, ids)  # before the list: a task made during the reading is not missing
    found, seen, chunk = set[int](), ReconciledTasks(), list[dict[str, Any]]()
    changed, read_at = 0, tables.now()
    for task in client.tasks(project.ls_project_id, ids=ids, changed_after=changed_after, whole=True):
        if storages is None:
            storages = client.storages(project.ls_project_id)
        found.add(int(task["id"]))
        chunk.append(task)
        latest = max(filter(None, (seen.latest, time_of(task.get("updated_at")))), default=None)
        number = len(task.get("annotations") or ())
        seen = replace(seen, tasks=seen.tasks + 1, annotations=seen.annotations + number, latest=latest)
        if len(chunk) == CHUNK:
            new, repaired = _take(context, client, project, chunk, storages, priority, read_at, asked=ids is not None)
            changed, seen, chunk = changed + new, replace(seen, repaired=seen.repaired + repaired), []
            report(0.5, f"{len(found)} tasks read")
    new, repaired = _take(context, client, project, chunk, storages or (), priority, read_at, asked=ids is not None)
    if changed_after is None:
        repaired += _mark_gone(context, project, known - found)
    with context.db.transaction() as connection:
        if changed + new:
            drafts.bump(connection, project.id)
        if found or changed_after is None:
            enqueueing.enqueue(
                connection, job_kinds.PUSH_PREDICTIONS, key=str(project.id), priority=priority, project_id=project.id
            )
    return replace(seen, repaired=seen.repaired + repaired)


def _take(
    context: Context,
    client: LabelStudioClient,
    project: sa.Row[Any],
    found: Sequence[Mapping[str, Any]],
    storages: Sequence[Mapping[str, Any]],
    priority: int,
    read_at: datetime,
    *,
    asked: bool,
) -> tuple[int, int]:
    """One piece of the list; gives how many tasks are new or changed, and how many annotations were corrected."""
    changed, rows_of = 0, dict[int, sa.Row[Any]]()
    texts = labelconfig.parse(project.label_config).parses
    for row in _with_other_audio(context, project, found):
        withdraw(context, client, row)
    for begin in range(0, len(found), TOGETHER):
        with context.db.transaction() as connection:
            for task in found[begin : begin + TOGETHER]:
                row, new = _row(connection, context, project, task, storages)
                changed += new
                if texts:
                    adopt(connection, row)
                if row.ls_task_id is None:  # our own import is in progress: create_tasks opens it
                    continue
                rows_of[int(task["id"])] = row
                annotated = int(task.get("total_annotations") or 0) >= row.overlap
                if annotated and row.state == "open":
                    db.update(connection, tasks, row.id, state="annotated")
                if (asked or not annotated) and row.recording_id and not _drafted(connection, project, row):
                    enqueueing.enqueue(
                        connection,
                        job_kinds.INGEST_RECORDING,
                        key=str(row.recording_id),
                        priority=priority,
                        recording_id=row.recording_id,
                    )
                elif annotated and row.recording_id and _without_sound(connection, row):
                    enqueueing.enqueue(
                        connection, job_kinds.INGEST_RECORDING, key=str(row.recording_id), priority=job_kinds.BULK,
                        recording_id=row.recording_id, transcribe=0,
                    )  # fmt: skip
    return changed, annotation_lists.compare(context, project, found, rows_of, read_at)


def _row(
    connection: Connection,
    context: Context,
    project: sa.Row[Any],
    task: Mapping[str, Any],
    storages: Sequence[Mapping[str, Any]],
) -> tuple[sa.Row[Any], bool]:
    """(our row of a Label Studio task, inserted or corrected if needed; whether it was)."""
    task_id, data = int(task["id"]), task.get("data") or {}
    value = data.get(_audio_key(project))
    known = sa.select(tasks).where(tasks.c.project_id == project.id, tasks.c.ls_task_id == task_id)
    row = connection.execute(known).first()
    if row is None and data.get(KEY):  # our own task, whose import got no answer
        mine = sa.select(tasks).where(tasks.c.project_id == project.id, tasks.c.external_key == str(data[KEY]))
        row = connection.execute(mine.where(tasks.c.state == "wanted", tasks.c.ls_task_id.is_(None))).first()
        if row is not None:
            return row, False  # create_tasks finds it and opens it with its prediction
    stored = _stored(value)
    if row is not None and row.state == "deleted" and row.reason_code not in _STAYS_GONE:  # a person restored it
        row = _restored(connection, row)
    if row is not None and row.data_value == stored:
        return row, False
    texts = labelconfig.parse(project.label_config).parses
    about = dict(_TEXT) if texts else _about(connection, context, value, storages)
    if row is None:
        values = {
            "project_id": project.id,
            "ls_task_id": task_id,
            "external_key": external_key(project, f"task {task_id}"),
            "data_value": stored,
            "origin": "label-studio",
            "state": "open",
            **about,
        }
        row_id, _ = db.insert_once(connection, tasks, values, key=("external_key",))
    else:  # a person changed the task's audio
        row_id = row.id
        db.update(connection, tasks, row_id, data_value=stored, **about)
    return connection.execute(sa.select(tasks).where(tasks.c.id == row_id)).one(), True


def _restored(connection: Connection, row: sa.Row[Any]) -> sa.Row[Any]:
    """Reopen a restored task at once, so that this same pass drafts and settles it.

    Its predictions may have been deleted with it, so the push looks each one up and sends the missing ones.
    """
    gone = row.reason_code in (None, "task-deleted")
    db.update(connection, tasks, row.id, state="open", **({"reason_code": None, "reason": None} if gone else {}))
    mine = predictions.c.task_id == row.id
    sent = sa.update(predictions).where(mine, predictions.c.delivered_by.in_(("push", "answer")))
    connection.execute(sent.values(delivered_by="push", confirmed_at=None, ls_prediction_id=None))
    never = sa.update(predictions).where(mine, predictions.c.reason_code == "task-deleted")
    connection.execute(
        never.values(delivered_by=None, delivered_at=None, confirmed_at=None, reason_code=None, reason=None)
    )
    return connection.execute(sa.select(tasks).where(tasks.c.id == row.id)).one()


def _with_other_audio(context: Context, project: sa.Row[Any], found: Sequence[Mapping[str, Any]]) -> list[sa.Row[Any]]:
    """Our rows of the listed tasks whose audio was replaced in Label Studio."""
    values = {int(task["id"]): _stored((task.get("data") or {}).get(_audio_key(project))) for task in found}
    here = sa.select(tasks).where(tasks.c.project_id == project.id, tasks.c.ls_task_id.in_(values))
    return [row for row in context.db.rows(here) if row.data_value != values[row.ls_task_id]]


def _audio_key(project: sa.Row[Any]) -> str:
    return labelconfig.parse(project.label_config).data_key or "audio"


def _stored(value: Any) -> str | None:
    """A task's audio value as our column stores it."""
    return value[:1000] if isinstance(value, str) else None


def _about(
    connection: Connection, context: Context, value: Any, storages: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The recording of a data value, or the reason why it is not fetched; and the current status line."""
    try:
        source = source_of(value, context.settings, storages=storages)
    except PermanentError as error:
        return {
            "recording_id": None,
            "reason_code": error.code,
            "reason": error.sentence,
            "status_line": refused_line(error.sentence),
        }
    recording_id, _ = add_recording(connection, source)
    line = rendering.status_line(None)
    recording = connection.execute(sa.select(recordings).where(recordings.c.id == recording_id)).one()
    refused = recording.state == "refused"
    return {
        "recording_id": recording_id,
        "reason_code": recording.reason_code if refused else None,
        "reason": recording.reason if refused else None,
        "status_line": refused_line(recording.reason) if refused else line,
    }


def _drafted(connection: Connection, project: sa.Row[Any], row: sa.Row[Any]) -> bool:
    """Whether a task has its draft under the current label, or is known to get none."""
    if row.reason_code is not None or row.state == "deleted":
        return True
    there = sa.select(predictions.c.id).where(
        predictions.c.task_id == row.id, predictions.c.draft_label == project.draft_label
    )
    return connection.execute(there.limit(1)).first() is not None


def _without_sound(connection: Connection, row: sa.Row[Any]) -> bool:
    """Whether a task's recording is known but was never ingested; datasets need its audio."""
    state = sa.select(recordings.c.state).where(recordings.c.id == row.recording_id)
    return connection.execute(state).scalar() in ("found", "stored")


def _known(context: Context, project: sa.Row[Any], asked: Sequence[int] | None) -> set[int]:
    """Label Studio's ids of the tasks that exist according to our rows."""
    statement = sa.select(tasks.c.ls_task_id).where(
        tasks.c.project_id == project.id, tasks.c.ls_task_id.is_not(None), tasks.c.state != "deleted"
    )
    ids = {int(row.ls_task_id) for row in context.db.rows(statement)}
    return ids if asked is None else ids & set(asked)


def _mark_gone(context: Context, project: sa.Row[Any], gone: set[int]) -> int:
    """Mark rows whose task Label Studio no longer has, with their annotations; gives the number of tasks."""
    mark_tasks_gone(context, project.id, sorted(gone))
    return len(gone)
