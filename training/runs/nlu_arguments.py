"""The options of a training run of kind nlu, in one frozen value that the run's row stores.

The rows and the base decide the rest: intents, entities, languages. Needs no training library: the job reads it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from training.runs import option_checks
from training.runs.option_checks import OptionRules

FROZEN = ("nothing", "embeddings", "encoder")
CLASS_WEIGHTS = ("none", "balanced")
FORMS = ("int8", "float32")
MOST_OF_PREFIX = 200


@dataclass(frozen=True)
class NluArguments:
    """Names carry their units; `auto` and 0 mean "let the machine or the data decide"."""

    base: str = "champion"  # champion, bundled, a registered version, a hub name, or a folder of safetensors
    name: str = ""  # of the new version; empty: the base's
    seed: int = 1

    # how long and how fast
    epochs: float = 12.0
    steps: int = 0  # above 0: this many, instead of `epochs`
    batch_rows: int = 16
    learning_rate: float = 0.0  # 0: by the number of weights that are trained
    warm_up_share: float = 0.1
    weight_decay: float = 0.01
    frozen: str = "nothing"  # `embeddings`: two thirds of a large multilingual encoder, at half the time
    threads: int = 1  # more of them mostly wait for each other
    device: str = "auto"  # auto, cpu, cuda

    # what is learnt
    max_tokens: int = 64
    prefix: str = "auto"  # before every text, as the base was trained ("query: " of an e5); auto: what the base says
    class_weights: str = "balanced"  # rare intents weigh more, by the square root of their share
    entity_weight: float = 0.5  # of the entity head's loss, beside 1 for the intent's
    label_smoothing: float = 0.05
    dropped_words: float = 0.1  # share of a row's tokens that are hidden while training: unseen wordings lack words too
    out_of_scope: str = "none_of_these"  # the intent of what the model is not for; trained where rows have it

    # against forgetting
    replay_dataset_id: int = 0  # an older dataset that is mixed in
    replay_share: float = 0.5

    # when to stop; validation rows are wordings that training does not see
    validate_every: int = 0  # steps; 0: ten times in the run
    patience: int = 5  # validations without a better macro-F1; 0: never stop early

    # the result
    threshold: float = 0.0  # the least confidence of an answer; 0: chosen on the validation rows
    most_refused: float = (
        0.15  # share of right answers that a chosen threshold may refuse; more of them, fewer accepted
    )
    form: str = "int8"
    parity_bound: float = 0.01  # share of labels in which the served form may differ from the trained one

    def __post_init__(self) -> None:
        long = ["prefix must have at most 200 characters"] if len(str(self.prefix)) > MOST_OF_PREFIX else []
        option_checks.require(self, _RULES, also=long)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> NluArguments:
        return option_checks.made(cls, raw, _RULES)


_RULES = OptionRules(
    "`python -m ml_backend train --help` lists the usual ones, training/runs/nlu_arguments.py all.",
    choices={"frozen": FROZEN, "class_weights": CLASS_WEIGHTS, "form": FORMS, "device": ("auto", "cpu", "cuda")},
    shares=("warm_up_share", "replay_share", "threshold", "most_refused", "parity_bound"),
    ranges={
        "epochs": (0.01, 1000), "steps": (0, 10_000_000), "batch_rows": (1, 4096), "learning_rate": (0, 0.1),
        "weight_decay": (0, 1), "threads": (0, 1024), "max_tokens": (8, 512), "entity_weight": (0, 10),
        "label_smoothing": (0, 0.5), "dropped_words": (0, 0.5), "replay_dataset_id": (0, 2**62),
        "validate_every": (0, 10_000_000), "patience": (0, 1000), "seed": (0, 2**31 - 1),
    },
)  # fmt: skip
