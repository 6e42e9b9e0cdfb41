"""One call -> what happened to it and when, what comes next, and every transcription of its audio. Reads only.

Each entry has its time, a sentence, and where it has one the noun and number that it is about. What has no time of its
own is told by `explanation` in `call_views`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ml_backend.calls.states import GONE, OPEN
from ml_backend.db import Database
from ml_backend.languages import name_of
from ml_backend.outcomes.call_outcomes import CALL
from ml_backend.tables import annotations as written
from ml_backend.tables import (
    calls,
    events,
    outcomes,
    predictions,
    projects,
    recordings,
    samples,
    tasks,
    waveforms,
)
from ml_backend.tables import transcriptions as texts
from ml_backend.views import call_explanations, outcome_views
from ml_backend.views.call_views import text_of

MOST = 400
_JOBS = {
    "fetch-recording": "Its recording was fetched.",
    "ingest-recording": "Its audio was decoded and measured.",
    "transcribe-recording": "Its transcription ended.",
    "select-recording": "Whether it becomes a task was decided.",
    "draft-recording": "Its drafts were made.",
}
Entry = tuple[datetime | None, str, str, int | None]


def of_call(database: Database, call_id: int) -> dict[str, Any]:
    """The whole view of one call."""
    call = database.row(calls, call_id)
    ids = database.scalars(sa.select(recordings.c.id).where(recordings.c.call_id == call_id).order_by(recordings.c.id))
    return {
        "id": call.id, "call_sid": call.call_sid, "state": call.state, "timeline": entries(database, call),
        "next": what_is_next(call), **of_recordings(database, ids),
    }  # fmt: skip


def of_recordings(database: Database, ids: Sequence[int]) -> dict[str, Any]:
    """What was said in recordings, and how loud it was."""
    return {
        "transcripts": transcripts(database, ids), "references": references(database, ids),
        "waveforms": _waveforms(database, ids),
    }  # fmt: skip


def _waveforms(database: Database, ids: Sequence[int]) -> list[dict[str, Any]]:
    """Of recordings with audio: length, loudness by channel (ml_backend/audio/envelope.py), and spans of speech."""
    audio, drawn = recordings.c, waveforms.c
    mine = (
        sa.select(audio.id, audio.duration_s, audio.speech, audio.rate_hz, drawn.channels)
        .outerjoin(waveforms, drawn.recording_id == audio.id)
        .where(audio.id.in_(list(ids)), audio.derived_key.is_not(None), audio.state.not_in(GONE))
        .order_by(audio.id)
    )
    return [
        {
            "recording_id": row.id, "duration_s": row.duration_s, "channels": row.channels or [],
            "speech": row.speech or [],
        }
        for row in database.rows(mine)
    ]  # fmt: skip


def entries(database: Database, call: sa.Row[Any]) -> list[dict[str, Any]]:
    """What happened, the oldest first; `about` and `id` name what it is about, e.g. task and Label Studio's number."""
    audio = database.rows(sa.select(recordings).where(recordings.c.call_id == call.id).order_by(recordings.c.id))
    ids = [row.id for row in audio]
    found = [entry for entry in _all(database, call, audio, ids) if entry[0] is not None]
    found.sort(key=lambda entry: entry[0] or call.created_at)
    return [{"at": text_of(at), "what": what, "about": about, "id": number} for at, what, about, number in found[:MOST]]


def what_is_next(call: sa.Row[Any]) -> dict[str, Any] | None:
    """The next action with its time; None for a final state."""
    if call.state not in OPEN or not call.next_action:
        return None
    return {"at": text_of(call.due_at), "action": call.next_action, "what": call_explanations.next_sentence(call)}


