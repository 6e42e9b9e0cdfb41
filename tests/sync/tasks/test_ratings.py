"""Synthetic voice with its text -> tasks of the project that rates it, on a real Label Studio."""

from __future__ import annotations

import pytest

from ml_backend import tables
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.labelling import labelconfig
from sync.objects import scan
from tests.sync.conftest import Service, changed
from tests.sync.outside import OTHER_SPEECH, SPEECH, Outside

TEXT = "आपका ऑर्डर कल आएगा"


def feed(service: Service, project_id: int, **settings: str) -> None:
    """Check the clips and make their tasks. The calls that serve as voices have the rate of a telephone."""
    here = Service(
        changed(service.context, tts_least_rate_hz=8000, tts_raters=1, **settings), service.client, service.url
    )
    for kind, arguments in (
        (job_kinds.COLLECT_VOICES, {"everything": 1}),
        (job_kinds.FEED_RATINGS, {"project_id": project_id}),
    ):
        with here.context.db.transaction() as connection:
            enqueueing.enqueue(connection, kind, key=str(project_id), **arguments)
        here.run_jobs()


@pytest.fixture
def outside(service: Service) -> Outside:
    """A pair, a voice without text, a prompt of the telephone menu and a call, all found by a scan."""
    found = Outside(service.context)
    found.put("training-data", "tts/hi/ab12.wav", OTHER_SPEECH)
    found.put("training-data", "tts/hi/ab12.txt", TEXT.encode())
    found.put("training-data", "tts/hi/cd34.wav", SPEECH)
    found.put("voice-audio", "ivr/hi/ef56.wav", SPEECH + b"x")
    found.put("call-recordings", "recordings/2026/11/20/c-1.mp3", SPEECH + b"yy")
    for bucket in scan.buckets(service.context):
        found.scan(bucket)
    return found


def test_a_pair_becomes_one_task_with_its_text_and_nothing_synthetic_is_transcribed(
    service: Service, outside: Outside
) -> None:
    rating = service.project("tts")
    calls = service.project("calls")
    service.run_jobs()
    for _ in range(2):
        feed(service, rating.id)

    [task] = service.there(rating)
    assert task["data"]["text"] == TEXT
    assert task["data"]["audio"].startswith("/data/local-files/?d=")
    assert task["predictions"] == []
    here = service.rows(tables.tasks, project_id=rating.id)
    assert [(row.state, row.selection_reason, row.blind) for row in here] == [("open", "rating", True)]
    assert all(row.recording_id != here[0].recording_id for row in service.rows(tables.tasks, project_id=calls.id))
    heard = {row.recording_id for row in service.rows(tables.transcriptions)}
    voices = {row.id: row.state for row in service.rows(tables.recordings, synthetic=True)}
    assert set(voices.values()) == {"ready"}
    assert heard.isdisjoint(voices)


def test_a_rating_is_read_back(service: Service, outside: Outside) -> None:
    rating = service.project("tts")
    service.run_jobs()
    feed(service, rating.id)
    [task] = service.there(rating)
    answers = {"naturalness": "4", "pronunciation": "5", "emotion": "3"}
    result = [
        {"id": name, "from_name": name, "to_name": "audio", "type": "choices", "value": {"choices": [value]}}
        for name, value in answers.items()
    ]
    service.client.call("POST", f"/api/tasks/{task['id']}/annotations/", json={"result": result})
    with service.context.db.transaction() as connection:
        enqueueing.enqueue(connection, job_kinds.FIND_TASKS, key=str(rating.id), project_id=rating.id)
    service.run_jobs()

    [row] = service.rows(tables.annotations)
    assert {item["from_name"]: item["value"]["choices"][0] for item in row.result} == answers
    assert service.rows(tables.tasks, project_id=rating.id)[0].state == "annotated"


def test_a_rating_project_holds_no_more_open_tasks_than_it_may(service: Service, outside: Outside) -> None:
    for number in range(4):
        outside.put("training-data", f"tts/mr/{number}.wav", OTHER_SPEECH + bytes([number]))
        outside.put("training-data", f"tts/mr/{number}.txt", f"मजकूर {number}".encode())
    outside.scan("training-data")
    rating = service.project("tts")
    here = Service(changed(service.context, max_open_tasks=2), service.client, service.url)
    here.run_jobs()
    feed(here, rating.id)

    assert len(here.there(rating)) == 2


def test_a_rating_project_takes_only_synthetic_voice(service: Service) -> None:
    rating = service.project("tts")
    assert rating.routing == {"synthetic": True}
    assert rating.reason is None
    there = service.client.project(rating.ls_project_id)
    assert "Say how the voice sounds" in there["expert_instruction"]
    assert labelconfig.read("tts").count("required=") == there["label_config"].count("required=") == 3
