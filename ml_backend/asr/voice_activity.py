"""Samples of one leg, block after block -> speech probabilities, the same as if all had come at once.

Silero's voice-activity model remembers what it heard. A long call is heard in spans, so its memory is carried from one
to the next here; without that, the places where speech begins and ends would depend on where the call was cut.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ml_backend.asr.windows import Probabilities, Samples

STEP = 512  # samples per probability
_CONTEXT = 64  # samples of the step before that the model sees with each step


class Voice:
    """The model's memory of one leg."""

    def __init__(self) -> None:
        self._memory = (np.zeros((1, 1, 128), np.float32), np.zeros((1, 1, 128), np.float32))
        self._before: npt.NDArray[np.float32] = np.zeros(_CONTEXT, np.float32)

    def probabilities(self, block: Samples) -> Probabilities:
        """One per step. Every block but the last must be a whole number of steps."""
        from faster_whisper.vad import get_vad_model

        if not block.size:
            return np.zeros(0, np.float32)
        padded = np.pad(block, (0, -block.size % STEP)).astype(np.float32)
        steps = padded.reshape(-1, STEP)
        contexts = np.vstack([self._before[None], steps[:-1, -_CONTEXT:]])
        self._before = steps[-1, -_CONTEXT:].copy()
        h, c = self._memory
        output, h, c = get_vad_model().session.run(None, {"input": np.hstack([contexts, steps]), "h": h, "c": c})
        self._memory = (h, c)
        return np.asarray(output, dtype=np.float32).reshape(-1)
