"""/api/reports: each report of `ml_backend/reports/report_table.py` at its own address, with its own filters.

One rule per report, so that the OpenAPI document says which filters each takes.
"""

from __future__ import annotations

from flask import Flask, Response

from ml_backend.api import requests
from ml_backend.api.requests import answer
from ml_backend.context import Context
from ml_backend.reports import report_table
from ml_backend.reports.report_table import NamedReport
from ml_backend.views.queries import Query

ADDRESS = "/api/reports"


def install(app: Flask, context: Context, who: requests.Who) -> None:
    """The list, and one route per report."""

    def listed() -> Response:
        """The reports there are."""
        known = report_table.REPORTS.values()
        return answer({"reports": [{"name": one.name, "summary": one.summary} for one in known]})

    requests.add_route(app, ADDRESS, listed, who=who, query=Query)
    for report in report_table.REPORTS.values():
        requests.add_route(
            app, f"{ADDRESS}/{report.name}", _view(context, report), who=who, query=report.query_model()
        )  # fmt: skip


def _view(context: Context, report: NamedReport) -> requests.View:
    """Its docstring is the report's summary: the OpenAPI document and the reference say it."""

    def show(query: Query | None = None) -> Response:
        return answer(report.of(context, query))

    show.__doc__ = report.summary
    return show
