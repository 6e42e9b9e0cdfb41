"""Transcription -> Task, or the reason why not: which calls are worth an annotator's time.

`choices` decides about each piece; this module reads and writes the rows. A project has at most `max_open` of our
tasks open at a time. Further ones wait as rows, and the most useful are taken first when there is room. Repeating a
selection changes nothing: draws are hashes, and a recording keeps its tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, tables
from ml_backend.asr.transcript import Transcript
from ml_backend.calls import consent, ledger, superseding
from ml_backend.calls.events import LIVE_SOURCE
from ml_backend.context import Context, JobContext
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.models.routing import Routes
from ml_backend.settings import Settings
from ml_backend.tables import calls, projects, recordings, tasks, transcriptions
from ml_backend.usefulness import speech_slices, team_model
from ml_backend.usefulness.task_worth import TaskWorth, WorthFacts, worth_of
from sync.drafts import drafts, recording_route
from sync.drafts.decoding_choice import profile_for
from sync.drafts.project_choice import may_take
from sync.drafts.recording_pieces import RecordingPiece, length_s, part, pieces_of
from sync.objects import joins
from sync.tasks.choices import LEAST_SPEECH_SHARE, Choice, PieceFacts, choose, policy_of
from sync.tasks.task_creation import WAITS, TaskRequest, request_task

LOOK_AGAIN = timedelta(hours=1)  # a waiting call's due time; the schedule usually runs earlier
OVERDUE = timedelta(minutes=15)
PER_TRANSACTION = 20  # recordings: each has tasks, drafts, a job and a call
JOBS_PER_TRANSACTION = 50
NO_PROJECT = "no-project"


def select_recording(context: JobContext, recording_id: int) -> None:
    """Decide about every piece of a transcribed recording; its call becomes `tasked` or `kept`, or waits with a
    reason."""
    routes = Routes(context)
    with context.db.transaction() as connection:
        mine = sa.select(recordings).where(recordings.c.id == recording_id)
        ledger.lock(connection, connection.execute(mine).one())
        recording = connection.execute(mine).one()
        if recording.state == "ready":
            _select(connection, context.settings, recording, routes)
        else:
            ledger.recording_moved(connection, recording_id)


def take_up_waiting(context: JobContext, project_id: int) -> None:
    """Admit waiting tasks while the project has room, most useful first; select recordings that it now accepts."""
    while _let_in(context, project_id):
        pass
    project = context.db.row(projects, project_id)
    if project.state == "attached":
        _select_homeless(context, project)
    _select_overdue(context)
    still = sa.and_(calls.c.state == "heard", calls.c.reason_code.in_((NO_PROJECT, WAITS)))
    late = sa.select(calls.c.id).where(still, calls.c.due_at < tables.now()).limit(JOBS_PER_TRANSACTION)
    while ids := [row.id for row in context.db.rows(late)]:
        with context.db.transaction() as connection:
            looked = sa.update(calls).where(still, calls.c.id.in_(ids))
            connection.execute(looked.values(due_at=tables.now() + LOOK_AGAIN))


def _select_homeless(context: Context, project: sa.Row[Any]) -> None:
    """Select recordings that no project took and that this one's rule accepts now."""
    last = 0
    while True:
        homeless = sa.select(recordings).where(
            recordings.c.reason_code == NO_PROJECT, recordings.c.state == "ready", recordings.c.id > last
        )
        rows = context.db.rows(homeless.order_by(recordings.c.id).limit(JOBS_PER_TRANSACTION))
        if not rows:
            return
        last = rows[-1].id
        with context.db.transaction() as connection:
            for row in rows:
                if may_take(connection, project, row):
                    enqueueing.enqueue(
                        connection, job_kinds.SELECT_RECORDING, key=str(row.id),
                        priority=job_kinds.BULK, recording_id=row.id,
                    )  # fmt: skip


def _select_overdue(context: Context) -> None:
    """Enqueue the selection of transcribed calls whose job was cancelled or failed permanently."""
    late = sa.and_(calls.c.next_action == "select", calls.c.due_at < tables.now() - OVERDUE)
    undecided = sa.or_(calls.c.reason_code.is_(None), calls.c.reason_code.not_in((NO_PROJECT, WAITS)))
    found = sa.select(recordings.c.id).join(calls, calls.c.id == recordings.c.call_id)
    ready = found.where(late, undecided, recordings.c.state == "ready").order_by(recordings.c.id)
    last = 0
    while ids := [row.id for row in context.db.rows(ready.where(recordings.c.id > last).limit(JOBS_PER_TRANSACTION))]:
        last = ids[-1]
        with context.db.transaction() as connection:
            for recording_id in ids:
                enqueueing.enqueue(
                    connection, job_kinds.SELECT_RECORDING, key=str(recording_id), recording_id=recording_id
                )


