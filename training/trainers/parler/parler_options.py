"""Options of a Parler run, and the description of each voice. Pure: the worker reads it too, without parler-tts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from training.runs import option_checks
from training.runs.option_checks import OptionRules

LORA, FULL = "lora", "full"
NEUTRAL = "neutral"
_LANGUAGES = {
    "en": "English", "hi": "Hindi", "mr": "Marathi", "bn": "Bengali", "gu": "Gujarati", "kn": "Kannada",
    "ml": "Malayalam", "pa": "Punjabi", "ta": "Tamil", "te": "Telugu", "ur": "Urdu", "or": "Odia", "as": "Assamese",
}  # fmt: skip


@dataclass(frozen=True)
class ParlerOptions:
    """Of one run. A batch is `batch_clips` × `accumulation` recordings."""

    base: str = "ai4bharat/indic-parler-tts"  # a folder, a registered version, or a name on the hub
    name: str = ""  # of the new version; empty: the base's
    seed: int = 1
    steps: int = 500
    method: str = LORA  # or full: the whole decoder, with four times the memory
    rank: int = 16
    learning_rate: float = 1e-4
    warm_up_steps: int = 20
    weight_decay: float = 0.01
    batch_clips: int = 4
    accumulation: int = 1
    validate_every: int = 100
    validation_clips: int = 40
    checkpoint_every: int = 100
    shortest_s: float = 0.5  # recordings outside are left out
    longest_s: float = 20.0
    gradient_checkpointing: bool = False
    precision: str = "auto"  # auto: bf16 on a GPU
    device: str = "auto"
    threads: int = 1

    def __post_init__(self) -> None:
        also = () if self.shortest_s < self.longest_s else ("shortest_s must be below longest_s",)
        option_checks.require(self, _RULES, also=also)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> ParlerOptions:
        return option_checks.made(cls, raw, _RULES)


_RULES = OptionRules(
    "training/trainers/parler/parler_options.py lists all options.",
    choices={
        "method": (LORA, FULL), "precision": ("auto", "float32", "bf16"), "device": ("auto", "cpu", "cuda"),
    },
    ranges={
        "seed": (0, 2**31 - 1), "steps": (1, 10_000_000), "rank": (1, 1024), "learning_rate": (1e-8, 0.1),
        "warm_up_steps": (0, 10_000_000), "weight_decay": (0, 1), "batch_clips": (1, 1024), "accumulation": (1, 1024),
        "validate_every": (1, 10_000_000), "validation_clips": (1, 10_000), "checkpoint_every": (1, 10_000_000),
        "shortest_s": (0, 600), "longest_s": (0.1, 600), "threads": (1, 1024),
    },
)  # fmt: skip


def description(voice: str, language: str, emotion: str = NEUTRAL, *, given: dict[str, Any] | None = None) -> str:
    """The sentence that steers the voice. The same one in training and in speech, or the voice is not found again.

    `given` holds own sentences by `voice/language/emotion`, `voice/language` or `voice`; the closest name wins.
    """
    mood = emotion or NEUTRAL
    for name in (f"{voice}/{language}/{mood}", f"{voice}/{language}", voice):
        sentence = (given or {}).get(name)
        if isinstance(sentence, str) and sentence.strip():
            return sentence.strip()
    tone = "" if mood == NEUTRAL else f" in a {mood} tone"
    return (
        f"{voice[:1].upper()}{voice[1:]} speaks {_LANGUAGES.get(language, language)}{tone} at a moderate pace. "
        "The recording is very clear, close, and without noise."
    )
