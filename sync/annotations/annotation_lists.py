"""A list of tasks with their annotations -> our rows equal it: gaps filled, versions added, deletions marked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ml_backend.context import Context
from ml_backend.tables import annotations as rows
from sync.annotations.annotation_rows import LIST, FoundAnnotation, differs, keep, mark_deleted

TOGETHER = 20  # stored in one transaction: webhooks wait for at most one of these


def compare(
    context: Context,
    project: sa.Row[Any],
    listed: Sequence[Mapping[str, Any]],
    tasks: Mapping[int, sa.Row[Any]],
    read_at: datetime,
) -> int:
    """Returns how many annotations differed. `tasks` are our rows by Label Studio's id.

    `read_at` is when reading the list began: rows stored here since then are newer than the list.
    """
    here = _here(context, project, [int(task["id"]) for task in listed])
    there = {found.id: found for found in _found(listed, read_at)}
    wrong = [found for found in there.values() if differs(here.get(found.id, ()), found, _task_id(tasks, found))]
    repaired = 0
    for begin in range(0, len(wrong), TOGETHER):
        with context.db.transaction() as connection:
            for found in wrong[begin : begin + TOGETHER]:
                repaired += keep(connection, project, tasks.get(_ls_task_id(found)), found)[1]
    alive = {ls_id for ls_id, versions in here.items() if any(row.deleted_at is None for row in versions)}
    return repaired + mark_deleted(context, project.id, sorted(alive - there.keys()), before=read_at)


def _here(context: Context, project: sa.Row[Any], ls_task_ids: Sequence[int]) -> dict[int, list[sa.Row[Any]]]:
    """Our rows of these tasks' annotations, by Label Studio's annotation id."""
    columns = (
        rows.c.ls_annotation_id, rows.c.ls_updated_at, rows.c.deleted_at, rows.c.ground_truth, rows.c.task_id,
    )  # fmt: skip
    mine = sa.select(*columns).where(rows.c.project_id == project.id, rows.c.ls_task_id.in_(list(ls_task_ids)))
    found: dict[int, list[sa.Row[Any]]] = {}
    for row in context.db.rows(mine):
        found.setdefault(int(row.ls_annotation_id), []).append(row)
    return found


def _found(listed: Sequence[Mapping[str, Any]], read_at: datetime) -> Iterator[FoundAnnotation]:
    for task in listed:
        for annotation in task.get("annotations") or ():
            whole = {"task": task["id"], **annotation}
            yield FoundAnnotation(whole, LIST, read_at, task.get("predictions") or ())


def _ls_task_id(found: FoundAnnotation) -> int:
    return int(found.annotation["task"])


def _task_id(tasks: Mapping[int, sa.Row[Any]], found: FoundAnnotation) -> int | None:
    row = tasks.get(_ls_task_id(found))
    return int(row.id) if row is not None else None
