"""What somebody changes in Label Studio's tasks reaches our rows, and the drafts follow."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.errors import RetryableError
from ml_backend.jobs import enqueueing, job_kinds
from sync.tasks.prediction_push import withdraw
from tests.sync.conftest import Service


def test_a_task_whose_audio_is_replaced_gets_a_draft_of_the_new_audio_and_keeps_none_of_the_old(
    service: Service,
) -> None:
    project = service.project()
    service.bring(project, "en-delivery-noisy.wav", "hi-refund-sum.wav")
    service.run_jobs()
    changed, model = service.there(project)
    [old], [expected] = changed["predictions"], model["predictions"]
    assert old["result"] != expected["result"]
    with service.context.db.transaction() as connection:  # answered long ago, and nobody saw it arrive
        row = sa.update(tables.predictions).where(tables.predictions.c.id == service.rows(tables.predictions)[0].id)
        ago = tables.now() - timedelta(hours=1)
        connection.execute(row.values(delivered_by="answer", delivered_at=ago, confirmed_at=None))

    service.client.change_task_data(changed["id"], {**changed["data"], "audio": model["data"]["audio"]})
    with service.context.db.transaction() as connection:
        enqueueing.enqueue(connection, job_kinds.FIND_TASKS, key=str(project.id), project_id=project.id)
    service.run_jobs()

    [found] = next(task for task in service.there(project) if task["id"] == changed["id"])["predictions"]
    texts = [_text(prediction) for prediction in (found, expected)]
    assert texts[0] == texts[1]
    assert found["id"] != old["id"]
    kept = sorted(row.draft_label for row in service.rows(tables.predictions))
    assert [label.partition("-")[0] for label in kept] == ["draft", "draft", "withdrawn"]
    assert [row.id for row in service.rows(tables.predictions) if row.confirmed_at is None] == []


def test_a_draft_on_its_way_is_not_taken_back_before_it_has_arrived(service: Service) -> None:
    project = service.project()
    service.bring(project, "en-delivery-noisy.wav")
    service.run_jobs()
    with service.context.db.transaction() as connection:
        connection.execute(sa.update(tables.predictions).values(confirmed_at=None, delivered_at=tables.now()))
    [task] = service.rows(tables.tasks)

    with pytest.raises(RetryableError):
        withdraw(service.context, service.client, task)
    assert len(service.there(project)[0]["predictions"]) == 1


def _text(prediction: dict[str, object]) -> object:
    result = prediction["result"]
    assert isinstance(result, list)
    return next(item["value"]["text"] for item in result if item["type"] == "textarea")
