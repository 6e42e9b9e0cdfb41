"""Transcription -> Task with Prediction: our recordings appear in Label Studio with their drafts.

A task starts as a row in state `wanted` and is imported together with its rendered prediction. An import must not be
repeated blindly, so the project is first searched for our external key, which is part of the task's data: after a lost
answer the tasks are found and not created twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.asr.transcript import Transcript
from ml_backend.calls.states import SUPERSEDED
from ml_backend.context import Context, JobContext
from ml_backend.errors import PermanentError
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.labelling import labelconfig, rendering
from ml_backend.labelling.utterance_marks import CORRECTION
from ml_backend.tables import predictions, projects, recordings, tasks, transcriptions, utterances
from ml_backend.usefulness.draft_choice import NO_DRAFT
from ml_backend.usefulness.task_worth import TaskWorth
from ml_backend.views.call_views import LONG_SID, SHORT_SID
from sync.drafts import drafts, ownership, recording_pieces
from sync.drafts.recording_pieces import RecordingPiece, audio_identity, external_key
from sync.label_studio import missing
from sync.label_studio.label_studio_client import LabelStudioClient, client_of
from sync.label_studio.streams import DURATION, LANGUAGE, UNSURE_WORDS, USEFULNESS
from sync.recordings.sources import playable

__all__ = ["KEY", "TaskRequest", "create_tasks", "external_key", "refused_line", "request_task"]

KEY = "kaan_key"  # in the data of every task we create
WAITS = "project-full"
REFUSED = "import-refused"
ALL_REFUSED = 8  # single tasks refused before any success: then the project is at fault
_RANDOM = re.compile(rf"[0-9a-f]{{{LONG_SID},}}")
BATCH = 100  # tasks in one request
TOGETHER = 25  # tasks in one transaction, each with its prediction


@dataclass(frozen=True)
class TaskRequest:
    """Why a task is wanted, and how. `waits` says in plain words why it is not created yet."""

    reason: str = ""
    probability: float | None = None
    usefulness: float | None = None
    blind: bool = False
    overlap: int = 1
    waits: str | None = None
    usefulness_reason: str | None = None
    worth: TaskWorth | None = None


def request_task(
    connection: Connection,
    project: sa.Row[Any],
    recording: sa.Row[Any],
    *,
    blind: bool = False,
    reason: str = "",
    piece: RecordingPiece | None = None,
    wish: TaskRequest | None = None,
) -> tuple[int, bool]:
    """Request a task over a recording or one of its pieces; returns (id, whether it is new)."""
    wish = wish or TaskRequest(reason, blind=blind)
    piece = piece or RecordingPiece()
    if (there := _wanted_before(connection, project, recording, piece)) is not None:
        return there, False
    values = {
        "project_id": project.id,
        "recording_id": recording.id,
        "start_s": piece.start_s,
        "end_s": piece.end_s,
        "external_key": external_key(project, audio_identity(recording), piece),
        "origin": "ours",
        "blind": wish.blind,
        "selection_reason": wish.reason or None,
        "selection_probability": wish.probability,
        "usefulness": wish.usefulness,
        "usefulness_reason": wish.usefulness_reason,
        "expected": wish.worth.to_json() if wish.worth else None,
        "overlap": wish.overlap,
        "state": "waiting" if wish.waits else "wanted",
        "reason_code": WAITS if wish.waits else None,
        "reason": wish.waits,
    }
    return db.insert_once(connection, tasks, values, key=("external_key",))


def _wanted_before(
    connection: Connection, project: sa.Row[Any], recording: sa.Row[Any], piece: RecordingPiece
) -> int | None:
    same = sa.select(tasks.c.id).where(
        tasks.c.project_id == project.id,
        tasks.c.recording_id == recording.id,
        tasks.c.start_s == piece.start_s,
        tasks.c.end_s.is_(None) if piece.end_s is None else tasks.c.end_s == piece.end_s,
    )
    found = connection.execute(same.where(tasks.c.origin == "ours").order_by(tasks.c.id).limit(1)).scalar()
    return int(found) if found is not None else None


@missing.noticed
def create_tasks(context: JobContext, project_id: int) -> None:
    """Import a project's wanted tasks with a ready draft; refuse those whose audio is refused. Safe to repeat.

    Label Studio hands out tasks in the order of their creation, so the most useful are created first.
    """
    project = context.db.row(projects, project_id)
    _refuse_tasks(context, project)
    client = client_of(context)
    while batch := _ready(context, project):
        keys = _keys(context, project, batch)
        there = client.task_ids_by_key(project.ls_project_id, list(keys.values()))
        missing = [row for row in batch if row.id in keys and keys[row.id] not in there]
        made = _import(context, client, project, missing, keys) if missing else {}
        ids = {key: min(found) for key, found in there.items()} | made
        found = [(row, ids[keys[row.id]]) for row in batch if keys.get(row.id) in ids]
        for row, ls_task_id in found:
            if row.overlap > 1:  # the open edition sets it only in this way; later imports do not change it
                _share(client, ls_task_id, row.overlap)
        erased: list[int] = []
        for begin in range(0, len(found), TOGETHER):
            with context.db.transaction() as connection:
                for row, ls_task_id in found[begin : begin + TOGETHER]:
                    if _is_erased(connection, row.id):
                        erased.append(ls_task_id)
                    else:
                        _opened(connection, context, project, row, ls_task_id, fresh=keys[row.id] in made)
                drafts.bump(connection, project.id)
        for ls_task_id in erased:
            _take_back(client, ls_task_id)
    with context.db.transaction() as connection:
        enqueueing.enqueue(connection, job_kinds.PUSH_PREDICTIONS, key=str(project.id), project_id=project.id)


def _is_erased(connection: Connection, task_id: int) -> bool:
    """Whether what a task shows was erased, or superseded, while it was imported; locks its row."""
    mine = sa.select(tasks.c.reason_code).where(tasks.c.id == task_id).with_for_update()
    return connection.execute(mine).scalar() in ("erased", SUPERSEDED)


def _take_back(client: LabelStudioClient, ls_task_id: int) -> None:
    """Delete a task of an erased person. The erasure may have been quicker."""
    try:
        client.delete_task(ls_task_id)
    except PermanentError as error:
        if error.code != "http-missing":
            raise


def _share(client: LabelStudioClient, ls_task_id: int, overlap: int) -> None:
    """Ask for several annotators. The next comparison finds a task that was just deleted."""
    try:
        client.change_task(ls_task_id, overlap=overlap)
    except PermanentError as error:
        if error.code != "http-missing":
            raise


def _keys(context: Context, project: sa.Row[Any], rows: Sequence[sa.Row[Any]]) -> dict[int, str]:
    """Task id -> its key in Label Studio."""
    if labelconfig.parse(project.label_config).parses:
        return {row.id: row.external_key for row in rows}
    return ownership.keyed(context, project, rows)


def _ready(context: Context, project: sa.Row[Any]) -> Sequence[sa.Row[Any]]:
    """Wanted tasks with audio and a prediction row under the current label."""
    if labelconfig.parse(project.label_config).parses:
        return _ready_texts(context, project)
    beside = recordings.alias("beside")
    statement = (
        sa.select(
            tasks.c.id,
            tasks.c.external_key,
            tasks.c.status_line,
            tasks.c.start_s,
            tasks.c.end_s,
            tasks.c.usefulness,
            tasks.c.overlap,
            predictions.c.id.label("prediction_id"),
            predictions.c.body,
            predictions.c.reason_code.label("draft_reason_code"),
            tasks.c.blind,
            transcriptions.c.transcript,
            transcriptions.c.language.label("detected_language"),
            transcriptions.c.language_probability,
            transcriptions.c.decoding,
            recordings.c.language,
            recordings.c.duration_s,
            recordings.c.derived_key,
            recordings.c.spans,
            recordings.c.source_identity,
            recordings.c.call_sid,
            recordings.c.sha256,
            recordings.c.known_text,
            beside.c.derived_key.label("beside_key"),
        )
        .join(recordings, recordings.c.id == tasks.c.recording_id)
        .outerjoin(beside, beside.c.id == tasks.c.beside_id)
        .join(predictions, predictions.c.task_id == tasks.c.id)
        .outerjoin(transcriptions, transcriptions.c.id == predictions.c.transcription_id)
        .where(
            tasks.c.project_id == project.id,
            tasks.c.state == "wanted",
            recordings.c.state == "ready",
            sa.or_(tasks.c.beside_id.is_(None), beside.c.state == "ready"),
            predictions.c.draft_label == project.draft_label,
        )
        .order_by(sa.func.coalesce(tasks.c.usefulness, 1.0).desc(), tasks.c.id)
        .limit(BATCH)
    )
    return context.db.rows(statement)


def _ready_texts(context: Context, project: sa.Row[Any]) -> Sequence[sa.Row[Any]]:
    """The same for tasks over an utterance; one that is gone leaves its task unmade."""
    statement = (
        sa.select(
            tasks.c.id, tasks.c.external_key, tasks.c.status_line, tasks.c.usefulness, tasks.c.overlap, tasks.c.blind,
            predictions.c.id.label("prediction_id"), predictions.c.body, utterances.c.text, utterances.c.language,
        )
        .join(utterances, sa.and_(utterances.c.task_id == tasks.c.id, utterances.c.source != CORRECTION))
        .join(predictions, predictions.c.task_id == tasks.c.id)
        .where(tasks.c.project_id == project.id, tasks.c.state == "wanted")
        .where(predictions.c.draft_label == project.draft_label)
        .order_by(sa.func.coalesce(tasks.c.usefulness, 1.0).desc(), tasks.c.id)
        .limit(BATCH)
    )  # fmt: skip
    return context.db.rows(statement)


def _import(
    context: Context,
    client: LabelStudioClient,
    project: sa.Row[Any],
    rows: Sequence[sa.Row[Any]],
    keys: Mapping[int, str],
) -> dict[str, int]:
    """Import tasks with their predictions; returns external key -> Label Studio's id."""
    refused: list[tuple[sa.Row[Any], PermanentError]] = []
    made = _import_some(context, client, project, list(rows), keys, refused)
    if refused and not made and len(refused) >= ALL_REFUSED:  # single tasks are not at fault
        error = refused[0][1]
        context.db.update(projects, project.id, reason_code=REFUSED, reason=f"Tasks are refused: {error.sentence}")
        raise error
    for row, error in refused:
        line = refused_line(f"Label Studio refused the task: {error.sentence}")
        context.db.update(tasks, row.id, state="refused", reason_code=REFUSED, reason=error.sentence, status_line=line)
    if made and project.reason_code == REFUSED:
        context.db.update(projects, project.id, reason_code=None, reason=None)
    return made


