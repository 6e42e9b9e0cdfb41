"""Gold task, or one to be reviewed again -> its number of annotators (overlap) in Label Studio.

Label Studio recomputes whether a task is done only when one of its annotations changes. So one annotation of a finished
task is saved again unchanged. No annotator gets a task twice.
"""

from __future__ import annotations

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import JobContext
from ml_backend.tables import annotations as rows
from ml_backend.tables import tasks
from sync.annotations.annotation_rows import people_done
from sync.label_studio.label_studio_client import client_of


def share_task(context: JobContext, task_id: int) -> None:
    """Set a task's number of annotators in Label Studio. Safe to repeat."""
    task = context.db.row(tasks, task_id)
    if task.ls_task_id is None or task.state not in ("open", "annotated"):
        return  # a wanted task is created with it
    client = client_of(context)
    client.change_task(task.ls_task_id, overlap=task.overlap)
    with context.db.transaction() as connection:
        done = people_done(connection, task_id)
        if not 0 < done < task.overlap:
            return
        again = sa.and_(tasks.c.id == task_id, tasks.c.state == "annotated")
        connection.execute(sa.update(tasks).where(again).values(state="open"))
        mine = sa.and_(rows.c.task_id == task_id, ~rows.c.skipped, tables.newest_version())
        newest = (
            sa.select(rows.c.ls_annotation_id, rows.c.ground_truth).where(mine).order_by(rows.c.ls_updated_at.desc())
        )
        one = connection.execute(newest.limit(1)).one()
    client.call("PATCH", f"/api/annotations/{one.ls_annotation_id}/", json={"ground_truth": bool(one.ground_truth)})


def review_again(context: JobContext, task_id: int) -> None:
    """Give an annotated task to one more person. Safe to repeat: until that person is done, one more is one more."""
    with context.db.transaction() as connection:
        wanted = people_done(connection, task_id) + 1
        more = sa.and_(tasks.c.id == task_id, tasks.c.overlap < wanted)
        connection.execute(sa.update(tasks).where(more).values(overlap=wanted))
    share_task(context, task_id)
