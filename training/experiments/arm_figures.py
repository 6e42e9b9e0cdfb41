"""Rows -> the calls of an experiment, each on its side, with everything that is known of how it went.

The unit is the call. Its side is the one that its task or its answered requests have on their rows; a call that was
only reported on has the side that its id gives, which is the one that /api/route told whoever served it. In an A/B
comparison each call is on one side. In shadow people and callers see only the champion's answers; what the challenger
made of the same calls is compared with it, so each call has both sides.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.models import kinds, routing
from ml_backend.models.registry import ANY_LANGUAGE
from ml_backend.outcomes.call_outcomes import CALL
from ml_backend.tables import annotations as annotation_rows
from ml_backend.tables import experiments, outcomes, predictions, recordings, tasks, transcriptions
from training.experiments import experiment_measures
from training.experiments.experiment_measures import MEASURES, Measure
from training.quality.reviews import Review, Scope, reviews
from training.scoring import error_counts

NORMALISER = "indic@1"  # as in annotations.measures
CHAMPION, CHALLENGER = routing.CHAMPION, routing.CHALLENGER
_SHADOWED = ("requests", "compared", "differing", "dropped", "failed")  # of a row's `shadow`
_EVER = datetime.max.replace(tzinfo=UTC)


@dataclass
class ArmCall:
    """One call on one side. `at` is when it was first known, which orders the calls for the sequential test."""

    key: str
    arm: str
    at: datetime = _EVER
    words: int = 0
    word_edits: int = 0
    unchanged: int = 0
    drafts: int = 0
    review_s: float = 0.0
    audio_s: float = 0.0
    draft_after_s: list[float] = field(default_factory=list)
    latency_s: float | None = None
    success: bool | None = None
    satisfaction: float | None = None
    automated: bool | None = None

    @property
    def rate(self) -> float:
        """Word error rate of this call's drafts, at most 2, so that a hallucination cannot outweigh a hundred calls."""
        return min(2.0, self.word_edits / self.words) if self.words else 0.0

    def value(self, name: str) -> float | None:
        """What the call says of a measure; None where it says nothing."""
        if name == experiment_measures.WER:
            return self.rate if self.words else None
        if name == experiment_measures.EDIT_RATE:
            return (self.drafts - self.unchanged) / self.drafts if self.drafts else None
        if name == experiment_measures.LATENCY:
            return None if self.latency_s is None else min(experiment_measures.LONGEST_S, self.latency_s)
        told = {"success": self.success, "satisfaction": self.satisfaction, "automation": self.automated}[name]
        return None if told is None else float(told)

    def weight(self, name: str) -> tuple[float, float]:
        """(part, whole) of a pooled measure."""
        if name == experiment_measures.WER:
            return self.word_edits, self.words
        return self.drafts - self.unchanged, self.drafts


def of(connection: Connection, experiment: sa.Row[Any]) -> list[ArmCall]:
    """The calls in the order in which they became known. Reads the experiment's rows only, whatever else there is."""
    made: dict[tuple[str, str], ArmCall] = {}
    if experiment.model_kind == kinds.ASR:
        _add_reviews(connection, experiment, made)
    _add_answers(connection, experiment, made)
    _add_reports(connection, experiment, made)
    return sorted(made.values(), key=lambda call: (call.at, call.key, call.arm))


def observations(found: Iterable[ArmCall], measure: Measure) -> list[tuple[bool, float]]:
    """(is on the challenger's side, value) of each call that says something of a measure."""
    return [
        (call.arm == CHALLENGER, value) for call in found if (value := call.value(measure.name)) is not None
    ]  # fmt: skip


def pairs(found: Sequence[ArmCall], measure: Measure) -> list[tuple[float, float]]:
    """In shadow: (the champion's value, the challenger's) of each call that has both."""
    by_key: dict[str, dict[str, float]] = {}
    for call in found:
        if (value := call.value(measure.name)) is not None:
            by_key.setdefault(call.key, {})[call.arm] = value
    return [(sides[CHAMPION], sides[CHALLENGER]) for sides in by_key.values() if len(sides) == 2]


def summary(found: Sequence[ArmCall]) -> dict[str, Any]:
    """What one side's annotators did. Rates are pooled over all its calls."""
    words, audio_s = sum(call.words for call in found), sum(call.audio_s for call in found)
    drafts, rated = sum(call.drafts for call in found), [c.satisfaction for c in found if c.satisfaction is not None]
    late = [seconds for call in found for seconds in call.draft_after_s]
    return {
        "calls": len(found),
        "words": words,
        "word_edits": sum(call.word_edits for call in found),
        "wer": _share(sum(call.word_edits for call in found), words),
        "edit_rate": _share(drafts - sum(call.unchanged for call in found), drafts),
        "review_s_per_audio_minute": _share(60 * sum(call.review_s for call in found), audio_s),
        "draft_after_s": round(statistics.median(late), 1) if late else None,
        "satisfaction": _share(sum(rated), len(rated)),
    }


