"""A request for speech -> the bytes of a sound: from the object store where the version has said it, else spoken now.

What is spoken now stays only where the request says `keep`: a sentence to a caller may name a person, and who sends
OpenAI's form does not know the field. The store is a cache here: while it does not answer, a sentence is spoken again
rather than refused.
"""

from __future__ import annotations

import tempfile
import wave
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from ml_backend import log, quantities
from ml_backend.api.live import openai_form
from ml_backend.api.live.live_bodies import SpeechBody
from ml_backend.context import Context
from ml_backend.errors import InvalidInput, KaanError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from ml_backend.tts.prompts import Saying
    from ml_backend.tts.voice_loading import Voice

_FIELDS = {
    "speech-voice-unknown": "voice", "speech-language-unknown": "language", "speech-emotion-unknown": "emotion",
    "speech-tempo": "speed", "speech-text-empty": "input", "speech-text-too-long": "input",
    "speech-letters-unknown": "input",
}  # fmt: skip
_log = log.get("live")
_trouble = log.Lasting()


def sound(context: Context, speaker: Voice, asked: SpeechBody) -> tuple[bytes, str]:
    """(bytes, content type). InvalidInput names the field that this version cannot do."""
    from ml_backend.audio import encoding
    from ml_backend.tts import prompts

    language = asked.language or speaker.needs.languages[0]
    wanted = prompts.saying(
        speaker, asked.input, language, voice=asked.voice_name, emotion=asked.emotion, tempo=asked.speed
    )
    try:
        wav = _stored(context, speaker, wanted, keep=asked.keep)
        if wav is None:
            wav = _spoken(speaker, wanted)
    except InvalidInput as error:
        raise openai_form.about(_FIELDS.get(error.code), error) from None
    content_type = encoding.FORMATS[asked.response_format].content_type
    if asked.response_format == "wav":
        return wav, content_type
    samples, rate_hz = _samples(wav)
    return encoding.encoded(samples, rate_hz, asked.response_format), content_type


def _stored(context: Context, speaker: Voice, wanted: Saying, *, keep: bool) -> bytes | None:
    """The WAV file that the store has; with `keep`, made now where it has none. None where it is to be spoken."""
    from ml_backend.tts import prompts

    places = prompts.PromptPlaces.of(context.settings)
    try:
        _require_rendered(context, speaker, wanted)
        found = None
        if keep:
            key, _ = prompts.spoken(context, speaker, wanted)
            found = _read(context, places.bucket, key)
        elif context.store.stat(places.bucket, wanted.key(places)) is not None:
            found = _read(context, places.bucket, wanted.key(places))
    except InvalidInput:
        raise
    except KaanError as error:
        if _trouble.is_news():
            _log.warning("speech_not_kept", reason=quantities.shortened(str(error), 200))
        if not speaker.answers_live:
            raise
        return None
    if _trouble.is_over():
        _log.info("speech_kept_again")
    return found


def _spoken(speaker: Voice, wanted: Saying) -> bytes:
    """The WAV file, spoken now; nothing of it stays."""
    return speaker.speak(
        wanted.text, language=wanted.language, voice=wanted.voice, emotion=wanted.emotion, tempo=wanted.tempo
    ).to_wav()


def _require_rendered(context: Context, speaker: Voice, wanted: Saying) -> None:
    """A voice in a process of its own takes seconds to start: it answers a call with what was rendered before."""
    from ml_backend.tts import prompts

    places = prompts.PromptPlaces.of(context.settings)
    if speaker.answers_live or context.store.stat(places.bucket, wanted.key(places)) is not None:
        return
    raise InvalidInput(
        "speech-not-rendered",
        f"{speaker.model_version} is too slow to answer a call, and this sentence was not rendered before.",
        "Render it first: `speak --keep` or `prompts render`. Or promote a voice that answers live.", status=409,
    )  # fmt: skip


def _read(context: Context, bucket: str, key: str) -> bytes:
    local = context.store.open_local(bucket, key)
    if local is not None:
        return local.read_bytes()
    with tempfile.TemporaryDirectory(prefix="kaan-speech-") as folder:
        path = Path(folder) / "speech.wav"
        context.store.fetch(bucket, key, path)
        return path.read_bytes()


def _samples(wav: bytes) -> tuple[npt.NDArray[np.float32], int]:
    """A WAV file of ours -> mono samples, -1..1."""
    import numpy as np

    with wave.open(BytesIO(wav)) as file:
        whole = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(np.float32)
        return whole / np.float32(32768), file.getframerate()
