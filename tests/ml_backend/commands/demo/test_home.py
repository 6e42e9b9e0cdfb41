"""The demo's folder: secrets once, ports kept, one supervisor at a time, nobody else's data."""

import json
import socket
import stat

import pytest

from ml_backend import settings
from ml_backend.commands.demo import home as homes
from ml_backend.commands.demo import ports
from ml_backend.errors import ConfigurationError


def take(path, **ports_wanted):
    return homes.take(path, **{"port": 0, "label_studio_port": 0, **ports_wanted})


def test_secrets_are_made_once_and_only_the_owner_reads_them(tmp_path):
    first = take(tmp_path / "demo")
    first.release()
    second = take(tmp_path / "demo")
    second.release()
    assert second.secrets == first.secrets
    assert len(set(first.secrets.values())) == len(first.secrets)
    mode = stat.S_IMODE((tmp_path / "demo" / "secrets.json").stat().st_mode)
    assert mode == 0o600
    assert stat.S_IMODE((tmp_path / "demo").stat().st_mode) == 0o700


def test_secrets_that_a_killed_first_start_did_not_finish_are_completed(tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "secrets.json").write_text(json.dumps({"label_studio_password": "kept"}))
    home = take(tmp_path / "demo")
    home.release()
    assert home.secrets["label_studio_password"] == "kept"
    assert home.secrets["webhook_secret"]


def test_no_secret_shows_when_a_home_is_printed(tmp_path):
    home = take(tmp_path / "demo")
    home.release()
    assert not any(secret in repr(home) for secret in home.secrets.values())


def test_a_second_demo_in_the_same_folder_is_refused_with_the_process_that_has_it(tmp_path):
    first = take(tmp_path / "demo")
    with pytest.raises(ConfigurationError, match=r"already running in .* \(process \d+\)") as refused:
        take(tmp_path / "demo")
    assert refused.value.code == "demo-running"
    first.release()
    take(tmp_path / "demo").release()


def test_a_deployment_with_data_of_its_own_is_not_turned_into_a_demo(tmp_path):
    (tmp_path / "kaan.db").write_bytes(b"somebody's")
    with pytest.raises(ConfigurationError, match="did not make"):
        take(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kaan.db"]


def test_ports_stay_the_same_from_start_to_start(tmp_path):
    first = take(tmp_path / "demo")
    first.release()
    again = homes.take(tmp_path / "demo", port=None, label_studio_port=None)
    again.release()
    assert (again.port, again.label_studio_port) == (first.port, first.label_studio_port)


def test_a_busy_port_is_named_together_with_one_that_is_free():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        busy = other.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"Port {busy}, for Label Studio, is in use") as refused:
            ports.require_free(busy, "Label Studio", "--label-studio-port")
    suggested = int(refused.value.next_step.rsplit(" ", 1)[1])
    assert suggested != busy
    assert ports.is_free(suggested)


def test_a_folder_nested_too_deep_for_a_socket_still_gets_one(tmp_path):
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    home = take(deep)
    home.release()
    assert len(str(home.redis_socket)) <= homes.SOCKET_PATH_LIMIT
    assert home.redis_socket.parent.is_dir()


def test_the_settings_of_the_demo_are_valid_settings(tmp_path):
    home = take(tmp_path / "demo")
    home.release()
    chosen = settings.load(**{name.lower(): value for name, value in home.settings(api_key="t" * 40).items()})
    assert chosen.bind == "127.0.0.1"
    assert chosen.objects == str(home.objects)
    assert chosen.database.startswith("sqlite:")
