"""F1-F7: callbacks arriving while processes die, repeatedly, out of order, or never."""

from __future__ import annotations

import json
import threading
import time

import httpx
import pytest

from ml_backend import tables
from ml_backend.jobs import runner
from tests.faults import checker
from tests.faults.launch import At
from tests.faults.storms import callbacks_under_kills, supervised
from tests.faults.world import PLAIN, World, callback, sid, until


def _send_until_answered(there: World, number: int) -> int:
    status = None
    while status is None:
        status = there.send(sid(number))
    return status


@pytest.mark.guard("answered-after-the-commit")
def test_f1_a_web_process_killed_before_the_commit_has_acknowledged_nothing(alone: World) -> None:
    killed = alone.serve(at=(At("web.before-commit", do="kill", nth=3),))
    assert [alone.send(sid(number)) for number in range(3)] == [200, 200, None]
    assert alone.count(tables.events) == 2
    killed.kill()
    alone.serve()
    assert alone.send(sid(2)) == 200
    assert checker.wrong(alone.context, sent=alone.history.read()) == []
    assert alone.count(tables.events) == 3


@pytest.mark.guard("one-row-per-event")
def test_f2_a_web_process_killed_after_the_commit_keeps_the_event_and_the_repetition_changes_nothing(
    alone: World,
) -> None:
    killed = alone.serve(at=(At("web.after-commit", nth=2),))
    assert [alone.send(sid(number)) for number in range(2)] == [200, None]
    killed.kill()
    alone.serve()
    assert alone.send(sid(1)) == 200
    assert [row.copies for row in alone.rows(tables.events)] == [1, 2]
    assert alone.count(tables.jobs, name="read-call-event") == 2


@pytest.mark.guard("committed-before-answered")
def test_f3_no_acknowledged_callback_is_lost_when_the_web_process_is_killed_again_and_again(alone: World) -> None:
    web = supervised(alone, "web")
    callbacks_under_kills(alone, [web], callbacks=150, kills=5, seed=20261122, senders=3)
    assert checker.wrong(alone.context, sent=alone.history.read()) == []
    assert alone.count(tables.events) == 150


@pytest.mark.guard("no-redis-in-the-request")
def test_f4_with_everything_behind_it_down_callbacks_are_acknowledged_and_the_backlog_drains_later(
    alone: World,
) -> None:
    alone.environment |= {
        "OBJECT_STORE": "s3://", "MINIO_ENDPOINT": "127.0.0.1:1", "MINIO_SECURE": "false", "MINIO_ACCESS_KEY": "nobody",
        "MINIO_SECRET_KEY": "nothing-is-there", "LABEL_STUDIO_URL": "http://127.0.0.1:1",
        "LABEL_STUDIO_API_KEY": "nobody-is-there-to-see-it",
    }  # fmt: skip
    alone.serve()
    assert [alone.send(sid(number), Status="no-answer") for number in range(20)] == [200] * 20
    assert alone.jobs() == {"waiting": 20}
    runner.run_due(alone.context)
    assert alone.count(tables.calls) == 20
    assert checker.wrong(alone.context, sent=alone.history.read()) == []


@pytest.mark.guard("one-row-per-event")
def test_f5_fifty_copies_of_a_callback_at_once_are_one_event(alone: World) -> None:
    alone.serve()
    body = json.dumps(callback(sid(5))).encode()
    assert send_at_once(alone, [body] * 50) == [200] * 50
    [event] = alone.rows(tables.events)
    assert event.copies == 50
    assert alone.count(tables.jobs) == 1
    assert checker.wrong(alone.context, sent=alone.history.read()) == []


def send_at_once(there: World, bodies: list[bytes]) -> list[int | None]:
    """All at the same moment, each on a connection of its own."""
    barrier, answers = threading.Barrier(len(bodies)), [None] * len(bodies)

    def send(number: int) -> None:
        with httpx.Client(timeout=30, verify=PLAIN) as client:
            barrier.wait(30)
            answers[number] = there.history.post(
                client, there.callbacks, bodies[number], call_sid="", content_type="application/json"
            )

    threads = [threading.Thread(target=send, args=(number,)) for number in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


@pytest.mark.guard("short-patience-in-the-request")
def test_f47_a_database_locked_by_another_writer_is_503_with_a_time_to_come_back(alone: World) -> None:
    alone.serve()
    assert alone.send(sid(1)) == 200
    with alone.context.db.transaction():  # and does not end
        began = time.monotonic()
        with httpx.Client(timeout=60, verify=PLAIN) as client:
            answer = client.post(alone.callbacks, json=callback(sid(2)))
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert time.monotonic() - began < 15  # what Exotel waits
        assert httpx.get(f"{alone.url}/health").status_code == 200
    until(lambda: alone.send(sid(2)) == 200)
    assert checker.wrong(alone.context, sent=alone.history.read()) == []
