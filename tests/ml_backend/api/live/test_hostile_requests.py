"""Whatever is sent to `/v1` over HTTP: 4xx in OpenAI's form with our code and a next step, and the next is answered."""

from __future__ import annotations

import re
import shutil
import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from werkzeug.test import TestResponse

from ml_backend.api.app import create_live_app
from ml_backend.asr import engine
from ml_backend.context import open_context
from ml_backend.settings import Settings
from tests.ml_backend.api.live.conftest import LIVE, PHONE
from tests.ml_backend.api.serving import BASIC, BEARER, TOKEN, Serving

PARSE, SPEECH, TRANSCRIPTIONS, MODELS = (
    "/v1/nlu/parse", "/v1/audio/speech", "/v1/audio/transcriptions", "/v1/models",
)  # fmt: skip
FIELD = {PARSE: "text", SPEECH: "input"}


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Serving]:
    """The app of `serve`, the same for all that is sent: nothing of it may stay."""
    folder = tmp_path_factory.mktemp("hostile")
    shutil.copy(empty_database, folder / "kaan.db")
    tokens = f"ops:read:{TOKEN},phone:live:{LIVE}"
    settings = Settings(_env_file=None, data_dir=folder, api_tokens=tokens, asr_device="cpu", asr_threads=1)
    context = open_context(settings)
    yield Serving(create_live_app(settings, context=context), context)
    context.db.dispose()


@pytest.fixture(autouse=True)
def _still_answers(line: Serving) -> Iterator[None]:
    yield
    assert line.post(PARSE, {"text": "where is my order"}, PHONE).status_code == 200


def refused(answer: TestResponse, *statuses: int) -> dict[str, Any]:
    assert 400 <= answer.status_code < 500, answer.text
    assert not statuses or answer.status_code in statuses, answer.text
    error: dict[str, Any] = answer.get_json()["error"]
    assert set(error) == {"message", "type", "code", "param", "next_step", "request_id"}
    assert error["message"].endswith(error["next_step"])
    assert error["next_step"]
    assert re.fullmatch("[a-z][a-z0-9-]+", error["code"])
    assert "Traceback" not in answer.text
    assert len(answer.text) < 2000, "what was sent is not sent back"
    return error


def send(line: Serving, path: str, data: bytes | dict[str, Any], *, method: str = "POST", **more: Any) -> TestResponse:
    more = {"content_type": "application/json", "headers": PHONE, **more}
    return line.app.test_client().open(path, method=method, data=data, **more)


