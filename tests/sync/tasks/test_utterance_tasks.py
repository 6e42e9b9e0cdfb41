"""Utterances that nobody checked -> tasks with a draft on a real Label Studio, and their corrections back."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.labelling.utterance_marks import digest
from ml_backend.models import registry
from sync.label_studio.label_studio_client import LabelStudioClient
from sync.privacy import erasure
from sync.privacy.subjects import subject_of
from tests.sync.conftest import Service

TEXT = "😀 ऑर्डर 77 कहाँ है"
LATIN = "where is my order KA1234"


def put(service: Service, number: int, text: str, **values: Any) -> None:
    """A row as an import leaves it."""
    row = {
        "origin": "u.jsonl", "external_id": f"u-{number}", "source": "auto", "text": text, "intent": "order_status",
        "entities": [], "language": "hi", "script": "Deva", "family": f"f-{number}", "checked": False,
        "digest": digest(text, "order_status", (), "hi"), "state": "accepted", **values,
    }  # fmt: skip
    with service.context.db.transaction() as connection:
        connection.execute(sa.insert(tables.utterances).values(**row))


def call(service: Service, number: int, purpose: str) -> int:
    values = {"provider": "exotel", "call_sid": f"sid-{number}", "consent_purpose": purpose}
    with service.context.db.transaction() as connection:
        made = sa.insert(tables.calls).values(**values).returning(tables.calls.c.id)
        return int(connection.execute(made).scalar_one())


def feed(service: Service, project: Any) -> None:
    with service.context.db.transaction() as connection:
        enqueueing.enqueue(connection, job_kinds.FEED_UTTERANCES, key=str(project.id), project_id=project.id)
    service.run_jobs()


def test_an_utterance_is_drafted_corrected_in_label_studio_and_comes_back_checked(service: Service) -> None:
    put(service, 1, TEXT)
    put(service, 2, LATIN, language="en", script="Latn")
    put(service, 3, "haan", checked=True)
    for number, purpose in ((4, "service"), (5, "training")):
        put(service, number, f"said in call {number}", call_id=call(service, number, purpose))
    project = service.project("nlu")
    assert project.reason is None
    for _ in range(2):
        feed(service, project)

    there = {task["data"]["text"]: task for task in service.there(project)}
    assert there.keys() == {TEXT, LATIN, "said in call 5"}, (
        "what the people of call 4 did not agree to is shown to none"
    )
    for text, task in there.items():  # a draft under the label, and its marks are where the text says
        [drafted] = task["predictions"]
        assert drafted["model_version"] == project.draft_label
        assert drafted["result"]
        for item in drafted["result"]:
            assert item["type"] == "choices" or text[item["value"]["start"] : item["value"]["end"]]
    marked = [i["value"]["text"] for i in there[LATIN]["predictions"][0]["result"] if i["type"] == "labels"]
    assert marked == ["KA1234"]
    serving = registry.champion(service.context, "nlu").version
    rows = service.rows(tables.predictions, project_id=project.id)
    assert {(row.model_version, row.delivered_by) for row in rows} == {(serving, "push")}

    result = [
        {"from_name": "intent", "to_name": "text", "type": "choices", "value": {"choices": ["delivery_time"]}},
        {"from_name": "language", "to_name": "text", "type": "choices", "value": {"choices": ["mr"]}},
        {
            "from_name": "entities", "to_name": "text", "type": "labels",
            "value": {"start": 8, "end": 10, "text": "77", "labels": ["order"]},
        },
    ]  # fmt: skip
    ls_task_id = there[TEXT]["id"]
    service.client.call("POST", f"/api/tasks/{ls_task_id}/annotations/", json={"result": result})
    with service.context.db.transaction() as connection:
        enqueueing.enqueue(connection, job_kinds.FIND_TASKS, key=str(project.id), project_id=project.id)
    service.run_jobs()

    [said] = service.rows(tables.annotations)
    [corrected] = service.rows(tables.utterances, source="correction")
    [asked] = service.rows(tables.utterances, external_id="u-1")
    assert (corrected.text, corrected.intent, corrected.language) == (TEXT, "delivery_time", "mr")
    assert corrected.entities == [{"entity": "order", "start": 8, "end": 10, "value": "77"}]
    assert TEXT[8:10] == "77"
    assert (corrected.checked, corrected.state, corrected.family) == (True, "accepted", "f-1")
    assert (corrected.task_id, corrected.annotation_id) == (asked.task_id, said.id)
    assert (asked.intent, asked.checked) == ("order_status", False)
    assert service.rows(tables.tasks, id=asked.task_id)[0].state == "annotated"
    assert service.rows(tables.samples) == []  # nothing of it is a transcript

    with service.context.db.transaction() as connection:  # another version serves: open tasks are drafted anew
        connection.execute(sa.update(tables.predictions).values(model_version="an-older-one"))
        connection.execute(sa.update(tables.projects).values(redraft=None))
        enqueueing.enqueue(connection, job_kinds.REDRAFT_PROJECT, key=str(project.id), project_id=project.id)
    for _ in range(2):
        service.run_jobs()
        with service.context.db.transaction() as connection:
            enqueueing.enqueue(connection, job_kinds.REDRAFT_PROJECT, key=str(project.id), project_id=project.id)
    service.run_jobs()
    shown = {task["data"]["text"]: {p["model_version"] for p in task["predictions"]} for task in service.there(project)}
    assert shown == {TEXT: {"draft-1"}, LATIN: {"draft-1", "draft-2"}, "said in call 5": {"draft-1", "draft-2"}}
    assert service.context.db.row(tables.projects, project.id).draft_label == "draft-2"


def test_texts_that_a_person_imported_are_drafted_and_their_answers_become_checked_utterances(service: Service) -> None:
    project = service.project("nlu")
    rows = [{"text": TEXT}, {"text": LATIN}, {"text": "  "}]
    service.client.call("POST", f"/api/projects/{project.ls_project_id}/import", json=rows)

    def find() -> None:
        with service.context.db.transaction() as connection:
            enqueueing.enqueue(connection, job_kinds.FIND_TASKS, key=str(project.id), project_id=project.id)
        service.run_jobs()

    for _ in range(2):
        find()
    waiting = {row.text: row for row in service.rows(tables.utterances)}
    assert waiting.keys() == {TEXT, LATIN}, "an empty text asks nothing"
    assert {(row.source, row.state, row.checked) for row in waiting.values()} == {("human", "waiting", False)}
    there = {task["data"]["text"]: task for task in service.there(project)}
    [drafted] = there[LATIN]["predictions"]
    assert drafted["model_version"] == project.draft_label

    place = f"/api/tasks/{there[LATIN]['id']}/annotations/"
    kept = {"result": drafted["result"], "parent_prediction": drafted["id"], "lead_time": 4}
    service.client.call("POST", place, json=kept)
    [other] = there[TEXT]["predictions"]
    changed = [{**item, "value": {"choices": ["refund"]}} if item["from_name"] == "intent" else item
               for item in other["result"]]  # fmt: skip
    place = f"/api/tasks/{there[TEXT]['id']}/annotations/"
    service.client.call("POST", place, json={"result": changed, "parent_prediction": other["id"], "lead_time": 9})
    find()

    serving = registry.champion(service.context, "nlu").version
    corrected = {row.text: row for row in service.rows(tables.utterances, source="correction")}
    assert corrected.keys() == {TEXT, LATIN}
    assert corrected[TEXT].intent == "refund"
    assert {row.model_version for row in corrected.values()} == {serving}, "it says which version drafted it"
    assert {row.checked for row in corrected.values()} == {True}
    said = {row.ls_task_id: (row.edited, row.measures["unchanged"]) for row in service.rows(tables.annotations)}
    assert said == {there[LATIN]["id"]: ("untouched", True), there[TEXT]["id"]: ("edited", False)}
    reasons = {row.text: row.reason_code for row in service.rows(tables.utterances, source="human")}
    assert reasons == {TEXT: "corrected", LATIN: "corrected"}


def test_a_person_who_is_erased_while_the_task_is_imported_is_not_in_label_studio(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(service, 1, LATIN, call_id=call(service, 1, "training"))
    put(service, 2, "somebody else's")
    project = service.project("nlu")
    real = LabelStudioClient.import_tasks

    def erased_meanwhile(client: LabelStudioClient, *given: Any) -> Any:
        subject = subject_of(service.context.settings, call="sid-1")
        erasure.erase(service.context, subject, who="tester", busy_s=0)  # finds nothing there to delete yet
        return real(client, *given)

    monkeypatch.setattr(LabelStudioClient, "import_tasks", erased_meanwhile)
    feed(service, project)
    assert [task["data"]["text"] for task in service.there(project)] == ["somebody else's"]
    [gone] = service.rows(tables.tasks, reason_code="erased")
    assert (gone.state, gone.data_value) == ("deleted", None)
