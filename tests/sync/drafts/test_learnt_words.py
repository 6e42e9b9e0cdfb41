"""From people's corrections to better drafts in Label Studio, without training: minutes, and undone as quickly."""

from __future__ import annotations

import copy
from typing import Any

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.jobs import enqueueing, job_kinds
from tests.sync.conftest import Service
from training.hotwords import hotword_rows

HEARD, MEANT = "order", "Zylofen"
ANNOTATED = ("hi-mixed-order.wav", "hi-mixed-cancel-noisy.wav", "hi-long-complaint.wav", "hi-refund-sum.wav")
OPEN = "hi-late-fan.wav"


def corrected(result: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A draft as a person leaves it who hears one word otherwise."""
    left = copy.deepcopy(result)
    for region in left:
        if region["type"] == "textarea":
            region["value"]["text"] = [text.replace(HEARD, MEANT) for text in region["value"]["text"]]
    return left


def drafts(service: Service, project: sa.Row[Any], ls_task_id: int) -> dict[str, str]:
    """Text by draft label, of what Label Studio has for a task."""
    found = {}
    for prediction in service.client.predictions(ls_task_id):
        texts = [region["value"]["text"] for region in prediction["result"] if region["type"] == "textarea"]
        found[prediction["model_version"]] = " ".join(text for some in texts for text in some)
    return found


def test_a_word_corrected_again_and_again_is_in_the_next_drafts_and_gone_after_its_removal(service: Service) -> None:
    project = service.project(extra_params={"language": "hi", "script_policy": {"hi": "Mixed"}})
    service.bring(project, *ANNOTATED, OPEN)
    service.run_jobs()
    tasks = {task["id"]: task for task in service.there(project)}
    names = {
        row.ls_task_id: next(r.source_identity for r in service.rows(tables.recordings) if r.id == row.recording_id)
        for row in service.rows(tables.tasks)
    }
    [left_open] = [ls_id for ls_id, name in names.items() if name.endswith(OPEN)]
    for ls_id, task in tasks.items():
        if ls_id != left_open:
            [prediction] = task["predictions"]
            body = {"result": corrected(prediction["result"]), "parent_prediction": prediction["id"], "lead_time": 60}
            service.client.call("POST", f"/api/tasks/{ls_id}/annotations/", json=body)
    service.run_jobs()
    with service.context.db.transaction() as connection:
        enqueueing.enqueue(connection, job_kinds.COLLECT_HOTWORDS, key=str(project.id), project_id=project.id)
    service.run_jobs()
    [suggested] = service.rows(tables.hotwords)
    assert (suggested.word, suggested.language, suggested.seen, suggested.state) == (MEANT, "hi", 3, "suggested")

    heard_before = len(enqueueing.find(service.context.db, names=["transcribe-recording"]))
    with service.context.db.transaction() as connection:
        hotword_rows.approve(connection, suggested, who="anna")
    service.run_jobs()
    [approved] = service.rows(tables.hotwords)
    assert (approved.state, approved.check["way"]) == ("approved", "correction"), (approved.reason, approved.check)
    shown = drafts(service, project, left_open)
    assert HEARD in shown["draft-1"]
    assert shown["draft-2"] == shown["draft-1"].replace(HEARD, MEANT)
    assert service.client.project(project.ls_project_id)["model_version"] == "draft-2"
    assert len(enqueueing.find(service.context.db, names=["transcribe-recording"])) == heard_before, (
        "nothing is heard again"
    )

    service.bring(project, "en-delivery-noisy.wav")  # later calls are decoded under the new revision
    service.run_jobs()
    assert service.rows(tables.transcriptions)[-1].decoding["corrections"] == [["hi", HEARD, MEANT]]

    with service.context.db.transaction() as connection:
        hotword_rows.remove(connection, approved, who="anna")
    service.run_jobs()
    label = service.client.project(project.ls_project_id)["model_version"]
    assert label == "draft-3"
    assert drafts(service, project, left_open)[label] == shown["draft-1"]
