"""Annotations for commands and /api: the newest state of each, one in detail, and the stored summary. Reads only.

An annotation is named by its number in Label Studio; `row` is our id, used for paging.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field

from ml_backend import tables
from ml_backend.db import Database
from ml_backend.errors import InvalidInput
from ml_backend.tables import agreements, projects, samples, summaries, tasks
from ml_backend.tables import annotations as rows
from ml_backend.views.call_views import text_of
from ml_backend.views.queries import PagedQuery, Time, Whole, one_of

EDITED = ("untouched", "edited", "manual")
SUMMARY = "annotations"
_COLUMNS = (
    rows, tasks.c.blind, tasks.c.selection_reason, tasks.c.gold_text, tasks.c.recording_id, tasks.c.start_s,
    tasks.c.end_s, projects.c.title, projects.c.ls_project_id, projects.c.instance_url,
)  # fmt: skip


_Edited = Annotated[
    str, one_of(EDITED, InvalidInput("bad-edited", "There is no such way of editing.", f"Known: {', '.join(EDITED)}."))
]


class AnnotationQuery(PagedQuery):
    """Which annotations; `before` is a row of ours."""

    project: Annotated[Whole | None, Field(description="Only of this project, by its number in Label Studio.")] = None
    task: Annotated[Whole | None, Field(description="Only of this task, by its number in Label Studio.")] = None
    annotator: Annotated[Whole | None, Field(description="Only by this person, by Label Studio's user id.")] = None
    language: Annotated[str | None, Field(description="Only in this language, e.g. hi.")] = None
    edited: Annotated[_Edited | None, Field(description="Only what was changed like this against its draft.")] = None
    since: Annotated[Time | None, Field(description="Only what was made then or later: a time, or a date.")] = None
    until: Annotated[Time | None, Field(description="Only what was made earlier.")] = None


def find(database: Database, query: AnnotationQuery) -> list[dict[str, Any]]:
    """The newest state of each annotation that is not deleted, the latest row first."""
    made = sa.func.coalesce(rows.c.ls_created_at, rows.c.created_at)
    wanted = (
        (projects.c.ls_project_id, query.project),
        (rows.c.ls_task_id, query.task),
        (rows.c.annotator, query.annotator),
        (rows.c.language, query.language),
        (rows.c.edited, query.edited),
    )
    statement = _joined().where(tables.newest_version())
    for column, value in wanted:
        statement = statement if value is None else statement.where(column == value)
    if query.since:
        statement = statement.where(made >= query.since)
    if query.until:
        statement = statement.where(made < query.until)
    if query.before:
        statement = statement.where(rows.c.id < query.before)
    return [to_dict(row) for row in database.rows(statement.order_by(rows.c.id.desc()).limit(query.limit))]


def show(database: Database, ls_annotation_id: int) -> dict[str, Any]:
    """One annotation: its newest state, draft, versions, agreements and samples."""
    mine = _joined().where(rows.c.ls_annotation_id == ls_annotation_id)
    versions = database.rows(mine.order_by(rows.c.ls_updated_at.desc(), rows.c.id.desc()))
    if not versions:
        raise InvalidInput(
            "no-such-annotation",
            f"There is no annotation {ls_annotation_id} here.",
            "List them with `python -m ml_backend annotations list`.",
            status=404,
        )
    newest = versions[0]
    draft = newest.draft if isinstance(newest.draft, Mapping) else {}
    return to_dict(newest) | {
        "draft": {name: draft.get(name) for name in ("text", "confidence", "language", "label")} if draft else None,
        "segments": newest.segments,
        "found_by": newest.found_by,
        "deleted_at": text_of(newest.deleted_at),
        "versions": [_version(row) for row in versions],
        "agreements": _agreements(database, [row.id for row in versions]),
        "samples": _samples(database, [row.id for row in versions]),
    }


def kept_summary(database: Database) -> dict[str, Any]:
    """The latest report of the summary job and its `made_at`; None without one."""
    found = database.rows(sa.select(summaries).where(summaries.c.name == SUMMARY))
    return (
        {"summary": found[0].body, "made_at": text_of(found[0].made_at)}
        if found
        else {"summary": None, "made_at": None}
    )


def to_dict(row: Any) -> dict[str, Any]:
    measures = row.measures if isinstance(row.measures, Mapping) else {}
    draft = row.draft if isinstance(row.draft, Mapping) else {}
    address = f"{row.instance_url}/projects/{row.ls_project_id}/data?task={row.ls_task_id}"
    return {
        "id": row.ls_annotation_id,
        "row": row.id,
        "project": row.title,
        "ls_project_id": row.ls_project_id,
        "ls_task_id": row.ls_task_id,
        "url": address if row.ls_task_id else None,
        "annotator": row.annotator,
        "created_at": text_of(row.ls_created_at or row.created_at),
        "updated_at": text_of(row.ls_updated_at),
        "text": row.text,
        "choices": dict(row.choices or {}),
        "language": row.language,
        "script": row.script,
        "quality": row.quality,
        "accent": row.accent,
        "emotion": row.emotion,
        "reject": list(row.reject or ()),
        "skipped": row.skipped,
        "ground_truth": row.ground_truth,
        "gold": row.gold_text is not None,
        "blind": bool(row.blind),
        "before_attach": row.before_attach,
        "lead_time_s": row.lead_time_s,
        "edited": row.edited,
        "measures": dict(measures) or None,
        "confidence": draft.get("confidence"),
        "model_version": row.model_version,
        "recording_id": row.recording_id,
        "start_s": row.start_s,
        "end_s": row.end_s,
        "selection_reason": row.selection_reason,
    }


def _joined() -> sa.Select[Any]:
    return (
        sa.select(*_COLUMNS)
        .join(projects, projects.c.id == rows.c.project_id)
        .outerjoin(tasks, tasks.c.id == rows.c.task_id)
    )


def _version(row: Any) -> dict[str, Any]:
    return {
        "row": row.id,
        "updated_at": text_of(row.ls_updated_at),
        "annotator": row.annotator,
        "lead_time_s": row.lead_time_s,
        "edited": row.edited,
        "deleted": row.deleted_at is not None,
    }


def _agreements(database: Database, ids: list[int]) -> list[dict[str, Any]]:
    """Agreements with other people."""
    other = tables.annotations.alias("other")
    mine = sa.or_(agreements.c.first_id.in_(ids), agreements.c.second_id.in_(ids))
    theirs = sa.or_(other.c.id == agreements.c.first_id, other.c.id == agreements.c.second_id)
    statement = (
        sa.select(agreements.c.counts, other.c.ls_annotation_id, other.c.annotator)
        .join(other, sa.and_(theirs, other.c.id.not_in(ids)))
        .where(mine)
        .order_by(agreements.c.id)
    )
    return [
        {"annotation": row.ls_annotation_id, "annotator": row.annotator, "counts": row.counts}
        for row in database.rows(statement)
    ]


def _samples(database: Database, ids: list[int]) -> list[dict[str, Any]]:
    mine = sa.select(samples).where(samples.c.annotation_id.in_(ids)).order_by(samples.c.number)
    return [
        {"number": row.number, "start_s": row.start_s, "end_s": row.end_s, "channel": row.channel, "text": row.text}
        | {"state": row.state, "reason_code": row.reason_code, "reason": row.reason, "chosen_by": row.chosen_by}
        for row in database.rows(mine)
    ]
