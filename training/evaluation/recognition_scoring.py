"""Lines of a test set -> the scores of a version that transcribes: error rates, self-check, silence, speed."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

from ml_backend import quantities
from ml_backend.asr.engine import Transcriber
from ml_backend.context import Context
from ml_backend.models import registry
from ml_backend.models.kinds import ExploredLine, FigureTable, Line, Scored
from ml_backend.models.registry import Version
from ml_backend.settings import Settings
from training.evaluation import exposure, test_transcription
from training.scoring import alignment
from training.scoring.scores import MAIN, Utterance
from training.scoring.scores import scores as scores_of
from training.text import readings

Report = Callable[[float, str], None]


def score(context: Context, version: Version, lines: list[Line], report: Report) -> Scored:
    """Transcribe the test part with the serving engine. Scores leave out what the version was trained on."""
    location = registry.verified(context, version)
    engine = Transcriber.load(location, settings=context.settings, model_version=version.version)
    fit, quiet = test_transcription.self_check(engine), test_transcription.on_silence(engine, context.settings)
    transcribed, speed, gone = test_transcription.transcribe_test_set(context, engine, lines, report)
    learnt = exposure.by(context, version)
    transcribed = [replace(one, learnt=True) if _learnt(learnt, one) else one for one in transcribed]
    unseen = [one for one in transcribed if not one.learnt]
    found = {
        **scores_of(unseen), "self_check": fit, "silence": quiet, "speed": speed,
        "left_out": {"learnt_from": len(transcribed) - len(unseen), "audio_missing": gone},
    }  # fmt: skip
    return Scored(found, transcribed)


def explored(
    context: Context, version: Version, rows: Sequence[Utterance], scores: dict[str, Any]
) -> Iterator[ExploredLine]:
    """The utterances for people who look at errors. Rows of an earlier release do not say what the version learnt
    from, so that is looked up again."""
    left_out = (scores.get("left_out") or {}).get("learnt_from", 0)
    learnt = exposure.by(context, version) if left_out and not any(one.learnt for one in rows) else None
    for one in rows:
        counted = not (_learnt(learnt, one) if learnt is not None else one.learnt)
        erased = not one.reference and not one.hypothesis
        edits, steps = {MAIN: one.edits}, {}
        for name in one.tallies if not erased else ():
            expected, recognised = readings.pair(
                one.reference, one.hypothesis, normaliser=name, language=one.language or None
            )
            steps[name] = alignment.steps(expected, recognised)
            edits[name] = alignment.edits_of(steps[name])
        yield ExploredLine(
            id=one.id, reference=one.reference, hypothesis=one.hypothesis, counts=one.tallies, edits=edits, steps=steps,
            words=alignment.words_of(steps.get(MAIN, [])), audio_sha256=one.audio_sha256, language=one.language,
            detected_language=one.detected_language, duration_s=one.duration_s, weight=one.weight, counted=counted,
            slices=one.slices,
        )  # fmt: skip


def without_texts(rows: Sequence[Utterance], recordings: Collection[str], ids: Collection[str]) -> list[Utterance]:
    return [one.without_text() if one.audio_sha256 in recordings else one for one in rows]


def _learnt(learnt: exposure.TrainingExposure, one: Utterance) -> bool:
    return learnt.has(audio_sha256=one.audio_sha256, call=one.call, caller=one.caller)


def conditions(settings: Settings) -> dict[str, Any]:
    """The conditions that must be equal for scores and speeds to be comparable."""
    return {
        "language": "heard", "beam_size": settings.asr_beam_size, "device": settings.asr_device,
        "compute_type": settings.asr_compute_type, "machine": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
    }  # fmt: skip


def figures(scores: dict[str, Any]) -> Iterator[str | FigureTable]:
    """The scores for the terminal."""
    yield (
        f"{scores['utterances']:,} utterances of {scores['calls']:,} calls and "
        f"{scores['callers']:,} callers, {scores['words']:,} words"
    )
    rows = []
    for name, one in scores["rates"].items():
        if one["wer"] and one["cer"]:
            rows.append((name, _percent(one["wer"][0]), quantities.between(one["wer"]), _percent(one["cer"][0]), ""))
    for kind, some in scores["slices"].items():
        for name, one in some.items():
            wrong, between = (_percent(one["wer"][0]), quantities.between(one["wer"])) if one["wer"] else ("-", "")
            rows.append((f"{kind}: {name}", wrong, between, "", f"{one['calls']:,}"))
    titles = ("reading or slice", "words wrong", "95 % between", "characters wrong", "calls")
    yield FigureTable(titles, tuple(rows))
    right, empty, silence = scores["language_identification"], scores["empty"], scores["silence"]
    yield f"language right: {right['count']} of {right['of']}; empty: {empty['count']} of {empty['of']}"
    yield (
        f"clips without speech that got words: {silence['with_words']} of {silence['of']}; "
        f"{scores['speed']['real_time_factor']} s per second of audio"
    )
    if scores["self_check"]:
        yield f"self-check: {scores['self_check']}"
    if left_out := scores["left_out"]["learnt_from"]:
        yield f"left out, because it learnt from them: {left_out:,} rows"


def headline(scores: dict[str, Any]) -> str:
    """The rate of the reading that decides."""
    rate = ((scores.get("rates") or {}).get(MAIN) or {}).get("wer")
    return f"{100 * rate[0]:.1f} words wrong of 100" if rate else ""


def _percent(rate: float) -> str:
    return f"{100 * rate:.1f} %"
