"""The receiver behind the real server: the sample messages byte for byte, odd requests, and a log without secrets."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.db import Database
from tests.exotel_messages import FIXTURES, INDEX
from tests.ml_backend.commands.test_web import free_port

ROOT = Path(__file__).parents[3]
SECRET = "exotel-secret-of-some-length"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
ORIGINAL = b"/api/nerve/exotel/recording-webhook"


@dataclass
class Server:
    """The `web` command on a port of its own, at its most talkative."""

    port: int
    folder: Path

    def send(self, raw: bytes, *, shut: bool = False) -> tuple[int, bytes]:
        """Bytes to the port; gives (status, body), status 0 when nothing came back."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(raw)
            if shut:
                connection.shutdown(socket.SHUT_WR)
            got = b""
            while not self._whole(got) and (part := connection.recv(65536)):
                got += part
        head, _, body = got.removeprefix(CONTINUE).partition(b"\r\n\r\n")
        return (int(head.split(b" ")[1]) if head else 0), body

    @staticmethod
    def _whole(got: bytes) -> bool:
        head, found, body = got.removeprefix(CONTINUE).partition(b"\r\n\r\n")
        length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        return bool(found and length and len(body) >= int(length[0].partition(b":")[2]))

    def events(self) -> list[Any]:
        database = Database(f"sqlite:///{self.folder}/kaan.db")
        try:
            return list(database.rows(sa.select(tables.events).order_by(tables.events.c.id)))
        finally:
            database.dispose()

    def log(self) -> str:
        return (self.folder / "log").read_text()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("wire")
    db.upgrade(f"sqlite:///{folder}/kaan.db")
    given = {
        "DATA_DIR": str(folder), "PORT": str(free_port()), "EXOTEL_WEBHOOK_SECRET": SECRET, "LOG_LEVEL": "DEBUG",
        "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ml_backend", "web"], cwd=folder, env={**os.environ, **given}, stderr=log, stdout=log
        )
        found = Server(int(given["PORT"]), folder)
        try:
            deadline = time.monotonic() + 60
            while not _up(found):
                assert process.poll() is None, found.log()
                assert time.monotonic() < deadline, found.log()
                time.sleep(0.05)
            yield found
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def _up(server: Server) -> bool:
    try:
        return server.send(b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")[0] == 200
    except OSError:
        return False


def with_key(raw: bytes) -> bytes:
    """The sample with our secret in its address and the connection closed after it."""
    first, _, rest = raw.partition(b"\r\n")
    method, target, version = first.split(b" ")
    target += (b"&" if b"?" in target else b"?") + b"key=" + SECRET.encode()
    return b" ".join((method, target, version)) + b"\r\nConnection: close\r\n" + rest


@pytest.mark.parametrize("entry", INDEX, ids=lambda entry: entry["file"])
def test_every_sample_is_taken_as_it_is_on_the_wire(server: Server, entry: dict[str, Any]) -> None:
    raw = (FIXTURES / entry["file"]).read_bytes()
    before = sum(event.copies for event in server.events())
    status, body = server.send(with_key(raw))
    assert (status, json.loads(body)) == (200, {"status": "ok"})
    events = server.events()
    assert sum(event.copies for event in events) == before + 1
    assert entry["expect"].get("call_sid") in {event.call_sid for event in events}


EVENT = b'{"CallSid":"w1","Status":"completed"}'
CHUNK, EVENT_CHUNK = b"10000\r\n" + b" " * 65536 + b"\r\n", b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
PATH = f"/webhooks/exotel/{SECRET}".encode()


def posted(path: bytes, *headers: bytes, body: bytes = EVENT, version: bytes = b"HTTP/1.1") -> bytes:
    lines = (b"POST " + path + b" " + version, b"Host: a", b"Connection: close", b"Content-Type: application/json")
    return b"\r\n".join((*lines, *headers, b"", body))


@pytest.mark.parametrize(
    ("raw", "statuses"),
    [
        (posted(PATH, b"Content-Length: %d" % len(EVENT)), {200}),
        (posted(PATH, b"Content-Length: %d" % len(EVENT), version=b"HTTP/1.0"), {200}),
        (posted(PATH, b"Transfer-Encoding: chunked", body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(EVENT), EVENT)), {200}),
        (posted(PATH, b"Content-Length: %d" % len(EVENT), b"Expect: 100-continue"), {200}),
        (posted(PATH, b"Content-Length: %d" % len(EVENT), b"Expect: something"), {400, 417}),
        (posted(PATH, b"Transfer-Encoding: chunked", body=b"zz\r\n"), {400}),
        (posted(PATH, b"Transfer-Encoding: chunked", body=CHUNK * 2 + b"0\r\n\r\n"), {413}),
        (posted(PATH, b"Transfer-Encoding: chunked", body=EVENT_CHUNK + CHUNK + b"0\r\n\r\n"), {413}),
        (posted(PATH, b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"), {400}),
        (posted(PATH, b"Content-Length: 99999999", body=b""), {413}),
        (posted(PATH, b"Content-Length: -1"), {400}),
        (posted(PATH, b"Content-Length: x"), {400}),
        (posted(PATH + b"?x=" + b"a" * 7000, b"Content-Length: %d" % len(EVENT)), {200}),
        (posted(PATH + b"?x=" + b"a" * 9000, b"Content-Length: %d" % len(EVENT)), {414}),
        (posted(PATH + b"?x=\xff\xfe", b"Content-Length: %d" % len(EVENT)), {200, 400}),
        (posted(b"/webhooks/exotel/\xc3\xa9", b"Content-Length: %d" % len(EVENT)), {400, 401}),
        (posted(b"/webhooks/exotel/%C3%A9%00", b"Content-Length: %d" % len(EVENT)), {400}),
        (posted(PATH, b"Content-Length: %d" % len(EVENT), b"Content-Type: text/plain"), {200, 400}),
        (posted(PATH, b"Content-Length: %d" % len(EVENT), b"X-A: \xff\xfe"), {200, 400}),
        (posted(PATH, b"Content-Length: %d" % len(EVENT), *[b"X-%d: 1" % i for i in range(120)]), {400, 431}),
        (b"HEAD " + PATH + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", {200}),
        (b"PUT " + PATH + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", {405}),
        (b"GET " + ORIGINAL + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", {401}),
    ],
    ids=range(23),
)  # fmt: skip
def test_an_odd_request_gets_a_plain_answer(server: Server, raw: bytes, statuses: set[int]) -> None:
    status, body = server.send(raw)
    assert status in statuses, body
    assert SECRET.encode() not in body
    assert b"Traceback" not in body


def test_a_body_that_ends_early_is_refused_although_its_beginning_reads_well(server: Server) -> None:
    """A form that is cut gives a shorter recording address, and nobody would notice."""
    form = b"CallSid=cut1&Status=completed&RecordingUrl=https://recordings.exotel.com/x/cut1"
    whole = b"POST " + PATH + b" HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    status, _ = server.send(whole + b"Content-Length: 84\r\n\r\n" + form, shut=True)
    assert status in (0, 400)
    assert "cut1" not in {event.call_sid for event in server.events()}
    assert server.send(posted(PATH, b"Content-Length: %d" % len(EVENT)))[0] == 200


def test_after_all_this_neither_secret_nor_number_is_in_the_log(server: Server) -> None:
    for raw in (posted(PATH + b"x", b"Content-Length: 0", body=b""), posted(PATH, b"Content-Length: 1", body=b"{")):
        server.send(raw)
    text = server.log()
    assert SECRET not in text
    for number in ("00000000101", "00000000202", "0000000101", "0000000202"):
        assert number not in text
    for event in server.events():
        assert SECRET not in (event.query or "")
        assert SECRET.encode() not in event.body
