"""A client that does not take what it is sent, or goes away, holds neither a thread nor memory."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from ml_backend.api.realtime import websocket_link
from ml_backend.api.realtime.websocket_link import WebSocketLink
from tests.patience import until


class Quiet:
    """An owner that wants nothing."""

    reads = True

    def received(self, message: bytes, *, is_text: bool) -> None:
        pass

    def ticked(self) -> None:
        pass

    def may_read(self) -> bool:
        return self.reads


@pytest.fixture
def ends() -> Iterator[tuple[WebSocketLink, socket.socket, threading.Thread]]:
    ours, theirs = socket.socketpair()
    link = WebSocketLink(ours, b"")
    thread = threading.Thread(target=link.run, args=(Quiet(),), daemon=True)
    yield link, theirs, thread
    theirs.close()
    thread.join(10)
    assert not thread.is_alive()


Ends = tuple[WebSocketLink, socket.socket, threading.Thread]


def test_a_client_that_reads_nothing_is_dropped_once_a_megabyte_waits(ends: Ends) -> None:
    link, _, thread = ends
    thread.start()

    def gone() -> bool:
        link.send({"text": "w" * 100_000})
        return not thread.is_alive()

    until(gone, "the client was dropped")


def test_a_client_that_answers_no_ping_is_dropped(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_link, "PING_S", 0.05)
    monkeypatch.setattr(websocket_link, "PONG_S", 0.05)
    monkeypatch.setattr(websocket_link, "_TICK_S", 0.02)
    _, theirs, thread = ends
    thread.start()
    assert theirs.recv(2)[0] == 0x89, "a ping came"
    until(lambda: not thread.is_alive(), "the client was dropped")


def test_a_client_that_must_wait_is_noticed_when_it_goes(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Quiet, "reads", False)
    _, theirs, thread = ends
    thread.start()
    theirs.sendall(b"\x81\x80\0\0\0\0" * 100)
    theirs.close()
    until(lambda: not thread.is_alive(), "the thread ended")


def test_what_was_sent_before_the_end_still_comes(ends: Ends) -> None:
    link, theirs, thread = ends
    link.send({"last": 1})
    link.close(websocket_link.GOING_AWAY, "bye")
    link.send({"late": 1})
    thread.start()
    came = b""
    while b"bye" not in came:
        came += theirs.recv(1000)
    assert b'{"last":1}' in came
    assert b"late" not in came
