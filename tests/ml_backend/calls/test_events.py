"""Every form in which Exotel reports a call becomes the same record; what cannot be known stays unknown."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ml_backend.calls import events as callevents
from ml_backend.calls.events import CallEvent, of_call, parse_request, recording_identity, time_of
from ml_backend.errors import InvalidInput
from tests import exotel_messages
from tests.exotel_messages import BAD, FIXTURES, INDEX, Message

HOST = "https://recordings.exotel.com/exotelrecordings/exampleaccount1"


def read(name: str) -> CallEvent | None:
    sent = exotel_messages.message(name)
    return parse_request(sent.method, sent.content_type, sent.query, sent.body)


def record(event: CallEvent) -> dict[str, Any]:
    """The event under the fixtures' names."""
    names = ("call_sid", "source", "status", "recording_url", "to", "direction", "talk_seconds", "started_at_utc",
             "ended_at_utc", "custom_field", "wants_download", "wants_details_poll")  # fmt: skip
    found = {name: getattr(event, name) for name in names} | {"from": event.from_}
    return {k: f"{v:%Y-%m-%dT%H:%M:%SZ}" if isinstance(v, datetime) else v for k, v in found.items()}


def refusal(sent: Message) -> InvalidInput | None:
    """Why the message is refused; None when it is read."""
    try:
        event = parse_request(sent.method, sent.content_type, sent.query, sent.body)
    except InvalidInput as error:
        return error
    assert event is None or event.call_sid
    return None


def said(**fields: Any) -> CallEvent:
    event = parse_request("POST", "application/json", "", json.dumps({"CallSid": "a1"} | fields).encode())
    assert event is not None
    return event


@pytest.mark.parametrize("entry", INDEX, ids=lambda entry: entry["file"])
def test_every_sample_becomes_its_expected_record(entry: dict[str, Any]) -> None:
    event = read(entry["file"])
    if entry["expect"].get("ignored"):
        assert event is None
    else:
        assert event is not None
        assert record(event) == entry["expect"]


@pytest.mark.parametrize("entry", INDEX, ids=lambda entry: entry["file"])
def test_nothing_shows_a_number_by_accident(entry: dict[str, Any]) -> None:
    event = read(entry["file"])
    for number in filter(None, (event.from_, event.to, event.company_number) if event else ()):
        assert number not in repr(event)


@pytest.mark.parametrize("entry", INDEX, ids=lambda entry: entry["file"])
def test_a_sample_cut_anywhere_is_refused_or_read_never_worse(entry: dict[str, Any]) -> None:
    sent = exotel_messages.message(entry["file"])
    for end in range(0, len(sent.body), 7):
        found = refusal(Message(sent.method, sent.query, sent.content_type, sent.body[:end]))
        assert found is None or found.status == 400


def test_a_multipart_body_cut_anywhere_is_refused() -> None:
    """Frameworks read it as an empty form and answer 200: the call would be lost."""
    sent = exotel_messages.message("cb_terminal_multipart_legs.txt")
    whole = sent.body.rstrip(b"\r\n")
    for end in range(1, len(whole) - 1):
        with pytest.raises(InvalidInput):
            parse_request("POST", sent.content_type, "", whole[:end])


@pytest.mark.parametrize("case", [case for case in BAD if case["expect"].startswith("400")], ids=lambda c: c["name"])
def test_a_bad_sample_is_refused_without_quoting_it(case: dict[str, Any]) -> None:
    found = refusal(exotel_messages.bad(case))
    assert found is not None or "or" in case["expect"].split()
    assert found is None or (found.status, bool(found.next_step), "forged" in str(found)) == (400, True, False)


@pytest.mark.parametrize(
    "sid", ["", " ", ".", "..", "../x", "a/b", "a\\b", "a b", "a\x00", "a\n", "x" * 65, "\u202ea", "é", "٣", "<b>", 5,
            1.5, True, [], ["a1"], {"a": 1}, {}],
    ids=repr,
)  # fmt: skip
def test_a_call_sid_that_is_none_is_refused(sid: Any) -> None:
    with pytest.raises(InvalidInput):
        parse_request("POST", "application/json", "", json.dumps({"CallSid": sid, "Status": "completed"}).encode())


