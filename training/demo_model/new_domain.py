"""Seed -> calls unlike the bundled model's training data: Scottish and Caribbean English, new goods, noisier lines.

They test fine-tuning; usual calls of the shop test forgetting. Sentences, speakers and calls of the test part are in no
other part.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from training.demo_model import corpus, voices
from training.demo_model.voices import SyntheticVoice
from training.trainers.asr import telephone
from training.trainers.asr.features import Array

ACCENTS = ("en-gb-scotland", "en-029")
VARIANTS = {"train": voices.TRAINING[:55], "validation": voices.TRAINING[55:], "test": voices.HELD_OUT}
ITEMS = (
    "lantern", "bicycle", "umbrella", "telescope", "hammock", "trumpet", "helmet", "compass", "kettle", "jacket",
    "ladder", "violin",
)  # fmt: skip
TEMPLATES = (
    "Where is my {item}?", "The {item} is broken.", "The {item} did not arrive.", "I want to return the {item}.",
    "Please send me {count} {item}.", "I received the wrong {item}.", "How much is the {item}?",
    "I want a refund for the {item}.", "Do you have the {item}?", "Your {item} will arrive on {day}.",
    "The {item} costs {amount}.", "We will send the {item} on {day}.", "Please cancel the {item} and the {other}.",
    "I paid {amount} for the {item}.", "Is the {item} ready on {day}?", "My {item} was sent to {city}.",
    "The {item} and the {other} are broken.", "I am calling from {city} for the {item}.",
)  # fmt: skip
NOISES = ("street", "babble", "pink", "line")
SNR_DB = (12.0, 28.0)
CLIPS_PER_CALL = 2
UNKNOWN = 800  # sentences not in the bundled model's training: half for testing, half for validation


@dataclass(frozen=True)
class DomainClip:
    """One utterance at 16 kHz; clips of one call share a speaker."""

    id: str
    samples: Array
    text: str
    language: str
    speaker: str
    call: str


def new_calls(split: str, count: int, *, seed: int) -> Iterator[DomainClip]:
    """`count` clips of the new domain; split is train, validation or test."""
    rng, line = random.Random(f"{seed}-{split}"), np.random.default_rng([seed, len(split)])
    for number in range(count):
        if number % CLIPS_PER_CALL == 0:
            accent, variant = rng.choice(ACCENTS), rng.choice(VARIANTS[split])
            voice = SyntheticVoice(
                f"{accent}+{variant}" if variant else accent, rng.randint(135, 185), rng.randint(25, 75)
            )
        text = _sentence(rng, held_out=split == "test")
        wave = voices.speak(text, voice)
        noise = telephone.noise(rng.choice(NOISES), wave.size, line)
        wave = telephone.mixed(wave, noise, line.uniform(*SNR_DB))
        call = f"{split}-{number // CLIPS_PER_CALL}"
        yield DomainClip(
            f"new-{split}-{number}", telephone.narrowband(wave, line), text, "en", f"{split}-{voice.name}", call
        )


def old_calls(split: str, count: int, *, seed: int) -> Iterator[DomainClip]:
    """`count` clips of the usual calls, in all three languages. The model may know only those of train."""
    rng, line = random.Random(f"{seed}-old-{split}"), np.random.default_rng([seed, 100 + len(split)])
    if split == "train":
        sentences = corpus.training_sentences(seed, 4 * count)
    else:
        unknown = corpus.held_out_sentences(seed, UNKNOWN)
        sentences = unknown[: UNKNOWN // 2] if split == "test" else unknown[UNKNOWN // 2 :]
    variants = voices.HELD_OUT if split == "test" else voices.TRAINING
    for number, sentence in enumerate(rng.sample(sentences, count)):
        voice = voices.draw(sentence.language, variants, rng)
        wave = voices.speak(sentence.text, voice)
        if rng.random() < 0.5:
            wave = telephone.mixed(wave, telephone.noise("line", wave.size, line), line.uniform(10, 30))
        line_audio = telephone.narrowband(wave, line)
        yield DomainClip(
            f"old-{split}-{number}",
            line_audio,
            sentence.text,
            sentence.language,
            f"old-{voice.name}",
            f"old-{split}-{number}",
        )


def sentences(rng: random.Random, goods: Sequence[str] = ITEMS) -> Iterator[str]:
    """An endless stream of the new domain's sentences."""
    while True:
        item, other = rng.sample(goods, 2)
        text = rng.choice(TEMPLATES)
        for name, value in (("item", item), ("other", other)):
            text = text.replace("{" + name + "}", value)
        yield corpus.tidy(corpus.filled(text, "en", rng))


def _sentence(rng: random.Random, *, held_out: bool) -> str:
    return next(text for text in sentences(rng) if corpus.is_held_out(text) == held_out)
