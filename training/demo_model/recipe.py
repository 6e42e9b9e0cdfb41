"""The parameters of the bundled model. These and the seed determine it."""

from dataclasses import dataclass, field

from training.trainers.asr.augmentation import Strength


@dataclass(frozen=True)
class Shape:
    width: int = 128
    heads: int = 4
    encoder_layers: int = 4
    decoder_layers: int = 2
    dropout: float = 0.0


@dataclass(frozen=True)
class Phase:
    """How windows are made up to step `until`."""

    until: int
    strength: Strength
    several_share: float


QUIETER = Strength(tempo=0.08, vocal_tract=0.08, tilt=0.3, noise_share=0.5, snr_db=(8.0, 35.0), masks=1)
MIDDLING = Strength(tempo=0.1, vocal_tract=0.1, tilt=0.4, noise_share=0.7, snr_db=(5.0, 35.0), masks=1)
"""It listens from about step 3500 on. Beginning with the hardest windows, as this model did, delays that."""


@dataclass(frozen=True)
class Recipe:
    seed: int = 20261122
    sentences: int = 14000
    steps: int = 8000
    phases: tuple[Phase, ...] = (
        Phase(2500, Strength(), 0.2),
        Phase(5750, QUIETER, 0.12),
        Phase(8000, MIDDLING, 0.2),
    )
    learning_rate: float = 1.5e-3
    warm_up_steps: int = 400
    decay_steps: int = 2250
    frames_per_batch: int = 4400
    shape: Shape = field(default_factory=Shape)


FULL = Recipe()
QUICK = Recipe(
    sentences=120,
    steps=4,
    phases=(Phase(2, QUIETER, 0.0), Phase(4, Strength(), 0.5)),
    warm_up_steps=1,
    decay_steps=2,
    frames_per_batch=1500,
    shape=Shape(64, 2, 2, 1),
)
"""All stages in a minute or two. The model it makes knows nothing."""
