"""A gold task reaches the people it is to measure, on the real Label Studio, whether somebody did it before or not."""

from __future__ import annotations

import sqlalchemy as sa

from ml_backend import tables
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
