"""Object -> Transcription: what the serving model hears, once per audio, model version and decoding profile.

Runs in the worker that holds the model. Recordings of one batch are pooled into one call of the engine, because
windows of different calls decode together at the price of one; each member settles for itself. A recording that
belongs to projects with different languages or prompts is heard once per profile.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ml_backend import audio, db, engine
from ml_backend.context import Context, JobContext, PooledItem
from ml_backend.errors import KaanError, PermanentError
from ml_backend.tables import projects, recordings, tasks, transcriptions
from ml_backend.transcript import Transcript
from sync import drafts
from sync.profiles import Profile, profile_of


@dataclass(frozen=True)
class _Wanted:
    """One hearing that is missing: the engine's request, and whose it is."""

    item: PooledItem
    recording: sa.Row[Any]
    profile: Profile
    request: engine.Request


def transcribe_recordings(context: JobContext, items: list[PooledItem]) -> None:
    """Objects -> Transcriptions, and the prediction rows of their tasks. Safe to repeat: found again by key."""
    transcriber = engine.current(context)
    wanted: list[_Wanted] = []
    heard: dict[int, sa.Row[Any]] = {}
    for item in items:
        try:
            recording = context.db.row(recordings, int(item.arguments["recording_id"]))
            if recording.state != "ready":
                item.done()
                continue
            wanted += _missing(context, item, recording, transcriber.model_version)
            heard[item.job_id] = recording
        except KaanError as error:
            _fail(context, item, int(item.arguments["recording_id"]), error)
    answers = transcriber.transcribe([w.request for w in wanted]) if wanted else []
    for want, answer in zip(wanted, answers, strict=True):
        if isinstance(answer, Transcript):
            _store(context, want, answer)
        else:
            _fail(context, want.item, want.recording.id, answer)
    for item in items:
        if item.job_id in heard and not item.settled:
            with context.db.transaction() as connection:
                drafts.draft_recording(connection, context.settings, heard[item.job_id].id, transcriber.model_version)
            item.done()


def profiles_for(context: Context, recording_id: int) -> list[Profile]:
    """The different profiles of the projects this recording has tasks in; the settings' own when it has none."""
    statement = (
        sa.select(projects)
        .where(projects.c.id.in_(sa.select(tasks.c.project_id).where(tasks.c.recording_id == recording_id)))
        .where(projects.c.state != "detached")
    )
    found = [profile_of(project, context.settings) for project in context.db.rows(statement)]
    different = {profile.decoding.digest(): profile for profile in found or [profile_of(None, context.settings)]}
    return list(different.values())


def _missing(context: Context, item: PooledItem, recording: sa.Row[Any], model_version: str) -> Sequence[_Wanted]:
    with context.db.reading() as connection:
        profiles = [
            profile
            for profile in profiles_for(context, recording.id)
            if drafts.find_transcription(connection, recording, profile, model_version) is None
        ]
    if not profiles:
        return []
    samples = _samples(context, recording)
    return [
        _Wanted(item, recording, profile, engine.Request(samples, profile.decoding, key=str(recording.id)))
        for profile in profiles
    ]


def _samples(context: Context, recording: sa.Row[Any]) -> Any:
    """The normalised audio; PermanentError `audio-missing` when somebody removed it."""
    bucket, key = context.settings.audio_bucket, str(recording.derived_key)
    if context.store.stat(bucket, key) is None:
        raise PermanentError(
            "audio-missing", "The normalised audio is gone.", "Run the recording's ingest job again: `jobs retry`."
        )
    path = context.store.open_local(bucket, key)
    if path is not None:
        return audio.read_wav(path)[0]
    with tempfile.TemporaryDirectory(prefix="kaan-hear-") as folder:
        path = Path(folder) / "audio.wav"
        context.store.fetch(bucket, key, path)
        return audio.read_wav(path)[0]


def _fail(context: Context, item: PooledItem, recording_id: int, error: KaanError) -> None:
    """This member failed; when trying again cannot help, its tasks say so."""
    if isinstance(error, PermanentError):
        with context.db.transaction() as connection:
            drafts.give_up(connection, recording_id, error)
    item.failed(error)


def _store(context: Context, want: _Wanted, transcript: Transcript) -> None:
    """Keep a transcription; the one that is there already wins, so that a repeat changes nothing."""
    values = {
        "recording_id": want.recording.id,
        "audio_sha256": want.recording.sha256,
        "model_version": transcript.model_version,
        "decoding_hash": want.profile.decoding.digest(),
        "decoding": asdict(want.profile.decoding),
        "language": transcript.language,
        "language_probability": transcript.language_probability,
        "text": transcript.text,
        "transcript": transcript.to_json(),
        "confidence": transcript.confidence,
        "duration_s": transcript.duration_s,
    }
    with context.db.transaction() as connection:
        db.insert_once(connection, transcriptions, values, key=("audio_sha256", "model_version", "decoding_hash"))
