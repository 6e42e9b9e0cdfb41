"""A shadow is asked what the champion was asked, after the answer, and costs no caller anything."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.api.app import create_live_app
from ml_backend.api.live import live_engines, live_shadow, live_tally
from ml_backend.asr import engine
from ml_backend.errors import RetryableError
from ml_backend.jobs.device_turns import DeviceTurns
from ml_backend.models import registry, routing
from tests.ml_backend.api import documented
from tests.ml_backend.api.live.conftest import PHONE
from tests.ml_backend.api.serving import Serving
from tests.patience import until

Renamed = Callable[..., registry.Version]
ASKED = {
    "nlu": ("/v1/nlu/parse", {"text": "where is my order", "language": "en"}),
    "tts": ("/v1/audio/speech", {"input": "hello", "language": "en", "response_format": "wav"}),
}
COUNTS = ("requests", "compared", "differing", "dropped", "failed")


@pytest.fixture
def line(phone: Serving) -> Serving:
    """The app of `serve` on the same deployment."""
    return Serving(documented.check(create_live_app(phone.context.settings, context=phone.context)), phone.context)


def ask(line: Serving, kind: str, call: str) -> str:
    """One request of a call; the version that answered."""
    if kind == "asr":
        data = {"file": (BytesIO(engine.CHECK.read_bytes()), "call.wav"), "language": "en", "call": call}
        address, form = "/v1/audio/transcriptions", "multipart/form-data"
        answer = line.app.test_client().post(address, data=data, headers=PHONE, content_type=form)
    else:
        path, body = ASKED[kind]
        answer = line.post(path, {**body, "call": call}, PHONE)
    assert answer.status_code == 200, answer.text
    return str(answer.headers["x-kaan-model-version"])


@pytest.fixture
def shadowed(line: Serving, renamed: Renamed) -> Callable[..., tuple[str, registry.Version]]:
    """Begins an experiment in shadow on every call of a kind; gives champion and shadow when both are loaded."""

    def begin(kind: str, **needs: object) -> tuple[str, registry.Version]:
        champion, other = ask(line, kind, "earlier"), renamed(kind, f"{kind}-shadow", **needs)
        row = {"name": f"{kind}-trial", "champion": champion, "challenger": other.version, "traffic_share": 1.0,
               "salt": "salt", "model_kind": kind, "kind": routing.SHADOW}  # fmt: skip
        line.insert(tables.experiments, row)
        engines = live_engines.of(line.context)
        until(lambda: engines.answering(kind, call="any").shadow, "the shadow is loaded")
        return champion, other

    return begin


def counts(line: Serving, kind: str, call: str) -> dict[str, Any]:
    """The column `shadow` of a call's row, when there is one."""

    def read() -> Any:
        live_tally.of(line.context).write()
        outcome = tables.outcomes.c
        found = sa.select(outcome.shadow, outcome.model_version, outcome.requests, outcome.arm)
        rows = line.context.db.rows(found.where(outcome.call_sid == call, outcome.kind == kind))
        return rows[0] if rows and rows[0].shadow else None

    row = until(read, "the shadow's counts are written")
    return {**row.shadow, "answered_by": row.model_version, "answered": row.requests, "arm": row.arm}


@pytest.mark.parametrize(
    ("kind", "needs", "compared", "differing"),
    [
        ("nlu", {}, 1, 0),
        ("nlu", {"threshold": 1.0}, 1, 1),  # every parse of it is out of scope
        ("tts", {}, 0, 0),
        ("asr", {}, None, 0),
    ],
)
def test_the_champion_answers_and_the_shadow_is_compared_in_the_row_of_the_call(
    line: Serving, shadowed: Any, kind: str, needs: dict[str, Any], compared: int | None, differing: int
) -> None:
    champion, other = shadowed(kind, **needs)
    assert ask(line, kind, "call-1") == champion
    found = counts(line, kind, "call-1")
    assert (found["version"], found["answered_by"], found["arm"]) == (other.version, champion, routing.CHAMPION)
    assert (found["requests"], found["differing"], found["answered"]) == (1, differing, 1)
    assert found["compared"] == compared if compared is not None else found["compared"] > 3, "words of the champion"
    assert found["latency_s"] > 0
    assert (found["dropped"], found["failed"]) == (0, 0)


