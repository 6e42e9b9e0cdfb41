"""Changed wishes re-draft open tasks, and the label moves only when all of them are there."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from ml_backend import jobs, runner, tables
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
        jobs.enqueue(connection, jobs.SYNC_PROJECT, key=str(project.id), project_id=project.id)


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


def test_wishes_that_change_nothing_draft_nothing_again(service: Service) -> None:
    project = service.project(extra_params={"language": "en"})
    service.bring(project, "en-delivery-noisy.wav")
    service.run_jobs()
    with service.context.db.transaction() as connection:
        jobs.enqueue(connection, jobs.REDRAFT_PROJECT, project_id=project.id)
    wish(service, project, {"language": "en"})
    service.run_jobs()

    row = service.context.db.row(tables.projects, project.id)
    assert (row.draft_label, row.next_draft_label) == ("draft-1", None)
    assert len(service.rows(tables.predictions)) == 1


def test_wishes_that_are_wrong_are_a_reason_on_the_project_and_stop_nothing(service: Service) -> None:
    project = service.project()
    service.context.db.update(tables.projects, project.id, extra_params={"beam_size": "many"})
    service.bring(project, "en-delivery-noisy.wav")
    service.run_jobs()

    [task] = service.there(project)
    assert len(task["predictions"]) == 1


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
