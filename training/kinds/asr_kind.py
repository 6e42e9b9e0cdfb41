"""Speech recognition: samples of calls train a Whisper, judged by the words that it gets wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ml_backend import packages
from ml_backend.asr.engine import Transcriber
from ml_backend.context import Context
from ml_backend.models.kinds import ASR, Kind, Report
from ml_backend.views import training_progress
from training.datasets import dataset_counts, dataset_manifest, dataset_rows, renderings
from training.evaluation import recognition_scoring, report_page
from training.kinds import recognition_run
from training.promotion import recognition_gate
from training.quality import summary
from training.runs.arguments import Arguments
from training.scoring import scores
from training.text.readings import CURRENT


def _ready(context: Context, report: Report) -> None:
    report(0.0, "looking for unread drafts and duplicate calls")
    summary.renew_verdicts(context)


def _check(settings: Any, folder: Path) -> None:
    Transcriber.load(folder, settings=settings).self_check()


KIND = Kind(
    name=ASR,
    dataset="calls",
    new_samples=training_progress.count,
    why_none=training_progress.why_none,
    lines=dataset_rows.lines,
    order=dataset_manifest.order,
    forms=renderings.FORMS,
    render=renderings.make,
    counted_by=dataset_counts.OF_CALLS,
    trainer="training.trainers.asr",
    options=Arguments.from_json,
    prepare=recognition_run.prepare,
    require_worth=recognition_run.require_worth,
    settings_prefix="asr_",
    threshold=lambda settings: int(settings.training_threshold),
    score=recognition_scoring.score,
    read_rows=lambda data: tuple(scores.read(data)),
    write_rows=scores.write,
    readings=CURRENT,
    conditions=lambda context: recognition_scoring.conditions(context.settings),
    judge=recognition_gate.judge,
    figures=recognition_scoring.figures,
    headline=recognition_scoring.headline,
    page=report_page.markdown,
    plot=recognition_gate.plot,
    explored=recognition_scoring.explored,
    without_texts=recognition_scoring.without_texts,
    check=_check,
    packages=packages.TRAINER,
    optional=False,
    in_experiments=True,
    ready=_ready,
    with_public=renderings.with_public,
    test_set_missing=(
        "There is no dataset with test rows.",
        "Have tasks of the blind audit annotated (AUDIT_SHARE, `project add --blind-share`), then `export`.",
    ),
)
