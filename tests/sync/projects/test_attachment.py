"""Adopting a Label Studio project that people already work in, and letting it go again."""

from __future__ import annotations

import json
import secrets
from typing import Any

import httpx
import pytest
from werkzeug.wrappers import Request, Response

from ml_backend import tables
from ml_backend.errors import KaanError
from sync.label_studio.label_studio_client import LabelStudioClient
from sync.projects import attachment
from sync.projects.project_sync import project_of
from sync.recordings.sources import storage_path
from tests.sync import web
from tests.sync.conftest import CALLS, Service

THEIRS = """<View>
  <Header value="Transcribe"/>
  <Audio name="recording" value="$sound"/>
  <TextArea name="said" toName="recording"/>
  <Choices name="audio_quality" toName="recording"><Choice value="Good"/><Choice value="Poor"/></Choices>
</View>"""


class FailsOnce(httpx.BaseTransport):
    """Label Studio becomes unreachable at the first request of one kind."""

    def __init__(self, method: str, path_start: str) -> None:
        self._inner, self._method, self._path_start, self.left = httpx.HTTPTransport(), method, path_start, 1

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.left and request.method == self._method and request.url.path.startswith(self._path_start):
            self.left = 0
            raise httpx.ConnectError("gone", request=request)
        return self._inner.handle_request(request)


def existing(service: Service) -> tuple[int, list[int]]:
    """A project of somebody else's: own names, own storage over an existing bucket, two tasks, one annotated."""
    settings, client = service.context.settings, service.client
    bucket = f"call-recordings-{secrets.token_hex(2)}"
    service.context.store.ensure_bucket(bucket)
    for name in ("en-delivery-noisy.wav", "hi-refund-sum.wav"):
        service.context.store.put_file(bucket, f"recordings/2024/05/01/{name}", CALLS / name)
    project_id = client.create_project(title=f"theirs {secrets.token_hex(3)}", label_config=THEIRS)
    client.add_storage("localfiles", project_id, path=storage_path(bucket, settings), title="calls")
    root = storage_path(bucket, settings).removeprefix(settings.label_studio_local_files_root).lstrip("/")
    task_ids = client.import_tasks(
        project_id,
        [
            {"data": {"sound": f"/data/local-files/?d={root}/recordings/2024/05/01/{name}", "note": "kept"}}
            for name in ("en-delivery-noisy.wav", "hi-refund-sum.wav")
        ],
    )
    result = [{"from_name": "said", "to_name": "recording", "type": "textarea", "value": {"text": ["by hand"]}}]
    client.call("POST", f"/api/tasks/{task_ids[1]}/annotations/", json={"result": result})
    return project_id, task_ids


def snapshot(service: Service, project_id: int) -> dict[str, Any]:
    """Everything attaching may change, and what it must not."""
    client = service.client
    project = client.project(project_id)
    tasks = sorted(client.tasks(project_id), key=lambda task: task["id"])
    return {
        "model_version": project["model_version"] or "",
        "config": project["label_config"],
        "title": project["title"],
        "backends": [backend["url"] for backend in client.ml_backends(project_id)],
        "webhooks": [hook["url"] for hook in client.webhooks(project_id)],
        "storages": [storage["title"] for storage in client.storages(project_id)],
        "tasks": [(task["id"], task["data"]) for task in tasks],
        "annotations": [client.annotations(task["id"]) for task in tasks],
    }


def without_age(snap: dict[str, Any]) -> dict[str, Any]:
    return json.loads(
        json.dumps(snap), object_hook=lambda found: {k: v for k, v in found.items() if k != "created_ago"}
    )


def test_a_dry_run_lists_every_change_and_makes_none(service: Service) -> None:
    project_id, _ = existing(service)
    before = snapshot(service, project_id)
    planned = attachment.plan(service.context, project_id)

    assert [change.what for change in planned.changes if change.needed] == [
        "storage",
        "ml-backend",
        "webhook",
        "model-version",
    ]
    assert without_age(snapshot(service, project_id)) == without_age(before)
    assert service.rows(tables.projects) == []


def test_an_existing_project_keeps_its_work_and_its_open_tasks_get_drafts(service: Service) -> None:
    project_id, (open_id, done_id) = existing(service)
    before = snapshot(service, project_id)
    row_id = attachment.attach(service.context, project_id)
    service.run_jobs()

    after = snapshot(service, project_id)
    for kept in ("config", "title", "tasks", "annotations"):
        assert without_age(after)[kept] == without_age(before)[kept]
    assert after["model_version"] == "draft-1"
    [prediction] = service.client.predictions(open_id)
    assert [item["from_name"] for item in prediction["result"] if item["type"] == "textarea"] == ["said"]
    assert service.client.predictions(done_id) == []
    [annotation] = service.rows(tables.annotations)
    assert (annotation.text, annotation.before_attach, annotation.project_id) == ("by hand", True, row_id)
    heard = {row.recording_id for row in service.rows(tables.transcriptions)}
    assert {row.state for row in service.rows(tables.recordings)} == {"ready"}  # datasets cut both
    assert {row.ls_task_id: row.recording_id in heard for row in service.rows(tables.tasks)} == {
        open_id: True, done_id: False,
    }  # fmt: skip
    [sample] = service.rows(tables.samples)
    assert (sample.before_attach, sample.reason_code) == (True, "language-unknown")  # nobody said, nothing was heard
    assert sample.end_s > 0
    planned = attachment.plan(service.context, project_id)
    assert [change.sentence for change in planned.changes if change.needed] == []


