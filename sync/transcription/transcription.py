"""Object -> Transcription: once per audio, model version and decoding profile.

Runs in the worker that holds the model. Recordings of one batch are pooled into one call of the engine, because
windows of different calls decode together at the price of one; each member succeeds or fails alone. A recording in
projects with different languages or prompts is transcribed once per profile. A long one is transcribed alone, span by
span (`sync.transcription.long_calls`), so that only a few minutes of samples are in memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ml_backend import db
from ml_backend.asr import long_audio
from ml_backend.asr.engine import Transcriber
from ml_backend.asr.request import Request
from ml_backend.asr.transcript import Transcript
from ml_backend.audio import decoding as audio
from ml_backend.calls import ledger
from ml_backend.context import Context, JobContext, PooledItem
from ml_backend.errors import KaanError, PermanentError
from ml_backend.jobs import enqueueing, failpoints, job_kinds
from ml_backend.jobs.enqueueing import urgency
from ml_backend.labelling.decoding_profile import CONTEXT_CUT, decoding_of
from ml_backend.models.routing import Route, Routes
from ml_backend.serving import default_model, loaded_models
from ml_backend.tables import projects, recordings, tasks, transcriptions
from sync.drafts import drafts, recording_route
from sync.drafts.decoding_choice import Profile, detecting, profile_for
from sync.recordings import recording_language, refetching
from sync.transcription import long_calls


@dataclass(frozen=True)
class _Member:
    """One recording of a batch, and its route."""

    item: PooledItem
    recording: sa.Row[Any]
    route: Route


@dataclass(frozen=True)
class _Wanted:
    """One missing transcription: the engine's request, and its member."""

    item: PooledItem
    recording: sa.Row[Any]
    profile: Profile
    request: Request


def transcribe_recordings(context: JobContext, items: list[PooledItem]) -> None:
    """Objects -> Transcriptions, and the prediction rows of their tasks. Safe to repeat: found again by key.

    An error affects only its recording, or the recordings of one model version.
    """
    context.keep("default-model", lambda: default_model.ensure(context))  # a new deployment has no champion
    now, members = Routes(context), dict[str, list[_Member]]()
    for item in items:
        with _only(item):
            recording = context.db.row(recordings, int(item.arguments["recording_id"]))
            if recording.state != "ready":
                item.done()
                continue
            recording, route = _decided(context, now, recording)
            members.setdefault(route.version.version, []).append(_Member(item, recording, route))
    for some in members.values():
        with _only(*(member.item for member in some)):
            with loaded_models.using(context, some[0].route.version) as transcriber:
                transcribed = _transcribe_all(context, transcriber, some)
                _report_what_is_left_out(context, transcriber)
            for member in some:
                if member.item.job_id in transcribed and not member.item.settled:
                    with _only(member.item):
                        failpoints.hit("transcribe.before-drafts")
                        _go_on(context, member.recording, member.route, now)
                        member.item.done()


def _report_what_is_left_out(context: Context, transcriber: Transcriber) -> None:
    """Report prompts and hotwords that are too long for this model as their project's reason; clear it when they fit.

    This is done here, because it needs the model's tokenizer.
    """
    for project in context.db.rows(sa.select(projects).where(projects.c.state == "attached")):
        decoding = decoding_of(project, context.settings)
        asked = decoding.prompt or decoding.hotwords or decoding.learnt_words
        left_out = transcriber.left_out(decoding) if asked else None
        if project.reason_code in (None, CONTEXT_CUT) and left_out != project.reason:
            code = CONTEXT_CUT if left_out else None
            context.db.update(projects, project.id, reason_code=code, reason=left_out)


@contextmanager
def _only(*items: PooledItem) -> Iterator[None]:
    """An exception inside fails these members, and no others."""
    try:
        yield
    except Exception as error:  # any error is the outcome of these members' jobs
        for item in items:
            item.failed(error)


