"""`/v1` as the real `openai` client and a bare HTTP client meet it."""

from __future__ import annotations

import contextlib
import wave
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import httpx2
import numpy as np
import openai
import pytest

from ml_backend import tables
from ml_backend.api.live import live_speech
from ml_backend.api.live.live_bodies import SpeechBody
from ml_backend.errors import InvalidInput, KaanError, RetryableError
from ml_backend.models import kinds, registry
from ml_backend.tts import prompts
from ml_backend.tts.parler_voice import ParlerNeeds, ParlerVoice
from ml_backend.tts.prompts import PromptPlaces
from tests.ml_backend.api.live.conftest import LIVE, PHONE, promote
from tests.ml_backend.api.serving import BASIC, BEARER, OPERATOR, Serving

BUNDLED = {"nlu": "kaan-intents", "tts": "kaan-voice"}
SAID = "your order is on the way."


def client(phone: Serving, key: str = LIVE) -> openai.OpenAI:
    http = httpx2.Client(transport=httpx2.WSGITransport(app=phone.app))
    return openai.OpenAI(api_key=key, base_url="http://kaan.example/v1", http_client=http, max_retries=0)


def refused(phone: Serving, path: str, body: Any, status: int = 400) -> dict[str, Any]:
    answer = phone.post(path, body, PHONE)
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.get_json()["error"]
    assert set(error) == {"message", "type", "code", "param", "next_step", "request_id"}
    assert error["message"].endswith(error["next_step"])
    assert error["next_step"]
    return error


def test_the_openai_client_gets_speech_in_every_form_that_it_knows(phone: Serving) -> None:
    asked = client(phone)
    for form in ("mp3", "opus", "aac", "flac", "wav"):
        said = asked.audio.speech.create(
            model="champion", voice="kaan", input=SAID, response_format=form, extra_body={"language": "en"}
        )
        assert said.response.headers["x-kaan-model-version"].startswith(BUNDLED["tts"])
        with av.open(BytesIO(said.content), "r") as sound:
            rate_hz = sound.streams.audio[0].rate
            samples = sum(frame.samples for frame in sound.decode(audio=0))
        assert 1 < samples / rate_hz < 4, form
    raw = asked.audio.speech.create(model="champion", voice="kaan", input=SAID, response_format="pcm")
    assert 1 < len(np.frombuffer(raw.content, "<i2")) / 24_000 < 4


@pytest.mark.parametrize("keep", [{}, {"keep": False}, {"keep": True}])
def test_a_sentence_that_was_kept_is_read_from_the_store_and_is_one_clip(phone: Serving, keep: dict[str, bool]) -> None:
    asked = {"model": "champion", "voice": "kaan", "input": SAID, "response_format": "wav", "language": "en"}
    body = {**asked, "keep": True}
    first = phone.post("/v1/audio/speech", body, PHONE)
    (clip,) = phone.rows(tables.voice_clips)
    assert (clip.text, clip.voice, clip.language) == (SAID, "kaan", "en")
    assert clip.model_version == first.headers["x-kaan-model-version"]
    other = b"another sound"
    bucket = PromptPlaces.of(phone.context.settings).bucket
    phone.context.store.delete(bucket, clip.key)
    phone.context.store.put_bytes(bucket, clip.key, other)
    assert phone.post("/v1/audio/speech", {**asked, **keep}, PHONE).data == other
    assert len(phone.rows(tables.voice_clips)) == 1
    assert phone.post("/v1/audio/speech", {**body, "speed": 1.3}, PHONE).data != first.data


def test_what_an_openai_client_says_to_a_caller_does_not_stay(phone: Serving) -> None:
    for _ in range(2):
        said = client(phone).audio.speech.create(
            model="champion", voice="kaan", input="hello asha", response_format="wav", extra_body={"language": "en"}
        )
        with wave.open(BytesIO(said.content)) as sound:
            assert sound.getnframes() > 8000
    assert phone.rows(tables.voice_clips) == []
    places = PromptPlaces.of(phone.context.settings)
    with contextlib.suppress(KaanError):  # there is no such bucket
        assert list(phone.context.store.list(places.bucket, prefix=places.versions)) == []


@pytest.mark.parametrize("keep", [False, True])
def test_a_store_that_does_not_answer_costs_the_caller_nothing(phone: Serving, monkeypatch: Any, keep: bool) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise RetryableError("store-unavailable", "The object store does not answer.", "Wait.")

    body = {"input": SAID, "response_format": "wav", "language": "en", "keep": keep}
    assert phone.post("/v1/audio/speech", body, PHONE).status_code == 200  # the version is loaded
    monkeypatch.setattr(type(phone.context.store), "stat", away)
    said = phone.post("/v1/audio/speech", body, PHONE)
    with wave.open(BytesIO(said.data)) as sound:
        assert sound.getnframes() > 16_000


