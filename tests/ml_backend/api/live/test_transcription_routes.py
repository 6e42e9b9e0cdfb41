"""`/v1/audio/transcriptions` as the real `openai` client and a bare HTTP client meet it, on the bundled model."""

from __future__ import annotations

import gc
import re
import threading
import wave
import weakref
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
import pytest
from gunicorn.http.errors import InvalidChunkSize

from ml_backend.api.app import create_live_app
from ml_backend.api.live import live_engines, live_transcription
from ml_backend.asr import engine
from ml_backend.audio import decoding
from ml_backend.errors import PermanentError
from ml_backend.jobs.device_turns import DeviceTurns
from ml_backend.models import registry
from tests.ml_backend.api import documented
from tests.ml_backend.api.live.conftest import LIVE, PHONE, promote
from tests.ml_backend.api.serving import BEARER, Serving
from tests.patience import until

SPEECH = engine.CHECK


@pytest.fixture
def line(phone: Serving) -> Serving:
    """The app of `serve` on the same deployment."""
    return Serving(documented.check(create_live_app(phone.context.settings, context=phone.context)), phone.context)


def client(line: Serving) -> openai.OpenAI:
    http = httpx2.Client(transport=httpx2.WSGITransport(app=line.app))
    return openai.OpenAI(api_key=LIVE, base_url="http://kaan.example/v1", http_client=http, max_retries=0)


def post(line: Serving, file: bytes | None = None, *, headers: Any = PHONE, **fields: Any) -> Any:
    data = {**fields, **({"file": (BytesIO(file), "call.wav")} if file is not None else {})}
    return line.app.test_client().post(
        "/v1/audio/transcriptions", data=data, headers=headers, content_type="multipart/form-data"
    )


def refused(answer: Any, status: int, code: str, param: str | None) -> None:
    error = answer.get_json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (status, code, param), answer.text
    assert error["next_step"]
    assert error["message"].endswith(error["next_step"])


def test_the_openai_client_gets_the_text_in_every_form(line: Serving) -> None:
    asked = client(line).audio.transcriptions
    with SPEECH.open("rb") as sound:
        plain = asked.with_raw_response.create(file=sound, model="champion", language="en", prompt="An order.")
    assert plain.headers["x-kaan-model-version"].startswith("kaan-tiny")
    text = plain.parse().text
    assert re.search("[a-z]{3}", text)

    whole = asked.create(
        file=SPEECH, model="champion", language="en", response_format="verbose_json",
        timestamp_granularities=["word", "segment"], temperature=0,
    )  # fmt: skip
    assert (whole.language, whole.text) == ("english", text)
    assert whole.segments
    assert whole.words
    assert 0 <= whole.segments[0].start < whole.segments[0].end <= whole.duration
    assert whole.words[0].start >= whole.segments[0].start
    forms: tuple[tuple[Any, str], ...] = (("text", text), ("srt", "1\n00:00:"), ("vtt", "WEBVTT\n\n00:00:"))
    for form, mark in forms:
        assert mark in asked.create(file=SPEECH, model="champion", language="en", response_format=form)

    events: list[Any] = list(asked.create(file=SPEECH, model="champion", language="en", stream=True))
    assert "".join(event.delta for event in events[:-1]) == events[-1].text == text


def test_only_who_may_ask_the_live_routes_is_answered(line: Serving, phone: Serving) -> None:
    sound = SPEECH.read_bytes()
    assert post(line, sound, headers=None).status_code == 401
    assert post(line, sound, headers=BEARER).status_code == 403
    refused(post(phone, sound), 404, "not-served-here", None)  # the process of the webhooks has no time for it


