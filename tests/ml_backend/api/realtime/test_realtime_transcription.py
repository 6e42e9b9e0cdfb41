"""`/v1/realtime` as the real `openai` client meets it, at the real `serve` command with the bundled model."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import numpy as np
import pytest
from websockets.exceptions import InvalidStatus

from ml_backend.audio import streamed_audio
from tests.ml_backend.api.realtime.conftest import LIVE, READ, Line, pieces, spoken, until
from tests.ml_backend.api.realtime.test_realtime_input import next_of, send

DELTA = "conversation.item.input_audio_transcription.delta"
COMPLETED = "conversation.item.input_audio_transcription.completed"


def session(**audio: Any) -> Any:
    given = {"format": {"type": "audio/pcm", "rate": 16_000}, "transcription": {"language": "en"}, **audio}
    return {"type": "transcription", "audio": {"input": given}}


def test_the_openai_client_gets_texts_while_somebody_speaks_and_the_final_text_at_the_end(line: Line) -> None:
    with line.client().realtime.connect(extra_query={"intent": "transcription", "call": "c5d1"}) as connection:
        created: Any = connection.recv()
        assert created.type == "session.created"
        connection.session.update(
            session={
                "type": "transcription",
                "audio": {
                    "input": {
                        "format": {"type": "audio/pcm", "rate": 24_000},
                        "transcription": {"model": "champion", "language": "en", "prompt": "An order."},
                        "turn_detection": {"type": "server_vad", "silence_duration_ms": 400},
                    }
                },
            }
        )
        updated: Any = connection.recv()
        assert updated.type == "session.updated"
        heard = updated.session.audio.input
        assert (heard.transcription.language, heard.turn_detection.silence_duration_ms) == ("en", 400)
        assert heard.turn_detection.prefix_padding_ms == 300  # what was not said stays
        for piece in pieces(spoken(rate_hz=24_000), 24_000):
            connection.input_audio_buffer.append(audio=piece)
        events: list[Any] = until(connection, COMPLETED)
    kinds = [event.type for event in events]
    assert kinds[0] == "input_audio_buffer.speech_started"
    for earlier, later in (
        ("input_audio_buffer.speech_started", "input_audio_buffer.speech_stopped"),
        ("input_audio_buffer.speech_stopped", "input_audio_buffer.committed"),
        ("input_audio_buffer.committed", "conversation.item.added"),
        ("conversation.item.added", "conversation.item.done"),
    ):
        assert kinds.index(earlier) < kinds.index(later)
    assert "".join(event.delta for event in events if event.type == DELTA) == events[-1].transcript
    assert {event.item_id for event in events if hasattr(event, "item_id")} == {events[-1].item_id}
    assert events[-1].model_version == created.session.model_version
    assert events[-1].languages[0].code == "en"
    started = events[0]
    assert 200 < started.audio_start_ms < 1000
    assert "wall clock" in events[-1].transcript


def test_a_refused_handshake_says_why_in_the_form_of_openai(line: Line) -> None:
    for query, token, status, code in (
        ("", "x" * 24, 401, "unauthorized"),
        ("", READ, 403, "forbidden"),
        ("?model=whisper-1", LIVE, 404, "unknown-model-version"),
        ("?language=ta", LIVE, 400, "unknown-language"),
        ("?intent=conversation", LIVE, 400, "bad-field"),
        ("?call=%00", LIVE, 400, "control-characters"),
    ):
        with pytest.raises(InvalidStatus) as refused:
            line.connect(query, token)
        answer = refused.value.response
        error = json.loads(answer.body)["error"]
        assert (answer.status_code, error["code"]) == (status, code)
        assert error["next_step"]
    plain = httpx2.get(f"http://127.0.0.1:{line.port}/v1/realtime", headers={"Authorization": f"Bearer {LIVE}"})
    assert (plain.status_code, plain.json()["error"]["code"]) == (426, "not-a-websocket")


def test_a_client_may_end_its_turns_itself_and_speak_the_older_form(line: Line) -> None:
    with line.connect() as connection:
        send(connection, {
            "type": "transcription_session.update",
            "session": {
                "input_audio_format": "g711_ulaw", "turn_detection": None,
                "input_audio_transcription": {"model": "champion", "language": "en"},
            },
        })  # fmt: skip
        told = next_of(connection, "transcription_session.updated")["session"]
        assert (told["input_audio_format"], told["turn_detection"]) == ("g711_ulaw", None)
        for _ in range(2):
            for piece in pieces(mu_law(spoken(rate_hz=8_000)), 4_000):
                send(connection, {"type": "input_audio_buffer.append", "audio": piece})
            send(connection, {"type": "input_audio_buffer.commit"})
            item = next_of(connection, "conversation.item.created")["item"]
            ended = next_of(connection, COMPLETED)
            assert ended["item_id"] == item["id"]
            assert "clock" in ended["transcript"]
        for piece in pieces(mu_law(spoken(rate_hz=8_000)), 4_000):
            send(connection, {"type": "input_audio_buffer.append", "audio": piece})
        send(connection, {"type": "input_audio_buffer.clear"})
        next_of(connection, "input_audio_buffer.cleared")
        send(connection, {"type": "input_audio_buffer.commit"})
        assert next_of(connection, "error")["error"]["code"] == "nothing-to-commit"


def mu_law(pcm: bytes) -> bytes:
    """The nearest code of each sample."""
    values = streamed_audio._table("pcmu").astype(np.int32)
    order = np.argsort(values)
    wanted = np.frombuffer(pcm, "<i2").astype(np.int32)
    places = np.clip(np.searchsorted(values[order], wanted), 0, 255)
    return order[places].astype(np.uint8).tobytes()
