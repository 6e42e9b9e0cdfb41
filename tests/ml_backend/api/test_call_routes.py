"""/api/calls: the ledger for other programs; wrong questions are 4xx, people are pseudonyms."""

from __future__ import annotations

from typing import Any

import pytest

from ml_backend.calls import events as callevents
from ml_backend.calls import ledger
from ml_backend.calls.pseudonyms import key_of, pseudonym
from tests.exotel_messages import message
from tests.ml_backend.api.serving import BASIC, BEARER, Serving
from tests.ml_backend.api.test_bad_input import refused

SID, FROM = "0000000000000000000000000000002p", "00000000101"


@pytest.fixture
def filled(serving: Serving) -> Serving:
    """Two calls, from the samples."""
    with serving.context.db.transaction() as connection:
        for name in ("cb_terminal_form_legs.txt", "cb_terminal_busy_json.txt"):
            sent = message(name)
            event = callevents.parse_request(sent.method, sent.content_type, sent.query, sent.body)
            assert event is not None
            ledger.record(connection, event, key=key_of(serving.context.settings))
    return serving


def asked(serving: Serving, path: str) -> Any:
    answer = serving.get(path, BEARER)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    assert FROM not in answer.get_data(as_text=True)
    return answer.get_json()


def test_calls_are_listed_in_pages(filled: Serving) -> None:
    first = asked(filled, "/api/calls?limit=1")
    assert [call["state"] for call in first["calls"]] == ["no-recording"]
    second = asked(filled, f"/api/calls?limit=1&before={first['next']}")
    assert [call["call_sid"] for call in second["calls"]] == [SID]
    assert asked(filled, f"/api/calls?before={second['next']}") == {"calls": [], "next": None}


def test_calls_are_filtered(filled: Serving) -> None:
    person = pseudonym(FROM, key_of(filled.context.settings))
    for query, number in (
        ("state=to-fetch", 1), ("state=to-fetch&state=no-recording", 2), ("state=tasked", 0),
        ("source=status_callback", 2), ("reason_code=no-conversation", 1), (f"person={person}", 2),
        ("since=2024-01-15&until=2024-01-16", 2), ("since=2024-01-15T14:25:12%2B05:30", 2),
        ("since=2024-01-15T14:25:12+05:30", 2), ("since=2024-01-15T08:55:13Z", 0),
    ):  # fmt: skip
        assert len(asked(filled, f"/api/calls?{query}")["calls"]) == number, query


@pytest.mark.parametrize("what", [SID, "recording:1", f"number:{FROM}", f"object:x/{SID}.wav"])
def test_a_call_is_shown_by_any_of_its_names(filled: Serving, what: str) -> None:
    found = asked(filled, f"/api/calls/{what}")
    call = found if "calls" not in found else found["calls"][-1]
    assert (call["call_sid"], call["state"], call["next_action"]) == (SID, "to-fetch", "fetch")
    assert call["explanation"][0].startswith("It is not a task yet.")


def test_the_summary_gives_the_balance_of_each_day(filled: Serving) -> None:
    found = asked(filled, "/api/calls/summary?days=2&last=2024-01-15")
    assert [(day["day"], day["reported"], day["balanced"]) for day in found["days"]] == [
        ("2024-01-15", 2, True), ("2024-01-14", 0, True),
    ]  # fmt: skip
    assert found["states"] == {"to-fetch": 1, "no-recording": 1}


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=-1", "limit=x", "limit=" + "9" * 30, "before=", "state=x", "a=1", "limit=٣", f"person={FROM}",
     "person=%00", "since=yesterday", "since=", "since=0001-01-01", "until=9999-12-31T23:59:59-23:00", "number=1"],
)  # fmt: skip
def test_a_wrong_filter_is_400(filled: Serving, query: str) -> None:
    assert FROM not in refused(filled.get(f"/api/calls?{query}", BEARER))["message"]


@pytest.mark.parametrize("query", ["days=0", "days=x", "last=2024-02-30", "last=", "last=0001-01-01", "x=1"])
def test_a_wrong_summary_is_400(filled: Serving, query: str) -> None:
    refused(filled.get(f"/api/calls/summary?{query}", BEARER))


@pytest.mark.parametrize("what", ["nope", "recording:99", "task:1", "%25", "%F0%9F%98%80", "a" * 3000, "number:1"])
def test_an_unknown_call_is_404(filled: Serving, what: str) -> None:
    assert refused(filled.get(f"/api/calls/{what}", BEARER), 404)["code"] == "no-such-call"


@pytest.mark.parametrize("path", ["/api/calls", "/api/calls/summary", f"/api/calls/{SID}"])
@pytest.mark.parametrize("headers", [{}, BASIC, {"Authorization": "Bearer x"}])
def test_nobody_sees_calls_without_a_token(filled: Serving, path: str, headers: dict[str, str]) -> None:
    refused(filled.get(path, headers), 401)
