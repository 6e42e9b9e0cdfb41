"""Recordings with their texts -> what the networks learn from: letters, normalised frames, batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ml_backend.tts import length_regulator, mel
from ml_backend.tts.mel import Array, MelScale

LEVEL = 0.08  # of active speech, root mean square: every voice is served equally loud
_QUIET = 0.02  # of the loud frames' amplitude, what counts as silence at the ends
_SILENT = 1e-4
_MARGIN_S = 0.03


@dataclass(frozen=True)
class VoiceClip:
    """Ids into the model's lists; `frames` per letter once they are known."""

    letters: npt.NDArray[np.int64]
    language: int
    voice: int
    emotion: int
    mel: Array
    frames: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))


@dataclass(frozen=True)
class Norm:
    """Mean and deviation of every band, of the base's training clips. Kept: a new voice is told from the old by it."""

    mean: Array
    deviation: Array

    @classmethod
    def of(cls, mels: Sequence[Array]) -> Norm:
        every = np.concatenate(mels)
        return cls(every.mean(axis=0), np.maximum(every.std(axis=0), 1e-3))

    def forward(self, frames: Array) -> Array:
        return np.asarray((frames - self.mean) / self.deviation, dtype=np.float32)

    def back(self, frames: Array) -> Array:
        return np.asarray(frames * self.deviation + self.mean, dtype=np.float32)


def spoken_frames(samples: npt.NDArray[np.int16] | Array, scale: MelScale) -> Array:
    """Log-mel frames of one recording, at one level, without the silence around it; empty when there is only that."""
    nothing = np.zeros((0, scale.bands), dtype=np.float32)
    if len(samples) < scale.fft:
        return nothing
    wave = np.asarray(samples, dtype=np.float32)
    if np.issubdtype(samples.dtype, np.integer):
        wave = wave / np.float32(32768)
    loudness = np.sqrt(np.convolve(wave**2, np.ones(scale.hop, np.float32) / scale.hop, mode="same"))
    active = loudness > max(_QUIET * float(np.percentile(loudness, 95)), _SILENT)
    if not active.any():
        return nothing
    level = float(np.sqrt((wave[active] ** 2).mean()))
    places, margin = np.flatnonzero(active), int(_MARGIN_S * scale.rate_hz)
    wave = wave[max(0, places[0] - margin) : places[-1] + margin]
    return mel.log_mel(np.asarray(wave * (LEVEL / level), dtype=np.float32), scale)


@dataclass(frozen=True)
class VoiceBatch:
    letters: Tensor
    lengths: Tensor
    language: Tensor
    voice: Tensor
    emotion: Tensor
    mel: Tensor
    mel_frames: Tensor
    letter_of: Tensor  # [B, F]: which letter a frame belongs to
    places: Tensor
    frames: Tensor  # [B, T] per letter


def batch_of(clips: Sequence[VoiceClip]) -> VoiceBatch:
    width, height = max(len(c.letters) for c in clips), max(len(c.mel) for c in clips)
    letters = np.zeros((len(clips), width), dtype=np.int64)
    frames = np.zeros((len(clips), width), dtype=np.float32)
    mels = np.zeros((len(clips), height, clips[0].mel.shape[1]), dtype=np.float32)
    letter_of = np.zeros((len(clips), height), dtype=np.int64)
    places = np.zeros((len(clips), height, 2), dtype=np.float32)
    for row, clip in enumerate(clips):
        letters[row, : len(clip.letters)] = clip.letters
        mels[row, : len(clip.mel)] = clip.mel
        if clip.frames.size:
            frames[row, : len(clip.frames)] = clip.frames
            letter_of[row, : len(clip.mel)] = np.repeat(np.arange(len(clip.frames)), clip.frames)
            places[row, : len(clip.mel)] = length_regulator.places(clip.frames)
    one = torch.from_numpy
    return VoiceBatch(
        one(letters), torch.tensor([len(c.letters) for c in clips]), torch.tensor([c.language for c in clips]),
        torch.tensor([c.voice for c in clips]), torch.tensor([c.emotion for c in clips]), one(mels),
        torch.tensor([len(c.mel) for c in clips]), one(letter_of), one(places), one(frames),
    )  # fmt: skip


class VoiceBatches:
    """Clips by step: the same step of the same seed has the same clips, so that a resumed run goes on exactly."""

    def __init__(self, clips: Sequence[VoiceClip], size: int, *, seed: int) -> None:
        self.clips, self.size, self.seed = clips, min(size, len(clips)), seed
        self.per_epoch = max(1, len(clips) // max(1, self.size))
        self._epoch = lru_cache(maxsize=2)(self._drawn)

    def at(self, step: int) -> list[VoiceClip]:
        return [self.clips[place] for place in self._epoch(step // self.per_epoch)[step % self.per_epoch]]

    def _drawn(self, epoch: int) -> list[list[int]]:
        """Clips of like length together: less padding."""
        random = np.random.default_rng([self.seed, epoch])
        lengths = np.array([len(clip.mel) for clip in self.clips]) * random.uniform(0.8, 1.25, len(self.clips))
        order = np.argsort(lengths)
        start = int(random.integers(0, len(self.clips) - self.per_epoch * self.size + 1))
        batches = [
            [int(p) for p in order[start + n * self.size : start + (n + 1) * self.size]] for n in range(self.per_epoch)
        ]
        return [batches[int(place)] for place in random.permutation(self.per_epoch)]


def mask(lengths: Tensor, longest: int) -> Tensor:
    """[B, longest, 1] of ones on what is there."""
    return (torch.arange(longest)[None] < lengths[:, None]).float()[:, :, None]
