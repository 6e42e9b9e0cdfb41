"""Predictions arrive in Label Studio exactly once, whoever brings them."""

from __future__ import annotations

import threading
from datetime import timedelta

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.tables import predictions
from tests.sync.conftest import Service
from tests.sync.tasks.test_task_creation import lossy


def draft(service: Service, project: sa.Row, *calls: str) -> list[int]:
    """Label Studio's own tasks over bundled calls, transcribed and rendered but not yet delivered; gives their ids."""
    settings = service.context.settings
    service.bring(project, *calls)
    service.run_jobs()
    ours = list(service.client.tasks(project.ls_project_id))
    ids = service.client.import_tasks(
        project.ls_project_id, [{"data": {"audio": task["data"]["audio"]}} for task in ours]
    )
    for task in ours:
        service.client.delete_task(task["id"])
    with service.context.db.transaction() as connection:
        enqueueing.enqueue(connection, job_kinds.FIND_TASKS, key="all", project_id=project.id)
    from ml_backend.jobs import runner

    while True:  # everything but the delivery
        runner.run_due(service.context)
        hold = sa.update(tables.jobs).where(tables.jobs.c.name == "push-predictions", tables.jobs.c.state == "waiting")
        with service.context.db.transaction() as connection:
            connection.execute(hold.values(due_at=tables.now() + timedelta(hours=1)))
        ready = sa.select(predictions.c.id).where(predictions.c.delivered_by.is_(None))
        if len(service.context.db.rows(ready)) == len(calls):
            break
    assert settings.predict_wait_s < 1
    return ids


def push(service: Service, project: sa.Row) -> None:
    with service.context.db.transaction() as connection:
        enqueueing.enqueue(
            connection, job_kinds.PUSH_PREDICTIONS, key=str(project.id), due_at=tables.now(), project_id=project.id
        )


def counts(service: Service, project: sa.Row) -> list[int]:
    return [len(task["predictions"]) for task in service.there(project)]


def test_a_draft_that_predict_and_the_push_race_for_arrives_once(service: Service) -> None:
    project = service.project()
    ids = draft(service, project, "en-delivery-noisy.wav", "hi-refund-sum.wav")
    push(service, project)
    opened = threading.Thread(
        target=lambda: service.client.action(project.ls_project_id, "retrieve_tasks_predictions", ids)
    )
    opened.start()
    service.run_jobs(quiet_s=0)
    opened.join(30)

    with service.context.db.transaction() as connection:  # as if the time in which an answer settles had passed
        connection.execute(sa.update(predictions).values(delivered_at=tables.now() - timedelta(minutes=2)))
        enqueueing.enqueue(
            connection, job_kinds.CONFIRM_ANSWERS, key=str(project.id), due_at=tables.now(), project_id=project.id
        )
    service.run_jobs(quiet_s=0)
    assert counts(service, project) == [1, 1]
    assert all(row.confirmed_at for row in service.rows(predictions) if row.delivered_by != "nobody")


def test_a_person_who_opens_the_task_gets_the_draft_that_is_ready(service: Service) -> None:
    project = service.project()
    ids = draft(service, project, "en-delivery-noisy.wav")
    opened = service.client.call("GET", f"/api/tasks/{ids[0]}/")

    assert len(opened["predictions"]) == 1
    [row] = [row for row in service.rows(predictions) if row.delivered_by == "answer"]
    assert row.confirmed_at is None
    push(service, project)
    service.run_jobs(quiet_s=0)
    assert counts(service, project) == [1]


def test_an_answer_label_studio_did_not_keep_is_pushed_later(service: Service) -> None:
    project = service.project()
    draft(service, project, "en-delivery-noisy.wav")
    long_ago = tables.now() - timedelta(minutes=2)
    with service.context.db.transaction() as connection:
        mine = predictions.c.delivered_by.is_(None)
        answered = sa.update(predictions).where(mine).values(delivered_by="answer", delivered_at=long_ago)
        connection.execute(answered)
        enqueueing.enqueue(connection, job_kinds.CONFIRM_ANSWERS, project_id=project.id)
    service.run_jobs(quiet_s=0)

    assert counts(service, project) == [1]


def test_a_push_whose_answer_was_lost_leaves_no_duplicate(service: Service) -> None:
    project = service.project()
    draft(service, project, "en-delivery-noisy.wav", "hi-refund-sum.wav")
    transport = lossy(service, "/import/predictions")
    push(service, project)
    service.run_jobs(quiet_s=12)

    assert transport.left == 0
    assert counts(service, project) == [1, 1]


def test_a_task_deleted_meanwhile_does_not_keep_the_others_from_their_drafts(service: Service) -> None:
    project = service.project()
    ids = draft(service, project, "en-delivery-noisy.wav", "hi-refund-sum.wav")
    service.client.delete_task(ids[0])
    push(service, project)
    service.run_jobs(quiet_s=0)

    assert counts(service, project) == [1]
    assert {row.ls_task_id: row.state for row in service.rows(tables.tasks) if row.ls_task_id in ids} == {
        ids[0]: "deleted",
        ids[1]: "open",
    }
