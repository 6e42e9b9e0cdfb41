"""Rows -> Reviews: each person's newest result on each task, with its draft. Reads only.

An annotation has a row for each change; the newest that is not deleted counts. Its review time is the largest
`lead_time` of all of them, not the sum: Label Studio's editor sends a running total with every update, and a change
through the API may have none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import tables
from ml_backend.labelling import labelconfig
from ml_backend.reports.annotation_days import number
from ml_backend.tables import agreements, predictions, recordings, tasks


@dataclass(frozen=True, slots=True)
class Scope:
    """Annotations of one project, experiment or all, made since a time; of calls and voices, or of what texts mean."""

    project_id: int | None = None
    since: datetime | None = None
    of_texts: bool = False
    experiment_id: int | None = None
    newest: int | None = None  # at most about so many rows, the latest


@dataclass(frozen=True, slots=True)
class Review:
    """One annotation. Counts of edits are None where there was no draft; `text` is read for gold tasks only."""

    id: int
    project_id: int
    task_id: int | None
    annotator: int | None
    audio_s: float | None
    lead_time_s: float | None = None
    created_at: datetime | None = None
    language: str | None = None
    script: str | None = None
    quality: str | None = None
    accent: str | None = None
    reject: tuple[str, ...] = ()
    skipped: bool = False
    ground_truth: bool = False
    before_attach: bool = False
    blind: bool = False
    model_version: str | None = None
    confidence: float | None = None
    unchanged: bool = False
    words: int = 0
    word_edits: int | None = None
    chars: int = 0
    char_edits: int | None = None
    of_text: bool = False  # over a text, which is read at a glance: no time of it is too short
    gold: str | None = None  # the known answer of its task
    text: str | None = None

    @property
    def answered(self) -> bool:
        """Whether it has a text: neither skipped nor rejected."""
        return not (self.skipped or self.reject)

    @property
    def drafted(self) -> bool:
        """Whether it began from one of our drafts."""
        return self.word_edits is not None and not self.blind and not self.before_attach


@dataclass(frozen=True, slots=True)
class AgreementPair:
    """The agreement of two people on one task. `choices`: per control, whether they chose the same."""

    task_id: int
    first: Review
    second: Review
    words: int
    word_edits: int
    chars: int
    char_edits: int
    choices: tuple[tuple[str, bool], ...] = ()


def reviews(connection: Connection, scope: Scope | None = None) -> list[Review]:
    """The newest state of every annotation that is not deleted, in the order of their ids."""
    scope = scope or Scope()
    each = tables.annotations.c
    version = tables.annotations.alias("version")
    lead_time_s = (
        sa.select(sa.func.max(version.c.lead_time_s))
        .where(version.c.project_id == each.project_id, version.c.ls_annotation_id == each.ls_annotation_id)
        .where(version.c.deleted_at.is_(None))
        .scalar_subquery()
    )
    first = _first_id(connection, scope)
    truth = _known_answers(scope, first)
    statement = (
        sa.select(
            each.id, each.project_id, each.task_id, each.annotator, each.language, each.script, each.quality,
            each.accent, each.reject, each.skipped, each.ground_truth, each.before_attach, each.measures, each.edited,
            sa.func.coalesce(each.ls_created_at, each.created_at).label("made_at"),
            sa.func.coalesce(each.model_version, predictions.c.model_version).label("model_version"),
            sa.func.coalesce(each.draft["confidence"].as_float(), predictions.c.score).label("confidence"),
            lead_time_s.label("lead_time_s"), tasks.c.start_s, tasks.c.end_s, tasks.c.blind, recordings.c.duration_s,
            sa.func.coalesce(tasks.c.gold_text, truth.c.text).label("gold"),
            sa.case((sa.func.coalesce(tasks.c.gold_text, truth.c.text).is_not(None), each.text)).label("text"),
        )
        .outerjoin(tasks, tasks.c.id == each.task_id)
        .outerjoin(recordings, recordings.c.id == tasks.c.recording_id)
        .outerjoin(predictions, predictions.c.id == each.prediction_id)
        .outerjoin(truth, truth.c.task_id == each.task_id)
        .where(tables.newest_version(), each.id >= first)
        .order_by(each.id)
    )  # fmt: skip
    texts = text_projects(connection)
    statement = statement.where(each.project_id.in_(texts) if scope.of_texts else each.project_id.not_in(texts))
    if scope.project_id is not None:
        statement = statement.where(each.project_id == scope.project_id)
    if scope.experiment_id is not None:
        statement = statement.where(tasks.c.experiment_id == scope.experiment_id)
    if scope.since is not None:
        statement = statement.where(sa.func.coalesce(each.ls_created_at, each.created_at) >= scope.since)
    return [_review(row, of_text=scope.of_texts) for row in connection.execute(statement)]


def text_projects(connection: Connection) -> list[int]:
    """Projects in which people say what a text means."""
    row = tables.projects.c
    likely = sa.select(row.id, row.label_config).where(row.label_config.contains('name="intent"')).order_by(row.id)
    return [int(one.id) for one in connection.execute(likely) if labelconfig.parse(one.label_config).parses]


def pairs(connection: Connection, found: Sequence[Review]) -> list[AgreementPair]:
    """The stored agreements between different people whose annotations are in `found`."""
    by_id = {review.id: review for review in found}
    kept = []
    for row in connection.execute(sa.select(agreements).order_by(agreements.c.id)):
        first, second = by_id.get(row.first_id), by_id.get(row.second_id)
        counts = row.counts if isinstance(row.counts, Mapping) else {}
        if first is None or second is None or first.annotator == second.annotator or not counts:
            continue
        choices = counts.get("choices") or {}
        kept.append(
            AgreementPair(
                task_id=row.task_id,
                first=first,
                second=second,
                words=number(counts.get("words")) or 0,
                word_edits=number(counts.get("word_edits")) or 0,
                chars=number(counts.get("chars")) or 0,
                char_edits=number(counts.get("char_edits")) or 0,
                choices=tuple(sorted((str(name), bool(value)) for name, value in choices.items())),
            )
        )
    return kept


def _first_id(connection: Connection, scope: Scope) -> int:
    """The first annotation row that is read."""
    if scope.newest is None:
        return 0
    last = connection.execute(sa.select(sa.func.max(tables.annotations.c.id))).scalar()
    return max(0, int(last or 0) - scope.newest + 1)


def _known_answers(scope: Scope, first_id: int) -> sa.Subquery:
    """Per task, the text of the newest ground-truth annotation."""
    each = tables.annotations.c
    place = sa.func.row_number().over(partition_by=each.task_id, order_by=(each.ls_updated_at.desc(), each.id.desc()))
    statement = sa.select(each.task_id, each.text, place.label("place")).where(
        each.ground_truth,
        each.deleted_at.is_(None),
        each.text.is_not(None),
        each.task_id.is_not(None),
        each.id >= first_id,
    )
    if scope.experiment_id is not None:  # the others are not read
        statement = statement.where(
            each.task_id.in_(sa.select(tasks.c.id).where(tasks.c.experiment_id == scope.experiment_id))
        )
    ranked = statement.subquery()
    return sa.select(ranked.c.task_id, ranked.c.text).where(ranked.c.place == 1).subquery()


def _review(row: Any, *, of_text: bool) -> Review:
    measures = row.measures if isinstance(row.measures, Mapping) else {}
    word_edits = number(measures.get("word_edits"))
    return Review(
        id=row.id,
        project_id=row.project_id,
        task_id=row.task_id,
        annotator=row.annotator,
        audio_s=_audio_s(row),
        lead_time_s=_seconds(row.lead_time_s),
        created_at=row.made_at,
        language=row.language,
        script=row.script,
        quality=row.quality,
        accent=row.accent,
        reject=tuple(map(str, row.reject or ())),
        skipped=row.skipped,
        ground_truth=row.ground_truth,
        before_attach=row.before_attach,
        blind=bool(row.blind),
        model_version=row.model_version,
        confidence=row.confidence,
        unchanged=bool(measures["unchanged"]) if "unchanged" in measures else row.edited == "untouched",
        words=number(measures.get("words")) or 0,
        word_edits=word_edits,
        chars=number(measures.get("chars")) or 0,
        char_edits=number(measures.get("char_edits")),
        of_text=of_text,
        gold=row.gold,
        text=row.text,
    )


def _audio_s(row: Any) -> float | None:
    """The length of the task's audio."""
    end_s = row.end_s if row.end_s is not None else row.duration_s
    if end_s is None or row.start_s is None or end_s <= row.start_s:
        return None
    return float(end_s - row.start_s)


def _seconds(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) and value > 0 else None
