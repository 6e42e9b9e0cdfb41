"""Utterance of an evaluation -> its task, open again for one more person, who has not seen it yet.

What looks like a model's error may be the reference's. The task gets one more annotator; nobody gets a task twice, and
nothing that was written is removed. Who asked, when and why stays on the task.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, quantities, tables
from ml_backend.errors import InvalidInput
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.tables import evaluation_utterances, projects, tasks

LONGEST_REASON = 500
_CAN_BE_OPENED = ("open", "annotated")


def ask(connection: Connection, evaluation_id: int, number: int, *, who: str, why: str) -> dict[str, Any]:
    """Ask for one more annotation of an utterance's task; the job `review-again` opens it in Label Studio.

    InvalidInput without a reason, without such an utterance, or where it has no task that can be opened.
    """
    reason = quantities.shortened(" ".join(why.split()), LONGEST_REASON)
    if not reason:
        raise InvalidInput("no-reason", "A reason is missing.", "Say why it is to be looked at again.")
    each = evaluation_utterances.c
    mine = sa.select(each.ls_project_id, each.ls_task_id).where(each.evaluation_id == evaluation_id)
    row = connection.execute(mine.where(each.number == number)).first()
    if row is None:
        raise InvalidInput(
            "no-such-utterance", f"There is no utterance {number} of an evaluation {evaluation_id}.",
            f"List them with `python -m ml_backend evaluations utterances {evaluation_id}`.", status=404,
        )  # fmt: skip
    theirs = (
        sa.select(tasks.c.id, tasks.c.ls_task_id)
        .join(projects, projects.c.id == tasks.c.project_id)
        .where(projects.c.ls_project_id == row.ls_project_id, tasks.c.ls_task_id == row.ls_task_id)
        .where(tasks.c.state.in_(_CAN_BE_OPENED))
    )
    task = connection.execute(theirs.order_by(tasks.c.id.desc()).limit(1)).first()
    if task is None:
        raise InvalidInput(
            "no-task-to-review", f"Utterance {number} has no task in Label Studio that can be opened again.",
            "Its task was deleted, or it came from an import: mend its text where it came from.", status=409,
        )  # fmt: skip
    asked = {
        "at": tables.now().isoformat(timespec="seconds"), "by": who[:120], "why": reason,
        "evaluation": evaluation_id, "number": number,
    }  # fmt: skip
    db.update(connection, tasks, task.id, review_asked=asked)
    enqueueing.enqueue(connection, job_kinds.REVIEW_AGAIN, key=str(task.id), task_id=task.id)
    return {"evaluation": evaluation_id, "number": number, "task": task.id, "ls_task_id": task.ls_task_id, **asked}
