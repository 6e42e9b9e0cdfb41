"""Annotations of a task -> its samples: one reference per span of speech, or the reason why not.

Runs whenever an annotation of the task is added, changed or deleted, and remakes all samples from the rows; repeating
it changes nothing. An unchanged sample keeps its `accepted_at`, so that it counts as new only once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import tables
from ml_backend.calls import sample_use
from ml_backend.context import JobContext
from ml_backend.jobs import enqueueing, job_kinds, schedules
from ml_backend.labelling import labelconfig, project_rules
from ml_backend.labelling.decoding_profile import decoding_of
from ml_backend.settings import Settings
from ml_backend.tables import agreements, calls, projects, recordings, samples, tasks, transcriptions
from ml_backend.tables import annotations as annotation_rows
from training.samples import annotation_spans, draft_changes, language_policy, mark_changes, utterance_corrections
from training.samples.reference_choice import AnnotationVersion, Chosen, choose
from training.samples.sample_pieces import REASONS, Audio, DraftWord, SamplePiece


def sample_task(context: JobContext, task_id: int) -> None:
    """Measures, agreements and samples of one task. Safe to repeat."""
    with context.db.transaction() as connection:
        task = connection.execute(sa.select(tasks).where(tasks.c.id == task_id).with_for_update()).first()
        if task is None or task.reason_code == "erased":
            return
        project = connection.execute(sa.select(projects).where(projects.c.id == task.project_id)).one()
        found = alive(connection, task_id)
        corrected = utterance_corrections.corrected(connection, task, found)
        if corrected or labelconfig.parse(project.label_config).parses:
            text = str(task.data_value or "")
            _measure(connection, {row.id: mark_changes.of(row, text) for row in found}, found)
            _agree(connection, task_id, mark_changes.agreements(found, text))
            return
        _measure(connection, {row.id: draft_changes.of(row) for row in found}, found)
        _agree(connection, task_id, draft_changes.agreements(found))
        _store(connection, task, _Maker(connection, context.settings, project, task).rows(found))


def alive(connection: Connection, task_id: int) -> list[sa.Row[Any]]:
    """The newest version of each annotation of a task that is not deleted, in the order of Label Studio's ids.

    Our ids follow the order of arrival, which differs between databases.
    """
    mine = sa.select(annotation_rows).where(annotation_rows.c.task_id == task_id, tables.newest_version())
    return list(connection.execute(mine.order_by(annotation_rows.c.ls_annotation_id)))


class _Maker:
    """The inputs of one task's samples."""

    def __init__(self, connection: Connection, settings: Settings, project: Any, task: Any) -> None:
        self._project, self._task = project, task
        self._config = labelconfig.parse(project.label_config)
        self._policy = language_policy.script_policy(project)
        self._language = decoding_of(project, settings).language
        audio = sa.select(recordings).where(recordings.c.id == task.recording_id)
        self._recording = connection.execute(audio).first() if task.recording_id is not None else None
        of_call = sa.select(calls.c.consent_purpose).where(
            calls.c.id == (self._recording.call_id if self._recording is not None else None)
        )
        self._consent = connection.execute(of_call).scalar()
        latest = (
            sa.select(transcriptions)
            .where(transcriptions.c.recording_id == task.recording_id)
            .order_by(transcriptions.c.id.desc())
            .limit(1)
        )
        self._transcription = connection.execute(latest).first() if task.recording_id is not None else None

    def rows(self, found: Sequence[Any]) -> list[dict[str, Any]]:
        """A `samples` row for every piece of every chosen reference, without its number."""
        if not found or self._config.rates:
            return []
        by_id = {row.ls_annotation_id: row for row in found}
        asking = [] if self._task.blind else [row for row in found if self._asks_again(row)]
        if asking and len(asking) == len(found):
            return [self._row(row, Chosen(row.ls_annotation_id, self._whole("redraft-asked"), "")) for row in asking]
        found = [row for row in found if row not in asking]
        working = _one_per_person([row for row in found if not row.skipped])
        if not working:
            last = max(found, key=lambda row: (row.ls_updated_at, row.ls_annotation_id))
            return [self._row(last, Chosen(last.ls_annotation_id, self._whole("skipped"), ""))]
        chosen = choose(
            [self._work(row) for row in working], project_rules.selection(self._project.selection).reviewers
        )
        return [self._row(by_id[one.annotation_id], one) for one in chosen]

    def _asks_again(self, row: Any) -> bool:
        return not row.skipped and row.redraft is not None

    def _work(self, row: Any) -> AnnotationVersion:
        pieces = annotation_spans.pieces_of(
            row.text or "", row.segments or [], self._audio(row), self._language_of(row)
        )
        rejected = bool(row.reject)
        return AnnotationVersion(
            annotation_id=row.ls_annotation_id,
            annotator=row.annotator,
            updated_at=row.ls_updated_at,
            pieces=(self._whole("rejected"),) if rejected else tuple(pieces),
            ground_truth=bool(row.ground_truth),
            rejected=rejected,
        )

    def _row(self, row: Any, chosen: Chosen) -> dict[str, Any]:
        piece, language = chosen.piece, self._language_of(row)
        reason = self._objection(piece, language)
        offset_s = float(self._task.start_s or 0.0)
        start_s, end_s = round(offset_s + piece.start_s, 3), round(offset_s + piece.end_s, 3)
        audio = (self._recording.sha256 if self._recording is not None else None) or f"task-{self._task.id}"
        says = [audio, round(start_s * 1000), round(end_s * 1000), piece.channel, piece.text, language]
        return {
            "project_id": self._project.id,
            "task_id": self._task.id,
            "annotation_id": row.id,
            "recording_id": self._task.recording_id,
            "start_s": start_s,
            "end_s": end_s,
            "channel": piece.channel,
            "text": piece.text,
            "language": language,
            "script": language_policy.script(piece.text) or row.script,
            "annotator": row.annotator,
            "quality": row.quality,
            "accent": row.accent,
            "emotion": row.emotion,
            "chosen_by": chosen.by or None,
            "blind": bool(self._task.blind),
            "before_attach": bool(row.before_attach),
            "digest": hashlib.sha256(json.dumps(says, ensure_ascii=False).encode()).hexdigest(),
            "state": "excluded" if reason else "accepted",
            "reason_code": reason or None,
            "reason": REASONS[reason] if reason else None,
        }

    def _objection(self, piece: SamplePiece, language: str | None) -> str:
        if piece.reason in ("skipped", "rejected", "redraft-asked"):
            return piece.reason
        if self._task.gold_text is not None:
            return "gold"
        state = self._recording.state if self._recording is not None else None
        if why := sample_use.objection(state, self._consent):
            return why
        return piece.reason or language_policy.objection(piece.text, language, self._policy)

    def _whole(self, reason: str) -> SamplePiece:
        return SamplePiece(0.0, self._length_s(), 0, "", reason)

    def _length_s(self) -> float:
        end_s = self._task.end_s
        if end_s is None:
            end_s = self._recording.duration_s if self._recording is not None else None
        return max(0.0, float(end_s or 0.0) - float(self._task.start_s or 0.0))

    def _audio(self, row: Any) -> Audio:
        """The task's audio; words from the annotation's draft, else from the recording's latest transcription."""
        draft = row.draft if isinstance(row.draft, Mapping) else {}
        drafted = [
            DraftWord(w["start_s"], w["end_s"], w["text"], w.get("channel", 0)) for w in draft.get("words") or ()
        ]
        channels = int(self._recording.channels or 1) if self._recording is not None else 1
        length_s = self._length_s() or max((float(s["end_s"]) for s in row.segments or ()), default=0.0)
        return Audio(length_s, max(1, channels), tuple(drafted or self._draft_words()))

    def _draft_words(self) -> list[DraftWord]:
        """Words of the latest transcription within the task, timed from its start."""
        if self._transcription is None:
            return []
        begin, length_s = float(self._task.start_s or 0.0), self._length_s()
        words = [
            DraftWord(word["start_s"] - begin, word["end_s"] - begin, word["text"], segment.get("channel", 0))
            for segment in self._transcription.transcript.get("segments", ())
            for word in segment.get("words", ())
        ]
        return [word for word in words if 0 <= (word.start_s + word.end_s) / 2 < length_s]

    def _language_of(self, row: Any) -> str | None:
        draft = row.draft if isinstance(row.draft, Mapping) else {}
        detected, certainty = draft.get("language"), float(draft.get("language_probability") or 0.0)
        if not detected and self._transcription is not None:
            detected, certainty = self._transcription.language, float(self._transcription.language_probability or 0.0)
        return language_policy.language_of(row.language, self._language, detected, certainty)


