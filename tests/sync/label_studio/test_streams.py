"""Who gets which task next, on the real Label Studio: the second annotator, and the most useful task first."""

from __future__ import annotations

import re
import secrets
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.errors import PermanentError
from ml_backend.jobs import enqueueing, job_kinds
from sync.label_studio import streams
from sync.label_studio.label_studio_client import LabelStudioClient
from sync.label_studio.streams import ORDERING, TAB
from sync.recordings.sources import RecordingSource, add_recording
from sync.tasks.task_creation import TaskRequest, create_tasks
from tests.sync.conftest import CALLS as BUNDLED
from tests.sync.conftest import Service
from tests.sync.tasks.test_task_creation import lossy

CALLS = ("en-short-price.mp3", "hi-refund-sum.wav", "hi-late-fan.wav")


def annotator(service: Service) -> LabelStudioClient:
    """A further user of the same organisation, signed up through the invitation link."""
    link = service.client.call("GET", "/api/invite")["invite_url"]
    form = {"email": f"a{secrets.token_hex(4)}@kaan.example", "password": secrets.token_urlsafe(12)}
    with httpx.Client(base_url=service.client.url, follow_redirects=True, timeout=60) as browser:
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', browser.get(link).text)
        form |= {"csrfmiddlewaretoken": found[1] if found else "", "allow_newsletters": ""}
        browser.post(link, data=form, headers={"Referer": service.client.url}).raise_for_status()
        headers = {"X-CSRFToken": browser.cookies.get("csrftoken", ""), "Referer": service.client.url}
        token = browser.post("/api/token/", headers=headers, json={}).json()["token"]
    return LabelStudioClient(service.client.url, token)


def next_task(client: LabelStudioClient, project: sa.Row[Any], body: dict[str, Any] | None = None) -> int | None:
    """What the label stream opens: the request the editor sends for "Label All Tasks", or for a tab's order."""
    params = {"id": "next_task", "project": project.ls_project_id}
    try:
        return int(client.call("POST", "/api/dm/actions", params=params, json=body or {})["id"])
    except PermanentError as error:
        if error.code != "http-missing":  # nothing is left
            raise
        return None


def submit(client: LabelStudioClient, task_id: int) -> None:
    client.call("POST", f"/api/tasks/{task_id}/annotations/", json={"result": [], "lead_time": 1.0})


def bring(service: Service, project: sa.Row[Any], *wanted: tuple[str, TaskRequest]) -> None:
    for call, wish in wanted:
        service.bring(project, call, wish=wish)
    service.run_jobs()


def by_call(service: Service, project: sa.Row[Any]) -> dict[str, int]:
    return {task["data"]["call"]: int(task["id"]) for task in service.client.tasks(project.ls_project_id)}


def test_a_task_for_two_goes_to_a_second_annotator_and_not_to_a_third(service: Service) -> None:
    project = service.project()
    bring(service, project, (CALLS[0], TaskRequest("review", overlap=2, usefulness=0.9)))
    [task] = service.rows(tables.tasks)
    people = [service.client, annotator(service), annotator(service)]

    assert next_task(people[0], project) == task.ls_task_id
    submit(people[0], task.ls_task_id)
    service.run_jobs()
    assert service.rows(tables.tasks)[0].state == "open", "one of two is not enough"
    bring(service, project, (CALLS[1], TaskRequest("review", usefulness=0.1)))  # an import in between changes nothing
    other = by_call(service, project)[CALLS[1]]
    assert next_task(people[1], project) == task.ls_task_id
    submit(people[1], task.ls_task_id)
    assert next_task(people[2], project) == other
    submit(people[2], other)
    assert [next_task(person, project) for person in people] == [None, None, None]
    service.run_jobs()
    assert [row.state for row in service.rows(tables.tasks)] == ["annotated", "annotated"]


def test_two_annotators_on_a_task_for_two_at_once_keep_a_third_away(service: Service) -> None:
    project = service.project()
    bring(service, project, (CALLS[0], TaskRequest("review", overlap=2)))
    people = [service.client, annotator(service), annotator(service)]
    [task] = service.rows(tables.tasks)
    assert [next_task(person, project) for person in people] == [task.ls_task_id, task.ls_task_id, None]


