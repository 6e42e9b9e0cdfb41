"""DATA_DIR and the database are made for their owner only; ones that are open are closed, what others share is not."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ml_backend import db, file_permissions
from ml_backend.context import open_context
from ml_backend.settings import Settings
from sync.commands import doctor
from tests.policy.source import ROOT


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def _usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_everything_a_command_makes_is_closed_to_others(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DATA_DIR": str(tmp_path / "data")}
    for command in (["db", "upgrade"], ["calls", "summary"], ["backup", str(tmp_path / "kaan.tar")]):
        subprocess.run([sys.executable, "-m", "ml_backend", *command], cwd=tmp_path, env=environment, check=False,
                       capture_output=True)  # fmt: skip
    made = [tmp_path / "data", tmp_path / "kaan.tar", *(tmp_path / "data").rglob("*")]
    assert {path.name for path in made} >= {"data", "kaan.db", "kaan.tar"}
    assert [f"{path.name} {mode(path):o}" for path in made if mode(path) & 0o077] == []


def test_a_folder_and_a_database_that_are_open_are_closed(tmp_path):
    settings = Settings(_env_file=None, data_dir=tmp_path / "data")
    file_permissions.folder(settings.data_dir)
    db.upgrade(settings.database)
    held = open_context(settings)  # keeps the log and its index there
    for path in settings.data_dir.iterdir():
        path.chmod(0o644)
    settings.data_dir.chmod(0o755)
    with open_context(settings).db.transaction() as connection:
        connection.exec_driver_sql("CREATE TABLE x (y)")
    assert mode(settings.data_dir) == 0o700
    assert {path.name: mode(path) & 0o077 for path in settings.data_dir.glob("kaan.db*") if path.suffix == ".db"} == {
        "kaan.db": 0
    }
    held.db.dispose()


def test_a_folder_that_others_use_too_is_left_as_it_is(tmp_path):
    shared, sticky = tmp_path / "shared", tmp_path / "sticky"
    for path, rights in ((shared, 0o755), (sticky, 0o1777)):
        path.mkdir()
        (path / "theirs").touch()
        path.chmod(rights)
    (sticky / "kaan.db").touch()
    for path in (shared, sticky):
        before = mode(path)
        file_permissions.folder(path)
        assert mode(path) == before


def test_the_doctor_names_what_others_can_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("X=1")
    (tmp_path / ".env").chmod(0o644)
    settings = Settings(_env_file=None, data_dir=tmp_path / "data")
    settings.data_dir.mkdir(mode=0o700)
    found = [finding for finding in doctor.examine(settings) if finding.world == "privacy"]
    assert [(finding.state, finding.next_step) for finding in found] == [(doctor.WARN, "chmod 600 .env")]
    (tmp_path / ".env").chmod(0o600)
    [finding] = [finding for finding in doctor.examine(settings) if finding.world == "privacy"]
    assert finding.state == doctor.OK