def _select(connection: Connection, settings: Settings, recording: sa.Row[Any], routes: Routes) -> None:
    made = connection.execute(sa.select(tasks).where(tasks.c.recording_id == recording.id)).all()
    if made:
        _set_call_state(connection, recording, made)
        return
    if recording.synthetic:
        _keep(connection, recording, "synthetic-voice", "It is our own synthetic voice, which is never transcribed.")
        return
    if why := consent.objection(connection, recording):
        _keep(connection, recording, "consent", why)
        return
    if recording.source != LIVE_SOURCE and (piece := superseding.annotated(connection, recording.call_id)):
        why = f"What its live requests sent is annotated already, recording {piece} for one; it holds the same speech."
        _keep(connection, recording, "same-call", why)
        return
    if other := joins.rival(connection, recording):
        _keep(connection, recording, "same-call", f"Its call is worked on already, as recording {other}.")
        return
    if twin := _twin(connection, recording):
        _keep(connection, recording, "same-audio", f"The same audio is a task already, as recording {twin}.")
        return
    found = recording_route.decide(connection, routes, settings, recording)
    if found.home.undecided:  # decided after its transcription
        _transcribe(connection, recording)
        return
    project = found.home.project
    if project is None:
        _wait(connection, recording, NO_PROJECT, "No attached project takes this recording yet.")
        return
    transcription = _transcription(connection, settings, project, recording, found.version)
    if transcription is None:
        _transcribe(connection, recording)
        return
    chosen = _wanted(connection, settings, project, recording, Transcript.from_json(transcription.transcript))
    if isinstance(chosen, Choice):
        _keep(connection, recording, chosen.code, chosen.sentence)
        return
    _draft(connection, settings, project, recording, found.version)
    _set_call_state(connection, recording, chosen)


def _wanted(
    connection: Connection,
    settings: Settings,
    project: sa.Row[Any],
    recording: sa.Row[Any],
    transcript: Transcript,
) -> Sequence[sa.Row[Any]] | Choice:
    """Rows for the chosen pieces; without any, the choice that explains why."""
    policy = policy_of(project.selection, settings)
    pieces = pieces_of(recording)
    parts = [part(transcript, piece) for piece in pieces]
    known = [facts_of(connection, project, recording, each, piece) for each, piece in zip(parts, pieces, strict=True)]
    choices = [choose(policy, facts) for facts in known]
    room = policy.max_open - _open_tasks(connection, project.id)
    for piece, choice in sorted(zip(pieces, choices, strict=True), key=lambda pair: -pair[1].usefulness):
        if choice.reason is None:
            continue
        full = f"The project has its {policy.max_open} open tasks; this one waits for room."
        wish = TaskRequest(
            reason=choice.reason,
            probability=choice.probability,
            usefulness=choice.usefulness,
            blind=choice.blind,
            overlap=choice.overlap,
            usefulness_reason=choice.usefulness_reason,
            worth=choice.worth,
            waits=None if room > 0 else full,
        )
        request_task(connection, project, recording, piece=piece, wish=wish)
        room -= 1
    made = connection.execute(sa.select(tasks).where(tasks.c.recording_id == recording.id)).all()
    return made or max(choices, key=lambda choice: choice.code != "no-speech")


def facts_of(
    connection: Connection,
    project: sa.Row[Any],
    recording: sa.Row[Any],
    transcription: Transcript,
    piece: RecordingPiece,
) -> PieceFacts:
    """The facts that `choices` decides by."""
    parts = (recording.quality or {}).get("parts") or {}
    energy = max((float(channel.get("speech_share") or 0.0) for channel in parts.values()), default=0.0)
    return PieceFacts(
        name=f"{recording.sha256}|{project.id}|{piece.start_s:.3f}",
        quality=float(recording.quality_score or 0.0),
        confidence=float(transcription.confidence) if transcription.text else 0.0,
        speech=bool(transcription.text) or (energy >= LEAST_SPEECH_SHARE and piece.end_s is None),
        worth=_worth(connection, recording, transcription, piece) if transcription.text else None,
    )


def _worth(
    connection: Connection, recording: sa.Row[Any], transcription: Transcript, piece: RecordingPiece
) -> TaskWorth:
    """What annotating a piece is expected to bring and to cost."""
    language = recording.language or transcription.language
    facts = WorthFacts(
        language=language,
        confidence=float(transcription.confidence),
        words=tuple(transcription.text.split()),
        audio_s=length_s(recording, piece),
        quality=float(recording.quality_score or 0.0),
        slices=speech_slices.slices_of(recording),
        speaker_tasks=speech_slices.speaker_tasks(connection, recording),
    )
    return worth_of(team_model.read(connection), facts)