def measured(found: Sequence[ArmCall], experiment: sa.Row[Any]) -> dict[str, dict[str, Any]]:
    """Every measure of both sides, with counts and intervals, or why it is not measured."""
    shadow, told = experiment.kind == routing.SHADOW, {}
    for measure in MEASURES.values():
        sides = {
            arm: [call for call in found if call.arm == arm and call.value(measure.name) is not None]
            for arm in (CHAMPION, CHALLENGER)
        }
        figures = {
            arm: experiment_measures.figure(
                measure,
                [value for call in calls if (value := call.value(measure.name)) is not None],
                [call.weight(measure.name) for call in calls] if measure.pooled else (),
            )
            for arm, calls in sides.items()
        }
        why = experiment_measures.not_measured(measure, experiment.model_kind, shadow=shadow)
        if not why and not any(figures.values()):
            why = measure.lacks
        told[measure.name] = {**figures, "not_measured": why or None}
    return told


def shadowed(connection: Connection, experiment: sa.Row[Any]) -> dict[str, int]:
    """What the shadow made of live requests: how many, and how far it differs (words and edits, or intents)."""
    mine = sa.and_(outcomes.c.experiment_id == experiment.id, outcomes.c.kind == experiment.model_kind)
    told: Counter[str] = Counter()
    for shadow in connection.execute(sa.select(outcomes.c.shadow).where(mine)).scalars():
        if shadow and shadow.get("version") == experiment.challenger:
            told.update({name: shadow.get(name) or 0 for name in _SHADOWED})
    return dict(told)


def _add_reviews(connection: Connection, experiment: sa.Row[Any], made: dict[tuple[str, str], ArmCall]) -> None:
    """What annotators did with the drafts of the experiment's tasks."""
    found = {row.id: row for row in _tasks(connection, experiment)}
    if not found:
        return
    mine = [
        review
        for review in reviews(connection, Scope(experiment_id=experiment.id))
        if review.task_id in found and review.word_edits is not None and not review.skipped and not review.before_attach
    ]
    late = _latencies(connection, experiment)
    for review in sorted(mine, key=lambda each: (str(each.created_at), each.id)):
        task = found[int(review.task_id or 0)]
        call = _call(made, str(task.key), str(task.arm), review.created_at)
        _add(call, review, review.word_edits or 0)
        call.draft_after_s += late.get(task.id, [])
        if experiment.kind == routing.SHADOW:
            edits = _shadow_edits(connection, experiment, task, review)
            if edits is not None:
                _add(_call(made, call.key, CHALLENGER, review.created_at), review, edits)
    if experiment.kind == routing.SHADOW:
        both = {key for key, arm in made if arm == CHALLENGER}
        for place in [place for place in made if place[0] not in both]:
            del made[place]


def _add_answers(connection: Connection, experiment: sa.Row[Any], made: dict[tuple[str, str], ArmCall]) -> None:
    """What `serve` answered for calls of the experiment."""
    mine = sa.and_(outcomes.c.experiment_id == experiment.id, outcomes.c.kind == experiment.model_kind)
    statement = sa.select(
        outcomes.c.call_sid,
        outcomes.c.arm,
        outcomes.c.latency_s,
        outcomes.c.shadow,
        outcomes.c.created_at,
        outcomes.c.failed,
    ).where(mine, outcomes.c.arm.is_not(None))
    for row in connection.execute(statement.order_by(outcomes.c.id)):
        # Who got no answer waited for ever: a version that fails where it is slow must not look fast
        late_s = experiment_measures.LONGEST_S if row.failed else row.latency_s
        _call(made, row.call_sid, row.arm, row.created_at).latency_s = late_s
        late = (row.shadow or {}).get("latency_s")
        if late is not None and (row.shadow or {}).get("version") == experiment.challenger:
            _call(made, row.call_sid, CHALLENGER, row.created_at).latency_s = float(late)


