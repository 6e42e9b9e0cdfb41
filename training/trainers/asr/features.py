"""Waveform -> log-mel frames, with the extractor that serving uses (faster-whisper's), never another one."""
from functools import cache

import numpy as np

SAMPLE_RATE_HZ = 16000
FRAMES_PER_S = 100
MELS = 80


@cache
def _extractor():
    from faster_whisper.feature_extractor import FeatureExtractor

    return FeatureExtractor()


def log_mel(wave: np.ndarray) -> np.ndarray:
    """float32 mono at 16 kHz -> (frames, 80), normalised as Whisper does: (log10 power + 4) / 4, floor 8 below the peak."""
    return np.ascontiguousarray(_extractor()(wave, padding=0).T)
