"""Letters -> log-mel frames: a FastSpeech of convolutions, 0.9 million parameters.

Two halves, because the length regulator between them is not a network: the text half gives every letter a vector and a
number of frames; the decoder half turns the vectors, each repeated for its frames, into a spectrum. Ren et al.,
"FastSpeech: Fast, Robust and Controllable Text to Speech" (2019), with convolutions for its transformers: on a
processor and an hour of speech they learn five times faster.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

PLACE = 2  # what a frame knows of its place in its letter: how far in, and how long the letter is


@dataclass(frozen=True)
class VoiceShape:
    letters: int
    languages: int
    voices: int
    emotions: int
    bands: int = 80
    width: int = 160
    text_layers: int = 3
    dilations: tuple[int, ...] = (1, 2, 4, 1, 2, 4)
    dropout: float = 0.05

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> VoiceShape:
        return cls(**{**raw, "dilations": tuple(raw["dilations"])})


class _Layer(nn.Module):
    """A residual convolution over [B, T, width]. `mask` [B, T, 1] is zero on padding, so that a text is spoken alike
    alone and in a batch. What drops out is a whole channel: random numbers for every value took a sixth of the time."""

    def __init__(self, width: int, kernel: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.convolution = nn.Conv1d(width, width, kernel, dilation=dilation, padding=(kernel - 1) // 2 * dilation)
        self.dropout = dropout

    def forward(self, values: Tensor, mask: Tensor | None) -> Tensor:
        normed = self.norm(values)
        if mask is not None:
            normed = normed * mask
        branch = functional.gelu(_convolved(normed, self.convolution))
        if self.training and self.dropout:
            branch = branch * functional.dropout(torch.ones(len(values), 1, values.shape[2]), self.dropout)
        return values + branch


def _convolved(values: Tensor, convolution: nn.Conv1d) -> Tensor:
    """[B, T, in] -> [B, T, out], as a convolution over an image of one row, which needs no copy of the values."""
    image = values[:, None].permute(0, 3, 1, 2)
    out = functional.conv2d(
        image, convolution.weight[:, :, None], convolution.bias, padding=(0, int(convolution.padding[0])),
        dilation=(1, convolution.dilation[0]),
    )  # fmt: skip
    return out.permute(0, 2, 3, 1)[:, 0]


class TextHalf(nn.Module):
    """(letters [B, T], language [B], voice [B], emotion [B]) -> (vectors [B, T, width], log frames [B, T])."""

    def __init__(self, shape: VoiceShape) -> None:
        super().__init__()
        self.letters = nn.Embedding(shape.letters, shape.width)
        self.languages = nn.Embedding(shape.languages, shape.width)
        self.voices = nn.Embedding(shape.voices, shape.width)
        self.emotions = nn.Embedding(shape.emotions, shape.width)
        nn.init.zeros_(self.emotions.weight)
        self.layers = nn.ModuleList(_Layer(shape.width, 5, 1, shape.dropout) for _ in range(shape.text_layers))
        self.lengths = nn.Conv1d(shape.width, shape.width // 2, 3, padding=1)
        self.frames = nn.Linear(shape.width // 2, 1)

    def forward(
        self, letters: Tensor, language: Tensor, voice: Tensor, emotion: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        speaker = (self.voices(voice) + self.emotions(emotion))[:, None]
        values = self.letters(letters) + self.languages(language)[:, None] + speaker
        for layer in self.layers:
            values = layer(values, mask)
        spoken = values + speaker
        if mask is not None:
            spoken = spoken * mask
        return spoken, self.frames(functional.gelu(_convolved(spoken, self.lengths)))[:, :, 0]


class DecoderHalf(nn.Module):
    """(vectors [B, F, width], places [B, F, 2]) -> normalised log-mel [B, F, bands]."""

    def __init__(self, shape: VoiceShape) -> None:
        super().__init__()
        self.place = nn.Linear(PLACE, shape.width)
        self.layers = nn.ModuleList(_Layer(shape.width, 3, d, shape.dropout) for d in shape.dilations)
        self.norm = nn.LayerNorm(shape.width)
        self.out = nn.Linear(shape.width, shape.bands)

    def forward(self, vectors: Tensor, places: Tensor, mask: Tensor | None = None) -> Tensor:
        values = vectors + self.place(places)
        for layer in self.layers:
            values = layer(values, mask)
        out: Tensor = self.out(self.norm(values))
        return out


class VoiceNetwork(nn.Module):
    def __init__(self, shape: VoiceShape) -> None:
        super().__init__()
        self.shape = shape
        self.text = TextHalf(shape)
        self.decoder = DecoderHalf(shape)


def extended(network: VoiceNetwork, **larger: int) -> VoiceNetwork:
    """The same network with more letters, languages, voices or emotions: new rows start as the mean of the old."""
    shape = VoiceShape(**{**network.shape.to_json(), "dilations": network.shape.dilations, **larger})
    if shape == network.shape:
        return network
    grown = VoiceNetwork(shape)
    weights = network.state_dict()
    for name, tensor in grown.state_dict().items():
        old = weights[name]
        if old.shape != tensor.shape:
            mean = old.mean(dim=0, keepdim=True).expand(tensor.shape[0] - old.shape[0], -1)
            weights[name] = torch.cat([old, mean])
    grown.load_state_dict(weights)
    return grown


def parameters_of(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
