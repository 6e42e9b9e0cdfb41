"""The receiver dies again and again while people work: what it acknowledged is kept, and nothing else is needed."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.jobs import enqueueing, job_kinds, runner
from ml_backend.labelling import labelconfig
from sync.projects import attachment
from tests.faults import label_studio, world
from tests.faults.label_studio import FakeLabelStudio
from tests.faults.storms import supervised
from tests.patience import until
from tests.servers import postgres

SECRET = "hook-secret-of-this-test-" + "0" * 8
TASKS, ACTS, KILLS = 60, 200, 4
HEARD = 12  # answers of each receiver, at the least, before it is killed


@pytest.fixture
def studio() -> Iterator[FakeLabelStudio]:
    with label_studio.running() as fake:
        yield fake


@pytest.fixture(params=["sqlite", "postgresql"])
def there(request: pytest.FixtureRequest, tmp_path: Path, studio: FakeLabelStudio) -> Iterator[world.World]:
    port, stack = world.free_port(), contextlib.ExitStack()
    settings = {
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "LABEL_STUDIO_URL": studio.url,
        "LABEL_STUDIO_API_KEY": label_studio.TOKEN,
        "LABEL_STUDIO_WEBHOOK_SECRET": SECRET,
        "LABEL_STUDIO_LOCAL_FILES_ROOT": str(tmp_path),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "PORT": str(port),
        "HOST": "127.0.0.1",
    }
    with stack:
        if request.param == "postgresql":
            settings["DATABASE_URL"] = stack.enter_context(postgres.running()).database()
        made = stack.enter_context(world.running(tmp_path, **settings))
        made.port = port
        yield made


def test_a_receiver_killed_under_load_loses_nothing_that_the_next_look_does_not_find(
    there: world.World, studio: FakeLabelStudio
) -> None:
    row_id = attachment.create(there.context, config=labelconfig.read("original"), title="kills")
    project = there.context.db.row(tables.projects, row_id)
    tasks = [studio.add_task(project.ls_project_id, {"audio": f"ftp://nowhere/{n}.wav"}) for n in range(TASKS)]
    settle(there, row_id)
    chance, acknowledged, gate = random.Random(7), [0], threading.Lock()
    web = supervised(there, "web")

    def tell(body: dict[str, Any], times: int) -> None:
        headers = {"X-Webhook-Secret": SECRET}
        for _ in range(times):
            try:
                answer = httpx.post(f"{there.url}/webhook", json=body, headers=headers, timeout=10)
            except httpx.HTTPError:
                continue
            with gate:
                acknowledged[0] += answer.status_code == 200

    with ThreadPoolExecutor(6) as pool:  # answers overtake one another: the order is anybody's
        for number in range(ACTS):
            body = act(studio, chance, tasks, number) | {"project": {"id": project.ls_project_id}}
            times = 0 if chance.random() < 0.3 else 2 if chance.random() < 0.2 else 1
            pool.submit(tell, body, times)
            life, place = divmod(number, ACTS // (KILLS + 1))
            if place == HEARD * 2 and life < KILLS:  # dies while it is told; the rest of this life falls on deaf ears
                until(lambda least=HEARD * (life + 1): acknowledged[0] >= least, "a receiver at work", within_s=60)
                web.process.kill()
            if place == ACTS // (KILLS + 1) - 1 and life < KILLS:
                web.look()
                until(there.healthy, "the next receiver", within_s=60)
    assert web.process.alive
    assert there.count(tables.events) >= acknowledged[0] > HEARD * KILLS
    settle(there, row_id)

    assert here(there) == {
        one["id"]: (datetime.fromisoformat(one["updated_at"]), one["result"][0]["value"]["text"][0])
        for one in studio.annotations.values()
    }
    [summary] = there.rows(tables.summaries)
    assert (summary.body["difference"], summary.body["there"]) == (0, len(studio.annotations))


def act(studio: FakeLabelStudio, chance: random.Random, tasks: list[int], number: int) -> dict[str, Any]:
    """Somebody submits, corrects or deletes; gives the webhook Label Studio would send for it."""
    with studio.lock:
        ids = sorted(studio.annotations)
        kind = chance.choice(("submit", "submit", "change", "delete")) if ids else "submit"
        if kind == "submit":
            made = studio.annotate(chance.choice(tasks), f"said {number}")
            return {"action": "ANNOTATION_CREATED", "annotation": {"id": made}}
        one = studio.annotations[chance.choice(ids)]
        studio.tasks[one["task"]]["updated_at"] = label_studio.now()
        if kind == "delete":
            del studio.annotations[one["id"]]
            return {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": one["id"]}]}
        one["result"] = [{**one["result"][0], "value": {"text": [f"changed {number}"]}}]
        one["updated_at"] = label_studio.now()
        return {"action": "ANNOTATION_UPDATED", "annotation": {"id": one["id"]}}


def settle(there: world.World, project_id: int) -> None:
    """All events are read, and one look at what changed."""
    with there.context.db.transaction() as connection:
        enqueueing.enqueue(
            connection, job_kinds.COMPARE_ANNOTATIONS, key=f"{project_id}:0", project_id=project_id, full=0
        )
    while (ran := runner.run_due(there.context, wait_s=0)).outcomes:
        assert not ran.failed, ran.failed


def here(there: world.World) -> dict[int, tuple[datetime, str]]:
    alive = sa.select(tables.annotations).where(tables.annotations.c.deleted_at.is_(None))
    rows = there.context.db.rows(alive.order_by(tables.annotations.c.ls_updated_at))
    return {row.ls_annotation_id: (row.ls_updated_at, row.text) for row in rows}