def test_a_task_for_two_whose_import_was_never_answered_still_goes_to_two(service: Service) -> None:
    project = service.project()
    service.bring(project, CALLS[0], wish=TaskRequest("review", overlap=2))
    transport = lossy(service, "/import")
    service.run_jobs(quiet_s=8)

    assert transport.left == 0, "the test lost no answer"
    [task] = service.rows(tables.tasks)
    first, second = service.client, annotator(service)
    submit(first, task.ls_task_id)
    assert next_task(second, project) == task.ls_task_id


def test_within_an_import_the_label_stream_begins_with_the_most_useful(service: Service) -> None:
    project = service.project()
    bring(
        service,
        project,
        *[(call, TaskRequest("review", usefulness=u)) for call, u in zip(CALLS, (0.2, 0.9, 0.5), strict=True)],
    )

    ids = by_call(service, project)
    seen = []
    while (task_id := next_task(service.client, project)) is not None:
        submit(service.client, task_id)
        seen.append(task_id)
    assert seen == [ids[CALLS[1]], ids[CALLS[2]], ids[CALLS[0]]]


def test_in_our_tab_a_later_more_useful_import_comes_before_earlier_less_useful_ones(service: Service) -> None:
    project = service.project()
    bring(
        service,
        project,
        (CALLS[0], TaskRequest("review", usefulness=0.05)),
        (CALLS[1], TaskRequest("review", usefulness=0.5)),
    )
    bring(service, project, (CALLS[2], TaskRequest("review", usefulness=0.73)))

    ids = by_call(service, project)
    [tab] = service.client.call("GET", "/api/dm/views/", params={"project": project.ls_project_id})
    assert tab["data"]["title"] == TAB
    shown = {"ordering": tab["data"]["ordering"], "filters": {"conjunction": "and", "items": []}}
    seen = []
    while (task_id := next_task(service.client, project, shown)) is not None:
        submit(service.client, task_id)
        seen.append(task_id)
    assert seen == [ids[CALLS[2]], ids[CALLS[1]], ids[CALLS[0]]]


def test_what_is_finished_leaves_the_tab_and_what_wants_a_second_person_stays(service: Service) -> None:
    project = service.project()
    bring(service, project, (CALLS[0], TaskRequest("review")), (CALLS[1], TaskRequest("review", overlap=2)))
    bring(service, project, (CALLS[2], TaskRequest("review")))
    ids = by_call(service, project)
    [tab] = service.client.call("GET", "/api/dm/views/", params={"project": project.ls_project_id})

    def shown() -> set[int]:
        found = service.client.call("GET", "/api/tasks/", params={"view": tab["id"], "page_size": 100})
        return {int(task["id"]) for task in found["tasks"]}

    assert shown() == set(ids.values())
    submit(service.client, ids[CALLS[0]])
    submit(service.client, ids[CALLS[1]])
    assert shown() == {ids[CALLS[1]], ids[CALLS[2]]}
    submit(annotator(service), ids[CALLS[1]])
    assert shown() == {ids[CALLS[2]]}


def test_the_task_list_shows_how_long_in_which_language_and_how_many_words_are_unsure(service: Service) -> None:
    project = service.project("calls")
    bring(service, project, (CALLS[1], TaskRequest("review")), (CALLS[2], TaskRequest("blind", blind=True)))
    recordings = {row.source_identity.rpartition("/")[2]: row for row in service.rows(tables.recordings)}
    data = {task["data"]["call"]: task["data"] for task in service.client.tasks(project.ls_project_id)}
    drafted, blind = data[CALLS[1]], data[CALLS[2]]
    for call, found in ((CALLS[1], drafted), (CALLS[2], blind)):
        minutes, seconds = divmod(round(recordings[call].duration_s), 60)
        assert found["duration"] == f"{minutes:02d}:{seconds:02d}"
    assert drafted["language"] == recordings[CALLS[1]].language
    assert isinstance(drafted["unsure_words"], int)
    assert {"language", "unsure_words"}.isdisjoint(blind)


def test_a_blind_task_has_empty_regions_where_somebody_speaks_and_never_a_word(service: Service) -> None:
    project = service.project("calls")
    bring(service, project, (CALLS[0], TaskRequest("blind", blind=True)))
    [task] = service.there(project)
    [recording] = service.rows(tables.recordings)
    [prediction] = task["predictions"]
    places = [(item["value"]["start"], item["value"]["end"]) for item in prediction["result"]]
    assert places == [(start_s, min(end_s, recording.duration_s)) for start_s, end_s, _ in recording.speech]
    assert {item["type"] for item in prediction["result"]} == {"labels"}
    body = {"result": prediction["result"], "lead_time": 1.0, "parent_prediction": prediction["id"]}
    service.client.call("POST", f"/api/tasks/{task['id']}/annotations/", json=body)
    service.run_jobs()
    [annotation] = service.rows(tables.annotations)
    assert (annotation.edited, annotation.draft, annotation.model_version) == ("manual", None, None)


