"""Every report: the same from the command, from /api and on the page."""

from __future__ import annotations

import html
import json
from collections.abc import Callable

import pytest

from ml_backend.commands import command_line
from ml_backend.context import Context
from ml_backend.reports import report_table
from tests.ml_backend.api.serving import BEARER, Serving
from tests.ml_backend.page.visitors import visitor


@pytest.fixture
def said(serving: Serving, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a command over the same deployment; returns what it printed."""

    def context(role: str = "cli") -> Context:
        return serving.context

    monkeypatch.setattr(command_line, "quiet_context", context)

    def run(*words: str) -> str:
        assert command_line.main(["report", *words]) == 0
        return capsys.readouterr().out

    return run


OF_ALL = sorted(
    name
    for name, one in report_table.REPORTS.items()
    if not any(field.is_required() for field in one.query_model().model_fields.values())
)


@pytest.mark.parametrize("name", OF_ALL)
def test_an_empty_deployment_has_every_report_in_all_three_places(
    serving: Serving, said: Callable[..., str], name: str
) -> None:
    answered = serving.get(f"/api/reports/{name}", BEARER)
    assert answered.status_code == 200, answered.text
    printed = json.loads(said(name, "--json"))
    assert printed.keys() == answered.get_json().keys()
    assert said(name)
    page = visitor(serving).get(f"/page/reports/{name}")
    assert page.status_code == 200
    assert report_table.REPORTS[name].summary in html.unescape(page.text)


@pytest.mark.parametrize("name", sorted(report_table.REPORTS.keys() - set(OF_ALL)))
def test_a_report_of_one_thing_is_refused_without_its_name(serving: Serving, name: str) -> None:
    refused = serving.get(f"/api/reports/{name}", BEARER)
    assert (refused.status_code, refused.get_json()["code"]) == (400, "bad-filter")


def test_the_names_of_all_reports_are_listed(serving: Serving, said: Callable[..., str]) -> None:
    listed = serving.get("/api/reports", BEARER).get_json()["reports"]
    assert [each["name"] for each in listed] == list(report_table.REPORTS)
    assert all(name in said() for name in report_table.REPORTS)


def test_an_unknown_report_and_an_unknown_filter_are_refused_with_what_there_is(
    serving: Serving, said: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line.main(["report", "nonsense"]) == 1
    assert "live" in capsys.readouterr().err
    assert command_line.main(["report", "live", "--only", "days"]) == 1
    assert "name=value" in capsys.readouterr().err
    assert serving.get("/api/reports/live?x=1", BEARER).status_code == 400
