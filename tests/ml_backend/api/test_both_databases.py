"""What depends on the database's own ways, on SQLite and on PostgreSQL."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from ml_backend import tables
from tests.ml_backend.api.serving import BASIC, BEARER, WEBHOOK, Serving, task, texts

ADMIN, EXOTEL = "admin-token-of-some-length", "exotel-secret-of-some-length"
FILTERS = (
    "annotator", "before", "CallSid", "days", "edited", "kind", "language", "last", "limit", "name", "person",
    "project", "reason_code", "since", "source", "state", "task",
)  # fmt: skip


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


UNSTORABLE = {
    "nul": "a\x00b",
    "half a character": "a\ud800b",
    "a number of 41 bits": 2**40,
    "a number of 63 bits": 2**62,
    "a number of 71 bits": 2**70,
    "a negative number": -(2**63) - 1,
    "long": "9" * 5000,
}


@pytest.mark.parametrize("value", UNSTORABLE.values(), ids=UNSTORABLE)
def test_a_value_that_no_database_holds_is_refused_or_stored_by_every_route(
    serve: Callable[..., Serving], database_url: str, value: Any
) -> None:
    """In the address, in each filter, and in every field of a body."""
    tokens = f"boss:admin:{ADMIN}"
    serving = serve(database_url=database_url, exotel_webhook_secret=EXOTEL, api_tokens=tokens)
    asked, body = escaped(value), json.dumps(every_field(value))  # half a character is an escape there
    failed = {}
    for rule in serving.app.url_map.iter_rules():
        path = re.sub(r"<[^>]+>", EXOTEL if "secret" in rule.arguments else asked, rule.rule)
        who = BASIC | WEBHOOK if "/api/" not in rule.rule else {"Authorization": f"Bearer {ADMIN}"}
        for method in sorted((rule.methods or set()) & {"GET", "POST"}):
            for name in FILTERS if method == "GET" else ("CallSid",):
                for kind in ("application/json", "application/x-www-form-urlencoded")[: 1 + (method == "POST")]:
                    answer = serving.app.test_client().open(
                        f"{path}?{name}={asked}", method=method, headers=who, content_type=kind,
                        data=None if method == "GET" else body,
                    )  # fmt: skip
                    if answer.status_code >= 500 and rule.rule != "/ready":
                        failed[f"{method} {rule.rule} {name} {kind}"] = (answer.status_code, answer.text[:200])
    assert not failed


def escaped(value: Any) -> str:
    return quote(str(value).encode("utf-8", "surrogatepass"), safe="")


def every_field(value: Any) -> dict[str, Any]:
    """One body with what any of our routes reads, each field holding the value."""
    text = str(value)
    one = {"id": value, "data": {"audio": text}, "text": text, "result": [{"value": {"text": [text]}}]}
    records = [{"s3": {"bucket": {"name": text}, "object": {"key": text}}, "eventName": text}]
    return {
        "action": text, "project": value, "tasks": [one], "task": one, "annotation": one, "annotations": [one],
        "label_config": text, "extra_params": {"language": text, "prompt": text, "beam_size": value}, "score": value,
        "schema": text, "hostname": text, "access_token": text, "CallSid": text, "Records": records, "Key": text,
        "EventName": text, "params": {"context": {"result": one}}, "force_reload": value,
    }  # fmt: skip
