"""Champion, candidate, test set -> Judgement: the verdict with its report, stored with the candidate.

Existing scores under the same conditions are reused; a champion that was scored on another test set is scored again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from ml_backend import packages, tables
from ml_backend.context import Context
from ml_backend.models.registry import ANY_LANGUAGE, Version
from ml_backend.tables import evaluations, model_versions
from training.datasets import renderings
from training.evaluation import evaluation, exposure, fitness, report_page, report_plot, verdict
from training.evaluation.evaluation import Evaluation
from training.evaluation.gate_rules import Rules
from training.evaluation.verdict import Verdict
from training.promotion import latency_comparison
from training.scoring import alignment
from training.scoring.scores import MAIN, Utterance

REPORT, PAGE = "report.json", "report.md"
_EXAMPLES = 10
Report = Callable[[float, str], None]
Pairs = list[tuple[Utterance, Utterance]]


@dataclass(frozen=True)
class Judgement:
    """`body` is the whole report as JSON; `report_key` is its key, with the page and the plot beside it."""

    evaluation_id: int
    verdict: Verdict
    body: dict[str, Any]
    report_key: str

    @property
    def words(self) -> list[str]:
        return [str(each) for each in self.body["words"]]

    @property
    def numbers(self) -> dict[str, Any]:
        """The figures for the alias history."""
        overall = self.verdict.overall
        return {
            "outcome": self.verdict.outcome, "before": overall.before, "now": overall.now,
            "difference": overall.difference.to_json() if overall.difference else None, "calls": overall.calls,
            "callers": overall.callers, "words": overall.words, "evaluation_id": self.evaluation_id,
            "report_key": self.report_key, "test_sha256": self.body["test_sha256"], "champion": self.body["champion"],
        }  # fmt: skip


def judge(
    context: Context,
    champion: Version,
    candidate: Version,
    dataset_id: int,
    *,
    language: str = ANY_LANGUAGE,
    report: Report = lambda fraction, note: None,
) -> Judgement:
    """Score both where needed, compare, and store the report. Safe to repeat: each judgement has its own row."""
    packages.require("The plot of a verdict", *report_plot.NEEDS)
    rules = Rules.of(context.settings)
    before = evaluation.evaluate(context, champion, dataset_id, report=_half(report, 0.0, "champion"))
    now = evaluation.evaluate(context, candidate, dataset_id, report=_half(report, 0.5, "candidate"))
    pairs, left_out = _pairs(context, champion, candidate, before, now, language)
    row = context.db.row(model_versions, candidate.id)

    def judged(paced: dict[str, Any] | None) -> Verdict:
        others = fitness.objections(
            before.scores, now.scores, row.parity, rules=rules, trained=row.run_id is not None, pace=paced
        )
        return verdict.judge(pairs, others, rules=rules)

    found, paced = judged(latency_comparison.NOT_RUN), None
    if found.passed:  # else the latency comparison, which takes minutes, could not change the verdict
        paced = latency_comparison.compare(
            context, champion, candidate, dataset_id, least_s=rules.speed_audio_s,
            real_time_factor=before.scores["speed"]["real_time_factor"],
            report=lambda fraction, note: report(1.0, note),
        )  # fmt: skip
        found = judged(paced)
    data = context.db.row(tables.datasets, dataset_id)
    body = {
        "candidate": candidate.version, "champion": champion.version, "language": language,
        "dataset": f"{data.name}@{data.version}", "dataset_id": dataset_id, "test_sha256": now.test_sha256,
        "evaluations": [before.id, now.id], "at": tables.now().isoformat(timespec="seconds"),
        "words": report_page.sentences(found), "verdict": found.to_json(), "before": before.scores, "now": now.scores,
        "examples": _examples(pairs), "left_out": left_out, "pace": paced,
    }  # fmt: skip
    return _keep(context, candidate, found, body)


def read(context: Context, report_key: str) -> dict[str, Any]:
    """Read a stored report as JSON."""
    with tempfile.TemporaryDirectory(prefix="kaan-report-") as folder:
        path = Path(folder) / REPORT
        context.store.fetch(context.settings.audio_bucket, report_key, path)
        found: dict[str, Any] = orjson.loads(path.read_bytes())
        return found


def text(body: dict[str, Any]) -> str:
    """A report as Markdown."""
    return report_page.markdown(body)


def write(context: Context, report_key: str, body: dict[str, Any]) -> None:
    """Write a report's three files, replacing those of a killed attempt."""
    folder = report_key.removesuffix(f"/{REPORT}")
    context.store.ensure_bucket(context.settings.audio_bucket)
    with tempfile.TemporaryDirectory(prefix="kaan-report-") as aside:
        for name, data in (
            (report_plot.FILE, report_plot.svg(body["verdict"])), (PAGE, text(body).encode()),
            (REPORT, orjson.dumps(body, option=orjson.OPT_INDENT_2)),
        ):  # fmt: skip
            path = Path(aside) / name
            path.write_bytes(data)
            renderings.replace(context, f"{folder}/{name}", path)


