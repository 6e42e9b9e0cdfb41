"""Changed wishes re-draft open tasks, and the label moves only when all of them are there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import JobContext
from ml_backend.errors import PermanentError
from ml_backend.jobs import enqueueing, job_kinds, runner
from ml_backend.models import manifest, registry
from sync.drafts.decoding_choice import profile_of
from sync.label_studio.label_studio_client import LabelStudioClient
from sync.projects.project_sync import sync_project
from tests.sync.conftest import Service

CALLS = ("en-delivery-noisy.wav", "hi-refund-sum.wav", "silence.wav")


def wish(service: Service, project: sa.Row[Any], extra_params: Any) -> None:
    """What a person changes in the ML backend's form in Label Studio."""
    settings = service.context.settings
    [backend] = service.client.ml_backends(project.ls_project_id)
    service.client.change_ml_backend(
        backend,
        user=settings.basic_auth_user,
        password=settings.basic_auth_pass.get_secret_value(),
        extra_params=extra_params,
    )
    with service.context.db.transaction() as connection:
        enqueueing.enqueue(connection, job_kinds.SYNC_PROJECT, key=str(project.id), project_id=project.id)


def test_the_label_moves_only_after_every_open_task_has_its_new_draft(service: Service) -> None:
    project = service.project(extra_params={"language": "en"})
    service.bring(project, *CALLS)
    service.run_jobs()
    assert service.client.project(project.ls_project_id)["model_version"] == "draft-1"
    wish(service, project, {"language": "hi"})

    seen = []

    def look(settled: Any) -> None:
        shown = service.client.project(project.ls_project_id)["model_version"]
        versions = [{p["model_version"] for p in task["predictions"]} for task in service.there(project)]
        seen.append((settled.name, shown, all(shown in found for found in versions)))

    while runner.run_due(service.context, wait_s=2.5, on_settled=look).outcomes:
        pass
    assert {"draft-1", "draft-2"} == {shown for _, shown, _ in seen}
    assert all(complete for _, _, complete in seen), seen
    row = service.context.db.row(tables.projects, project.id)
    assert (row.draft_label, row.next_draft_label) == ("draft-2", None)
    assert [sorted(p["model_version"] for p in task["predictions"]) for task in service.there(project)] == [
        ["draft-1", "draft-2"]
    ] * 3
    languages = {row.decoding["language"] for row in service.rows(tables.transcriptions)}
    assert languages == {"en", "hi"}


def test_a_recording_that_can_no_longer_be_heard_does_not_hold_up_the_others(service: Service) -> None:
    project = service.project(extra_params={"language": "en"})
    service.bring(project, "en-delivery-noisy.wav", "hi-refund-sum.wav")
    service.run_jobs()
    lost = service.rows(tables.recordings)[0]
    service.context.store.delete(service.context.settings.audio_bucket, lost.derived_key)
    wish(service, project, {"language": "hi"})

    for _ in range(5):
        if not runner.run_due(service.context, wait_s=2.5).outcomes:
            break
    else:
        pytest.fail("The jobs wake one another for ever.")
    row = service.context.db.row(tables.projects, project.id)
    assert (row.draft_label, row.next_draft_label) == ("draft-2", None)
    found = {task["id"]: {p["model_version"] for p in task["predictions"]} for task in service.there(project)}
    assert sorted(map(sorted, found.values())) == [["draft-1"], ["draft-1", "draft-2"]]
    unheard = next(task for task in service.rows(tables.tasks) if task.recording_id == lost.id)
    assert unheard.reason_code == "audio-missing"


def test_wishes_that_change_nothing_draft_nothing_again(service: Service) -> None:
    project = service.project(extra_params={"language": "en"})
    service.bring(project, "en-delivery-noisy.wav")
    service.run_jobs()
    with service.context.db.transaction() as connection:
        enqueueing.enqueue(connection, job_kinds.REDRAFT_PROJECT, project_id=project.id)
    wish(service, project, {"language": "en"})
    service.run_jobs()

    row = service.context.db.row(tables.projects, project.id)
    assert (row.draft_label, row.next_draft_label) == ("draft-1", None)
    assert len(service.rows(tables.predictions)) == 1


