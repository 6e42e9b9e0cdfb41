"""The IVR's voice: recordings of known texts train a voice, refused by figures, promoted by people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ml_backend import packages
from ml_backend.models import manifest
from ml_backend.models.kinds import TTS, Kind
from ml_backend.tts import parler_environment
from ml_backend.tts.speaking import Speaker
from training.evaluation import speech_scoring
from training.kinds import voice_run
from training.promotion import voice_gate
from training.scoring import speech_scores
from training.voices import voice_dataset, voice_renderings


def _check(settings: Any, folder: Path) -> None:
    if manifest.read(folder).needs.get("engine") == voice_run.PARLER:
        parler_environment.check(settings)
        return
    Speaker.load(folder)


KIND = Kind(
    name=TTS,
    dataset="voices",
    new_samples=voice_dataset.new_samples,
    why_none=voice_dataset.why_none,
    lines=voice_dataset.lines,
    order=voice_dataset.order,
    forms=voice_renderings.FORMS,
    render=voice_renderings.render,
    with_public=voice_dataset.with_public,
    counted_by=voice_dataset.COUNTED_BY,
    trainer="training.trainers.tts",
    options=voice_run.options,
    prepare=voice_run.prepare,
    require_worth=voice_run.require_worth,
    settings_prefix="tts_training_",
    threshold=lambda settings: int(settings.tts_training_threshold),
    score=speech_scoring.scorer(voice_run.samples_of),
    read_rows=lambda data: tuple(speech_scores.read_lines(data)),
    write_rows=speech_scores.write_lines,
    readings=speech_scoring.READINGS,
    conditions=speech_scoring.conditions,
    judge=voice_gate.judge,
    figures=speech_scoring.figures,
    headline=speech_scoring.headline,
    page=voice_gate.page,
    plot=voice_gate.plot,
    explored=speech_scoring.explored,
    without_texts=speech_scoring.without_texts,
    check=_check,
    interpreter=voice_run.interpreter,
    packages=packages.TRAINER,
    after_promotion="The IVR still speaks as before: `prompts render`, `prompts compare`, then `prompts switch`.",
    test_set_missing=(
        "There is no dataset of voices with test rows.",
        "Bring in recordings with texts (`voices import`), then `export voices`.",
    ),
)
