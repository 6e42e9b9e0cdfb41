"""Corrections and evaluations -> what the order of work, the drafts and the reports use: three rows of `summaries`.

    team-model       calibration, minutes, break-even, weights: read at each selection
    learning-curve   WER against hours of annotation, per language
    draft-savings    minutes that drafts saved or cost

Only the latest rows are read, so a run takes as long after years as after weeks. Annotations that were accepted unread
are left out: they would make every draft look right, and quick.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from statistics import median
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.context import JobContext
from ml_backend.tables import annotations as annotation_rows
from ml_backend.tables import recordings, summaries, tasks
from ml_backend.usefulness import team_model
from ml_backend.usefulness.task_worth import WorthFacts, worth_of
from ml_backend.usefulness.team_model import EVERY, TeamModel
from training.quality import exclusions, review_time
from training.quality import reviews as review_rows
from training.quality.draft_quality import judged
from training.quality.reviews import Review, Scope
from training.usefulness import draft_savings, error_calibration, error_worth, learning_curve, work_minutes
from training.usefulness.error_worth import Shares

NEWEST = 20_000  # annotations
LEAST_TYPICAL = 30
CURVES, SAVINGS = "learning-curve", "draft-savings"


def learn_usefulness(context: JobContext) -> None:
    """The job: learn everything anew and store it. Safe to repeat."""
    with context.db.reading() as connection:
        stamped = exclusions.read(connection).annotations
        reviews = [
            each for each in review_rows.reviews(connection, Scope(newest=NEWEST)) if each.id not in stamped
        ]  # fmt: skip
        found = error_worth.shares(connection)
        curves = {language: learning_curve.fit(some) for language, some in learning_curve.points(connection).items()}
        withheld = _left_out(connection)
    model = learn(reviews, found, curves)
    times = work_minutes.timed(reviews)
    without = [
        (audio, work, audio * model.minutes.with_draft(error))
        for each in reviews
        if each.task_id in withheld and not review_time.left_open(each) and each.lead_time_s and each.audio_s
        for audio, work, error in [(each.audio_s / 60, each.lead_time_s / 60, withheld[each.task_id])]
    ]
    savings = draft_savings.measure(times, left_out=without)
    with context.db.transaction() as connection:
        keep(connection, team_model.NAME, to_json(model))
        keep(connection, CURVES, {"languages": curves})
        keep(connection, SAVINGS, savings)


def learn(reviews: Sequence[Review], found: Shares, curves: dict[str, Any]) -> TeamModel:
    """The model of these rows. Pure."""
    corrected = judged(reviews)
    times = work_minutes.timed(reviews)
    model = TeamModel(
        errors=error_calibration.error_curves(corrected),
        usable=error_calibration.usable_curve(reviews),
        minutes=work_minutes.work_minutes(times),
        break_even=work_minutes.break_even(times),
        slices=error_worth.slice_weights(found),
        worth=error_worth.language_worth(found, corrected, curves),
        known_words={language: frozenset(words) for language, words in found.known_words.items()},
        corrections=len(corrected),
    )
    return replace(model, typical_gain=_typical(model, corrected))


def to_json(model: TeamModel) -> dict[str, Any]:
    """The body that `team_model.from_json` reads."""
    return {
        "errors": {language: asdict(curve) for language, curve in model.errors.items()},
        "usable": asdict(model.usable) if model.usable else None,
        "minutes": asdict(model.minutes),
        "break_even": asdict(model.break_even),
        "slices": model.slices,
        "worth": model.worth,
        "known_words": {language: sorted(words) for language, words in model.known_words.items()},
        "typical_gain": model.typical_gain,
        "corrections": model.corrections,
    }


def keep(connection: Connection, name: str, body: dict[str, Any]) -> None:
    """Replace a stored row."""
    db.upsert(connection, summaries, {"name": name, "body": body, "made_at": tables.now()}, key=("name",))


def _typical(model: TeamModel, corrected: Sequence[Review]) -> float:
    """The median gain per minute of what was corrected, for the scale of usefulness."""
    plain = replace(model, known_words={})
    gains = [
        worth_of(plain, WorthFacts(each.language, each.confidence, ("",) * each.words, each.audio_s)).gain
        for each in corrected
        if each.confidence is not None and each.words and each.audio_s
    ]
    if EVERY not in model.errors or len(gains) < LEAST_TYPICAL:
        return team_model.TYPICAL_GAIN
    return round(max(0.1, median(gains)), 4)


def _left_out(connection: Connection) -> dict[int, float]:
    """Tasks that were annotated without their draft, and the error that it was expected to have."""
    last = connection.execute(sa.select(sa.func.max(annotation_rows.c.id))).scalar() or 0
    statement = (
        sa.select(tasks.c.id, tasks.c.draft_choice)
        .join(annotation_rows, annotation_rows.c.task_id == tasks.c.id)
        .join(recordings, recordings.c.id == tasks.c.recording_id)
        .where(annotation_rows.c.id > last - NEWEST, annotation_rows.c.deleted_at.is_(None))
    )
    return {
        row.id: float(row.draft_choice["expected_error"])
        for row in connection.execute(statement)
        if isinstance(row.draft_choice, dict) and row.draft_choice.get("shown") is False
    }