def test_the_tab_is_made_once_and_everybody_has_it(service: Service) -> None:
    project = service.project()
    assert not streams.add_tab(service.client, project.ls_project_id)
    tabs = annotator(service).call("GET", "/api/dm/views/", params={"project": project.ls_project_id})
    assert [tab["data"]["ordering"] for tab in tabs] == [ORDERING]


@pytest.mark.parametrize("times", [1, 2])
def test_an_import_of_pieces_whose_answer_was_lost_makes_no_second_task(service: Service, times: int) -> None:
    project = service.project("calls")
    service.bring(project, CALLS[0])
    service.run_jobs()
    [recording] = service.rows(tables.recordings)
    key = recording.derived_key
    spans = [[0.0, 1.0, key], [1.0, 2.0, key], [2.0, recording.duration_s, key]]
    second = service.project("calls")
    service.context.db.update(tables.recordings, recording.id, spans=spans)
    transport = lossy(service, "/import", times)
    service.bring(second, CALLS[0])
    service.run_jobs(quiet_s=12)

    assert transport.left < times, "the test lost no answer"
    there = service.there(second)
    assert [len(task["predictions"]) for task in there] == [1, 1, 1]
    mine = [row for row in service.rows(tables.tasks, project_id=second.id) if row.end_s is not None]
    assert sorted(row.ls_task_id for row in mine) == sorted(task["id"] for task in there)
    create_tasks(service.context, second.id)  # type: ignore[arg-type]  # nothing is left to do
    assert len(service.there(second)) == 3


def test_label_studio_gets_no_draft_of_a_blind_task_however_it_asks(service: Service) -> None:
    project = service.project()
    bring(service, project, (CALLS[0], TaskRequest("blind", blind=True)), (CALLS[1], TaskRequest("review")))
    ids = by_call(service, project)
    blind, other = ids[CALLS[0]], ids[CALLS[1]]
    for task_id in (blind, other):  # reading a task without predictions makes Label Studio ask /predict
        service.client.call("GET", f"/api/tasks/{task_id}/")
    service.client.action(project.ls_project_id, "retrieve_tasks_predictions", [blind, other])
    service.run_jobs()
    assert service.client.predictions(blind) == []
    assert len(service.client.predictions(other)) == 1
    data = {"id": blind, "data": {"audio": service.rows(tables.tasks, ls_task_id=blind)[0].data_value}}
    asked = {"tasks": [data], "project": f"{project.ls_project_id}.1", "label_config": project.label_config}
    settings = service.context.settings
    who = (settings.basic_auth_user, settings.basic_auth_pass.get_secret_value())
    for more in ({}, {"params": {"context": {"result": []}}}):  # the label stream, and interactive
        answer = httpx.post(f"{service.url}/predict", json={**asked, **more}, auth=who)
        assert answer.json() == {"results": [[]]}


def test_a_recording_nobody_asked_for_is_selected_and_appears_with_its_draft_and_its_usefulness(
    service: Service,
) -> None:
    project = service.project()
    service.context.db.update(tables.projects, project.id, selection={"review": "all", "audit_share": 0})
    service.context.store.ensure_bucket("call-recordings")
    service.context.store.put_file("call-recordings", f"recordings/2026/11/02/{CALLS[0]}", BUNDLED / CALLS[0])
    with service.context.db.transaction() as connection:
        source = RecordingSource("object", f"s3://call-recordings/recordings/2026/11/02/{CALLS[0]}")
        recording_id, _ = add_recording(connection, source)
        enqueueing.enqueue(connection, job_kinds.INGEST_RECORDING, key=str(recording_id), recording_id=recording_id)
    service.run_jobs()
    [task] = service.there(project)
    [row] = service.rows(tables.tasks)
    assert len(task["predictions"]) == 1
    assert (row.selection_reason, row.selection_probability, row.state) == ("all", 1.0, "open")
    assert float(task["data"]["usefulness"]) == pytest.approx(row.usefulness, abs=0.001)
