"""A value that no database holds, given to a command: one sentence and a code, never a traceback, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_backend import db
from ml_backend.commands import command_line
from tests.servers import postgres

VALUES = {"nul": "a\x00b", "half a character": "a\ud800b", "a number of 71 bits": str(2**70), "long": "9" * 5000}
COMMANDS = (
    "calls list --state", "calls show", "calls show recording:", "calls show task:", "calls show object:b/",
    "calls erase --dry-run --caller", "calls erase --dry-run --call", "calls hold --why why --call",
    "calls hold --caller 0801 --why", "calls release --call", "calls numbers set --agent-channel 0",
    "calls numbers set 0801 --language", "retention set call-recordings", "retention confirm call-recordings",
    "retention set --days", "export", "export calls --languages", "export calls --projects", "datasets show",
    "datasets diff calls@1", "annotations list --annotator", "annotations list --language", "annotations list --task",
    "annotations show", "annotations gold add 34 --text", "annotations gold add", "annotations gold remove",
    "train show", "train cancel", "train resume", "hotwords list --language", "hotwords approve", "hotwords remove",
    "experiments start", "experiments start newest --name", "experiments show", "experiments stop", "evaluate",
    "models show", "models compare champion", "models register", "promote", "rollback --to", "rollback --why",
    "jobs list --name", "jobs show", "jobs retry", "jobs cancel", "project rules", "project list", "project add 2",
    "project rules 2 --selection",
)  # fmt: skip


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('unstorable') / 'kaan.db'}"
        db.upgrade(url)
        yield url
        return
    with postgres.running() as server:
        url = server.database()
        db.upgrade(url)
        yield url


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_every_command_refuses_it_in_a_sentence(
    database_url: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("PSEUDONYM_KEY", "k" * 32)  # the databases outlive the folder where a key would be kept
    wrong = {}
    for command in COMMANDS:
        words = command.split(" ")
        given = [*words[:-1], words[-1] + value] if words[-1][-1] in ":/" else [*words, value]
        code = command_line.main(given)
        printed = capfd.readouterr()
        if "unexpected-error" in printed.err or "Traceback" in printed.err or (code and not printed.err.strip()):
            wrong[command] = printed.err[:300]
    assert not wrong
