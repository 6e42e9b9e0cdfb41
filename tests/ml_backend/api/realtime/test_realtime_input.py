"""What a stream may bring that is not a call: every mistake is told in OpenAI's form, and the session goes on."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from tests.ml_backend.api.realtime.conftest import PLACES, Line, close_of, pieces, spoken
from tests.patience import until

APPEND, COMMIT = "input_audio_buffer.append", "input_audio_buffer.commit"
COMPLETED = "conversation.item.input_audio_transcription.completed"
STARTED, STOPPED = "input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"


def update(**heard: Any) -> dict[str, Any]:
    audio = {"format": {"type": "audio/pcm", "rate": 16_000}, "transcription": {"language": "en"}, **heard}
    return {"type": "session.update", "session": {"type": "transcription", "audio": {"input": audio}}}


def send(connection: ClientConnection, event: Any) -> None:
    connection.send(json.dumps(event))


def next_of(connection: ClientConnection, *kinds: str) -> dict[str, Any]:
    """The next event of these kinds."""
    while (event := json.loads(connection.recv(timeout=60)))["type"] not in kinds:
        pass
    return event


def opened(line: Line, **heard: Any) -> ClientConnection:
    connection: ClientConnection = until(lambda: opened_or_none(line), "a place is free")
    send(connection, update(**heard))
    next_of(connection, "session.updated")
    return connection


def still_works(connection: ClientConnection) -> None:
    """The session transcribes as if nothing had been."""
    for piece in pieces(spoken()):
        send(connection, {"type": APPEND, "audio": piece})
    assert "wall clock" in next_of(connection, COMPLETED)["transcript"]


DEEP = '{"type": "session.update", "session": ' + "[" * 5000 + "]" * 5000 + "}"
WRONG: list[tuple[Any, str, str | None]] = [
    (b'{"type": "input_audio_buffer.clear"}', "binary-message", None),
    (b"\x00\xff\xfe" * 20, "binary-message", None),
    ("", "bad-json", None),
    ("{", "bad-json", None),
    ("\0", "bad-json", None),
    (DEEP, "bad-json", None),
    ("NaN", "bad-json", None),
    ("[1]", "bad-body", None),
    ("{}", "unknown-event", "type"),
    ('{"type": 7}', "unknown-event", "type"),
    ('{"type": ["session.update"]}', "unknown-event", "type"),
    ('{"type": {"a": 1}}', "unknown-event", "type"),
    ('{"type": "response.create", "event_id": "mine"}', "unknown-event", "type"),
    ('{"type": "session.update"}', "bad-field", "session"),
    ('{"type": "session.update", "session": {"type": "realtime"}}', "transcribes-only", "session.type"),
    ({"type": APPEND}, "bad-base64", "audio"),
    ({"type": APPEND, "audio": "no base64!"}, "bad-base64", "audio"),
    ({"type": APPEND, "audio": "हैलो"}, "bad-base64", "audio"),
    ({"type": APPEND, "audio": [1, 2]}, "bad-base64", "audio"),
    ({"type": APPEND, "audio": base64.b64encode(b"odd").decode()}, "half-a-sample", None),
    ({"type": COMMIT}, "nothing-to-commit", None),
    (update(format={"type": "audio/mp3"}), "bad-field", "session.audio.input.format.type"),
    (update(format={"type": "audio/pcm", "rate": 44_100}), "bad-field", "session.audio.input.format.rate"),
    (update(format="pcm16"), "bad-field", "session.audio.input.format"),
    (update(transcription={"model": "whisper-1"}), "unknown-model-version", "model"),
    (update(transcription={"language": "ta"}), "unknown-language", "language"),
    (update(transcription={"language": "x!"}), "bad-field", "session.audio.input.transcription.language"),
    (update(transcription={"prompt": "a\0b"}), "bad-field", "session.audio.input.transcription.prompt"),
    (update(transcription={"prompt": "w" * 3000}), "bad-field", "session.audio.input.transcription.prompt"),
    (update(transcription={"keywords": ["w"] * 200}), "bad-field", "session.audio.input.transcription.keywords"),
    (update(turn_detection={"type": "semantic_vad"}), "bad-field", "session.audio.input.turn_detection.type"),
    (update(turn_detection={"threshold": 7}), "bad-field", "session.audio.input.turn_detection.threshold"),
    (
        update(turn_detection={"silence_duration_ms": -1}), "bad-field",
        "session.audio.input.turn_detection.silence_duration_ms",
    ),
    (
        {"type": "transcription_session.update", "session": {"input_audio_format": "mp3"}}, "bad-field",
        "session.input_audio_format",
    ),
]  # fmt: skip


def test_every_wrong_event_is_told_and_changes_nothing(line: Line) -> None:
    with opened(line) as connection:
        for message, code, param in WRONG:
            connection.send(message if isinstance(message, str | bytes) else json.dumps(message))
            told = next_of(connection, "error", "session.updated")
            assert told["type"] == "error", message
            error = told["error"]
            assert (error["code"], error["param"]) == (code, param), message
            assert error["next_step"]
            assert error["message"].endswith(error["next_step"])
            assert error["event_id"] == ("mine" if message == WRONG[12][0] else None)
        connection.send(b"\xff{", text=True)  # no UTF-8 in a text message
        assert next_of(connection, "error")["error"]["code"] == "bad-json"
        still_works(connection)
    assert "Traceback" not in line.log()


def test_a_client_that_is_only_wrong_is_sent_away(line: Line) -> None:
    with line.connect() as connection:
        for _ in range(50):
            connection.send("{")
        assert close_of(connection) == (1008, "too-many-mistakes")


def test_a_message_over_a_megabyte_ends_its_session_and_no_other(line: Line) -> None:
    with opened(line) as other:
        with line.connect() as connection:
            with contextlib.suppress(ConnectionClosed):
                connection.send("x" * 1_100_000)
            assert close_of(connection)[0] == 1009
        still_works(other)


def test_half_a_message_and_no_frames_at_all_hold_nobody_up(line: Line) -> None:
    head = (
        f"GET /v1/realtime HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {'l' * 24}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OTAxMjM0NQ==\r\n\r\n"
    )
    left = []
    for frames in (b"\x81\xfe", b"\x01\x81\0\0\0\0{", b"no frame of a client"):
        raw = socket.create_connection(("127.0.0.1", line.port))
        raw.sendall(head.encode())
        assert raw.recv(12) == b"HTTP/1.1 101"
        raw.sendall(frames)
        left.append(raw)
    with opened(line) as connection:
        still_works(connection)
    for raw in left:
        raw.close()


def test_a_client_that_goes_without_a_word_gives_its_place_back(line: Line) -> None:
    held = [until(lambda: opened_or_none(line), "a place is free") for _ in range(PLACES)]
    with pytest.raises(InvalidStatus) as refused:
        line.connect()
    answer = refused.value.response
    assert (answer.status_code, json.loads(answer.body)["error"]["code"]) == (429, "sessions-full")
    assert int(answer.headers["Retry-After"]) >= 1
    for connection in held:
        send(connection, {"type": APPEND, "audio": pieces(spoken())[5]})
        connection.socket.shutdown(socket.SHUT_RDWR)
    with until(lambda: opened_or_none(line), "a place is free again") as connection:
        send(connection, update())
        next_of(connection, "session.updated")
        still_works(connection)


def opened_or_none(line: Line) -> ClientConnection | None:
    try:
        return line.connect()
    except InvalidStatus:
        return None


def test_speech_without_a_pause_is_cut_and_goes_on_and_silence_costs_nothing(line: Line) -> None:
    """Speech with pauses that are none here, sent at once, with turns of at most five seconds; then silence."""
    with opened(line, turn_detection={"silence_duration_ms": 3000}) as connection:
        for piece in [*pieces(spoken(after_s=0) * 6), *pieces(bytes(2 * 16_000 * 10))]:
            send(connection, {"type": APPEND, "audio": piece})
        events: list[dict[str, Any]] = []
        while not events or events[-1].get("reason") != "silence":
            events.append(next_of(connection, STARTED, STOPPED, COMPLETED))
        started = [event for event in events if event["type"] == STARTED]
        cuts = [event for event in events if event.get("reason") == "turn_limit"]
        assert len(cuts) >= 3
        assert len({event["item_id"] for event in started}) == len(started) == len(cuts) + 1
        for stopped, following in zip(cuts, started[1:], strict=True):
            assert stopped["audio_end_ms"] == following["audio_start_ms"], "no speech is lost between two items"
        texts = [event["transcript"] for event in events if event["type"] == COMPLETED]
        while len(texts) < len(started):
            texts.append(next_of(connection, COMPLETED)["transcript"])
        assert sum("clock" in text for text in texts) >= 3
