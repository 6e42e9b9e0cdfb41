"""Frames and letters -> how many frames each letter lasts.

A small network reads letters from the spectrum (trained with CTC, Graves et al. 2006); the Viterbi path through the
letters of the text says where each of them is. It must be adapted to a new voice before it measures that voice: without
that, a tuned voice has the right timbre and a quarter of its letters wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from ml_backend.tts.mel import Array

BLANK = 0  # letter ids are shifted by one
_NEVER = -1e9
Frames = npt.NDArray[np.int64]


class Aligner(nn.Module):
    """Normalised log-mel [B, F, bands] -> log-probabilities [B, F, letters + 1]."""

    def __init__(self, letters: int, *, bands: int = 80, width: int = 128) -> None:
        super().__init__()
        self.letters = letters
        self.first = nn.Conv1d(bands, width, 5, padding=2)
        self.second = nn.Conv1d(width, width, 5, padding=2)
        self.third = nn.Conv1d(width, width, 5, padding=2)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.dropout = nn.Dropout(0.1)
        self.out = nn.Linear(width, letters + 1)

    def forward(self, mels: Tensor) -> Tensor:
        values = mels
        for convolution, norm in zip((self.first, self.second, self.third), self.norms, strict=True):
            values = norm(functional.gelu(convolution(values.transpose(1, 2)).transpose(1, 2)))
        return functional.log_softmax(self.out(self.dropout(values)), dim=-1)


def extended(aligner: Aligner, letters: int) -> Aligner:
    """With outputs for new letters, which start as unlikely as the mean of the old ones."""
    if letters == aligner.letters:
        return aligner
    grown = Aligner(letters, bands=aligner.first.in_channels, width=aligner.first.out_channels)
    weights = aligner.state_dict()
    for name in ("out.weight", "out.bias"):
        old = weights[name]
        mean = old.mean(dim=0, keepdim=True)
        weights[name] = torch.cat([old, mean.expand(letters - aligner.letters, *old.shape[1:])])
    grown.load_state_dict(weights)
    return grown


def loss(log_probabilities: Tensor, frames: Tensor, letters: Tensor, lengths: Tensor) -> Tensor:
    """CTC over a padded batch; `letters` [B, T] are padded with anything."""
    return functional.ctc_loss(
        log_probabilities.transpose(0, 1), letters + 1, frames, lengths, blank=BLANK, zero_infinity=True
    )


def durations(log_probabilities: Sequence[Array], texts: Sequence[npt.NDArray[np.int64]]) -> list[Frames]:
    """Frames per letter, of a batch of clips at once; each letter has at least one, and they sum to the clip's."""
    batch, longest = len(texts), max(len(p) for p in log_probabilities)
    states = 2 * max(map(len, texts)) + 1
    emitted = np.full((longest, batch, states), _NEVER, dtype=np.float32)
    skips = np.zeros((batch, states), dtype=bool)
    for row, (probabilities, text) in enumerate(zip(log_probabilities, texts, strict=True)):
        path = np.full(2 * len(text) + 1, BLANK)
        path[1::2] = text + 1
        emitted[: len(probabilities), row, : len(path)] = probabilities[:, path]
        skips[row, 3 : len(path) : 2] = path[3::2] != path[1:-2:2]
    return [
        _frames(path, len(text))
        for path, text in zip(_best_paths(emitted, skips, log_probabilities, texts), texts, strict=True)
    ]


def _best_paths(
    emitted: Array, skips: npt.NDArray[np.bool_], clips: Sequence[Array], texts: Sequence[npt.NDArray[np.int64]]
) -> list[Frames]:
    """The state of every frame: 2k + 1 is letter k, even states are blanks."""
    longest, batch, states = emitted.shape
    score = np.full((batch, states), _NEVER, dtype=np.float32)
    score[:, :2] = emitted[0, :, :2]
    back = np.zeros((longest, batch, states), dtype=np.int8)
    kept = np.zeros((longest, batch, 2), dtype=np.float32)  # the two states in which a text may end
    rows = np.arange(batch)
    last = np.array([2 * len(text) for text in texts])
    kept[0] = np.stack([score[rows, last - 1], score[rows, last]], axis=1)
    for at in range(1, longest):
        one = np.pad(score, ((0, 0), (1, 0)), constant_values=_NEVER)[:, :-1]
        two = np.where(skips, np.pad(score, ((0, 0), (2, 0)), constant_values=_NEVER)[:, :-2], _NEVER)
        choices = np.stack([score, one, two])
        back[at] = choices.argmax(axis=0)
        score = choices.max(axis=0) + emitted[at]
        kept[at] = np.stack([score[rows, last - 1], score[rows, last]], axis=1)
    paths: list[Frames] = []
    for row, clip in enumerate(clips):
        end = len(clip) - 1
        state = int(last[row]) - 1 + int(kept[end, row].argmax())
        path = np.zeros(len(clip), dtype=np.int64)
        for at in range(end, -1, -1):
            path[at] = state
            state -= int(back[at, row, state])
        paths.append(path)
    return paths


def _frames(path: Frames, letters: int) -> Frames:
    """Blank frames between two letters are shared by both; those at the ends belong to the first and the last."""
    spoken = np.flatnonzero(path % 2)
    which = path[spoken] // 2
    firsts = np.searchsorted(which, np.arange(letters))
    lasts = np.searchsorted(which, np.arange(letters), side="right") - 1
    starts, ends = spoken[firsts], spoken[lasts]
    borders = np.concatenate([[0], (ends[:-1] + starts[1:] + 1) // 2, [len(path)]])
    return np.asarray(np.diff(borders), dtype=np.int64)


def fits(frames: int, text: npt.NDArray[np.int64]) -> bool:
    """Whether CTC can place the text: a frame per letter, one more between equal neighbours."""
    return frames >= len(text) + int((np.diff(text) == 0).sum())
