"""Transcription -> Prediction row: one rendering per task and draft label, waiting for exactly one deliverer.

Only database work: in the transaction that selects a recording, and in a job when a task's recording was transcribed.
A blind task, and one whose draft would cost more than it saves, has empty regions. Where there is nothing to show at
all, the row's body is `[]`: Label Studio stores nothing for an empty list and does not ask again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.asr import corrections
from ml_backend.asr.transcript import Transcript
from ml_backend.context import JobContext
from ml_backend.errors import PermanentError
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.jobs.enqueueing import urgency
from ml_backend.labelling import agent_channel, labelconfig, rendering
from ml_backend.models.routing import Routes
from ml_backend.settings import Settings
from ml_backend.tables import predictions, projects, recordings, tasks, transcriptions
from ml_backend.usefulness import draft_choice, team_model
from ml_backend.usefulness.draft_choice import NO_DRAFT, DraftChoice
from sync.drafts import recording_pieces, recording_route
from sync.drafts.decoding_choice import Profile, profile_for
from sync.recordings import refetching

NOTHING = "[]"
BLIND_LINE = "write what you hear"
NO_DRAFT_LINE = "write what you hear: the draft has too many mistakes to help"
COALESCE = timedelta(seconds=2)  # lets a waiting /predict answer first, and batches many drafts in one request
OPEN = ("wanted", "open")
_KEY = ("audio_sha256", "model_version", "decoding_hash")


def draft_tasks(context: JobContext, recording_id: int) -> None:
    """Transcribed recording -> drafts of its tasks, by the model version on its row. Safe to repeat."""
    routes = Routes(context)
    with context.db.transaction() as connection:
        recording = connection.execute(sa.select(recordings).where(recordings.c.id == recording_id)).one()
        if not refetching.is_wanted(connection, recording_id):
            return
        version = recording_route.decide(connection, routes, context.settings, recording).version
        its_transcriptions = sa.select(transcriptions.c.id).where(
            transcriptions.c.audio_sha256 == recording.sha256, transcriptions.c.model_version == version
        )
        if connection.execute(its_transcriptions.limit(1)).first() is None:  # the model version changed meanwhile
            enqueueing.enqueue(
                connection,
                job_kinds.TRANSCRIBE_RECORDING,
                key=str(recording_id),
                priority=urgency(context),
                recording_id=recording_id,
            )
        draft_recording(connection, context.settings, recording_id, version)


def draft_recording(connection: Connection, settings: Settings, recording_id: int, model_version: str) -> None:
    """Render every task of a transcribed recording, and enqueue the jobs that deliver."""
    recording = connection.execute(sa.select(recordings).where(recordings.c.id == recording_id)).one()
    recording_pieces.split_tasks(connection, recording)
    mine = sa.select(tasks).where(tasks.c.recording_id == recording_id, tasks.c.state.in_((*OPEN, "annotated")))
    touched: dict[int, sa.Row[Any]] = {}
    for task in connection.execute(mine).all():
        if task.project_id not in touched:
            statement = sa.select(projects).where(projects.c.id == task.project_id)
            touched[task.project_id] = connection.execute(statement).one()
        project = touched[task.project_id]
        made = render(connection, settings, project, task, recording, model_version=model_version)
        if made is not None:
            store(connection, made)
    route = recording.route or {}
    if route.get("experiment_id") is not None and route["version"] == model_version:
        open_ = sa.and_(tasks.c.recording_id == recording_id, tasks.c.state.in_(OPEN))
        side = {"experiment_id": route["experiment_id"], "arm": route["arm"]}
        connection.execute(sa.update(tasks).where(open_).values(**side))
    for project in touched.values():
        bump(connection, project.id)
        deliver(connection, project)


@dataclass(frozen=True)
class Draft:
    """The result of `render`: rows of `predictions`, the task's status line, and a corrected transcription."""

    task_id: int
    rows: tuple[dict[str, Any], ...]
    status_line: str | None
    corrected: Mapping[str, Any] | None = None
    choice: DraftChoice | None = None


def render(
    connection: Connection,
    settings: Settings,
    project: sa.Row[Any],
    task: sa.Row[Any],
    recording: sa.Row[Any],
    *,
    model_version: str,
    labels: Sequence[str] = (),
) -> Draft | None:
    """One task's draft under each label; None while its transcription is missing. Writes nothing.

    `labels` defaults to the project's current label and, while it is redrafted, the next one.
    """
    if not labels:
        next_one = project.next_draft_label if task.state != "annotated" else None
        labels = [project.draft_label, *filter(None, [next_one])]
    profile = profile_for(connection, recording, project, settings)
    found: Any = find_transcription(connection, recording, profile, model_version)
    corrected = None
    if found is None and (plain := uncorrected(connection, recording, profile, model_version)) is not None:
        corrected = _corrected(plain, profile)
        found = SimpleNamespace(**{**plain._mapping, **corrected, "id": None})
    if found is None and not task.blind:
        return None
    choice = _choice(connection, settings, task, recording, found)
    drafted = [_row(connection, project, task, recording, found, profile, label, choice) for label in labels]
    return Draft(task.id, tuple(values for values, _ in drafted), drafted[-1][1], corrected, choice)


