"""Champion, candidate, test set -> Judgement: the verdict with its report, stored with the candidate.

Existing scores under the same conditions are reused; a champion that was scored on another test set is scored again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import sqlalchemy as sa

from ml_backend import packages, tables
from ml_backend.context import Context
from ml_backend.models import kinds
from ml_backend.models.kinds import KindVerdict
from ml_backend.models.registry import ANY_LANGUAGE, Version
from ml_backend.tables import evaluations
from training.datasets import renderings
from training.evaluation import evaluation, report_plot

REPORT, PAGE = "report.json", "report.md"
Report = Callable[[float, str], None]


@dataclass(frozen=True)
class Judgement:
    """`body` is the whole report as JSON; `report_key` is its key, with the page and the plot beside it."""

    evaluation_id: int
    verdict: KindVerdict
    body: dict[str, Any]
    report_key: str

    @property
    def words(self) -> list[str]:
        return [str(each) for each in self.body["words"]]

    @property
    def numbers(self) -> dict[str, Any]:
        """The figures for the alias history."""
        return {
            "outcome": self.verdict.outcome, **self.verdict.numbers, "evaluation_id": self.evaluation_id,
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
    kind = kinds.of(candidate.kind)
    kinds.require(champion, candidate.kind)
    before = evaluation.evaluate(context, champion, dataset_id, report=_half(report, 0.0, "champion"))
    now = evaluation.evaluate(context, candidate, dataset_id, report=_half(report, 0.5, "candidate"))
    found = kind.judge(context, champion, candidate, before, now, language, report)
    data = context.db.row(tables.datasets, dataset_id)
    body = {
        "kind": candidate.kind, "candidate": candidate.version, "champion": champion.version, "language": language,
        "dataset": f"{data.name}@{data.version}", "dataset_id": dataset_id, "test_sha256": now.test_sha256,
        "evaluations": [before.id, now.id], "at": tables.now().isoformat(timespec="seconds"),
        "words": list(found.words), "before": before.scores, "now": now.scores, **found.body,
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
    return kinds.of(body.get("kind", kinds.ASR)).page(body)


def write(context: Context, report_key: str, body: dict[str, Any]) -> None:
    """Write a report's three files, replacing those of a killed attempt."""
    folder, kind = report_key.removesuffix(f"/{REPORT}"), kinds.of(body.get("kind", kinds.ASR))
    context.store.ensure_bucket(context.settings.audio_bucket)
    with tempfile.TemporaryDirectory(prefix="kaan-report-") as aside:
        for name, data in (
            (report_plot.FILE, kind.plot(body)), (PAGE, text(body).encode()),
            (REPORT, orjson.dumps(body, option=orjson.OPT_INDENT_2)),
        ):  # fmt: skip
            path = Path(aside) / name
            path.write_bytes(data)
            renderings.replace(context, f"{folder}/{name}", path)


def _keep(context: Context, candidate: Version, found: KindVerdict, body: dict[str, Any]) -> Judgement:
    with context.db.transaction() as connection:
        values = {
            "model_version_id": candidate.id, "dataset_id": body["dataset_id"], "test_sha256": body["test_sha256"],
            "normalisers": list(kinds.of(candidate.kind).readings),
            "scores": {"words_said": body["words"], "verdict": body["verdict"]},
            "against_version": body["champion"], "verdict": found.outcome,
        }  # fmt: skip
        made = sa.insert(evaluations).values(**values).returning(evaluations.c.id)
        evaluation_id = int(connection.execute(made).scalar_one())
    key = f"{evaluation.folder_of(candidate.version, evaluation_id)}/{REPORT}"
    write(context, key, body)
    context.db.update(evaluations, evaluation_id, report_key=key)
    return Judgement(evaluation_id, found, body, key)


def _half(report: Report, offset: float, who: str) -> Report:
    return lambda fraction, note: report(offset + fraction / 2, f"{who}: {note}")