def test_wishes_that_are_wrong_are_refused_where_a_person_types_them(service: Service) -> None:
    project = service.project(extra_params={"language": "en"})
    with pytest.raises(PermanentError):
        wish(service, project, {"beam_size": "many"})
    service.bring(project, "en-delivery-noisy.wav")
    service.run_jobs()

    [task] = service.there(project)
    assert len(task["predictions"]) == 1


def test_wrong_wishes_that_are_stored_already_are_a_reason_on_the_project(service: Service) -> None:
    project = service.project(extra_params={"language": "en"})

    class Wrong(httpx.BaseTransport):
        """Label Studio's answer about the backend, as an older release of ours would have let it be stored."""

        def __init__(self) -> None:
            self._inner = httpx.HTTPTransport()

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            answer = self._inner.handle_request(request)
            if request.method != "GET" or request.url.path != "/api/ml/":
                return answer
            answer.read()
            backends = [{**found, "extra_params": {"beam_size": "many", "language": "en"}} for found in answer.json()]
            return httpx.Response(200, json=backends)

    settings = service.context.settings
    service.context.kept["label-studio"] = LabelStudioClient(
        settings.label_studio_url, settings.label_studio_api_key.get_secret_value(), transport=Wrong()
    )
    context = service.context
    sync_project(JobContext(context.settings, context.db, context.store, context.kept), project.id)

    row = context.db.row(tables.projects, project.id)
    assert row.reason_code == "extra-params-invalid"
    assert "beam_size" in row.reason
    assert profile_of(row, context.settings).decoding.language == "en", "what is right is used"


def test_a_changed_labelling_config_is_read_back_and_the_drafts_follow(service: Service) -> None:
    project = service.project()
    service.bring(project, "en-delivery-noisy.wav")
    service.run_jobs()
    renamed = project.label_config.replace('name="transcription"', 'name="spoken"')
    service.client.change_project(project.ls_project_id, label_config=renamed)
    service.run_jobs()

    row = service.context.db.row(tables.projects, project.id)
    assert row.label_config == renamed
    assert row.draft_label == "draft-2"
    [task] = service.there(project)
    [new] = [p for p in task["predictions"] if p["model_version"] == "draft-2"]
    assert "spoken" in {item["from_name"] for item in new["result"]}


def another_version(service: Service, folder: Path) -> registry.Version:
    """The bundled weights under another name: another version, which hears the same."""
    shutil.copytree(registry.BUNDLED, folder)
    old = manifest.verify(folder)
    manifest.write(
        folder, name="another", languages=old.languages, window=old.window, trained_on="the same", kind=old.kind
    )
    return registry.register(service.context, str(folder))


def test_after_a_promotion_open_tasks_are_drafted_by_the_new_model_before_the_label_moves(
    service: Service, tmp_path: Path
) -> None:
    project = service.project(extra_params={"language": "en"})
    first, _ = service.bring(project, *CALLS[:2])
    service.run_jobs()
    annotated = service.context.db.row(tables.tasks, first)
    service.client.call(
        "POST", f"/api/tasks/{annotated.ls_task_id}/annotations/", json={"result": [], "lead_time": 3.0}
    )
    service.run_jobs()

    version = another_version(service, tmp_path / "another")
    registry.move_alias(service.context, version, expected_revision=1, who="asha", why="better on calls")
    seen = []

    def look(settled: Any) -> None:
        shown = service.client.project(project.ls_project_id)["model_version"]
        there = [task for task in service.there(project) if task["id"] != annotated.ls_task_id]
        seen.append((shown, all(shown in {p["model_version"] for p in task["predictions"]} for task in there)))

    while runner.run_due(service.context, wait_s=2.5, on_settled=look).outcomes:
        pass
    assert [shown for shown, _ in seen][-1] == "draft-2"
    assert all(complete for _, complete in seen), seen
    made = {(row.task_id, row.draft_label): row.model_version for row in service.rows(tables.predictions)}
    assert {version.version} == {name for (_, label), name in made.items() if label == "draft-2"}
    assert (first, "draft-2") not in made, "what was annotated keeps the draft its annotator saw"
