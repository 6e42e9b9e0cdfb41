"""Checked voice clip -> Task in the project that rates it, or a pair of clips -> Task in which people choose.

The text of a clip is known, so it is neither transcribed nor drafted: people listen, read the text and judge. Only
clips that passed the checks are rated (`voice_clips`, state accepted). What makes a project an instrument:

    sentences  come in the order of a hash, and with a sentence all clips of it: every version, the recording of a
               person and its degraded copy. So versions are compared on the same sentences
    blind      the order of tasks is another hash, and nothing in a task says who speaks; in a pair, a hash decides
               which side is A
    raters     every task is for TTS_RATERS people

Clips beyond the project's limit of open tasks wait for the next run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db
from ml_backend.context import JobContext
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.labelling import labelconfig
from ml_backend.tables import projects, recordings, tasks, voice_clips
from sync.drafts import drafts, recording_route
from sync.drafts.recording_pieces import audio_identity, external_key
from sync.tasks.choices import policy_of
from sync.tasks.task_creation import TaskRequest, request_task

ROUTING = {"synthetic": True}  # of a rating project: it takes only synthetic voice, and no other project does
REASON = "rating"
PER_TRANSACTION = 9  # clips: each has a task, a prediction and its recording
ANCHORS = ("reference", "degraded")  # of a pair that shows whether people listen
_NOBODY = "none"  # the model version of a task without a draft


def rates(project: Any) -> bool:
    """Whether this is a rating project."""
    return labelconfig.parse(project.label_config or "").rates


def feed_ratings(context: JobContext, project_id: int) -> None:
    """Make tasks of waiting clips, up to the project's limit. Safe to repeat."""
    after = ("", 0)
    while True:
        with context.db.transaction() as connection:
            project = connection.execute(sa.select(projects).where(projects.c.id == project_id)).one()
            if project.state != "attached" or not rates(project):
                return
            room = policy_of(project.selection, context.settings).max_open - _open_tasks(connection, project_id)
            pairs = labelconfig.parse(project.label_config).pairs
            found = (_pairs if pairs else _clips)(connection, project_id, after) if room > 0 else []
            for row in found[:room]:
                taken = _recording(connection, row.id)
                taker = recording_route.home_of(connection, taken).project
                if pairs:
                    _want_pair(connection, context, project, row)
                elif taker is not None and (taker.id == project_id or labelconfig.parse(taker.label_config).pairs):
                    db.update(connection, recordings, row.id, project_id=project_id)
                    _want(connection, context, project, taken)
            if found:
                enqueueing.enqueue(connection, job_kinds.CREATE_TASKS, key=str(project_id), project_id=project_id)
        if not found:
            return
        after = (found[-1].text_key, int(found[-1].clip_id))


def _clips(connection: Connection, project_id: int, after: tuple[str, int]) -> Sequence[sa.Row[Any]]:
    """Accepted clips without a task in this project, sentence by sentence."""
    here = sa.select(tasks.c.id).where(tasks.c.recording_id == recordings.c.id, tasks.c.project_id == project_id)
    waiting = (
        sa.select(recordings.c.id, voice_clips.c.text_key, voice_clips.c.id.label("clip_id"))
        .join(voice_clips, voice_clips.c.recording_id == recordings.c.id)
        .where(recordings.c.state == "ready", recordings.c.known_text.is_not(None), ~here.exists())
        .where(voice_clips.c.state == "accepted", _later(voice_clips.c, after))
    )
    return connection.execute(_in_order(waiting, voice_clips.c)).all()


