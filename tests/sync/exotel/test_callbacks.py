"""A stored message becomes part of its call's row, once, however often its job runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.api.app import create_app, load_plugin
from ml_backend.calls import ledger
from ml_backend.calls.pseudonyms import key_of, pseudonym
from ml_backend.context import JobContext, open_context
from ml_backend.settings import Settings
from ml_backend.views import ledger_balance
from sync.exotel.callbacks import read_call_event
from tests import ledger_rules
from tests.exotel_messages import INDEX, message

SECRET = "exotel-secret-of-some-length"


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("schema") / "kaan.db"
    db.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def context(tmp_path: Path, empty: Path) -> Iterator[JobContext]:
    (tmp_path / "kaan.db").write_bytes(empty.read_bytes())
    settings = Settings(
        _env_file=None, data_dir=tmp_path, database_url="", object_store="", exotel_webhook_secret=SECRET
    )
    opened = open_context(settings)
    yield JobContext(settings, opened.db, opened.store)
    opened.db.dispose()


def receive(context: JobContext, name: str) -> int:
    """The sample message through the web app; gives the status."""
    sent = message(name)
    app = create_app(context.settings, load_plugin("model:SpeechModel"), context=context)
    overrides = {"QUERY_STRING": sent.query}
    return (
        app.test_client()
        .open(
            f"/webhooks/exotel/{SECRET}",
            method=sent.method,
            data=sent.body,
            content_type=sent.content_type,
            environ_overrides=overrides,
        )
        .status_code
    )


def run(context: JobContext) -> None:
    """Every read-call-event job there is, twice."""
    for job in rows(context, tables.jobs):
        if job.name == "read-call-event":
            read_call_event(context, **job.arguments)
            read_call_event(context, **job.arguments)


def rows(context: JobContext, table: sa.Table) -> list[Any]:
    return list(context.db.rows(sa.select(table)))


@pytest.mark.parametrize("entry", INDEX, ids=lambda entry: entry["file"])
def test_every_sample_arrives_in_the_ledger_as_expected(context: JobContext, entry: dict[str, Any]) -> None:
    assert receive(context, entry["file"]) == 200
    run(context)
    expect, calls = entry["expect"], rows(context, tables.calls)
    if expect.get("ignored"):
        assert calls == []
        return
    (call,) = calls
    for name in ("call_sid", "source", "status", "recording_url", "direction", "talk_seconds", "custom_field"):
        assert getattr(call, name) == expect[name], name
    key = key_of(context.settings)
    for name, number in (("from_pseudonym", expect["from"]), ("to_pseudonym", expect["to"])):
        assert getattr(call, name) == (pseudonym(number, key) if number else None)
    for column, name in (("started_at", "started_at_utc"), ("ended_at", "ended_at_utc")):
        value = getattr(call, column)
        assert (f"{value:%Y-%m-%dT%H:%M:%SZ}" if value else None) == expect[name]
    if expect["wants_download"]:
        assert (call.state, call.next_action) == ("to-fetch", "fetch")
    elif expect["wants_details_poll"]:
        assert (call.state, call.next_action) == ("expected", "look-up")
    with context.db.reading() as connection:
        assert ledger_rules.violations(connection) == []
    assert [event.state for event in rows(context, tables.events)] == ["read"]


def test_a_callback_is_parsed_once_and_the_job_reads_what_the_request_understood(context: JobContext) -> None:
    receive(context, "cb_terminal_form_legs.txt")
    [kept] = [event.said for event in rows(context, tables.events)]
    with context.db.transaction() as connection:
        connection.execute(sa.update(tables.events).values(body=b"{"))  # nobody parses this again
    run(context)
    (event,), (call,) = rows(context, tables.events), rows(context, tables.calls)
    assert (event.state, call.call_sid) == ("read", kept["call_sid"])
    assert event.said is None, "the numbers in it are nobody's business any more"


def test_no_job_and_no_call_carries_a_number(context: JobContext) -> None:
    for entry in INDEX:
        receive(context, entry["file"])
    run(context)
    numbers = {entry["expect"].get(name) for entry in INDEX for name in ("from", "to")} - {None}
    for table in tables.metadata.sorted_tables:
        if table is not tables.events:
            shown = json.dumps([row._asdict() for row in rows(context, table)], default=str)
            assert not [number for number in numbers if number in shown], table.name


def test_an_event_erased_before_its_job_ran_is_left_alone(context: JobContext) -> None:
    receive(context, "cb_terminal_form_legs.txt")
    with context.db.transaction() as connection:
        connection.execute(sa.update(tables.events).values(state="erased", body=b"", query=None))
    run(context)
    assert rows(context, tables.calls) == []
    assert rows(context, tables.events)[0].state == "erased"


def test_an_event_that_cannot_be_read_any_more_says_so(context: JobContext) -> None:
    receive(context, "cb_terminal_form_legs.txt")
    with context.db.transaction() as connection:
        connection.execute(sa.update(tables.events).values(body=b"{", said=sa.null()))  # of an older release
    run(context)
    (event,) = rows(context, tables.events)
    assert (event.state, event.reason_code) == ("unreadable", "bad-json")


def test_a_message_about_an_erased_call_is_emptied(context: JobContext) -> None:
    receive(context, "cb_terminal_form_legs.txt")
    run(context)
    with context.db.transaction() as connection:
        assert ledger.move(connection, 1, "erased", reason_code="erased", reason="By request.")
        connection.execute(sa.update(tables.calls).values(from_pseudonym=None, to_pseudonym=None))
    sid = rows(context, tables.calls)[0].call_sid
    with context.db.transaction() as connection:
        body = b'{"CallSid":"%s","Status":"busy","From":"00000000101"}' % sid.encode()
        values = {"source": "exotel", "method": "POST", "body": body, "digest": "0", "call_sid": sid}
        event_id = connection.execute(sa.insert(tables.events).values(**values).returning(tables.events.c.id)).scalar()
    read_call_event(context, event_id)
    event = rows(context, tables.events)[-1]
    assert (event.state, event.body, event.query) == ("erased", b"", None)
    assert rows(context, tables.calls)[0].from_pseudonym is None


@pytest.mark.parametrize(("minutes", "odd"), [(0, False), (20, False), (330, True), (-330, True)])
def test_a_message_from_another_time_zone_is_noticed(context: JobContext, minutes: int, odd: bool) -> None:
    """Passthru messages carry Exotel's clock; read in a wrong zone, every call of the account would be hours off."""
    receive(context, "cb_passthru_post_form.txt")
    sent = datetime(2024, 1, 15, 9, 0, 46, tzinfo=UTC)  # 14:30:46 in India
    with context.db.transaction() as connection:
        connection.execute(sa.update(tables.events).values(created_at=sent + timedelta(minutes=minutes)))
    run(context)
    (event,) = rows(context, tables.events)
    assert (event.state, event.reason_code) == ("read", "clock-differs" if odd else None)
    warning = ledger_balance.clock_warning(context.db, days=10_000)
    assert (warning is not None and "EXOTEL_TIME_ZONE" in warning) == odd