def _keep(context: Context, candidate: Version, found: Verdict, body: dict[str, Any]) -> Judgement:
    with context.db.transaction() as connection:
        values = {
            "model_version_id": candidate.id, "dataset_id": body["dataset_id"], "test_sha256": body["test_sha256"],
            "normalisers": [MAIN], "scores": {"words_said": body["words"], "verdict": body["verdict"]},
            "against_version": body["champion"], "verdict": found.outcome,
        }  # fmt: skip
        made = sa.insert(evaluations).values(**values).returning(evaluations.c.id)
        evaluation_id = int(connection.execute(made).scalar_one())
    key = f"{evaluation.folder_of(candidate.version, evaluation_id)}/{REPORT}"
    write(context, key, body)
    context.db.update(evaluations, evaluation_id, report_key=key)
    return Judgement(evaluation_id, found, body, key)


def _pairs(
    context: Context, champion: Version, candidate: Version, before: Evaluation, now: Evaluation, language: str
) -> tuple[Pairs, int]:
    """(utterances that both transcribed and neither was trained on, in one language or all; rows left out)."""
    learnt = exposure.by(context, champion) | exposure.by(context, candidate)
    by_id = {one.id: one for one in now.utterances}
    wanted = [one for one in before.utterances if language in (ANY_LANGUAGE, one.language)]
    pairs = [
        (one, by_id[one.id])
        for one in wanted
        if one.id in by_id and not learnt.has(audio_sha256=one.audio_sha256, call=one.call, caller=one.caller)
    ]
    rows = {one.id for one in wanted} | {one.id for one in now.utterances if language in (ANY_LANGUAGE, one.language)}
    return pairs, len(rows) - len(pairs)


def _examples(pairs: Sequence[tuple[Utterance, Utterance]]) -> dict[str, list[dict[str, Any]]]:
    """The utterances with the largest changes, better and worse."""
    changed = [(now.tallies[MAIN][1] - before.tallies[MAIN][1], before, now) for before, now in pairs]
    changed.sort(key=lambda each: (each[0], each[1].id))
    gains = [_example(before, now) for by, before, now in changed[:_EXAMPLES] if by < 0]
    losses = [_example(before, now) for by, before, now in reversed(changed[-_EXAMPLES:]) if by > 0]
    return {"gains": gains, "losses": losses}


def _example(before: Utterance, now: Utterance) -> dict[str, Any]:
    return {
        "id": now.id, "audio_sha256": now.audio_sha256, "language": now.language, "words": now.tallies[MAIN][0],
        "edits_before": before.tallies[MAIN][1], "edits_now": now.tallies[MAIN][1], "reference": now.reference,
        "before": before.hypothesis, "now": now.hypothesis,
        "alignment": alignment.aligned(now.reference, now.hypothesis),
    }  # fmt: skip


def _half(report: Report, offset: float, who: str) -> Report:
    return lambda fraction, note: report(offset + fraction / 2, f"{who}: {note}")
