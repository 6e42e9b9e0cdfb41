"""Utterances + noise bank -> an endless seeded stream of training windows: one phrase, several, or no speech."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from training.demo_model.shards import SynthesisedUtterance
from training.trainers.asr import augmentation
from training.trainers.asr.augmentation import LOG10_FLOOR, Strength
from training.trainers.asr.features import FRAMES_PER_S, MELS, Array
from training.trainers.asr.targets import Example, TimedPhrase

NOBODY_SHARE = 0.04
TIMESTAMPED_SHARE = 0.2
PREVIOUS_TEXT_SHARE = 0.06
TELEPHONE_SHARE = 0.65
QUIET_KINDS_SHARE = 0.7
"""Music, hum and babble are rarer behind speech than the noise of lines and streets."""
_RARE = ("music", "hum", "crackle", "babble")


@dataclass(frozen=True)
class ExampleStream:
    utterances: list[SynthesisedUtterance]
    noises: list[tuple[str, Array]]
    seed: int
    max_s: float
    strength: Strength = field(default_factory=Strength)
    several_share: float = 0.2
    """Windows of two to four phrases; the others hold one."""

    def __call__(self) -> Iterator[Example]:
        rng = np.random.default_rng(self.seed)
        by_language: dict[str, list[int]] = defaultdict(list)
        for number, utterance in enumerate(self.utterances):
            by_language[utterance.language].append(number)
        while True:
            for number in rng.permutation(len(self.utterances)):
                if rng.random() < NOBODY_SHARE:
                    yield self._nobody(rng)
                first = self.utterances[number]
                yield self._window(first, by_language[first.language], rng)

    def _window(self, first: SynthesisedUtterance, others: list[int], rng: np.random.Generator) -> Example:
        phrases, line, strength = [first], int(rng.random() < TELEPHONE_SHARE), self.strength
        if rng.random() < self.several_share:
            phrases += [self.utterances[others[n]] for n in rng.integers(0, len(others), int(rng.integers(1, 4)))]
        pieces, limit = [_gap(rng, 0.0, 0.45)], self.max_s * FRAMES_PER_S
        timed: list[TimedPhrase] = []
        bands = augmentation.moved_bands(1 + rng.uniform(-1, 1) * strength.vocal_tract)
        tempo = 1 + rng.uniform(-1, 1) * strength.tempo
        for phrase in phrases:
            mel = augmentation.warped(augmentation.power(phrase.mels[line]), tempo, bands)
            at = sum(map(len, pieces))
            if timed and at + len(mel) > limit:
                break
            timed.append(TimedPhrase(phrase.text, at / FRAMES_PER_S, (at + len(mel)) / FRAMES_PER_S))
            pieces += [mel, _gap(rng, 0.05, 0.8)]
        pieces[-1] = pieces[-1][: int(rng.integers(0, 45))]
        whole = augmentation.tilted(np.concatenate(pieces), rng, strength.tilt)
        if rng.random() < strength.noise_share:
            whole = augmentation.with_noise(whole, self._noise(len(whole), line, rng), rng.uniform(*strength.snr_db))
        whole = augmentation.normalised(whole + rng.uniform(*strength.level))
        example = Example(
            augmentation.masked(whole, rng, strength.masks),
            first.language,
            tuple(timed),
            timestamped=bool(rng.random() < TIMESTAMPED_SHARE),
        )
        if rng.random() < PREVIOUS_TEXT_SHARE:
            return replace(example, previous_text=self.utterances[others[int(rng.integers(len(others)))]].text)
        return example

    def _nobody(self, rng: np.random.Generator) -> Example:
        frames = int(rng.integers(40, int(self.max_s * FRAMES_PER_S)))
        silence: Array = np.full((frames, MELS), LOG10_FLOOR, dtype=np.float32)
        if rng.random() < 0.9:
            kind = int(rng.integers(len(self.noises)))
            silence = _cut(self.noises[kind][1], frames, rng)
        return Example(augmentation.normalised(silence + rng.uniform(-6, 1)), "hi")

    def _noise(self, frames: int, line: int, rng: np.random.Generator) -> Array:
        kinds = sorted({kind for kind, _ in self.noises})
        common = [kind for kind in kinds if kind not in _RARE]
        kind = str(rng.choice(common if rng.random() < QUIET_KINDS_SHARE else list(_RARE)))
        return _cut([mel for name, mel in self.noises if name == kind][line], frames, rng)


def _cut(noise: Array, frames: int, rng: np.random.Generator) -> Array:
    start = int(rng.integers(0, max(1, len(noise) - frames)))
    return augmentation.power(noise[start : start + frames])


def _gap(rng: np.random.Generator, low_s: float, high_s: float) -> Array:
    return np.full((int(rng.uniform(low_s, high_s) * FRAMES_PER_S), MELS), LOG10_FLOOR, dtype=np.float32)
