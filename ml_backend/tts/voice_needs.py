"""What a voice's manifest says that the kinds do not share: its voices, letters and spectrum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ml_backend import quantities
from ml_backend.errors import PermanentError
from ml_backend.tts.mel import MelScale

GRIFFIN_LIM = "griffin-lim"
NEUTRAL = "neutral"
_MOST_LETTERS = 2000


@dataclass(frozen=True)
class VoiceNeeds:
    """`languages` are in the order of the network's table, as are the others."""

    languages: tuple[str, ...]
    voices: tuple[str, ...]
    emotions: tuple[str, ...]
    alphabet: str
    scale: MelScale
    vocoder: str = GRIFFIN_LIM

    def to_json(self) -> dict[str, Any]:
        return {
            "languages": list(self.languages), "voices": list(self.voices), "emotions": list(self.emotions),
            "alphabet": self.alphabet, "vocoder": self.vocoder, "mel": self.scale.to_json(),
        }  # fmt: skip


def of_manifest(needs: dict[str, Any], *, folder: str) -> VoiceNeeds:
    """Raises when a field is missing or of another type: an engine must not guess."""
    try:
        found = VoiceNeeds(
            _names(needs["languages"]), _names(needs["voices"]), _names(needs["emotions"]), str(needs["alphabet"]),
            MelScale(**needs["mel"]), str(needs["vocoder"]),
        )  # fmt: skip
        if found.vocoder != GRIFFIN_LIM:
            raise ValueError(f"vocoder {found.vocoder}")
        if " " not in found.alphabet or not len(set(found.alphabet)) == len(found.alphabet) <= _MOST_LETTERS:
            raise ValueError("alphabet")
        if min(found.scale.rate_hz, found.scale.hop, found.scale.bands) < 1 or found.scale.fft % found.scale.hop:
            raise ValueError("mel")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PermanentError(
            "speech-manifest",
            f"The manifest of {folder} does not describe a voice ({quantities.shortened(str(error), 60)}).",
            "Fetch or export the model version again; do not edit its files by hand.",
        ) from None
    return found


def _names(value: Any) -> tuple[str, ...]:
    names = tuple(value)
    if not names or not all(isinstance(name, str) and name for name in names) or len(set(names)) != len(names):
        raise ValueError("an empty, doubled or mistyped list")
    return names
