"""One recording to transcribe, as the engine takes it. Apart from the engine because its parts take it too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_backend.asr.transcript import DecodingProfile


@dataclass(frozen=True)
class Request:
    """One recording: samples [channels, n] at 16 kHz, float32 in -1..1; `key` is the caller's own.

    `speech` are the speech probabilities of each leg where the caller has them (parts of a call: `voice_activity`).
    """

    samples: npt.NDArray[np.float32]
    profile: DecodingProfile
    key: str = ""
    speech: tuple[npt.NDArray[np.float32], ...] = ()