@pytest.mark.parametrize("sid", ["a", "0000000000000000000000000000001p", "A-b_c.d", "x" * 64])
def test_a_call_sid_need_not_be_hexadecimal(sid: str) -> None:
    assert said(CallSid=sid).call_sid == sid


@pytest.mark.parametrize(
    ("query", "body"),
    [("CallSid=a1", b'{"CallSid":"b2"}'), ("CallSid=a1&CallSid=b2", b""), ("", b'{"CallSid":"a1","CallSid":"b2"}'),
     ("", b'{"CallSid":"a1","call_sid":"b2"}')],
)  # fmt: skip
def test_two_different_calls_in_one_event_are_refused(query: str, body: bytes) -> None:
    with pytest.raises(InvalidInput, match="two different"):
        parse_request("POST", "application/json", query, body)


def test_the_same_call_named_twice_is_fine_and_the_empty_value_counts_for_nothing() -> None:
    event = parse_request("POST", "application/json", "CallSid=a1&Status=", b'{"CallSid":"a1","Status":"busy"}')
    assert event is not None
    assert event.status == "busy"


@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "application/json", "image/png"]
)
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf", b" \r\n"])
def test_json_under_any_label_is_read(content_type: str | None, bom: bytes) -> None:
    event = parse_request("POST", content_type, "", bom + b'{"CallSid":"a1","Status":"completed"}')
    assert event is not None
    assert event.status == "completed"


@pytest.mark.parametrize(
    "body",
    [b"null", b"[]", b"5", b'"x"', b"[{}]", b"{", b'{"CallSid":"a1"', b'{"CallSid":"a1"} x', b"\xff\xfe{}",
     b'{"CallSid":"\xe9"}', b'{"CallSid":"a1","ConversationDuration":NaN}', b"[" * 20_000,
     b'{"CallSid":"a1","x":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
     b'{"CallSid":"a1","Price":' + b"9" * 5000 + b"}"],
    ids=lambda body: repr(body[:24]),
)  # fmt: skip
def test_what_is_not_a_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        parse_request("POST", "application/json", "", body)


@pytest.mark.parametrize("many", [1001, 5000])
def test_too_many_fields_are_413_in_every_form(many: int) -> None:
    names = [f"f{number}" for number in range(many)]
    forms = [
        ("application/x-www-form-urlencoded", "", "&".join(f"{name}=1" for name in names).encode()),
        ("application/json", "", json.dumps(dict.fromkeys(names, 1)).encode()),
        (None, "&".join(f"{name}=1" for name in names), b""),
    ]
    for content_type, query, body in forms:
        with pytest.raises(InvalidInput) as refused:
            parse_request("POST", content_type, query, body)
        assert refused.value.status == 413


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("completed", "completed"), ("Completed", "completed"), ("No Answer", "no-answer"), ("no_answer", "no-answer"),
     ("noanswer", "no-answer"), ("BUSY", "busy"), ("cancelled", "canceled"), ("In Progress", "in-progress"),
     ("null", None), ("", None), ("<script>", None), ("x" * 50, None), (None, None), ({"a": 1}, None), (5, None)],
)  # fmt: skip
def test_the_status_is_one_of_plain_words(text: Any, wanted: str | None) -> None:
    assert said(Status=text).status == wanted


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(320, 320), ("320", 320), (" 12.5 ", 12.5), (0, 0), ("0", 0), (-5, None), ("-1", None), ("", None), (None, None),
     ("abc", None), (True, None), ([5], None), (10**400, None), ("1e400", None), ("nan", None), ("inf", None),
     (1e12, None), ("9" * 5000, None), ("٣٢", 32)],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_an_impossible_duration_is_unknown(value: Any, wanted: float | None) -> None:
    assert said(ConversationDuration=value).talk_seconds == wanted