def _transcribe_all(context: JobContext, transcriber: Transcriber, members: Sequence[_Member]) -> set[int]:
    """Make this version's missing transcriptions; returns the jobs whose recordings are done."""
    wanted: list[_Wanted] = []
    transcribed: set[int] = set()
    for item, recording in ((member.item, member.recording) for member in members):
        try:
            missing = _missing(context, recording, transcriber.model_version)
            if long_calls.is_long(recording):
                if not _transcribe_long(context, transcriber, item, recording, missing):
                    continue
            elif missing:
                with _wav(context, str(recording.derived_key)) as wav:
                    samples = audio.read_wav(wav)[0]
                wanted += [
                    _Wanted(item, recording, profile, Request(samples, profile.decoding, key=str(recording.id)))
                    for profile in missing
                ]
            transcribed.add(item.job_id)
        except KaanError as error:
            _fail(context, item, recording.id, error)
    answers = transcriber.transcribe([w.request for w in wanted]) if wanted else []
    for want, answer in zip(wanted, answers, strict=True):
        if isinstance(answer, Transcript):
            _store(context, want.recording, want.profile, answer)
        else:
            _fail(context, want.item, want.recording.id, answer)
    return transcribed


def shadow_recording(context: JobContext, recording_id: int) -> None:
    """Transcribe with a shadow challenger, to compare it with the champion. Safe to repeat."""
    recording, route = _decided(context, Routes(context), context.db.row(recordings, recording_id))
    if route.shadow is None or recording.state != "ready" or long_calls.is_long(recording):
        return
    with loaded_models.using(context, route.shadow) as transcriber:
        for profile in _missing(context, recording, transcriber.model_version):
            with _wav(context, str(recording.derived_key)) as wav:
                request = Request(audio.read_wav(wav)[0], profile.decoding, key=str(recording.id))
            [answer] = transcriber.transcribe([request])
            if isinstance(answer, KaanError):
                raise answer
            _store(context, recording, profile, answer)


def _go_on(context: JobContext, recording: sa.Row[Any], route: Route, routes: Routes) -> None:
    """After a transcription: enqueue the job that drafts its tasks, or without tasks the one that selects it.

    Its language is known now, and with it the route. If the route has another model, that one transcribes it.
    """
    key, priority, wanted = str(recording.id), urgency(context), {"recording_id": recording.id}
    with context.db.transaction() as connection:
        ledger.lock(connection, recording)
        if not refetching.is_wanted(connection, recording.id):
            return
        recording = recording_language.settle(connection, recording.id)
        now = recording_route.decide(connection, routes, context.settings, recording).route
        if now.version.version != route.version.version:
            enqueueing.enqueue(connection, job_kinds.TRANSCRIBE_RECORDING, key=key, priority=priority, **wanted)
            return
        if now.shadow is not None:
            enqueueing.enqueue(connection, job_kinds.SHADOW_RECORDING, key=key, **wanted)
        ledger.recording_moved(connection, recording.id)
        has_task = sa.select(tasks.c.id).where(tasks.c.recording_id == recording.id).limit(1)
        goes_on = job_kinds.DRAFT_RECORDING if connection.execute(has_task).first() else job_kinds.SELECT_RECORDING
        enqueueing.enqueue(connection, goes_on, key=key, priority=priority, **wanted)


def _transcribe_long(
    context: JobContext,
    transcriber: Transcriber,
    item: PooledItem,
    recording: sa.Row[Any],
    missing: Sequence[Profile],
) -> bool:
    """Transcribe a long recording under each profile; False when the rest is left to another job, or failed."""
    for profile in missing:
        parts = long_calls.Parts.of(context, recording, transcriber.model_version, profile.decoding)
        with _wav(context, str(recording.derived_key)) as wav:
            spans = long_audio.SpanTranscriber(transcriber, wav, profile.decoding, key=str(recording.id))
            answer = long_calls.transcribe_in_parts(spans, long_calls.spans_of(recording), parts)
        if answer is None:
            with context.db.transaction() as connection:
                enqueueing.enqueue(
                    connection,
                    job_kinds.TRANSCRIBE_RECORDING,
                    key=str(recording.id),
                    priority=max(urgency(context), recording.priority),
                    recording_id=recording.id,
                )
            item.done()
            return False
        if isinstance(answer, KaanError):
            _fail(context, item, recording.id, answer)
            return False
        _store(context, recording, profile, answer)
        parts.remove()
    return True


