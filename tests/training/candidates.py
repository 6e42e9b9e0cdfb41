"""Model versions that were scored already: how they do is made up, word by word; everything else is real rows."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.asr.transcript import Segment, Transcript
from ml_backend.context import Context
from ml_backend.models import manifest, registry
from ml_backend.models.manifest import WindowPolicy
from ml_backend.models.registry import Version
from tests.training import spoken
from tests.training.spoken import Line
from training.evaluation import evaluation, recognition_scoring, test_transcription
from training.evaluation.evaluation import Evaluation
from training.scoring.scores import Utterance, scores

LANGUAGES = ("hi", "hi", "hi", "mr", "mr", "en")
SILENT = [{"clip": "silence", "kind": "quiet", "words": 0, "text": ""},
          {"clip": "hold music", "kind": "sound", "words": 0, "text": ""}]  # fmt: skip


@dataclass(frozen=True)
class Ear:
    """How often a version mishears a word, by language where that differs; the rest is about serving it."""

    wrong: float = 0.17
    by_language: Mapping[str, float] = field(default_factory=dict)
    silence: tuple[int, int] = (0, 0)  # words for the quiet clip, for the music
    speed: float = 0.1
    empty: float = 0.0
    self_check: str | None = None


def blind_calls(context: Context, folder: Path, *, calls: int = 90, words: int = 20) -> int:
    """A dataset of `calls` calls of half as many callers, all test rows."""
    lines = [
        Line(f"row-{n:03}", spoken.tone(n, seconds=0.05), said(n, words), LANGUAGES[n % 6], f"caller-{n // 2}", "test")
        for n in range(calls)
    ]
    return spoken.dataset_of(context, "calls", lines, folder)


def said(number: int, words: int) -> str:
    return " ".join(f"word{number}x{place}" for place in range(words))


def version(context: Context, folder: Path, name: str, **columns: Any) -> Version:
    """A version whose one file is its name. `columns` of its row, such as `parity`."""
    place = folder / name
    place.mkdir(parents=True)
    (place / "weights.txt").write_text(name)
    manifest.write(place, name=name, languages=("hi", "mr", "en"), window=WindowPolicy.stock(), trained_on="nothing")
    made = registry.register(context, str(place))
    if columns:
        context.db.update(tables.model_versions, made.id, **columns)
    return registry.find(context, made.version)


def crown(context: Context, champion: Version) -> None:
    registry.move_alias(context, champion, expected_revision=0, who="a test", why="somebody must be first")


def heard(context: Context, by: Version, dataset_id: int, ear: Ear, *, seed: int = 1) -> Evaluation:
    """As an evaluation would have left it."""
    draw, every = random.Random(seed), []
    from training.datasets import dataset

    for line in dataset.read(context, dataset_id, "test"):
        rate = ear.by_language.get(line["language"], ear.wrong)
        words = [word if draw.random() >= rate else f"x{word}" for word in line["text"].split()]
        text = "" if draw.random() < ear.empty else " ".join(words)
        # a line stands for a minute of a call, so that words and seconds are in proportion
        every.append(
            test_transcription.utterance({**line, "end_s": line["start_s"] + 8.0}, transcript(text, line["language"]))
        )
    return _kept(context, by, dataset_id, every, ear)


def wrote(
    context: Context, by: Version, dataset_id: int, answers: Mapping[str, str], *, learnt: Collection[str] = (),
    without: Collection[str] = (),
) -> Evaluation:  # fmt: skip
    """As an evaluation would have left it, of a version that writes this text for each line. It learnt from some; the
    audio of others is gone."""
    from training.datasets import dataset

    every = [
        replace(
            test_transcription.utterance(line, transcript(answers[line["id"]], line["language"])),
            learnt=line["id"] in learnt,
        )
        for line in dataset.read(context, dataset_id, "test")
        if line["id"] not in without
    ]
    return _kept(context, by, dataset_id, every, Ear())


def _kept(context: Context, by: Version, dataset_id: int, every: Sequence[Utterance], ear: Ear) -> Evaluation:
    clips = [{**one, "words": count} for one, count in zip(SILENT, ear.silence, strict=True)]
    unseen = [one for one in every if not one.learnt]
    found = {
        **scores(unseen), "self_check": ear.self_check,
        "left_out": {"learnt_from": len(every) - len(unseen), "audio_missing": 0},
        "silence": {"clips": clips, "with_words": sum(n > 0 for n in ear.silence), "of": 2, "share": 0.0},
        "speed": {"real_time_factor": ear.speed, "cpu_per_audio_s": ear.speed, "audio_s": 720.0},
        "conditions": recognition_scoring.conditions(context.settings),
    }  # fmt: skip
    return evaluation.keep(context, by, context.db.row(tables.datasets, dataset_id), found, every)


def transcript(text: str, language: str) -> Transcript:
    segments = (Segment(0.0, 1.0, text),) if text else ()
    return Transcript(segments, language, 1.0, 1.0, 1.0, "a-version")


def history(context: Context) -> list[Any]:
    rows = sa.select(tables.alias_history).order_by(tables.alias_history.c.id)
    return list(context.db.rows(rows))
