"""A value that no database holds, given to a command: one sentence and a code, never a traceback, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_backend import db
from ml_backend.commands import command_line
from scripts import reference_pages
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
RUN_ON = ("demo", "learn", "web", "serve", "worker", "relay")
NUMBERS = (int, float, int | None, float | None)
DAYS = (
    "calls summary --last",
    "export --since",
    "export --until",
    "sync exotel --since",
    "sync exotel --since 2026-09-01 --until",
)


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


def numeric_options() -> Iterator[str]:
    """Every option that is a number, after the words and the required options that its command needs."""
    for words, command in reference_pages.every_command():
        if words in RUN_ON:
            continue
        needed = ["1" for each in command.params if each.param_type_name == "argument" and each.required]
        for each in command.params:
            if each.param_type_name == "option" and each.type_descriptor.annotation in NUMBERS:
                others = [one for one in command.params if one.param_type_name == "option" and one.required]
                given = [word for one in others if one is not each for word in (one.opts[0], "x")]
                yield " ".join([words, *needed, *given, each.opts[0]])


def test_a_number_or_a_day_beyond_any_clock_is_refused_by_every_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    assert command_line.main(["db", "upgrade"]) == 0
    commands = [f"{option}={value}" for option in numeric_options() for value in ("999999999", "9" * 20, "-1", "nan")]
    commands += [f"{option} {day}" for option in DAYS for day in ("0001-01-01", "9999-12-31", "2026-02-30")]
    assert len(commands) > 100
    wrong = {}
    for command in commands:
        code = command_line.main(command.split(" "))
        printed = capfd.readouterr()
        if "unexpected-error" in printed.err or "Traceback" in printed.err or (code and not printed.err.strip()):
            wrong[command] = printed.err[:300]
    assert not wrong
