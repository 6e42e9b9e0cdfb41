"""What live requests send is kept as recordings of their calls: where the switch says so, and never at their cost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from ml_backend import tables
from ml_backend.api.app import create_live_app
from ml_backend.asr import engine
from ml_backend.calls import ledger, live_spool, pseudonyms, tombstones
from ml_backend.calls.events import CallEvent
from ml_backend.context import Context
from ml_backend.errors import RetryableError
from ml_backend.serving import live_audio
from ml_backend.serving.live_audio import LiveAudioKeeper, SentAudio
from tests.ledger_rules import violations
from tests.ml_backend.api.live.conftest import PHONE
from tests.ml_backend.api.serving import Serving
from tests.patience import until

NUMBER = "00000000102"
SPEECH = engine.CHECK.read_bytes()


def name_of(context: Context, number: str = NUMBER) -> str:
    return pseudonyms.pseudonym(number, pseudonyms.key_of(context.settings))


def switch(context: Context, *, on: bool = True, purpose: str | None = "training", number: str = NUMBER) -> None:
    row = tables.company_numbers
    with context.db.transaction() as connection:
        connection.execute(sa.delete(row).where(row.c.pseudonym == name_of(context, number)))
        values = {"pseudonym": name_of(context, number), "keeps_live_audio": on, "consent_purpose": purpose}
        connection.execute(sa.insert(row).values(**values))


@pytest.fixture
def context(phone: Serving) -> Context:
    switch(phone.context)
    return phone.context


@pytest.fixture
def keeper(context: Context) -> LiveAudioKeeper:
    """One without threads: a test says when it looks, writes and stores."""
    made = LiveAudioKeeper(context)
    made.look()
    return made


def kept(context: Context) -> list[Any]:
    return list(context.db.rows(sa.select(tables.recordings).order_by(tables.recordings.c.id)))


def sent(call: str = "c5d1", data: bytes = SPEECH, number: str | None = NUMBER, **more: Any) -> SentAudio:
    return SentAudio(call, data, number=number, name="call.wav", **more)


def through(keeper: LiveAudioKeeper, *audio: SentAudio) -> None:
    for one in audio:
        keeper.offer(one)
    keeper.write()
    keeper.store()


def test_what_a_request_sends_becomes_a_recording_of_its_call(context: Context) -> None:
    app = create_live_app(context.settings, context=context)
    keeper = live_audio.of(context)
    until(lambda: keeper.wants("c5d1", NUMBER), "the switch is read", within_s=60)

    def ask(data: bytes, **fields: str) -> None:
        form = {"file": (BytesIO(data), "turn.WAV"), "language": "en", **fields}
        answer = app.test_client().post("/v1/audio/transcriptions", data=form, headers={**PHONE, "x-kaan-call": "c5d1"})
        assert answer.status_code == 200, answer.text

    ask(SPEECH, number=f"+91 {NUMBER[1:]}", speaker="customer")
    until(lambda: len(kept(context)) == 1, "it is kept", within_s=60)
    ask(SPEECH, number=NUMBER)  # the same once more
    ask(SPEECH + b"\0\0", number=NUMBER)  # the next turn
    until(lambda: len(kept(context)) == 2, "the next one is kept", within_s=60)
    until(lambda: not live_spool.waiting(context.settings), "nothing waits", within_s=60)
    first, second = kept(context)
    assert (first.source, first.call_sid, first.state) == ("live", "c5d1", "stored")
    assert first.object_key.startswith("live-requests/")
    assert first.object_key.endswith(f"{first.sha256}.wav")
    assert "c5d1" not in first.object_key
    assert context.store.stat(first.bucket, first.object_key).size_bytes == len(SPEECH) == first.size_bytes
    assert (first.language, first.language_by, first.agent_channel) == ("en", "asked", 1)
    assert (second.agent_channel, first.created_at < second.created_at) == (None, True)
    [call] = context.db.rows(sa.select(tables.calls))
    assert (call.source, call.state, call.next_action) == ("live", "fetched", "ingest")
    assert (call.company_number, call.consent_purpose) == (name_of(context), "training")
    jobs = context.db.rows(sa.select(tables.jobs.c.name, tables.jobs.c.arguments).order_by(tables.jobs.c.id))
    assert [tuple(row) for row in jobs] == [("ingest-recording", {"recording_id": each.id}) for each in kept(context)]
    with context.db.reading() as connection:
        assert violations(connection) == []


@pytest.mark.parametrize(
    ("on", "purpose"), [(False, "training"), (True, "service"), (True, "review"), (True, None), (True, "none")]
)
def test_nothing_is_kept_without_the_switch_and_a_consent_to_learn(
    context: Context, on: bool, purpose: str | None
) -> None:
    switch(context, on=on, purpose=purpose)
    keeper = LiveAudioKeeper(context)
    keeper.look()
    assert not keeper.wants("c5d1", NUMBER)
    through(keeper, sent())
    assert kept(context) == []
    assert not live_spool.folder_of(context.settings).exists()


def test_without_a_call_or_for_another_number_nothing_is_kept(keeper: LiveAudioKeeper, context: Context) -> None:
    assert not keeper.wants(None, NUMBER)
    assert not keeper.wants("c5d1", "00000000199")
    through(keeper, sent(call=""), sent(number="00000000199"), sent(number=None))  # the last: a call nobody knows
    assert kept(context) == []
    assert live_spool.waiting(context.settings) == []


def test_a_call_that_the_ledger_knows_needs_no_number(keeper: LiveAudioKeeper, context: Context) -> None:
    event = CallEvent("c5d1", "passthru", direction="inbound", company_number=NUMBER)
    with context.db.transaction() as connection:
        ledger.record(connection, event, key=pseudonyms.key_of(context.settings))
    through(keeper, sent(number=None))
    [row] = kept(context)
    assert row.call_sid == "c5d1"
    [call] = context.db.rows(sa.select(tables.calls))
    assert call.state == "expected", "whether the provider has a recording is not known yet"


def test_while_the_database_is_away_what_it_must_be_asked_about_waits_and_the_rest_goes_on(
    keeper: LiveAudioKeeper, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = CallEvent("c5d1", "passthru", direction="inbound", company_number=NUMBER)
    with context.db.transaction() as connection:
        ledger.record(connection, event, key=pseudonyms.key_of(context.settings))
    asked: list[str] = []

    def away(call: str) -> str | None:
        asked.append(call)
        raise RetryableError("database-unavailable", "The database does not answer.", "Wait.")

    with monkeypatch.context() as during:
        during.setattr(keeper, "_known_number", away)
        for one in (sent(number=None), sent("c6", number=None), sent("c7")):
            keeper.offer(one)
        keeper.write()
        keeper.write()
    assert asked == ["c5d1", "c5d1"]  # not once for each that waits
    assert len(live_spool.waiting(context.settings)) == 1
    through(keeper)
    assert {row.call_sid for row in kept(context)} == {"c7", "c5d1"}  # c6 is nobody's number
    assert keeper._bytes == 0


def test_while_no_switch_is_on_a_request_asks_no_database(phone: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = LiveAudioKeeper(phone.context)
    keeper.look()
    monkeypatch.setattr(phone.context.db, "reading", None)
    monkeypatch.setattr(phone.context.db, "transaction", None)
    assert not keeper.wants("c5d1", NUMBER)
    keeper.offer(sent())
    keeper.write()


def test_consent_that_is_taken_back_stops_what_already_waits(keeper: LiveAudioKeeper, context: Context) -> None:
    keeper.offer(sent())
    keeper.write()
    switch(context, purpose="service")
    keeper.store()
    assert kept(context) == []
    assert live_spool.waiting(context.settings) == []


def test_a_call_whose_own_purpose_forbids_it_is_not_kept(keeper: LiveAudioKeeper, context: Context) -> None:
    with context.db.transaction() as connection:
        call = ledger.record(connection, CallEvent("c5d1", "passthru"), key=b"k" * 32)
        connection.execute(sa.update(tables.calls).where(tables.calls.c.id == call.id).values(consent_purpose="review"))
    through(keeper, sent())
    assert kept(context) == []


class Away:
    """An object store that does not answer, until it is back."""

    def __init__(self, store: Any) -> None:
        self.store, self.back = store, False

    def __getattr__(self, name: str) -> Any:
        if not self.back:
            raise RetryableError("store-unavailable", "The object store does not answer.", "Start it.")
        return getattr(self.store, name)


@pytest.fixture
def away(context: Context) -> Iterator[Away]:
    store = context.store
    object.__setattr__(context, "store", Away(store))
    yield context.store
    object.__setattr__(context, "store", store)


def test_while_the_store_is_away_it_waits_on_the_disk_and_outlives_its_process(
    keeper: LiveAudioKeeper, context: Context, away: Away
) -> None:
    through(keeper, sent(), sent(call="c5d2"))
    assert kept(context) == []
    assert {live_spool.read(path).call for path in live_spool.waiting(context.settings)} == {"c5d1", "c5d2"}
    assert NUMBER not in "".join(path.read_text() for path in Path(context.settings.data_dir).rglob("facts.json"))
    away.back = True
    LiveAudioKeeper(context).store()  # the next process
    assert sorted(row.call_sid for row in kept(context)) == ["c5d1", "c5d2"]
    assert live_spool.waiting(context.settings) == []


def test_an_erasure_reaches_what_waits(keeper: LiveAudioKeeper, context: Context, away: Away) -> None:
    through(keeper, sent(), sent(call="c5d2"))
    with context.db.transaction() as connection:
        tombstones.mark_erased(connection, "call", "c5d1", key=pseudonyms.key_of(context.settings))
    away.back = True
    LiveAudioKeeper(context).store()
    assert [row.call_sid for row in kept(context)] == ["c5d2"]
    assert len(list(context.store.list("call-recordings"))) == 1


@pytest.mark.parametrize("limit", [{"spool_max_mb": 0.001}, {"min_free_disk_mb": 1e12}])
def test_without_room_the_request_goes_on_and_the_trouble_is_said_once(
    context: Context, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, limit: dict[str, float]
) -> None:
    full = context.settings.model_copy(update=limit)
    monkeypatch.setitem(context.__dict__, "settings", full)
    keeper = LiveAudioKeeper(context)
    keeper.look()
    through(keeper, sent(), sent(call="c5d2"), sent(call="c5d3"))
    assert kept(context) == []
    assert sum("live_audio_left_out" in record.message for record in caplog.records) == 1


def test_memory_holds_only_so_much(keeper: LiveAudioKeeper, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_audio, "MOST_BYTES", len(SPEECH) + 10)
    for call in ("c5d1", "c5d2", "c5d3"):
        keeper.offer(sent(call=call))
    keeper.write()
    keeper.offer(sent(call="c5d4"))
    keeper.write()
    keeper.store()
    assert [row.call_sid for row in kept(context)] == ["c5d1", "c5d4"]


def test_a_damaged_entry_of_the_spool_stops_no_other(keeper: LiveAudioKeeper, context: Context) -> None:
    keeper.offer(sent())
    keeper.write()
    [path] = live_spool.waiting(context.settings)
    (path / live_spool.FACTS).write_text("{")
    through(keeper, sent(call="c5d2"))
    assert [row.call_sid for row in kept(context)] == ["c5d2"]
    assert live_spool.waiting(context.settings) == []


def test_two_processes_empty_one_spool_and_nothing_is_twice(keeper: LiveAudioKeeper, context: Context) -> None:
    keeper.offer(sent())
    keeper.write()
    with live_spool.alone(context.settings) as mine:
        assert mine
        LiveAudioKeeper(context).store()
        assert kept(context) == []
    LiveAudioKeeper(context).store()
    assert len(kept(context)) == 1


def test_a_store_that_hangs_holds_up_neither_requests_nor_the_disk(keeper: LiveAudioKeeper, context: Context) -> None:
    hangs, begun = threading.Event(), threading.Event()

    class Hanging(Away):
        def put_file(self, *given: Any, **more: Any) -> Any:
            begun.set()
            assert hangs.wait(60)
            return self.store.put_file(*given, **more)

    store = Hanging(context.store)
    store.back = True
    object.__setattr__(context, "store", store)
    keeper.offer(sent())
    keeper.write()
    storing = threading.Thread(target=keeper.store)
    storing.start()
    assert begun.wait(60)
    keeper.offer(sent(call="c5d2"))
    keeper.write()
    assert len(live_spool.waiting(context.settings)) == 2
    hangs.set()
    storing.join(60)
    keeper.store()
    assert sorted(row.call_sid for row in kept(context)) == ["c5d1", "c5d2"]


def test_another_key_of_the_pseudonyms_is_said_and_nothing_is_kept_under_it(
    context: Context, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    LiveAudioKeeper(context).look()
    other = context.settings.model_copy(update={"pseudonym_key": SecretStr("another key of another machine")})
    monkeypatch.setitem(context.__dict__, "settings", other)
    keeper = LiveAudioKeeper(context)
    keeper.look()
    assert not keeper.wants("c5d1", NUMBER)
    assert "pseudonym-key-differs" in caplog.text


def test_a_masked_number_of_the_ledger_does_not_hide_what_the_request_says(
    keeper: LiveAudioKeeper, context: Context
) -> None:
    event = CallEvent("c5d1", "passthru", direction="inbound", company_number="XXXXXX02")
    with context.db.transaction() as connection:
        ledger.record(connection, event, key=pseudonyms.key_of(context.settings))
    through(keeper, sent())
    assert len(kept(context)) == 1
