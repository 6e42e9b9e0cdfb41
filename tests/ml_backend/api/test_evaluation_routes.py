"""/api/evaluations: the numbers of the commands, from the same functions, and the request for another review."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.commands import command_line
from tests.ml_backend.api.serving import BEARER, OPERATOR, Serving
from tests.training import candidates
from tests.training.candidates import Ear

HOSTILE = "=1+1 <script>alert(1)</script> \u202eevil"


@pytest.fixture
def scored(serving: Serving, tmp_path: Path) -> tuple[int, int]:
    """Two versions on one test set; the first utterance has a task in Label Studio, and a hostile text."""
    context = serving.context
    dataset_id = candidates.blind_calls(context, tmp_path / "scratch", calls=12, words=6)
    first, second = (candidates.version(context, tmp_path, name) for name in ("one", "two"))
    before = candidates.heard(context, first, dataset_id, Ear(0.3))
    now = candidates.heard(context, second, dataset_id, Ear(0.1), seed=2)
    with context.db.transaction() as connection:
        project = {"instance_url": "http://ls.example", "ls_project_id": 7, "title": "calls", "label_config": "<View/>"}
        project_id = connection.execute(
            sa.insert(tables.projects).values(**project).returning(tables.projects.c.id)
        ).scalar_one()
        task = {"project_id": project_id, "ls_task_id": 70, "external_key": "k", "origin": "ours", "state": "annotated"}
        connection.execute(sa.insert(tables.tasks).values(**task))
        mine = sa.update(tables.evaluation_utterances).where(tables.evaluation_utterances.c.number == 1)
        steps = {name: [["S", "<b>one</b>", HOSTILE]] for name in ("indic@1", "strict@1")}
        connection.execute(mine.values(ls_project_id=7, ls_task_id=70, hypothesis=HOSTILE, steps=steps))
    return before.id, now.id


def told(capsys: pytest.CaptureFixture[str], serving: Serving, monkeypatch: Any, *words: str) -> Any:
    monkeypatch.setenv("DATA_DIR", str(serving.context.settings.data_dir))
    assert command_line.main([*words]) == 0
    return capsys.readouterr().out


@pytest.fixture
def tell(capsys: Any, serving: Serving, monkeypatch: Any, tmp_path: Path) -> Callable[..., str]:
    monkeypatch.chdir(tmp_path)
    return lambda *words: told(capsys, serving, monkeypatch, *words)


def test_the_routes_give_what_the_commands_give(serving: Serving, scored: tuple[int, int], tell: Any) -> None:
    before, now = scored
    for route, words in (
        ("/api/evaluations?kind=asr", ("list", "--kind", "asr")),
        (f"/api/evaluations/{now}/errors?limit=5", ("errors", str(now), "--limit", "5")),
        (
            f"/api/evaluations/{now}/utterances?sort=errors&against={before}&outcome=better&language=hi&limit=20",
            ("utterances", str(now), "--sort", "errors", "--against", str(before), "--outcome", "better", "--language",
             "hi"),
        ),
    ):  # fmt: skip
        answered = serving.get(route, BEARER)
        assert answered.status_code == 200, answered.json
        said = json.loads(tell("evaluations", *words, "--json"))
        said.pop("next", None)
        shown = {name: value for name, value in answered.json.items() if name != "next"}
        assert len(json.dumps(shown)) > 100
        assert _comparable(shown) == _comparable(said)
    detail = serving.get(f"/api/evaluations/{now}", BEARER).json
    assert detail["wer"] == detail["scores"]["rates"]["indic@1"]["wer"][0]
    one = serving.get(f"/api/evaluations/{now}/utterances/1", BEARER).json
    assert (one["hypothesis"], one["task"]["url"]) == (HOSTILE, "http://ls.example/projects/7/data?task=70")
    text = tell("evaluations", "utterances", str(now), "--word", "word1x0")
    assert "words wrong" in text
    everything = tell("evaluations", "utterances", str(now))
    assert "\u202e" not in everything, "a mark that turns the direction of a line is escaped"


def _comparable(body: dict[str, Any]) -> Any:
    """Without the writing of times, which JSON of a terminal and of a route do not share."""
    return json.loads(
        json.dumps(body, default=str), object_hook=lambda one: {n: v for n, v in one.items() if n != "at"}
    )


def test_a_request_for_review_needs_the_role_a_reason_and_a_task(serving: Serving, scored: tuple[int, int]) -> None:
    _, now = scored
    place = f"/api/evaluations/{now}/utterances"
    assert serving.post(f"{place}/1/review", {"reason": "x"}, BEARER).status_code == 403
    for body in ({}, {"reason": "  "}, {"reason": 3}):
        assert serving.post(f"{place}/1/review", body, OPERATOR).json["code"] == "no-reason"
    refused = serving.post(f"{place}/2/review", {"reason": "x"}, OPERATOR)
    assert (refused.status_code, refused.json["code"]) == (409, "no-task-to-review")
    assert serving.post(f"{place}/99/review", {"reason": "x"}, OPERATOR).status_code == 404
    asked = serving.post(f"{place}/1/review", {"reason": "the reference\nhas the wrong city"}, OPERATOR).json
    assert (asked["by"], asked["why"], asked["ls_task_id"]) == ("shop", "the reference has the wrong city", 70)
    shown = serving.get(f"{place}/1", BEARER).json["task"]["review_asked"]
    assert (shown["by"], shown["why"]) == ("shop", "the reference has the wrong city")
    (job,) = serving.context.db.rows(sa.select(tables.jobs).where(tables.jobs.c.name == "review-again"))
    assert job.arguments == {"task_id": asked["task"]}
