"""`db`: tables come and say their version."""

import json

import pytest

from ml_backend import db
from ml_backend.commands import command_line


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))


def test_an_empty_database_is_not_current_and_an_upgrade_makes_it_so(capsys):
    assert command_line.main(["db", "version"]) == 1
    assert "no tables yet" in capsys.readouterr().out
    assert command_line.main(["db", "upgrade"]) == 0
    assert command_line.main(["db", "upgrade"]) == 0, "safe to repeat"
    capsys.readouterr()
    assert command_line.main(["db", "version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "database": db.SCHEMA_VERSION,
        "release": db.SCHEMA_VERSION,
        "current": True,
    }