@pytest.mark.parametrize(
    ("file", "fields", "status", "code", "param"),
    [
        (None, {}, 400, "file-missing", "file"),
        (b"", {}, 400, "audio-empty", "file"),
        (b"<html>no sound</html>" * 9, {}, 400, "audio-not-audio", "file"),
        (SPEECH.read_bytes(), {"language": "klingon"}, 400, "bad-field", "language"),
        (SPEECH.read_bytes(), {"language": "ta"}, 400, "unknown-language", "language"),
        (SPEECH.read_bytes(), {"model": "whisper-1"}, 404, "unknown-model-version", "model"),
        (SPEECH.read_bytes(), {"response_format": "docx"}, 400, "bad-field", "response_format"),
        (SPEECH.read_bytes(), {"temperature": "warm"}, 400, "bad-field", "temperature"),
        (SPEECH.read_bytes(), {"temperature": "nan"}, 400, "bad-field", "temperature"),
        (SPEECH.read_bytes(), {"stream": "perhaps"}, 400, "bad-field", "stream"),
        (SPEECH.read_bytes(), {"timestamp_granularities[]": "phoneme"}, 400, "bad-field", "timestamp_granularities"),
        (SPEECH.read_bytes(), {f"field{n}": "x" for n in range(60)}, 413, "form-too-large", None),
    ],
)
def test_what_is_wrong_is_named_with_its_field(
    line: Serving, file: bytes | None, fields: dict[str, str], status: int, code: str, param: str | None
) -> None:
    refused(post(line, file, **fields), status, code, param)


def test_json_and_a_form_that_is_none_are_refused(line: Serving) -> None:
    ask = line.app.test_client().post
    refused(ask("/v1/audio/transcriptions", json={"file": "x"}, headers=PHONE), 415, "not-multipart", None)
    broken = ask(
        "/v1/audio/transcriptions", data=b"no parts", headers=PHONE, content_type="multipart/form-data; boundary=b"
    )
    refused(broken, 400, "file-missing", "file")


def test_a_name_of_a_file_that_no_disk_takes_is_only_a_hint(line: Serving) -> None:
    for name in ("a.\0w", "../../etc/passwd", "x." + "w" * 300, "कॉल.wav", ""):
        data = {"file": (BytesIO(SPEECH.read_bytes()), name or "f"), "language": "en"}
        ask = line.app.test_client().post
        sent = ask("/v1/audio/transcriptions", data=data, headers=PHONE, content_type="multipart/form-data")
        assert sent.status_code == 200, (name, sent.text)


class Broken:
    """gunicorn's body of a request whose chunks are none."""

    def read(self, *size: Any) -> bytes:
        raise InvalidChunkSize(b"zz")

    readline = read


def test_a_body_that_is_badly_chunked_is_the_senders_error(line: Serving) -> None:
    sent = line.app.test_client().post(
        "/v1/audio/transcriptions", headers=PHONE, content_type="multipart/form-data; boundary=b",
        environ_overrides={"wsgi.input": Broken(), "wsgi.input_terminated": True, "CONTENT_LENGTH": "100"},
    )  # fmt: skip
    refused(sent, 400, "unreadable-body", None)


