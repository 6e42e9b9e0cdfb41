"""What bounds a session, in this process: idleness, length, their number, and audio that waits."""

from __future__ import annotations

import base64
import dataclasses
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ml_backend import tables
from ml_backend.api.live import live_engines, live_tally
from ml_backend.api.realtime import realtime_session
from ml_backend.api.realtime.realtime_route import RealtimeSessions
from ml_backend.api.realtime.realtime_session import RealtimeSession, choose
from ml_backend.api.realtime.session_config import SessionConfig
from ml_backend.api.realtime.turn_detection import TurnSettings
from ml_backend.api.realtime.websocket_link import WebSocketLink
from ml_backend.audio.streamed_audio import StreamFormat
from ml_backend.errors import RetryableError
from ml_backend.serving.live_audio import SentAudio
from tests.ml_backend.api.realtime.conftest import spoken
from tests.ml_backend.api.serving import Serving
from tests.patience import until


class Running:
    """A session whose client is this test, at the other end of a socket."""

    def __init__(self, serving: Serving, config: SessionConfig) -> None:
        ours, self.client = socket.socketpair()
        self.serving = serving
        self.link = WebSocketLink(ours, b"")
        chosen = choose(live_engines.of(serving.context), config)
        self.session = RealtimeSession(serving.context, self.link, config, chosen)
        self.thread = threading.Thread(target=self.session.run, daemon=True)
        self.thread.start()
        self.client.settimeout(60)

    def told(self, what: bytes) -> bytes:
        """What the server sends, up to these bytes."""
        came = b""
        while what not in came:
            part = self.client.recv(1 << 16)
            assert part, came
            came += part
        return came

    def append(self, pcm: bytes) -> None:
        event = {"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm).decode()}
        self.session.received(json.dumps(event).encode(), is_text=True)


@pytest.fixture
def session(serve: Callable[..., Serving]) -> Iterator[Callable[..., Running]]:
    begun: list[Running] = []

    def begin(config: SessionConfig | None = None, **settings: Any) -> Running:
        begun.append(Running(serve(**settings), config or SessionConfig(audio=StreamFormat("pcm", 16_000))))
        return begun[-1]

    yield begin
    for one in begun:
        one.client.close()
        one.thread.join(30)
        assert not one.thread.is_alive()


def test_a_session_in_which_nothing_is_sent_ends(session: Callable[..., Running]) -> None:
    assert b'"code":"session-idle"' in session(live_idle_s=1).told(b"\x88")


def test_a_session_does_not_last_for_ever(session: Callable[..., Running], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realtime_session, "SESSION_S", 0.1)
    assert b'"code":"session-too-long"' in session().told(b"\x88")


def test_a_place_is_taken_and_given_back(serve: Callable[..., Serving]) -> None:
    sessions = RealtimeSessions(2, live_tally.of(serve().context))
    sessions.admit()
    sessions.admit()
    with pytest.raises(RetryableError, match="2 sessions") as refused:
        sessions.admit()
    assert (refused.value.status, refused.value.code) == (429, "sessions-full")
    sessions.leave()
    sessions.admit()


def test_a_client_faster_than_the_model_must_wait_and_is_read_again(
    session: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(realtime_session, "BACKLOG_S", 5.0)
    running, may_go = session(), threading.Event()
    batches = live_engines.of(running.serving.context).answering("asr").engine
    real = batches.transcriber.transcribe

    def slow(requests: Any) -> Any:
        assert may_go.wait(60)
        return real(requests)

    monkeypatch.setattr(batches.transcriber, "transcribe", slow)
    for _ in range(3):
        assert running.session.may_read()
        running.append(spoken())
    assert not running.session.may_read()
    may_go.set()
    until(running.session.may_read, "the model caught up")


def test_a_turn_is_counted_for_its_call(session: Callable[..., Running]) -> None:
    config = SessionConfig(audio=StreamFormat("pcm", 16_000), language="en", call="c5d1")
    running = session(config)
    running.append(spoken())
    assert b"wall clock" in running.told(b"transcription.completed")
    tally = live_tally.of(running.serving.context)
    assert tally.now_inside()["sessions"] == 1

    def rows() -> list[Any]:
        tally.write()
        return [row for row in running.serving.rows(tables.live_minutes) if row.route == "realtime"]

    (minute,) = until(rows, "the turn was counted")
    assert (minute.kind, minute.requests, minute.failed) == ("asr", 1, 0)
    assert [(row.kind, row.requests) for row in running.serving.rows(tables.outcomes)] == [("asr", 1)]


def test_a_turn_that_the_model_fails_on_says_so_and_the_next_one_has_its_text(
    session: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SessionConfig(audio=StreamFormat("pcm", 16_000), language="en")
    running = session(config)
    batches = live_engines.of(running.serving.context).answering("asr").engine

    def fail(requests: Any) -> Any:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(batches.transcriber, "transcribe", fail)
        running.append(spoken())
        assert b'"code":"engine-failed"' in running.told(b"transcription.failed")
    running.append(spoken())
    assert b"wall clock" in running.told(b"transcription.completed")


def test_a_pause_that_the_model_fails_on_is_tried_once_and_again_at_the_end(
    session: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = TurnSettings(silence_duration_ms=5000)
    running = session(SessionConfig(audio=StreamFormat("pcm", 16_000), language="en", turns=patient))
    batches = live_engines.of(running.serving.context).answering("asr").engine

    def fail(requests: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(batches.transcriber, "transcribe", fail)
    running.append(spoken(after_s=0.5))
    turn = running.session._turn
    assert turn is not None
    until(lambda: turn.final_to >= turn.last_speech, "it was tried")
    assert turn.final is None
    running.append(bytes(2 * 16_000 * 6))
    assert b'"code":"engine-failed"' in running.told(b"transcription.failed")


class Keeping:
    """Keeps the audio of every call."""

    def __init__(self) -> None:
        self.offered: list[SentAudio] = []
        self.offer = self.offered.append

    def wants(self, *_: Any) -> bool:
        return True


def test_what_was_said_before_the_caller_hung_up_is_kept(session: Callable[..., Running]) -> None:
    running, keeping = session(SessionConfig(audio=StreamFormat("pcm", 16_000), call="c5d1")), Keeping()
    running.session._kept = keeping  # type: ignore[assignment]
    running.append(spoken(after_s=0))
    running.client.close()
    running.thread.join(60)
    assert {one.call for one in keeping.offered} == {"c5d1"}
    assert len({one.data for one in keeping.offered}) == 1


def test_a_turn_belongs_to_the_call_in_which_it_was_said(
    session: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SessionConfig(audio=StreamFormat("pcm", 16_000), language="en", call="c1", number="00000000107")
    running, keeping, may_go = session(config), Keeping(), threading.Event()
    running.session._kept = keeping  # type: ignore[assignment]
    batches = live_engines.of(running.serving.context).answering("asr").engine
    real = batches.transcriber.transcribe
    monkeypatch.setattr(batches.transcriber, "transcribe", lambda requests: may_go.wait(60) and real(requests))
    running.append(spoken())
    update = {"type": "session.update", "session": {"type": "transcription", "call": "c2"}}
    running.session.received(json.dumps(update).encode(), is_text=True)
    may_go.set()
    running.told(b"transcription.completed")
    until(lambda: keeping.offered, "its audio is kept")
    assert [(one.call, one.number) for one in keeping.offered] == [("c1", "00000000107")]
    assert (running.session._config.call, running.session._config.number) == ("c2", None)
    tally = live_tally.of(running.serving.context)

    def calls() -> list[str]:
        tally.write()
        return [row.call_sid for row in running.serving.rows(tables.outcomes)]

    assert until(calls, "the turn was counted") == ["c1"]


def test_a_turn_that_its_client_commits_begins_with_its_first_speech(session: Callable[..., Running]) -> None:
    running = session(SessionConfig(audio=StreamFormat("pcm", 16_000), turns=None))
    running.append(bytes(2 * 16_000))
    turn = running.session._turn
    assert turn is not None
    turn.began_at -= 1000  # of silence
    running.append(spoken())
    assert turn.has_speech
    assert time.monotonic() - turn.began_at < 900


def test_a_client_that_is_held_back_is_not_idle(
    session: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    running, ended = session(), list[str]()
    monkeypatch.setattr(running.session, "_end", lambda code, *_: ended.append(code))
    for may_read in (False, True):
        monkeypatch.setattr(running.session, "may_read", lambda may_read=may_read: may_read)
        running.session._came_at -= 1e6
        running.session.ticked()
        assert (ended != []) == may_read


def test_a_turn_of_an_experiment_in_shadow_is_offered_to_the_other_version(
    session: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = session(SessionConfig(audio=StreamFormat("pcm", 16_000), language="en", call="c5d1"))
    usual = choose(live_engines.of(running.serving.context), running.session._config)
    watched = dataclasses.replace(usual, experiment_id=1, arm="champion", shadow=usual)
    monkeypatch.setattr(realtime_session, "choose", lambda engines, config: watched)
    offered: list[Any] = []
    monkeypatch.setattr(running.session._shadows, "transcribed", lambda *given: offered.append(given))
    monkeypatch.setattr(running.session._tally, "answered", lambda *_, **__: None)  # there is no such experiment
    running.append(spoken())
    running.told(b"transcription.completed")
    until(lambda: offered, "the turn is offered")
    [(chosen, call, request, text)] = offered
    assert (chosen, call) == (watched, "c5d1")
    assert request.samples.shape[1] > 16_000
    assert "wall clock" in text
