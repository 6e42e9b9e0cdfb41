"""OpenStack Swift with its S3 interface: a real server that checks signatures, dates and presigned addresses.

Swift lives in an environment of its own (`.venv-swift`, made on first use), as it pins what we must not. One device,
one replica, no memcached, four processes on free ports. Swift's code fixes the path of swift.conf, hence the launcher.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".venv-swift"
REQUIREMENT = "swift==2.38.3"
ACCESS_KEY, SECRET_KEY = "test:tester", "swift-testing-secret"

_LAUNCHER = """
import sys
import swift.common.utils
swift.common.utils.SWIFT_CONF_FILE = sys.argv[1]
import importlib
sys.argv = [sys.argv[2], sys.argv[4]]
importlib.import_module(sys.argv[0]).main()
"""

_RINGS = """
import sys
from swift.common.ring import RingBuilder
folder = sys.argv[1]
for name, port in zip(("account", "container", "object"), map(int, sys.argv[2:5])):
    builder = RingBuilder(3, 1, 1)
    builder.add_dev({"id": 0, "region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "device": "d0", "weight": 1.0,
                     "replication_ip": "127.0.0.1", "replication_port": port})
    builder.rebalance()
    builder.get_ring().save(f"{folder}/{name}.ring.gz")
"""


@dataclass(frozen=True)
class SwiftServer:
    """A running server: `endpoint` is host:port."""

    endpoint: str
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY


@contextmanager
def running(folder: Path) -> Iterator[SwiftServer]:
    """A Swift with an S3 interface, for the length of a block; everything it keeps is in `folder`."""
    python = installed()
    (folder / "devices" / "d0").mkdir(parents=True)
    ports = dict(zip(("account", "container", "object", "proxy"), _free_ports(4), strict=True))
    (folder / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = kaan\nswift_hash_path_prefix = tests\n"
        "[storage-policy:0]\nname = one\ndefault = yes\n"
    )
    three = [str(ports[name]) for name in ("account", "container", "object")]
    subprocess.run([python, "-c", _RINGS, str(folder), *three], check=True, env=_environment())
    with ExitStack() as stack:
        for name, port in ports.items():
            (folder / f"{name}.conf").write_text(
                _proxy(folder, port) if name == "proxy" else _storage(folder, name, port)
            )
            stack.enter_context(_server(folder, name, python))
        _wait(f"http://127.0.0.1:{ports['proxy']}/healthcheck", folder)
        yield SwiftServer(f"127.0.0.1:{ports['proxy']}")


def installed() -> str:
    """The environment's Python, made on first use. Safe when several test processes ask at once."""
    python = ENVIRONMENT / "bin" / "python"
    done = ENVIRONMENT / "complete"
    if not done.exists():
        with (ROOT / ".venv-swift.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(ENVIRONMENT, ignore_errors=True)
                subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
                subprocess.run([str(python), "-m", "pip", "install", "-q", "setuptools<81", REQUIREMENT], check=True)
                done.touch()
    return str(python)


def _storage(folder: Path, name: str, port: int) -> str:
    return (
        f"[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {port}\nworkers = 0\nswift_dir = {folder}\n"
        f"devices = {folder}/devices\nmount_check = false\nfallocate_reserve = 0\ndisable_fallocate = true\n"
        f"log_address = {folder}/no-syslog\n"
        f"[pipeline:main]\npipeline = {name}-server\n"
        f"[app:{name}-server]\nuse = egg:swift#{name}\n"
    )


def _proxy(folder: Path, port: int) -> str:
    pipeline = (
        "catch_errors gatekeeper healthcheck cache listing_formats bulk s3api tempauth copy slo dlo "
        "versioned_writes symlink proxy-server"
    )
    filters = {
        **dict.fromkeys(("catch_errors", "gatekeeper", "healthcheck", "listing_formats", "bulk"), ""),
        **dict.fromkeys(("copy", "slo", "dlo", "symlink"), ""),
        "cache": "use = egg:swift#memcache\nmemcache_servers = 127.0.0.1:1\n",
        "s3api": "use = egg:swift#s3api\ns3_acl = false\ncheck_bucket_owner = false\nlocation = us-east-1\n",
        "tempauth": f"use = egg:swift#tempauth\nuser_test_tester = {SECRET_KEY} .admin\n",
        "versioned_writes": "use = egg:swift#versioned_writes\nallow_versioned_writes = true\n"
                            "allow_object_versioning = true\n",
    }  # fmt: skip
    parts = "".join(f"[filter:{name}]\n{text or f'use = egg:swift#{name}' + chr(10)}" for name, text in filters.items())
    return (
        f"[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {port}\nworkers = 0\nswift_dir = {folder}\n"
        f"log_address = {folder}/no-syslog\n[pipeline:main]\npipeline = {pipeline}\n"
        f"[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n{parts}"
    )


@contextmanager
def _server(folder: Path, name: str, python: str) -> Iterator[None]:
    module = {"object": "swift.obj.server", "proxy": "swift.proxy.server"}.get(name, f"swift.{name}.server")
    command = [python, "-c", _LAUNCHER, str(folder / "swift.conf"), module, name, str(folder / f"{name}.conf")]
    with (folder / f"{name}.log").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=_environment(), cwd=folder)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _wait(address: str, folder: Path) -> None:
    deadline = time.monotonic() + 180  # four interpreters on a busy machine
    while True:
        try:
            urllib.request.urlopen(address, timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                logs = [path.read_text()[-800:] for path in sorted(folder.glob("*.log"))]
                raise AssertionError("Swift did not start:\n" + "\n".join(logs)) from None
            time.sleep(0.05)


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "HOME": os.environ.get("HOME", "/")}


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
