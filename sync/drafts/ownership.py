"""Task rows -> the same rows, each the only one over its audio in Label Studio.

After a restore from a backup, Label Studio has tasks that our database lacks. They count as foreign until their
recording is selected again; then the row of that selection takes over the task and its annotations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db
from ml_backend.context import Context
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.tables import annotations as annotation_rows
from ml_backend.tables import predictions, tasks
from sync.drafts.recording_pieces import RecordingPiece, audio_identity, external_key

DUPLICATE = "task-duplicate"


def keyed(context: Context, project: sa.Row[Any], rows: Sequence[sa.Row[Any]]) -> dict[int, str]:
    """Task id -> its key in Label Studio; a row whose key another row has is given up and left out.

    A task may be wanted before its recording was read. The key depends on the bytes that were read, so that the task is
    found again whatever the recording's next source is.
    """
    keys = {row.id: external_key(project, audio_identity(row), RecordingPiece(row.start_s, row.end_s)) for row in rows}
    for row in rows:
        if keys[row.id] == row.external_key:
            continue
        with context.db.transaction() as connection:
            other = sa.select(tasks.c.id).where(tasks.c.external_key == keys[row.id], tasks.c.id != row.id)
            if connection.execute(other).first():
                db.update(connection, tasks, row.id, state="deleted", reason_code=DUPLICATE)
                del keys[row.id]
            else:
                db.update(connection, tasks, row.id, external_key=keys[row.id])
    return keys


def take_over(connection: Connection, row: sa.Row[Any], other: sa.Row[Any]) -> str:
    """Move the task and annotations of the adopted row `other` to our row; returns our row's new state.

    A draft may have been shown meanwhile: such a task is no longer blind.
    """
    shown = sa.select(predictions.c.id).where(
        predictions.c.task_id == other.id, predictions.c.delivered_by.is_not(None)
    )
    if connection.execute(shown.limit(1)).first():
        db.update(connection, tasks, row.id, blind=False)
    db.update(connection, tasks, other.id, ls_task_id=None, state="deleted", reason_code=DUPLICATE)
    moved = sa.update(annotation_rows).where(annotation_rows.c.task_id == other.id).values(task_id=row.id)
    if connection.execute(moved).rowcount:
        for task_id in (other.id, row.id):
            enqueueing.enqueue(connection, job_kinds.SAMPLE_TASK, key=str(task_id), task_id=task_id)
    return "annotated" if other.state == "annotated" else "open"
