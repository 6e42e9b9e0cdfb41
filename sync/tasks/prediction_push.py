"""Prediction rows -> predictions in Label Studio, each exactly once, and the tasks' status lines.

`/predict` and the push race for every row; the first to change `delivered_by` from null owns it (design D2). Only one
push runs per project. A claimed row without confirmation may have arrived, so it is looked up before it is sent again.
Label Studio silently drops invalid predictions and refuses a whole request for one unknown task. So the count it
reports is compared, and on a difference each prediction is looked up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from ml_backend import db, log, tables
from ml_backend.context import Context, JobContext
from ml_backend.errors import PermanentError, RetryableError
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.labelling import labelconfig
from ml_backend.tables import predictions, projects, tasks
from sync.drafts.drafts import bump
from sync.label_studio import missing
from sync.label_studio.attached_changes import label_shown, show_label
from sync.label_studio.label_studio_client import LabelStudioClient, client_of

_log = log.get("delivery")

BATCH = 200  # predictions in one request
TOGETHER = 50  # rows in one transaction
LINES_PER_RUN = 300  # one request each, about seven a second
ANSWER_SETTLES = timedelta(seconds=30)  # Label Studio stores what /predict answered well within this


@missing.noticed
def push_predictions(context: JobContext, project_id: int) -> None:
    """Push undelivered predictions to Label Studio in bulk, then the status lines. Safe to repeat."""
    project = context.db.row(projects, project_id)
    client = client_of(context)
    unsure = _confirm_found(context, client, _claimed(context, project, "push"))
    for begin in range(0, len(unsure), BATCH):
        _send(context, client, project, unsure[begin : begin + BATCH])
    while rows := _claim(context, project):
        _send(context, client, project, rows)
    if project.state == "attached" and not label_shown(context, project):
        show_label(context, client, project, project.draft_label)
    more = show_status_lines(context, client, project)
    with context.db.transaction() as connection:
        if more:
            enqueueing.enqueue(connection, job_kinds.PUSH_PREDICTIONS, key=str(project_id), project_id=project_id)
        current = connection.execute(sa.select(projects).where(projects.c.id == project_id)).one()
        if current.next_draft_label:
            enqueueing.enqueue(connection, job_kinds.REDRAFT_PROJECT, key=str(project_id), project_id=project_id)


@missing.noticed
def confirm_answers(context: JobContext, project_id: int) -> None:
    """Look up what `/predict` answered; what Label Studio did not store is released for the push."""
    project = context.db.row(projects, project_id)
    missing = _confirm_found(context, client_of(context), _claimed(context, project, "answer"))
    answered = sa.and_(predictions.c.delivered_by == "answer", predictions.c.confirmed_at.is_(None))
    for begin in range(0, len(missing), TOGETHER):
        with context.db.transaction() as connection:
            mine = sa.and_(answered, predictions.c.id.in_([row.id for row in missing[begin : begin + TOGETHER]]))
            connection.execute(sa.update(predictions).where(mine).values(delivered_by=None, delivered_at=None))
    with context.db.transaction() as connection:
        if missing:
            bump(connection, project_id)
            enqueueing.enqueue(connection, job_kinds.PUSH_PREDICTIONS, key=str(project_id), project_id=project_id)
        mine = sa.and_(predictions.c.project_id == project_id, predictions.c.draft_label.in_(_labels(project)))
        later = sa.select(predictions.c.id).where(mine, answered).limit(1)
        if connection.execute(later).first():
            due = tables.now() + ANSWER_SETTLES
            enqueueing.enqueue(
                connection, job_kinds.CONFIRM_ANSWERS, key=str(project_id), due_at=due, project_id=project_id
            )


def withdraw(context: Context, client: LabelStudioClient, task: sa.Row[Any]) -> None:
    """Withdraw a task's drafts, which are the text of another recording, here and in Label Studio. Safe to repeat.

    Our rows stay under an unused label, because annotations may refer to them. Raises RetryableError during a delivery,
    because a prediction that arrives later would stay.
    """
    mine = sa.select(predictions).where(predictions.c.task_id == task.id)
    rows = context.db.rows(mine.where(~predictions.c.draft_label.like("withdrawn-%")))
    if not rows:
        return
    lately = tables.now() - 2 * ANSWER_SETTLES
    if any(row.delivered_by and not row.confirmed_at and row.delivered_at > lately for row in rows):
        raise RetryableError(
            "delivery-under-way", "A draft of this task is being delivered.", "Nothing to do: it is tried again."
        )
    labels = {row.draft_label for row in rows}
    for found in client.predictions(task.ls_task_id):
        if found.get("model_version") in labels:
            client.delete_prediction(int(found["id"]))
    with context.db.transaction() as connection:
        for row in rows:
            values = {"draft_label": f"withdrawn-{row.id}", "delivered_by": row.delivered_by or "nobody"}
            settled = {"confirmed_at": row.confirmed_at or tables.now(), "ls_prediction_id": None}
            db.update(connection, predictions, row.id, **values, **settled)


def _confirm_found(context: Context, client: LabelStudioClient, rows: Sequence[sa.Row[Any]]) -> list[sa.Row[Any]]:
    """Confirm the rows that Label Studio has; returns the others."""
    missing = []
    for row in rows:
        found = _look_up(client, row)
        if found is None:
            missing.append(row)
        else:
            _confirm(context, [row], ls_prediction_id=found)
    return missing


def _columns() -> sa.Select[Any]:
    return sa.select(
        predictions.c.id,
        predictions.c.task_id,
        predictions.c.draft_label,
        predictions.c.body,
        tasks.c.ls_task_id,
    ).join(tasks, tasks.c.id == predictions.c.task_id)


def _labels(project: sa.Row[Any]) -> list[str]:
    return [label for label in (project.draft_label, project.next_draft_label) if label]


def _claimed(context: Context, project: sa.Row[Any], deliverer: str) -> Sequence[sa.Row[Any]]:
    """Rows that a deliverer claimed and that are not confirmed."""
    statement = _columns().where(
        predictions.c.project_id == project.id,
        predictions.c.delivered_by == deliverer,
        predictions.c.confirmed_at.is_(None),
        predictions.c.draft_label.in_(_labels(project)),
        tasks.c.ls_task_id.is_not(None),
        tasks.c.state.in_(("open", "annotated")),
    )
    if deliverer == "answer":
        statement = statement.where(predictions.c.delivered_at < tables.now() - ANSWER_SETTLES)
    return context.db.rows(statement.order_by(predictions.c.id).limit(1000))


def _claim(context: Context, project: sa.Row[Any]) -> Sequence[sa.Row[Any]]:
    """Claim undelivered rows, so that `/predict` no longer answers them."""
    open_rows = (
        sa.select(predictions.c.id)
        .join(tasks, tasks.c.id == predictions.c.task_id)
        .where(
            predictions.c.project_id == project.id,
            predictions.c.delivered_by.is_(None),
            predictions.c.draft_label.in_(_labels(project)),
            tasks.c.ls_task_id.is_not(None),
            tasks.c.state.in_(("open", "annotated")),
        )
        .order_by(predictions.c.id)
        .limit(TOGETHER)
    )
    claimed: list[sa.Row[Any]] = []
    while len(claimed) < BATCH:
        with context.db.transaction() as connection:
            mine = sa.and_(predictions.c.id.in_(open_rows.scalar_subquery()), predictions.c.delivered_by.is_(None))
            claim = {"delivered_by": "push", "delivered_at": tables.now()}
            taken = connection.execute(sa.update(predictions).where(mine).values(**claim).returning(predictions.c.id))
            ids = [row.id for row in taken.all()]
            some = _columns().where(predictions.c.id.in_(ids)).order_by(predictions.c.id)
            claimed += connection.execute(some).all()
        if len(ids) < TOGETHER:
            break
    return claimed


def _send(context: Context, client: LabelStudioClient, project: sa.Row[Any], rows: Sequence[sa.Row[Any]]) -> None:
    """One bulk import. A prediction that does not arrive gets a reason, so that it is not sent again."""
    body = [{**json.loads(row.body), "task": row.ls_task_id} for row in rows]
    try:
        created = client.import_predictions(project.ls_project_id, body)
    except PermanentError as error:
        _send_others(context, client, project, rows, error)
        return
    if created == len(rows):
        _confirm(context, rows)
        return
    for row in rows:
        found = _look_up(client, row)
        if found is not None:
            _confirm(context, [row], ls_prediction_id=found)
        else:
            _undeliverable(context, row, "prediction-dropped", "Label Studio did not accept the prediction.")


def _send_others(
    context: Context,
    client: LabelStudioClient,
    project: sa.Row[Any],
    rows: Sequence[sa.Row[Any]],
    error: PermanentError,
) -> None:
    """One row makes Label Studio refuse the request: find it. Usually its task was deleted meanwhile."""
    there = {int(task["id"]) for task in client.tasks(project.ls_project_id, ids=[row.ls_task_id for row in rows])}
    gone = [row for row in rows if row.ls_task_id not in there]
    for row in gone:
        _undeliverable(context, row, "task-deleted", "The task was deleted in Label Studio.")
        context.db.update(tasks, row.task_id, state="deleted")
    rest = [row for row in rows if row.ls_task_id in there]
    if gone and rest:
        _send(context, client, project, rest)
    elif len(rest) > 1:
        _send(context, client, project, rest[: len(rest) // 2])
        _send(context, client, project, rest[len(rest) // 2 :])
    elif rest:
        _undeliverable(context, rest[0], "prediction-refused", error.sentence)


def _look_up(client: LabelStudioClient, row: sa.Row[Any]) -> int | None:
    """The prediction's id in Label Studio, found without reading the task, which would call `/predict`."""
    found = [p for p in client.predictions(row.ls_task_id) if p.get("model_version") == row.draft_label]
    return int(found[0]["id"]) if found else None


