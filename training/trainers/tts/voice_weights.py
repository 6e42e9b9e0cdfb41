"""A folder of weights <-> the networks of a voice, with all that further training needs. Safetensors and JSON only."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ml_backend.errors import ConfigurationError
from ml_backend.models import manifest
from ml_backend.tts import speech_text, voice_needs
from ml_backend.tts.voice_needs import NEUTRAL, VoiceNeeds
from training.runs.workspace import read_json, write_json, write_text
from training.trainers.tts import aligner as alignment
from training.trainers.tts import voice_network as networks
from training.trainers.tts.aligner import Aligner
from training.trainers.tts.voice_clips import Norm
from training.trainers.tts.voice_network import VoiceNetwork, VoiceShape

MODEL_TYPE = "kaan_voice"
CONFIG, WEIGHTS, ALIGNER, REHEARSAL = "config.json", "model.safetensors", "aligner.safetensors", "rehearsal.jsonl"
_PARLER = "parler_tts"


@dataclass(frozen=True)
class TrainableVoice:
    """`texts` are (text, language) that the base can say: what its voices rehearse while a new one is learnt."""

    network: VoiceNetwork
    aligner: Aligner
    norm: Norm
    needs: VoiceNeeds
    texts: tuple[tuple[str, str], ...]


def load(folder: Path) -> TrainableVoice:
    """Raises ConfigurationError for a folder that this trainer cannot train, saying which it can."""
    config = _config(folder)
    needs = voice_needs.of_manifest(config["needs"], folder=folder.name)
    tensors = load_file(folder / WEIGHTS)
    norm = Norm(tensors.pop("norm.mean").numpy(), tensors.pop("norm.deviation").numpy())
    network = VoiceNetwork(VoiceShape.from_json(config["shape"]))
    network.load_state_dict(tensors)
    aligner = Aligner(len(needs.alphabet), bands=needs.scale.bands)
    aligner.load_state_dict(load_file(folder / ALIGNER))
    path = folder / REHEARSAL
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    texts = tuple((line["text"], line["language"]) for line in map(json.loads, lines))
    return TrainableVoice(network, aligner, norm, needs, texts)


def save(voice: TrainableVoice, folder: Path, *, name: str, trained_on: str) -> None:
    """Replaces the folder, whole or not at all."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    norm = {"norm.mean": torch.from_numpy(voice.norm.mean), "norm.deviation": torch.from_numpy(voice.norm.deviation)}
    save_file({**_contiguous(voice.network.state_dict()), **norm}, partial / WEIGHTS)
    save_file(_contiguous(voice.aligner.state_dict()), partial / ALIGNER)
    write_json(
        partial / CONFIG,
        {"model_type": MODEL_TYPE, "shape": voice.network.shape.to_json(), "needs": voice.needs.to_json()},
    )
    lines = (json.dumps({"text": text, "language": language}, ensure_ascii=False) for text, language in voice.texts)
    write_text(partial / REHEARSAL, "".join(f"{line}\n" for line in lines))
    for path in partial.iterdir():
        path.chmod(0o644)  # safetensors are created readable by their owner only
    manifest.write(
        partial, name=name, languages=voice.needs.languages, window=None, kind="tts", needs=voice.needs.to_json(),
        trained_on=trained_on, sample_rate_hz=voice.needs.scale.rate_hz,
    )  # fmt: skip
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def extended(
    voice: TrainableVoice, *, texts: Sequence[str], languages: Sequence[str], voices: Sequence[str],
    emotions: Sequence[str],
) -> TrainableVoice:  # fmt: skip
    """With whatever of these is new at the end of its list, so that all that the base knew keeps its place."""
    letters = set("".join(speech_text.normalised(text) for text in texts))
    needs = VoiceNeeds(
        _grown(voice.needs.languages, languages), _grown(voice.needs.voices, voices),
        _grown(voice.needs.emotions, emotions or (NEUTRAL,)),
        voice.needs.alphabet + "".join(sorted(letters - set(voice.needs.alphabet))),
        voice.needs.scale, voice.needs.vocoder,
    )  # fmt: skip
    network = networks.extended(
        voice.network, letters=len(needs.alphabet), languages=len(needs.languages), voices=len(needs.voices),
        emotions=len(needs.emotions),
    )  # fmt: skip
    aligner = alignment.extended(voice.aligner, len(needs.alphabet))
    return TrainableVoice(network, aligner, voice.norm, needs, voice.texts)


def _config(folder: Path) -> dict[str, Any]:
    found = read_json(folder / CONFIG) if folder.is_dir() else None
    kind = (found or {}).get("model_type")
    if found is None or not (folder / WEIGHTS).is_file() or kind != MODEL_TYPE:
        raise ConfigurationError(
            "voice-base-unsupported",
            f"The voice {folder.name} is of type {kind or 'unknown'}, which has no training here.",
            f"Name the bundled voice, a version trained from it ({MODEL_TYPE}), or a Parler-TTS model ({_PARLER}); "
            "VITS, Piper and SpeechT5 voices can be neither trained nor served.",
        )
    return found


def _grown(known: tuple[str, ...], more: Sequence[str]) -> tuple[str, ...]:
    return (*known, *sorted(set(more) - set(known)))


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