def test_long_audio_goes_in_parts_between_which_others_have_their_turn(
    line: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = live_engines.of(line.context).answering("asr").engine
    lengths: list[float] = []

    class Noting:
        def transcribe(self, requests: Any) -> Any:
            lengths.extend(request.samples.shape[-1] / 16_000 for request in requests)
            return transcriber.transcribe(requests)

    transcriber = batches.transcriber
    monkeypatch.setattr(batches, "transcriber", Noting())
    monkeypatch.setattr(live_transcription, "AT_ONCE_S", 4.0)
    samples, _ = decoding.read_wav(SPEECH)
    pause = np.zeros(8000, np.float32)
    whole = np.concatenate([samples[0], pause] * 4)
    with BytesIO() as file:
        with wave.open(file, "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(16_000)
            out.writeframes((whole * 32767).astype("<i2").tobytes())
        said = post(line, file.getvalue(), language="en", response_format="verbose_json").get_json()
    assert len(lengths) > 1
    assert max(lengths) <= 4.0
    assert said["segments"][-1]["end"] > 4.0
    assert said["text"].count("clock") >= 3


def test_silence_is_an_empty_text_and_no_error(line: Serving, tmp_path: Path) -> None:
    path = tmp_path / "silence.wav"
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(bytes(16_000))
    assert client(line).audio.transcriptions.create(file=path, model="champion").text == ""
    verbose = post(line, path.read_bytes(), response_format="verbose_json").get_json()
    assert (verbose["segments"], verbose["duration"]) == ([], 1.0)
    assert post(line, path.read_bytes(), response_format="vtt").text == "WEBVTT\n\n"


class Slow:
    """A recogniser that answers when the test says so, and notes its batches."""

    def __init__(self, transcriber: Any) -> None:
        self._transcriber, self.batches, self.may_go = transcriber, list[int](), threading.Event()

    def transcribe(self, requests: Any) -> Any:
        self.batches.append(len(requests))
        self.may_go.wait(60)
        return self._transcriber.transcribe(requests)


@pytest.fixture
def slow(line: Serving, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    batches = live_engines.of(line.context).answering("asr").engine
    standing = Slow(batches.transcriber)
    monkeypatch.setattr(batches, "transcriber", standing)
    yield standing
    standing.may_go.set()


def ask_together(line: Serving, number: int, answers: list[Any]) -> list[threading.Thread]:
    sound = SPEECH.read_bytes()
    threads = [threading.Thread(target=lambda: answers.append(post(line, sound, language="en"))) for _ in range(number)]
    for thread in threads:
        thread.start()
    return threads


def test_requests_that_come_while_the_model_works_share_a_batch_and_get_their_own_text(
    line: Serving, slow: Slow
) -> None:
    answers: list[Any] = []
    threads = ask_together(line, 5, answers)
    batches = live_engines.of(line.context).answering("asr").engine
    until(lambda: sum(slow.batches) + len(batches._waiting) == 5, "one works, the others wait")
    worker = DeviceTurns(line.context.settings.data_dir / "device-turns")
    assert worker.is_taken(), "jobs give way meanwhile"
    slow.may_go.set()
    for thread in threads:
        thread.join(60)
    assert not worker.is_taken()
    assert len({answer.get_json()["text"] for answer in answers}) == 1
    assert sum(slow.batches) == 5
    assert max(slow.batches) > 1


def test_more_than_may_wait_are_sent_away_with_a_time_to_come_again(line: Serving, slow: Slow) -> None:
    most = line.context.settings.live_most_waiting
    answers: list[Any] = []
    threads = ask_together(line, most + 3, answers)
    until(lambda: len(answers) == 3, "three were sent away")
    for answer in answers:
        refused(answer, 429, "live-busy", None)
        assert int(answer.headers["Retry-After"]) >= 1
    slow.may_go.set()
    for thread in threads:
        thread.join(60)
    assert sorted(answer.status_code for answer in answers) == [200] * most + [429] * 3


def test_a_model_that_fails_on_a_batch_fails_each_of_its_requests_and_no_later_one(
    line: Serving, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow.may_go.set()

    def fail(requests: Any) -> Any:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(slow, "transcribe", fail)
        refused(post(line, SPEECH.read_bytes(), language="en"), 503, "engine-failed", None)
        patch.setattr(slow, "transcribe", lambda requests: [PermanentError("engine-input", "Bad.", "Check it.")])
        refused(post(line, SPEECH.read_bytes(), language="en"), 400, "engine-input", "file")
    assert post(line, SPEECH.read_bytes(), language="en").status_code == 200


def test_a_promotion_under_load_loses_no_request_and_every_answer_is_of_one_version(
    line: Serving, renamed: Callable[..., registry.Version]
) -> None:
    engines = live_engines.of(line.context)
    before = engines.answering("asr").version
    freed = weakref.ref(engines.answering("asr").engine)
    ended, answers = threading.Event(), list[tuple[int, str]]()
    sound = SPEECH.read_bytes()

    def call() -> None:
        while not ended.is_set():
            answer = post(line, sound, language="en")
            answers.append((answer.status_code, answer.headers["x-kaan-model-version"]))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: len(answers) >= 8, "the old one answers")
        after = renamed("asr", "better")
        promote(line, after)
        until(lambda: sum(version == after.version for _, version in answers) >= 8, "the new one answers")
    finally:
        ended.set()
        for thread in threads:
            thread.join(60)
    assert {status for status, _ in answers} == {200}
    assert {version for _, version in answers} == {before.version, after.version}
    gc.collect()
    assert freed() is None, "the old model left memory with its last request"


def test_a_version_that_does_not_load_leaves_the_old_one_answering(
    line: Serving, renamed: Callable[..., registry.Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = post(line, SPEECH.read_bytes(), language="en").headers["x-kaan-model-version"]
    tried = threading.Event()

    def fail(*args: Any, **more: Any) -> Any:
        tried.set()
        raise RuntimeError("no memory")

    monkeypatch.setattr(engine.Transcriber, "load", fail)
    promote(line, renamed("asr", "broken"))
    assert tried.wait(30)
    assert post(line, SPEECH.read_bytes(), language="en").headers["x-kaan-model-version"] == before
