"""The two hotword jobs: collect corrected words, and check an approved word."""

from __future__ import annotations

import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.context import Context, JobContext
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.labelling.decoding_profile import decoding_of
from ml_backend.models import registry
from ml_backend.serving import loaded_models
from ml_backend.tables import annotations as made
from ml_backend.tables import checkpoints, hotwords, projects
from training.hotwords import checking, collecting, draft_pairs, hotword_rows


def collect_hotwords(context: JobContext, project_id: int) -> None:
    """Update a project's list if its annotations changed since the last run. Safe to repeat."""
    position = _annotations(context, project_id)
    name = f"hotwords:{project_id}"
    with context.db.reading() as connection:
        known = connection.execute(sa.select(checkpoints.c.position).where(checkpoints.c.name == name)).scalar()
    if known == position:
        context.report(1.0, "No annotation came or went.")
        return
    candidates = collect(context, project_id)
    with context.db.transaction() as connection:
        values = {"name": name, "position": position, "state": "done", "updated_at": tables.now()}
        db.upsert(connection, checkpoints, values, key=("name",))
    context.report(1.0, f"{candidates} words are corrected again and again.")


def collect(context: Context, project_id: int) -> int:
    """Count again and update the list; gives how many words are on it."""
    candidates = collecting.collect(lambda: draft_pairs.pairs(context, project_id))
    with context.db.transaction() as connection:
        for row_id in hotword_rows.suggest(connection, project_id, candidates):
            enqueueing.enqueue(connection, job_kinds.CHECK_HOTWORD, key=str(row_id), hotword_id=row_id)
    return len(candidates)


def check_hotword(context: JobContext, hotword_id: int) -> None:
    """Transcribe recent calls with a word and without it; approve it or refuse it with the numbers. Safe to repeat.

    An approved word is checked again when the model or its wrong forms change.
    """
    row = context.db.row(hotwords, hotword_id)
    if row.state not in (hotword_rows.CHECKING, hotword_rows.APPROVED):
        context.report(1.0, f"The word is {row.state} by now.")
        return
    project = context.db.row(projects, row.project_id)
    base = decoding_of(project, context.settings).without(row.language, row.word)
    chosen = checking.places(context, project_id=row.project_id, language=row.language, word=row.word)
    version = registry.champion(context, language=row.language)
    with loaded_models.using(context, version) as transcriber:
        verdict = checking.judge(
            context,
            transcriber,
            base,
            language=row.language,
            word=row.word,
            forms=hotword_rows.sure_forms(row.heard),
            chosen=chosen,
        )
    check = {**verdict.numbers, "way": verdict.way, "at": tables.now().isoformat()}
    state = hotword_rows.APPROVED if verdict.way else hotword_rows.REFUSED
    if (
        row.state == hotword_rows.APPROVED and verdict.code in checking.UNDECIDED
    ):  # nothing speaks against what is in use
        state, check = hotword_rows.APPROVED, {**(row.check or {}), "model_version": transcriber.model_version}
    with context.db.transaction() as connection:
        values = {"check": check, "reason_code": verdict.code, "reason": verdict.reason}
        decided = hotword_rows.decide(connection, row, state=state, **values)
    context.report(1.0, f"{state}: {verdict.way or verdict.reason}" if decided else "Decided otherwise meanwhile.")


def _annotations(context: Context, project_id: int) -> dict[str, int]:
    """A fingerprint that changes when an annotation is added, changed or removed."""
    alive = sa.func.sum(sa.case((made.c.deleted_at.is_(None), 1), else_=0))
    newest = sa.func.max(made.c.id)
    with context.db.reading() as connection:
        found = connection.execute(sa.select(newest, alive).where(made.c.project_id == project_id)).one()
    return {"newest": int(found[0] or 0), "alive": int(found[1] or 0)}
