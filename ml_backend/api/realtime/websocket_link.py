"""One accepted WebSocket: messages in, events out, in one thread that never waits for a slow client.

The protocol itself is the `websockets` library's, without its sockets and threads. Sending only puts an event into the
outbox, so a thread that transcribes never waits for a client either. A client is dropped when it does not take what it
is sent, does not answer a ping, or breaks the protocol.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import threading
import time
from collections import deque
from typing import Any, Protocol

import orjson
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

MOST_MESSAGE_BYTES = 1 << 20
MOST_UNSENT_BYTES = 1 << 20
PING_S, PONG_S = 20.0, 20.0
STUCK_S = 20.0  # for a client to take any of what it was sent
CLOSE_S = 2.0  # for a client to answer the end
_PIECE, _TICK_S = 1 << 16, 0.5
GOING_AWAY, POLICY = 1001, 1008
_log = logging.getLogger(f"{__name__}.frames")
_log.setLevel(logging.WARNING)  # the library would log every connection


class Owner(Protocol):
    """What is done with the messages."""

    def received(self, message: bytes, *, is_text: bool) -> None:
        """One whole message."""

    def ticked(self) -> None:
        """Called at least every second."""

    def may_read(self) -> bool:
        """False while the client must wait."""


class WebSocketLink:
    """`send` and `close` from any thread; everything else in the thread that runs it."""

    def __init__(self, raw: socket.socket, handshake: bytes) -> None:
        raw.setblocking(False)
        self._raw = raw
        self._protocol = ServerProtocol(state=State.OPEN, max_size=MOST_MESSAGE_BYTES, logger=_log)
        self._outbox: deque[bytes] = deque()
        self._wanted_end: tuple[int, str] | None = None
        self._woken, self._wake = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)
        self._lock = threading.Lock()  # of the outbox
        self._unsent, self._parts = bytearray(handshake), list[Frame]()
        self._waiting_bytes = 0
        self._moved_at = self._came_at = self._pinged_at = time.monotonic()
        self._ends_at: float | None = None

    def send(self, event: dict[str, Any]) -> None:
        """Put an event into the outbox; nothing when the connection is ending."""
        data = orjson.dumps(event)
        with self._lock:
            if self._wanted_end is not None:
                return
            self._outbox.append(data)
            self._waiting_bytes += len(data)
        self.wake()

    def close(self, code: int, reason: str) -> None:
        """End the connection after what was sent before."""
        with self._lock:
            self._wanted_end = self._wanted_end or (code, reason)
        self.wake()

    def wake(self) -> None:
        """Let the thread look again whether it may read."""
        with contextlib.suppress(OSError):
            self._wake.send(b"\0")

    def run(self, owner: Owner) -> None:
        """Until the connection has ended."""
        try:
            while self._goes_on():
                self._wait(may_read=self._protocol.state is not State.OPEN or owner.may_read())
                for message, is_text in self._messages():
                    owner.received(message, is_text=is_text)
                owner.ticked()
        except OSError:
            pass  # the client is gone
        finally:
            with self._lock:
                self._wanted_end = self._wanted_end or (GOING_AWAY, "")
            for each in (self._raw, self._woken, self._wake):
                each.close()

    def _goes_on(self) -> bool:
        """Send what can be sent; False when nothing is left to do."""
        now = time.monotonic()
        self._take_outbox()
        self._ping(now)
        for data in self._protocol.data_to_send():
            if not data:
                self._ends_at = self._ends_at or now + CLOSE_S
            self._unsent += data
        if self._unsent:
            with contextlib.suppress(BlockingIOError):
                while self._unsent:
                    del self._unsent[: self._raw.send(self._unsent[:_PIECE])]
                    self._moved_at = now
        else:
            self._moved_at = now
        if self._protocol.state is not State.OPEN:
            self._ends_at = self._ends_at or now + CLOSE_S
            if self._protocol.state is State.CLOSED and not self._unsent:
                return False
        too_slow = len(self._unsent) > MOST_UNSENT_BYTES or now - self._moved_at > STUCK_S
        return not too_slow and (self._ends_at is None or now < self._ends_at)

    def _take_outbox(self) -> None:
        with self._lock:
            events, wanted_end = list(self._outbox), self._wanted_end
            self._outbox.clear()
            self._waiting_bytes = 0
        if self._protocol.state is not State.OPEN:
            return
        for data in events:
            self._protocol.send_text(data)
        if wanted_end is not None:
            self._protocol.send_close(*wanted_end)

    def _ping(self, now: float) -> None:
        if self._protocol.state is not State.OPEN or now - max(self._came_at, self._pinged_at) < PING_S:
            return
        if now - self._came_at > PING_S + PONG_S:
            self._protocol.fail(GOING_AWAY, "no answer to a ping")
            self._ends_at = now
        else:
            self._protocol.send_ping(b"")
            self._pinged_at = now

    def _wait(self, *, may_read: bool) -> None:
        waiting = select.poll()
        waiting.register(self._woken, select.POLLIN)
        what = (select.POLLIN if may_read else 0) | (select.POLLOUT if self._unsent else 0)
        waiting.register(self._raw, what)
        ready = dict(waiting.poll(_TICK_S * 1000))
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(_PIECE):
                pass
        if not may_read:
            self._came_at = time.monotonic()  # its pongs wait too
            if ready.get(self._raw.fileno(), 0) & (select.POLLERR | select.POLLHUP):
                raise ConnectionResetError
        elif ready.get(self._raw.fileno(), 0) & ~select.POLLOUT:
            with contextlib.suppress(BlockingIOError):
                data = self._raw.recv(_PIECE)
                self._came_at = time.monotonic()
                if data:
                    self._protocol.receive_data(data)
                else:
                    self._protocol.receive_eof()

    def _messages(self) -> list[tuple[bytes, bool]]:
        """The messages that are whole now."""
        found = []
        for frame in self._protocol.events_received():
            if not isinstance(frame, Frame) or frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                continue
            self._parts.append(frame)
            if frame.fin:
                whole = b"".join(bytes(part.data) for part in self._parts)
                found.append((whole, self._parts[0].opcode is Opcode.TEXT))
                self._parts.clear()
        return found
