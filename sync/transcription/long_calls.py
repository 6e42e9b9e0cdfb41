"""A call longer than a few minutes -> Transcript, span by span, over as many jobs as it takes.

The transcript of each span is stored beside the audio until all are done: a worker that dies loses minutes, not hours,
and a long job makes room for live calls and continues later.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ml_backend.asr import long_audio
from ml_backend.asr.transcript import DecodingProfile, Transcript
from ml_backend.audio import spans as pauses
from ml_backend.context import Context
from ml_backend.errors import KaanError, PermanentError
from ml_backend.jobs import failpoints

SLICE_S = 600.0  # how long one job works before it lets others run


@dataclass(frozen=True)
class Parts:
    """The spans transcribed so far of one recording by one model version under one profile."""

    context: Context
    folder: str

    @staticmethod
    def of(context: Context, recording: sa.Row[Any], model_version: str, profile: DecodingProfile) -> Parts:
        """Stored beside the audio, so that they are erased with it."""
        name = hashlib.sha256(f"{model_version}|{profile.digest()}".encode()).hexdigest()[:16]
        return Parts(context, f"derived/{recording.sha256}/heard-{name}")

    def load(self, span: tuple[float, float]) -> Transcript | None:
        """The stored transcript of a span, or None."""
        bucket, key = self.context.settings.audio_bucket, self._key(span)
        if self.context.store.stat(bucket, key) is None:
            return None
        with tempfile.TemporaryDirectory(prefix="kaan-transcribe-") as folder:
            path = Path(folder) / "transcript.json"
            self.context.store.fetch(bucket, key, path)
            return Transcript.from_json(json.loads(path.read_text(encoding="utf-8")))

    def save(self, span: tuple[float, float], transcript: Transcript) -> None:
        """Store a span's transcript; an existing one is as good."""
        data = json.dumps(transcript.to_json(), ensure_ascii=False).encode()
        try:
            self.context.store.put_bytes(self.context.settings.audio_bucket, self._key(span), data)
        except PermanentError as error:
            if error.code != "object-exists":
                raise

    def remove(self) -> None:
        """Delete the spans, once the whole transcript is stored."""
        bucket = self.context.settings.audio_bucket
        for item in list(self.context.store.list(bucket, prefix=f"{self.folder}/")):
            self.context.store.delete(bucket, item.key)

    def _key(self, span: tuple[float, float]) -> str:
        return f"{self.folder}/{round(span[0] * 1000)}-{round(span[1] * 1000)}.json"


def is_long(recording: sa.Row[Any]) -> bool:
    """Whether a recording is transcribed alone and in spans."""
    return bool(recording.spans) or (recording.duration_s or 0.0) > long_audio.AT_ONCE_S


def spans_of(recording: sa.Row[Any]) -> list[tuple[float, float]]:
    """The spans to transcribe: those of its pieces, or equal parts of an uncut recording."""
    if recording.spans:
        return [(float(start_s), float(end_s)) for start_s, end_s, _ in recording.spans]
    return pauses.evenly(float(recording.duration_s), most_s=long_audio.AT_ONCE_S)


def transcribe_in_parts(
    span_transcriber: long_audio.SpanTranscriber,
    spans: Sequence[tuple[float, float]],
    parts: Parts,
    *,
    slice_s: float = SLICE_S,
) -> Transcript | KaanError | None:
    """The whole transcript, an error, or None when this job's time is over and the next must continue."""
    began, fresh = time.monotonic(), 0
    for span in spans:
        known = parts.load(span)
        if known is not None:
            span_transcriber.skip(*span, known)
            continue
        if fresh and time.monotonic() - began > slice_s:
            return None
        answer = span_transcriber.transcribe(*span)
        if isinstance(answer, KaanError):
            return answer
        parts.save(span, answer)
        fresh += 1
        failpoints.hit("transcribe.after-span")
    return long_audio.merged(span_transcriber.transcripts)
