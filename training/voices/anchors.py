"""Recordings of people -> degraded copies: the hidden anchors that show whether raters listen.

A copy keeps the words and loses the voice: nothing above 1 kHz, 4 bits for a sample, and noise 6 dB below the speech.
Nobody who listens finds it as good as the recording. Copies are made from the recording's bytes and a fixed seed, so
that making them again changes nothing; they lie in AUDIO_BUCKET under the hash of their bytes and walk the way of
every recording.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from ml_backend import db
from ml_backend.audio import decoding
from ml_backend.context import Context
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.tables import recordings, voice_clips

KEY = "anchors/{sha256}.wav"
HIGHEST_HZ = 1000.0
LEVELS = 16
NOISE = 0.5  # of the speech's level: 6 dB below
_SEED = 20_261_130

Samples = npt.NDArray[np.float32]


def make(context: Context, count: int, *, language: str | None = None) -> int:
    """Make copies until `count` references (of a language) have one; gives how many are new. Safe to repeat."""
    copies = voice_clips.alias("copies")
    degraded = sa.select(copies.c.text_key).where(copies.c.role == "degraded")
    mine = sa.and_(voice_clips.c.role == "reference", voice_clips.c.state == "accepted")
    if language is not None:
        mine = sa.and_(mine, voice_clips.c.language == language)
    there = context.db.scalars(
        sa.select(voice_clips.c.text_key).where(mine, voice_clips.c.text_key.in_(degraded)).distinct()
    )
    found = _without_copy(context, mine, degraded, count - len(there))
    context.store.ensure_bucket(context.settings.audio_bucket)
    for clip in found:
        _copy(context, clip)
    return len(found)


def degrade(samples: Samples, rate_hz: int) -> Samples:
    """A worse copy of a recording [n]. The same for the same samples."""
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(samples.size, 1 / rate_hz) > HIGHEST_HZ] = 0
    dull = np.fft.irfft(spectrum, samples.size)
    level = float(np.sqrt(np.mean(dull**2))) or 1e-4
    noisy = dull + np.random.default_rng(_SEED).standard_normal(samples.size) * level * NOISE
    peak = max(1e-6, float(np.abs(noisy).max()))
    steps = np.round(noisy / peak * (LEVELS / 2)) / (LEVELS / 2)
    worse: Samples = (0.5 * steps).astype(np.float32)
    return worse


def _without_copy(
    context: Context, mine: sa.ColumnElement[bool], degraded: sa.Select[Any], count: int
) -> Sequence[sa.Row[Any]]:
    """References by the hash of their sentence, one of each sentence."""
    if count <= 0:
        return []
    ready = sa.and_(recordings.c.state == "ready", recordings.c.derived_key.is_not(None))
    statement = (
        sa.select(voice_clips, recordings.c.derived_key)
        .join(recordings, recordings.c.id == voice_clips.c.recording_id)
        .where(mine, ready, voice_clips.c.text_key.not_in(degraded))
        .order_by(voice_clips.c.text_key, voice_clips.c.id)
    )
    first = {row.text_key: row for row in reversed(context.db.rows(statement))}
    return [first[key] for key in sorted(first)][:count]


def _copy(context: Context, clip: sa.Row[Any]) -> None:
    with tempfile.TemporaryDirectory(prefix="kaan-anchors-") as folder:
        path = context.store.open_local(context.settings.audio_bucket, clip.derived_key)
        if path is None:
            path = Path(folder) / "audio.wav"
            context.store.fetch(context.settings.audio_bucket, clip.derived_key, path)
        samples, rate_hz = decoding.read_wav(path)
    data = _wav(degrade(samples[0], rate_hz), rate_hz)
    bucket, key = context.settings.audio_bucket, KEY.format(sha256=hashlib.sha256(data).hexdigest())
    context.store.put_bytes(bucket, key, data)
    place = {"source": "object", "source_identity": f"s3://{bucket}/{key}", "bucket": bucket, "object_key": key}
    known = {"known_text": clip.text, "language": clip.language, "language_by": "given", "synthetic": True}
    who = {name: getattr(clip, name) for name in ("voice", "emotion", "engine", "text_key")}
    with context.db.transaction() as connection:
        row_id, _ = db.insert_once(
            connection, recordings, {**place, **known, "state": "found"}, key=("source", "source_identity")
        )
        values = {"bucket": bucket, "key": key, "recording_id": row_id, "role": "degraded", **who}
        db.upsert(connection, voice_clips, values, key=("bucket", "key"))
        enqueueing.enqueue(connection, job_kinds.INGEST_RECORDING, key=str(row_id), recording_id=row_id)


def _wav(samples: Samples, rate_hz: int) -> bytes:
    held = io.BytesIO()
    with wave.open(held, "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(rate_hz)
        stream.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return held.getvalue()
