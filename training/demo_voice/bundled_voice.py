"""Recipe -> the bundled voice: speech, aligner, network, weights, served form. Determined by the recipe alone.

One synthetic voice says sentences of the shop (`training.demo_model.corpus`) in Hindi, Marathi and English. It is there
so that everything about voices runs and is tested anywhere; nobody should put it on a telephone.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ml_backend.models.manifest import Manifest
from ml_backend.tts import speech_text
from ml_backend.tts.mel import Array, MelScale
from ml_backend.tts.speaking import BUNDLED
from ml_backend.tts.voice_needs import NEUTRAL, VoiceNeeds
from training.demo_model import corpus, voices
from training.demo_model.corpus import Sentence
from training.demo_model.voices import SyntheticVoice
from training.trainers.tts import aligner as alignment
from training.trainers.tts import voice_clips, voice_export, voice_steps, voice_weights
from training.trainers.tts.aligner import Aligner
from training.trainers.tts.voice_clips import Norm, VoiceBatches, VoiceClip
from training.trainers.tts.voice_network import VoiceNetwork, VoiceShape
from training.trainers.tts.voice_weights import TrainableVoice

NAME, VOICE = "kaan-voice", "kaan"
LANGUAGES = ("en", "hi", "mr")
TRAINED_ON = "synthetic speech only (espeak-ng): sentences of an imaginary shop in Hindi, English and Marathi"
WEIGHTS_FOLDER = Path(__file__).parent / "weights"
_WARM_UP = 60
_SAY_EVERY = 100
_SPEED_WPM, _PITCH = 150, 50
_ALIGNER_SEED, _NETWORK_SEED = 1, 2
Report = Callable[[str], None]


@dataclass(frozen=True)
class StepSchedule:
    steps: int
    learning_rate: float
    batch_clips: int


@dataclass(frozen=True)
class VoiceRecipe:
    seed: int = 20261130
    sentences: int = 1800
    rehearsed: int = 400  # sentences that stay with the weights
    aligner: StepSchedule = StepSchedule(steps=1250, learning_rate=2e-3, batch_clips=16)
    voice: StepSchedule = StepSchedule(steps=1300, learning_rate=1.5e-3, batch_clips=8)


FULL_VOICE = VoiceRecipe()
QUICK_VOICE = VoiceRecipe(
    sentences=180, rehearsed=20, aligner=StepSchedule(20, 2e-3, 16), voice=StepSchedule(20, 1.5e-3, 8)
)  # fmt: skip
"""All stages in a minute. The voice it makes babbles."""


def make(
    recipe: VoiceRecipe, *, weights: Path = WEIGHTS_FOLDER, served: Path = BUNDLED, report: Report = print
) -> Manifest:
    """Seven minutes of one processor for the full recipe; nothing is kept of an interrupted one."""
    voices.require_espeak()
    torch.set_num_threads(1)
    sentences = corpus.training_sentences(recipe.seed, recipe.sentences)
    needs, norm, clips = speech(sentences)
    report(f"speech: {len(clips)} clips, {len(needs.alphabet)} letters")

    torch.manual_seed(_ALIGNER_SEED)
    aligner = Aligner(len(needs.alphabet))
    _train(aligner, clips, voice_steps.aligner_loss, recipe.aligner, _ALIGNER_SEED, report)
    network = trained_network(needs, voice_steps.aligned(aligner, clips), recipe, report)
    kept = tuple((one.text, one.language) for one in sentences[-recipe.rehearsed :])
    voice_weights.save(
        TrainableVoice(network, aligner, norm, needs, kept), weights, name=NAME, trained_on=TRAINED_ON
    )  # fmt: skip
    written = voice_export.convert(voice_weights.load(weights), served, name=NAME, trained_on=TRAINED_ON)
    report(f"saved {written.model_version} in {served}")
    return written


def spoken(sentence: Sentence) -> Array:
    return voices.speak(sentence.text, SyntheticVoice(sentence.language, _SPEED_WPM, _PITCH))


def speech(sentences: list[Sentence]) -> tuple[VoiceNeeds, Norm, list[VoiceClip]]:
    """The voice's own recordings of the sentences, as the networks learn from them."""
    with ThreadPoolExecutor(2) as pool:
        waves = list(pool.map(spoken, sentences))
    texts = [speech_text.framed(speech_text.normalised(one.text)) for one in sentences]
    alphabet = "".join(sorted({*"".join(texts), *speech_text.PAUSES, " ", "'"}))
    needs = VoiceNeeds(LANGUAGES, (VOICE,), (NEUTRAL,), alphabet, MelScale())
    mels = [voice_clips.spoken_frames(wave, needs.scale) for wave in waves]
    norm = Norm.of(mels)
    clips = [
        VoiceClip(np.array([alphabet.index(c) for c in text]), LANGUAGES.index(one.language), 0, 0, norm.forward(mel))
        for text, one, mel in zip(texts, sentences, mels, strict=True)
    ]
    return needs, norm, [clip for clip in clips if alignment.fits(len(clip.mel), clip.letters)]


def trained_network(needs: VoiceNeeds, clips: list[VoiceClip], recipe: VoiceRecipe, report: Report) -> VoiceNetwork:
    """From nothing, on clips whose letters were measured."""
    torch.manual_seed(_NETWORK_SEED)
    network = VoiceNetwork(VoiceShape(len(needs.alphabet), len(LANGUAGES), 1, 1))
    _train(network, clips, voice_steps.voice_loss, recipe.voice, _NETWORK_SEED, report)
    return network


def _train(
    network: nn.Module, clips: list[VoiceClip], loss_of: Callable[..., Tensor], schedule: StepSchedule, seed: int,
    report: Report,
) -> None:  # fmt: skip
    name, steps = type(network).__name__, schedule.steps
    optimizer = voice_steps.optimizer_of(network, learning_rate=schedule.learning_rate)
    batches = VoiceBatches(clips, schedule.batch_clips, seed=seed)
    for step in range(steps):
        network.train()
        rate = schedule.learning_rate * voice_steps.rate_at(step, steps, warm_up=_WARM_UP)
        loss = voice_steps.stepped(optimizer, loss_of(network, batches.at(step)), learning_rate=rate)
        if step % _SAY_EVERY == 0:
            report(f"{name}: step {step} of {steps}, loss {loss:.3f}")