def _one_per_person(found: Sequence[Any]) -> list[Any]:
    """One annotation per person: the ground truth, else the one changed last."""
    latest: dict[Any, Any] = {}
    for row in sorted(found, key=lambda row: (bool(row.ground_truth), row.ls_updated_at, row.ls_annotation_id)):
        latest[row.annotator if row.annotator is not None else f"annotation {row.id}"] = row
    return sorted(latest.values(), key=lambda row: row.ls_annotation_id)


def _measure(connection: Connection, measures: Mapping[int, dict[str, Any]], found: Sequence[Any]) -> None:
    for row in found:
        if measures[row.id] != row.measures:
            changed = sa.update(annotation_rows).where(annotation_rows.c.id == row.id)
            connection.execute(changed.values(measures=measures[row.id]))


def _agree(connection: Connection, task_id: int, found: Iterable[tuple[int, int, dict[str, Any]]]) -> None:
    connection.execute(sa.delete(agreements).where(agreements.c.task_id == task_id))
    rows = [
        {"task_id": task_id, "first_id": first, "second_id": second, "counts": counts}
        for first, second, counts in found
    ]
    if rows:
        connection.execute(sa.insert(agreements), rows)


def _store(connection: Connection, task: Any, rows: Sequence[dict[str, Any]]) -> None:
    mine = samples.c.task_id == task.id
    accepted = sa.select(samples.c.digest, samples.c.accepted_at).where(mine, samples.c.accepted_at.is_not(None))
    since = {row.digest: row.accepted_at for row in connection.execute(accepted)}
    connection.execute(sa.delete(samples).where(mine))
    now = tables.now()
    numbered = [
        {
            **row,
            "number": number,
            "accepted_at": (since.get(row["digest"]) or now) if row["state"] == "accepted" else None,
        }
        for number, row in enumerate(rows)
    ]
    if numbered:
        connection.execute(sa.insert(samples), numbered)


PER_TRANSACTION = 50


def sample_project(context: JobContext, project_id: int, everything: int = 0) -> None:
    """Remake a project's samples: of every task with annotations, or only of tasks without samples."""
    task, annotation = tables.tasks, tables.annotations
    alive = sa.exists().where(annotation.c.task_id == task.c.id, annotation.c.deleted_at.is_(None))
    concerned = alive if everything else alive.where(schedules.not_sampled())
    last = 0
    while True:
        page = sa.select(task.c.id).where(task.c.project_id == project_id, task.c.id > last, concerned)
        with context.db.transaction() as connection:
            ids = list(connection.execute(page.order_by(task.c.id).limit(PER_TRANSACTION)).scalars())
            enqueueing.enqueue_many(connection, job_kinds.SAMPLE_TASK, "task_id", ids, priority=job_kinds.BULK)
        if len(ids) < PER_TRANSACTION:
            return
        last = ids[-1]