def _decided(context: Context, routes: Routes, recording: sa.Row[Any]) -> tuple[sa.Row[Any], Route]:
    """The recording with its project and route, and the route; stored once its language is known."""
    with context.db.transaction() as connection:
        route = recording_route.decide(connection, routes, context.settings, recording).route
    return context.db.row(recordings, recording.id), route


def profiles_for(context: Context, recording: sa.Row[Any]) -> list[Profile]:
    """The distinct profiles of the projects with tasks of this recording; without tasks, of its destination.

    While a rule on language leaves it undecided, it is transcribed to detect the language.
    """
    statement = (
        sa.select(projects)
        .where(projects.c.id.in_(sa.select(tasks.c.project_id).where(tasks.c.recording_id == recording.id)))
        .where(projects.c.state != "detached")
    )
    with context.db.reading() as connection:
        found = [
            profile_for(connection, recording, project, context.settings)
            for project in connection.execute(statement).all()
        ]
        if not found:
            goes = recording_route.home_of(connection, recording)
            found = [
                detecting(context.settings)
                if goes.undecided
                else profile_for(connection, recording, goes.project, context.settings)
            ]
    different = {profile.decoding.digest(): profile for profile in found}
    return list(different.values())


def _missing(context: Context, recording: sa.Row[Any], model_version: str) -> list[Profile]:
    """The profiles under which this model version has not transcribed a recording."""
    with context.db.reading() as connection:
        return [
            profile
            for profile in profiles_for(context, recording)
            if drafts.find_transcription(connection, recording, profile, model_version) is None
            and drafts.uncorrected(connection, recording, profile, model_version) is None
        ]


@contextmanager
def _wav(context: Context, key: str) -> Iterator[Path]:
    """Normalised audio as a local file; PermanentError `audio-missing` when it was removed."""
    bucket = context.settings.audio_bucket
    if context.store.stat(bucket, key) is None:
        raise PermanentError(
            "audio-missing", "The normalised audio is gone.", "Run the recording's ingest job again: `jobs retry`."
        )
    path = context.store.open_local(bucket, key)
    if path is not None:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="kaan-transcribe-") as folder:
        path = Path(folder) / "audio.wav"
        context.store.fetch(bucket, key, path)
        yield path


def _fail(context: Context, item: PooledItem, recording_id: int, error: KaanError) -> None:
    """Fail this member; on a permanent error its tasks say so."""
    if isinstance(error, PermanentError):
        with context.db.transaction() as connection:
            drafts.give_up(connection, recording_id, error)
    item.failed(error)


def _store(context: Context, recording: sa.Row[Any], profile: Profile, transcript: Transcript) -> None:
    """Store a transcription, unless one exists, so that a repeat changes nothing.

    Nothing is stored of a recording that was erased meanwhile.
    """
    values = {
        "recording_id": recording.id,
        "audio_sha256": recording.sha256,
        "model_version": transcript.model_version,
        "decoding_hash": profile.decoding.digest(),
        "decoding": asdict(profile.decoding),
        "language": transcript.language,
        "language_probability": transcript.language_probability,
        "text": transcript.text,
        "transcript": transcript.to_json(),
        "confidence": transcript.confidence,
        "duration_s": transcript.duration_s,
    }
    with context.db.transaction() as connection:
        if refetching.is_wanted(connection, recording.id):
            db.insert_once(connection, transcriptions, values, key=("audio_sha256", "model_version", "decoding_hash"))