def test_a_duration_beyond_all_numbers_is_unknown() -> None:
    event = parse_request("POST", "application/json", "", b'{"CallSid":"a1","ConversationDuration":1e400}')
    assert event is not None
    assert event.talk_seconds is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("2024-01-15 14:25:12", datetime(2024, 1, 15, 8, 55, 12, tzinfo=UTC)),
     ("2024-01-15T08:55:12Z", datetime(2024, 1, 15, 8, 55, 12, tzinfo=UTC)),
     ("2024-01-15T14:25:12+05:30", datetime(2024, 1, 15, 8, 55, 12, tzinfo=UTC)),
     ("2024-01-15T14:25:12 05:30", datetime(2024, 1, 15, 8, 55, 12, tzinfo=UTC)),
     ("Mon, 15 Jan 2024 14:25:12", datetime(2024, 1, 15, 8, 55, 12, tzinfo=UTC)),
     ("2024-02-29 00:00:00", datetime(2024, 2, 28, 18, 30, tzinfo=UTC)),
     ("2024-01-01 05:29:59", datetime(2023, 12, 31, 23, 59, 59, tzinfo=UTC)),
     ("1970-01-01 05:30:00", None), ("0001-01-01T00:00:00Z", None), ("0000-00-00 00:00:00", None),
     ("2024-02-30 25:61:00", None), ("2023-02-29 00:00:00", None), ("", None), (None, None), ("null", None),
     ("yesterday", None), ("9999-12-31T23:59:59-23:59", None), ("x" * 5000, None)],
)  # fmt: skip
def test_times_without_a_zone_are_indias_and_empty_ones_unknown(text: str | None, wanted: datetime | None) -> None:
    assert time_of(text) == wanted


@pytest.mark.parametrize(
    "url", [None, "", " ", "null", "None", "undefined", 5, True, {}, [], {"a": "b"}, [5], [[]]], ids=repr
)
def test_no_address_is_no_recording_and_the_call_is_looked_up(url: Any) -> None:
    event = said(Status="completed", RecordingUrl=url)
    assert (event.wants_download, event.wants_details_poll) == (False, True)


def test_an_address_is_kept_as_sent_and_what_no_database_can_hold_is_replaced() -> None:
    assert said(RecordingUrl="http://127.0.0.1:6379/").recording_url == "http://127.0.0.1:6379/"
    assert said(RecordingUrl="https://a.example/\x00b\ud800").recording_url == "https://a.example/\ufffdb\ufffd"


def test_a_plus_that_became_a_space_is_a_plus_again() -> None:
    event = parse_request("GET", None, "CallSid=a1&From=+910000000101&To=00000000202&CallType=completed", b"")
    assert event is not None
    assert (event.from_, event.to) == ("+910000000101", "00000000202")


def test_unescaped_brackets_and_bytes_of_any_kind_in_a_query_are_read() -> None:
    query = b"CallSid=a1&Legs[0][OnCallDuration]=12&Legs[1][OnCallDuration]=30&flow_id=1&x=%ff\xff&&=&a"
    event = parse_request("GET", None, query, b"")
    assert event is not None
    assert (event.source, event.talk_seconds) == ("passthru", 30)


def test_a_file_in_a_form_is_not_read_as_a_field() -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="CallSid"\r\n\r\na1\r\n'
        b'--b\r\nContent-Disposition: form-data; name="Status"; filename="x"\r\n\r\nbusy\r\n--b--\r\n'
    )
    event = parse_request("POST", "multipart/form-data; boundary=b", "", body)
    assert event is not None
    assert event.status is None


def test_an_exoml_recording_carries_its_duration() -> None:
    body = urlencode({"CallSid": "a1", "RecordingSid": "r1", "RecordingUrl": f"{HOST}/r1.mp3", "RecordingDuration": 7})
    event = parse_request("POST", "application/x-www-form-urlencoded", "", body.encode())
    assert event is not None
    assert (event.source, event.talk_seconds, event.wants_download) == ("exoml", 7, True)


def test_a_list_of_addresses_gives_its_first() -> None:
    assert said(RecordingUrl=[f"{HOST}/a1.mp3"]).recording_url == f"{HOST}/a1.mp3"
    assert said(CallRecordings=[f"{HOST}/a1.mp3"], CallState="terminal").recording_url == f"{HOST}/a1.mp3"


