"""The options of a training run, in one frozen value that the run's row stores.

The data and the base model decide the rest: languages, window, number of mel bands.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from training.runs import option_checks
from training.runs.option_checks import OptionRules

SHORT_BATCH_S = 72.0
METHODS = ("full", "lora")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
QUANTIZATIONS = ("int8_float32", "int8_float16", "int8", "float16", "float32")
TRACKERS = ("none", "tensorboard", "mlflow")


@dataclass(frozen=True)
class Arguments:
    """Names carry their units; `auto` and 0 mean "let the machine or the data decide"."""

    base: str = "champion"  # champion, bundled, a registered version, a hub name, or a folder of safetensors
    method: str = "full"
    name: str = ""  # of the new version; empty: the base's
    seed: int = 1

    # how long and how fast
    epochs: float = 5.0
    steps: int = 0  # above 0: this many, instead of `epochs`
    learning_rate: float = 0.0  # 0: by method and size of the base
    warm_up_share: float = 0.1
    decay_share: float = 0.6
    weight_decay: float = 0.01
    batch_s: float = 0.0  # padded seconds in one batch of one device; 0: 72, or eight windows of 30 s
    accumulation: int = 1
    precision: str = "auto"
    gradient_checkpointing: bool = False
    processes: int = 1  # devices to train on, one process each
    threads: int = 0
    device: str = "auto"  # auto, cpu, cuda

    # LoRA
    lora_rank: int = 16
    lora_alpha: int = 32
    lora_dropout: float = 0.0

    # training data
    timestamped_share: float = 0.5
    most_left_out: float = 0.2  # of the rows, for not fitting the base's window; more is refused
    several_share: float = 0.15  # windows of several phrases of one speaker
    noise_share: float = 0.4
    snr_low_db: float = 5.0
    snr_high_db: float = 30.0
    telephone_share: float = 0.0  # calls are already telephone audio
    tempo: float = 0.08
    vocal_tract: float = 0.06
    tilt: float = 0.3
    masks: int = 1  # SpecAugment: stripes per axis
    cached_features: bool = True

    # against forgetting
    replay_dataset_id: int = 0  # an older dataset that is mixed in
    replay_share: float = 0.33
    average: float = 0.0  # share of the base's weights in the result; below 0: chosen on the validation rows
    # when to stop
    validate_every: int = 0  # steps; 0: ten times in the run
    patience: int = 4  # validations without a better WER; 0: never stop early
    validation_clips: int = 200
    checkpoint_every: int = 0  # steps; 0: as often as it validates
    max_hours: float = 24.0

    # the result
    quantization: str = "int8_float32"
    parity_bound: float = 0.03  # share of words in which the served form may differ from the trained one
    report_to: str = "none"

    def __post_init__(self) -> None:
        crossed = self.snr_low_db > self.snr_high_db
        option_checks.require(self, _RULES, also=["snr_low_db is above snr_high_db"] if crossed else [])

    def settled(self, padded_s: float | None) -> Arguments:
        """With the base's defaults: windows padded to 30 s are batched by eight, others by their length."""
        return self if self.batch_s else replace(self, batch_s=8 * padded_s if padded_s else SHORT_BATCH_S)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Arguments:
        return option_checks.made(cls, raw, _RULES)


_CHOICES = {
    "method": METHODS, "precision": PRECISIONS, "quantization": QUANTIZATIONS, "report_to": TRACKERS,
    "device": ("auto", "cpu", "cuda"),
}  # fmt: skip
_SHARES = (
    "warm_up_share", "decay_share", "lora_dropout", "timestamped_share", "several_share", "noise_share",
    "telephone_share", "replay_share", "parity_bound", "most_left_out",
)  # fmt: skip
_RANGES = {
    "epochs": (0.01, 1000), "steps": (0, 10_000_000), "learning_rate": (0, 0.1), "weight_decay": (0, 1),
    "batch_s": (0, 36_000), "accumulation": (1, 10_000), "processes": (1, 1024), "threads": (0, 1024),
    "lora_rank": (1, 1024), "lora_alpha": (1, 4096), "tempo": (0, 0.5), "vocal_tract": (0, 0.5), "tilt": (0, 3),
    "masks": (0, 20), "snr_low_db": (-20, 60), "snr_high_db": (-20, 60), "average": (-1, 1), "patience": (0, 1000),
    "validate_every": (0, 10_000_000), "checkpoint_every": (0, 10_000_000), "validation_clips": (1, 100_000),
    "max_hours": (0.001, 10_000), "replay_dataset_id": (0, 2**62), "seed": (0, 2**31 - 1),
}  # fmt: skip
_RULES = OptionRules(
    "`python -m ml_backend train asr --help` lists the usual ones, training/runs/arguments.py all.",
    choices=_CHOICES, shares=_SHARES, ranges=_RANGES,
)  # fmt: skip
