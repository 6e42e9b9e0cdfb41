"""/api/experiments, and what the customer said of a call."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from tests.ml_backend.api.serving import BASIC, BEARER, OPERATOR, Serving
from tests.ml_backend.api.test_bad_input import refused
from tests.ml_backend.api.test_call_routes import SID, filled

__all__ = ["filled"]


@pytest.fixture
def compared(filled: Serving) -> Serving:
    values = {"name": "try", "champion": "small-1", "challenger": "small-2", "traffic_share": 0.5, "salt": "hidden"}
    with filled.context.db.transaction() as connection:
        connection.execute(
            sa.insert(tables.experiments).values(**values, started_by="schedule", outcome={"observations": 12})
        )
    return filled


def test_experiments_are_listed_and_shown_without_the_salt_that_tells_sides_apart(compared: Serving) -> None:
    answer = compared.get("/api/experiments", BEARER)
    [told] = answer.get_json()["experiments"]
    assert (told["challenger"], told["started_by"]) == ("small-2", "schedule")
    assert told["outcome"] == {"observations": 12}
    assert compared.get("/api/experiments/try", BEARER).get_json() == told
    assert "hidden" not in answer.get_data(as_text=True)


def test_an_unknown_experiment_is_not_found(compared: Serving) -> None:
    refused(compared.get("/api/experiments/other", BEARER), 404)


def test_satisfaction_is_kept_with_its_call(compared: Serving) -> None:
    for score in (0.2, 0.75):
        answer = compared.post(f"/api/calls/{SID}/satisfaction", {"score": score}, OPERATOR)
        assert answer.status_code == 200, answer.get_data(as_text=True)
    [outcome] = compared.context.db.rows(sa.select(tables.outcomes).where(tables.outcomes.c.call_sid == SID))
    assert (outcome.kind, outcome.satisfaction) == ("call", 0.75)


@pytest.mark.parametrize("score", [None, True, "5", 5, -0.1, float("nan")])
def test_what_is_no_score_is_refused(compared: Serving, score: Any) -> None:
    refused(compared.post(f"/api/calls/{SID}/satisfaction", {"score": score}, OPERATOR), 400)


def test_a_call_nobody_knows_has_no_satisfaction(compared: Serving) -> None:
    refused(compared.post("/api/calls/unknown/satisfaction", {"score": 1}, OPERATOR), 404)
    for headers, status in ((BASIC, 401), (BEARER, 403)):
        refused(compared.post(f"/api/calls/{SID}/satisfaction", {"score": 1}, headers), status)
