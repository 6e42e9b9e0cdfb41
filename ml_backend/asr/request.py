"""One recording to transcribe. A file of its own because the engine and the pool both import it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_backend.asr.transcript import DecodingProfile


@dataclass(frozen=True)
class Request:
    """One recording: samples [channels, n] at 16 kHz, float32 in -1..1. The engine does not read `key`.

    `speech` holds the speech probabilities of each channel, if the caller has them already.
    """

    samples: npt.NDArray[np.float32]
    profile: DecodingProfile
    key: str = ""
    speech: tuple[npt.NDArray[np.float32], ...] = ()