def _import_some(
    context: Context,
    client: LabelStudioClient,
    project: sa.Row[Any],
    rows: list[sa.Row[Any]],
    keys: Mapping[int, str],
    refused: list[tuple[sa.Row[Any], PermanentError]],
) -> dict[str, int]:
    """Label Studio refuses a whole request for one bad task: halve it until that task is alone.

    Stops when so many in a row were refused that single tasks cannot be at fault.
    """
    body = []
    for row in rows:
        drafted, data = json.loads(row.body), _data(context, project, row) | {KEY: keys[row.id]}
        body.append({"data": data, **({"predictions": [drafted]} if drafted else {})})
    try:
        ids = client.import_tasks(project.ls_project_id, body)
    except PermanentError as error:
        if error.status not in (400, 413, 422):  # e.g. no such project or no permission: no task is at fault
            raise
        if len(rows) == 1:
            refused.append((rows[0], error))
            return {}
        made: dict[str, int] = {}
        for some in (rows[: len(rows) // 2], rows[len(rows) // 2 :]):
            if made or len(refused) < ALL_REFUSED:
                made |= _import_some(context, client, project, some, keys, refused)
        return made
    if len(ids) == len(rows):
        return {keys[row.id]: task_id for row, task_id in zip(rows, ids, strict=True)}
    # An edition that imports in the background returns no ids: the next run finds the tasks by their keys.
    there = client.task_ids_by_key(project.ls_project_id, [keys[row.id] for row in rows])
    if len(there) < len(rows):
        raise PermanentError(
            "import-incomplete",
            f"Label Studio made {len(there)} of {len(rows)} tasks.",
            "Run the job again with `jobs retry`: the tasks that are there are found.",
        )
    return {key: min(found) for key, found in there.items()}


def _data(context: Context, project: sa.Row[Any], row: sa.Row[Any]) -> dict[str, Any]:
    """The task's data: audio, our key, and in our own projects the status line and the task list's columns."""
    controls = labelconfig.parse(project.label_config)
    if controls.parses:
        return {controls.utterance_key: row.text, LANGUAGE: row.language or "", USEFULNESS: f"{row.usefulness:.3f}"}
    data: dict[str, Any] = {controls.audio_key or "audio": _plays(context, row)}
    if controls.status_key:
        data[controls.status_key] = row.status_line or ""
    if controls.rates and controls.spoken_key:
        data[controls.spoken_key] = row.known_text or ""
    if controls.pairs and controls.beside_key and row.beside_key:
        data[controls.beside_key] = playable(context.settings.audio_bucket, row.beside_key, context.settings)
    if is_ours(project):
        data.setdefault("status", row.status_line or "")
        data["call"] = row.external_key[:SHORT_SID] if controls.rates else short_name(row)  # a file's name may tell
        data |= _columns(row)
        data[USEFULNESS] = f"{1.0 if row.usefulness is None else row.usefulness:.3f}"
    return data


def _columns(row: sa.Row[Any]) -> dict[str, Any]:
    """Length, language and the number of uncertain words; a task without a draft has only what no model
    produced."""
    piece = recording_pieces.piece_of(row, row)
    whole_s = round(recording_pieces.length_s(row, piece))
    columns: dict[str, Any] = {DURATION: f"{whole_s // 60:02d}:{whole_s % 60:02d}"}  # as text it sorts like a number
    if row.blind or row.draft_reason_code == NO_DRAFT or row.transcript is None:
        return columns
    detected = row.detected_language and (row.decoding or {}).get("language") is None
    guess = " ?" if detected and rendering.is_guess(row.detected_language, row.language_probability) else ""
    columns[LANGUAGE] = f"{row.detected_language or row.language or ''}{guess}"
    columns[UNSURE_WORDS] = rendering.unsure_words(recording_pieces.part(Transcript.from_json(row.transcript), piece))
    return columns


def _plays(context: Context, row: Any) -> str:
    """The audio that Label Studio plays: the normalised recording, or its piece."""
    key = recording_pieces.piece_of(row, row).key or row.derived_key
    return playable(context.settings.audio_bucket, key, context.settings)


def _shows(context: Context, project: sa.Row[Any], row: Any) -> str:
    """What a task is about, as our column stores it: the audio's address, or the text."""
    return row.text[:1000] if labelconfig.parse(project.label_config).parses else _plays(context, row)


def is_ours(project: sa.Row[Any]) -> bool:
    """Whether we created the project, rather than attached to it."""
    return bool(((project.attached_changes or {}) if isinstance(project.attached_changes, Mapping) else {}).get("made"))


def short_name(row: Any) -> str:
    """The first characters of the call's id, which `calls show` accepts; else the file's name."""
    if row.call_sid:
        return str(row.call_sid)[: SHORT_SID if _RANDOM.fullmatch(row.call_sid) else 60]
    return str(row.source_identity).rstrip("/").rpartition("/")[2][:60]


def _opened(
    connection: Connection, context: Context, project: sa.Row[Any], row: sa.Row[Any], ls_task_id: int, *, fresh: bool
) -> None:
    """Record a task's import. A prediction sent with it is delivered; an uncertain one is looked up."""
    taken = sa.select(tasks).where(tasks.c.project_id == project.id, tasks.c.ls_task_id == ls_task_id)
    other, state = connection.execute(taken.where(tasks.c.id != row.id)).first(), "open"
    if other is not None and other.origin == "ours":
        db.update(connection, tasks, row.id, state="deleted", reason_code=ownership.DUPLICATE)
        return
    if other is not None:
        state = ownership.take_over(connection, row, other)
    shown = row.status_line if fresh else None
    db.update(
        connection,
        tasks,
        row.id,
        ls_task_id=ls_task_id,
        data_value=_shows(context, project, row),
        state=state,
        status_shown=shown,
    )
    delivered = {"delivered_by": "push", "delivered_at": tables.now()}
    if fresh:
        delivered["confirmed_at"] = tables.now()
    mine = sa.and_(predictions.c.id == row.prediction_id, predictions.c.delivered_by.is_(None))
    connection.execute(sa.update(predictions).where(mine).values(**delivered))


def _refuse_tasks(context: Context, project: sa.Row[Any]) -> None:
    """Refuse tasks over unusable audio: wanted ones are not created, open ones show the reason in their status line."""
    statement = (
        sa.select(tasks.c.id, tasks.c.state, recordings.c.reason_code, recordings.c.reason)
        .join(recordings, recordings.c.id == tasks.c.recording_id)
        .where(tasks.c.project_id == project.id, tasks.c.state.in_(drafts.OPEN), recordings.c.state == "refused")
        .where(sa.or_(tasks.c.reason_code.is_(None), tasks.c.reason_code != recordings.c.reason_code))
    )
    rows = context.db.rows(statement)
    for begin in range(0, len(rows), TOGETHER):
        with context.db.transaction() as connection:
            for row in rows[begin : begin + TOGETHER]:
                values = {"reason_code": row.reason_code, "reason": row.reason}
                values["status_line"] = refused_line(row.reason)
                if row.state == "wanted":
                    values["state"] = "refused"
                db.update(connection, tasks, row.id, **values)


def refused_line(reason: str | None) -> str:
    """The status line of a task whose audio cannot be used."""
    return rendering.status_line(None, refused=reason or "The audio cannot be used")
