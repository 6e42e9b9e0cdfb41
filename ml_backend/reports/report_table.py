"""Every report by name: what the command `report`, `/api/reports/<name>` and the page show.

A report is `of(context, query) -> dict`: numbers with their counts, and `low` and `high` where a number is an estimate.
It is loaded when it is asked for, so that no process pays for reports that it does not make.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ml_backend.errors import InvalidInput
from ml_backend.views.queries import Query

if TYPE_CHECKING:
    from ml_backend.context import Context

Lines = Callable[[dict[str, Any]], list[str]]


@dataclass(frozen=True)
class NamedReport:
    """`path` is `module:function`, called as `of(context, query)`; `query` is `module:class` or empty (no filters).

    `lines` is `module:function`, dict -> lines for a terminal; without it every list is printed as a table.
    """

    name: str
    summary: str
    path: str
    query: str = ""
    lines: str = ""

    def query_model(self) -> type[Query]:
        """The filters that it takes."""
        found: type[Query] = _named(self.query) if self.query else Query
        return found

    def of(self, context: Context, query: Query | None = None) -> dict[str, Any]:
        """The figures now."""
        found: dict[str, Any] = _named(self.path)(context, query if query is not None else self.query_model()())
        return found

    def to_lines(self, found: dict[str, Any]) -> list[str] | None:
        """The figures as lines for a terminal; None where the report has no form of its own."""
        return list(_named(self.lines)(found)) if self.lines else None


REPORTS: dict[str, NamedReport] = {
    report.name: report
    for report in (
        NamedReport(
            "live",
            "How live serving goes: percentiles of the last hour, and uptime.",
            "ml_backend.reports.report_table:live",
        ),
        NamedReport(
            "success-metrics",
            "The success metrics against their targets, with count, interval and trend.",
            "ml_backend.reports.success_metrics:of",
            "ml_backend.reports.success_metrics:SuccessQuery",
            "ml_backend.reports.success_metrics:lines",
        ),
        NamedReport(
            "working-state",
            "Whether it works now: processes, due work, trouble with its next step.",
            "ml_backend.reports.working_state:of",
            lines="ml_backend.reports.working_state:lines",
        ),
        NamedReport(
            "champion-history",
            "The word error rate of the champions over time, with every promotion.",
            "ml_backend.reports.champion_history:of",
        ),
        NamedReport(
            "annotation-figures",
            "How annotation goes: throughput, backlog, time, agreement, gold, patterns, people, drafts.",
            "ml_backend.reports.annotating.annotation_figures:of",
            "ml_backend.reports.annotating.annotation_figures:AnnotationFiguresQuery",
            "ml_backend.reports.annotating.annotation_figures:lines",
        ),
        NamedReport(
            "my-day",
            "What one annotator did today against their own past, and the glossary.",
            "ml_backend.reports.annotating.my_day:of",
            "ml_backend.reports.annotating.my_day:MyDayQuery",
            "ml_backend.reports.annotating.my_day:lines",
        ),
        NamedReport(
            "waiting-work",
            "What waits for whom: annotators, engineer, operator.",
            "ml_backend.reports.waiting_work:of",
            lines="ml_backend.reports.waiting_work:lines",
        ),
        NamedReport(
            "call-funnel",
            "From callback to dataset: how many calls get how far, and why the others do not; the ledger's balance.",
            "ml_backend.reports.call_funnel:of",
            "ml_backend.reports.call_funnel:FunnelQuery",
            "ml_backend.reports.call_funnel:lines",
        ),
        NamedReport(
            "data-composition",
            "What is annotated, against what calls are made of, the gaps, and how datasets differ.",
            "ml_backend.reports.data_composition:of",
            "ml_backend.reports.data_composition:CompositionQuery",
            "ml_backend.reports.data_composition:lines",
        ),
        NamedReport(
            "lineage",
            "What a model version was made from, and what was made from it.",
            "ml_backend.reports.learning.model_lineage:of",
            "ml_backend.reports.learning.model_lineage:LineageQuery",
            "ml_backend.reports.learning.model_lineage:lines",
        ),
        NamedReport(
            "verdicts",
            "What the gate said of a version: slices before and now, with reasons.",
            "ml_backend.reports.learning.model_verdicts:of",
            "ml_backend.reports.learning.model_verdicts:VerdictQuery",
            "ml_backend.reports.learning.model_verdicts:lines",
        ),
        NamedReport(
            "version-comparison",
            "Two versions beside each other, by their stored scores.",
            "ml_backend.reports.learning.model_verdicts:compare",
            "ml_backend.reports.learning.model_verdicts:VersionPairQuery",
            "ml_backend.reports.learning.model_verdicts:comparison_lines",
        ),
        NamedReport(
            "runs",
            "Training runs, newest first.",
            "ml_backend.reports.learning.run_curves:every",
            "ml_backend.reports.learning.run_curves:RunQuery",
        ),
        NamedReport(
            "run-curve",
            "One training run with its curve: loss, learning rate and validation scores by step.",
            "ml_backend.reports.learning.run_curves:of",
            "ml_backend.reports.learning.run_curves:CurveQuery",
            "ml_backend.reports.learning.run_curves:lines",
        ),
        NamedReport(
            "work",
            "Jobs by state and kind, and what needs a person.",
            "ml_backend.reports.work_summary:of",
            lines="ml_backend.reports.work_summary:lines",
        ),
        NamedReport(
            "schedules",
            "When each schedule ran, how that went, and when it looks next.",
            "ml_backend.reports.work_summary:every_schedule",
            lines="ml_backend.reports.work_summary:schedule_lines",
        ),
        NamedReport(
            "usefulness",
            "What orders the work, as learnt from corrections, and the most useful open tasks with their reasons.",
            "ml_backend.reports.learning.annotation_worth:of_usefulness",
            lines="ml_backend.reports.learning.annotation_worth:usefulness_lines",
        ),
        NamedReport(
            "drafts",
            "Minutes that drafts saved or cost, by how wrong they were, and above which errors they cost.",
            "ml_backend.reports.learning.annotation_worth:of_drafts",
            lines="ml_backend.reports.learning.annotation_worth:drafts_lines",
        ),
        NamedReport(
            "learning-curve",
            "Word error rate against hours of annotation, and how many more hours a language needs.",
            "ml_backend.reports.learning.annotation_worth:of_learning_curve",
            "ml_backend.reports.learning.annotation_worth:HoursQuery",
            "ml_backend.reports.learning.annotation_worth:curve_lines",
        ),
        NamedReport(
            "storage",
            "Buckets, database and disks: size, growth and days left.",
            "ml_backend.reports.storage_growth:of",
            lines="ml_backend.reports.storage_growth:lines",
        ),
    )
}


def named(name: str) -> NamedReport:
    """InvalidInput `unknown-report` lists the known ones."""
    if name not in REPORTS:
        raise InvalidInput(
            "unknown-report", "There is no such report.", f"Known: {', '.join(sorted(REPORTS))}.", status=404
        )
    return REPORTS[name]


def live(context: Context, query: Query) -> dict[str, Any]:
    """As `/api/live`."""
    from ml_backend.views import live_views

    return live_views.summary(context.db)


def _named(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
