"""Annotations in Label Studio minus annotations here: counted on both sides, stored as a summary.

Label Studio's side is its own count of the project, independent of our listings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.context import Context
from ml_backend.tables import annotations as rows
from ml_backend.tables import summaries, tasks


@dataclass(frozen=True)
class Difference:
    """Skipped annotations count on both sides; deleted ones, and former versions, on neither."""

    there: int
    here: int
    tasks_there: int
    tasks_here: int

    @property
    def annotations(self) -> int:
        """Above zero, annotations are missing here; below, they are gone from Label Studio."""
        return self.there - self.here

    @property
    def any(self) -> bool:
        """Whether a full comparison is due."""
        return bool(self.annotations or self.tasks_there != self.tasks_here)

    def left(self, before: Mapping[str, Any]) -> int:
        """Differences that concurrent annotation cannot explain; `before` is the project when a full comparison began.

        Our count must lie between Label Studio's counts before and after.
        """
        least, most = sorted((self.there, _annotations_of(before)))
        return least - self.here if self.here < least else min(0, most - self.here)


def count(context: Context, project: sa.Row[Any], there: Mapping[str, Any]) -> Difference:
    """`there` is the project as Label Studio's API gives it."""
    alive = sa.and_(rows.c.project_id == project.id, rows.c.deleted_at.is_(None))
    known = sa.and_(tasks.c.project_id == project.id, tasks.c.ls_task_id.is_not(None), tasks.c.state != "deleted")
    with context.db.reading() as connection:
        kept = connection.execute(sa.select(sa.func.count(sa.distinct(rows.c.ls_annotation_id))).where(alive))
        here = int(kept.scalar_one())
        tasks_here = int(connection.execute(sa.select(sa.func.count()).select_from(tasks).where(known)).scalar_one())
    return Difference(_annotations_of(there), here, int(there.get("task_number") or 0), tasks_here)


def _annotations_of(there: Mapping[str, Any]) -> int:
    return int(there.get("total_annotations_number") or 0) + int(there.get("skipped_annotations_number") or 0)


def name_of(project_id: int) -> str:
    """The summary's name."""
    return f"difference:{project_id}"


def read(context: Context, project_id: int) -> dict[str, Any] | None:
    """The latest summary of a project."""
    found = context.db.rows(sa.select(summaries.c.body).where(summaries.c.name == name_of(project_id)))
    return dict(found[0].body) if found else None


def look(context: Context, project: sa.Row[Any], there: Mapping[str, Any]) -> tuple[bool, str, str]:
    """(well, sentence, next step) for `doctor`, counted now. `there` is the project as Label Studio's API gives it."""
    found = count(context, project, there)
    sentence = (
        f"Annotations: {found.there} in Label Studio, {found.here} accounted for here, difference {found.annotations}."
    )
    step = (
        "What changed is read every five minutes; "
        f"`python -m ml_backend project attach {project.ls_project_id}` compares everything at once."
    )
    return not found.annotations, sentence, step


def write(connection: Connection, project: sa.Row[Any], difference: Difference, **more: Any) -> None:
    """Write the summary; `more` replaces single values and leaves the others."""
    name, now = name_of(project.id), tables.now()
    old = connection.execute(sa.select(summaries.c.body).where(summaries.c.name == name)).scalar() or {}
    body = {
        **old,
        "project": project.ls_project_id,
        "there": difference.there,
        "here": difference.here,
        "difference": difference.annotations,
        "tasks_there": difference.tasks_there,
        "tasks_here": difference.tasks_here,
        "at": now.isoformat(),
        **more,
    }
    db.upsert(connection, summaries, {"name": name, "body": body, "made_at": now}, key=("name",))