def _choice(
    connection: Connection, settings: Settings, task: sa.Row[Any], recording: sa.Row[Any], found: Any
) -> DraftChoice | None:
    """Whether people see this draft, as it was chosen before for its model version; None for a task without drafts."""
    if task.blind or found is None or not found.text:
        return None
    kept = draft_choice.stored(task.draft_choice, found.model_version)
    if kept is not None or not settings.leave_out_poor_drafts:
        return kept
    piece = recording_pieces.part(Transcript.from_json(found.transcript), recording_pieces.piece_of(recording, task))
    return draft_choice.choose_draft(
        team_model.read(connection),
        task_key=task.external_key,
        reason=task.selection_reason,
        language=recording.language or piece.language,
        confidence=float(piece.confidence),
        model_version=found.model_version,
        in_experiment=(recording.route or {}).get("experiment_id") is not None,
        asked_for=recording.language_asked is not None,
    )


def store(connection: Connection, draft: Draft, **of_task: Any) -> None:
    """Store a rendered draft, unless a prediction exists; `of_task` are more values of the task's row."""
    rows: Sequence[dict[str, Any]] = draft.rows
    if draft.corrected is not None:
        found, _ = db.insert_once(connection, transcriptions, draft.corrected, key=_KEY)
        rows = [{**values, "transcription_id": found} for values in rows]
    for values in rows:
        db.insert_once(connection, predictions, values, key=("task_id", "draft_label"))
    common: dict[str, Any] = {"status_line": draft.status_line, "reason_code": None, "reason": None}
    if draft.choice is not None:
        common["draft_choice"] = draft.choice.to_json()
    db.update(connection, tasks, draft.task_id, **common, **of_task)


def give_up(connection: Connection, recording_id: int, error: PermanentError) -> None:
    """Show in a recording's open tasks that it cannot be transcribed; they stop waiting."""
    mine = sa.and_(tasks.c.recording_id == recording_id, tasks.c.state.in_(OPEN))
    line = rendering.status_line(None, refused=f"no draft: {error.sentence}")
    values = {"reason_code": error.code, "reason": error.sentence, "status_line": line, "updated_at": tables.now()}
    touched = connection.execute(sa.update(tasks).where(mine).values(**values).returning(tasks.c.project_id))
    for project_id in {row.project_id for row in touched.all()}:
        bump(connection, project_id)
        enqueueing.enqueue(connection, job_kinds.PUSH_PREDICTIONS, key=str(project_id), project_id=project_id)


def find_transcription(
    connection: Connection, recording: sa.Row[Any], profile: Profile, model_version: str
) -> sa.Row[Any] | None:
    """The transcription of this audio by this model version under this profile, or None."""
    statement = sa.select(transcriptions).where(
        transcriptions.c.audio_sha256 == recording.sha256,
        transcriptions.c.model_version == model_version,
        transcriptions.c.decoding_hash == profile.decoding.digest(),
    )
    return connection.execute(statement).first()


def uncorrected(
    connection: Connection, recording: sa.Row[Any], profile: Profile, model_version: str
) -> sa.Row[Any] | None:
    """The transcription that lacks only the approved corrections, which need no model."""
    if not profile.decoding.corrections:
        return None
    plain = replace(profile, decoding=replace(profile.decoding, corrections=()))
    return find_transcription(connection, recording, plain, model_version)


def transcription_of(
    connection: Connection, recording: sa.Row[Any], profile: Profile, model_version: str
) -> sa.Row[Any] | None:
    """The transcription under this profile; computed here when only its corrections are new."""
    found = find_transcription(connection, recording, profile, model_version)
    if found is not None:
        return found
    plain = uncorrected(connection, recording, profile, model_version)
    if plain is None:
        return None
    db.insert_once(connection, transcriptions, _corrected(plain, profile), key=_KEY)
    return find_transcription(connection, recording, profile, model_version)


def _corrected(plain: sa.Row[Any], profile: Profile) -> dict[str, Any]:
    """The row of a transcription with the approved corrections applied."""
    transcript = corrections.apply(Transcript.from_json(plain.transcript), profile.decoding.corrections)
    return {
        **{name: plain._mapping[name] for name in plain._mapping if name not in ("id", "created_at")},
        "decoding_hash": profile.decoding.digest(),
        "decoding": asdict(profile.decoding),
        "text": transcript.text,
        "transcript": transcript.to_json(),
    }


