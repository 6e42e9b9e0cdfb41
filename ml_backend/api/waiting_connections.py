"""Sockets -> complete requests for the threads, and their answers back to the sockets: slow clients wait here.

gunicorn's thread worker gives every new connection a thread at once and reads and writes in it, so eight silent
connections stop a server of eight threads. Here the main loop reads until a request is complete (its head, and a body
of up to SMALL_BODY) and sends answers to slow clients, so a thread never waits for a client. `serve` also buffers
bodies of a megabyte, the audio of a turn, while all of them together fit MOST_RESERVED. Larger bodies are read in a
thread, after authentication, by at most half of the threads. Health, the provider's callbacks, reports of calls
and Label Studio's webhooks have their own threads (`LANES`).
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import re
import resource
import select
import selectors
import socket
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import Any

from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import TConn, ThreadWorker

from ml_backend.api import requests

HEAD_S = 3.0  # from accepting a connection, or the first byte of its next request, to the end of its headers
READ_LIMIT_S = 15.0  # for a body
SEND_S = 30.0  # for the client to receive an answer
LINGER_S = 2.0  # for the client to close after its last answer
SMALL_BODY = 64 * 1024
MOST_RESERVED = 64 * 1024 * 1024  # of bodies beyond SMALL_BODY that are buffered at a time
MOST_LARGE = 64  # requests of one lane whose large bodies wait for a thread; one more is told to come again
MAX_LINE, MAX_HEAD = 8190, 64 * 1024
MAX_UNSENT = 8 * 1024 * 1024
PER_ADDRESS = 256
MOST_FILES = 4096
SPARE_FILES = 256  # for the database, the log, the models
LANES: dict[str, tuple[int, tuple[bytes, ...]]] = {  # name -> (threads, path prefixes)
    "health": (1, (b"/ ", b"/? ", b"/health ", b"/health?")),
    "callbacks": (4, (b"/webhooks/exotel/", b"/api/nerve/exotel/")),
    "reports": (4, (b"/api/calls/", b"/api/outcomes")),
    "webhooks": (4, (b"/webhook ", b"/webhook?", b"/webhooks/label-studio")),
}
_LENGTH = re.compile(rb"\r\ncontent-length[ \t]*:([^\r\n]*)", re.IGNORECASE)
_UNUSUAL = re.compile(rb"\r\n(transfer-encoding|expect|upgrade)[ \t]*:", re.IGNORECASE)
_BEFORE_A_REQUEST = ("head", "body")
_log = logging.getLogger(__name__)


class BufferedSocket:
    """A socket for gunicorn, with buffered input and output.

    A thread owns it while a request is served, the main loop at all other times; never both.
    """

    def __init__(self, raw: socket.socket) -> None:
        raw.setblocking(False)
        self.raw = raw
        self.received, self.unsent = bytearray(), bytearray()
        self.ends_at: float | None = None  # until when a thread may wait for more
        self.late = False
        self.taken = False

    def take(self) -> socket.socket:
        """The socket for a connection that stops being HTTP. Whoever takes it closes it; here it is gone."""
        self.taken = True
        return socket.socket(fileno=self.raw.detach())

    def recv(self, size: int) -> bytes:
        """Buffered bytes; for a large body, those that arrive in time. Empty when the client was too slow."""
        if not self.received and self.ends_at is not None:
            while self._waits(select.POLLIN, self.ends_at):
                with contextlib.suppress(BlockingIOError):
                    return self.raw.recv(size)
            self.late = True
        taken = bytes(self.received[:size])
        del self.received[:size]
        return taken

    def sendall(self, data: bytes) -> None:
        """Send what the socket takes now; the main loop sends the rest."""
        self.unsent += data
        self.flush()
        ends_at = time.monotonic() + SEND_S
        while len(self.unsent) > MAX_UNSENT:
            if not self._waits(select.POLLOUT, ends_at):
                raise BrokenPipeError(errno.EPIPE, "the client is too slow")
            self.flush()

    send = sendall

    def flush(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self.unsent:
                del self.unsent[: self.raw.send(self.unsent[: 1 << 18])]

    def _waits(self, what: int, ends_at: float) -> bool:
        left_s = ends_at - time.monotonic()
        if left_s <= 0:
            return False
        waiting = select.poll()
        waiting.register(self.raw, what)
        return bool(waiting.poll(left_s * 1000))

    def setblocking(self, blocking: bool) -> None:
        """Ignored: see `recv`."""

    def __getattr__(self, name: str) -> Any:
        if name in ("gettimeout", "settimeout", "raw"):  # gunicorn would bound its reads with them
            raise AttributeError(name)
        return getattr(self.raw, name)


class Connection(TConn):  # type: ignore[misc]
    """One connection: `state` is head, body, serving, sending, idle or closing."""

    def __init__(self, cfg: Any, raw: socket.socket, client: Any, server: Any) -> None:
        super().__init__(cfg, BufferedSocket(raw), client, server)
        self.address = client[0] if isinstance(client, tuple) and client else ""
        self.data_ready = True
        self.state, self.ends_at = "head", time.monotonic() + HEAD_S
        self.needed = 0  # bytes of head and body together, once the head is whole
        self.reserved = 0  # bytes of its body that count for MOST_RESERVED
        self.streams = False  # the body is read in the thread
        self.lane: Lane | None = None
        self.served = 0

    @property
    def stream(self) -> BufferedSocket:
        found: BufferedSocket = self.sock
        return found

    def close(self, graceful: bool = False) -> None:
        with contextlib.suppress(OSError):
            self.stream.raw.close()


class Lane:
    """Dedicated threads for some paths; half of them, and at least one, may read large bodies."""

    def __init__(self, name: str, threads: int) -> None:
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=name)
        self._streams, self._most_streams = 0, max(1, threads // 2)
        self._waiting: deque[tuple[Connection, Callable[[Connection], None]]] = deque()

    def is_full(self, conn: Connection) -> bool:
        """Whether one more with such a body would only make the others wait longer."""
        return conn.streams and self._streams >= self._most_streams and len(self._waiting) >= MOST_LARGE

    def put(self, conn: Connection, start: Callable[[Connection], None]) -> None:
        conn.lane = self
        if conn.streams and self._streams >= self._most_streams:
            self._waiting.append((conn, start))
            return
        self._streams += conn.streams
        start(conn)

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        return self._pool.submit(work, *arguments)

    def ended(self, conn: Connection) -> None:
        if conn.streams:
            self._streams -= 1
            if self._waiting:
                self.put(*self._waiting.popleft())

    def shutdown(self, wait: bool = True) -> None:
        self._pool.shutdown(wait=wait, cancel_futures=not wait)


class Lanes:
    """All lanes, as gunicorn's thread pool."""

    def __init__(self, threads: int) -> None:
        self._rest = Lane("web", threads)
        self._by_path = [(paths, Lane(name, count)) for name, (count, paths) in LANES.items()]

    def of(self, head: bytes) -> Lane:
        """The lane of a raw path; an unusual spelling gets the default lane."""
        target = head[:MAX_LINE].partition(b" ")[2]
        return next((lane for paths, lane in self._by_path if target.startswith(paths)), self._rest)

    def shutdown(self, wait: bool = True) -> None:
        for lane in (self._rest, *(lane for _, lane in self._by_path)):
            lane.shutdown(wait)


class BufferingWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's thread worker with a main loop that buffers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._conns: dict[Connection, None] = {}  # in order of arrival
        self._addresses: Counter[str] = Counter()
        self._sweep_at, self._reserved = 0.0, 0
        self.worker_connections: int = min(int(self.cfg.worker_connections), _files() - SPARE_FILES)

    def get_thread_pool(self) -> Any:
        return Lanes(self.cfg.threads)

    # --- connections come and go

    def accept(self, listener: Any) -> None:
        """Take a new connection into the main loop, without a thread."""
        try:
            raw, client = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._make_room(list(self._conns))
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        self.nr_conns += 1
        conn = Connection(self.cfg, raw, client, listener.getsockname())
        if self._addresses[conn.address] >= PER_ADDRESS and not self._make_room(
            [one for one in self._conns if one.address == conn.address]
        ):
            self.nr_conns -= 1
            conn.close()
            return
        if self.nr_conns >= self.worker_connections:
            self._make_room(list(self._conns))
        self._conns[conn] = None
        self._addresses[conn.address] += 1
        self._watch(conn, selectors.EVENT_READ)

    def _make_room(self, among: list[Connection]) -> bool:
        """Close one connection: silent ones first, kept-alive ones last, never one that is being served."""
        for states, never_served in ((("head", "closing"), True), (_BEFORE_A_REQUEST, False), (("idle",), False)):
            for conn in among:
                if conn.state in states and not (never_served and conn.served):
                    self._drop(conn)
                    return True
        return False

    def _watch(self, conn: Connection, what: int) -> None:
        act = self._readable if what == selectors.EVENT_READ else self._writable
        self.poller.register(conn.stream.raw, what, partial(act, conn))

    def _unwatch(self, conn: Connection) -> None:
        with contextlib.suppress(OSError, KeyError, ValueError):
            self.poller.unregister(conn.stream.raw)

    def _drop(self, conn: Connection) -> None:
        self._unwatch(conn)
        self._release(conn)
        conn.state = "gone"
        if conn in self._conns:
            del self._conns[conn]
            self.nr_conns -= 1
            self._addresses[conn.address] -= 1
            if not self._addresses[conn.address]:
                del self._addresses[conn.address]
        conn.close()

    # --- reading

    def _readable(self, conn: Connection, _: Any = None) -> None:
        try:
            data = conn.stream.raw.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            self._drop(conn)
            return
        if conn.state == "closing":
            if not data:
                self._drop(conn)
            return
        if not data and conn.state != "body":
            self._drop(conn)
            return
        if conn.state == "idle":
            conn.state, conn.ends_at = "head", time.monotonic() + HEAD_S
        conn.stream.received += data
        self._advance(conn, ended=not data)

    def _advance(self, conn: Connection, *, ended: bool = False) -> None:
        """Give a complete request to a thread; also one whose framing only the parser can judge."""
        received = conn.stream.received
        if conn.state == "head":
            end = received.find(b"\r\n\r\n")
            if end < 0:
                endless = len(received) > MAX_LINE and b"\r\n" not in received[: MAX_LINE + 2]
                if endless or len(received) > MAX_HEAD:
                    self._dispatch(conn)
                return
            length = _body_length(bytes(received[: end + 2]))
            conn.streams = length is None or (length > SMALL_BODY and not self._reserve(conn, length))
            conn.needed = end + 4 + (length or 0)
            conn.state, conn.ends_at = "body", time.monotonic() + READ_LIMIT_S
        if conn.streams or ended or len(received) >= conn.needed:
            self._dispatch(conn)

    def _reserve(self, conn: Connection, length: int) -> bool:
        """Whether a larger body is buffered, too: this server's are, while there is room."""
        if length > getattr(self.app, "buffered_body", 0) or self._reserved + length > MOST_RESERVED:
            return False
        conn.reserved, self._reserved = length, self._reserved + length
        return True

    def _release(self, conn: Connection) -> None:
        conn.reserved, self._reserved = 0, self._reserved - conn.reserved

    def _dispatch(self, conn: Connection) -> None:
        lane = self.tpool.of(bytes(conn.stream.received[: MAX_LINE + 2]))
        if lane.is_full(conn):
            self._refuse(conn, HTTPStatus.SERVICE_UNAVAILABLE)
            return
        self._unwatch(conn)
        conn.state, conn.ends_at = "serving", float("inf")
        lane.put(conn, self.enqueue_req)

    def enqueue_req(self, conn: Connection) -> None:
        lane: Any = conn.lane
        future = lane.submit(self.handle, conn)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    # --- in a thread

    def handle(self, conn: Connection) -> Any:
        if conn.streams:
            conn.stream.ends_at = time.monotonic() + READ_LIMIT_S
        return super().handle(conn)

    def _keepalive_after(self, conn: Connection, keepalive: bool) -> bool:
        """An unread body ends its connection, because the start of the next request is unknown."""
        if not keepalive or conn.stream.late:
            return False
        conn.stream.ends_at = time.monotonic() if conn.streams else None
        try:
            return bool(conn.parser.finish_body(deadline=time.monotonic())) and not conn.stream.late
        except (ParseException, OSError):  # badly chunked, or closed: its request was already answered
            return False

    # --- answers

    def finish_request(self, conn: Connection, done: Future[Any]) -> None:
        """In the main loop: send the rest, then wait for the next request or the end."""
        if conn.lane is not None:
            conn.lane.ended(conn)
        self._release(conn)
        if conn.state != "serving":
            return
        if conn.stream.taken:
            self._drop(conn)
            return
        conn.served += 1
        conn.streams, conn.stream.ends_at = False, None
        try:
            keep = bool(done.result()) and self.alive
        except BaseException:
            _log.exception("a connection could not be served")
            keep = False
        if keep:
            conn.stream.received[:0] = conn.parser.unreader.take_buffered()
        conn.state, conn.ends_at = ("sending" if keep else "sending-last"), time.monotonic() + SEND_S
        self._watch(conn, selectors.EVENT_WRITE) if conn.stream.unsent else self._sent(conn)

    def _writable(self, conn: Connection, _: Any = None) -> None:
        try:
            conn.stream.flush()
        except OSError:
            self._drop(conn)
            return
        if not conn.stream.unsent:
            self._unwatch(conn)
            self._sent(conn)

    def _sent(self, conn: Connection) -> None:
        now = time.monotonic()
        if conn.state == "sending-last" or not self.alive:
            with contextlib.suppress(OSError):
                conn.stream.raw.shutdown(socket.SHUT_WR)  # its remaining input is read, or its answer could be lost
            conn.state, conn.ends_at = "closing", now + LINGER_S
            self._watch(conn, selectors.EVENT_READ)
            return
        begun = bool(conn.stream.received)  # the next request
        conn.state, conn.ends_at = ("head", now + HEAD_S) if begun else ("idle", now + self.cfg.keepalive)
        self._watch(conn, selectors.EVENT_READ)
        if begun:
            self._advance(conn)

    # --- time

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        super().wait_for_and_dispatch_events(min(timeout, 0.25) if self._conns else timeout)

    def murder_keepalived(self, force: bool = False) -> None:
        """Called in every round: end connections that took too long."""
        now = time.monotonic()
        if now < self._sweep_at and not force:
            return
        self._sweep_at = now + 0.2
        for conn in [one for one in self._conns if force or one.ends_at < now]:
            if conn.state in _BEFORE_A_REQUEST and conn.stream.received and not force:
                self._refuse(conn, HTTPStatus.REQUEST_TIMEOUT)
            else:
                self._drop(conn)

    def murder_pending(self) -> None:
        """Unused: nothing is pending in gunicorn's sense."""

    def _cap_keepalive(self, deadline: float) -> None:
        for conn in self._conns:
            if conn.state in ("idle", "head", "closing"):
                conn.ends_at = min(conn.ends_at, deadline)

    def _refuse(self, conn: Connection, status: HTTPStatus) -> None:
        """Answer from the main loop, and end the connection."""
        self._unwatch(conn)
        try:
            conn.stream.sendall(refusal(status))
        except OSError:
            self._drop(conn)
            return
        conn.state = "sending-last"
        self._sent(conn)


def refusal(status: HTTPStatus) -> bytes:
    """A complete JSON answer to input that is not a valid request; logs it too."""
    refused_id, code = requests.new_id(), status.phrase.lower().replace(" ", "-")
    requests.log_refusal(refused_id, status.value, code, "before it could be read")
    busy = status is HTTPStatus.SERVICE_UNAVAILABLE
    again = "Retry-After: 2\r\n" if busy else ""
    body = json.dumps(
        {
            "code": code,
            "message": f"The request was refused: {status.phrase.lower()}.",
            "next_step": f"Send {'it again in a few seconds' if busy else 'a well-formed HTTP/1.1 request'}.",
            "request_id": refused_id,
        }
    )
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nConnection: close\r\n{again}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode("latin-1")


def _body_length(head: bytes) -> int | None:
    """The stated length of the body; None where the parser must decide."""
    found = _LENGTH.findall(head)
    if len(found) > 1 or _UNUSUAL.search(head):
        return None
    if not found:
        return 0
    text = found[0].strip()
    return int(text) if text.isdigit() and len(text) < 16 else None


def _files() -> int:
    """How many files this process may have open, after raising the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            soft = most
    return MOST_FILES if soft == resource.RLIM_INFINITY else max(soft, SPARE_FILES + 16)
