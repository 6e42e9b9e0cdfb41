"""Raw audio of a stream, piece by piece -> samples at 16 kHz: PCM of 16 bits, G.711 µ-law and A-law.

There is no container and no compression, so nothing here can be hostile but the length of a piece. The resampler keeps
its state between pieces, so that their joints are not heard.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import av
import numpy as np
import numpy.typing as npt

from ml_backend.errors import InvalidInput

RATE_HZ = 16_000
Samples = npt.NDArray[np.float32]
Encoding = Literal["pcm", "pcmu", "pcma"]


@dataclass(frozen=True)
class StreamFormat:
    """Mono. `pcm` is little-endian, signed, of 16 bits; `pcmu` and `pcma` are G.711 with a byte per sample."""

    encoding: Encoding = "pcm"
    rate_hz: int = 24_000

    @property
    def sample_bytes(self) -> int:
        return 2 if self.encoding == "pcm" else 1


class StreamedAudio:
    """One stream in one format."""

    def __init__(self, form: StreamFormat) -> None:
        self.form = form
        self._resampler = None if form.rate_hz == RATE_HZ else av.AudioResampler("s16", "mono", RATE_HZ)

    def samples(self, data: bytes) -> Samples:
        """The samples of the next piece, in -1..1; InvalidInput for a piece that ends within a sample."""
        if len(data) % self.form.sample_bytes:
            raise InvalidInput(
                "half-a-sample", f"The audio has {len(data):,} bytes: a sample of this format has two.",
                "Send whole samples, or say in the session which format the audio has.",
            )  # fmt: skip
        if not data:
            return np.zeros(0, np.float32)
        whole = _linear(data, self.form.encoding)
        if self._resampler is not None:
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(whole[None]), format="s16", layout="mono")
            frame.sample_rate = self.form.rate_hz
            made = [part.to_ndarray()[0] for part in self._resampler.resample(frame)]
            whole = np.concatenate(made) if made else np.zeros(0, np.int16)
        return whole.astype(np.float32) / np.float32(32_768)


def _linear(data: bytes, encoding: Encoding) -> npt.NDArray[np.int16]:
    if encoding == "pcm":
        return np.frombuffer(data, np.dtype("<i2"))
    return _table(encoding)[np.frombuffer(data, np.uint8)]


@lru_cache(maxsize=2)
def _table(encoding: Encoding) -> npt.NDArray[np.int16]:
    """The linear value of each byte of G.711 (ITU-T G.711, tables 1a and 2a), scaled to 16 bits."""
    codes = np.arange(256)
    if encoding == "pcmu":
        codes ^= 0xFF
        exponent, mantissa = codes >> 4 & 7, codes & 15
        size: npt.NDArray[Any] = ((2 * mantissa + 33) << exponent) - 33 << 2
        negative = codes & 0x80 != 0
    else:
        codes ^= 0x55
        exponent, mantissa = codes >> 4 & 7, codes & 15
        size = np.where(exponent, (2 * mantissa + 33) << np.maximum(exponent - 1, 0), 2 * mantissa + 1) << 3
        negative = codes & 0x80 == 0
    return np.where(negative, -size, size).astype(np.int16)
