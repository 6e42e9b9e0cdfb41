"""A request to train -> a recorded request.

Label Studio's Start Training and `/api` only insert a job row. What happens now is said in the row itself: how much
corrected material there is. Building the dataset and running the trainer begin here once they exist.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ml_backend.context import JobContext
from ml_backend.tables import annotations


def train_requested(context: JobContext, project_id: int | None = None, **details: Any) -> None:
    """Count the accepted corrections a training run would have, and keep the number in the job's row."""
    usable = (
        sa.select(sa.func.count(sa.distinct(annotations.c.ls_annotation_id)))
        .where(annotations.c.deleted_at.is_(None), ~annotations.c.skipped)
        .where(annotations.c.text.is_not(None), annotations.c.text != "")
    )
    if project_id is not None:
        usable = usable.where(annotations.c.project_id == project_id)
    count = int(context.db.rows(usable)[0][0])
    context.report(1.0, f"Request recorded: {count} accepted corrections. No training run was started.")