def test_detaching_undoes_every_change_and_can_be_repeated(service: Service) -> None:
    project_id, _ = existing(service)
    service.client.change_project(project_id, show_instruction=True)
    before = snapshot(service, project_id)
    attachment.attach(service.context, project_id)
    service.run_jobs()
    said = attachment.detach(service.context, project_id)

    assert len(said) == 4
    assert without_age(snapshot(service, project_id)) == without_age(before)
    assert attachment.detach(service.context, project_id) == []


def test_a_detached_project_can_be_attached_again(service: Service) -> None:
    project_id, (open_id, _) = existing(service)
    attachment.attach(service.context, project_id)
    service.run_jobs()
    attachment.detach(service.context, project_id)
    attachment.attach(service.context, project_id)
    service.run_jobs()

    assert len(service.client.predictions(open_id)) == 1
    after = snapshot(service, project_id)
    assert after["model_version"] == "draft-1"
    assert after["backends"] == [service.url]
    assert after["webhooks"] == [f"{service.url}/webhook"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/api/storages/"), ("POST", "/api/ml/"), ("PATCH", "/api/webhooks/")],
)
def test_an_attach_that_was_cut_is_finished_by_the_next_one_and_still_undone(
    service: Service, method: str, path: str
) -> None:
    project_id, _ = existing(service)
    before = snapshot(service, project_id)
    settings = service.context.settings
    transport = FailsOnce(method, path)
    client = LabelStudioClient(
        settings.label_studio_url, settings.label_studio_api_key.get_secret_value(), transport=transport
    )
    service.context.kept["label-studio"] = client
    with pytest.raises(KaanError):
        attachment.attach(service.context, project_id)
    assert transport.left == 0
    attachment.attach(service.context, project_id)

    between = snapshot(service, project_id)
    assert between["backends"] == [service.url]
    assert between["webhooks"] == [f"{service.url}/webhook"]
    assert sorted(between["storages"]) == ["Kaan", "calls"]
    attachment.detach(service.context, project_id)
    assert without_age(snapshot(service, project_id)) == without_age(before)


def test_the_webhook_carries_its_secret_and_nobody_without_it_is_heard(service: Service) -> None:
    project = service.project()
    [hook] = service.client.webhooks(project.ls_project_id)

    assert hook["headers"] == {
        "X-Webhook-Secret": service.context.settings.label_studio_webhook_secret.get_secret_value()
    }
    refused = httpx.post(hook["url"], json={"action": "TASKS_CREATED"})
    assert refused.status_code == 401


def test_another_ml_backend_that_is_first_is_warned_about(service: Service) -> None:
    def answer(request: Request) -> Response:
        body = {"model_version": "other-1"} if request.path == "/setup" else {"status": "UP"}
        return Response(json.dumps(body), mimetype="application/json")

    project_id, _ = existing(service)
    with web.serving(answer) as other:
        service.client.add_ml_backend(project_id, url=other.url, title="Theirs", user="", password="")
        planned = attachment.plan(service.context, project_id)
        assert any("Theirs" in warning and "first" in warning for warning in planned.warnings)
        attachment.attach(service.context, project_id)
        attachment.detach(service.context, project_id)

        assert [backend["url"] for backend in service.client.ml_backends(project_id)] == [other.url]
        assert service.client.project(project_id)["model_version"] == "Theirs"


def test_creating_a_project_twice_gives_the_same_one(service: Service) -> None:
    title = f"twice {secrets.token_hex(3)}"
    first = attachment.create(service.context, config=THEIRS, title=title)
    second = attachment.create(service.context, config=THEIRS, title=title)

    assert first == second
    assert len(service.client.projects_titled(title)) == 1


def test_a_project_we_only_met_through_setup_is_adopted_with_its_row(service: Service) -> None:
    project_id, _ = existing(service)
    settings = service.context.settings
    service.client.add_ml_backend(
        project_id,
        url=service.url,
        title="by hand",
        user=settings.basic_auth_user,
        password=settings.basic_auth_pass.get_secret_value(),
    )
    [met] = service.rows(tables.projects)
    assert met.state == "seen"
    assert attachment.attach(service.context, project_id) == met.id
    with service.context.db.reading() as connection:
        row = project_of(connection, settings.label_studio_url, project_id)
    assert row is not None
    assert row.state == "attached"
    attachment.detach(service.context, project_id)
    assert [backend["title"] for backend in service.client.ml_backends(project_id)] == ["by hand"]
