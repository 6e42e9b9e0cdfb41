"""Exotel's callbacks: authenticated, committed, answered; whatever is sent is kept or refused, never a 5xx."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from werkzeug.test import TestResponse

from ml_backend import tables
from ml_backend.api.webhooks import exotel_webhook
from ml_backend.calls import events as callevents
from ml_backend.calls import ledger
from ml_backend.errors import ConfigurationError, RetryableError
from tests import exotel_messages, ledger_rules
from tests.exotel_messages import BAD, INDEX, Message, message
from tests.ml_backend.api.serving import BASIC, BEARER, Serving
from tests.ml_backend.api.test_bad_input import refused

OLD, NEW = "exotel-secret-of-some-length", "another-secret-that-replaces-it"
PATH, ORIGINAL = f"/webhooks/exotel/{OLD}", "/api/nerve/exotel/recording-webhook"
EVENT = Message("POST", "", "application/json", b'{"CallSid":"a1","Status":"completed"}')


@pytest.fixture
def serving(serve: Callable[..., Serving]) -> Serving:
    return serve(exotel_webhook_secret=OLD)


def send(
    serving: Serving, sent: Message = EVENT, path: str = PATH, headers: dict[str, str] | None = None
) -> TestResponse:
    """The message with its query byte for byte as on the wire."""
    path, _, own = path.partition("?")
    query = "&".join(part for part in (own, sent.query) if part)
    return serving.app.test_client().open(
        path,
        method=sent.method,
        data=sent.body,
        content_type=sent.content_type,
        headers=headers,
        environ_overrides={"QUERY_STRING": query},
    )


def events(serving: Serving) -> list[Any]:
    return serving.rows(tables.events)


@pytest.mark.parametrize("entry", INDEX, ids=lambda entry: entry["file"])
@pytest.mark.parametrize("path", [PATH, f"{ORIGINAL}?key={OLD}"], ids=["own", "original"])
def test_every_sample_is_kept_and_answered_on_both_addresses(
    serving: Serving, entry: dict[str, Any], path: str
) -> None:
    sent = message(entry["file"])
    answer = send(serving, sent, path)
    assert (answer.status_code, answer.get_json()) == (200, {"status": "ok"})
    (event,) = events(serving)
    assert event.body == sent.body
    assert event.query == sent.query
    assert OLD not in str(event)
    ignored = entry["expect"].get("ignored", False)
    assert (event.state, event.call_sid) == ("ignored" if ignored else "new", entry["expect"].get("call_sid"))
    assert len(serving.jobs("read-call-event")) == (0 if ignored else 1)


def wanted_statuses(case: dict[str, Any]) -> set[int]:
    """The statuses a bad sample's expectation permits."""
    words = case["expect"].replace(";", " ").replace(",", " ").replace(":", " ").split()
    found = {int(word) for word in words if word in ("200", "400", "401", "403", "405", "413", "415")}
    return found | ({200} if "accepted" in words or "read" in words else set())


@pytest.mark.parametrize("case", BAD, ids=lambda case: case["name"])
def test_every_bad_sample_gets_the_answer_wanted(serving: Serving, case: dict[str, Any]) -> None:
    path = PATH if "secret" not in case else f"/webhooks/exotel/{case['secret']}"
    headers = {"Content-Encoding": case["content_encoding"]} if "content_encoding" in case else {}
    answer = send(serving, exotel_messages.bad(case), path, headers)
    assert answer.status_code in wanted_statuses(case), answer.get_data(as_text=True)
    if answer.status_code == 400:
        (event,) = events(serving)
        refused(answer)
        assert (event.state, event.body) == ("unreadable", exotel_messages.bad(case).body[:4096])
        assert event.reason_code
        assert serving.jobs("read-call-event") == []
    if answer.status_code in (401, 405, 415) or "no record" in case["expect"]:
        assert events(serving) == []


def test_of_what_cannot_be_read_only_the_beginning_is_kept(serving: Serving) -> None:
    """So that nobody fills the database with it; a call's own event is kept whole."""
    broken = Message("POST", "x=" + "q" * 5000, "application/json", b'{"From": "' + b"9" * 60_000)
    assert send(serving, broken).status_code == 400
    whole = Message("POST", "", "application/json", b'{"CallSid":"a1","CustomField":"' + b"c" * 60_000 + b'"}')
    assert send(serving, whole).status_code == 200
    unreadable, read = events(serving)
    assert (unreadable.state, len(unreadable.body), len(unreadable.query)) == ("unreadable", 4096, 4096)
    assert len(read.body) == len(whole.body)


