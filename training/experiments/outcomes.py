"""Rows -> the outcomes of an experiment: ordinary annotations, by the side of their draft.

The unit is the call, with all its tasks. In an A/B comparison each call is on one side, and its outcome is the error
rate of its drafts against the annotations. In shadow people see only the champion's drafts; the challenger's text of
the same calls is compared with the same references, so each call has both outcomes.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.models import routing
from ml_backend.tables import annotations as annotation_rows
from ml_backend.tables import experiments, outcomes, predictions, recordings, tasks, transcriptions
from training.quality.reviews import Review, reviews
from training.scoring import error_counts

NORMALISER = "indic@1"  # as in annotations.measures
CHAMPION, CHALLENGER = routing.CHAMPION, routing.CHALLENGER


@dataclass
class CallOutcome:
    """One call on one side: words of its references, edits its drafts needed, seconds of work and of audio."""

    key: str
    arm: str
    words: int = 0
    word_edits: int = 0
    unchanged: int = 0
    drafts: int = 0
    review_s: float = 0.0
    audio_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    satisfaction: float | None = None

    @property
    def rate(self) -> float:
        """Word error rate of this call's drafts, at most 2, so that a hallucination cannot outweigh a hundred calls."""
        return min(2.0, self.word_edits / self.words) if self.words else 0.0


def of(connection: Connection, experiment: sa.Row[Any]) -> list[CallOutcome]:
    """Calls in the order of their first annotation; in shadow each call occurs once per side."""
    found = {row.id: row for row in _tasks(connection, experiment)}
    made: dict[tuple[str, str], CallOutcome] = {}
    mine = [
        review
        for review in reviews(connection)
        if review.task_id in found and review.word_edits is not None and not review.skipped and not review.before_attach
    ]
    late = _latencies(connection, list(found))
    for review in sorted(mine, key=lambda each: (str(each.created_at), each.id)):
        task = found[int(review.task_id or 0)]
        call = made.setdefault((str(task.key), str(task.arm)), CallOutcome(str(task.key), str(task.arm)))
        _add(call, review, review.word_edits or 0)
        call.latencies_s += late.get(task.id, [])
        call.satisfaction = task.satisfaction
        if experiment.kind == routing.SHADOW:
            edits = _shadow_edits(connection, experiment, task, review)
            if edits is not None:
                other = made.setdefault((call.key, CHALLENGER), CallOutcome(call.key, CHALLENGER))
                _add(other, review, edits)
    if experiment.kind == routing.SHADOW:
        both = {key for key, arm in made if arm == CHALLENGER}
        made = {place: call for place, call in made.items() if place[0] in both}
    return list(made.values())


def summary(found: Sequence[CallOutcome]) -> dict[str, Any]:
    """The figures of one side. Rates are pooled over all its calls."""
    words, audio_s = sum(call.words for call in found), sum(call.audio_s for call in found)
    drafts, rated = sum(call.drafts for call in found), [c.satisfaction for c in found if c.satisfaction is not None]
    late = [seconds for call in found for seconds in call.latencies_s]
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


def differences(found: Sequence[CallOutcome]) -> list[float]:
    """In shadow: the challenger's minus the champion's error rate of each call, in order."""
    by_key: dict[str, dict[str, CallOutcome]] = {}
    for call in found:
        by_key.setdefault(call.key, {})[call.arm] = call
    return [sides[CHALLENGER].rate - sides[CHAMPION].rate for sides in by_key.values() if len(sides) == 2]


def _add(call: CallOutcome, review: Review, edits: int) -> None:
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
            tasks.c.id, tasks.c.arm, tasks.c.start_s, tasks.c.end_s, tasks.c.recording_id,
            key.label("key"), outcomes.c.satisfaction,
        )
        .join(recordings, recordings.c.id == tasks.c.recording_id)
        .outerjoin(outcomes, sa.and_(outcomes.c.call_sid == recordings.c.call_sid, outcomes.c.kind == "call"))
        .where(tasks.c.experiment_id == experiment.id, tasks.c.blind.is_(False), tasks.c.arm.is_not(None))
    )  # fmt: skip
    return connection.execute(statement).all()


def _latencies(connection: Connection, task_ids: Sequence[int]) -> dict[int, list[float]]:
    """Seconds from the arrival of a recording to its first draft, by task."""
    statement = (
        sa.select(predictions.c.task_id, sa.func.min(predictions.c.created_at).label("at"), recordings.c.created_at)
        .join(tasks, tasks.c.id == predictions.c.task_id)
        .join(recordings, recordings.c.id == tasks.c.recording_id)
        .join(experiments, experiments.c.id == tasks.c.experiment_id)
        .where(predictions.c.task_id.in_(task_ids))
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
