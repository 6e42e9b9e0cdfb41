"""F54-F58: Label Studio down, deaf, slow to answer, or with another token."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.jobs import enqueueing, job_kinds
from tests.faults import checker
from tests.faults.wholes import Whole
from tests.faults.world import PLAIN, until


def sound(whole: Whole) -> None:
    assert checker.wrong(whole.context, sent=whole.history.read(), label_studio=whole.studio) == []


def make_all_due(whole: Whole) -> None:
    """As if the back-off were over."""
    waiting = sa.update(tables.jobs).where(tables.jobs.c.state == "waiting")
    with whole.context.db.transaction() as connection:
        connection.execute(waiting.values(due_at=tables.now()))


def heard(whole: Whole, number: int = 1) -> None:
    """A call is reported and everything is done that needs no Label Studio."""
    whole.report(number)
    whole.run_jobs()
    while any(job.state == "waiting" and not job.attempt for job in whole.rows(tables.jobs, name="create-tasks")):
        make_all_due(whole)  # it waits two seconds for others to join it, which a busy machine may make three
        whole.run_jobs(wait_s=0)


@pytest.mark.guard("failures-are-tried-again")
@pytest.mark.parametrize("fault", ["down", "503", "reset"])
def test_f54_tasks_wait_while_label_studio_is_away_and_arrive_once(whole: Whole, fault: str) -> None:
    if fault == "503":
        whole.studio.refuse = lambda method, path: 503
    else:
        whole.labels.set(**{fault: True})
    heard(whole)
    assert [row.state for row in whole.rows(tables.tasks)] == ["wanted"]
    [create] = whole.rows(tables.jobs, name="create-tasks")
    assert (create.state, create.error_branch) == ("waiting", "retryable")
    assert create.next_step
    whole.labels.heal()
    whole.studio.refuse = lambda method, path: None
    make_all_due(whole)
    whole.run_jobs()
    assert [row.state for row in whole.rows(tables.tasks)] == ["open"]
    assert (len(whole.studio.tasks), len(whole.studio.predictions)) == (1, 1)
    sound(whole)


@pytest.mark.guard("list-of-tasks-is-read")
def test_f55_changes_whose_webhook_was_lost_are_found_by_reading_the_list(whole: Whole) -> None:
    heard(whole)
    [task_id] = whole.studio.tasks
    annotation_id = whole.studio.annotate(task_id, "what was said")
    [project] = whole.rows(tables.projects)

    def read_the_list() -> None:
        with whole.context.db.transaction() as connection:
            enqueueing.enqueue(connection, job_kinds.FIND_TASKS, key=str(project.id), project_id=project.id)
        whole.run_jobs(wait_s=0)

    read_the_list()
    assert [row.ls_annotation_id for row in whole.rows(tables.annotations)] == [annotation_id]
    read_the_list()
    assert whole.count(tables.annotations) == 1
    del whole.studio.annotations[annotation_id]
    read_the_list()
    assert [row.deleted_at is not None for row in whole.rows(tables.annotations)] == [True]
    del whole.studio.tasks[task_id]
    read_the_list()
    assert [row.state for row in whole.rows(tables.tasks)] == ["deleted"]
    sound(whole)


@pytest.mark.guard("a-refused-token-is-a-setting")
def test_f56_a_refused_token_is_one_plain_failure_that_a_person_can_undo(whole: Whole) -> None:
    whole.studio.token_ok = False
    heard(whole)
    [create] = whole.rows(tables.jobs, name="create-tasks")
    assert (create.state, create.error_branch, create.attempt) == ("failed", "configuration", 1)
    assert "LABEL_STUDIO_API_KEY" in create.next_step or "token" in create.next_step
    asked = len(whole.studio.requests)
    whole.run_jobs(wait_s=0.5)
    assert len(whole.studio.requests) == asked  # a wrong token is not tried again and again
    whole.studio.token_ok = True
    whole.context.kept.clear()
    for row in whole.rows(tables.jobs, state="failed"):
        enqueueing.retry(whole.context.db, row.id)
    whole.run_jobs()
    assert [row.state for row in whole.rows(tables.tasks)] == ["open"]
    sound(whole)


@pytest.mark.guard("look-before-importing-again")
@pytest.mark.parametrize("times", [1, 2])
def test_f57_an_import_whose_answer_was_lost_is_looked_up_and_not_repeated(whole: Whole, times: int) -> None:
    left = [times]

    def lose(method: str, path: str) -> bool:
        left[0] -= path.endswith("/import")
        return path.endswith("/import") and left[0] >= 0

    whole.studio.lose_answer = lose
    heard(whole)
    for _ in range(times + 1):
        make_all_due(whole)
        whole.run_jobs()
    assert len(whole.studio.tasks) == 1
    assert [row.state for row in whole.rows(tables.tasks)] == ["open"]
    sound(whole)


@pytest.mark.guard("few-wait-for-a-draft")
def test_f58_sixty_predictions_at_once_are_all_answered_and_the_process_stays_awake(whole: Whole) -> None:
    """Half of them from a project nobody knows, half for tasks without a draft, for which a few wait a minute."""
    whole.environment["PREDICT_WAIT_S"] = "60"
    whole.serve()
    [project] = whole.rows(tables.projects)
    key = whole.environment["BASIC_AUTH_PASS"]

    def ask(number: int) -> tuple[int, Any]:
        place = str(project.ls_project_id) if number % 2 else "4711.1"
        body = {"tasks": [{"id": number + 1, "data": {"audio": "s3://nowhere/a.wav"}}], "project": place, "params": {}}
        with httpx.Client(timeout=60, auth=("label-studio", key), verify=PLAIN) as client:
            answer = client.post(f"{whole.url}/predict", json=body)
            return answer.status_code, answer.json().get("results")

    few = whole.settings.web_threads // 2 - 1
    with ThreadPoolExecutor(60) as pool:
        asked = [pool.submit(ask, number) for number in range(60)]
        try:
            until(lambda: sum(one.done() for one in asked) >= 60 - few)
            assert httpx.get(f"{whole.url}/health", timeout=60, verify=PLAIN).status_code == 200
            answered = [one.result() for one in asked if one.done()]
        finally:
            whole.stop()  # nobody waits for those who still wait
    assert answered == [(200, [[]])] * len(answered)