@pytest.mark.parametrize("path", [PATH, f"{ORIGINAL}?key={OLD}"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_look_at_the_address_gets_a_notice_and_leaves_nothing(serving: Serving, path: str, method: str) -> None:
    answer = send(serving, Message(method, "", None, b""), path)
    assert answer.status_code == 200
    assert method == "HEAD" or "call events" in answer.get_json()["message"]
    assert events(serving) == []


def test_a_head_with_an_event_and_the_get_after_it_are_one_event(serving: Serving) -> None:
    for method in ("HEAD", "GET"):
        assert send(serving, Message(method, "CallSid=a1&CallType=completed", None, b"")).status_code == 200
    assert [(event.call_sid, event.copies) for event in events(serving)] == [("a1", 2)]


# --- who may call


@pytest.mark.parametrize(
    "path",
    ["/webhooks/exotel/wrong", f"/webhooks/exotel/{OLD}x", f"/webhooks/exotel/{OLD[:-1]}", "/webhooks/exotel/%FF",
     "/webhooks/exotel/é", "/webhooks/exotel/,", ORIGINAL, f"{ORIGINAL}?key=", f"{ORIGINAL}?key=wrong",
     f"{ORIGINAL}?key=%FF%00", f"{ORIGINAL}?Key={OLD}", f"{ORIGINAL}?key={OLD}&key=wrong", f"{ORIGINAL}?k%65y={OLD}"],
)  # fmt: skip
def test_a_wrong_secret_is_the_same_401_and_leaves_nothing(serving: Serving, path: str) -> None:
    answer = send(serving, path=path)
    body = refused(answer, 401)
    assert body["code"] == "unauthorized"
    assert OLD not in answer.get_data(as_text=True)
    assert events(serving) == []


@pytest.mark.parametrize("headers", [BASIC, BEARER, {"X-Webhook-Secret": OLD}, {"Authorization": f"Bearer {OLD}"}])
def test_no_other_credentials_open_it(serving: Serving, headers: dict[str, str]) -> None:
    refused(send(serving, path="/webhooks/exotel/wrong", headers=headers), 401)


def test_two_secrets_are_valid_while_one_replaces_the_other(serve: Callable[..., Serving]) -> None:
    serving = serve(exotel_webhook_secret=f"{OLD},{NEW}")
    for secret in (OLD, NEW):
        assert send(serving, path=f"/webhooks/exotel/{secret}").status_code == 200
        assert send(serving, path=f"{ORIGINAL}?key={secret}").status_code == 200
    refused(send(serving, path=f"/webhooks/exotel/{OLD},{NEW}"), 401)


def test_a_short_second_secret_is_refused_at_the_start(serve: Callable[..., Serving]) -> None:
    with pytest.raises(ValidationError, match="at least 16"):
        serve(exotel_webhook_secret=f"{OLD},short")


def test_an_unknown_time_zone_is_refused_at_the_start(serve: Callable[..., Serving]) -> None:
    with pytest.raises(ConfigurationError, match="EXOTEL_TIME_ZONE"):
        serve(exotel_webhook_secret=OLD, exotel_time_zone="India/Nowhere")


@pytest.mark.parametrize("path", ["/webhooks/exotel/anything", f"{ORIGINAL}?key="])
def test_without_a_secret_there_is_no_such_address_and_the_answer_says_why(
    serve: Callable[..., Serving], path: str
) -> None:
    body = refused(send(serve(), path=path), 404)
    assert "EXOTEL_WEBHOOK_SECRET" in body["next_step"]


# --- what is kept


@pytest.mark.parametrize("size", [64 * 1024 + 1, 10_000_000])
def test_a_body_over_64_kib_is_413(serving: Serving, size: int) -> None:
    refused(send(serving, Message("POST", "", "application/json", b" " * size)), 413)
    assert events(serving) == []


def test_a_body_of_64_kib_is_read(serving: Serving) -> None:
    body = b'{"CallSid":"a1","Status":"completed"}'.ljust(64 * 1024)
    assert send(serving, Message("POST", "", "application/json", body)).status_code == 200


def test_a_compressed_body_is_415(serving: Serving) -> None:
    sent = Message("POST", "", "application/json", gzip.compress(EVENT.body))
    refused(send(serving, sent, headers={"Content-Encoding": "gzip"}), 415)


def test_one_event_in_another_form_or_order_is_the_same_event(serving: Serving) -> None:
    fields = {"CallSid": "a1", "Status": "completed", "ConversationDuration": "12"}
    for sent in (
        Message("POST", "", "application/json", json.dumps(fields).encode()),
        Message("POST", "", "application/json", b'{"ConversationDuration":12,"CallSid":"a1","Status":"completed"}'),
        Message("POST", "", "application/x-www-form-urlencoded", urlencode(fields).encode()),
        Message("GET", urlencode(fields), None, b""),
    ):
        assert send(serving, sent).status_code == 200
    assert [event.copies for event in events(serving)] == [4]
    assert len(serving.jobs("read-call-event")) == 1


def test_the_secret_is_not_kept_with_the_event(serving: Serving) -> None:
    send(serving, Message("GET", f"CallSid=a1&key={OLD}&CallType=completed", None, b""), ORIGINAL)
    (event,) = events(serving)
    assert event.query == "CallSid=a1&CallType=completed"


def test_an_erased_event_that_comes_again_stays_erased(serving: Serving) -> None:
    send(serving)
    with serving.context.db.transaction() as connection:
        connection.execute(sa.update(tables.events).values(state="erased", body=b""))
        connection.execute(sa.delete(tables.jobs))
    assert send(serving).status_code == 200
    (event,) = events(serving)
    assert (event.state, event.body, event.copies) == ("erased", b"", 2)
    assert serving.jobs("read-call-event") == []


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_fifty_copies_at_once_are_one_event(
    serve: Callable[..., Serving], database: str, request: pytest.FixtureRequest
) -> None:
    url = str(request.getfixturevalue("postgres_url")) if database == "postgresql" else ""
    serving = serve(exotel_webhook_secret=OLD, database_url=url)
    with serving.context.db.transaction() as connection:
        connection.execute(sa.delete(tables.jobs))
        connection.execute(sa.delete(tables.events))
    for trial in range(3):
        sent = Message("POST", "", "application/json", b'{"CallSid":"c%d","Status":"completed"}' % trial)
        barrier, got = threading.Barrier(50), []

        def copy(sent: Message = sent, barrier: threading.Barrier = barrier, got: list[int] = got) -> None:
            barrier.wait(30)
            got.append(send(serving, sent).status_code)

        threads = [threading.Thread(target=copy) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert got == [200] * 50
        assert [event.copies for event in events(serving)] == [50] * (trial + 1)
        assert len(serving.jobs("read-call-event")) == trial + 1


def test_a_form_whose_boundary_would_not_be_kept_is_refused_at_once(serving: Serving) -> None:
    """Otherwise it is acknowledged, and its job cannot read it."""
    body = b'--b\r\nContent-Disposition: form-data; name="CallSid"\r\n\r\na1\r\n--b--\r\n'
    sent = Message("POST", "", f"multipart/form-data; x={'x' * 200}; boundary=b", body)
    refused(send(serving, sent))


NASTY = ["\x00", "a\x00b", "\ud800", "\udcff", "\uffff", "\U0001f600", "\u202e", "'; --", "%s %d {x}", "\\", "\r\n\t"]


@pytest.mark.parametrize("text", NASTY, ids=ascii)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_text_no_database_likes_is_kept_and_merged_all_the_same(
    serve: Callable[..., Serving], database: str, text: str, request: pytest.FixtureRequest
) -> None:
    url = str(request.getfixturevalue("postgres_url")) if database == "postgresql" else ""
    serving = serve(exotel_webhook_secret=OLD, database_url=url)
    with serving.context.db.transaction() as connection:
        for table in (tables.recordings, tables.calls, tables.jobs, tables.events, tables.checkpoints):
            connection.execute(sa.delete(table))
    names = ("Status", "RecordingUrl", "From", "To", "CustomField", "PhoneNumberSid", "StartTime", "Direction", text)
    fields = {"CallSid": "a1"} | dict.fromkeys(names, text)
    messages = [Message("POST", "", "application/json", json.dumps(fields).encode())]
    messages.append(Message("GET", urlencode(fields, errors="surrogatepass"), None, b""))
    for sent in messages:
        assert send(serving, sent).status_code == 200
    for event in events(serving):
        found = callevents.parse_request(event.method, event.content_type, event.query or "", event.body)
        assert found is not None
        with serving.context.db.transaction() as connection:
            assert ledger.record(connection, found, key=b"k" * 16).call_sid == "a1"
            assert ledger_rules.violations(connection) == []


# --- when the database does not take it


def test_a_database_that_is_busy_for_long_gets_503_and_a_time_to_come_again(
    serve: Callable[..., Serving], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exotel_webhook, "WAIT_S", 1.0)
    serving = serve(exotel_webhook_secret=OLD)
    begun = time.monotonic()
    with serving.context.db.transaction():  # somebody else writes, and does not end
        answer = send(serving)
    refused(answer, 503)
    assert time.monotonic() - begun < 25  # not the 30 s that a job waits
    assert int(answer.headers["Retry-After"]) > 0
    assert events(serving) == []
    assert send(serving).status_code == 200
    with serving.context.db.engine.connect() as connection:  # the short wait was for this request alone
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000


@pytest.mark.parametrize(
    "error",
    [sa.exc.DatabaseError("INSERT", {}, Exception("disk image is malformed")), sa.exc.TimeoutError(), OSError(28, "x"),
     RetryableError("database-unavailable", "No.", "Wait."), ConfigurationError("database-damaged", "No.", "Restore."),
     ValueError("0000000101")],
)  # fmt: skip
def test_whatever_the_commit_meets_is_503_so_that_the_sender_comes_again(
    serving: Serving, error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(**options: Any) -> Any:
        raise error

    monkeypatch.setattr(serving.context.db, "transaction", broken)
    answer = send(serving)
    refused(answer, 503)
    assert answer.headers["Retry-After"]
    assert send(serving, Message("POST", "", "application/json", b"{")).status_code == 503  # not 400: it was not kept


# --- anything at all

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=40), st.just("9" * 5000), st.just(1e308),
    st.lists(st.text(max_size=5), max_size=3), st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
)  # fmt: skip
NAMES = st.one_of(
    st.sampled_from(["CallSid", "call_sid", "Status", "From", "To", "RecordingUrl", "StartTime", "EndTime", "Legs",
                     "Legs[0][OnCallDuration]", "ConversationDuration", "CustomField", "Stream", "EventType",
                     "CallType", "Direction", "PhoneNumberSid", "Stream[RecordingUrl]", "event_sid", "event_name"]),
    st.text(max_size=20),
)  # fmt: skip
TYPES = st.one_of(
    st.sampled_from([None, "", "application/json", "application/x-www-form-urlencoded", "text/plain", "image/png",
                     "multipart/form-data", "multipart/form-data; boundary=b", "application/json; charset=utf-16"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
)  # fmt: skip
BODIES = st.one_of(
    st.binary(max_size=300),
    st.dictionaries(NAMES, VALUES, max_size=8).map(lambda found: json.dumps(found).encode()),
    st.dictionaries(NAMES, st.text(max_size=40), max_size=8).map(
        lambda found: urlencode(found, errors="replace").encode()
    ),
    st.lists(st.tuples(NAMES, st.text(max_size=30)), max_size=5).map(
        lambda parts: (
            b"".join(
                f'--b\r\nContent-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n'.encode("utf-8", "replace")
                for n, v in parts
            )
            + b"--b--"
        )
    ),
)
QUERIES = st.one_of(
    st.dictionaries(NAMES, st.text(max_size=40), max_size=8).map(lambda found: urlencode(found, errors="replace")),
    st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=60),
)


@given(st.sampled_from(["GET", "POST", "HEAD"]), TYPES, QUERIES, BODIES, st.booleans())
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_anything_at_all_is_kept_or_refused(
    serving: Serving, method: str, content_type: str | None, query: str, body: bytes, named: bool
) -> None:
    sent = Message(method, query + ("&CallSid=a1" if named else ""), content_type, body)
    answer = send(serving, sent)
    assert answer.status_code in (200, 400, 413), answer.get_data(as_text=True)
    if method != "HEAD" and answer.status_code != 200:
        refused(answer, 400, 413)