def _pairs(connection: Connection, project_id: int, after: tuple[str, int]) -> Sequence[sa.Row[Any]]:
    """Two accepted clips of one sentence: by one voice in two versions, or a recording and its degraded copy."""
    one, other = voice_clips.alias("one"), voice_clips.alias("other")
    there = tasks.c.recording_id.in_((one.c.recording_id, other.c.recording_id)) & tasks.c.beside_id.in_(
        (one.c.recording_id, other.c.recording_id)
    )
    here = sa.select(tasks.c.id).where(tasks.c.project_id == project_id, there)
    versions = sa.and_(
        one.c.role.is_(None), other.c.role.is_(None), one.c.voice.is_not_distinct_from(other.c.voice),
        one.c.emotion.is_not_distinct_from(other.c.emotion), one.c.model_version != other.c.model_version,
    )  # fmt: skip
    anchors = sa.and_(one.c.role == ANCHORS[0], other.c.role == ANCHORS[1]) | sa.and_(
        one.c.role == ANCHORS[1], other.c.role == ANCHORS[0]
    )
    waiting = (
        sa.select(
            one.c.recording_id.label("id"), one.c.text_key, one.c.id.label("clip_id"),
            other.c.recording_id.label("beside_id"),
        )
        .join(other, sa.and_(other.c.text_key == one.c.text_key, other.c.id > one.c.id))
        .where(one.c.state == "accepted", other.c.state == "accepted", versions | anchors, ~here.exists())
        .where(one.c.recording_id.is_not(None), other.c.recording_id.is_not(None), _later(one.c, after))
    )  # fmt: skip
    return connection.execute(_in_order(waiting, one.c)).all()


def _later(clips: Any, after: tuple[str, int]) -> sa.ColumnElement[bool]:
    key, clip_id = after
    return sa.or_(clips.text_key > key, sa.and_(clips.text_key == key, clips.id > clip_id))


def _in_order(waiting: sa.Select[Any], clips: Any) -> sa.Select[Any]:
    """By `text_key`, which is a hash: a random order of sentences that is the same each time."""
    return waiting.order_by(clips.text_key, clips.id).limit(PER_TRANSACTION)


def _recording(connection: Connection, recording_id: int) -> sa.Row[Any]:
    return connection.execute(sa.select(recordings).where(recordings.c.id == recording_id)).one()


def _want(connection: Connection, context: JobContext, project: sa.Row[Any], recording: sa.Row[Any]) -> None:
    """Request a task without a draft."""
    wish = TaskRequest(
        reason=REASON, probability=1.0, usefulness=_place(project, recording.sha256), blind=True,
        overlap=context.settings.tts_raters,
    )  # fmt: skip
    task_id, new = request_task(connection, project, recording, wish=wish)
    if new:
        _without_draft(connection, context, project, task_id, recording)


def _want_pair(connection: Connection, context: JobContext, project: sa.Row[Any], row: sa.Row[Any]) -> None:
    """Request a task over two recordings; a hash decides which is A."""
    first, second = _recording(connection, row.id), _recording(connection, row.beside_id)
    if first.state != "ready" or second.state != "ready":
        return
    name = f"{first.sha256}|{second.sha256}"
    if _place(project, f"{name}|side") < 0.5:
        first, second = second, first
    values = {
        "project_id": project.id,
        "recording_id": first.id,
        "beside_id": second.id,
        "start_s": 0.0,
        "external_key": external_key(project, " | ".join(sorted(map(audio_identity, (first, second))))),
        "origin": "ours",
        "blind": True,
        "selection_reason": REASON,
        "selection_probability": 1.0,
        "usefulness": _place(project, name),
        "overlap": context.settings.tts_raters,
        "state": "wanted",
    }
    task_id, new = db.insert_once(connection, tasks, values, key=("external_key",))
    if new:
        _without_draft(connection, context, project, task_id, first)


def _without_draft(
    connection: Connection, context: JobContext, project: sa.Row[Any], task_id: int, recording: sa.Row[Any]
) -> None:
    task = connection.execute(sa.select(tasks).where(tasks.c.id == task_id)).one()
    made = drafts.render(connection, context.settings, project, task, recording, model_version=_NOBODY)
    if made is not None:
        drafts.store(connection, made)
    db.update(connection, tasks, task_id, status_line=None)


def _open_tasks(connection: Connection, project_id: int) -> int:
    mine = sa.and_(tasks.c.project_id == project_id, tasks.c.origin == "ours", tasks.c.state.in_(drafts.OPEN))
    return int(connection.execute(sa.select(sa.func.count()).select_from(tasks).where(mine)).scalar_one())


def _place(project: sa.Row[Any], name: str | None) -> float:
    """0..1 by hash: a random order that is the same each time."""
    text = f"{name}|{project.id}|{REASON}"
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