def _let_in(context: Context, project_id: int) -> int:
    """Make some waiting tasks wanted; returns how many."""
    routes = Routes(context)
    with context.db.transaction() as connection:
        project = connection.execute(sa.select(projects).where(projects.c.id == project_id)).one()
        if project.state != "attached":
            return 0
        room = policy_of(project.selection, context.settings).max_open - _open_tasks(connection, project_id)
        mine = sa.select(tasks.c.id, tasks.c.recording_id).where(
            tasks.c.project_id == project_id, tasks.c.state == "waiting"
        )
        order = (sa.func.coalesce(tasks.c.usefulness, 1.0).desc(), tasks.c.id)
        rows = connection.execute(mine.order_by(*order).limit(max(0, min(room, PER_TRANSACTION)))).all()
        let = sa.update(tasks).where(tasks.c.id.in_([row.id for row in rows]))
        connection.execute(let.values(state="wanted", reason_code=None, reason=None, updated_at=tables.now()))
        for recording_id in dict.fromkeys(row.recording_id for row in rows):
            recording = connection.execute(sa.select(recordings).where(recordings.c.id == recording_id)).one()
            found = recording_route.decide(connection, routes, context.settings, recording)
            _draft(connection, context.settings, project, recording, found.version)
            ledger.recording_moved(connection, recording_id)
    return len(rows)


def _draft(
    connection: Connection, settings: Settings, project: sa.Row[Any], recording: sa.Row[Any], model_version: str
) -> None:
    """Render the drafts of wanted tasks; transcribe again when the project has its own decoding profile."""
    drafts.draft_recording(connection, settings, recording.id, model_version)
    profile = profile_for(connection, recording, project, settings)
    if drafts.transcription_of(connection, recording, profile, model_version) is None:
        _transcribe(connection, recording)


def _transcribe(connection: Connection, recording: sa.Row[Any]) -> None:
    enqueueing.enqueue(
        connection,
        job_kinds.TRANSCRIBE_RECORDING,
        key=str(recording.id),
        priority=recording.priority,
        recording_id=recording.id,
    )


def _transcription(
    connection: Connection, settings: Settings, project: sa.Row[Any], recording: sa.Row[Any], model_version: str
) -> sa.Row[Any] | None:
    """The transcription under the project's profile, else the latest, which is good enough for the decision."""
    profile = profile_for(connection, recording, project, settings)
    found = drafts.find_transcription(connection, recording, profile, model_version)
    if found is not None:
        return found
    same = sa.select(transcriptions).where(transcriptions.c.audio_sha256 == recording.sha256)
    return connection.execute(same.order_by(transcriptions.c.id.desc()).limit(1)).first()


def _twin(connection: Connection, recording: sa.Row[Any]) -> int | None:
    """Another recording with the same bytes that has a task: a copied file. Two calls are never copies."""
    same = (
        sa.select(recordings.c.id)
        .join(tasks, tasks.c.recording_id == recordings.c.id)
        .where(recordings.c.sha256 == recording.sha256, recordings.c.id != recording.id)
        .where(tasks.c.state.in_(("waiting", "wanted", "open", "annotated")))
    )
    if recording.call_id is not None:
        same = same.where(recordings.c.call_id.is_(None))
    found = connection.execute(same.order_by(recordings.c.id).limit(1)).scalar()
    return int(found) if found is not None else None


def _open_tasks(connection: Connection, project_id: int) -> int:
    """How many of our tasks are not annotated."""
    mine = sa.and_(tasks.c.project_id == project_id, tasks.c.origin == "ours", tasks.c.state.in_(drafts.OPEN))
    return int(connection.execute(sa.select(sa.func.count()).select_from(tasks).where(mine)).scalar_one())


def _set_call_state(connection: Connection, recording: sa.Row[Any], made: Sequence[sa.Row[Any]]) -> None:
    """Set the state of a recording's call: tasked, waiting with its tasks, or kept when all tasks are gone."""
    states = {row.state for row in made}
    if states & {"wanted", "open", "annotated"}:
        _say(connection, recording, None, None)
        ledger.recording_moved(connection, recording.id)
    elif "waiting" in states:
        _wait(connection, recording, WAITS, next(str(row.reason) for row in made if row.state == "waiting"))
    else:
        _keep(connection, recording, "task-gone", "Its task was deleted or refused, and no other is made.")


def _keep(connection: Connection, recording: sa.Row[Any], code: str, sentence: str) -> None:
    """Make the call `kept`, a final state, with the reason."""
    _say(connection, recording, f"kept-{code}", sentence)
    ledger.recording_kept(connection, recording.id, code=code, sentence=sentence)


def _wait(connection: Connection, recording: sa.Row[Any], code: str, sentence: str) -> None:
    """Store why there is no decision or no room yet; a schedule tries again."""
    _say(connection, recording, code, sentence)
    ledger.recording_moved(connection, recording.id)
    due_at = tables.now() + LOOK_AGAIN
    ledger.wait_for_selection(connection, recording, reason_code=code, reason=sentence, due_at=due_at)


def _say(connection: Connection, recording: sa.Row[Any], code: str | None, sentence: str | None) -> None:
    """Store the reason on the recording's row, unless its audio is truncated: its tasks must show that."""
    if not str(recording.reason_code or "").startswith("audio-"):
        db.update(connection, recordings, recording.id, reason_code=code, reason=sentence)
