"""Accepted clips -> the character error rate of what the recogniser writes, beside their text.

The champion for the clip's language transcribes; numbers are compared in digits. The rate is a figure for people and
for comparisons of clips under one recogniser. It excludes a clip only where this recogniser understands most clips of
the language (`clip_checks.judge_is_able`). Where a text mixes two languages, TTS_SECOND_RECOGNISER transcribes it too,
and the lower rate counts (`evaluation.speech_recognisers`). A job takes a few minutes of audio and leaves the rest to
its successor, so that live calls are not kept waiting.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from ml_backend import db, languages
from ml_backend.asr.engine import Transcriber
from ml_backend.asr.request import Request
from ml_backend.asr.transcript import DecodingProfile
from ml_backend.audio import decoding
from ml_backend.context import Context, JobContext
from ml_backend.errors import KaanError, PermanentError
from ml_backend.jobs import device_turns, enqueueing, job_kinds
from ml_backend.models import registry
from ml_backend.serving import loaded_models
from ml_backend.tables import recordings, voice_clips
from training.evaluation import speech_recognisers
from training.scoring import speech_scores
from training.scoring.error_counts import count
from training.text import readings
from training.voices import clip_checks

MOST_S = 300.0  # of audio in one job
BATCH = 100
TOGETHER = 50


def check_voices(context: JobContext) -> None:
    """Transcribe accepted clips that the present recogniser has not transcribed. Safe to repeat."""
    done = 0
    for language in _languages(context):
        version = registry.champion(context, language=languages.transcribed_as(language))
        judges = " and ".join(filter(None, (version.version, speech_recognisers.second_of(context))))
        rows = _waiting(context, language, judges)
        if not rows:
            continue
        with loaded_models.using(context, version) as transcriber:
            profile = DecodingProfile(language=languages.transcribed_as(language))
            found = {row.id: _cer(context, transcriber, profile, row) for row in rows}
        found = _with_second(context, profile, rows, found)
        _store(context, rows, found, judges)
        _judge(context, language, judges)
        done += len(rows)
    if done:
        with context.db.transaction() as connection:
            enqueueing.enqueue(connection, job_kinds.CHECK_VOICES, key="all", priority=job_kinds.BULK)
    context.report(1.0, f"{done} clips transcribed")


def _with_second(
    context: Context, profile: DecodingProfile, rows: Sequence[sa.Row[Any]], found: dict[int, float | None]
) -> dict[int, float | None]:
    """The lower rate of two recognisers for the texts that mix two languages."""
    mixed = [row for row in rows if speech_scores.mixes_languages(row.text, profile.language or "")]
    name = speech_recognisers.second_of(context)
    if not mixed or not name:
        return found
    second = Transcriber.load(
        speech_recognisers.second_place(context), settings=context.settings, model_version=name,
        before_batch=device_turns.of(context).give_way,
    )  # fmt: skip
    better = dict(found)
    for row in mixed:
        rates = [one for one in (found[row.id], _cer(context, second, profile, row)) if one is not None]
        better[row.id] = min(rates, default=None)
    return better


def _languages(context: Context) -> list[str]:
    accepted = sa.select(voice_clips.c.language).where(voice_clips.c.state == "accepted").distinct()
    return sorted(filter(None, context.db.scalars(accepted)))


def _waiting(context: Context, language: str, version: str) -> Sequence[sa.Row[Any]]:
    """Clips of one language without a rate under this version, together at most MOST_S seconds."""
    judged = voice_clips.c.checks["recogniser"].as_string()
    statement = (
        sa.select(
            voice_clips.c.id,
            voice_clips.c.text,
            voice_clips.c.duration_s,
            voice_clips.c.checks,
            recordings.c.derived_key,
        )
        .join(recordings, recordings.c.id == voice_clips.c.recording_id)
        .where(voice_clips.c.state == "accepted", voice_clips.c.language == language, recordings.c.state == "ready")
        .where(sa.or_(judged.is_(None), judged != version), recordings.c.derived_key.is_not(None))
        .order_by(voice_clips.c.id)
        .limit(BATCH)
    )
    chosen: list[sa.Row[Any]] = []
    seconds = 0.0
    for row in context.db.rows(statement):
        seconds += row.duration_s or 0.0
        if chosen and seconds > MOST_S:
            break
        chosen.append(row)
    return chosen


def _cer(context: Context, transcriber: Any, profile: DecodingProfile, row: sa.Row[Any]) -> float | None:
    """The clip's rate; None where it cannot be transcribed."""
    try:
        [transcript] = transcriber.transcribe([Request(_samples(context, row.derived_key), profile)])
    except PermanentError:
        return None
    if isinstance(transcript, KaanError):
        return None
    counts = count(row.text, transcript.text, normaliser=readings.NUMBER_CANONICAL, language=profile.language)
    return round(counts.char_edits / counts.chars, 4) if counts.chars else None


def _samples(context: Context, key: str) -> npt.NDArray[np.float32]:
    path = context.store.open_local(context.settings.audio_bucket, key)
    if path is not None:
        return decoding.read_wav(path)[0]
    with tempfile.TemporaryDirectory(prefix="kaan-voices-") as folder:
        path = Path(folder) / "audio.wav"
        context.store.fetch(context.settings.audio_bucket, key, path)
        return decoding.read_wav(path)[0]


def _store(context: Context, rows: Sequence[sa.Row[Any]], found: dict[int, float | None], version: str) -> None:
    for begin in range(0, len(rows), TOGETHER):
        with context.db.transaction() as connection:
            for row in rows[begin : begin + TOGETHER]:
                checks = {**(row.checks or {}), "cer": found[row.id], "recogniser": version}
                db.update(connection, voice_clips, row.id, checks=checks)


def _judge(context: Context, language: str, version: str) -> None:
    """Exclude what the recogniser writes quite differently, if it understands this language at all."""
    mine = sa.select(voice_clips.c.id, voice_clips.c.checks).where(
        voice_clips.c.language == language, voice_clips.c.state == "accepted"
    )
    cers: defaultdict[int, float] = defaultdict(float)
    for row in context.db.rows(mine):
        checks = row.checks or {}
        if checks.get("recogniser") == version and checks.get("cer") is not None:
            cers[row.id] = float(checks["cer"])
    if not clip_checks.judge_is_able(list(cers.values())):
        return
    wrong = [clip_id for clip_id, cer in cers.items() if cer > clip_checks.MOST_CER]
    code = "not-the-text"
    for begin in range(0, len(wrong), TOGETHER):
        with context.db.transaction() as connection:
            for clip_id in wrong[begin : begin + TOGETHER]:
                values = {"state": "excluded", "reason_code": code, "reason": clip_checks.REASONS[code]}
                db.update(connection, voice_clips, clip_id, accepted_at=None, **values)