def _row(
    connection: Connection,
    project: sa.Row[Any],
    task: sa.Row[Any],
    recording: sa.Row[Any],
    found: Any,
    profile: Profile,
    label: str,
    choice: DraftChoice | None,
) -> tuple[dict[str, Any], str]:
    """(the prediction's row, the task's status line)."""
    body: str = NOTHING
    score: float | None = None
    reason: tuple[str | None, str | None] = (None, None)
    if task.blind or found is None:
        reason, line = ("blind", "This task is annotated without a draft."), BLIND_LINE
        body = _empty_regions(project, task, recording, label)
    elif choice is not None and not choice.shown:
        reason, line = (NO_DRAFT, choice.why), NO_DRAFT_LINE
        body = _empty_regions(project, task, recording, label)
    else:
        piece = recording_pieces.piece_of(recording, task)
        transcript = recording_pieces.part(Transcript.from_json(found.transcript), piece)
        controls = labelconfig.parse(project.label_config)
        length_s = recording_pieces.length_s(recording, piece)
        last = piece.end_s is None or piece.end_s >= (recording.duration_s or 0.0) - 0.01
        cut_at_s = length_s if recording.reason_code == "audio-cut" and last else None
        line = rendering.status_line(
            transcript,
            cut_at_s=cut_at_s,
            damaged=recording.reason_code == "audio-damaged",
            minimum_confidence=profile.minimum_confidence,
            detected=profile.decoding.language is None,
            silent_key=rendering.silent_key(controls),
        )
        try:
            agent = agent_channel.agent_channel(connection, recording)
            body, score = _rendered(
                project, recording, transcript, profile, label, length_s=length_s, agent_channel=agent
            )
        except PermanentError as error:
            reason = (error.code, error.sentence)
    nothing = body == NOTHING
    values = {
        "task_id": task.id,
        "project_id": project.id,
        "transcription_id": found.id if found is not None else None,
        "draft_label": label,
        "model_version": found.model_version if found is not None else "none",
        "config_sha256": project.config_sha256 or "",
        "body": body,
        "score": score,
        "reason_code": reason[0],
        "reason": reason[1],
        "delivered_by": "nobody" if nothing else None,
        "delivered_at": tables.now() if nothing else None,
        "confirmed_at": tables.now() if nothing else None,
    }
    return values, line


def _empty_regions(project: sa.Row[Any], task: sa.Row[Any], recording: sa.Row[Any], label: str) -> str:
    """The regions of a task without a draft, from the start of its piece; `[]` for audio of an older release."""
    piece = recording_pieces.piece_of(recording, task)
    end_s = piece.start_s + recording_pieces.length_s(recording, piece)
    inside = [
        (max(start_s - piece.start_s, 0.0), min(until_s, end_s) - piece.start_s, channel)
        for start_s, until_s, channel in recording.speech or ()
        if start_s < end_s and until_s > piece.start_s
    ]
    controls = labelconfig.parse(project.label_config)
    made = rendering.to_empty_regions(inside, controls, draft_label=label, duration_s=end_s - piece.start_s)
    return NOTHING if made is None else json.dumps(made, ensure_ascii=False, separators=(",", ":"))


def _rendered(
    project: sa.Row[Any],
    recording: sa.Row[Any],
    transcript: Transcript,
    profile: Profile,
    label: str,
    *,
    length_s: float,
    agent_channel: int | None,
) -> tuple[str, float]:
    """(JSON text, score) of a prediction."""
    drafted = rendering.to_prediction(
        transcript,
        labelconfig.parse(project.label_config),
        draft_label=label,
        duration_s=length_s,
        quality_label=(recording.quality or {}).get("label"),
        script=profile.script(transcript.language),
        minimum_confidence=profile.minimum_confidence,
        agent_channel=agent_channel,
    )
    return json.dumps(drafted, ensure_ascii=False, separators=(",", ":")), drafted["score"]


def deliver(connection: Connection, project: sa.Row[Any]) -> None:
    """Enqueue the jobs that bring this project's drafts to Label Studio: create, push, redraft."""
    due = tables.now() + COALESCE
    state = sa.select(tasks.c.id).where(tasks.c.project_id == project.id, tasks.c.state == "wanted").limit(1)
    if connection.execute(state).first():
        enqueueing.enqueue(connection, job_kinds.CREATE_TASKS, key=str(project.id), due_at=due, project_id=project.id)
    enqueueing.enqueue(connection, job_kinds.PUSH_PREDICTIONS, key=str(project.id), due_at=due, project_id=project.id)
    if project.next_draft_label:
        enqueueing.enqueue(
            connection, job_kinds.REDRAFT_PROJECT, key=str(project.id), due_at=due, project_id=project.id
        )


def bump(connection: Connection, project_id: int) -> None:
    """Raise the project's revision, so that `/predict` drops its cache."""
    changed = {"revision": projects.c.revision + 1, "updated_at": tables.now()}
    connection.execute(sa.update(projects).where(projects.c.id == project_id).values(**changed))
