"""Recording -> its pieces: what one task plays. A whole recording is one piece; a long call has several.

A call longer than a task may be is cut at pauses during ingest (`recordings.spans`). Each piece has its own audio,
which begins at 0; transcripts are timed from the start of the recording, so they are cut and shifted.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db
from ml_backend.asr.transcript import Segment, Transcript, Word
from ml_backend.tables import projects, tasks


@dataclass(frozen=True)
class RecordingPiece:
    """From `start_s` to `end_s` of a recording (None: its end); its audio is the object `key` of our bucket."""

    start_s: float = 0.0
    end_s: float | None = None
    key: str | None = None


def pieces_of(recording: Any) -> list[RecordingPiece]:
    """The pieces of a recording's row, in order; the whole recording if it was not cut."""
    spans = recording.spans or []
    if not spans:
        return [RecordingPiece(key=recording.derived_key)]
    return [RecordingPiece(float(start_s), float(end_s), str(key)) for start_s, end_s, key in spans]


def piece_of(recording: Any, task: Any) -> RecordingPiece:
    """The piece of a task; the whole recording for a task imported from a whole file."""
    for piece in pieces_of(recording):
        if (piece.start_s, piece.end_s) == (task.start_s, task.end_s):
            return piece
    return RecordingPiece(task.start_s or 0.0, task.end_s, recording.derived_key)


def audio_identity(recording: Any) -> str:
    """A recording's permanent name. A call's is its hash, because it may come from the provider or the object store."""
    if recording.call_sid and recording.sha256:
        return f"call {recording.call_sid} {recording.sha256}"
    return str(recording.source_identity)


def external_key(project: Any, identity: str, piece: RecordingPiece | None = None) -> str:
    """The key of an audio in a project: always the same, even after our database was lost."""
    piece = piece or RecordingPiece()
    span = f"{piece.start_s:.3f}" + (f"-{piece.end_s:.3f}" if piece.end_s is not None else "")
    text = f"{project.instance_url}|{project.ls_project_id}|{identity}|{span}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def length_s(recording: Any, piece: RecordingPiece) -> float:
    return round(float((recording.duration_s if piece.end_s is None else piece.end_s) or 0.0) - piece.start_s, 6)


def part(transcript: Transcript, piece: RecordingPiece) -> Transcript:
    """The transcript of a piece, timed from its start. A segment belongs to the piece that contains its middle.

    Confidence is the mean over segments, weighted by their length in characters.
    """
    if piece.end_s is None and not piece.start_s:
        return transcript
    end_s = transcript.duration_s if piece.end_s is None else piece.end_s
    inside = [s for s in transcript.segments if piece.start_s <= (s.start_s + s.end_s) / 2 < end_s]
    weights = [max(1, len(s.text.strip())) for s in inside]
    mean = sum(s.confidence * w for s, w in zip(inside, weights, strict=True)) / sum(weights) if inside else 0.0
    segments = tuple(_shifted(s, piece.start_s, end_s) for s in inside)
    return replace(transcript, segments=segments, duration_s=end_s - piece.start_s, confidence=mean)


def split_tasks(connection: Connection, recording: Any) -> int:
    """Replace wanted tasks over a whole recording by one per piece; returns how many are new.

    A task that is already in Label Studio stays as it is. Safe to repeat.
    """
    if not recording.spans:
        return 0
    whole = sa.and_(tasks.c.recording_id == recording.id, tasks.c.end_s.is_(None), tasks.c.ls_task_id.is_(None))
    made = 0
    for row in connection.execute(sa.select(tasks).where(whole, tasks.c.state.in_(("wanted", "waiting")))).all():
        project = connection.execute(sa.select(projects).where(projects.c.id == row.project_id)).one()
        kept = {name: getattr(row, name) for name in _CARRIED}
        for piece in pieces_of(recording):
            key = external_key(project, audio_identity(recording), piece)
            values = {**kept, "start_s": piece.start_s, "end_s": piece.end_s, "external_key": key}
            made += db.insert_once(connection, tasks, values, key=("external_key",))[1]
        db.update(connection, tasks, row.id, state="deleted", reason_code="cut-into-pieces")
    return made


_CARRIED = (
    "project_id", "recording_id", "origin", "blind", "selection_reason", "selection_probability", "usefulness",
    "usefulness_reason", "expected", "overlap", "state", "reason_code", "reason",
)  # fmt: skip


def _shifted(segment: Segment, start_s: float, end_s: float) -> Segment:
    def move(at_s: float) -> float:
        return round(min(max(at_s, start_s), end_s) - start_s, 3)

    words = tuple(Word(move(w.start_s), move(w.end_s), w.text, w.probability) for w in segment.words)
    return replace(segment, start_s=move(segment.start_s), end_s=move(segment.end_s), words=words)
