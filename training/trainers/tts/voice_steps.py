"""One step of each network, and the schedule of both."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.trainers.tts import aligner as alignment
from training.trainers.tts.aligner import Aligner
from training.trainers.tts.voice_clips import VoiceBatch, VoiceClip, batch_of, mask
from training.trainers.tts.voice_network import VoiceNetwork

_FRAMES_WEIGHT = 0.1
_ALIGNED_AT_ONCE = 32
_CLIP = 1.0


def optimizer_of(network: nn.Module, *, learning_rate: float, weight_decay: float = 0.01) -> torch.optim.AdamW:
    return torch.optim.AdamW(network.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=weight_decay)


def rate_at(step: int, steps: int, *, warm_up: int) -> float:
    """A share of the highest rate: up linearly, down as a cosine to a fiftieth."""
    if step < warm_up:
        return (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def stepped(optimizer: torch.optim.AdamW, loss: Tensor, *, learning_rate: float) -> float:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], _CLIP)
    optimizer.step()
    return float(loss.detach())


def aligner_loss(network: Aligner, clips: Sequence[VoiceClip]) -> Tensor:
    batch = batch_of(clips)
    return alignment.loss(network(batch.mel), batch.mel_frames, batch.letters, batch.lengths)


def voice_loss(network: VoiceNetwork, clips: Sequence[VoiceClip]) -> Tensor:
    """Mean absolute error of the frames, and the Poisson deviance of the letters' lengths, which keeps their mean."""
    batch = batch_of(clips)
    letter_mask, frame_mask = mask(batch.lengths, batch.letters.shape[1]), mask(batch.mel_frames, batch.mel.shape[1])
    predicted, log_frames = spoken(network, batch, letter_mask, frame_mask)
    wrong = ((predicted - batch.mel).abs() * frame_mask).sum()
    lengths = functional.poisson_nll_loss(log_frames, batch.frames, log_input=True, reduction="none")
    return (
        wrong / (frame_mask.sum() * batch.mel.shape[2])
        + _FRAMES_WEIGHT * (lengths * letter_mask[:, :, 0]).sum() / letter_mask.sum()
    )


def spoken(network: VoiceNetwork, batch: VoiceBatch, letter_mask: Tensor, frame_mask: Tensor) -> tuple[Tensor, Tensor]:
    vectors, log_frames = network.text(batch.letters, batch.language, batch.voice, batch.emotion, letter_mask)
    index = batch.letter_of[:, :, None].expand(-1, -1, vectors.shape[2])
    return network.decoder(vectors.gather(1, index), batch.places, frame_mask), log_frames


@torch.no_grad()
def aligned(network: Aligner, clips: Sequence[VoiceClip]) -> list[VoiceClip]:
    """The clips with the frames of each letter, in the order given."""
    network.eval()
    order = sorted(range(len(clips)), key=lambda place: len(clips[place].mel))
    found: dict[int, VoiceClip] = {}
    for start in range(0, len(order), _ALIGNED_AT_ONCE):
        places = order[start : start + _ALIGNED_AT_ONCE]
        some = [clips[place] for place in places]
        letters = network(batch_of(some).mel).numpy()
        frames = alignment.durations(
            [letters[row, : len(clip.mel)] for row, clip in enumerate(some)], [clip.letters for clip in some]
        )
        for place, clip, lengths in zip(places, some, frames, strict=True):
            found[place] = VoiceClip(clip.letters, clip.language, clip.voice, clip.emotion, clip.mel, lengths)
    return [found[place] for place in range(len(clips))]


def expected_frames(log_frames: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.asarray(log_frames.exp().numpy(), dtype=np.float32)
