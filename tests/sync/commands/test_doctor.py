"""The doctor finds Label Studio's own traps and says what to do about each."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from pydantic import SecretStr

from ml_backend import tables
from ml_backend.settings import Settings
from sync.commands import doctor
from tests.sync.conftest import Service
from tests.sync.projects.test_project_sync import wish


def look(settings: Settings) -> dict[str, list[doctor.Finding]]:
    found: dict[str, list[doctor.Finding]] = {}
    for finding in doctor.examine(settings):
        found.setdefault(finding.world, []).append(finding)
    return found


def failures(found: dict[str, list[doctor.Finding]], world: str) -> list[str]:
    return [finding.sentence for finding in found[world] if finding.state == doctor.FAIL]


def test_a_service_in_order_has_nothing_to_mend_but_redis(service: Service) -> None:
    project = service.project()
    service.bring(project, "en-delivery-noisy.wav")
    service.run_jobs()
    found = look(service.context.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}))

    assert [world for world in found if failures(found, world)] == ["redis"]
    assert found[f"project {project.ls_project_id}"][0].state == doctor.OK
    assert all(finding.next_step for finding in found["redis"])


def test_a_half_made_backend_without_its_webhook_is_found(service: Service) -> None:
    project = service.project()
    [hook] = service.client.webhooks(project.ls_project_id)
    service.client.delete_webhook(hook["id"])
    found = look(service.context.settings)[f"project {project.ls_project_id}"]

    assert any("half made" in finding.sentence and "private addresses" in finding.next_step for finding in found)


def test_a_missing_storage_a_missing_backend_and_a_strange_label_are_found(service: Service) -> None:
    project = service.project()
    service.bring(project, "en-delivery-noisy.wav")
    service.run_jobs()
    world = f"project {project.ls_project_id}"
    [storage] = service.client.storages(project.ls_project_id)
    service.client.delete_storage("localfiles", storage["id"])
    service.client.change_project(project.ls_project_id, model_version="")
    assert len(failures(look(service.context.settings), world)) == 2

    [backend] = service.client.ml_backends(project.ls_project_id)
    service.client.delete_ml_backend(backend["id"])
    assert "Our ML backend is not connected." in failures(look(service.context.settings), world)


def test_a_refused_token_is_told_by_its_kind(service: Service) -> None:
    legacy = service.context.settings.model_copy(update={"label_studio_api_key": SecretStr("0" * 40)})
    [sentence] = failures(look(legacy), "label studio")
    assert "legacy token" in sentence


def test_a_project_deleted_in_label_studio_is_told(service: Service) -> None:
    project = service.project()
    service.client.call("DELETE", f"/api/projects/{project.ls_project_id}/")
    [sentence] = failures(look(service.context.settings), f"project {project.ls_project_id}")
    assert "no such project" in sentence
    with service.context.db.reading() as connection:
        assert connection.execute(sa.select(tables.projects.c.state)).scalar() == "attached"


def test_what_the_model_cannot_hold_is_told_by_project_list_and_doctor_until_it_is_shortened(
    service: Service, kaan: Any
) -> None:
    said = {"language": "en", "hotwords": ["Kaan", "Nerve"], "prompt": "please confirm the address again " * 55}
    project = service.project(extra_params=said)
    world = f"project {project.ls_project_id}"

    def told() -> tuple[str | None, str, list[doctor.Finding]]:
        """The row's reason code, the project's line of `project list`, and what doctor has to say of the wishes."""
        [line] = [
            each for each in kaan("project", "list")[1].splitlines() if each.startswith(f"{project.ls_project_id} ")
        ]
        found = [each for each in look(service.context.settings)[world] if "left out" in each.sentence]
        return service.context.db.row(tables.projects, project.id).reason_code, line, found

    assert len(told()[2]) == 1, "doctor, which has the model, knows before anything was transcribed"
    service.bring(project, "en-delivery-noisy.wav")
    service.run_jobs()
    code, line, [finding] = told()
    assert code == "context-cut"
    assert finding.sentence in line, line
    assert "of 275 words of the prompt are left out" in finding.sentence
    assert "extra params" in finding.next_step

    wish(service, project, {**said, "prompt": "please confirm the address"})
    service.run_jobs()
    code, line, found = told()
    assert (code, found) == (None, [])
    assert "left out" not in line
