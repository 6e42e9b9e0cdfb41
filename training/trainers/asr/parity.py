"""Trained weights, their served form -> do both transcribe the same? Greedy decoding of fixed windows on both sides.

Conversion and quantisation change numbers a little, and can fail silently: a lost language table, a vocabulary read as
English-only, alignment heads of another model. The windows are from validation rows and, until there are enough words,
from training rows, which is fair because both forms are of one model.

Two forms pass when at most `bound` of their words differ and the served one makes no more mistakes. Where it makes no
more, three times as many words may differ, because an unsure model may choose either of two words.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np

from ml_backend import settings
from ml_backend.asr.engine import Transcriber
from ml_backend.models.manifest import WindowPolicy
from training.text import distance
from training.trainers.asr import artefacts, greedy_decoding
from training.trainers.asr.features import FRAMES_PER_S, Array
from training.trainers.asr.frame_cache import RowFeatures
from training.trainers.asr.weights import accept_short_windows

CLIPS, MOST_CLIPS = 60, 240
LEAST_WORDS = 200
PASSED, FAILED, TOO_FEW = "passed", "failed", "too few words to judge"
_COMPUTED = {"cuda": {}, "cpu": {"float16": "float32", "int8_float16": "int8_float32"}}  # a CPU's computation types


@dataclass(frozen=True)
class ParityClip:
    mel: Array
    language: str
    text: str


def clips_of(row_features: RowFeatures, numbers: Sequence[int], more: Sequence[int] = ()) -> list[ParityClip]:
    """The usual number of clips spread over `numbers`, then clips of `more` until there are enough words."""
    chosen = [numbers[i] for i in np.linspace(0, len(numbers) - 1, min(CLIPS, len(numbers))).astype(int)]
    words = sum(len(row_features.rows[n].text.split()) for n in chosen)
    for n in (*numbers, *more):
        if words >= 1.25 * LEAST_WORDS or len(chosen) >= MOST_CLIPS:
            break
        if n not in chosen:
            chosen.append(n)
            words += len(row_features.rows[n].text.split())
    return [ParityClip(row_features.mel(n), row_features.rows[n].language, row_features.rows[n].text) for n in chosen]


def computed_in(quantization: str, device: str) -> str:
    """CTranslate2's computation type for a quantisation on this device: its own, if supported."""
    on_gpu = device == "cuda" or (device == "auto" and ctranslate2.get_cuda_device_count() > 0)
    return _COMPUTED["cuda" if on_gpu else "cpu"].get(quantization, quantization)


def compare(
    weights: Path, folder: Path, clips: list[ParityClip], window: WindowPolicy, *, bound: float, quantization: str
) -> dict[str, Any]:
    """Counts of both forms, computed in the type of `quantization`, and the `verdict`."""
    model, tokenizer = artefacts.load_twin(weights)
    base = settings.load(_env_file=None)  # without .env, which holds secrets: the parent process has read it
    kind = computed_in(quantization, base.asr_device)
    served = Transcriber.load(folder, settings=base.model_copy(update={"asr_compute_type": kind}), temperatures=())
    mels, languages = [clip.mel for clip in clips], [clip.language for clip in clips]
    began = time.process_time()
    served_texts = [""] * len(clips)
    for batch in greedy_decoding.batches(mels, window):
        texts = served.decode_features([mels[n].T for n in batch], [languages[n] for n in batch])
        for number, text in zip(batch, texts, strict=True):
            served_texts[number] = text
    cpu_s = time.process_time() - began
    expected = greedy_decoding.texts(
        accept_short_windows(model), tokenizer, mels, languages, window, suppressed=served.suppressed
    )
    references = [clip.text for clip in clips]
    words = sum(len(text.split()) for text in expected)
    edits = word_edits(expected, served_texts)
    before, after = word_error_rate(references, expected), word_error_rate(references, served_texts)
    difference = edits / max(1, words)
    verdict = judged(words, edits, before, after, bound=bound)
    audio_s = sum(len(mel) for mel in mels) / FRAMES_PER_S
    return {
        "clips": len(clips), "words": words, "word_edits": edits, "difference": round(difference, 4), "bound": bound,
        "wer_trained": round(before, 4), "wer_served": round(after, 4), "rtf": round(cpu_s / max(0.01, audio_s), 4),
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "size_mb": round(sum(p.stat().st_size for p in folder.iterdir()) / 1e6, 1),
        "computed_in": kind, "verdict": verdict, "passed": verdict != FAILED,
    }  # fmt: skip


def judged(words: int, edits: int, before: float, after: float, *, bound: float) -> str:
    """Passed, failed, or too few words to judge; then only a difference beyond chance fails."""
    worse = max(edits, round((after - before) * words))
    if words < LEAST_WORDS:
        allowed = bound * words
        return FAILED if worse > allowed + 3 * math.sqrt(allowed) + 2 else TOO_FEW
    allowed = bound if after > before else 3 * bound
    return PASSED if edits <= allowed * words and after <= before + bound / 2 else FAILED


def word_edits(references: Sequence[str], hypotheses: Sequence[str]) -> int:
    return sum(distance.between(r.split(), h.split()) for r, h in zip(references, hypotheses, strict=True))


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Pooled over all words, without normalisation."""
    return word_edits(references, hypotheses) / max(1, sum(len(text.split()) for text in references))
