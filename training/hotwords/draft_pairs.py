"""Annotations of a project -> pairs of draft and text, newest first; and the list of words for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context
from ml_backend.tables import annotations as made
from ml_backend.tables import calls, company_numbers, hotwords, projects, recordings, tasks
from training.datasets import splits
from training.hotwords import hotword_rows
from training.hotwords.collecting import CorrectedDraft

AT_ONCE = 500
MOST_ANNOTATIONS = 20_000  # the newest; a word without a correction since then is not suggested


def pairs(context: Context, project_id: int) -> Iterator[CorrectedDraft]:
    """Drafts and corrections: the newest state of each annotation that exists and was not skipped."""
    wanted = (
        sa.select(made.c.id, made.c.draft, made.c.text, made.c.language, tasks.c.recording_id)
        .add_columns(recordings.c.sha256, calls.c.call_sid, calls.c.from_pseudonym, calls.c.to_pseudonym)
        .add_columns(calls.c.direction, calls.c.company_number)
        .join(tasks, tasks.c.id == made.c.task_id)
        .join(recordings, recordings.c.id == tasks.c.recording_id)
        .outerjoin(calls, calls.c.id == recordings.c.call_id)
        .where(made.c.project_id == project_id, ~made.c.skipped, made.c.text.is_not(None))
        .where(tables.newest_version())
        .order_by(made.c.id.desc())
        .limit(AT_ONCE)
    )
    ours = frozenset(row.pseudonym for row in context.db.rows(sa.select(company_numbers.c.pseudonym)))
    before, left = None, MOST_ANNOTATIONS
    while left > 0:
        rows = context.db.rows(wanted if before is None else wanted.where(made.c.id < before))
        for row in rows:
            draft = row.draft if isinstance(row.draft, dict) else {}
            language = draft.get("language") or row.language
            if draft.get("text") and language and row.text.strip():
                yield CorrectedDraft(draft["text"], row.text, str(language), row.recording_id, _caller(row, ours))
        if len(rows) < AT_ONCE:
            return
        before, left = rows[-1].id, left - len(rows)


def _caller(row: Any, company: frozenset[str]) -> str:
    return splits.parties(
        audio_sha256=row.sha256 or f"recording {row.recording_id}",
        call_sid=row.call_sid,
        from_pseudonym=row.from_pseudonym,
        to_pseudonym=row.to_pseudonym,
        direction=row.direction,
        company_number=row.company_number,
        company_numbers=company,
    ).group


def listed(
    context: Context, *, states: tuple[str, ...] = (), project_id: int | None = None, language: str | None = None
) -> list[dict[str, Any]]:
    """Rows for people, most often corrected first."""
    statement = _rows()
    if states:
        statement = statement.where(hotwords.c.state.in_(states))
    if project_id is not None:
        statement = statement.where(hotwords.c.project_id == project_id)
    if language is not None:
        statement = statement.where(hotwords.c.language == language)
    order = (hotwords.c.project_id, hotwords.c.language, hotwords.c.seen.desc(), hotwords.c.word)
    return [to_dict(row) for row in context.db.rows(statement.order_by(*order))]


def shown(context: Context, hotword_id: int) -> dict[str, Any]:
    """One word as JSON."""
    return to_dict(context.db.rows(_rows().where(hotwords.c.id == hotword_id))[0])


def _rows() -> sa.Select[Any]:
    return sa.select(hotwords, projects.c.ls_project_id).join(projects, projects.c.id == hotwords.c.project_id)


def to_dict(row: Any) -> dict[str, Any]:
    """One row as JSON; the project by its number in Label Studio."""
    sure = hotword_rows.sure_forms(row.heard)
    return {
        "id": row.id,
        "project": row.ls_project_id,
        "language": row.language,
        "word": row.word,
        "state": row.state,
        "recordings": row.seen,
        "heard": [{**form, "sure": form["form"] in sure} for form in row.heard],
        "way": (row.check or {}).get("way"),
        "check": row.check,
        "who": row.who,
        "code": row.reason_code,
        "reason": row.reason,
    }