def _confirm(context: Context, rows: Sequence[sa.Row[Any]], **values: Any) -> None:
    for begin in range(0, len(rows), TOGETHER):
        with context.db.transaction() as connection:
            mine = predictions.c.id.in_([row.id for row in rows[begin : begin + TOGETHER]])
            connection.execute(sa.update(predictions).where(mine).values(confirmed_at=tables.now(), **values))


def _undeliverable(context: Context, row: sa.Row[Any], code: str, sentence: str) -> None:
    context.db.update(
        predictions, row.id, delivered_by="nobody", confirmed_at=tables.now(), reason_code=code, reason=sentence
    )


def _change_line(client: LabelStudioClient, task: Mapping[str, Any], key: str, line: str) -> None:
    """Write one status line; a task that is gone or refuses it does not stop the others."""
    try:
        client.change_task_data(int(task["id"]), {**task["data"], key: line})
    except PermanentError as error:
        _log.warning("a status line was refused", ls_task=int(task["id"]), code=error.code)


def show_status_lines(context: Context, client: LabelStudioClient, project: sa.Row[Any]) -> bool:
    """Write changed status lines into open tasks whose config shows them; returns whether more are waiting.

    A value that another person wrote under the same key into their own task stays.
    """
    key = labelconfig.parse(project.label_config).status_key
    if key is None:
        return False
    changed = (
        sa.select(tasks.c.id, tasks.c.ls_task_id, tasks.c.origin, tasks.c.status_line, tasks.c.status_shown)
        .where(tasks.c.project_id == project.id, tasks.c.state == "open", tasks.c.ls_task_id.is_not(None))
        .where(tasks.c.status_line.is_not(None))
        .where(sa.or_(tasks.c.status_shown.is_(None), tasks.c.status_shown != tasks.c.status_line))
        .order_by(tasks.c.id)
        .limit(LINES_PER_RUN + 1)
    )
    rows = context.db.rows(changed)
    lines = {row.ls_task_id: row for row in rows[:LINES_PER_RUN]}
    for task in client.tasks(project.ls_project_id, ids=list(lines)):
        row = lines[int(task["id"])]
        now = task["data"].get(key)
        theirs = row.origin != "ours" and row.status_shown is None and now  # another person's value under our key
        if now != row.status_line and not theirs:
            _change_line(client, task, key, row.status_line)
        with context.db.transaction() as connection:
            db.update(connection, tasks, row.id, status_shown=row.status_line)
    return len(rows) > LINES_PER_RUN