def test_words_that_differ_are_counted_as_edits(line: Serving, shadowed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shadowed("asr")
    batches = live_engines.of(line.context).answering("asr", call="any").shadow.engine

    class Mute:
        def transcribe(self, requests: Any) -> Any:
            return [type("Silence", (), {"text": ""})() for _ in requests]

    monkeypatch.setattr(batches, "transcriber", Mute())
    ask(line, "asr", "call-1")
    found = counts(line, "asr", "call-1")
    assert found["compared"] == found["differing"] > 3


class Held:
    """A shadow's parser that works when the test says so."""

    def __init__(self, parser: Any) -> None:
        self._parser, self.begun, self.may_go = parser, threading.Event(), threading.Event()

    def parse(self, text: str) -> Any:
        self.begun.set()
        assert self.may_go.wait(60)
        return self._parser.parse(text)


@pytest.fixture
def held(line: Serving, shadowed: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    _, other = shadowed("nlu")
    snapshot = live_engines.of(line.context)._held["nlu"].snapshot
    assert snapshot is not None
    slow = Held(snapshot.engines[other.version])
    monkeypatch.setitem(snapshot.engines, other.version, slow)  # type: ignore[arg-type]
    yield slow
    slow.may_go.set()


def test_callers_are_answered_while_the_shadow_works_and_what_does_not_fit_its_queue_is_dropped_and_counted(
    line: Serving, held: Held
) -> None:
    ask(line, "nlu", "call-1")
    assert held.begun.wait(60)
    for _ in range(live_shadow.MOST_WAITING + 3):
        ask(line, "nlu", "call-1")  # all answered, although the shadow stands
    held.may_go.set()
    until(lambda: counts(line, "nlu", "call-1")["requests"] == live_shadow.MOST_WAITING + 1, "the queue is worked off")
    found = counts(line, "nlu", "call-1")
    assert (found["dropped"], found["answered"]) == (3, live_shadow.MOST_WAITING + 4)


def test_a_shadow_waits_while_any_live_request_of_the_machine_is_answered_and_gives_up_after_a_while(
    line: Serving, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    held.may_go.set()
    other = DeviceTurns(line.context.settings.data_dir / "device-turns")
    with other.taken():  # another process answers somebody
        ask(line, "nlu", "call-1")
        monkeypatch.setattr(live_shadow, "STALE_S", 0.0)
        found = counts(line, "nlu", "call-1")
        assert (found["requests"], found["dropped"], held.begun.is_set()) == (0, 1, False)
        monkeypatch.setattr(live_shadow, "STALE_S", 600.0)
        ask(line, "nlu", "call-2")
    assert counts(line, "nlu", "call-2")["requests"] == 1, "it ran when the line was free"


def test_a_shadow_that_fails_is_counted_and_the_next_request_is_tried(
    line: Serving, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(text: str) -> Any:
        raise RetryableError("engine-failed", "The model failed.", "Send it again.")

    held.may_go.set()
    with monkeypatch.context() as patch:
        patch.setattr(held, "parse", fail)
        ask(line, "nlu", "call-1")
        assert [counts(line, "nlu", "call-1")[name] for name in COUNTS] == [0, 0, 0, 0, 1]
    ask(line, "nlu", "call-1")
    until(lambda: counts(line, "nlu", "call-1")["requests"] == 1, "the next one is compared")


def test_a_request_without_a_call_has_no_shadow(line: Serving, held: Held) -> None:
    path, body = ASKED["nlu"]
    assert line.post(path, body, PHONE).status_code == 200
    ask(line, "nlu", "call-1")
    held.may_go.set()
    assert counts(line, "nlu", "call-1")["requests"] == 1


def test_edits_are_counted_in_words_without_case_and_punctuation() -> None:
    assert live_shadow.plain_words("Hello, मेरा ऑर्डर कहाँ है?") == ["hello", "मेरा", "ऑर्डर", "कहाँ", "है"]
    for one, other, edits in (
        ("a b c", "a b c", 0), ("", "a b", 2), ("a b", "", 2), ("a b c", "a x c", 1), ("a b c", "b c d", 2),
        ("kitten sat", "sat", 1),
    ):  # fmt: skip
        assert live_shadow.word_edits(one.split(), other.split()) == edits, (one, other)
