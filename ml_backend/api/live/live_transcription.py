"""A request for a transcription -> the transcript by the version that answers.

The audio is decoded in the confined child like every other. Short audio shares batches (`live_batches`), long audio is
transcribed span by span. What is wrong with the audio is the caller's error, in OpenAI's form.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ml_backend.api.live import openai_form
from ml_backend.api.live.live_batches import LiveBatches
from ml_backend.api.live.transcription_form import TranscriptionBody
from ml_backend.asr.request import Request
from ml_backend.asr.transcript import DecodingProfile, Transcript
from ml_backend.errors import InvalidInput, KaanError, PermanentError
from ml_backend.labelling import decoding_profile
from ml_backend.settings import Settings

if TYPE_CHECKING:
    from ml_backend.audio.decoding import DecodedAudio

_PIECE_BYTES = 1 << 20
_ENDING = re.compile(r"\.[A-Za-z0-9]{1,9}\Z")
MOST_CHANNELS = 2
AT_ONCE_S = 30.0
"""Longer audio is transcribed in parts of this length, between which others have their turn."""


def transcribed(
    batches: LiveBatches, audio: IO[bytes], name: str, asked: TranscriptionBody, settings: Settings
) -> tuple[Transcript, Request | None]:
    """The transcript of one file, and what the model was asked where the audio is short. InvalidInput names the field
    that is wrong."""
    from ml_backend.audio import decoding

    profile = _profile(asked, settings)
    with tempfile.TemporaryDirectory(prefix="kaan-live-") as folder:
        wav = Path(folder) / "audio.wav"
        with batches.coming(), _as_callers():
            ending = _ENDING.search(name)  # a hint for the decoder, no more
            source = Path(folder) / f"sent{ending[0] if ending else ''}"
            with source.open("wb") as out:
                shutil.copyfileobj(audio, out, _PIECE_BYTES)
            limits = decoding.Limits(max_duration_s=settings.live_max_audio_s, max_channels=MOST_CHANNELS)
            decoded = decoding.decode(source, wav, limits=limits)
            if decoded.duration_s <= AT_ONCE_S:
                samples, _ = decoding.read_wav(wav)
        with _as_callers():
            if decoded.duration_s <= AT_ONCE_S:
                request = Request(samples, profile)
                return batches.transcript(request), request
            return _long(batches, wav, profile, decoded), None


def _long(batches: LiveBatches, wav: Path, profile: DecodingProfile, decoded: DecodedAudio) -> Transcript:
    from ml_backend.asr import long_audio
    from ml_backend.audio import quality, spans

    found = quality.measure_wav(wav, source_rate_hz=decoded.rate_hz)
    parts = spans.spans(found.speech, found.powers, duration_s=decoded.duration_s, most_s=AT_ONCE_S)
    answer = long_audio.transcribe_long(batches, wav, profile, spans=parts)
    if isinstance(answer, KaanError):
        raise answer
    return answer


def _profile(asked: TranscriptionBody, settings: Settings) -> DecodingProfile:
    plain = decoding_profile.of_settings(settings, language=asked.language)
    return replace(plain, prompt=asked.prompt or None, hotwords=asked.words)


@contextmanager
def _as_callers() -> Iterator[None]:
    """What can never work with this audio or language is the caller's error, not ours."""
    try:
        yield
    except InvalidInput:
        raise
    except PermanentError as error:
        field = "language" if error.code == "unknown-language" else "file"
        raise openai_form.about(field, InvalidInput(error.code, error.sentence, error.next_step)) from error
