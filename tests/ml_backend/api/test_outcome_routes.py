"""How calls went, as the phone system reports it: in parts, late, twice, many at once, of calls nobody knows yet."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.api import call_routes
from ml_backend.calls import ledger, tombstones
from ml_backend.calls.pseudonyms import key_of
from tests.ml_backend.api.serving import BASIC, BEARER, OPERATOR, Serving
from tests.ml_backend.api.test_bad_input import refused
from tests.ml_backend.api.test_call_routes import SID, filled

__all__ = ["filled"]

LIVE = {"Authorization": f"Bearer {'l' * 24}"}
TOKENS = f"ops:read:{'t' * 24},shop:operate:{'o' * 24},phone:live:{'l' * 24}"


@pytest.fixture
def serving(serve: Callable[..., Serving], database_url: str) -> Serving:
    """On both databases, with a token of the phone system."""
    return serve(database_url=database_url, api_tokens=TOKENS)


def report(serving: Serving, call: str = "call-1", headers: dict[str, str] | None = None, **body: Any) -> Any:
    answer = serving.post(f"/api/calls/{quote(call, safe='')}/outcome", body, headers or LIVE)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return answer.get_json()


def row(serving: Serving, call: str = "call-1") -> Any:
    mine = sa.select(tables.outcomes).where(tables.outcomes.c.call_sid == call, tables.outcomes.c.kind == "call")
    (found,) = serving.context.db.rows(mine)
    return found


def stored(serving: Serving) -> int:
    return len(serving.rows(tables.outcomes))


def test_a_whole_report_is_kept_and_a_repeated_one_changes_nothing(serving: Serving) -> None:
    body = {
        "success": True, "satisfaction": 4, "satisfaction_scale": "1-5", "automated": False, "intent": "order_status",
        "latencies_s": {"asr": 0.2, "tts": 0.1}, "tags": {"campaign": "diwali", "retry": ""},
    }  # fmt: skip
    changed = ["automated", "intent", "latencies.asr", "latencies.tts", "satisfaction", "success", "tags.campaign"]
    told = report(serving, **body)
    assert told == {"call": "call-1", "known": False, "changed": [*changed, "tags.retry"], "older": []}
    assert report(serving, **body)["changed"] == []
    found = row(serving)
    assert (found.success, found.satisfaction, found.automated, found.intent) == (True, 0.75, False, "order_status")
    assert (found.latencies, found.tags) == ({"asr": 0.2, "tts": 0.1}, {"campaign": "diwali", "retry": ""})
    assert found.latency_s == pytest.approx(0.3)
    assert stored(serving) == 1


def test_parts_are_put_together_whatever_their_order(serving: Serving) -> None:
    report(serving, success=True, tags=["vip"], latencies_s={"asr": 0.2})
    report(serving, satisfaction=0.5, tags={"vip": "gold", "again": "yes"}, latencies_s={"nlu": 0.01}, success=None)
    found = row(serving)
    assert (found.success, found.satisfaction, found.tags) == (True, 0.5, {"again": "yes", "vip": "gold"})
    assert found.latencies == {"asr": 0.2, "nlu": 0.01}


def test_an_older_report_never_replaces_a_newer_one_and_fills_what_is_missing(serving: Serving) -> None:
    now = tables.now()
    late, early, between = ((now - timedelta(minutes=m)).isoformat() for m in (1, 30, 10))
    report(serving, success=True, reported_at=late)
    told = report(serving, success=False, satisfaction=0.1, automated=True, reported_at=early)
    assert (told["changed"], told["older"]) == (["automated", "satisfaction"], ["success"])
    told = report(serving, satisfaction=0.9, success=False, reported_at=between)
    assert (told["changed"], told["older"]) == (["satisfaction"], ["success"])
    found = row(serving)
    assert (found.success, found.satisfaction, found.automated) == (True, 0.9, True)
    assert found.reported_at.isoformat() == late


def test_the_scale_of_a_satisfaction_is_never_guessed(serve: Callable[..., Serving], serving: Serving) -> None:
    for value, scale, kept in ((5, "1-5", 1.0), (1, "1-5", 0.0), (1, "0-1", 1.0), (3.5, None, 0.625), (0, None, 0.0)):
        report(serving, satisfaction=value, **({"satisfaction_scale": scale} if scale else {}))
        assert row(serving).satisfaction == kept, (value, scale)
    for value, scale in ((1, None), (1.0, None), (0.5, "1-5"), (2, "0-1"), (0, "1-5")):
        body = {"satisfaction": value, **({"satisfaction_scale": scale} if scale else {})}
        told = refused(serving.post("/api/calls/call-1/outcome", body, LIVE))
        assert (told["code"], "scale" in told["next_step"]) == ("satisfaction-scale", True), (value, scale)
    assert row(serving).satisfaction == 0.0


@pytest.mark.parametrize(("scale", "kept"), [("1-5", 0.0), ("0-1", 1.0)])
def test_the_setting_says_the_scale_of_those_that_name_none(
    serve: Callable[..., Serving], scale: str, kept: float
) -> None:
    serving = serve(api_tokens=TOKENS, satisfaction_scale=scale)
    report(serving, satisfaction=1)
    assert row(serving).satisfaction == kept
    refused(serving.post("/api/calls/call-1/outcome", {"satisfaction": 3 if scale == "0-1" else 0.5}, LIVE))


WRONG: list[dict[str, Any]] = [
    {}, {"success": None}, {"success": "true"}, {"success": 1}, {"success": []}, {"satisfaction": "4"},
    {"satisfaction": True}, {"satisfaction": -0.1}, {"satisfaction": 6}, {"satisfaction": 4, "satisfaction_scale": "x"},
    {"automated": 0}, {"intent": 5}, {"intent": "x" * 121}, {"intent": "a\x00b"}, {"intent": "  "},
    {"intent": "\x1b[2J"},
    {"latencies_s": {"asr": -1}}, {"latencies_s": {"asr": "0.2"}}, {"latencies_s": {"ASR ": 0.2}},
    {"latencies_s": {"asr": 3601}}, {"latencies_s": [0.2]}, {"latencies_s": {f"c{n}": 0.1 for n in range(21)}},
    {"latency_ms": 200}, {"tags": "vip"}, {"tags": [5]}, {"tags": {"a": {"b": 1}}}, {"tags": {"": "x"}},
    {"tags": {"a": "x" * 201}}, {"tags": ["x" * 61]}, {"tags": ["a\x00b"]}, {"tags": [str(n) for n in range(21)]},
    {"success": True, "reported_at": "yesterday"}, {"success": True, "reported_at": "2026-01-31T09:00:00"},
    {"success": True, "reported_at": "2999-01-01T00:00:00Z"},
    {"success": True, "reported_at": "0001-01-01T00:00:00+05:30"},
    {"success": True, "reported_at": 1_700_000_000}, {"success": True, "unknown": 1},
]  # fmt: skip


@pytest.mark.parametrize("body", WRONG, ids=range(len(WRONG)))
def test_a_wrong_report_is_refused_whole_and_stores_nothing(serving: Serving, body: dict[str, Any]) -> None:
    refused(serving.post("/api/calls/call-1/outcome", body, LIVE))
    assert stored(serving) == 0


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"null", b'{"success": NaN}', b'{"tags": ["\\ud800"]}', b"\xff", b"{" * 9000]
)
def test_what_is_no_json_object_is_refused(serving: Serving, data: bytes) -> None:
    client = serving.app.test_client()
    for path in ("/api/calls/call-1/outcome", "/api/outcomes"):
        refused(client.post(path, data=data, content_type="application/json", headers=LIVE))
    assert stored(serving) == 0


@pytest.mark.parametrize(
    "call", ["a/b/c", "a b", " a", "कॉल-७", "😀", "x" * 200, "a%2Fb", "..", "a?b#c", "'; drop table"]
)
def test_any_text_is_a_call_id(serving: Serving, call: str) -> None:
    assert report(serving, call, success=True)["call"] == call
    assert row(serving, call).success is True


@pytest.mark.parametrize("call", ["x" * 201, "%20", "%C2%85", "%00", "a%0Ab", "%FF%00"])
def test_what_cannot_be_a_call_id_is_refused(serving: Serving, call: str) -> None:
    refused(serving.post(f"/api/calls/{call}/outcome", {"success": True}, LIVE))
    for one in ({"call": "\x00"}, {"call": "x" * 201}, {"call": 5}, {"call": ""}, {}):
        told = serving.post("/api/outcomes", {"outcomes": [{"success": True, **one}]}, LIVE).get_json()
        assert [each["error"]["code"] for each in told["outcomes"]] == ["bad-call-id"]
    assert stored(serving) == 0


def test_numbers_of_phones_in_words_are_masked(serving: Serving) -> None:
    report(serving, intent="call back 00000 00101", tags={"number 0000000101": "+91-00000-00101"})
    found = row(serving)
    assert "00000" not in f"{found.intent}{found.tags}"
    assert found.intent == "call back ***01"


def test_many_are_reported_at_once_and_each_is_answered(serving: Serving) -> None:
    many = [{"call": f"c{number}", "success": number % 2 == 0} for number in range(120)]
    many[7] = {"call": "c7", "success": "no"}
    many[60] = "x"  # type: ignore[call-overload]
    many.append({"call": "c0", "satisfaction": 0.5})
    for body in ({"outcomes": many}, many):
        told = serving.post("/api/outcomes", body, LIVE).get_json()
        assert (told["stored"], told["refused"], len(told["outcomes"])) == (119, 2, 121)
        assert [place for place, one in enumerate(told["outcomes"]) if "error" in one] == [7, 60]
        assert told["outcomes"][7]["error"]["code"] == "bad-outcome"
    assert row(serving, "c0").satisfaction == 0.5
    assert stored(serving) == 118


def test_too_many_at_once_and_none_are_refused(serving: Serving) -> None:
    for body in ({"outcomes": []}, {"outcomes": {}}, {}, {"outcomes": "x"}):
        refused(serving.post("/api/outcomes", body, LIVE))
    refused(serving.post("/api/outcomes", {"outcomes": [{"call": "a", "success": True}] * 1001}, LIVE), 413)
    assert stored(serving) == 0


def test_of_an_erased_call_nothing_is_stored_and_what_was_is_gone(filled: Serving) -> None:
    for call in (SID, "unknown"):
        report(filled, call, OPERATOR, success=True)
    key = key_of(filled.context.settings)
    with filled.context.db.transaction() as connection:
        (call,) = connection.execute(sa.select(tables.calls).where(tables.calls.c.call_sid == SID)).all()
        ledger.move(connection, call.id, "erased", reason_code="erased", reason="Asked for.")
        tombstones.mark_erased(connection, "call", "unknown-too", key=key)
    assert [row.call_sid for row in filled.rows(tables.outcomes)] == ["unknown"]
    for call in (SID, "unknown-too"):
        told = refused(filled.post(f"/api/calls/{call}/outcome", {"success": True}, OPERATOR), 410)
        assert told["code"] == "call-erased"
    told = filled.post("/api/outcomes", {"outcomes": [{"call": SID, "success": True}]}, OPERATOR).get_json()
    assert told["refused"] == 1
    assert [row.call_sid for row in filled.rows(tables.outcomes)] == ["unknown"]


def test_a_call_that_becomes_known_has_its_report_already(filled: Serving) -> None:
    assert report(filled, SID, OPERATOR, success=True)["known"]
    assert not report(filled, "later", OPERATOR, success=True)["known"]


def test_the_older_route_writes_the_same_satisfaction(filled: Serving) -> None:
    assert filled.post(f"/api/calls/{SID}/satisfaction", {"score": 0.25}, OPERATOR).status_code == 200
    assert row(filled, SID).satisfaction == 0.25
    report(filled, SID, OPERATOR, satisfaction=5)
    assert row(filled, SID).satisfaction == 1.0


def test_the_phone_system_may_report_and_ask_for_models_and_nothing_else(serving: Serving) -> None:
    report(serving, headers=OPERATOR, success=True)
    for headers, status in ((BASIC, 401), ({}, 401), (BEARER, 403)):
        refused(serving.post("/api/calls/call-1/outcome", {"success": True}, headers), status)
        refused(serving.post("/api/outcomes", {"outcomes": []}, headers), status)
    allowed = {"/api/calls/<path:call_sid>/outcome", "/api/outcomes"}
    everybody = {"/", "/health", "/ready", "/page/sign-in", "/page/static/<name>"}
    client = serving.app.test_client()
    for rule in serving.app.url_map.iter_rules():
        if rule.rule in allowed | everybody or rule.rule.startswith(("/v1/", "/webhooks/exotel/", "/api/nerve/")):
            continue
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            path = rule.rule.replace("<path:what>", "x").replace("<", "").replace(">", "")
            answer = client.open(path, method=method, json={}, headers=LIVE)
            assert answer.status_code in (401, 403), (method, rule.rule, answer.status_code)


def test_a_call_is_shown_with_its_outcome_and_the_versions_that_answered(filled: Serving) -> None:
    told = filled.get(f"/api/calls/{SID}", BEARER).get_json()
    assert (told["outcome"], told["answered_by"]) == (None, [])
    report(filled, SID, OPERATOR, success=True, satisfaction=4, tags=["vip"])
    values = {"call_sid": SID, "kind": "asr", "model_version": "small-1", "requests": 3, "failed": 1, "latency_s": 0.2}
    filled.insert(tables.outcomes, values)
    told = filled.get(f"/api/calls/{SID}", BEARER).get_json()
    assert (told["outcome"]["success"], told["outcome"]["satisfaction"], told["outcome"]["tags"]) == (
        True, 0.75, {"vip": ""},
    )  # fmt: skip
    [answered] = told["answered_by"]
    assert (answered["kind"], answered["version"], answered["requests"]) == ("asr", "small-1", 3)


def test_a_report_that_the_database_cannot_take_now_is_to_be_sent_again_and_holds_no_thread(
    serve: Callable[..., Serving], monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = serve(api_tokens=TOKENS)  # SQLite, which has one writer
    monkeypatch.setattr(call_routes, "WAIT_S", 0.05)
    body = {"outcomes": [{"call": "call-2", "success": True}]}
    with serving.context.db.transaction():  # another process writes for long, as a backup does
        for path, sent in (("/api/calls/call-1/outcome", {"success": True}), ("/api/outcomes", body)):
            answer = serving.post(path, sent, LIVE)
            assert (answer.status_code, answer.get_json()["code"]) == (503, "database-unavailable")
    assert report(serving, success=True)["changed"] == ["success"]


def test_parts_that_come_at_the_same_time_are_all_kept(serving: Serving) -> None:
    parts: list[dict[str, Any]] = [{"latencies_s": {f"c{number}": 0.1}} for number in range(8)]
    calls = [f"call-{number}" for number in range(12)]
    orders = [calls if number % 2 else calls[::-1] for number in range(len(parts))]

    def send(place: int) -> None:
        many = [{"call": call, **parts[place]} for call in orders[place]]
        told.append(serving.post("/api/outcomes", {"outcomes": many}, LIVE).get_json()["refused"])

    told: list[int] = []
    threads = [threading.Thread(target=send, args=(place,)) for place in range(len(parts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [0] * len(parts)
    assert {len(row(serving, call).latencies) for call in calls} == {len(parts)}
