"""The options of a training run of kind tts with the bundled kind of voice, in one frozen value that the row stores.

Needs no training library: the job reads it too.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from training.runs import option_checks
from training.runs.option_checks import OptionRules


@dataclass(frozen=True)
class TtsArguments:
    """Numbers of steps, never of seconds: a busy machine must train the same voice."""

    base: str = "champion"  # champion, bundled, a registered version, or a folder of weights
    name: str = ""  # of the new version; empty: the base's
    seed: int = 1
    aligner_steps: int = 120  # the aligner is adapted to the new recordings first
    steps: int = 400
    learning_rate: float = 1.2e-3
    aligner_learning_rate: float = 1e-3
    warm_up_share: float = 0.05
    weight_decay: float = 0.01
    batch_clips: int = 14
    rehearsal_share: float = 0.36  # of a batch: the base's own voices, so that letters stay known
    validate_every: int = 75
    checkpoint_every: int = 75
    most_left_out: float = 0.2  # of the rows, for not fitting their texts; more is refused
    parity_bound: float = 0.02  # mean difference of log-mel frames between the trained and the served form
    threads: int = 1
    max_hours: float = 24.0

    def __post_init__(self) -> None:
        option_checks.require(self, _RULES)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> TtsArguments:
        return option_checks.made(cls, raw, _RULES)


_RULES = OptionRules(
    listing="training.runs.tts_arguments.py lists all options.",
    shares=("warm_up_share", "rehearsal_share", "most_left_out"),
    ranges={
        "seed": (0, 2**31 - 1), "aligner_steps": (0, 1_000_000), "steps": (1, 10_000_000), "learning_rate": (1e-7, 0.1),
        "aligner_learning_rate": (1e-7, 0.1), "weight_decay": (0, 1), "batch_clips": (1, 1024),
        "validate_every": (0, 10_000_000), "checkpoint_every": (1, 10_000_000), "parity_bound": (0, 10),
        "threads": (0, 1024), "max_hours": (0.001, 10_000),
    },
)  # fmt: skip
