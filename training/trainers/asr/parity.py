"""Trained weights and their served form -> do both hear the same? Measured on fixed windows, greedily on both sides.

Conversion and quantisation change numbers a little, and go wrong silently: a lost language table, a vocabulary read as
English-only, alignment heads of another model. The windows come from validation rows, or where there are none from
training rows: what is compared are two forms of one model.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml_backend import settings
from ml_backend.engine import Transcriber
from ml_backend.manifest import Window
from training.normalisation import distance
from training.trainers.asr import export, hearing
from training.trainers.asr.features import FRAMES_PER_S, Array
from training.trainers.asr.material import Material
from training.trainers.asr.short_windows import accept_short_windows

CLIPS = 60


@dataclass(frozen=True)
class Clip:
    mel: Array
    language: str
    text: str


def clips_of(material: Material, numbers: Sequence[int]) -> list[Clip]:
    chosen = [numbers[i] for i in np.linspace(0, len(numbers) - 1, min(CLIPS, len(numbers))).astype(int)]
    return [Clip(material.mel(n), material.rows[n].language, material.rows[n].text) for n in chosen]


def compare(weights: Path, folder: Path, clips: list[Clip], window: Window, *, bound: float) -> dict[str, Any]:
    """`passed` when the two differ in at most `bound` of the words, and the served one is not worse by more."""
    model, tokenizer = export.load_twin(weights)
    served = Transcriber.load(folder, settings=settings.load(), temperatures=())
    mels, languages = [clip.mel for clip in clips], [clip.language for clip in clips]
    began = time.process_time()
    heard = [""] * len(clips)
    for batch in hearing.batches(mels, window):
        texts = served.hear([mels[n].T for n in batch], [languages[n] for n in batch])
        for number, text in zip(batch, texts, strict=True):
            heard[number] = text
    cpu_s = time.process_time() - began
    expected = hearing.texts(
        accept_short_windows(model), tokenizer, mels, languages, window, suppressed=served.suppressed
    )
    references = [clip.text for clip in clips]
    words = sum(len(text.split()) for text in expected)
    edits = word_edits(expected, heard)
    before, after = word_error_rate(references, expected), word_error_rate(references, heard)
    difference = edits / max(1, words)
    audio_s = sum(len(mel) for mel in mels) / FRAMES_PER_S
    return {
        "clips": len(clips), "words": words, "word_edits": edits, "difference": round(difference, 4), "bound": bound,
        "wer_trained": round(before, 4), "wer_served": round(after, 4), "rtf": round(cpu_s / max(0.01, audio_s), 4),
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "size_mb": round(sum(p.stat().st_size for p in folder.iterdir()) / 1e6, 1),
        "passed": bool(clips) and difference <= bound and after <= before + bound,
    }  # fmt: skip


def word_edits(references: Sequence[str], hypotheses: Sequence[str]) -> int:
    return sum(distance.between(r.split(), h.split()) for r, h in zip(references, hypotheses, strict=True))


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Pooled over all words, as they are written."""
    return word_edits(references, hypotheses) / max(1, sum(len(text.split()) for text in references))
