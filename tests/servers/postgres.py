"""A real PostgreSQL server in a temporary folder, on a port of its own.

PostgreSQL refuses to run as root, so a root test run becomes the `postgres` user (or `nobody`) for it, in a folder
that user can reach.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.servers.redis import free_port


class PostgresServer:
    """A cluster; `database()` gives the URL of a new, empty database in it."""

    def __init__(self, port: int) -> None:
        self.port = port

    def _dsn(self, name: str) -> str:
        return f"//kaan@127.0.0.1:{self.port}/{name}"

    def database(self) -> str:
        name = f"test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect("postgresql:" + self._dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return "postgresql+psycopg:" + self._dsn(name)


@contextmanager
def running() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the length of a block."""
    programs = folder_of_programs()
    folder = Path(tempfile.mkdtemp(prefix="kaan-postgres-"))
    user = _other_user()
    if user:
        os.chown(folder, user.pw_uid, user.pw_gid)
    data, port = folder / "data", free_port()
    become = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    quiet = {"stdout": subprocess.DEVNULL, "cwd": folder}
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", "kaan", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C"],
        check=True, **quiet, **become,
    )  # fmt: skip
    settings = [f"-cport={port}", "-clisten_addresses=127.0.0.1", f"-cunix_socket_directories={folder}", "-cfsync=off"]
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen(
            [programs / "postgres", "-D", data, *settings], stdout=output, stderr=output, cwd=folder, **become
        )
    try:
        _wait(PostgresServer(port), process, folder / "log")
        yield PostgresServer(port)
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(timeout=20)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(server: PostgresServer, process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect("postgresql:" + server._dsn("postgres"), connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline or process.poll() is not None:
                raise AssertionError(output.read_text()[-2000:]) from None
            time.sleep(0.05)


def folder_of_programs() -> Path:
    """Where initdb and postgres are. None is a failure, not a skip."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists():
            return folder
    raise AssertionError("no PostgreSQL found: install the package postgresql")


def _other_user() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise AssertionError("PostgreSQL cannot run as root, and there is no user postgres or nobody")
