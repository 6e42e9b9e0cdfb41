"""A refused request leaves a line with its id and the reason, a flood of them does not, and no secret is in it."""

from __future__ import annotations

import logging

import pytest

from ml_backend.api import requests


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "_refusals", requests._Refusals())


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "code", "route"),
    [
        ("GET", "/api/jobs", {"Authorization": "Bearer Zq7wKx9v-wrong"}, 401, "unauthorized", "GET /api/jobs"),
        ("POST", "/predict", {"Authorization": "Basic Zq7wKx9v"}, 401, "unauthorized", "POST /predict"),
        ("POST", "/webhooks/exotel/Zq7wKx9v-wrong-secret", {}, 401, "unauthorized", "POST /webhooks/exotel/<secret>"),
        ("GET", "/nothing/Zq7wKx9v", {}, 404, "not-found", "no route"),
        ("DELETE", "/health", {}, 405, "method-not-allowed", "no route"),
    ],
)
def test_the_line_names_id_status_reason_and_route_and_nothing_that_was_sent(
    serve, caplog, method, path, headers, status, code, route
):
    serving = serve(exotel_webhook_secret="exotel-secret-of-some-length")
    with caplog.at_level(logging.WARNING, logger="ml_backend.api.requests"):
        answer = serving.app.test_client().open(path, method=method, headers=headers)
    assert answer.status_code == status
    [line] = lines(caplog)
    for part in (answer.headers["X-Request-Id"], str(status), code, route):
        assert part in line
    assert "Zq7wKx9v" not in line


def test_a_flood_leaves_thirty_lines_a_minute_and_then_its_number(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(requests.time, "monotonic", lambda: clock[0])
    limit = requests._Refusals()
    said = [limit.may_say() for _ in range(1000)]
    assert said.count((True, 0)) == 30
    clock[0] += 61
    assert limit.may_say() == (True, 970)
    assert limit.may_say() == (True, 0)
