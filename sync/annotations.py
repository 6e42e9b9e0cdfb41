"""Task -> Annotation: what a person submitted, read back from the API and kept once per change.

A webhook's body only says where to look (design D4). Shapes differ by action (`ANNOTATIONS_CREATED` holds lists,
deletions hold ids and no task), and unknown actions are accepted in silence.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, jobs, rendering, tables
from ml_backend.context import Context, JobContext
from ml_backend.errors import PermanentError
from ml_backend.labelling import labelconfig
from ml_backend.tables import annotations as rows
from ml_backend.tables import events, predictions, projects, tasks
from sync.label_studio.client import client_of

IDS_PER_JOB = 500


def read_event(context: JobContext, event_id: int) -> None:
    """One stored webhook request -> the jobs that read the truth. Safe to repeat."""
    event = context.db.row(events, event_id)
    if event.state != "new":
        return
    body = _body(event.body)
    if body is None:
        context.db.update(
            events, event_id, state="unreadable", reason_code="not-json", reason="The body is not a JSON object."
        )
        return
    with context.db.transaction() as connection:
        project = _project(connection, context, body)
        code, reason = None, None
        if project is None:
            code, reason = "unknown-project", "The event belongs to no project we serve."
        else:
            _follow(connection, project, str(body.get("action") or event.action or ""), body)
        db.update(connection, events, event_id, state="read", reason_code=code, reason=reason)


def read_annotation(context: JobContext, project_id: int, ls_annotation_id: int) -> None:
    """Fetch one annotation and store it; one that is gone is marked deleted."""
    project = context.db.row(projects, project_id)
    client = client_of(context)
    try:
        annotation = client.annotation(ls_annotation_id)
    except PermanentError as error:
        if error.code != "http-missing":
            raise
        with context.db.transaction() as connection:
            mark_deleted(connection, project.id, [ls_annotation_id])
        return
    with context.db.reading() as connection:
        mine = sa.select(tasks).where(
            tasks.c.project_id == project.id, tasks.c.ls_task_id == int(annotation.get("task") or 0)
        )
        task = connection.execute(mine).first()
    store(context, project, task, annotation)


def store(
    context: Context, project: sa.Row[Any], task: sa.Row[Any] | None, annotation: Mapping[str, Any]
) -> tuple[int, bool]:
    """Keep one annotation as it is at its `updated_at`; gives (id, whether it is new)."""
    result = annotation.get("result") or []
    reference = rendering.to_reference(result, labelconfig.parse(project.label_config))
    created_at = _time(annotation.get("created_at"))
    attached_at = _attached_at(project)
    values = {
        "project_id": project.id,
        "task_id": task.id if task is not None else None,
        "ls_task_id": annotation.get("task"),
        "ls_annotation_id": int(annotation["id"]),
        "ls_updated_at": _time(annotation.get("updated_at")) or created_at or tables.now(),
        "ls_created_at": created_at,
        "annotator": _user(annotation.get("completed_by")),
        "result": result,
        "text": reference.text,
        "language": (reference.language or "")[:10] or None,
        "script": (reference.script or "")[:10] or None,
        "quality": (reference.quality or "")[:60] or None,
        "accent": (reference.accent or "")[:60] or None,
        "skipped": bool(annotation.get("was_cancelled")),
        "ground_truth": bool(annotation.get("ground_truth")),
        "lead_time_s": annotation.get("lead_time"),
        "before_attach": bool(attached_at and created_at and created_at < attached_at),
    }
    with context.db.transaction() as connection:
        values["prediction_id"] = _started_from(connection, task, annotation)
        key = ("project_id", "ls_annotation_id", "ls_updated_at")
        row_id, new = db.insert_once(connection, rows, values, key=key)
        if task is not None and task.state == "open" and people_done(connection, task.id) >= task.overlap:
            db.update(connection, tasks, task.id, state="annotated")
            waiting = sa.select(tasks.c.id).where(tasks.c.project_id == project.id, tasks.c.state == "waiting")
            if connection.execute(waiting.limit(1)).first():  # there is room for one more
                jobs.enqueue(connection, jobs.TAKE_UP_WAITING, key=str(project.id), project_id=project.id)
        if new and task is None and values["ls_task_id"]:
            jobs.enqueue(
                connection,
                jobs.FIND_TASKS,
                key=f"{project.id}:{values['ls_task_id']}",
                project_id=project.id,
                task_ids=[int(values["ls_task_id"])],
            )
    return row_id, new


def _follow(connection: Connection, project: sa.Row[Any], action: str, body: Mapping[str, Any]) -> None:
    """What an action asks for. Unknown ones ask for nothing."""
    if action == "TASKS_CREATED":
        ids = _ids(body.get("tasks"))
        for begin in range(0, len(ids), IDS_PER_JOB):
            some = ids[begin : begin + IDS_PER_JOB]
            jobs.enqueue(
                connection,
                jobs.FIND_TASKS,
                key=f"{project.id}:{some[0]}-{some[-1]}",
                project_id=project.id,
                task_ids=some,
            )
    elif action == "TASKS_DELETED":
        gone = sa.and_(tasks.c.project_id == project.id, tasks.c.ls_task_id.in_(_ids(body.get("tasks"))))
        connection.execute(sa.update(tasks).where(gone).values(state="deleted", updated_at=tables.now()))
    elif action in ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_CREATED"):
        for annotation_id in _ids(body.get("annotation")):
            jobs.enqueue(
                connection,
                jobs.READ_ANNOTATION,
                key=f"{project.id}:{annotation_id}",
                project_id=project.id,
                ls_annotation_id=annotation_id,
            )
    elif action == "ANNOTATIONS_DELETED":
        mark_deleted(connection, project.id, _ids(body.get("annotations")))
    elif action == "PROJECT_UPDATED":
        jobs.enqueue(connection, jobs.SYNC_PROJECT, key=str(project.id), project_id=project.id)


def mark_deleted(connection: Connection, project_id: int, ids: Sequence[int]) -> None:
    """Keep deleted annotations with their time; a task with too few left is open again."""
    here = sa.and_(rows.c.project_id == project_id, rows.c.ls_annotation_id.in_(list(ids)))
    alive = rows.c.deleted_at.is_(None)
    concerned = [row.task_id for row in connection.execute(sa.select(rows.c.task_id).where(here)).all()]
    connection.execute(sa.update(rows).where(here, alive).values(deleted_at=tables.now()))
    for task_id in {task_id for task_id in concerned if task_id}:
        left = people_done(connection, task_id)
        again = sa.and_(tasks.c.id == task_id, tasks.c.state == "annotated", tasks.c.overlap > left)
        connection.execute(sa.update(tasks).where(again).values(state="open", updated_at=tables.now()))


def people_done(connection: Connection, task_id: int) -> int:
    """How many people have annotated a task; who skipped it has not. An unknown person counts as one."""
    person = sa.func.count(sa.distinct(sa.func.coalesce(rows.c.annotator, 0)))
    alive = sa.and_(rows.c.task_id == task_id, rows.c.deleted_at.is_(None), ~rows.c.skipped)
    return int(connection.execute(sa.select(person).where(alive)).scalar_one())


def _started_from(connection: Connection, task: sa.Row[Any] | None, annotation: Mapping[str, Any]) -> int | None:
    """Our prediction that pre-filled the editor: by Label Studio's id, else by the draft label it recorded."""
    if task is None:
        return None
    mine = sa.select(predictions.c.id).where(predictions.c.task_id == task.id).order_by(predictions.c.id.desc())
    parent, snapshot = annotation.get("parent_prediction"), annotation.get("prediction")
    label = snapshot.get("model_version") if isinstance(snapshot, Mapping) else None
    if parent:
        found = connection.execute(mine.where(predictions.c.ls_prediction_id == parent)).scalar()
        if found is not None:
            return int(found)
    if label or parent:
        statement = mine.where(predictions.c.draft_label == label) if label else mine
        found = connection.execute(statement.limit(1)).scalar()
        return int(found) if found is not None else None
    return None


