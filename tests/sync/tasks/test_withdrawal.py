"""Tasks of superseded live pieces leave the real Label Studio, except those that somebody has worked on."""

from __future__ import annotations

from ml_backend import tables
from ml_backend.jobs import enqueueing, job_kinds
from tests.sync.conftest import Service

LEFT, WRITTEN, BEGUN = "en-short-price.mp3", "hi-refund-sum.wav", "mr-refund-days.wav"


def test_an_open_task_of_a_superseded_piece_is_deleted_and_one_that_somebody_worked_on_stays(service: Service) -> None:
    project = service.project()
    service.bring(project, LEFT, WRITTEN, BEGUN)
    service.run_jobs()
    _, written, begun = service.rows(tables.tasks)
    body = {"result": [{"from_name": "transcription", "to_name": "audio", "type": "textarea",
                        "value": {"text": ["what a person wrote"]}}]}  # fmt: skip
    with service.context.db.transaction() as connection:
        for recording in service.rows(tables.recordings):
            values = {"source": "live", "state": "superseded", "reason_code": "superseded", "reason": "For the test."}
            connection.execute(
                tables.recordings.update().where(tables.recordings.c.id == recording.id).values(**values)
            )
            enqueueing.enqueue(connection, job_kinds.WITHDRAW_TASKS, key=str(recording.id), recording_id=recording.id)
    service.client.call("POST", f"/api/tasks/{written.ls_task_id}/annotations/", json=body)
    service.client.call("POST", f"/api/tasks/{begun.ls_task_id}/drafts", json=body)  # as the editor saves it
    service.run_jobs()
    assert {task["id"] for task in service.there(project)} == {written.ls_task_id, begun.ls_task_id}
    gone, stays, waits = service.rows(tables.tasks)
    assert waits.state == "open"
    assert (gone.state, gone.reason_code) == ("deleted", "superseded")
    assert stays.state == "annotated"
    assert [row.text for row in service.rows(tables.annotations)] == ["what a person wrote"]
    samples = service.rows(tables.samples)
    assert {(row.task_id, row.state, row.reason_code) for row in samples} == {(stays.id, "excluded", "superseded")}
