"""Clips of a new voice -> how near to it the bundled voice comes, and whether it is still understood.

Everything on the way is real: the workspace's rows, the trainer, the served form, the engine, the recogniser that reads
the result. The speech is espeak-ng's, so the figures say that the trainer can teach, and nothing about people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend.asr.engine import Transcriber
from ml_backend.asr.request import Request
from ml_backend.asr.transcript import DecodingProfile, Transcript
from ml_backend.settings import Settings
from ml_backend.tts.mel import Array
from ml_backend.tts.speaking import Speaker
from training.demo_model import corpus, voices
from training.demo_model.corpus import Sentence
from training.demo_model.voices import SyntheticVoice
from training.evaluation import speech_gate
from training.evaluation.speech_gate import SpeechJudgement
from training.runs import voice_rows
from training.runs.bases import BUNDLED as BUNDLED_FOLDER
from training.runs.voice_rows import VoiceRow
from training.runs.workspace import Workspace
from training.scoring import speech_scores
from training.scoring.speech_scores import Judged, ReferenceRecording, SpokenSentence
from training.trainers.tts import voice_tuning

WEIGHTS = Path(voice_tuning.__file__).parents[2] / "demo_voice" / "weights"
MODEL = BUNDLED_FOLDER / "model"
NEW_VOICE, VARIANT, SPEED_WPM = "asha", "f2", 140
CLIPS, VALIDATION = 150, 12
HELD_OUT_SEED, TUNED_ON, FRESH = 31, 60, 60  # held-out sentences: the first chose settings, the others never did


def recording(sentence: Sentence) -> Array:
    return voices.speak(sentence.text, SyntheticVoice(f"{sentence.language}+{VARIANT}", SPEED_WPM, 50))


def training_sentences(count: int, *, seed: int) -> list[Sentence]:
    """Distinct sentences of the shop, without those that every corpus begins with."""
    found = {one.key: one for one in corpus.training_sentences(seed, 6 * count)[-4 * count :]}
    return list(found.values())[:count]


def held_out(first: int, count: int) -> list[Sentence]:
    return corpus.held_out_sentences(HELD_OUT_SEED, first + count)[first:]


def workspace_of(folder: Path, *, base: Path = WEIGHTS, clips: int = CLIPS, seed: int = 1, **changed: Any) -> Workspace:
    folder.mkdir(parents=True, exist_ok=True)
    workspace = Workspace(folder)
    sentences = training_sentences(clips + VALIDATION, seed=2026 + seed)
    voice_rows.write(
        workspace,
        (
            (
                VoiceRow(f"clip-{n}", one.text, one.language, NEW_VOICE, split="train" if n < clips else "validation"),
                recording(one),
            )
            for n, one in enumerate(sentences)
        ),
    )
    workspace.write_plan(
        {
            "arguments": {"base": "bundled", "seed": seed, **changed}, "base": str(base), "name": "kaan-voice",
            "base_name": "kaan-voice", "languages": ["en", "hi", "mr"], "trained_on": "a test", "sample_rate_hz": 16000,
        }
    )  # fmt: skip
    return workspace


@dataclass(frozen=True)
class HeldOutSpeech:
    """The new voice's own recordings of the held-out sentences, and what the recogniser makes of them."""

    sentences: list[Sentence]
    references: list[ReferenceRecording]
    recogniser: Transcriber

    @classmethod
    def of(cls, sentences: list[Sentence], settings: Settings) -> HeldOutSpeech:
        recogniser = Transcriber.load(MODEL, settings=settings, temperatures=())
        waves = [recording(one) for one in sentences]
        texts = transcripts(recogniser, waves, [one.language for one in sentences])
        return cls(
            sentences, [ReferenceRecording(w, t) for w, t in zip(waves, texts, strict=True)], recogniser
        )  # fmt: skip

    def spoken_by(self, folder: Path, voice: str | None) -> list[SpokenSentence]:
        speaker = Speaker.load(folder)
        return self.scored(
            [speaker.speak(one.text, language=one.language, voice=voice).samples for one in self.sentences]
        )

    def scored(self, waves: Sequence[Array]) -> list[SpokenSentence]:
        texts = transcripts(self.recogniser, waves, [one.language for one in self.sentences])
        return [
            speech_scores.scored(Judged(f"s-{n}", one.text, one.language, NEW_VOICE, wave, text), self.references[n])
            for n, (one, wave, text) in enumerate(zip(self.sentences, waves, texts, strict=True))
        ]


def transcripts(recogniser: Transcriber, waves: Sequence[Array], languages: Sequence[str]) -> list[str]:
    answers = recogniser.transcribe(
        [
            Request(np.asarray(wave, np.float32)[None], DecodingProfile(language=language))
            for wave, language in zip(waves, languages, strict=True)
        ]
    )
    return [answer.text if isinstance(answer, Transcript) else "" for answer in answers]


def judged(before: list[SpokenSentence], now: list[SpokenSentence]) -> SpeechJudgement:
    return speech_gate.judge(now, before, new_voice=True)


def line(name: str, sentences: list[SpokenSentence]) -> str:
    figures = speech_scores.summary(sentences)
    cer, against = figures["cer"], figures["cer_against_reference"]
    return (
        f"{name}: CER {100 * cer[0]:.1f} [{100 * cer[1]:.1f}, {100 * cer[2]:.1f}] %, against the recordings "
        f"{100 * against[0]:+.1f} [{100 * against[1]:+.1f}, {100 * against[2]:+.1f}] points, distance "
        f"{figures['distance']:.2f}, F0 {figures['pitch_hz']:.0f} Hz ({figures['semitones']:+.2f} semitones), length "
        f"{figures['duration_ratio']:.3f}"
    )
