"""/api/training says how far the next model is, for programs; Start Training's refusal is read here too."""

from __future__ import annotations

from typing import Any

import pytest

from ml_backend import tables
from ml_backend.jobs import runner
from model import SpeechModel
from tests.ml_backend.api.serving import BASIC, BEARER, ORIGINAL, PROJECT, Serving


def asked(serving: Serving) -> dict[str, Any]:
    answer = serving.get("/api/training", BEARER)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.get_json()
    return found


def test_it_says_how_many_samples_are_there_and_how_many_are_needed(serving: Serving) -> None:
    told = asked(serving)
    assert (told["said"], told["threshold"], told["new"]) == ("0 of 1,000", 1000, 0)
    assert (told["expected_at"], told["running"], told["last_refusal"]) == (None, [], None)
    assert told["next_check_at"].endswith(("Z", "+00:00"))


def test_a_refused_start_training_is_told_with_its_reason(serving: Serving) -> None:
    serving.project()
    bound = type("SpeechModel", (SpeechModel,), {"context": serving.context})
    bound(project_id=str(PROJECT), label_config=ORIGINAL).fit("START_TRAINING", {"project": {"id": PROJECT}})
    [waiting] = asked(serving)["jobs"]
    assert waiting["state"] == "waiting"
    assert not runner.run_due(serving.context, queues=("training",)).failed
    refused = asked(serving)["last_refusal"]
    assert (refused["code"], refused["asked_by"], refused["why"]) == ("nothing-new", "Label Studio", "button")
    assert "No annotation has become a sample yet" in refused["reason"]


@pytest.mark.parametrize("headers", [BASIC, {}])
def test_nobody_else_may_read_it(serving: Serving, headers: dict[str, str]) -> None:
    assert serving.get("/api/training", headers).status_code == 401


def test_a_filter_is_refused(serving: Serving) -> None:
    assert serving.get("/api/training?kind=asr", BEARER).status_code == 400
    assert serving.rows(tables.runs) == []
