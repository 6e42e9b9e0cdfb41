"""Seed -> how much a model learns of new accents, goods and noise, and how much of the usual calls it forgets.

Everything on the way is real: rows of a dataset, the run with replay and averaging, the served form, the engine. The
speech is espeak-ng's, so the figures say that the trainer can teach, and nothing about people.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_backend.asr.engine import Transcriber
from ml_backend.asr.request import Request
from ml_backend.asr.transcript import DecodingProfile, Transcript
from ml_backend.context import Context
from ml_backend.models import registry
from tests.training import spoken
from tests.training.spoken import Line
from training.demo_model import new_domain
from training.demo_model.new_domain import DomainClip
from training.runs import execution
from training.runs.arguments import Arguments
from training.scoring import bootstrap, error_counts
from training.scoring.bootstrap import Interval
from training.text import readings

OLD_TEST = 200  # clips: a rise of three points is told from luck
OPTIONS: dict[str, Any] = {
    "base": "bundled", "steps": 240, "learning_rate": 4e-4, "batch_s": 52.0, "replay_share": 0.35, "noise_share": 0.1,
    "several_share": 0.0, "timestamped_share": 0.25, "tempo": 0.06, "masks": 0, "validate_every": 60,
    "validation_clips": 80, "threads": 1, "device": "cpu", "patience": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Improvement:
    """Word error rates in 0..1; the intervals are paired, over calls, of after minus before."""

    new_before: float
    new_after: float
    new_change: Interval
    old_before: float
    old_after: float
    old_change: Interval
    version: str

    @property
    def fall(self) -> float:
        """Relative fall on the new calls."""
        return 1 - self.new_after / self.new_before

    def __str__(self) -> str:
        def line(name: str, before: float, after: float, by: Interval) -> str:
            return (
                f"{name} calls {100 * before:.1f} -> {100 * after:.1f} % "
                f"({100 * by.low:+.1f} to {100 * by.high:+.1f} points)"
            )

        new = line("new", self.new_before, self.new_after, self.new_change)
        old = line("old", self.old_before, self.old_after, self.old_change)
        return f"{new}, {100 * self.fall:.0f} % fewer errors; {old}"


def measured(
    context: Context, scratch: Path, *, seed: int, train: int = 500, replay: int = 600, test: int = 120, **changed: Any
) -> Improvement:
    new = [*new_domain.new_calls("train", train, seed=seed), *new_domain.new_calls("validation", 40, seed=seed)]
    old = [*new_domain.old_calls("train", replay, seed=seed), *new_domain.old_calls("validation", 100, seed=seed)]
    new_id = spoken.dataset_of(context, "new", _lines(new), scratch / "new")
    old_id = spoken.dataset_of(context, "old", _lines(old), scratch / "old")
    arguments = Arguments(**{**OPTIONS, "replay_dataset_id": old_id, "seed": seed, **changed})
    run_id = execution.create(context, new_id, arguments, who="a test", why="does it learn")
    version = execution.execute(context, run_id)
    assert version is not None
    tested = [
        list(new_domain.new_calls("test", test, seed=seed)), list(new_domain.old_calls("test", OLD_TEST, seed=seed))
    ]  # fmt: skip
    before = [_heard(context, str(registry.BUNDLED), clips) for clips in tested]
    served = registry.verified(context, registry.find(context, version))
    after = [_heard(context, served, clips) for clips in tested]
    figures = [_compared(clips, b, a) for clips, b, a in zip(tested, before, after, strict=True)]
    return Improvement(*figures[0], *figures[1], version)


def _heard(context: Context, location: str, clips: list[DomainClip]) -> list[str]:
    engine = Transcriber.load(Path(location), settings=context.settings, temperatures=())
    answers = engine.transcribe([Request(c.samples[None], DecodingProfile(language=c.language)) for c in clips])
    return [answer.text if isinstance(answer, Transcript) else "" for answer in answers]


def _compared(clips: list[DomainClip], before: list[str], after: list[str]) -> tuple[float, float, Interval]:
    rows = []
    for clip, old, new in zip(clips, before, after, strict=True):
        was, now = (
            error_counts.count(clip.text, text, normaliser=readings.INDIC, language=clip.language)
            for text in (old, new)
        )
        rows.append((clip.call, (was.word_edits.total, now.word_edits.total, was.words)))
    sums = bootstrap.by_call(rows)
    change = bootstrap.difference(sums)
    assert change is not None
    total = sums.sum(axis=0)
    return float(total[0] / total[2]), float(total[1] / total[2]), change


def _lines(clips: Iterable[DomainClip]) -> Iterable[Line]:
    for clip in clips:
        split = "validation" if "-validation-" in clip.id else "train"
        yield Line(clip.id, clip.samples, clip.text, clip.language, clip.speaker, split)
