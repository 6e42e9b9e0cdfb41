"""What depends on the database's own ways, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from ml_backend import tables
from tests.ml_backend.api.serving import BEARER, WEBHOOK, Serving, task, texts


@pytest.fixture
def serving(serve: Callable[..., Serving], database_url: str) -> Serving:
    return serve(database_url=database_url)


def at_once(count: int, ask: Callable[[], Any]) -> list[Any]:
    """What so many callers got at the same time."""
    got: list[Any] = []
    threads = [threading.Thread(target=lambda: got.append(ask())) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(got) == count
    return got


def test_a_prediction_is_delivered_once_to_many_requests_at_once(serving: Serving) -> None:
    ids = range(1, 31)
    serving.drafted(*ids, delivered_by=None, delivered_at=None)
    answers = at_once(6, lambda: serving.predict([task(i) for i in ids]))
    assert [sum(1 for entry in column if entry) for column in zip(*answers, strict=True)] == [1] * len(ids)
    assert {row.delivered_by for row in serving.rows(tables.predictions)} == {"answer"}


def test_many_setups_at_once_make_one_row_and_one_job(serving: Serving) -> None:
    assert at_once(20, lambda: serving.setup(extra_params={"language": "hi"}).status_code) == [200] * 20
    assert len(serving.rows(tables.projects)) == 1
    assert [job.name for job in serving.rows(tables.jobs)] == ["sync-project"]


def test_many_misses_at_once_make_one_job(serving: Serving) -> None:
    serving.project()
    assert at_once(10, lambda: serving.predict([task(5)])) == [[[]]] * 10
    assert len(serving.jobs("find-tasks")) == 1


def test_a_stored_answer_is_found_after_more_ids_than_one_query_takes(serving: Serving) -> None:
    serving.drafted(1, 1500)
    answered = texts(serving.predict([task(i) for i in range(1, 1501)]))
    assert (answered[0], answered[-1], set(answered[1:-1])) == ("text of 1", "text of 1500", {None})


@pytest.mark.parametrize("text", ["\x00", "a\x00b", "नमस्ते", "\u200f", "x" * 100_000], ids=range(5))
def test_any_text_in_a_webhook_is_kept(serving: Serving, text: str) -> None:
    event = {"action": text, "annotation": {"result": [{"value": {"text": [text]}}]}}
    assert serving.post("/webhooks/label-studio", event, headers=WEBHOOK).status_code == 200
    assert json.loads(serving.rows(tables.events)[0].body) == event


def test_any_text_in_a_setup_is_stored_or_refused(serving: Serving) -> None:
    for extra in ({"note": "a\x00b"}, {"note": "\u200f"}, {"prompt": "a\x00b"}):
        assert serving.setup(extra_params=extra).status_code in (200, 400)
    assert serving.setup(config="<View>\x00</View>").status_code == 400


def test_jobs_are_listed(serving: Serving) -> None:
    serving.setup()
    (job,) = serving.get("/api/jobs", BEARER).get_json()["jobs"]
    assert job["name"] == "sync-project"
    assert serving.get("/api/jobs?name=a%00b", BEARER).status_code == 400
