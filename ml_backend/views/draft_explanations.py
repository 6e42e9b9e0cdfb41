"""Tasks -> whether each has a draft, and why not, in plain words. Reads only.

The reason is taken from the draft, the task, the recording or the job that works on it, in this order.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from ml_backend.db import Database
from ml_backend.labelling import rendering
from ml_backend.languages import name_of
from ml_backend.tables import predictions, transcriptions
from ml_backend.usefulness.draft_choice import NO_DRAFT
from ml_backend.views import call_explanations

_NOT_READY = {
    "found": "its audio is still to be fetched and decoded",
    "fetched": "its audio was fetched and is still to be decoded",
    "lost": "its audio cannot be had any more",
    "refused": "its audio cannot be used",
    "erased": "its recording was erased",
    "expired": "its recording's time of keeping is over",
}
_NOT_SHOWN = "nobody"  # the deliverer of a draft that must not be shown


def sentences(database: Database, tasks: Sequence[sa.Row[Any]], recordings: Sequence[sa.Row[Any]]) -> list[str]:
    """One sentence for each task, in their order. `tasks` rows carry `title` and `ls_project_id` of their project."""
    by_id = {row.id: row for row in recordings}
    of_task = {row.task_id: row for row in _drafts(database, [task.id for task in tasks])}
    found = sa.select(transcriptions.c.recording_id).where(transcriptions.c.recording_id.in_(list(by_id)))
    transcribed = {row.recording_id for row in database.rows(found.distinct())}
    return [
        _sentence(database, task, of_task.get(task.id), by_id.get(task.recording_id), transcribed=transcribed)
        for task in tasks
    ]


def guessed_languages(database: Database, recordings: Sequence[sa.Row[Any]]) -> list[str]:
    """A sentence for each recording whose latest transcription detected its language without being sure."""
    mine = sa.select(transcriptions).where(transcriptions.c.recording_id.in_([row.id for row in recordings]))
    latest = {row.recording_id: row for row in database.rows(mine.order_by(transcriptions.c.id))}
    return [
        f"Check the language of recording {number}: {name_of(row.language)} is a guess "
        f"({100 * (row.language_probability or 0.0):.0f} %)."
        for number, row in latest.items()
        if row.decoding.get("language") is None and rendering.is_guess(row.language, row.language_probability)
    ]


def _drafts(database: Database, task_ids: list[int]) -> Sequence[sa.Row[Any]]:
    """The latest draft of each task that was not withdrawn."""
    mine = sa.and_(predictions.c.task_id.in_(task_ids), predictions.c.draft_label.not_like("withdrawn-%"))
    return database.rows(sa.select(predictions).where(mine).order_by(predictions.c.id))


def _sentence(
    database: Database, task: sa.Row[Any], draft: sa.Row[Any] | None, recording: sa.Row[Any] | None, *,
    transcribed: set[int],
) -> str:  # fmt: skip
    name = f"Task {task.ls_task_id}" if task.ls_task_id else "A task not yet in Label Studio"
    start = f"{name} in project {task.title or task.ls_project_id!r}"
    if task.state == "deleted":
        return f"{start} was deleted there."
    if draft is not None and draft.reason_code == NO_DRAFT:
        return f"{start} opens without a draft, with empty regions. {draft.reason}"
    if draft is not None and draft.delivered_by not in (None, _NOT_SHOWN) and not task.blind:
        empty = " It is empty: no speech was found." if _is_empty(draft.body) else ""
        return f"{start} has a draft by {draft.model_version}.{empty}"
    return f"{start} has no draft: {_why(database, task, draft, recording, transcribed=transcribed)}"


def _why(
    database: Database, task: sa.Row[Any], draft: sa.Row[Any] | None, recording: sa.Row[Any] | None, *,
    transcribed: set[int],
) -> str:  # fmt: skip
    if task.blind:
        return "it is to be written without one."
    if draft is not None and draft.reason:
        return str(draft.reason)
    if task.reason:
        return str(task.reason)
    if draft is not None:
        return "it is made and waits to be put into Label Studio by the worker sync."
    if recording is None:
        return "its audio was not looked at yet."
    trouble = call_explanations.trouble_of(call_explanations.jobs_of(database, recording.call_id, [recording.id]))
    if recording.reason:
        return " ".join([str(recording.reason), *trouble])
    if recording.state != "ready":
        return " ".join([f"{_NOT_READY.get(recording.state, f'its recording is {recording.state}')}.", *trouble])
    if recording.synthetic:
        return "it is our own synthetic voice, which is not transcribed."
    if recording.id not in transcribed:
        return " ".join(["its recording waits to be transcribed.", *trouble])
    if task.state == "annotated":
        return "it was annotated before one was made."
    return " ".join(["its recording is transcribed, and the draft is made at the next look at the project.", *trouble])


def _is_empty(body: str) -> bool:
    try:
        return not json.loads(body).get("result")
    except (ValueError, AttributeError):
        return False