def test_a_parse_names_its_version_and_its_offsets_are_code_points(phone: Serving) -> None:
    text = "😀 where is my order KA1234"
    answer = phone.post("/v1/nlu/parse", {"text": text, "language": "en", "call": "call-1"}, PHONE)
    found = answer.get_json()
    (entity,) = found["entities"]
    assert text[entity["start"] : entity["end"]] == entity["value"] == "KA1234"
    assert (found["intent"], found["language"]) == ("order_status", "en")
    assert found["version"] == answer.headers["x-kaan-model-version"]
    assert 0 < found["confidence"] <= 1


def test_the_list_of_models_names_aliases_and_versions_of_each_kind(
    phone: Serving, renamed: Callable[..., registry.Version]
) -> None:
    phone.post("/v1/nlu/parse", {"text": "hello"}, PHONE)
    promote(phone, renamed("nlu", "trial"), alias="challenger")
    found = {each.id: each for each in client(phone).models.list()}
    assert {"champion", "challenger"} < set(found)
    assert [name for name in found if name.startswith("kaan-intents")]
    assert client(phone).models.retrieve("challenger").object == "model"
    with pytest.raises(openai.NotFoundError) as caught:
        client(phone).models.retrieve("whisper-1")
    assert caught.value.code == "unknown-model-version"


def test_a_version_and_an_alias_answer_by_name_and_another_kind_is_refused(
    phone: Serving, renamed: Callable[..., registry.Version]
) -> None:
    trial, voice = renamed("nlu", "trial"), renamed("tts", "trial-voice")
    promote(phone, trial, alias="challenger")
    for name in (trial.version, "challenger", "nlu:newest"):
        answer = phone.post("/v1/nlu/parse", {"text": "hello", "model": name}, PHONE)
        assert answer.get_json()["version"] == trial.version
    assert refused(phone, "/v1/nlu/parse", {"text": "hello", "model": voice.version})["code"] == "wrong-kind"
    unknown = refused(phone, "/v1/audio/speech", {"input": "hello", "model": "tts-1"}, 404)
    assert (unknown["code"], unknown["param"], unknown["type"]) == ("unknown-model-version", "model", "not_found_error")


