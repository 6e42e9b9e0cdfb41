"""/predict: a look-up with one entry per task, and exactly one deliverer per prediction."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.jobs import job_kinds
from ml_backend.labelling import labelconfig
from ml_backend.labelling.prediction_lookup import JUST_DELIVERED_S
from tests.ml_backend.api.serving import ORIGINAL, Serving, audio, task, texts

SMALLER = re.sub(r'<Choice value="poor"[^>]*/>', "", ORIGINAL)


def statements(serving: Serving) -> list[str]:
    """Every SQL statement SQLite itself sees from now on."""
    seen: list[str] = []
    sa.event.listen(serving.context.db.engine, "checkout", lambda driver, *_: driver.set_trace_callback(seen.append))
    return seen


def writes(seen: list[str]) -> list[str]:
    return [s for s in seen if not s.startswith(("SELECT", "BEGIN", "ROLLBACK", "COMMIT")) or "IMMEDIATE" in s]


def test_a_batch_has_one_entry_per_task_in_order(serving: Serving) -> None:
    serving.drafted(1, 2, 3)
    assert texts(serving.predict([task(3), task(9), task(1)])) == ["text of 3", None, "text of 1"]


def test_one_bad_task_does_not_spoil_the_others(serving: Serving) -> None:
    serving.drafted(1, 2)
    bad: list[Any] = [
        None, 7, "x", [], {}, {"id": 2}, {"id": 2, "data": []}, {"id": 2, "data": {"audio": 5}},
        {"id": True, "data": {"audio": audio(2)}}, {"id": 2**70, "data": {"audio": "a"}},
        {"id": -1, "data": {"audio": "a"}}, {"id": "2", "data": {"audio": audio(2)}},
        {"id": 2, "data": {"other": audio(2)}}, {"id": 2, "data": {"audio": ""}},
    ]  # fmt: skip
    answered = texts(serving.predict([*bad, task(1)]))
    assert answered == [None] * len(bad) + ["text of 1"]


def test_the_same_task_twice_in_a_request_is_answered_once(serving: Serving) -> None:
    serving.drafted(1)
    assert texts(serving.predict([task(1), task(1)])) == ["text of 1", None]


def test_a_changed_audio_value_is_not_answered_with_the_old_draft(serving: Serving) -> None:
    serving.drafted(1)
    assert texts(serving.predict([{"id": 1, "data": {"audio": "s3://speech/other.wav"}}])) == [None]
    assert len(serving.jobs("find-tasks")) == 1


def test_a_draft_rendered_for_another_config_is_not_answered(serving: Serving) -> None:
    project_id = serving.drafted(1)
    assert texts(serving.predict([task(1)])) == ["text of 1"]
    assert SMALLER != ORIGINAL
    serving.setup(config=SMALLER)
    assert texts(serving.predict([task(1)], config=SMALLER)) == [None]
    (row,) = serving.rows(tables.predictions)
    serving.context.db.update(tables.predictions, row.id, config_sha256=labelconfig.digest(SMALLER))
    serving.bump(project_id)
    assert texts(serving.predict([task(1)], config=SMALLER)) == ["text of 1"]


def test_a_draft_of_another_audio_is_not_answered(serving: Serving) -> None:
    project_id = serving.project()
    heard, now_there = "a" * 64, "b" * 64
    recording_id = serving.insert(
        tables.recordings, {"source": "upload", "source_identity": "x", "sha256": now_there, "state": "ready"}
    )
    transcription_id = serving.insert(
        tables.transcriptions,
        {"recording_id": recording_id, "audio_sha256": heard, "model_version": "v", "decoding_hash": "h",
         "decoding": {}, "text": "", "transcript": {}, "confidence": 1.0, "duration_s": 1.0},
    )  # fmt: skip
    task_id = serving.task(project_id, 1, recording_id=recording_id)
    serving.prediction(project_id, task_id, transcription_id=transcription_id)
    assert serving.predict([task(1)]) == [[]]
    serving.context.db.update(tables.recordings, recording_id, sha256=heard)
    serving.bump(project_id)
    assert texts(serving.predict([task(1)])) == ["नमस्ते"]


def test_a_moved_draft_label_is_seen_at_once(serving: Serving) -> None:
    project_id = serving.drafted(1)
    assert serving.predict([task(1)])[0]["model_version"] == "draft-1"
    (row,) = serving.rows(tables.tasks)
    serving.prediction(project_id, row.id, "better", draft_label="draft-2")
    serving.bump(project_id, draft_label="draft-2")
    (entry,) = serving.predict([task(1)])
    assert (entry["model_version"], texts([entry])) == ("draft-2", ["better"])
    assert serving.setup().get_json() == {"model_version": "draft-2"}


@pytest.mark.parametrize(
    "values", [{"blind": True}, {"state": "refused"}, {"state": "deleted"}, {"reason_code": "audio-empty"}]
)
def test_a_task_that_gets_no_draft_is_answered_empty_and_not_asked_for_again(
    serving: Serving, values: dict[str, Any]
) -> None:
    project_id = serving.project()
    task_id = serving.task(project_id, 1, **values)
    serving.prediction(project_id, task_id)
    assert serving.predict([task(1)]) == [[]]
    assert serving.jobs("find-tasks") == []


def test_a_detached_project_is_left_alone(serving: Serving) -> None:
    project_id = serving.drafted(1)
    serving.bump(project_id, state="detached")
    assert serving.predict([task(1), task(2)]) == [[], []]
    assert serving.jobs("find-tasks") == []


def test_a_body_reaches_label_studio_as_it_was_stored_and_names_no_model(serving: Serving) -> None:
    serving.drafted(1)
    body = {"tasks": [task(1)], "project": "23.1", "label_config": ORIGINAL, "params": {}}
    raw = serving.post("/predict", body).get_data(as_text=True)
    assert raw == '{"results":[' + serving.rows(tables.predictions)[0].body + "]}"
    assert "secret-model-7" not in raw


# --- exactly one deliverer


def test_a_finished_undelivered_prediction_is_claimed_by_the_answer(serving: Serving) -> None:
    serving.drafted(1, delivered_by=None, delivered_at=None)
    assert texts(serving.predict([task(1)])) == ["text of 1"]
    assert [row.delivered_by for row in serving.rows(tables.predictions)] == ["answer"]
    (job,) = serving.jobs("confirm-answers")
    assert job.due_at > tables.now()


def test_what_was_delivered_a_moment_ago_is_not_delivered_twice(serving: Serving) -> None:
    serving.drafted(1, delivered_by=None, delivered_at=None)
    assert texts(serving.predict([task(1)]) + serving.predict([task(1)])) == ["text of 1", None]
    assert serving.jobs("find-tasks") == []


@pytest.mark.parametrize(("age_s", "wanted"), [(JUST_DELIVERED_S - 5, None), (JUST_DELIVERED_S + 5, "text of 1")])
def test_a_pushed_prediction_is_answered_again_only_after_a_while(
    serving: Serving, age_s: float, wanted: str | None
) -> None:
    serving.drafted(1, delivered_at=tables.now() - timedelta(seconds=age_s))
    assert texts(serving.predict([task(1)])) == [wanted]


def test_what_the_pusher_claims_between_look_up_and_claim_is_not_answered(serving: Serving) -> None:
    serving.drafted(1, 2, delivered_by=None, delivered_at=None)
    first = serving.rows(tables.predictions)[0]

    def push_first(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.startswith("UPDATE predictions"):
            cursor.execute("UPDATE predictions SET delivered_by = 'push' WHERE id = ?", (first.id,))

    sa.event.listen(serving.context.db.engine, "before_cursor_execute", push_first)
    assert texts(serving.predict([task(1), task(2)])) == [None, "text of 2"]


def test_many_requests_at_once_deliver_a_prediction_once(serving: Serving) -> None:
    ids = range(1, 21)
    serving.drafted(*ids, delivered_by=None, delivered_at=None)
    answers: list[list[Any]] = []
    threads = [
        threading.Thread(target=lambda: answers.append(serving.predict([task(i) for i in ids]))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    for column in zip(*answers, strict=True):
        assert len([entry for entry in column if entry]) == 1


def test_what_label_studio_refused_is_not_offered_again(serving: Serving) -> None:
    serving.drafted(1, delivered_by="nobody")
    assert serving.predict([task(1)]) == [[]]


def test_an_interactive_question_claims_nothing(serving: Serving) -> None:
    serving.drafted(1, delivered_by=None, delivered_at=None)
    assert texts(serving.predict([task(1)], context={"result": []})) == ["text of 1"]
    assert [row.delivered_by for row in serving.rows(tables.predictions)] == [None]


def test_a_hit_writes_nothing_and_is_served_from_memory(serving: Serving) -> None:
    ids = list(range(1, 101))
    serving.drafted(*ids)
    seen = statements(serving)
    serving.predict([task(i) for i in ids])
    assert len(seen) > 1
    assert writes(seen) == []
    del seen[:]
    serving.predict([task(i) for i in ids])
    assert writes(seen) == []
    assert len([s for s in seen if s.startswith("SELECT")]) == 1  # the project's revision, nothing else


# --- misses


def test_a_miss_enqueues_the_work_once_with_the_persons_priority(serving: Serving) -> None:
    serving.project()
    for _ in range(3):
        assert serving.predict([task(5)]) == [[]]
    (job,) = serving.jobs("find-tasks")
    assert (job.priority, job.arguments["task_ids"]) == (job_kinds.WAITED_FOR, [5])


def test_a_missed_batch_is_live_work_in_pieces_of_a_thousand(serving: Serving) -> None:
    serving.project()
    assert serving.predict([task(i) for i in range(1, 2502)]) == [[]] * 2501
    found = serving.jobs("find-tasks")
    assert [len(job.arguments["task_ids"]) for job in found] == [1000, 1000, 501]
    assert {job.priority for job in found} == {job_kinds.LIVE}


def test_a_single_task_waits_for_its_draft(serve: Callable[..., Serving]) -> None:
    serving = serve(predict_wait_s=5.0)
    project_id = serving.project()

    def transcribe() -> None:
        while not serving.jobs("find-tasks"):
            time.sleep(0.02)
        task_id = serving.task(project_id, 5)
        serving.prediction(project_id, task_id, "just made", delivered_by=None, delivered_at=None)
        serving.bump(project_id)

    worker = threading.Thread(target=transcribe)
    worker.start()
    began = time.monotonic()
    assert texts(serving.predict([task(5)])) == ["just made"]
    assert time.monotonic() - began < 4
    worker.join()


def test_a_wait_ends_and_leaves_the_slot_empty(serve: Callable[..., Serving]) -> None:
    serving = serve(predict_wait_s=0.4)
    serving.project()
    began = time.monotonic()
    assert serving.predict([task(5)]) == [[]]
    assert 0.4 <= time.monotonic() - began < 2


def test_a_batch_never_waits(serve: Callable[..., Serving]) -> None:
    serving = serve(predict_wait_s=5.0)
    serving.project()
    began = time.monotonic()
    serving.predict([task(5), task(6)])
    assert time.monotonic() - began < 2


def test_no_more_than_the_permitted_requests_wait(serve: Callable[..., Serving]) -> None:
    serving = serve(predict_wait_s=1.0, web_threads=4)  # one waiting place
    serving.project()
    took: list[float] = []

    def ask(number: int) -> None:
        began = time.monotonic()
        serving.predict([task(number)])
        took.append(time.monotonic() - began)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len([t for t in took if t >= 1.0]) == 1
