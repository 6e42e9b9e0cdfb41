"""Erasing on the real Label Studio: its tasks, drafts and annotations go, and nothing of them is read again."""

from __future__ import annotations

import httpx
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.jobs import enqueueing, job_kinds
from sync.privacy import erasure as privacy
from sync.privacy.subjects import subject_of
from sync.tasks.task_creation import TaskRequest
from tests.sync.conftest import CALLS as BUNDLED
from tests.sync.conftest import Service

MINE, OTHER = "en-short-price.mp3", "hi-refund-sum.wav"


def erase(service: Service, sid: str) -> dict:
    return privacy.erase(service.context, subject_of(service.context.settings, call=sid), who="tester")


def name_call(service: Service, call: str, sid: str) -> int:
    """Tie the recording of a bundled call to a call id, as a call reported by the provider has it."""
    [recording] = [r for r in service.rows(tables.recordings) if r.source_identity.endswith(call)]
    service.context.db.update(tables.recordings, recording.id, call_sid=sid)
    return int(recording.id)


def test_an_erased_calls_task_drafts_and_annotations_are_gone_in_label_studio_and_here(service: Service) -> None:
    project = service.project()
    service.bring(project, MINE, OTHER)
    service.run_jobs()
    recording_id = name_call(service, MINE, "sid-mine")
    [task] = service.rows(tables.tasks, recording_id=recording_id)
    written = {"result": [{"from_name": "transcription", "to_name": "audio", "type": "textarea",
                           "value": {"text": ["what a person wrote"]}}]}  # fmt: skip
    service.client.call("POST", f"/api/tasks/{task.ls_task_id}/annotations/", json=written)
    service.run_jobs()
    assert "what a person wrote" in {row.text for row in service.rows(tables.annotations)}
    heard = service.rows(tables.transcriptions, recording_id=recording_id)[0].text
    done = erase(service, "sid-mine")

    assert [task["data"]["call"] for task in service.there(project)] == [OTHER]
    assert service.rows(tables.tasks, id=task.id)[0].state == "deleted"
    with service.context.db.reading() as connection:
        every = tables.metadata.sorted_tables
        left = "\n".join(str(tuple(row)) for table in every for row in connection.execute(sa.select(table)))
    assert "what a person wrote" not in left
    assert heard not in left
    assert done["counts"]["events"] >= 1, "Label Studio's webhook had carried the text"
    [kept] = service.there(project)
    assert len(kept["predictions"]) == 1

    with service.context.db.transaction() as connection:
        enqueueing.enqueue(connection, job_kinds.FIND_TASKS, project_id=project.id)
    service.run_jobs()
    assert service.rows(tables.tasks, id=task.id)[0].state == "deleted"
    assert len(service.there(project)) == 1


def test_a_task_whose_import_was_never_answered_is_erased_too(service: Service) -> None:
    project = service.project()
    service.bring(project, MINE, wish=TaskRequest("review"))
    service.run_jobs()
    [task] = service.rows(tables.tasks)
    unanswered = {"ls_task_id": None, "data_value": None, "state": "wanted"}  # as a lost answer leaves the row
    service.context.db.update(tables.tasks, task.id, **unanswered)
    assert len(service.there(project)) == 1
    name_call(service, MINE, "sid-mine")
    erase(service, "sid-mine")
    assert service.there(project) == []


def test_an_uploaded_file_cannot_be_fetched_any_more_and_its_place_is_named(service: Service) -> None:
    project = service.project()
    path = BUNDLED / OTHER
    files = {"file": (path.name, path.read_bytes(), "audio/wav")}
    service.client.call("POST", f"/api/projects/{project.ls_project_id}/import", files=files)
    service.run_jobs()
    [recording] = service.rows(tables.recordings)
    assert recording.source == "upload"
    address = recording.source_identity
    assert httpx.get(address, auth=service.client.auth).status_code == 200
    service.context.db.update(tables.recordings, recording.id, call_sid="sid-mine")
    done = erase(service, "sid-mine")

    assert httpx.get(address, auth=service.client.auth).status_code != 200
    [left] = done["report"]["left"]
    assert address.rpartition("/data/")[2] in left
    assert service.there(project) == []
    assert service.context.store.stat(recording.bucket, recording.object_key) is None
