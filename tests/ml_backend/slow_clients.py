"""Clients that hold connections: silent ones, and slow ones of every kind. For tests and measurements."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

TICK_S = 0.5
SLOW = ("head", "body", "reader", "small-body")


@contextmanager
def crowd(port: int, *, silent: int, slow: int, secret: str = "x") -> Iterator[None]:  # noqa: S107 - a wrong one
    """So many of them, each coming again when it is let go, for the length of a block."""
    stop = threading.Event()
    people = [_Client(port, "silent", secret) for _ in range(silent)]
    people += [_Client(port, SLOW[number % len(SLOW)], secret) for number in range(slow)]
    for one in people:
        one.come()

    def live() -> None:
        while not stop.wait(TICK_S):
            for one in people:
                one.tick()

    thread = threading.Thread(target=live)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        for one in people:
            one.leave()


class _Client:
    def __init__(self, port: int, kind: str, secret: str) -> None:
        self.port, self.kind, self.secret = port, kind, secret
        self.socket: socket.socket | None = None

    def come(self) -> None:
        self.leave()
        with suppress(OSError):
            made = socket.socket()
            if self.kind == "reader":
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            made.settimeout(2)
            made.connect(("127.0.0.1", self.port))
            made.setblocking(False)
            self.socket = made
            self._begin()

    def _begin(self) -> None:
        assert self.socket is not None
        host = "Host: x\r\nContent-Type: application/json\r\n"
        if self.kind == "head":
            self._send(b"GET /health HTTP/1.1\r\nX-A: ")
        elif self.kind == "body":
            self._send(f"POST /predict HTTP/1.1\r\n{host}Content-Length: 900000\r\n\r\n{{".encode())
        elif self.kind == "small-body":
            self._send(f"POST /webhooks/exotel/{self.secret} HTTP/1.1\r\n{host}Content-Length: 900\r\n\r\n{{".encode())
        elif self.kind == "reader":
            self._send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 500)

    def tick(self) -> None:
        """One byte, or, where the server hung up, another try."""
        if self.socket is None:
            self.come()
            return
        try:
            if self.kind != "reader" and self.socket.recv(100) == b"":
                self.come()
                return
        except BlockingIOError:
            pass
        except OSError:
            self.come()
            return
        if self.kind == "reader":
            self._send(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
        elif self.kind != "silent":
            self._send(b"x")

    def _send(self, data: bytes) -> None:
        with suppress(OSError):
            if self.socket is not None:
                self.socket.send(data)

    def leave(self) -> None:
        if self.socket is not None:
            self.socket.close()
        self.socket = None
