"""Clients that say nothing, little or slowly hold no thread: everybody else is answered meanwhile."""

from __future__ import annotations

import http.client
import json
import re
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from ml_backend.api import waiting_connections
from tests.ml_backend.commands.test_web import ask, raw, running
from tests.ml_backend.slow_clients import crowd

SECRET = "exotel-secret-of-no-value"
PATIENCE_S = 60.0  # a stuck test ends; nothing here is judged by time


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running(tmp_path_factory.mktemp("slow"), WEB_THREADS="4", EXOTEL_WEBHOOK_SECRET=SECRET) as found:
        yield found


def ended(connection: socket.socket) -> bytes:
    """All that comes until the server hangs up."""
    connection.settimeout(PATIENCE_S)
    received = b""
    while more := connection.recv(65536):
        received += more
    return received


def statuses(answers: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


@contextmanager
def stalled(port: int, count: int, head: str) -> Iterator[list[socket.socket]]:
    """So many clients that began a request and say nothing more."""
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(count)]
        for client in clients:
            client.sendall(head.encode())
        yield clients


def test_with_300_silent_and_50_slow_clients_everybody_else_is_answered(port: int) -> None:
    """Health, callbacks and the protocol; and a kept-alive connection is not dropped."""
    kept = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    kept.request("GET", "/health")
    assert kept.getresponse().read()
    first = kept.sock
    with crowd(port, silent=300, slow=50, secret=SECRET):
        for number in range(20):
            assert ask(port, "GET", "/health")[0] == 200
            event = json.dumps({"CallSid": f"{number:032x}", "Status": "completed"})
            assert ask(port, "POST", f"/webhooks/exotel/{SECRET}", event)[0] == 200
            assert ask(port, "POST", "/webhook", json.dumps({"action": "TASK_CREATED"}))[0] == 200
            assert ask(port, "POST", "/predict", json.dumps({"project": 1, "tasks": []}))[0] == 200
            kept.request("GET", "/health")
            assert kept.getresponse().read()
            assert kept.sock is first, "the kept-alive connection was dropped"
            time.sleep(0.1)
    kept.close()


def test_a_silent_client_is_let_go_and_half_a_head_is_told_so(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as silent:
        assert ended(silent) == b""
    answer = raw(port, b"GET /health HTTP/1.1\r\nHost:")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert set(json.loads(answer.partition(b"\r\n\r\n")[2])) == {"code", "message", "next_step", "request_id"}


def whole_answer(connection: socket.socket) -> int:
    """The status of the answer, which is read to its end: head and body may come apart."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer.status


def test_an_address_that_opens_too_many_loses_its_silent_ones_and_no_other(port: int) -> None:
    with ExitStack() as stack:
        kept = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S))
        request = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
        kept.sendall(request)
        assert whole_answer(kept) == 200
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            for _ in range(waiting_connections.PER_ADDRESS + 20)
        ]
        assert ended(silent[0]) == b""
        assert ask(port, "GET", "/health")[0] == 200
        kept.sendall(request)
        assert whole_answer(kept) == 200


def test_large_bodies_that_stall_leave_threads_for_the_same_paths_and_all_others(port: int) -> None:
    """More of them than there are threads, on every path that takes a body, let in and sent by chunks or by length."""
    json_type = "Host: x\r\nContent-Type: application/json\r\n"
    chunked, long = "Transfer-Encoding: chunked\r\n\r\n5\r\n{", "Content-Length: 900000\r\n\r\n{"
    with (
        stalled(port, 6, f"POST /predict HTTP/1.1\r\n{json_type}{long}"),
        stalled(port, 6, f"POST /predict HTTP/1.1\r\n{json_type}{chunked}"),
        stalled(port, 6, f"POST /webhook HTTP/1.1\r\n{json_type}{long}"),
        stalled(port, 6, f"POST /webhooks/exotel/{SECRET} HTTP/1.1\r\n{json_type}{chunked}"),
    ):
        for _ in range(3):
            assert ask(port, "GET", "/health")[0] == 200
            assert ask(port, "POST", f"/webhooks/exotel/{SECRET}", json.dumps({"CallSid": "a" * 32}))[0] == 200
            assert ask(port, "POST", "/webhook", json.dumps({"action": "TASK_CREATED"}))[0] == 200
            assert ask(port, "POST", "/predict", json.dumps({"project": 1, "tasks": []}))[0] == 200


def test_who_would_only_wait_behind_many_large_bodies_is_told_to_come_again(port: int) -> None:
    head = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 900000\r\n\r\n{"
    with stalled(port, waiting_connections.MOST_LARGE + 10, head) as clients:
        answer = ended(clients[-1])
        assert statuses(answer) == [503]
        assert b"\r\nRetry-After: 2\r\n" in answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["next_step"] == "Send it again in a few seconds."
        assert ask(port, "POST", "/predict", json.dumps({"project": 1, "tasks": []}))[0] == 200


def test_a_large_body_that_comes_is_read_whole(port: int) -> None:
    tasks = [{"id": number, "data": {"text": "x" * 100}} for number in range(20_000)]
    body = json.dumps({"project": 1, "tasks": tasks})
    assert len(body) > 2_000_000
    status, found = ask(port, "POST", "/predict", body)
    assert (status, len(found["results"])) == (200, len(tasks))


def test_requests_sent_together_are_answered_in_order(port: int) -> None:
    body = b'{"project": 1, "tasks": [null]}'
    post = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(
        body
    )
    last = b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answers = raw(port, post + body + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" + post + body + last)
    assert statuses(answers) == [200, 200, 200, 404]


def test_a_body_nobody_read_is_not_taken_for_the_next_request(port: int) -> None:
    """Of a refused request, at length and by chunks: what follows is not served."""
    smuggled = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    head = b"POST /api/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    long = head + b"Content-Length: 900000\r\n\r\n"
    for request in (long + smuggled, head + b"Transfer-Encoding: chunked\r\n\r\n" + smuggled):
        answers = raw(port, request)
        assert len(statuses(answers)) == 1, answers


def test_an_answer_taken_slowly_holds_no_thread(port: int) -> None:
    """More clients than threads that ask and ask and do not read: until the server reads no more of what they send."""
    body = b'{"project": 1, "tasks": [' + b"null," * 12_000 + b"null]}"
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    request = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with ExitStack() as stack:
        for _ in range(5):
            reader = stack.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            reader.connect(("127.0.0.1", port))
            reader.setblocking(False)
            unsent = b""
            while select.select([], [reader], [], 1.0)[1]:
                unsent = (unsent or request)[reader.send(unsent or request) :]
        assert ask(port, "POST", "/predict", json.dumps({"project": 1, "tasks": []}))[0] == 200


def test_many_callers_at_once_are_all_answered(tmp_path: Path, port: int) -> None:
    """Bursts wait their turn: none is refused."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(40) as pool:
        found = list(
            pool.map(
                lambda number: ask(
                    port, "POST", f"/webhooks/exotel/{SECRET}", json.dumps({"CallSid": f"{number:032x}"})
                )[0],
                range(200),
            )
        )
    assert found == [200] * 200
