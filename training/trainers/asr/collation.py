"""Examples -> one batch, padded by the manifest's window policy, as in serving."""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset

from ml_backend.models.manifest import WindowPolicy
from training.trainers.asr.features import FRAMES_PER_S, Array
from training.trainers.asr.targets import IGNORED, Example, Targets

FLOOR_SHARE = 0.25
"""Batches padded with the quietest value (as transformers pads) instead of 0.0 (as faster-whisper pads)."""


@dataclass(frozen=True)
class Collator:
    """List of examples -> tensors. Without a fixed length, a random surplus makes the model robust to padding."""

    targets: Targets
    window: WindowPolicy

    def __call__(self, examples: list[Any]) -> dict[str, torch.Tensor]:
        examples = flat(examples)
        pairs = [self.targets.of(example) for example in examples]
        longest = max(len(ids) for ids, _ in pairs)
        inputs = torch.full((len(pairs), longest), self.targets.end)
        labels = torch.full((len(pairs), longest), IGNORED)
        for row, (ids, answers) in enumerate(pairs):
            inputs[row, : len(ids)] = torch.tensor(ids)
            labels[row, : len(answers)] = torch.tensor(answers)
        mels = padded([e.mel for e in examples], self.window, random.Random(examples[0].mel[0].tobytes()))
        return {"input_features": torch.from_numpy(mels), "decoder_input_ids": inputs, "labels": labels}


def padded(mels: list[Array], window: WindowPolicy, rng: random.Random | None = None) -> Array:
    """(batch, mels, frames) with an even number of frames. `rng` adds the random surplus of training."""
    longest = max(len(mel) for mel in mels)
    if window.pad_to_s is not None:
        frames, fill_floor = round(window.pad_to_s * FRAMES_PER_S), False
    else:
        surplus = rng.uniform(0, window.max_padding_s + window.margin_s) if rng else window.margin_s
        frames, fill_floor = longest + round(surplus * FRAMES_PER_S), rng is not None and rng.random() < FLOOR_SHARE
    frames += frames % 2
    batch = np.zeros((len(mels), mels[0].shape[1], frames), dtype=np.float32)
    for row, mel in enumerate(mels):
        if fill_floor:
            batch[row] = mel.min()
        kept = mel[:frames]
        batch[row, :, : len(kept)] = kept.T
    return batch


class LengthBatches(IterableDataset[list[Example]]):
    """An endless stream of examples -> batches of similar length, each about `frames_per_batch` frames.

    Sorting inside a pool keeps padding small (the encoder has no mask); shuffling the pool's batches keeps the order
    random.
    """

    def __init__(
        self, source: Callable[[], Iterator[Example]], frames_per_batch: int, *, pool: int = 320, seed: int = 0
    ) -> None:
        self._source, self._frames_per_batch, self._pool, self._seed = source, frames_per_batch, pool, seed

    def __iter__(self) -> Iterator[list[Example]]:
        rng, stream = random.Random(self._seed), self._source()
        while pool := [example for _, example in zip(range(self._pool), stream, strict=False)]:
            batches = list(self._cut(sorted(pool, key=lambda e: len(e.mel))))
            rng.shuffle(batches)
            yield from batches

    def _cut(self, ordered: Iterable[Example]) -> Iterator[list[Example]]:
        batch: list[Example] = []
        for example in ordered:
            if batch and (len(batch) + 1) * len(example.mel) > self._frames_per_batch:
                yield batch
                batch = []
            batch.append(example)
        if batch:
            yield batch


def flat(examples: list[Any]) -> list[Example]:
    """Unwrap the extra list that the data loader puts around a batch."""
    return [e for item in examples for e in (item if isinstance(item, list) else [item])]
