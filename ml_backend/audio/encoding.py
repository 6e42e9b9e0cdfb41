"""Samples -> the bytes of an audio file, for whoever asks for speech: WAV, raw PCM, MP3, Opus, FLAC or AAC."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

PCM_RATE_HZ = 24_000  # of raw PCM, which has no header that could state another


@dataclass(frozen=True)
class AudioFormat:
    """How one form is written; `codec` is empty for raw PCM."""

    content_type: str
    codec: str = ""
    container: str = ""
    samples: str = "s16"


FORMATS = {
    "mp3": AudioFormat("audio/mpeg", "libmp3lame", "mp3", "s16p"),
    "opus": AudioFormat("audio/ogg", "libopus", "ogg"),
    "aac": AudioFormat("audio/aac", "aac", "adts", "fltp"),
    "flac": AudioFormat("audio/flac", "flac", "flac"),
    "wav": AudioFormat("audio/wav", "pcm_s16le", "wav"),
    "pcm": AudioFormat("audio/pcm"),
}


def encoded(samples: npt.NDArray[np.float32], rate_hz: int, form: str) -> bytes:
    """Mono samples, -1..1, in one of FORMATS. Raw PCM is 16-bit little-endian at 24 kHz; the others keep the rate, or
    have the next one that their codec takes."""
    import av

    chosen = FORMATS[form]
    frame = av.AudioFrame.from_ndarray(
        np.round(np.clip(samples, -1, 1) * 32767).astype("<i2")[None], format="s16", layout="mono"
    )
    frame.sample_rate = rate_hz
    if not chosen.codec:
        return b"".join(piece.to_ndarray().tobytes() for piece in _resampled(frame, chosen, PCM_RATE_HZ))
    out, rate_hz = BytesIO(), _taken(chosen.codec, rate_hz)
    with av.open(out, "w", format=chosen.container) as file:
        stream: Any = file.add_stream(chosen.codec, rate=rate_hz, layout="mono")
        for piece in _resampled(frame, chosen, rate_hz, frame_size=stream.codec_context.frame_size):
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
    return out.getvalue()


def _taken(codec: str, rate_hz: int) -> int:
    """The rate itself where the codec takes it, else the next higher one that it takes; Opus knows five."""
    import av

    rates = av.codec.Codec(codec, "w").audio_rates or [rate_hz]
    return min((rate for rate in rates if rate >= rate_hz), default=max(rates))


def _resampled(frame: Any, chosen: AudioFormat, rate_hz: int, *, frame_size: int = 0) -> Iterator[Any]:
    import av

    resampler = av.AudioResampler(format=chosen.samples, layout="mono", rate=rate_hz, frame_size=frame_size or None)
    for given in (frame, None):  # None: what is left in it
        yield from resampler.resample(given)
