"""Every recorded exchange of Label Studio with a backend, replayed."""

from __future__ import annotations

from typing import Any

import pytest

from ml_backend import tables
from tests.ml_backend.api.serving import BASIC, FIXTURES, WEBHOOK, Serving, exchange

RECORDED = sorted(path.stem for path in FIXTURES.glob("ml-*.json"))


def replay(serving: Serving, name: str) -> Any:
    request = exchange(name)["request"]
    headers = {**request["headers"], **(BASIC if "Authorization" in request["headers"] else {})}
    body = request["body"] if isinstance(request["body"], dict) else None
    return serving.app.test_client().open(request["path"], method=request["method"], headers=headers, json=body)


def test_the_recordings_are_there() -> None:
    assert {"ml-health", "ml-setup", "ml-predict-open-task", "ml-predict-batch", "ml-versions"} <= set(RECORDED)


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_exchange_is_answered_as_label_studio_needs_it(serving: Serving, name: str) -> None:
    recorded = exchange(name)
    answer = replay(serving, name)
    if recorded["response"]["status"] == 401:
        assert answer.status_code == 401
        return
    assert 200 <= answer.status_code < 300
    assert answer.mimetype == "application/json"
    body = answer.get_json()
    assert set(body) >= {"status", "results", "model_version", "versions"} & set(recorded["response"]["body"])
    if "results" in body:
        assert len(body["results"]) == len(recorded["request"]["body"]["tasks"])
    if "model_version" in body:
        assert isinstance(body["model_version"], str)
        assert body["model_version"]


def test_the_whole_dialogue_of_opening_a_task_gives_the_stored_draft(serving: Serving) -> None:
    recorded = exchange("ml-predict-open-task")["request"]["body"]
    config, asked = recorded["label_config"], recorded["tasks"][0]
    assert replay(serving, "ml-health").get_json()["status"] == "UP"
    label = replay(serving, "ml-setup").get_json()["model_version"]
    project = serving.rows(tables.projects)[0]
    assert project.label_config == config
    task_id = serving.task(project.id, asked["id"], data_value=asked["data"]["audio"])
    serving.prediction(project.id, task_id, config_sha256=project.config_sha256, draft_label=label)
    results = replay(serving, "ml-predict-open-task").get_json()["results"]
    assert [entry["model_version"] for entry in results] == [label]


def test_start_training_becomes_one_job_row_and_names_it(serving: Serving) -> None:
    first, second = replay(serving, "ml-webhook-start-training"), replay(serving, "ml-webhook-start-training")
    waiting = serving.jobs("train")
    assert [first.get_json()["job"], second.get_json()["job"]] == [str(waiting[0].id)] * 2
    assert len(waiting) == 1


def test_start_training_is_not_opened_by_the_webhook_secret(serving: Serving) -> None:
    body = exchange("ml-webhook-start-training")["request"]["body"]
    assert serving.post("/webhook", body, headers=WEBHOOK).status_code == 401
    assert serving.jobs("train") == []


@pytest.mark.parametrize("name", sorted(path.stem for path in FIXTURES.glob("webhook-*.json")))
@pytest.mark.parametrize("path", ["/webhook", "/webhooks/label-studio"])
def test_a_recorded_webhook_is_stored_with_its_job_and_without_secrets(serving: Serving, name: str, path: str) -> None:
    body = exchange(name)["request"]["body"]
    assert serving.post(path, body, headers=WEBHOOK).status_code == 200
    (event,) = serving.rows(tables.events)
    assert event.action == body["action"]
    (job,) = serving.jobs("read-event")
    assert job.arguments == {"event_id": event.id}
    for secret in (b'"token"', b"task_data_login", b"task_data_password"):
        assert secret not in event.body


def test_versions_lists_the_draft_labels(serving: Serving) -> None:
    serving.project(draft_label="draft-4")
    assert serving.get("/versions", BASIC).get_json() == {"versions": ["draft-4"]}
    assert serving.post("/versions", {"project": "23.1"}).get_json() == {"versions": ["draft-4"]}
    assert serving.post("/versions", {"project": "24.1"}).get_json() == {"versions": []}
