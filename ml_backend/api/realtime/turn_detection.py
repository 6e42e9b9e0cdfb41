"""Speech probabilities of a stream -> where turns begin and end, by settings that the client may change.

The rule for speech is the one of `asr/windows.py`: enough steps above the threshold, and either a certain one among
them or half a second. So what begins a turn is what the engine then transcribes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

STEP_MS = 32  # of the voice-activity model
_CERTAIN, _UNCERTAIN_STEPS = 0.5, 16
_LEAST_STEPS = 3
_BELOW = 0.15  # speech ends this far below the threshold at which it begins
_LEAST_LEAVE = 0.05
_FADING_STEPS = 4  # in which the probability falls after speech has ended: they count as silence


@dataclass(frozen=True)
class TurnSettings:
    """OpenAI's names. The threshold suits telephone lines: 0.5 cuts narrow-band voices."""

    threshold: float = 0.3
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 200

    @property
    def padding_steps(self) -> int:
        return -(-self.prefix_padding_ms // STEP_MS)

    @property
    def silence_steps(self) -> int:
        return max(1, -(-self.silence_duration_ms // STEP_MS))


@dataclass
class TurnDetector:
    """Whether somebody speaks. `voiced` counts the steps of the run of speech, also before it is a turn."""

    settings: TurnSettings
    speaking: bool = False
    quiet: int = 0  # steps since the last speech, while a turn lasts
    voiced: int = 0
    _fading: int = field(default=0, repr=False)  # steps since the last that was certain speech
    _highest: float = field(default=0.0, repr=False)

    def step(self, probability: float) -> Literal["begins", "ends"] | None:
        """Read one step; what changed with it."""
        wanted, leave = self.settings.threshold, max(_LEAST_LEAVE, self.settings.threshold - _BELOW)
        if self.speaking:
            if probability < leave or (self.quiet and probability < wanted):
                self.quiet += 1 if self.quiet else 1 + min(self._fading, _FADING_STEPS)
            else:
                self.quiet = 0
            self._fading = self._fading + 1 if probability < max(wanted, _CERTAIN) else 0
            if self.quiet < self.settings.silence_steps:
                return None
            self.reset()
            return "ends"
        if probability >= wanted:
            self.voiced, self._highest = self.voiced + 1, max(self._highest, probability)
        elif probability < leave:
            self.voiced, self._highest = 0, 0.0
        certain = self._highest >= _CERTAIN or self.voiced >= _UNCERTAIN_STEPS
        if self.voiced < _LEAST_STEPS or not certain:
            return None
        self.speaking, self.quiet = True, 0
        return "begins"

    def reset(self) -> None:
        """Nobody speaks: at the end of a turn, or when the client ended it."""
        self.speaking, self.quiet, self.voiced, self._highest, self._fading = False, 0, 0, 0.0, 0


def fair_cut(probabilities: list[float], low: int) -> int:
    """Where to cut a turn that is too long, in steps: the least probable speech from `low` on, as of windows."""
    later = np.convolve(probabilities[low:], np.ones(3), "same")[:-1]
    return low + int(np.argmin(later)) if later.size > 1 else len(probabilities)
