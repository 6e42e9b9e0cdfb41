"""Callers that send audio slowly, or do not take their answers, hold nothing of `serve`: all others are answered."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest

from ml_backend.asr import engine
from tests.ml_backend.commands.test_serve import LIVE, running
from tests.ml_backend.commands.test_slow_clients import stalled
from tests.patience import until

TOKEN = f"Authorization: Bearer {LIVE}\r\n"
FORM = f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: x\r\n{TOKEN}Content-Type: multipart/form-data; boundary=b\r\n"
PART = '--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF'


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Four threads, of which two may answer."""
    monkeypatch.setenv("LIVE_MOST_WAITING", "2")
    with running(tmp_path) as (found, _):
        yield found


def answered(port: int, *, times: int = 3) -> None:
    """Somebody else is answered on every route, uploads of more than a small body too."""
    sound = engine.CHECK.read_bytes()
    assert len(sound) > 64 * 1024
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}/v1", timeout=60, headers={"x-kaan-call": "c"}) as http:
        http.headers["Authorization"] = f"Bearer {LIVE}"
        for _ in range(times):
            assert http.post("/nlu/parse", json={"text": "where is my order"}).status_code == 200
            said = http.post("/audio/transcriptions", files={"file": sound}, data={"language": "en"})
            assert said.status_code == 200, said.text
            assert http.get("/models").status_code == 200


def test_audio_that_comes_slowly_holds_no_thread_and_no_place_among_those_that_are_answered(port: int) -> None:
    """Twice as many as there are threads, with the lengths of a turn, of an hour, and endless by chunks."""
    turn = f"{FORM}Content-Length: 900000\r\n\r\n{PART}"
    with stalled(port, 8, turn), stalled(port, 2, f"{FORM}Content-Length: 9000000\r\n\r\n{PART}"):
        answered(port)
    with stalled(port, 8, turn), stalled(port, 2, f"{FORM}Transfer-Encoding: chunked\r\n\r\n40\r\n{PART}"):
        answered(port, times=1)


def test_an_answer_that_nobody_takes_holds_no_thread(port: int) -> None:
    """More clients than threads that ask for long answers and do not read, until the server reads no more of them."""
    body = b'{"text": "%s"}' % (b"where is my order " * 500)
    head = f"POST /v1/nlu/parse HTTP/1.1\r\nHost: x\r\n{TOKEN}Content-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    with ExitStack() as stack:
        for _ in range(5):
            reader = stack.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            reader.connect(("127.0.0.1", port))
            reader.setblocking(False)
            unsent = b""
            while select.select([], [reader], [], 1.0)[1]:
                unsent = (unsent or request)[reader.send(unsent or request) :]
        answered(port, times=1)


def test_callers_that_hang_up_in_the_middle_cost_the_others_nothing(port: int) -> None:
    """Of a form, of a chunk, of a head, and right after the request; more of them than there are threads."""
    body = b'{"text": "where is my order"}'
    asked = f"POST /v1/nlu/parse HTTP/1.1\r\nHost: x\r\n{TOKEN}Content-Type: application/json\r\n"
    for _ in range(6):
        for sent in (
            f"{FORM}Content-Length: 900000\r\n\r\n{PART}".encode(),
            f"{FORM}Transfer-Encoding: chunked\r\n\r\n40\r\n{PART}".encode(),
            FORM.encode(),
            f"{asked}Content-Length: {len(body)}\r\n\r\n".encode() + body,
        ):
            with socket.create_connection(("127.0.0.1", port)) as gone:
                gone.sendall(sent)

    def is_free() -> bool:
        """Those whose callers are gone are answered to the end: until then, two others may be one too many."""
        with socket.create_connection(("127.0.0.1", port), timeout=60) as one:
            one.sendall(f"{asked}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            status = one.makefile("rb").readline().split()[1]
        assert status in (b"200", b"429"), status
        return status == b"200"

    until(is_free, "their requests are worked off")
    answered(port, times=1)
