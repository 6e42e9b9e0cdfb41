"""The deadline of one exchange with a server: from the connection to the last byte.

A read timeout starts again with every byte, so a server that sends one byte a second would never end. A timer closes
the socket instead, in any phase: TLS handshake, headers or body.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ml_backend.errors import KaanError, RetryableError
from sync.outbound import http

AT_ONCE_S = 0.05  # the library's own timeout ends with the deadline, and may fire just before the timer


class Deadline:
    """A context manager. Pass `trace` to the HTTP library, and run the exchange inside `errors`."""

    def __init__(self, deadline_s: float, name: str) -> None:
        self.deadline_s, self.name = deadline_s, name
        self.ends_at = time.monotonic() + deadline_s
        self.passed = False
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(deadline_s, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._timer.cancel()
        self._socket = None

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Called by the HTTP library for each connection it makes."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._socket = info["return_value"].get_extra_info("socket")
            if self.passed:
                self._end()

    def _end(self) -> None:
        self.passed = True
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # closed already

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raise foreign errors as ours; an error that the deadline caused becomes `download-deadline`."""
        try:
            with http.errors_as(self.name):
                yield
        except KaanError as error:
            if self.passed or time.monotonic() > self.ends_at - AT_ONCE_S:
                raise self.late() from error
            raise

    def late(self) -> RetryableError:
        sentence = f"{self.name[:1].upper()}{self.name[1:]} had not finished after {self.deadline_s:g} s."
        return RetryableError("download-deadline", sentence, "It is tried again; check the connection if it lasts.")
