"""The company's numbers: shown as pseudonyms only, and told which leg their agents speak on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ml_backend.calls import live_recordings, pseudonyms
from ml_backend.errors import InvalidInput
from sync.commands import numbers
from sync.privacy import consents
from tests.sync import offline

FICTITIOUS = "00000000101"


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> offline.Offline:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    return offline.opened(tmp_path)


def run(*words: str) -> str:
    result = CliRunner().invoke(numbers.app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_leg_is_set_by_number_or_pseudonym_and_the_number_is_never_shown(service: offline.Offline) -> None:
    said = run("set", FICTITIOUS, "--agent-channel", "1")
    [one] = json.loads(run("list", "--json"))
    assert one["agent_channel"] == 1
    assert one["number"] == pseudonyms.pseudonym(FICTITIOUS, pseudonyms.key_of(service.context.settings))
    assert FICTITIOUS not in said + json.dumps(one)
    run("set", one["number"], "--agent-channel", "unknown")
    [one] = json.loads(run("list", "--json"))
    assert one["agent_channel"] is None
    assert "not known" in run("list")


def test_a_leg_that_cannot_be_is_refused(service: offline.Offline) -> None:
    for words in (("set", FICTITIOUS, "--agent-channel", "2"), ("set", "hello", "--agent-channel", "0")):
        result = CliRunner().invoke(numbers.app, list(words))
        assert result.exit_code != 0
    assert run("list").startswith("No company number")


def test_a_language_is_set_by_code_or_name_and_given_back_to_the_detection(service: offline.Offline) -> None:
    assert "calls are in mr" in run("set", FICTITIOUS, "--language", "Marathi")
    [one] = json.loads(run("list", "--json"))
    assert (one["language"], one["agent_channel"]) == ("mr", None)
    run("set", one["number"], "--agent-channel", "1")
    assert json.loads(run("list", "--json"))[0]["language"] == "mr", "what is not named stays"
    assert "detected" in run("set", one["number"], "--language", "auto")
    for words in (("--language", "no language"), ()):
        assert CliRunner().invoke(numbers.app, ["set", FICTITIOUS, *words]).exit_code != 0


def states(service: offline.Offline, tmp_path: Path, purpose: str) -> None:
    path = tmp_path / "consents.csv"
    path.write_text(f"company_number,purpose\n{FICTITIOUS},{purpose}\n")
    key = pseudonyms.key_of(service.context.settings)
    with service.context.db.transaction() as connection:
        consents.state(connection, *consents.read(path, key=key))


def test_live_audio_is_switched_on_only_with_a_stated_purpose_that_allows_learning(
    service: offline.Offline, tmp_path: Path
) -> None:
    for purpose in (None, "review", "none"):
        if purpose:
            states(service, tmp_path, purpose)
        refused = CliRunner().invoke(numbers.app, ["set", FICTITIOUS, "--live-audio", "on"])
        assert isinstance(refused.exception, InvalidInput)
        assert refused.exception.code == "live-audio-consent"
        assert "calls consent import" in refused.exception.next_step
    states(service, tmp_path, "training")
    assert "live audio is not kept" in run("list")
    assert "live audio is kept" in run("set", FICTITIOUS, "--live-audio", "on")
    assert json.loads(run("list", "--json"))[0]["live_audio"] == "on"
    states(service, tmp_path, "service")
    assert json.loads(run("list", "--json"))[0]["live_audio"] == "without-consent"
    assert "the consent does not allow it" in run("list")
    with service.context.db.reading() as connection:
        assert live_recordings.numbers(connection) == frozenset()
    assert "live audio is not kept." in run("set", FICTITIOUS, "--live-audio", "off")
    bad = CliRunner().invoke(numbers.app, ["set", FICTITIOUS, "--live-audio", "perhaps"])
    assert isinstance(bad.exception, InvalidInput)
    assert bad.exception.code == "bad-switch"
