"""Understanding: utterances with intents and entities train a parser, judged on wordings it has never seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ml_backend import packages
from ml_backend.context import Context
from ml_backend.models.kinds import NLU, Kind, Report
from ml_backend.nlu import loading
from training.evaluation import intent_scoring
from training.kinds import intent_run
from training.promotion import intent_gate
from training.quality import summary
from training.runs.nlu_arguments import NluArguments
from training.utterances import paraphrase_families, utterance_lines, utterance_renderings


def _ready(context: Context, report: Report) -> None:
    report(0.0, "looking for rewordings and unread drafts")
    paraphrase_families.renew(context)
    summary.renew_verdicts(context)


def _check(settings: Any, folder: Path) -> None:
    loading.load(folder).parse("1")


KIND = Kind(
    name=NLU,
    dataset="utterances",
    new_samples=utterance_renderings.new_samples,
    why_none=utterance_renderings.why_none,
    lines=utterance_lines.lines,
    order=utterance_lines.order,
    forms=utterance_renderings.FORMS,
    render=utterance_renderings.render,
    counted_by=("language", "script", "intent", "source", "wording"),
    trainer="training.trainers.nlu",
    options=NluArguments.from_json,
    prepare=intent_run.prepare,
    require_worth=intent_run.require_worth,
    settings_prefix="nlu_training_",
    ready=_ready,
    threshold=lambda settings: int(settings.nlu_training_threshold),
    score=intent_scoring.score,
    read_rows=intent_scoring.read_rows,
    write_rows=intent_scoring.write_rows,
    readings=intent_scoring.READINGS,
    conditions=lambda context: {},
    judge=intent_gate.judge,
    figures=intent_scoring.figures,
    headline=intent_scoring.headline,
    page=intent_gate.page,
    plot=intent_gate.plot,
    explored=intent_scoring.explored,
    without_texts=intent_scoring.without_texts,
    check=_check,
    packages=packages.TRAINER,
    test_set_missing=(
        "There is no dataset of utterances with test rows.",
        "Import or annotate utterances that a person checked (`nlu import`), then `export utterances`.",
    ),
)
