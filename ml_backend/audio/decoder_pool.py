"""A standby decoder process: one fork per file instead of one interpreter start per file.

`decoder_process.py --serve` loads PyAV once and waits on a socket. For every file it receives three open descriptors
(source, target, answer) and forks; the fork confines itself and decodes. So the standby process never reads any audio,
and each file gets a process of its own. The standby process runs in a folder that is already deleted, with an empty
environment, and ends when the socket closes, which happens when its owner ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from ml_backend.audio import decoder_process

PR_SET_DUMPABLE = 4
_STARTING = threading.Lock()
_ROOT = str(Path(__file__).parents[2])


class Standby:
    """The standby decoder process of this process."""

    def __init__(self) -> None:
        self.owner, self.script = os.getpid(), decoder_process.__file__
        self._sending = threading.Lock()
        if sys.platform == "linux":  # no process of this user may read our memory: secrets, transcripts
            ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = ours
        with theirs, tempfile.TemporaryDirectory(prefix="kaan-decode-") as empty:
            self.process = subprocess.Popen(
                [sys.executable, "-I", self.script, "--serve", str(theirs.fileno()), _ROOT],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                cwd=empty,
                env={},
            )

    def usable(self) -> bool:
        """Whether it is our child, runs the current script, and is alive."""
        return self.owner == os.getpid() and self.script == decoder_process.__file__ and self.process.poll() is None

    def send(self, order: dict[str, Any], descriptors: list[int]) -> None:
        """Hand over one file."""
        with self._sending:
            socket.send_fds(self._socket, [json.dumps(order).encode()], descriptors)

    def close(self) -> None:
        """End it; only its owner waits for it."""
        self._socket.close()
        if self.owner == os.getpid():
            self.process.kill()
            self.process.wait()


_standby: Standby | None = None


def run(source_fd: int, target_fd: int, *, limits: dict[str, Any], hint: str, wall_s: float) -> bytes | None:
    """The decoder's answer (empty if it died), or None if it was killed at its wall-clock limit."""
    order = {"limits": limits, "hint": hint}
    for _ in range(3):
        standby = _ready()
        read_fd, write_fd = os.pipe()
        try:
            try:
                standby.send(order, [source_fd, target_fd, write_fd])
            finally:
                os.close(write_fd)
            begun, answer = _answer(read_fd, time.monotonic() + wall_s)
            if begun:
                return answer
            standby.close()
        except OSError:
            standby.close()  # it died while idle: the next iteration starts another
        finally:
            os.close(read_fd)
    return b""


def process_id() -> int:
    """The process id of the standby process, for measurements."""
    return _ready().process.pid


def _ready() -> Standby:
    global _standby
    with _STARTING:
        if _standby is None or not _standby.usable():
            if _standby is not None:
                _standby.close()
            _standby = Standby()
        return _standby


def _answer(descriptor: int, deadline: float) -> tuple[bool, bytes | None]:
    """(whether a fork started, its answer). A fork writes its process id on a line, then JSON, then closes the pipe."""
    received = b""
    poll = select.poll()  # select() itself cannot name a descriptor beyond 1023
    poll.register(descriptor, select.POLLIN)
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            pid, _, _ = received.partition(b"\n")
            if pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            return True, None
        piece = os.read(descriptor, 1 << 16)
        if not piece:
            return b"\n" in received, received.partition(b"\n")[2]
        received += piece
