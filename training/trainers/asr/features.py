"""Waveform -> log-mel frames, with serving's extractor (faster-whisper's)."""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

SAMPLE_RATE_HZ = 16000
FRAMES_PER_S = 100
MELS = 80

Array = npt.NDArray[Any]
"""Samples or frames: float32 in memory, float16 in shards."""


@cache
def _extractor(mels: int) -> Any:
    from faster_whisper.feature_extractor import FeatureExtractor

    return FeatureExtractor(feature_size=mels)


def log_mel(wave: Array, mels: int = MELS) -> Array:
    """float32 mono at 16 kHz -> (frames, mels), as Whisper does: (log10 power + 4) / 4, floor at peak - 2."""
    return np.ascontiguousarray(_extractor(mels)(wave, padding=0).T)
