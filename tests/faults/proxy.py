"""A TCP proxy between two parts, that does to the connection what networks do.

    latency s      each piece of an answer comes so much later
    bandwidth n    n bytes a second
    slicer n       pieces of n bytes
    limit_data n   the connection closes after n bytes of answer
    slow_close s   the end of an answer comes so much later
    timeout        connections are accepted and nothing ever comes
    reset          connections are reset as soon as something was asked
    cut_answer     the question gets through; its answer never comes back
    down           connections are refused

The words are Toxiproxy's. `proxy.set(latency=0.2)` holds for new and open connections; `proxy.heal()` takes all back.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

KNOWN = ("latency", "bandwidth", "slicer", "limit_data", "slow_close", "timeout", "reset", "cut_answer", "down")
PIECE = 64 * 1024


class Proxy:
    """Listens on a port of its own and passes on to `target` (host:port)."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self.target = (host, int(port))
        self._faults: dict[str, Any] = {}
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.accepted = 0
        self._ended = False
        self._listener: socket.socket | None = None
        self.port = 0
        self._listen()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def set(self, **faults: Any) -> None:
        """These faults and no others, from now on."""
        unknown = set(faults) - set(KNOWN)
        assert not unknown, f"no such fault: {unknown}"
        was_down, self._faults = "down" in self._faults, dict(faults)
        if "down" in faults:
            self._stop_listening()
        elif was_down:
            self._listen()
        if faults.keys() & {"down", "reset"}:
            self.cut()

    def heal(self) -> None:
        """No fault; connections held up so far are closed."""
        stuck = "timeout" in self._faults or "cut_answer" in self._faults
        self.set()
        if stuck:
            self.cut()

    def cut(self) -> None:
        """Reset every open connection."""
        with self._lock:
            for one in self._open:
                _reset(one)
            self._open.clear()

    def stop(self) -> None:
        self._ended = True
        self._stop_listening()
        self.cut()

    def _listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(128)
        self.port, self._listener = listener.getsockname()[1], listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _stop_listening(self) -> None:
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        while not self._ended:
            try:
                inner, _ = listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._serve, args=(inner,), daemon=True).start()

    def _serve(self, inner: socket.socket) -> None:
        self._keep(inner)
        if "timeout" in self._faults:
            return  # held open, unanswered, until healed
        try:
            outer = socket.create_connection(self.target, timeout=5)
            outer.settimeout(None)
        except OSError:
            _reset(inner)
            return
        self._keep(outer)
        asking = threading.Thread(target=self._pump, args=(inner, outer, False), daemon=True)
        asking.start()
        self._pump(outer, inner, True)
        faults = self._faults
        if "cut_answer" in faults or "timeout" in faults:
            return  # held open, unanswered, until healed
        asking.join()
        with self._lock:
            self._open -= {inner, outer}
        for one in (inner, outer):
            with contextlib.suppress(OSError):
                one.close()

    def _keep(self, one: socket.socket) -> None:
        with self._lock:
            self._open.add(one)

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        passed = 0
        try:
            while piece := source.recv(PIECE):
                faults = self._faults
                if "reset" in faults:
                    _reset(source), _reset(sink)
                    return
                if not answers:
                    sink.sendall(piece)
                    continue
                if "cut_answer" in faults or "timeout" in faults:
                    return
                if "limit_data" in faults and passed + len(piece) >= int(faults["limit_data"]):
                    sink.sendall(piece[: int(faults["limit_data"]) - passed])
                    break
                passed += len(piece)
                self._send(sink, piece, faults)
            if answers and self._faults.get("slow_close"):
                time.sleep(float(self._faults["slow_close"]))
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
        except OSError:
            for one in (source, sink):
                with contextlib.suppress(OSError):
                    one.close()

    def _send(self, sink: socket.socket, piece: bytes, faults: dict[str, Any]) -> None:
        if faults.get("latency"):
            time.sleep(float(faults["latency"]))
        a_second = int(faults.get("bandwidth") or 0)
        size = int(faults.get("slicer") or 0) or (max(1, a_second // 20) if a_second else len(piece))
        for begin in range(0, len(piece), size):
            part = piece[begin : begin + size]
            sink.sendall(part)
            if a_second:
                time.sleep(len(part) / a_second)


@contextmanager
def between(target: str) -> Iterator[Proxy]:
    """A proxy before `target` for the length of a block."""
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.stop()


def _reset(one: socket.socket) -> None:
    """Close with RST instead of FIN."""
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RD)
        one.close()