def _project(connection: Connection, context: Context, body: Mapping[str, Any]) -> sa.Row[Any] | None:
    """The project of an event; only the one on our own Label Studio counts, whatever host the body names."""
    stated = body.get("project")
    ls_id = stated.get("id") if isinstance(stated, Mapping) else stated
    if not isinstance(ls_id, int):
        return None
    statement = sa.select(projects).where(
        projects.c.instance_url == context.settings.label_studio_url,
        projects.c.ls_project_id == ls_id,
        projects.c.state != "detached",
    )
    return connection.execute(statement).first()


def _body(raw: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _ids(value: Any) -> list[int]:
    """Ids in whatever shape an action has them: one row, a list of rows, a list of ids."""

    def each(entry: Any) -> Iterator[int]:
        if isinstance(entry, list):
            for one in entry:
                yield from each(one)
        elif isinstance(entry, Mapping):
            yield from each(entry.get("id"))
        elif isinstance(entry, int) and not isinstance(entry, bool) and entry > 0:
            yield entry

    return sorted(set(each(value)))


def _user(value: Any) -> int | None:
    """`completed_by` is a number, or an object with an id in some answers."""
    user = value.get("id") if isinstance(value, Mapping) else value
    return user if isinstance(user, int) else None


def _time(value: Any) -> datetime | None:
    try:
        parsed = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _attached_at(project: sa.Row[Any]) -> datetime | None:
    record = project.attached_changes if isinstance(project.attached_changes, Mapping) else {}
    return _time(record.get("at")) if record.get("at") and not record.get("made") else None
