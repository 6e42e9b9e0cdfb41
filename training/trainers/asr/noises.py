"""Seed -> noise bank: the log-mel frames of lines, streets and music, heard directly and over a telephone line."""

import numpy as np

from training.trainers.asr import telephone
from training.trainers.asr.features import MELS, SAMPLE_RATE_HZ, Array, log_mel

LEVEL = 0.1


def bank(
    rng: np.random.Generator, *, seconds: int = 24, mels: int = MELS, more: dict[str, Array] | None = None
) -> list[tuple[str, Array]]:
    """(kind, frames) twice for each kind: direct, then telephone. `more` are waves of unit power by kind."""
    waves = {kind: telephone.noise(kind, seconds * SAMPLE_RATE_HZ, rng) for kind in telephone.NOISES}
    waves.update(more or {})
    found = []
    for kind, wave in waves.items():
        for heard in (LEVEL * wave, telephone.narrowband(LEVEL * wave, rng, "mulaw")):
            found.append((kind, log_mel(heard, mels).astype(np.float16)))
    return found
