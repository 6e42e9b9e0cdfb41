"""A gold task reaches the people it is to measure, and one to be reviewed again one more person, on the real Label
Studio, whether somebody did it before or not."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import tables
from ml_backend.labelling import review_requests
from sync.tasks.task_creation import TaskRequest
from tests.sync.conftest import Service
from tests.sync.label_studio.test_streams import CALLS, annotator, bring, next_task, submit
from training.quality import gold_tasks


def test_a_task_that_was_done_is_handed_to_others_once_it_is_gold(service: Service) -> None:
    project = service.project()
    bring(service, project, (CALLS[0], TaskRequest("review")))
    [task] = service.rows(tables.tasks)
    people = [service.client, annotator(service), annotator(service), annotator(service)]
    submit(people[0], task.ls_task_id)
    service.run_jobs()
    assert next_task(people[1], project) is None

    with service.context.db.transaction() as connection:
        gold_tasks.plant(connection, task.id, "the known answer", people=3)
    service.run_jobs()

    assert service.rows(tables.tasks)[0].state == "open"
    assert next_task(people[0], project) is None, "nobody gets one twice"
    for person in people[1:3]:
        assert next_task(person, project) == task.ls_task_id
        submit(person, task.ls_task_id)
    assert next_task(people[3], project) is None, "three were asked for"
    service.run_jobs()
    assert service.rows(tables.tasks)[0].state == "annotated"


def test_a_task_label_studio_does_not_have_yet_is_made_with_its_people(service: Service) -> None:
    project = service.project()
    service.bring(project, CALLS[0], wish=TaskRequest("review"))
    with service.context.db.transaction() as connection:
        task_id = connection.execute(sa.select(tables.tasks.c.id)).scalar_one()
        gold_tasks.plant(connection, task_id, "the known answer", people=2)
    service.run_jobs()
    [there] = service.client.tasks(project.ls_project_id)
    assert there["overlap"] == 2


def test_an_utterance_sent_to_review_again_goes_to_one_more_person_and_keeps_what_was_written(service: Service) -> None:
    project = service.project()
    bring(service, project, (CALLS[0], TaskRequest("review")))
    [task] = service.rows(tables.tasks)
    people = [service.client, annotator(service), annotator(service)]
    submit(people[0], task.ls_task_id)
    service.run_jobs()
    assert next_task(people[1], project) is None

    place = {"ls_project_id": project.ls_project_id, "ls_task_id": task.ls_task_id}
    with service.context.db.transaction() as connection:
        evaluation_id = _an_evaluation_with_one_utterance(connection, **place)
        asked = review_requests.ask(connection, evaluation_id, 1, who="a person", why="the wrong city")
    assert asked["task"] == task.id
    service.run_jobs()

    [task] = service.rows(tables.tasks)
    assert (task.state, task.overlap, task.review_asked["why"]) == ("open", 2, "the wrong city")
    assert next_task(people[0], project) is None, "nobody gets one twice"
    assert next_task(people[1], project) == task.ls_task_id
    submit(people[1], task.ls_task_id)
    assert next_task(people[2], project) is None, "one more was asked for"
    service.run_jobs()
    assert service.rows(tables.tasks)[0].state == "annotated"
    assert len({row.ls_annotation_id for row in service.rows(tables.annotations)}) == 2


def _an_evaluation_with_one_utterance(connection: Connection, **place: int) -> int:
    version = {"version": "one", "kind": "asr", "location": "x", "manifest": {}, "languages": ["en"]}
    made = sa.insert(tables.model_versions).values(**version).returning(tables.model_versions.c.id)
    scored = {"model_version_id": connection.execute(made).scalar_one(), "scores": {}}
    evaluation = sa.insert(tables.evaluations).values(**scored).returning(tables.evaluations.c.id)
    evaluation_id = int(connection.execute(evaluation).scalar_one())
    texts = {"reference": "pune", "hypothesis": "mumbai", "slices": {}, "counts": {}, "edits": {}, "steps": {}}
    row = {"evaluation_id": evaluation_id, "number": 1, "line_id": "a", "counted": True, "weight": 1.0}
    connection.execute(sa.insert(tables.evaluation_utterances).values(**row, **texts, **place))
    return evaluation_id
