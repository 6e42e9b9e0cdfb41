"""`web`: plain sentences before it listens, and refusals in JSON once it does."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import db, log, settings, tables
from ml_backend.api import requests, waiting_connections
from ml_backend.commands import web
from ml_backend.errors import ConfigurationError
from tests.faults import launch

ROOT = Path(__file__).parents[3]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def some_settings(folder: Path, **changes: Any) -> settings.Settings:
    return settings.Settings(_env_file=None, data_dir=folder, **changes)


@contextmanager
def running(folder: Path, **environment: str) -> Iterator[int]:
    """The real command on a free port; gives the port."""
    db.upgrade(f"sqlite:///{folder}/kaan.db")
    port = free_port()
    given = {"DATA_DIR": str(folder), "PORT": str(port), "PYTHONPATH": str(ROOT), **environment}
    program = "tests.faults.launch" if launch.VARIABLE in os.environ else "ml_backend"  # a guard is to be missing
    log = folder / "web.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", program, "web"], cwd=folder, env={**os.environ, **given}, stderr=sink
        )
    try:
        deadline = time.monotonic() + 60
        while ask(port, "GET", "/health", attempt=True)[0] != 200:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def ask(port: int, method: str, path: str, body: str | None = None, *, attempt: bool = False) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    except OSError:
        if attempt:
            return 0, None
        raise
    finally:
        connection.close()


def raw(port: int, *pieces: bytes, pause_s: float = 0.0) -> bytes:
    """Bytes as they are; gives everything that came back."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause_s)
        received = b""
        while more := connection.recv(65536):
            received += more
        return received


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running(tmp_path_factory.mktemp("web")) as found:
        yield found


def test_it_serves_the_protocol(port: int) -> None:
    status, body = ask(port, "POST", "/predict", json.dumps({"project": "1.1", "tasks": [None]}))
    assert (status, body) == (200, {"results": [[]]})


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET /health?" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(120)) + b"\r\n", 431),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nX-A: " + b"y" * 9000 + b"\r\n\r\n", 431),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", 400),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: wrong\r\n\r\n", 400),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\nExpect: 42\r\n\r\n", 417),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /health HTTP/9.9\r\n\r\n", 400),
        (
            b"POST /predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
            400,
        ),
        (b"POST /setup HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", 415),
    ],
    ids=range(12),
)
def test_what_is_not_a_request_is_refused_in_json_without_being_quoted(
    port: int, request_bytes: bytes, status: int
) -> None:
    head, _, body = raw(port, request_bytes).partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status, head
    assert set(json.loads(body)) == {"code", "message", "next_step", "request_id"}
    assert b"aaaa" not in body
    assert b"ZZ" not in body


def test_the_log_says_where_it_listens_and_names_every_request_that_was_refused_by_its_id(tmp_path: Path) -> None:
    with running(tmp_path) as port:
        unread = raw(port, b"GET /health HTTP/9.9\r\nX-Key: Zq7wKx9v\r\n\r\n").partition(b"\r\n\r\n")[2]
        _, read = ask(port, "GET", "/nothing/Zq7wKx9v")
    log = (tmp_path / "web.log").read_text()  # an answer may reach its caller before the line is in the file
    assert f"web started, listening on 127.0.0.1:{port}" in log
    for refused in (json.loads(unread), read):
        assert f"request {refused['request_id']} refused: " in log
    assert "Zq7wKx9v" not in log


def test_http_1_0_and_expect_continue_are_served(port: int) -> None:
    assert b"200 OK" in raw(port, b"GET /health HTTP/1.0\r\n\r\n").splitlines()[0]
    body = b'{"project": 1, "tasks": []}'
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
    answer = raw(port, head + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(body), body)
    assert answer.startswith(b"HTTP/1.1 100")
    assert b'{"results":[]}' in answer


def test_a_client_that_sends_a_byte_a_second_is_let_go_and_health_still_answers(tmp_path: Path) -> None:
    with running(tmp_path, WEB_THREADS="2") as port:
        head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n"
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), timeout=60) as slow:
            slow.sendall(head)
            slow.settimeout(0.5)
            while time.monotonic() - began < 60:
                try:
                    slow.sendall(b"{")
                    if (answer := slow.recv(65536)) or answer == b"":
                        break
                except TimeoutError:
                    assert ask(port, "GET", "/health")[0] == 200
        assert time.monotonic() - began < waiting_connections.READ_LIMIT_S + 5


def test_the_process_is_seen_while_it_runs_and_gone_after(tmp_path: Path) -> None:
    database = db.Database(f"sqlite:///{tmp_path}/kaan.db")
    roles = sa.select(tables.processes.c.role)
    with running(tmp_path):
        deadline = time.monotonic() + 20
        while not (found := database.rows(roles)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [row.role for row in found] == ["web"]
    assert database.rows(roles) == []
    database.dispose()
    assert not (tmp_path / ".gunicorn").exists()


def test_a_busy_port_is_a_plain_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigurationError) as raised:
            web.check_port(some_settings(tmp_path, port=taken.getsockname()[1]))
    assert raised.value.code == "port-busy"
    assert "PORT" in raised.value.next_step


def test_a_database_of_another_schema_refuses_to_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        web.serve(some_settings(tmp_path))
    assert raised.value.code == "schema-version"
    assert "db upgrade" in raised.value.next_step


def test_the_network_is_refused_without_credentials(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        web.check_exposure(some_settings(tmp_path, host="0.0.0.0"))
    assert raised.value.code == "open-to-the-network"
    guarded = some_settings(tmp_path, host="0.0.0.0", basic_auth_user="u", basic_auth_pass="p" * 20)
    assert web.check_exposure(guarded) == []


def test_listening_on_this_machine_only_is_said(tmp_path: Path) -> None:
    (sentence,) = web.check_exposure(some_settings(tmp_path))
    assert "this machine only" in sentence


def test_the_id_of_a_request_is_never_masked_as_a_phone_number(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter((uuid.UUID("935411048b82486d0000000000000000"), uuid.UUID("9354a1048b82486d0000000000000000")))
    monkeypatch.setattr(uuid, "uuid4", lambda: next(drawn))
    made = requests.new_id()
    assert made == "9354a1048b82486d"
    assert log.masked(made) == made