def transcripts(database: Database, recording_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Every transcription of the recordings, the newest first, with its segments; a person's reference is in
    `references`. Nothing of audio that is gone."""
    mine = (
        sa.select(texts)
        .join(recordings, recordings.c.id == texts.c.recording_id)
        .where(texts.c.recording_id.in_(list(recording_ids)), recordings.c.state.not_in(GONE))
        .order_by(texts.c.id.desc())
        .limit(50)
    )
    return [
        {
            "id": row.id, "recording_id": row.recording_id, "version": row.model_version, "at": text_of(row.created_at),
            "language": row.language, "language_probability": row.language_probability, "confidence": row.confidence,
            "text": row.text, "segments": [_segment(each) for each in (row.transcript or {}).get("segments", ())],
        }
        for row in database.rows(mine)
    ]  # fmt: skip


def references(database: Database, recording_ids: Sequence[int]) -> list[dict[str, Any]]:
    """What people wrote for the recordings, the newest first."""
    row = written.c
    mine = (
        sa.select(row.ls_annotation_id, row.annotator, row.text, row.language, row.ls_updated_at, row.segments,
                  tasks.c.recording_id, tasks.c.ls_task_id)
        .join(tasks, tasks.c.id == row.task_id)
        .join(recordings, recordings.c.id == tasks.c.recording_id)
        .where(tasks.c.recording_id.in_(list(recording_ids)), row.deleted_at.is_(None), row.text.is_not(None))
        .where(recordings.c.state != "erased")
        .order_by(row.ls_updated_at.desc())
        .limit(50)
    )  # fmt: skip
    newest = {each.ls_annotation_id: each for each in reversed(database.rows(mine))}
    return [
        {
            "annotation": each.ls_annotation_id, "annotator": each.annotator, "at": text_of(each.ls_updated_at),
            "language": each.language, "text": each.text, "recording_id": each.recording_id,
            "ls_task_id": each.ls_task_id,
        }
        for each in reversed(newest.values())
    ]  # fmt: skip


def _segment(each: Any) -> dict[str, Any]:
    return {name: each.get(name) for name in ("start_s", "end_s", "channel", "text", "confidence")}


def _all(database: Database, call: sa.Row[Any], audio: Sequence[Any], ids: Sequence[int]) -> Iterator[Entry]:
    yield (
        call.created_at,
        f"The call became known here, from {_plain(call.source) or 'an unnamed source'}.",
        "call",
        None,
    )
    yield call.started_at, "The call began.", "call", None
    yield call.ended_at, f"The call ended{f' as {call.status}' if call.status else ''}.", "call", None
    yield call.listed_at, "The provider's own listing showed it.", "call", None
    if call.state not in OPEN:
        said = call.reason or f"It is {call.state}."
        yield call.updated_at, f"Its state is {call.state}: {said}", "call", None
    yield from _messages(database, call)
    for row in audio:
        yield row.created_at, f"A recording became known, from {row.source}.", "recording", row.id
        if row.reason:
            yield row.updated_at, f"The recording is {row.state}: {row.reason}", "recording", row.id
    for job in call_explanations.jobs_of(database, call.id, ids):
        if job.state == "done" and job.name in _JOBS:
            yield job.finished_at, _JOBS[job.name], "job", job.id
        elif job.error_code:
            yield job.finished_at or job.started_at, f"Job {job.name} failed: {job.error}", "job", job.id
    columns = (texts.c.id, texts.c.created_at, texts.c.model_version, texts.c.language, texts.c.confidence)
    for row in database.rows(sa.select(*columns).where(texts.c.recording_id.in_(ids)).order_by(texts.c.id).limit(50)):
        language = name_of(row.language) if row.language else "an unknown language"
        said = f"{row.model_version} transcribed it: {language}, confidence {row.confidence:.2f}."
        yield row.created_at, said, "transcription", row.id
    yield from _work(database, ids)
    told = sa.select(outcomes).where(outcomes.c.call_sid == call.call_sid, outcomes.c.kind == CALL)
    for row in database.rows(told):
        shown = outcome_views.sentence({
            "success": row.success, "automated": row.automated, "satisfaction": row.satisfaction,
            "intent": row.intent, "latencies_s": row.latencies or {}, "tags": row.tags or {},
        })  # fmt: skip
        yield (
            row.reported_at or row.updated_at,
            f"The phone system reported how it went: {shown or 'nothing'}.",
            "call",
            None,
        )


def _messages(database: Database, call: sa.Row[Any]) -> Iterator[Entry]:
    mine = sa.and_(events.c.call_sid == call.call_sid, events.c.source == "exotel")
    columns = (events.c.id, events.c.created_at, events.c.action, events.c.copies, events.c.state, events.c.reason)
    for row in database.rows(sa.select(*columns).where(mine).order_by(events.c.id).limit(100)):
        times = f", {row.copies} times" if row.copies > 1 else ""
        why = f" {row.reason}" if row.reason else ""
        yield (
            row.created_at,
            f"A message arrived ({_plain(row.action) or 'unnamed'}{times}): {row.state}.{why}",
            "event",
            row.id,
        )


def _work(database: Database, ids: Sequence[int]) -> Iterator[Entry]:
    made = database.rows(
        sa.select(tasks, projects.c.title, projects.c.ls_project_id)
        .join(projects, projects.c.id == tasks.c.project_id)
        .where(tasks.c.recording_id.in_(ids))
        .order_by(tasks.c.id)
        .limit(100)
    )
    for row in made:
        why = f", selected as {row.selection_reason}" if row.selection_reason else ""
        where = row.title or f"project {row.ls_project_id}"
        yield row.created_at, f"It became a task in {where}{why}.", "task", row.ls_task_id
        if row.state in ("refused", "deleted"):
            yield (
                row.updated_at,
                f"The task is {row.state}{f': {row.reason}' if row.reason else '.'}",
                "task",
                row.ls_task_id,
            )
    numbers = {row.id: row.ls_task_id for row in made}
    drafted = sa.select(predictions.c.task_id, predictions.c.delivered_at, predictions.c.model_version).where(
        predictions.c.task_id.in_(list(numbers)), predictions.c.delivered_at.is_not(None)
    )
    for row in database.rows(drafted.order_by(predictions.c.id).limit(100)):
        yield row.delivered_at, f"Its draft by {row.model_version} was put into the task.", "task", numbers[row.task_id]
    of = written.c
    answers = sa.select(of.ls_annotation_id, of.ls_updated_at, of.annotator, of.skipped, of.edited, of.deleted_at)
    for each in database.rows(answers.where(of.task_id.in_(list(numbers))).order_by(of.id).limit(100)):
        how = "skipped it" if each.skipped else f"annotated it ({each.edited})" if each.edited else "annotated it"
        said = f"Annotator {each.annotator or '-'} {how}."
        yield each.ls_updated_at, said, "annotation", each.ls_annotation_id
        yield each.deleted_at, "The annotation was deleted.", "annotation", each.ls_annotation_id
    pieces = sa.select(samples).where(samples.c.task_id.in_(list(numbers))).order_by(samples.c.id).limit(100)
    for each in database.rows(pieces):
        span = f"{each.start_s:.1f} to {each.end_s:.1f} s"
        said = f"A sample was made of {span}." if each.state == "accepted" else f"{span} is not used: {each.reason}"
        yield each.accepted_at or each.created_at, said, "task", numbers[each.task_id]


def _plain(name: str | None) -> str:
    return (name or "").replace("_", " ")
