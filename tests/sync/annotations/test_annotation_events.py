"""What people submit is read back from Label Studio and kept once per change."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ml_backend import tables
from ml_backend.jobs import enqueueing, job_kinds
from tests.sync.conftest import Service

FIXTURES = sorted((Path(__file__).resolve().parents[2] / "fixtures" / "label-studio").glob("webhook-*.json"))


def said(text: str) -> list[dict[str, object]]:
    return [
        {"id": "t", "from_name": "transcription", "to_name": "audio", "type": "textarea", "value": {"text": [text]}},
        {"id": "q", "from_name": "quality", "to_name": "audio", "type": "choices", "value": {"choices": ["fair"]}},
    ]


def test_a_correction_is_kept_with_its_text_and_the_draft_it_started_from(service: Service) -> None:
    project = service.project()
    service.bring(project, "en-delivery-noisy.wav")
    service.run_jobs()
    [task] = service.there(project)
    body = {"result": said("what was said\n"), "lead_time": 12.5, "parent_prediction": task["predictions"][0]["id"]}
    made = service.client.call("POST", f"/api/tasks/{task['id']}/annotations/", json=body)
    service.run_jobs()

    [annotation] = service.rows(tables.annotations)
    [prediction] = service.rows(tables.predictions)
    assert annotation.ls_annotation_id == made["id"]
    assert (annotation.text, annotation.quality, annotation.lead_time_s) == ("what was said", "fair", 12.5)
    assert annotation.prediction_id == prediction.id
    assert not annotation.before_attach
    assert [row.state for row in service.rows(tables.tasks)] == ["annotated"]


def test_each_change_is_kept_and_a_deletion_opens_the_task_again(service: Service) -> None:
    project = service.project()
    service.bring(project, "en-delivery-noisy.wav")
    service.run_jobs()
    [task] = service.there(project)
    made = service.client.call("POST", f"/api/tasks/{task['id']}/annotations/", json={"result": said("first")})
    service.run_jobs()
    service.client.call("PATCH", f"/api/annotations/{made['id']}/", json={"result": said("second")})
    service.run_jobs()
    assert [row.text for row in service.rows(tables.annotations)] == ["first", "second"]

    service.client.call("DELETE", f"/api/annotations/{made['id']}/")
    service.run_jobs()
    assert all(row.deleted_at for row in service.rows(tables.annotations))
    assert [row.state for row in service.rows(tables.tasks)] == ["open"]


def test_a_draft_in_the_wrong_language_is_replaced_without_a_command(service: Service) -> None:
    project = service.project("calls")
    service.bring(project, "hi-refund-sum.wav")
    service.run_jobs()
    [task] = service.there(project)
    asked = {"id": "r", "from_name": "redraft", "to_name": "audio", "type": "choices", "value": {"choices": ["mr"]}}
    body = {"result": [*task["predictions"][0]["result"], asked], "parent_prediction": task["predictions"][0]["id"]}
    service.client.call("POST", f"/api/tasks/{task['id']}/annotations/", json=body)
    service.run_jobs()

    [after] = service.there(project)
    assert after["id"] == task["id"]
    assert service.client.annotations(task["id"]) == []
    [drafted] = after["predictions"]
    assert drafted["id"] != task["predictions"][0]["id"]
    language = [item["value"]["choices"] for item in drafted["result"] if item["from_name"] == "language"]
    assert language == [["mr"]]
    assert drafted["model_version"] == service.client.project(project.ls_project_id)["model_version"]
    [kept] = service.rows(tables.annotations)
    assert kept.deleted_at is not None
    assert kept.text
    [row] = service.rows(tables.tasks)
    assert (row.state, after["data"]["status"]) == ("open", row.status_line)
    assert "coming" not in after["data"]["status"]


def test_an_annotation_whose_webhook_was_lost_is_found_by_reading_the_list(service: Service) -> None:
    project = service.project()
    service.bring(project, "en-delivery-noisy.wav")
    service.run_jobs()
    [task] = service.there(project)
    [hook] = service.client.webhooks(project.ls_project_id)
    service.client.change_webhook(hook, is_active=False)
    service.client.call("POST", f"/api/tasks/{task['id']}/annotations/", json={"result": said("unseen")})
    service.run_jobs()
    assert service.rows(tables.annotations) == []

    with service.context.db.transaction() as connection:
        enqueueing.enqueue(connection, job_kinds.FIND_TASKS, project_id=project.id)
    service.run_jobs()
    assert [row.text for row in service.rows(tables.annotations)] == ["unseen"]


@pytest.mark.parametrize("file", FIXTURES, ids=[file.stem for file in FIXTURES])
def test_every_recorded_webhook_is_read_without_trouble(service: Service, file: Path) -> None:
    body = json.loads(file.read_text())["request"]["body"]
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    with service.context.db.transaction() as connection:
        values = {"source": "label-studio", "method": "POST", "body": raw, "digest": "0"}
        event_id = connection.execute(tables.events.insert().values(**values)).inserted_primary_key[0]
        enqueueing.enqueue(connection, job_kinds.READ_EVENT, event_id=event_id)
    service.run_jobs(quiet_s=0)

    assert service.context.db.row(tables.events, event_id).state == "read"


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"not json", b"[1]", b'{"action": 7, "project": []}', b'{"tasks": [[[["x"]]]]}',
        b'{"project": {"id": 9223372036854775808}}', b'{"project": true}', b'{"project": 1e999}',
    ],
)  # fmt: skip
def test_an_event_of_any_other_shape_ends_as_a_state(service: Service, raw: bytes) -> None:
    with service.context.db.transaction() as connection:
        values = {"source": "label-studio", "method": "POST", "body": raw, "digest": "0"}
        event_id = connection.execute(tables.events.insert().values(**values)).inserted_primary_key[0]
        enqueueing.enqueue(connection, job_kinds.READ_EVENT, event_id=event_id)
    service.run_jobs(quiet_s=0)

    assert service.context.db.row(tables.events, event_id).state in ("read", "unreadable")
