"""Codes of a recording -> labels and batches as Parler reads them.

Codebook k is written k steps late, so that a step may depend on the coarser codes of its own frame. Of three
codebooks with the frames a, b the labels are (B is left out of the loss, E ends the codebook):

    a  b  E  E  E
    B  a  b  E  E
    B  B  a  b  E
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

IGNORED = -100
_POOL = 8  # batches that are sorted by length together


@dataclass(frozen=True)
class CodedClip:
    """A recording ready to learn from: its text, the description of its voice, its codes [codebooks, frames]."""

    text: str
    description: str
    codes: Tensor


def labels(codes: Tensor, *, start: int, end: int) -> Tensor:
    """[frames + codebooks, codebooks]: each codebook delayed by its number, then ended."""
    codebooks, frames = codes.shape
    found = torch.full((codebooks, frames + codebooks), end, dtype=torch.long)
    for book in range(codebooks):
        found[book, :book] = start
        found[book, book : book + frames] = codes[book].long()
    return found.T.contiguous()


def batch(clips: Sequence[CodedClip], prompts: Any, descriptions: Any, *, start: int, end: int) -> dict[str, Tensor]:
    """The arguments of the model's forward, padded: labels on the right, prompts on the left."""
    rows = [labels(clip.codes, start=start, end=end) for clip in clips]
    said = prompts([clip.text for clip in clips], return_tensors="pt", padding=True)
    described = descriptions([clip.description for clip in clips], return_tensors="pt", padding=True)
    return {
        "input_ids": described["input_ids"], "attention_mask": described["attention_mask"],
        "prompt_input_ids": said["input_ids"], "prompt_attention_mask": said["attention_mask"],
        "labels": torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=IGNORED),
    }  # fmt: skip


def order(lengths: Sequence[int], *, size: int, seed: int) -> Iterator[list[int]]:
    """Endless batches of clip numbers. Clips of like length lie together; the same seed gives the same batches, so
    that a resumed run goes on with the batch it would have had."""
    epoch = 0
    while True:
        random = np.random.default_rng([seed, epoch])
        shuffled = random.permutation(len(lengths))
        batches = []
        for at in range(0, len(shuffled), size * _POOL):
            pool = sorted(shuffled[at : at + size * _POOL], key=lambda clip: lengths[clip])
            batches += [[int(clip) for clip in pool[i : i + size]] for i in range(0, len(pool), size)]
        for number in random.permutation(len(batches)):
            yield batches[number]
        epoch += 1
