"""Annotation -> Origin: a snapshot of the draft that the person began from, and the model version that made it.

Label Studio copies a prediction into an annotation only in static mode, and predictions can be deleted there. So the
snapshot is made here, from our own rows, in every mode. The draft of a foreign model is copied from Label Studio's list
of predictions. Times are seconds from the start of the task's audio.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.asr.transcript import Segment, Transcript
from ml_backend.labelling import labelconfig, rendering
from ml_backend.labelling.rendering import Reference
from ml_backend.labelling.utterance_marks import same_answer
from ml_backend.tables import predictions, recordings, transcriptions
from ml_backend.usefulness.draft_choice import NO_DRAFT
from sync.drafts import recording_pieces

UNTOUCHED, EDITED, MANUAL = "untouched", "edited", "manual"
WITHOUT_DRAFT = ("blind", NO_DRAFT)  # reason codes of predictions with empty regions
MARKS = "marks"  # in the snapshot of a draft over a text: its result
_MADE_BY = frozenset({"prediction", "prediction-changed"})


@dataclass(frozen=True)
class AnnotationOrigin:
    """The draft of an annotation. `draft` is the value of `annotations.draft`; `shown` is what the editor showed."""

    prediction_id: int | None
    model_version: str | None
    draft: dict[str, Any]
    shown: Reference


def origin_of(
    connection: Connection,
    project: sa.Row[Any],
    task: sa.Row[Any],
    annotation: Mapping[str, Any],
    listed: Sequence[Mapping[str, Any]] | None,
) -> AnnotationOrigin | None:
    """The draft of an annotation; None when there was no draft.

    `listed` are Label Studio's predictions of the task, if they were read: they map its ids to our rows.
    """
    mine = sa.select(predictions).where(predictions.c.task_id == task.id).order_by(predictions.c.id.desc())
    ours = connection.execute(mine).all()
    parent = annotation.get("parent_prediction")
    if not parent:
        found = _latest(ours) if _was_drafted(annotation) else None
        return _ours(connection, project, task, found) if found is not None else None
    known = next((row for row in ours if row.ls_prediction_id == parent), None)
    if known is not None:
        return _ours(connection, project, task, known)
    there = next((entry for entry in listed or () if entry.get("id") == parent), None)
    if there is None:
        found = _latest(ours)
        return _ours(connection, project, task, found) if found is not None else None
    known = next((row for row in ours if row.draft_label == there.get("model_version")), None)
    if known is None:
        return _foreign(project, there)
    if known.ls_prediction_id is None:
        now = sa.update(predictions).where(predictions.c.id == known.id)
        connection.execute(now.values(ls_prediction_id=int(parent)))
    return _ours(connection, project, task, known)


def needs_list(connection: Connection, task: sa.Row[Any] | None, annotation: Mapping[str, Any]) -> bool:
    """Whether Label Studio's list is needed to find the prediction that an annotation began from."""
    parent = annotation.get("parent_prediction")
    if task is None or not parent:
        return False
    mine = sa.and_(predictions.c.task_id == task.id, predictions.c.ls_prediction_id == int(parent))
    return connection.execute(sa.select(predictions.c.id).where(mine)).first() is None


def edited(
    reference: Reference, origin: AnnotationOrigin | None, result: Any = None, task: sa.Row[Any] | None = None
) -> str:
    """Untouched, edited or manual. The same words at the same places are untouched, whatever choices were made.

    Over a text the choices are the answer: there the same intent, language and entities are untouched.
    """
    if origin is None:
        return MANUAL
    if MARKS in origin.draft:
        return UNTOUCHED if same_answer(result, origin.draft[MARKS], shown_text(task)) else EDITED
    same = reference.text == origin.shown.text and _places(reference) == _places(origin.shown)
    return UNTOUCHED if same else EDITED


def shown_text(task: sa.Row[Any] | None) -> str:
    """The text of a task over a text."""
    return str(task.data_value or "") if task is not None else ""


def _places(reference: Reference) -> list[tuple[float, float, int, str]]:
    return [(round(r.start_s, 2), round(r.end_s, 2), r.channel, r.text) for r in reference.segments]


def _was_drafted(annotation: Mapping[str, Any]) -> bool:
    """Whether an item names a prediction as its source; the editor writes it into every item."""
    result = annotation.get("result")
    return any(isinstance(item, Mapping) and item.get("origin") in _MADE_BY for item in result or ())


def _latest(ours: Sequence[sa.Row[Any]]) -> sa.Row[Any] | None:
    """The newest delivered prediction."""
    return next((row for row in ours if row.delivered_by in ("push", "answer") and not _withdrawn(row)), None)


def _withdrawn(row: sa.Row[Any]) -> bool:
    return str(row.draft_label).startswith("withdrawn-")


def _ours(connection: Connection, project: sa.Row[Any], task: sa.Row[Any], row: sa.Row[Any]) -> AnnotationOrigin | None:
    """The origin from our prediction row; None when it has no draft (a blind task, a poor draft, silence)."""
    body = json.loads(row.body)
    result = body.get("result") if isinstance(body, dict) else None
    if not result or row.reason_code in WITHOUT_DRAFT:
        return None
    shown = rendering.to_reference(result, labelconfig.parse(project.label_config))
    draft: dict[str, Any] = {"text": shown.text, "label": row.draft_label, "confidence": row.score}
    draft |= {MARKS: result} if labelconfig.parse(project.label_config).parses else {}
    transcript = _transcript(connection, task, row)
    if transcript is not None:
        draft |= {
            "confidence": round(transcript.confidence, 4),
            "language": transcript.language,
            "language_probability": round(transcript.language_probability, 4),
            "segments": [_segment(segment) for segment in transcript.segments],
            "words": [
                {"start_s": w.start_s, "end_s": w.end_s, "text": w.text, "probability": round(w.probability, 3),
                 "channel": segment.channel}
                for segment in transcript.segments for w in segment.words
            ],
        }  # fmt: skip
        if row.config_sha256 != (project.config_sha256 or "") and not shown.text:
            draft["text"] = transcript.text  # the labelling config's names have changed
    return AnnotationOrigin(row.id, row.model_version if row.model_version != "none" else None, draft, shown)


def _transcript(connection: Connection, task: sa.Row[Any], row: sa.Row[Any]) -> Transcript | None:
    """The transcript of the task's piece of audio."""
    if row.transcription_id is None or task.recording_id is None:
        return None
    found = connection.execute(
        sa.select(transcriptions.c.transcript).where(transcriptions.c.id == row.transcription_id)
    ).scalar()
    recording = connection.execute(sa.select(recordings).where(recordings.c.id == task.recording_id)).first()
    if found is None or recording is None:
        return None
    return recording_pieces.part(Transcript.from_json(found), recording_pieces.piece_of(recording, task))


def _segment(segment: Segment) -> dict[str, Any]:
    return {
        "start_s": segment.start_s, "end_s": segment.end_s, "channel": segment.channel, "text": segment.text.strip(),
        "confidence": round(segment.confidence, 4),
    }  # fmt: skip


def _foreign(project: sa.Row[Any], there: Mapping[str, Any]) -> AnnotationOrigin:
    """The origin from a foreign prediction in Label Studio, with the version that it states."""
    shown = rendering.to_reference(there.get("result"), labelconfig.parse(project.label_config))
    version = str(there.get("model_version") or "")[:120] or None
    score = there.get("score")
    draft = {"text": shown.text, "label": version, "confidence": score if isinstance(score, int | float) else None}
    draft |= {MARKS: there.get("result")} if labelconfig.parse(project.label_config).parses else {}
    return AnnotationOrigin(None, version, draft, shown)