@pytest.mark.parametrize(
    ("path", "body", "code", "param"),
    [
        ("/v1/nlu/parse", {}, "bad-field", "text"),
        ("/v1/nlu/parse", {"text": 5}, "bad-field", "text"),
        ("/v1/nlu/parse", {"text": "x" * 10_001}, "bad-field", "text"),
        ("/v1/nlu/parse", {"text": "x", "language": "Hindi!"}, "bad-field", "language"),
        ("/v1/nlu/parse", {"text": "x", "call": ["a"]}, "bad-field", "call"),
        ("/v1/nlu/parse", {"text": "a\x00b"}, "bad-field", "text"),
        ("/v1/nlu/parse", {"text": "x", "call": "a\x00b"}, "bad-field", "call"),
        ("/v1/nlu/parse", {"text": "x", "model": "a\x00b"}, "bad-field", "model"),
        ("/v1/audio/speech", {"input": "a\x00b", "keep": True}, "bad-field", "input"),
        ("/v1/audio/speech", {"input": "hello\x00", "response_format": "wav"}, "bad-field", "input"),
        ("/v1/audio/speech", {"input": "hello", "voice": "a\x00b"}, "bad-field", "voice"),
        ("/v1/audio/speech", {"input": "hello", "voice": {"id": "a\x00b"}}, "bad-field", "voice"),
        ("/v1/audio/speech", {"input": "hello", "emotion": "a\x00b"}, "bad-field", "emotion"),
        ("/v1/audio/speech", {"voice": "kaan"}, "bad-field", "input"),
        ("/v1/audio/speech", {"input": "hello", "response_format": "midi"}, "bad-field", "response_format"),
        ("/v1/audio/speech", {"input": "hello", "speed": "fast"}, "bad-field", "speed"),
        ("/v1/audio/speech", {"input": "hello", "speed": True}, "bad-field", "speed"),
        ("/v1/audio/speech", {"input": "hello", "keep": "no"}, "bad-field", "keep"),
        ("/v1/audio/speech", {"input": "hello", "speed": 0.3}, "speech-tempo", "speed"),
        ("/v1/audio/speech", {"input": "hello", "stream_format": "sse"}, "bad-field", "stream_format"),
        ("/v1/audio/speech", {"input": "hello", "voice": "alloy"}, "speech-voice-unknown", "voice"),
        ("/v1/audio/speech", {"input": "hello", "emotion": "angry"}, "speech-emotion-unknown", "emotion"),
        ("/v1/audio/speech", {"input": "hello", "language": "ta"}, "speech-language-unknown", "language"),
        ("/v1/audio/speech", {"input": " ?! "}, "speech-text-empty", "input"),
        ("/v1/audio/speech", {"input": "ha " * 900}, "speech-text-too-long", "input"),
        ("/v1/audio/speech", {"input": "안녕"}, "speech-letters-unknown", "input"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_with_what_to_do(
    phone: Serving, path: str, body: dict[str, Any], code: str, param: str
) -> None:
    error = refused(phone, path, body)
    assert (error["code"], error["param"], error["type"]) == (code, param, "invalid_request_error")


def test_a_text_that_no_database_keeps_is_refused_with_the_reason(phone: Serving) -> None:
    error = refused(phone, "/v1/audio/speech", {"input": "hello\x00asha"})
    assert "input must be a text of at most 10,000 characters, without the character NUL" in error["message"]
    half = b'{"input": "hello \\ud800"}'
    send = phone.app.test_client()
    answer = send.post("/v1/audio/speech", data=half, content_type="application/json", headers=PHONE)
    assert answer.status_code == 400


def test_every_mistake_is_named_at_once(phone: Serving) -> None:
    message = refused(phone, "/v1/audio/speech", {"input": 1, "speed": 9, "response_format": 0})["message"]
    assert all(name in message for name in ("input", "speed", "response_format"))


def test_the_field_call_is_read_before_the_header_and_an_odd_header_harms_nobody(phone: Serving) -> None:
    for header in ("", "x" * 5000, "ä"):
        answer = phone.post("/v1/nlu/parse", {"text": "hello"}, {**PHONE, "x-kaan-call": header})
        assert answer.status_code == 200


def test_what_is_no_json_and_an_unknown_address_have_the_same_form(phone: Serving) -> None:
    send = phone.app.test_client()
    for answer, status, code in (
        (send.post("/v1/nlu/parse", data=b"{", content_type="application/json", headers=PHONE), 400, "bad-json"),
        (send.post("/v1/nlu/parse", data=b"{}", headers=PHONE), 415, "not-json"),
        (send.get("/v1/nothing", headers=PHONE), 404, "not-found"),
        (send.get("/v1/nlu/parse", headers=PHONE), 405, "method-not-allowed"),
        (send.get("/v1/models/%00", headers=PHONE), 400, "control-characters"),
    ):
        assert (answer.status_code, answer.get_json()["error"]["code"]) == (status, code)


def test_a_token_of_role_live_opens_v1_and_nothing_else(phone: Serving) -> None:
    for address in ("/api/jobs", "/api/calls", "/api/openapi.json", "/metrics"):
        assert phone.get(address, PHONE).status_code == 403, address
    assert phone.post("/webhooks/objects", {}, PHONE).status_code == 403
    for address in ("/predict", "/setup", "/versions", "/webhook"):
        assert phone.post(address, {}, PHONE).status_code == 401, address
    with pytest.raises(openai.AuthenticationError) as caught:
        client(phone, "w" * 24).models.list()
    assert caught.value.code == "unauthorized"
    assert phone.get("/v1/models", BEARER).status_code == 403  # role read
    assert phone.get("/v1/models", BASIC).status_code == 401
    assert phone.get("/v1/models", OPERATOR).status_code == 200


def test_the_store_keeps_the_sounds_of_two_versions_apart(
    phone: Serving, renamed: Callable[..., registry.Version]
) -> None:
    other = renamed(kinds.TTS, "other-voice")
    body = {"input": SAID, "language": "en", "response_format": "wav", "keep": True}
    phone.post("/v1/audio/speech", body, PHONE)
    phone.post("/v1/audio/speech", {**body, "model": other.version}, PHONE)
    assert {row.model_version for row in phone.rows(tables.voice_clips)} > {other.version}


def test_a_voice_that_starts_slowly_answers_a_call_only_with_what_was_rendered_before(
    phone: Serving, tmp_path: Path
) -> None:
    interpreter = tmp_path / "env" / "bin" / "python"
    interpreter.parent.mkdir(parents=True)
    interpreter.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    interpreter.chmod(0o700)
    settings = phone.context.settings.model_copy(update={"tts_parler_python": str(interpreter)})
    slow = ParlerVoice(settings, tmp_path, ParlerNeeds(("en",), ("asha",), ("neutral",)), "parler-1")
    asked = SpeechBody(input="hello", response_format="wav")
    with pytest.raises(InvalidInput) as refused:
        live_speech.sound(phone.context, slow, asked)
    assert (refused.value.code, refused.value.status) == ("speech-not-rendered", 409)
    rendered = prompts.saying(slow, "hello", "en")
    places = PromptPlaces.of(phone.context.settings)
    phone.context.store.ensure_bucket(places.bucket)
    phone.context.store.put_bytes(places.bucket, rendered.key(places), b"a sound")
    assert live_speech.sound(phone.context, slow, asked) == (b"a sound", "audio/wav")
    assert not (tmp_path / "started").exists()


def test_samples_are_read_as_they_were_written() -> None:
    out = BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(np.array([0, 16384, -32768], "<i2").tobytes())
    samples, rate_hz = live_speech._samples(out.getvalue())
    assert (samples.tolist(), rate_hz) == ([0.0, 0.5, -1.0], 8000)