BODIES = {
    "nothing": b"", "null": b"null", "a list": b"[]", "a text": b'"text"', "a number": b"7", "half": b'{"FIELD": "a',
    "nothing in it": b"{}", "null in it": b'{"FIELD": null}', "a number in it": b'{"FIELD": 5}',
    "a list in it": b'{"FIELD": ["a"]}', "an object in it": b'{"FIELD": {"a": "b"}}', "true in it": b'{"FIELD": true}',
    "NaN": b'{"FIELD": NaN}', "infinity": b'{"FIELD": "a", "speed": Infinity, "call": Infinity}',
    "beyond numbers": b'{"FIELD": 1e999}', "a long number": b'{"FIELD": 1' + b"0" * 5000 + b"}",
    "deep lists": b'{"FIELD": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "deep objects": b'{"FIELD":' * 20_000,
    "unclosed lists": b"[" * 100_000, "not UTF-8": b'{"FIELD": "\xff\xfe"}',
    "UTF-16": '{"FIELD": "a"}'.encode("utf-16"),
    "half a character": b'{"FIELD": "\\ud800"}', "half a character, raw": b'{"FIELD": "\xed\xa0\x80"}',
    "NUL": b'{"FIELD": "a\\u0000b"}', "too long": b'{"FIELD": "' + b"a" * 10_001 + b'"}',
    "a call too long": b'{"FIELD": "a", "call": "' + b"c" * 201 + b'"}',
    "a call with NUL": b'{"FIELD": "a", "call": "a\\u0000"}',
    "a call of half a character": b'{"FIELD": "a", "call": "\\udc00"}',
    "a call that is a number": b'{"FIELD": "a", "call": 5}',
    "a language of no form": b'{"FIELD": "a", "language": "../x"}',
    "a long language": b'{"FIELD": "a", "language": "' + b"h" * 5000 + b'"}',
    "an unknown model": b'{"FIELD": "a", "model": "whisper-1"}',
    "a model that is a list": b'{"FIELD": "a", "model": []}',
    "a model like SQL": b'{"FIELD": "a", "model": "\' OR 1=1 --"}',
    "a model like a path": b'{"FIELD": "a", "model": "../../etc/passwd"}',
}  # fmt: skip


@pytest.mark.parametrize("path", [PARSE, SPEECH])
@pytest.mark.parametrize("body", list(BODIES))
def test_a_body_that_is_wrong_is_refused(line: Serving, path: str, body: str) -> None:
    refused(send(line, path, BODIES[body].replace(b"FIELD", FIELD[path].encode())), 400, 404)


def test_a_body_over_the_limit_is_refused_on_every_route_that_takes_one(line: Serving) -> None:
    huge = b"x" * (int(line.context.settings.max_body_mb * 1_000_000) + 1)
    for path in (PARSE, SPEECH):
        refused(send(line, path, huge), 413)
    form = {"file": (BytesIO(huge), "a.wav")}
    refused(send(line, TRANSCRIPTIONS, form, content_type="multipart/form-data"), 413)


@pytest.mark.parametrize("path", [PARSE, SPEECH, TRANSCRIPTIONS])
def test_a_body_of_another_type_or_compressed_is_refused(line: Serving, path: str) -> None:
    for kind in (
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/mixed; boundary=b",
        "",
    ):
        refused(send(line, path, b'{"text": "a", "input": "a"}', content_type=kind), 415)
    right = "multipart/form-data; boundary=b" if path == TRANSCRIPTIONS else "application/json"
    for coding in ("gzip", "br", "x-nothing"):
        packed = {**PHONE, "Content-Encoding": coding}
        refused(send(line, path, b"\x1f\x8b\x08", content_type=right, headers=packed), 415)


@pytest.mark.parametrize("path", [PARSE, SPEECH, TRANSCRIPTIONS, MODELS, f"{MODELS}/champion"])
def test_another_method_and_another_role_are_refused(line: Serving, path: str) -> None:
    usual = "GET" if path.startswith(MODELS) else "POST"
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - {usual}:
        refused(send(line, path, b"", method=method), 405)
    for headers, status in (
        ({}, 401), (BASIC, 401), (BEARER, 403), ({"Authorization": "Bearer " + "x" * 5000}, 401),
        ({"Authorization": "Bearer"}, 401), ({"Authorization": "Bearer \xff\xfe"}, 401),
    ):  # fmt: skip
        refused(send(line, path, b"", method=usual, headers=headers), status)


@pytest.mark.parametrize(
    "path",
    ["/v1/", "/v1/nothing", "/v1/models/", "/v1/models/whisper-1", f"/v1/models/{'x' * 5000}", "/v1/chat/completions",
     "/v1/audio/translations", "/v1/audio/speech/", "/v1//models", "/v1/models/..%2f..%2fetc", "/v1/models/%00",
     "/v1/models/%ff%fe", "/v1/nlu/parse%0d%0aX: y"],
)  # fmt: skip
def test_an_address_that_there_is_not_is_refused(line: Serving, path: str) -> None:
    for method in ("GET", "POST"):
        refused(send(line, path, b"", method=method), 400, 404, 405)


def wav(data: bytes, *, channels: int = 1, rate_hz: int = 8000, bits: int = 16, form: int = 1, says: int = -1) -> bytes:
    """A WAV file; `says` is the length that its header states."""
    block = channels * bits // 8
    said = len(data) if says < 0 else says
    head = struct.pack("<HHIIHH", form, channels & 0xFFFF, rate_hz, rate_hz * block & 0xFFFFFFFF, block & 0xFFFF, bits)
    return b"RIFF" + struct.pack("<I", 0xFFFFFFFF & (36 + said)) + b"WAVEfmt " + struct.pack("<I", 16) + head + (
        b"data" + struct.pack("<I", said) + data
    )  # fmt: skip


def flac(seconds: int) -> bytes:
    """Silence, of which an hour is a few hundred kilobytes."""
    out = BytesIO()
    with av.open(out, "w", format="flac") as container:
        stream: Any = container.add_stream("flac", rate=8000, layout="mono")
        silence = np.zeros((1, 8000 * 10), np.int16)
        for _ in range(seconds // 10):
            frame = av.AudioFrame.from_ndarray(silence, format="s16", layout="mono")
            frame.rate = 8000
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()


SECOND = bytes(16_000)
NONSENSE = {
    "nothing": b"", "one byte": b"R", "a page": b"<html></html>" * 50, "a list of files": b"#EXTM3U\nfile:///etc/passwd\n",
    "other files": b"ffconcat version 1.0\nfile /etc/passwd\n", "a picture": b"\x89PNG\r\n\x1a\n" + bytes(500),
    "an archive": b"PK\x03\x04" + bytes(500), "a pickle": b"\x80\x04\x95" + bytes(100), "a head of WAV": wav(b"")[:30],
    "no samples": wav(b""), "no channel": wav(SECOND, channels=0), "0 Hz": wav(SECOND, rate_hz=0),
    "4 GHz": wav(SECOND, rate_hz=0xFFFFFFF0), "64 channels": wav(bytes(128 * 500), channels=64),
    "three channels": wav(bytes(48_000), channels=3),
    "a head of FLAC": b"fLaC" + bytes(60), "a head of Ogg": b"OggS" + bytes(100), "noise as MP3": b"\xff\xfb\x90" * 10,
    "a cut FLAC": flac(10)[:60], "silence of many minutes in few bytes": flac(1200),
}  # fmt: skip
ODD = {
    "more than is there": wav(SECOND, says=0xFFFFFFFF), "less than is there": wav(SECOND, says=100),
    "no number": wav(np.full(8000, np.nan, "<f4").tobytes(), bits=32, form=3),
    "beyond all bounds": wav(np.full(8000, 3e38, "<f4").tobytes(), bits=32, form=3),
    "samples of 7 bits": wav(SECOND, bits=7),
    "1 Hz": wav(bytes(20), rate_hz=1), "384 kHz": wav(bytes(768_000), rate_hz=384_000), "one sample": wav(b"\x00\x01"),
    "half a sample": wav(SECOND + b"x"), "a file cut in the middle": engine.CHECK.read_bytes()[:20_001],
}  # fmt: skip


def upload(line: Serving, sound: bytes, **fields: str) -> TestResponse:
    form = {"file": (BytesIO(sound), "call.wav"), "language": "en", **fields}
    return send(line, TRANSCRIPTIONS, form, content_type="multipart/form-data")


@pytest.mark.parametrize("sound", list(NONSENSE))
def test_what_is_no_audio_or_cannot_be_a_call_is_refused_as_the_file(line: Serving, sound: str) -> None:
    assert refused(upload(line, NONSENSE[sound]), 400, 413)["param"] == "file"


@pytest.mark.parametrize("sound", list(ODD))
def test_audio_that_is_odd_is_transcribed_or_refused(line: Serving, sound: str) -> None:
    answer = upload(line, ODD[sound], response_format="verbose_json")
    if answer.status_code == 200:
        assert isinstance(answer.get_json()["text"], str)
    else:
        refused(answer, 400)


B = "multipart/form-data; boundary=b"
HEAD = b"--b\r\nContent-Disposition: form-data"
FORMS = {
    "no boundary": (b"--b\r\n\r\nx\r\n--b--", "multipart/form-data"),
    "another boundary": (b"--b\r\n\r\nx\r\n--b--", "multipart/form-data; boundary=other"),
    "a boundary of nothing": (b"--b\r\n\r\nx\r\n--b--", "multipart/form-data; boundary="),
    "a boundary too long": (b"x", "multipart/form-data; boundary=" + "b" * 5000),
    "no end": (HEAD + b'; name="file"; filename="a"\r\n\r\nRIFF', B),
    "no name": (HEAD + b"\r\n\r\nx\r\n--b--\r\n", B),
    "no head": (b"--b\r\nx\r\n--b--\r\n", B),
    "a long head": (HEAD + b"x" * 200_000 + b"\r\n\r\n", B),
    "the file as a field": (HEAD + b'; name="file"\r\n\r\nx\r\n--b--\r\n', B),
}


@pytest.mark.parametrize("form", list(FORMS))
def test_a_form_that_is_none_is_refused(line: Serving, form: str) -> None:
    data, kind = FORMS[form]
    refused(send(line, TRANSCRIPTIONS, data, content_type=kind), 400, 413)


@pytest.mark.parametrize(
    ("field", "value"),
    [("call", "c" * 201), ("call", "a\x00b"), ("model", "m" * 201), ("model", "nothing"), ("model", "a\x00"),
     ("language", "h" * 5000), ("language", "hi\x00"), ("prompt", "p" * 2001), ("hotwords", "w," * 1001),
     ("temperature", "1e999"), ("temperature", "-1"), ("temperature", "nan"),
     ("response_format", "\x00"), ("stream", "2"), ("timestamp_granularities[]", "\ufffd")],
)  # fmt: skip
def test_a_field_of_the_form_that_is_wrong_is_named(line: Serving, field: str, value: str) -> None:
    error = refused(upload(line, engine.CHECK.read_bytes(), **{field: value}), 400, 404)
    assert error["param"] == field.removesuffix("[]")
