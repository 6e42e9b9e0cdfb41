"""A request to train -> a recorded request.

Label Studio's Start Training and `/api` only insert a job row. What happens now is said in the row itself: how much
corrected material there is. Building the dataset and running the trainer begin here once they exist.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ml_backend.context import JobContext
from ml_backend.tables import annotations as annotation_rows


def train_requested(context: JobContext, project_id: int | None = None, **details: Any) -> None:
    """Count the accepted corrections a training run would have, and keep the number in the job's row."""
    usable = (
        sa.select(sa.func.count(sa.distinct(annotation_rows.c.ls_annotation_id)))
        .where(annotation_rows.c.deleted_at.is_(None), ~annotation_rows.c.skipped)
        .where(annotation_rows.c.text.is_not(None), annotation_rows.c.text != "")
    )
    if project_id is not None:
        usable = usable.where(annotation_rows.c.project_id == project_id)
    count = int(context.db.rows(usable)[0][0])
    context.report(1.0, f"Request recorded: {count} accepted corrections. No training run was started.")
