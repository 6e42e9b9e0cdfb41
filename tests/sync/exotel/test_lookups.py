"""A call that was held and names no recording is asked for, again and again, and ends with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from ml_backend import metrics, tables
from ml_backend.calls.states import LADDER
from sync.commands import status
from sync.exotel import lookups, stops
from tests.servers import exotel
from tests.sync.provider import SPEECH, Beside, beside


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Beside]:
    with beside(tmp_path, monkeypatch) as service:
        yield service


def until_due(here: Beside) -> list[object]:
    call = here.one(tables.calls)
    return here.later(seconds=(call.due_at - tables.now()).total_seconds() + 1)


def test_a_completed_call_without_recording_is_looked_up_on_the_ladder_and_then_has_none(here: Beside) -> None:
    row = here.provider.add(1)
    here.told(row)
    here.run()
    assert here.provider.asked("api") == [], "not before two minutes"
    waits = []
    for _ in LADDER:
        call = here.one(tables.calls)
        assert (call.state, call.next_action) == ("expected", "look-up")
        waits.append(round((call.due_at - tables.now()).total_seconds() / 60))
        until_due(here)
        here.sound()
    assert waits == [2, 5, 15, 60, 360, 1440]
    call = here.one(tables.calls)
    assert call.state == "no-recording"
    assert call.reason_code == "recording-not-named"
    assert len(here.provider.asked("api", below=row["Sid"])) == len(LADDER)
    assert here.waiting("look-up-call") == []


def test_a_recording_that_appears_is_fetched(here: Beside) -> None:
    row = here.provider.add(1)
    here.told(row)
    until_due(here)
    here.provider.recordings["late.mp3"] = SPEECH
    here.provider.calls[0]["RecordingUrl"] = here.provider.address("late.mp3")
    until_due(here)
    assert here.one(tables.recordings).state == "stored"
    assert here.one(tables.calls).talk_seconds == 55, "details say how long both talked"
    here.sound()


def test_the_look_up_asks_for_details_and_long_links(here: Beside) -> None:
    here.told(here.provider.add(1))
    until_due(here)
    [seen] = here.provider.asked("api")
    assert seen.query == "details=true&RecordingUrlValidity=60"
    assert seen.authorization


def test_a_call_that_ended_without_conversation_is_not_looked_up(here: Beside) -> None:
    for number, ended in enumerate(("busy", "failed", "no-answer", "canceled"), 1):
        here.told(here.provider.add(number, status=ended))
    here.later(days=2)
    assert here.provider.asked() == []
    assert {call.state for call in here.rows(tables.calls)} == {"no-recording"}


def test_a_call_the_provider_does_not_know_ends_with_that_reason(here: Beside) -> None:
    row = here.provider.add(1)
    here.provider.calls.clear()
    here.told(row)
    for _ in LADDER:
        until_due(here)
    call = here.one(tables.calls)
    assert (call.state, call.reason_code) == ("no-recording", "call-unknown")
    here.sound()


@pytest.mark.parametrize("mode", ["fixture:api_200_error_body", "fixture:api_error_400_validity"])
def test_an_error_inside_a_200_is_an_error(here: Beside, mode: str) -> None:
    here.provider.script("call", [mode])
    here.told(here.provider.add(1))
    until_due(here)
    call = here.one(tables.calls)
    assert (call.state, call.tries) == ("expected", 1)
    here.sound()


@pytest.mark.parametrize(
    ("mode", "code"),
    [
        ("fixture:api_error_503_html", "http-unavailable"),
        ("html", "exotel-strange-answer"),
        ("xml", "exotel-strange-answer"),
        ("429", "http-busy"),
        ("429-bare", "http-busy"),
        ("short", "download-cut"),
    ],
)
def test_an_answer_that_is_none_is_asked_for_again_without_a_rung(here: Beside, mode: str, code: str) -> None:
    here.provider.script("call", [mode])
    here.told(here.provider.add(1, audio=None))
    [outcome] = until_due(here)
    assert (outcome.state, outcome.error_code) == ("waiting", code)  # type: ignore[attr-defined]
    assert here.one(tables.calls).tries == 0
    here.later(minutes=2)
    assert here.one(tables.calls).tries == 1


def test_a_refused_key_stops_look_ups_too(here: Beside) -> None:
    here.settings(exotel_api_token=SecretStr("a wrong token that nobody knows"))
    for number in (1, 2, 3):
        here.told(here.provider.add(number))
    here.later(minutes=3)
    assert len(here.provider.asked("api")) == 1
    assert {call.tries for call in here.rows(tables.calls)} == {0}
    here.settings(exotel_api_token=SecretStr(exotel.TOKEN))
    here.later(minutes=6)
    assert len(here.provider.asked("api")) == 4
    here.sound()


def test_a_redirect_that_loses_the_key_says_nothing_about_the_key(here: Beside) -> None:
    """The key never follows a redirect, so what the redirect leads to refuses a request without one."""
    own = f"{here.provider.api_url}/v1/Accounts/{here.provider.account}/Calls/another.json"
    here.provider.script("call", [f"redirect:{own}"])
    here.told(here.provider.add(1, audio=None))
    [outcome] = until_due(here)
    assert (outcome.state, outcome.error_code) == ("waiting", "exotel-strange-answer")  # type: ignore[attr-defined]
    assert stops.until(here.context) is None
    here.sound()


def test_no_number_and_no_key_is_in_any_row_or_error(here: Beside) -> None:
    """Only pseudonyms outside the raw events; the provider's numbers are in its answers."""
    here.provider.script("call", ["503", "html", "404"])
    row = here.provider.add(1, From="00000000101", To="00000000202")
    here.told(row)
    until_due(here)
    for _ in range(4):
        here.later(minutes=10)
    for table in (tables.calls, tables.jobs, tables.checkpoints, tables.recordings):
        text = " ".join(str(tuple(each)) for each in here.rows(table))
        for secret in ("00000000101", "00000000202", exotel.KEY, exotel.TOKEN):
            assert secret not in text, table.name


def test_a_call_whose_job_is_gone_is_taken_up_again_when_it_is_overdue(here: Beside) -> None:
    """A job that a person cancelled, or that a restored backup lacks: the ledger still knows what is due."""
    here.told(here.provider.add(1))
    here.told(here.provider.add(2, audio=SPEECH))
    with here.context.db.transaction() as connection:
        connection.execute(tables.jobs.delete())
    here.later(minutes=10)
    assert lookups.take_up(here.context) == 0, "it may yet come"
    here.later(minutes=10)
    assert lookups.take_up(here.context) == 2
    assert lookups.take_up(here.context) == 0
    here.run()
    assert here.one(tables.recordings).state == "stored"
    assert here.provider.asked("api")
    here.sound()


def test_what_killed_its_workers_is_not_taken_up_again(here: Beside) -> None:
    here.told(here.provider.add(1, audio=SPEECH))
    with here.context.db.transaction() as connection:
        connection.execute(tables.jobs.update().values(state="quarantined"))
    here.later(hours=1)
    assert lookups.take_up(here.context) == 0


def test_a_refused_key_is_trouble_on_the_status_screen_and_a_number_to_alarm_on(here: Beside) -> None:
    here.settings(exotel_api_token=SecretStr("a wrong token that nobody knows"))
    here.told(here.provider.add(1, audio=SPEECH))
    here.run()
    assert [line for line in status.read(here.context)["trouble"] if "refused the credentials" in line]
    numbers = metrics.Metrics(here.context).text().decode()
    assert "kaan_stopped_accounts 1.0" in numbers
    assert 'kaan_calls{state="to-fetch"} 1.0' in numbers
