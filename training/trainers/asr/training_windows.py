"""Picks -> examples: one or several phrases of a speaker, augmented as if on another line or in another room."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset

from training.runs.batches import Order, Pick
from training.trainers.asr import augmentation
from training.trainers.asr.augmentation import LOG10_FLOOR, Strength
from training.trainers.asr.collation import Collator
from training.trainers.asr.features import FRAMES_PER_S, Array
from training.trainers.asr.frame_cache import DIRECT, TELEPHONE, RowFeatures
from training.trainers.asr.targets import Example, TimedPhrase


@dataclass(frozen=True)
class Windows:
    """All random choices use the pick's seed: the same pick gives the same window in every process."""

    row_features: RowFeatures
    max_s: float
    strength: Strength
    noises: list[tuple[str, Array]] = field(repr=False)
    timestamped_share: float = 0.5
    telephone_share: float = 0.0

    def of(self, pick: Pick) -> Example:
        rng = np.random.default_rng(pick.seed)
        strength, mels = self.strength, self.row_features.mels
        line = TELEPHONE if rng.random() < self.telephone_share else DIRECT
        bands = augmentation.moved_bands(1 + rng.uniform(-1, 1) * strength.vocal_tract, mels)
        tempo = 1 + rng.uniform(-1, 1) * strength.tempo
        pieces = [_gap(rng, 0.0, 0.4, mels)]
        phrases: list[TimedPhrase] = []
        for number in pick.rows:
            mel = augmentation.warped(augmentation.power(self.row_features.mel(number, line)), tempo, bands)
            at = sum(map(len, pieces))
            if phrases and at + len(mel) > self.max_s * FRAMES_PER_S:
                break
            phrases.append(
                TimedPhrase(self.row_features.rows[number].text, at / FRAMES_PER_S, (at + len(mel)) / FRAMES_PER_S)
            )
            pieces += [mel, _gap(rng, 0.1, 0.7, mels)]
        pieces[-1] = pieces[-1][: int(rng.integers(0, 35))]
        whole = np.concatenate(pieces)
        if len(whole) > self.max_s * FRAMES_PER_S:  # one long phrase: no silence around it
            whole, start = whole[len(pieces[0]) :][: int(self.max_s * FRAMES_PER_S)], len(pieces[0]) / FRAMES_PER_S
            phrases = [
                TimedPhrase(p.text, max(0.0, p.start_s - start), min(self.max_s, p.end_s - start)) for p in phrases
            ]
        whole = augmentation.tilted(whole, rng, strength.tilt)
        if self.noises and rng.random() < strength.noise_share:
            noise = _cut(self.noises[int(rng.integers(len(self.noises)))][1], len(whole), rng)
            whole = augmentation.with_noise(whole, noise, rng.uniform(*strength.snr_db))
        mel = augmentation.normalised(whole + rng.uniform(*strength.level))
        return Example(
            augmentation.masked(mel, rng, strength.masks),
            self.row_features.rows[pick.rows[0]].language,
            tuple(phrases),
            timestamped=bool(rng.random() < self.timestamped_share),
        )


@dataclass(frozen=True)
class WindowCollator(Collator):
    """Picks -> tensors, in the loader's process."""

    windows: Windows

    def __call__(self, picks: list[Any]) -> dict[str, torch.Tensor]:
        flat = [p for item in picks for p in (item if isinstance(item, list) else [item])]
        return super().__call__([self.windows.of(pick) for pick in flat])


class PlannedBatches(IterableDataset[list[Pick]]):
    """All epochs one after another, from batch number `start` on."""

    def __init__(self, order: Order, start: int = 0) -> None:
        self._order, self._start = order, start

    def __iter__(self) -> Iterator[list[Pick]]:
        return islice(self._all(), self._start, None)

    def _all(self) -> Iterator[list[Pick]]:
        number = 0
        while batches := self._order.epoch(number):
            yield from batches
            number += 1


def _cut(noise: Array, frames: int, rng: np.random.Generator) -> Array:
    repeated = np.tile(noise, (-(-frames // len(noise)), 1)) if len(noise) < frames else noise
    start = int(rng.integers(0, max(1, len(repeated) - frames + 1)))
    return augmentation.power(repeated[start : start + frames])


def _gap(rng: np.random.Generator, low_s: float, high_s: float, mels: int) -> Array:
    return np.full((int(rng.uniform(low_s, high_s) * FRAMES_PER_S), mels), LOG10_FLOOR, dtype=np.float32)