def _add_reports(connection: Connection, experiment: sa.Row[Any], made: dict[tuple[str, str], ArmCall]) -> None:
    """How the calls went. A report on another call counts where its id has a side and no model of ours answered it."""
    theirs: dict[str, ArmCall] = {}
    for each in made.values():  # in shadow callers met the champion
        if experiment.kind != routing.SHADOW or each.arm == CHAMPION:
            theirs[each.key] = each
    answered = outcomes.alias("answered")
    none = ~sa.exists().where(answered.c.call_sid == outcomes.c.call_sid, answered.c.kind == experiment.model_kind)
    columns = sa.select(
        outcomes.c.call_sid, outcomes.c.success, outcomes.c.satisfaction, outcomes.c.automated, outcomes.c.latencies,
        outcomes.c.created_at, none.label("unanswered"),
    ).where(outcomes.c.kind == CALL, outcomes.c.updated_at >= experiment.created_at)  # fmt: skip
    for row in connection.execute(columns.order_by(outcomes.c.id)):
        call = theirs.get(row.call_sid)
        if call is None:
            over = experiment.ended_at is not None and row.created_at > experiment.ended_at
            if over or not row.unanswered or row.created_at < experiment.created_at:
                continue
            if experiment.language != ANY_LANGUAGE:
                continue  # a report does not say the language
            arm = routing.arm_of(experiment, row.call_sid)
            call = theirs[row.call_sid] = _call(made, row.call_sid, arm, row.created_at)
        call.success, call.satisfaction, call.automated = row.success, row.satisfaction, row.automated
        if call.latency_s is None:
            call.latency_s = (row.latencies or {}).get(experiment.model_kind)


def _call(made: dict[tuple[str, str], ArmCall], key: str, arm: str, at: datetime | None) -> ArmCall:
    found = made.setdefault((key, arm), ArmCall(key, arm))
    found.at = min(found.at, at or _EVER)
    return found


def _add(call: ArmCall, review: Review, edits: int) -> None:
    call.words += review.words
    call.word_edits += edits
    call.drafts += 1
    call.unchanged += edits == 0
    call.review_s += review.lead_time_s or 0.0
    call.audio_s += (review.audio_s or 0.0) if review.lead_time_s else 0.0


def _tasks(connection: Connection, experiment: sa.Row[Any]) -> Sequence[Any]:
    key = sa.func.coalesce(recordings.c.call_sid, recordings.c.sha256, recordings.c.source_identity)
    statement = (
        sa.select(
            tasks.c.id, tasks.c.arm, tasks.c.start_s, tasks.c.end_s, tasks.c.recording_id, key.label("key"),
        )
        .join(recordings, recordings.c.id == tasks.c.recording_id)
        .where(tasks.c.experiment_id == experiment.id, tasks.c.blind.is_(False), tasks.c.arm.is_not(None))
    )  # fmt: skip
    return connection.execute(statement).all()


def _latencies(connection: Connection, experiment: sa.Row[Any]) -> dict[int, list[float]]:
    """Seconds from the arrival of a recording to its first draft, by task."""
    statement = (
        sa.select(predictions.c.task_id, sa.func.min(predictions.c.created_at).label("at"), recordings.c.created_at)
        .join(tasks, tasks.c.id == predictions.c.task_id)
        .join(recordings, recordings.c.id == tasks.c.recording_id)
        .join(experiments, experiments.c.id == tasks.c.experiment_id)
        .where(tasks.c.experiment_id == experiment.id)
        .group_by(predictions.c.task_id, recordings.c.created_at)
    )
    return {row.task_id: [(row.at - row.created_at).total_seconds()] for row in connection.execute(statement)}


def _shadow_edits(connection: Connection, experiment: sa.Row[Any], task: sa.Row[Any], review: Review) -> int | None:
    """Edits that the challenger's text would have needed; None before it has transcribed the recording."""
    transcript = connection.execute(
        sa.select(transcriptions.c.transcript)
        .where(transcriptions.c.recording_id == task.recording_id)
        .where(transcriptions.c.model_version == experiment.challenger)
        .order_by(transcriptions.c.id.desc())
        .limit(1)
    ).scalar()
    text = connection.execute(sa.select(annotation_rows.c.text).where(annotation_rows.c.id == review.id)).scalar()
    if transcript is None:
        return None
    said = error_counts.count(
        str(text or ""), _within(transcript, task.start_s, task.end_s), normaliser=NORMALISER, language=review.language
    )
    return said.word_edits.total


def _within(transcript: Mapping[str, Any], start_s: float, end_s: float | None) -> str:
    """The text of the segments whose middle is in a span."""
    inside = [
        segment
        for segment in transcript.get("segments") or ()
        if start_s <= (segment["start_s"] + segment["end_s"]) / 2 < (end_s if end_s is not None else float("inf"))
    ]
    inside.sort(key=lambda segment: (segment["start_s"], segment.get("channel", 0)))
    return " ".join(str(segment["text"]).strip() for segment in inside if str(segment["text"]).strip())


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None