@pytest.mark.parametrize(
    ("fields", "source"),
    [({"EventType": "Dial", "Status": "busy"}, "agent_event"),
     ({"DialWhomNumber": "1", "Status": "free"}, "agent_event"),
     ({"DialWhomNumber": "1", "Status": "busy", "EventType": "terminal"}, "status_callback"),
     ({"DialWhomNumber": "1", "Status": "busy", "CallType": "completed"}, "passthru"),
     ({"CallFrom": "1"}, "passthru"), ({"CallFrom": "1", "Status": "completed"}, "status_callback")],
)  # fmt: skip
def test_whose_status_it_is_is_told_by_what_comes_with_it(fields: dict[str, Any], source: str) -> None:
    assert said(**fields).source == source


def test_an_answered_event_does_not_end_the_call() -> None:
    event = said(EventType="answered", Status="in-progress")
    assert (event.source, event.wants_details_poll) == ("status_callback", False)


# --- objects of the API


@pytest.mark.parametrize("page", ["api_calls_page1.json", "api_calls_page2.json", "api_calls_page3_last.json"])
def test_every_row_of_the_sample_listing_is_read(page: str) -> None:
    wanted = json.loads((FIXTURES / "api_calls_expect.json").read_text())
    for row in json.loads((FIXTURES / page).read_text())["Calls"]:
        event = of_call(row, source="listing")
        assert event.source == "listing"
        assert event.wants_download == (event.call_sid in wanted["with_recording"])
        assert event.wants_details_poll == (event.call_sid in wanted["completed_without_recording"])
        assert event.talk_seconds is None  # Duration counts the ringing


def test_a_details_answer_says_how_long_they_talked() -> None:
    event = of_call(json.loads((FIXTURES / "api_call_details_true.json").read_text()), source="details")
    assert (event.call_sid[-2:], event.talk_seconds, event.direction) == ("2p", 320, "outbound")
    assert event.ended_at_utc == datetime(2024, 1, 15, 9, 0, 45, tzinfo=UTC)
    assert event.company_number == "0800" + "0" * 7


@pytest.mark.parametrize("row", [{}, {"Sid": None}, {"Sid": 5}, {"Sid": "../x"}, {"Call": {}}, {"Status": "busy"}])
def test_a_row_without_its_sid_is_refused(row: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        of_call(row, source="listing")


# --- one recording, whatever its host


@pytest.mark.parametrize(
    "url",
    [f"{HOST}/a1.mp3", "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/exampleaccount1/a1.mp3",
     f"{HOST}/a1.mp3?X-Amz-Signature=x", f"{HOST}/a1.mp3#x"],
)  # fmt: skip
def test_a_recording_is_the_same_on_every_host(url: str) -> None:
    assert recording_identity("a1", url) == "exotel:a1:a1.mp3"


def test_a_recording_not_named_after_the_call_keeps_its_name() -> None:
    assert recording_identity("a1", f"{HOST}/1705309512.10001_1.mp3") == "exotel:a1:1705309512.10001_1.mp3"


@pytest.mark.parametrize("name", ["", "..", "a b", "x" * 200, "%2e%2e", "हिन्दी.mp3", "7" + "0" * 9 + ".mp3"])
def test_a_name_that_is_none_or_a_number_becomes_a_digest(name: str) -> None:
    identity = recording_identity("a1", f"https://host.example/{name}" if name else "not a url at all/")
    assert len(identity.split(":")[2]) == 24


@given(st.text(max_size=60), st.text(max_size=200), st.binary(max_size=300))
def test_anything_at_all_is_an_event_or_a_refusal(content_type: str, query: str, body: bytes) -> None:
    found = refusal(Message("POST", query, content_type, body))
    assert found is None or found.status in (400, 413)


@example("{")
@given(st.one_of(st.text(), st.floats(), st.integers(), st.none(), st.lists(st.text())))
def test_any_value_of_any_field_is_survived(value: Any) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        value = str(value)
    for name in ("Status", "From", "To", "RecordingUrl", "StartTime", "EndTime", "ConversationDuration", "Direction",
                 "CustomField", "Legs", "Stream", "EventType", "CallType", "PhoneNumberSid"):  # fmt: skip
        assert said(**{name: value}).call_sid == "a1"


def test_a_zone_of_another_name_is_a_configuration_error() -> None:
    assert callevents.zone_of("Asia/Kolkata").key == "Asia/Kolkata"
    for name in ("", "India", "../x", "Asia/", "\x00"):
        with pytest.raises(callevents.ConfigurationError):
            callevents.zone_of(name)
