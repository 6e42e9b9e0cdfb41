"""However a request of `/v1` ends, it is counted once: under its route, its kind and the version that answered."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.api.app import create_live_app
from ml_backend.api.live import live_batches, live_counting, live_engines, live_tally, transcript_forms
from ml_backend.api.live.live_batches import LiveBatches
from ml_backend.api.live.live_engines import LiveEngine
from ml_backend.asr import engine
from ml_backend.asr.request import Request
from ml_backend.asr.transcript import DecodingProfile, Transcript
from ml_backend.latency_buckets import LatencyBuckets
from ml_backend.models import routing
from tests.ml_backend.api.live.conftest import PHONE
from tests.ml_backend.api.serving import BEARER, Serving
from tests.patience import until

TRANSCRIPTIONS = "/v1/audio/transcriptions"


@pytest.fixture
def line(phone: Serving) -> Serving:
    return Serving(create_live_app(phone.context.settings, context=phone.context), phone.context)


def counted(serving: Serving) -> dict[tuple[str, str, str], dict[str, int]]:
    """(route, kind, version without its digest) -> number by status."""
    assert live_tally.of(serving.context).write()
    return {
        (row.route, row.kind, row.model_version.partition("@")[0].rpartition("-")[0]): row.body["status"]
        for row in serving.context.db.rows(sa.select(tables.live_totals))
    }


def test_answers_and_refusals_of_every_kind_are_counted_with_the_version_that_answered(phone: Serving) -> None:
    version = phone.post("/v1/nlu/parse", {"text": "hello"}, PHONE).headers["x-kaan-model-version"]
    spoken = phone.post("/v1/audio/speech", {"input": "hello", "response_format": "wav"}, PHONE)
    for body, headers in (({}, PHONE), ({"text": "hello", "model": "nobody"}, PHONE), ({"text": "hello"}, BEARER)):
        assert phone.post("/v1/nlu/parse", body, headers).status_code in (400, 403, 404)
    phone.post("/v1/nlu/parse", {"text": "hello"}, {})
    phone.post(TRANSCRIPTIONS, {}, PHONE)
    for address in ("/v1/models", "/v1/nothing"):  # no model is asked
        phone.get(address, PHONE)
    assert live_tally.of(phone.context).write()
    assert {
        (row.route, row.kind, row.model_version): row.body["status"]
        for row in phone.context.db.rows(sa.select(tables.live_totals))
    } == {
        ("parse", "nlu", version): {"200": 1},
        ("parse", "nlu", ""): {"400": 1, "401": 1, "403": 1, "404": 1},
        ("speech", "tts", spoken.headers["x-kaan-model-version"]): {"200": 1},
        ("transcriptions", "asr", ""): {"404": 1},  # the web process does not transcribe
    }
    (row,) = phone.context.db.rows(sa.select(tables.live_minutes).where(tables.live_minutes.c.route == "speech"))
    whole, wait, compute = (LatencyBuckets.from_json(each) for each in (row.seconds, row.waits, row.computes))
    assert (wait.total_s, wait.count, compute.count, whole.count) == (0, 1, 1, 1)
    assert 0 < compute.total_s <= whole.total_s


def test_the_row_of_a_call_says_what_answered_it_and_also_what_failed(
    phone: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = phone.post("/v1/nlu/parse", {"text": "hello", "call": "c1"}, PHONE).headers["x-kaan-model-version"]
    phone.post("/v1/nlu/parse", {"text": "hello"}, {**PHONE, "x-kaan-call": "c1"})
    phone.post("/v1/nlu/parse", {"text": 5, "call": "c1"}, PHONE)  # the caller's mistake

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("the model is broken")

    monkeypatch.setattr("ml_backend.nlu.parsing.Parser.parse", broken)
    assert phone.post("/v1/nlu/parse", {"text": "hello", "call": "c1"}, PHONE).status_code == 500
    assert live_tally.of(phone.context).write()
    (row,) = phone.rows(tables.outcomes)
    assert (row.call_sid, row.kind, row.model_version, row.requests, row.failed) == ("c1", "nlu", version, 3, 1)
    assert row.latency_s > 0


def test_who_is_one_too_many_is_counted_as_refused_and_failed(line: Serving) -> None:
    line.app = create_live_app(line.context.settings.model_copy(update={"live_most_waiting": 1}), context=line.context)
    inside, done = threading.Event(), threading.Event()

    class Slow:
        def parse(self, text: str) -> Any:
            inside.set()
            assert done.wait(60)
            raise RuntimeError("and then it fails")

    def slowly(*_: Any, **__: Any) -> Any:
        return LiveEngine(routing.champion(line.context, "nlu"), Slow())

    line.post("/v1/nlu/parse", {"text": "hello"}, PHONE)
    engines = live_engines.of(line.context)
    engines.answering = slowly  # type: ignore[method-assign]
    first = threading.Thread(target=line.post, args=("/v1/nlu/parse", {"text": "hello", "call": "c1"}, PHONE))
    first.start()
    assert inside.wait(60)
    assert line.post("/v1/nlu/parse", {"text": "hello", "call": "c2"}, PHONE).status_code == 429
    done.set()
    first.join(60)
    assert live_tally.of(line.context).write()
    bodies = [row.body for row in line.rows(tables.live_totals)]
    assert [body["refused"] for body in bodies if body["refused"]] == [{"live-busy": 1}]
    assert sum(row.failed for row in line.rows(tables.live_minutes)) == 2
    assert {(row.call_sid, row.failed) for row in line.rows(tables.outcomes)} == {("c1", 1)}  # no version refused c2


def test_a_transcription_says_how_long_it_waited_for_its_turn_and_how_long_the_model_took(line: Serving) -> None:
    form = {"file": (BytesIO(engine.CHECK.read_bytes()), "call.wav"), "language": "en", "call": "c1"}
    answer = line.app.test_client().post(TRANSCRIPTIONS, data=form, headers=PHONE)
    assert answer.status_code == 200
    assert live_tally.of(line.context).write()
    (row,) = line.context.db.rows(sa.select(tables.live_minutes).where(tables.live_minutes.c.route != ""))
    whole, wait, compute = (LatencyBuckets.from_json(each) for each in (row.seconds, row.waits, row.computes))
    assert (whole.count, wait.count, compute.count) == (1, 1, 1)
    assert 0 < compute.total_s <= whole.total_s - wait.total_s
    (call,) = line.rows(tables.outcomes)
    assert (call.kind, call.model_version) == ("asr", answer.headers["x-kaan-model-version"])
    assert call.latency_s == pytest.approx(whole.total_s, abs=1e-5)


def test_a_stream_is_counted_with_its_last_byte_and_one_that_breaks_off_as_failed(
    line: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stream() -> Any:
        form = {"file": (BytesIO(engine.CHECK.read_bytes()), "call.wav"), "language": "en", "stream": "true"}
        return line.app.test_client().post(TRANSCRIPTIONS, data=form, headers=PHONE, buffered=False)

    begun = stream()
    pieces = begun.iter_encoded()
    next(pieces)
    assert counted(line) == {}
    list(pieces)
    begun.close()
    assert [*counted(line).values()] == [{"200": 1}]

    def broken(_: Any) -> Iterator[bytes]:
        yield b"data: a\n\n"
        raise RuntimeError("the model is broken")

    monkeypatch.setattr(transcript_forms, "events", broken)
    half = stream()
    with pytest.raises(RuntimeError):
        list(half.iter_encoded())
    half.close()
    assert [*counted(line).values()] == [{"200": 1, "500": 1}]
    gone = stream()  # the client leaves: it had its answer
    gone.close()
    assert [*counted(line).values()] == [{"200": 2, "500": 1}]


def test_the_wait_for_a_batch_and_the_time_of_the_batch_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second request comes 3 s after the first has begun, which takes 5 s; its own batch takes 7."""
    at = [100.0]
    monkeypatch.setattr(live_batches, "time", SimpleNamespace(monotonic=lambda: at[0]))
    working, came = threading.Event(), threading.Event()

    class Scripted:
        def transcribe(self, batch: list[Request]) -> list[Transcript]:
            if at[0] == 100.0:
                working.set()
                assert came.wait(60)
                at[0] = 105.0
            else:
                at[0] += 7
            return [Transcript((), None, 0.0, 1.0, 1.0, "v1")] * len(batch)

    batches = LiveBatches(Scripted(), most=4, wait_s=0.0)  # type: ignore[arg-type]
    found: dict[str, tuple[float | None, float | None]] = {}

    def ask(name: str) -> None:
        with live_counting.work_times() as times:
            batches.transcript(Request(None, DecodingProfile()))  # type: ignore[arg-type]
            found[name] = (times.wait_s, times.compute_s)

    first = threading.Thread(target=ask, args=("first",))
    first.start()
    assert working.wait(60)
    at[0] = 103.0
    second = threading.Thread(target=ask, args=("second",))
    second.start()
    until(lambda: batches._waiting, "the second one waits", within_s=60)
    came.set()
    first.join(60)
    second.join(60)
    assert found == {"first": (0.0, 5.0), "second": (2.0, 7.0)}


def test_how_live_serving_goes_is_an_answer_for_role_read_and_not_for_the_phone(phone: Serving) -> None:
    tally = live_tally.of(phone.context)
    tally.serves()
    phone.post("/v1/nlu/parse", {"text": "hello"}, PHONE)
    assert tally.write()
    found = phone.get("/api/live", BEARER).get_json()
    (parse,) = found["last_hour"]
    assert (parse["route"], parse["kind"], parse["requests"], parse["answer"]["count"]) == ("parse", "nlu", 1, 1)
    assert found["uptime"]["since"] is not None
    assert phone.get("/api/live", PHONE).status_code == 403
