"""Trained networks -> the served form, two ONNX halves; and whether it speaks as the trained form does."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ml_backend.models import manifest
from ml_backend.models.manifest import Manifest
from ml_backend.tts import length_regulator, speech_text
from ml_backend.tts.mel import Array
from ml_backend.tts.speaking import DECODER_FILE, TEXT_FILE, Speaker
from training.trainers.tts.voice_weights import TrainableVoice

_OPSET = 17
_WORST = 10.0  # difference of log-mel frames, where the two forms do not even agree in length


class _Denormalised(nn.Module):
    """The decoder with its last step inside: what is served are log amplitudes."""

    def __init__(self, voice: TrainableVoice) -> None:
        super().__init__()
        self.decoder = voice.network.decoder
        self.register_buffer("mean", torch.from_numpy(voice.norm.mean))
        self.register_buffer("deviation", torch.from_numpy(voice.norm.deviation))

    def forward(self, vectors: Tensor, places: Tensor) -> Tensor:
        out: Tensor = self.decoder(vectors, places) * self.deviation + self.mean
        return out


def convert(voice: TrainableVoice, folder: Path, *, name: str, trained_on: str) -> Manifest:
    """Replaces the folder, whole or not at all."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    voice.network.eval()
    one = torch.zeros(1, dtype=torch.int64)
    _export(
        voice.network.text, (torch.zeros(1, 4, dtype=torch.int64), one, one, one), partial / TEXT_FILE,
        ["letters", "language", "voice", "emotion"], ["vectors", "log_frames"],
        {"letters": {1: "T"}, "vectors": {1: "T"}, "log_frames": {1: "T"}},
    )  # fmt: skip
    _export(
        _Denormalised(voice).eval(), (torch.zeros(1, 8, voice.network.shape.width), torch.zeros(1, 8, 2)),
        partial / DECODER_FILE, ["vectors", "places"], ["mel"],
        {"vectors": {1: "F"}, "places": {1: "F"}, "mel": {1: "F"}},
    )  # fmt: skip
    written = manifest.write(
        partial, name=name, languages=voice.needs.languages, window=None, kind="tts", needs=voice.needs.to_json(),
        trained_on=trained_on, sample_rate_hz=voice.needs.scale.rate_hz,
    )  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)
    return written


def compare(
    voice: TrainableVoice, served: Path, asked: Sequence[tuple[str, str, str, str]], *, bound: float
) -> dict[str, Any]:
    """(text, language, voice, emotion) spoken by both forms: the mean difference of their log-mel frames."""
    speaker = Speaker.load(served)
    differences = []
    for text, language, name, emotion in asked:
        found = speaker.frames(text, language=language, voice=name, emotion=emotion)
        wanted = [
            frames_of(voice, sentence, language, name, emotion)
            for sentence in speech_text.sentences(speech_text.normalised(text), longest=180)
        ]
        differences += [
            float(np.abs(one - other).mean()) if one.shape == other.shape and one.size else _WORST
            for one, other in zip(found, wanted, strict=True)
        ]
    difference = round(float(np.mean(differences)), 6) if differences else _WORST
    return {"passed": difference <= bound, "difference": difference, "bound": bound, "clips": len(asked)}


@torch.no_grad()
def frames_of(voice: TrainableVoice, normal: str, language: str, name: str, emotion: str) -> Array:
    """The trained form's log-mel frames of one sentence."""
    normalised, _ = spoken(voice, normal, language, name, emotion)
    return voice.norm.back(normalised)


@torch.no_grad()
def spoken(
    voice: TrainableVoice, normal: str, language: str, name: str, emotion: str
) -> tuple[Array, np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
    """Normalised frames of one sentence, and how many of them each letter has."""
    needs, network = voice.needs, voice.network.eval()
    letters = torch.tensor([[needs.alphabet.index(letter) for letter in speech_text.framed(normal)]])
    ids = [
        torch.tensor([table.index(value)])
        for table, value in ((needs.languages, language), (needs.voices, name), (needs.emotions, emotion))
    ]
    vectors, log_frames = network.text(letters, *ids)
    frames = length_regulator.whole_frames(np.exp(log_frames[0].numpy()))
    repeated = torch.from_numpy(length_regulator.repeated(vectors[0].numpy(), frames))[None]
    out = network.decoder(repeated, torch.from_numpy(length_regulator.places(frames))[None])
    return out[0].numpy(), frames


def _export(
    module: nn.Module, example: tuple[Tensor, ...], path: Path, inputs: list[str], outputs: list[str],
    free: dict[str, dict[int, str]],
) -> None:  # fmt: skip
    """By the older exporter: these graphs are plain, and it takes a tenth of a second instead of six."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, example, str(path), input_names=inputs, output_names=outputs, dynamic_axes=free,
            opset_version=_OPSET, dynamo=False,
        )  # fmt: skip
