"""What customers say in calls waits for people, with the parser's answer: once, within consent, and corrected."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.models import registry
from tests.servers import postgres
from tests.training.utterances.rows import bring_in, jsonl, row
from tests.training.utterances.said import AGENT, COMPANY, CUSTOMER, Calls
from training.utterances import call_utterances

ORDER, REFUND, HINDI = "where is my order KA1234", "i want my money back", "मेरा ऑर्डर कहाँ है"
ASKED = [(AGENT, "how may i help you"), (CUSTOMER, ORDER), (AGENT, "one moment"), (CUSTOMER, HINDI)]


def texts(calls: Calls) -> list[str]:
    return sorted(row.text for row in calls.rows(source="call"))


@pytest.fixture
def calls(tmp_path: Path) -> Calls:
    return Calls(tmp_path)


def test_what_the_customer_said_waits_with_the_parse_of_the_serving_version(calls: Calls) -> None:
    recording_id = calls.call(ASKED)
    done = call_utterances.collect(calls.context)
    assert (done.recordings, done.candidates, done.added) == (1, 2, 2)
    found = {row.text: row for row in calls.rows()}
    assert found.keys() == {ORDER, HINDI}, "what the agent said is no utterance of a customer"
    one = found[ORDER]
    assert (one.source, one.origin, one.state, one.checked) == ("call", "calls", "waiting", False)
    assert (one.recording_id, one.call_id) == (recording_id, calls.rows(tables.calls)[0].id)
    assert one.intent == "order_status"
    assert 0 < one.confidence <= 1
    assert one.entities == [{"entity": "order", "start": 18, "end": 24, "value": "KA1234"}]
    assert one.model_version == registry.champion(calls.context, "nlu").version
    assert (found[HINDI].language, found[HINDI].script) == ("hi", "Deva")
    assert one.caller
    assert one.family


def test_a_second_run_adds_nothing_and_reads_nothing(calls: Calls) -> None:
    calls.call(ASKED)
    call_utterances.collect(calls.context)
    before = calls.rows()
    again = call_utterances.collect(calls.context)
    assert (again.recordings, again.added) == (0, 0)
    whole = call_utterances.collect(calls.context, everything=True)
    assert (whole.recordings, whole.added, whole.left_out["known"]) == (1, 0, 2)
    assert calls.rows() == before


def test_only_what_came_since_is_read(calls: Calls) -> None:
    calls.call(ASKED)
    call_utterances.collect(calls.context)
    calls.call([(CUSTOMER, REFUND)])
    done = call_utterances.collect(calls.context)
    assert (done.recordings, done.added) == (1, 1)


@pytest.mark.parametrize(("purpose", "taken"), [
    (None, True), ("training", True), ("review", False), ("service", False), ("none", False),
])  # fmt: skip
def test_only_calls_whose_purpose_allows_training_are_read(calls: Calls, purpose: str | None, taken: bool) -> None:
    calls.call(ASKED, purpose=purpose)
    done = call_utterances.collect(calls.context)
    assert bool(calls.rows()) is taken
    assert done.left_out["consent"] == (not taken)


def test_consent_that_is_withdrawn_while_a_run_parses_is_obeyed(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    calls.call(ASKED)
    choose = call_utterances.choose

    def withdrawn(*found: object, **more: object) -> object:
        with calls.context.db.transaction() as connection:
            connection.execute(sa.update(tables.calls).values(consent_purpose="service"))
        return choose(*found, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(call_utterances, "choose", withdrawn)
    assert call_utterances.collect(calls.context).added == 0
    assert calls.rows() == []


@pytest.mark.parametrize("state", ["erased", "expired", "refused", "lost"])
def test_nothing_is_taken_of_a_recording_that_is_gone(calls: Calls, state: str) -> None:
    recording_id = calls.call(ASKED)
    calls.context.db.update(tables.recordings, recording_id, state=state)
    assert call_utterances.collect(calls.context).left_out["not-ready"] == 1
    assert calls.rows() == []


def test_a_person_s_text_goes_before_the_draft(calls: Calls) -> None:
    recording_id = calls.call([(AGENT, "hello"), (CUSTOMER, "where is my odour KA 1234")])
    call_utterances.collect(calls.context)
    assert texts(calls) == ["where is my odour KA 1234"]
    calls.correct(recording_id, [(AGENT, "hello"), (CUSTOMER, ORDER)])
    done = call_utterances.collect(calls.context)
    assert (done.added, done.replaced) == (1, 1)
    assert texts(calls) == [ORDER]


def test_a_text_that_people_are_asked_about_stays_when_the_call_is_corrected(calls: Calls) -> None:
    recording_id = calls.call([(CUSTOMER, "where is my odour")])
    call_utterances.collect(calls.context)
    task_id = calls.insert(tables.tasks, project_id=calls.project_id, external_key="asked", origin="ours", state="open")
    calls.context.db.update(tables.utterances, calls.rows()[0].id, task_id=task_id)
    calls.correct(recording_id, [(CUSTOMER, "where is my order")])
    assert call_utterances.collect(calls.context).replaced == 0
    assert "where is my odour" in texts(calls)


def test_the_speaker_comes_from_a_person_s_label_where_both_are_on_one_channel(calls: Calls) -> None:
    recording_id = calls.call([(0, f"hello {ORDER}")], channels=1)
    assert call_utterances.collect(calls.context).left_out["speaker-unknown"] == 1
    calls.correct(recording_id, [(AGENT, "how may i help you"), (CUSTOMER, ORDER)], labels=True)
    call_utterances.collect(calls.context)
    assert texts(calls) == [ORDER]


@pytest.mark.parametrize(
    ("agent_channel", "state", "taken"), [(1, "ready", True), (0, "ready", False), (1, "superseded", False)]
)
def test_a_live_request_whose_speaker_the_phone_system_named_is_read(
    calls: Calls, agent_channel: int, state: str, taken: bool
) -> None:
    recording_id = calls.call([(0, ORDER)], channels=1)
    live = {"source": "live", "agent_channel": agent_channel, "state": state}
    calls.context.db.update(tables.recordings, recording_id, **live)
    call_utterances.collect(calls.context)
    assert bool(texts(calls)) is taken


def test_nothing_is_taken_while_nobody_knows_the_agent_s_channel(calls: Calls) -> None:
    calls.call(ASKED)
    with calls.context.db.transaction() as connection:
        connection.execute(sa.update(tables.company_numbers).values(agent_channel=None))
    assert call_utterances.collect(calls.context).left_out["speaker-unknown"] == 1
    assert calls.rows() == []


def test_gold_doubtful_and_empty_speech_is_left_out(calls: Calls) -> None:
    gold = calls.call(ASKED)
    calls.correct(gold, ASKED, gold_text="a known answer")
    doubtful = calls.call([(CUSTOMER, "...")])
    calls.transcribe(doubtful, [(CUSTOMER, "mumble mumble")], confidence=0.2, version="v2")
    calls.call([(CUSTOMER, "..."), (CUSTOMER, "is it [unclear] today"), (CUSTOMER, "word " * 300)])
    done = call_utterances.collect(calls.context)
    assert dict(done.left_out) == {"gold": 1, "unclear": 2, "no-words": 2}
    assert calls.rows() == []


def test_wordings_that_are_there_already_are_not_asked_again(calls: Calls, tmp_path: Path) -> None:
    bring_in(calls.context, jsonl(tmp_path / "u.jsonl", [row(1, "Where is my order ka9999?", "order_status")]))
    calls.call([(CUSTOMER, ORDER), (CUSTOMER, REFUND), (CUSTOMER, "I want my money back!")])
    done = call_utterances.collect(calls.context)
    assert done.left_out["known"] == 2
    assert texts(calls) == [REFUND]


def test_no_more_wait_than_the_settings_allow_and_no_caller_is_asked_about_all_day(tmp_path: Path) -> None:
    calls = Calls(tmp_path, nlu_call_utterances=6, nlu_call_utterances_per_caller=2)
    said = ["refund it", "stop my parcel", "change the address", "i need an invoice", "pay now", "speak to a person"]
    calls.call([(CUSTOMER, text) for text in said], caller="one")
    assert call_utterances.collect(calls.context).added == 2
    for number in range(5):
        calls.call([(CUSTOMER, f"{text} {'please ' * number} sir") for text in said])
    done = call_utterances.collect(calls.context)
    assert (done.added, done.waiting) == (4, 6)
    calls.call([(CUSTOMER, "something new")])
    full = call_utterances.collect(calls.context)
    assert (full.room, full.recordings, full.more) == (0, 0, True)
    with calls.context.db.transaction() as connection:
        connection.execute(sa.delete(tables.utterances))
    assert call_utterances.collect(calls.context).recordings == 1, "what was not read yet is read when there is room"


def test_rows_that_may_still_have_older_ones_beside_them_are_read_again(calls: Calls) -> None:
    calls.at = tables.now()
    calls.call(ASKED)
    call_utterances.collect(calls.context)
    again = call_utterances.collect(calls.context)
    assert (again.recordings, again.added) == (1, 0)


def test_a_synthetic_voice_is_no_customer(calls: Calls) -> None:
    calls.call(ASKED, synthetic=True, call_sid=None)
    assert call_utterances.collect(calls.context).left_out["not-ready"] == 1


@pytest.mark.timeout(180)
def test_calls_are_read_on_postgresql_too(tmp_path: Path) -> None:
    with postgres.running() as server:
        url = server.database()
        db.upgrade(url)
        calls = Calls(tmp_path, database_url=url)
        recording_id = calls.call(ASKED)
        assert call_utterances.collect(calls.context).added == 2
        calls.correct(recording_id, [(CUSTOMER, REFUND)])
        done = call_utterances.collect(calls.context)
        assert (done.added, done.replaced) == (1, 2)
        assert call_utterances.collect(calls.context).recordings == 0
        calls.context.db.dispose()


def test_the_number_of_the_company_is_no_caller(calls: Calls) -> None:
    calls.call([(CUSTOMER, ORDER)], caller="anna")
    calls.call([(CUSTOMER, REFUND)], caller="anna")
    calls.call([(CUSTOMER, HINDI)], caller="bert")
    call_utterances.collect(calls.context)
    callers = {row.text: row.caller for row in calls.rows()}
    assert callers[ORDER] == callers[REFUND] != callers[HINDI]
    assert COMPANY not in callers.values()


@pytest.mark.parametrize("written", [{"reject": ["no_speech"]}, {"skipped": True}, {}])
def test_no_draft_is_taken_of_what_a_person_answered_before_a_reference_came_of_it(
    calls: Calls, written: dict[str, object]
) -> None:
    recording_id = calls.call([(CUSTOMER, "where is my odour")])
    task_id = calls.correct(recording_id, [(CUSTOMER, ORDER)], written=written, sampled=bool(written))
    done = call_utterances.collect(calls.context)
    assert (done.recordings, done.added, dict(done.left_out)) == (1, 0, {"no-reference": 1})
    calls.insert(
        tables.annotations, project_id=calls.project_id, task_id=task_id, ls_annotation_id=900, annotator=8, result=[],
        ls_updated_at=tables.now(), language="en", reject=[], choices={}, text=ORDER, edited="manual",
        segments=[{"start_s": 0.0, "end_s": 2.5, "channel": CUSTOMER, "text": ORDER, "labels": []}],
        created_at=calls.at - timedelta(hours=1),
    )  # fmt: skip
    with calls.context.db.transaction() as connection:
        theirs = sa.update(tables.annotations).where(tables.annotations.c.ls_annotation_id != 900)
        connection.execute(theirs.values(deleted_at=tables.now()))
    calls.sample(task_id)
    assert call_utterances.collect(calls.context).added == 1, "it is read when its sample comes, however late"
    assert texts(calls) == [ORDER]


def test_a_sample_that_is_made_anew_is_read_anew(calls: Calls) -> None:
    recording_id = calls.call([(CUSTOMER, "where is my odour")])
    task_id = calls.correct(recording_id, [(CUSTOMER, "where is my older")])
    call_utterances.collect(calls.context)
    with calls.context.db.transaction() as connection:
        region = {"start_s": 0.0, "end_s": 2.5, "channel": CUSTOMER, "text": ORDER, "labels": []}
        connection.execute(sa.update(tables.annotations).values(segments=[region], text=ORDER))
    calls.sample(task_id)
    call_utterances.collect(calls.context)
    assert texts(calls) == [ORDER]


def test_a_corrected_piece_leaves_the_drafts_of_the_other_pieces(calls: Calls) -> None:
    recording_id = calls.call([(CUSTOMER, "where is my odour"), (AGENT, "one moment"), (CUSTOMER, REFUND)])
    calls.call([(CUSTOMER, HINDI)])
    call_utterances.collect(calls.context)
    calls.correct(recording_id, [(CUSTOMER, ORDER)], end_s=3.0)
    done = call_utterances.collect(calls.context)
    assert (done.added, done.replaced) == (1, 1)
    assert texts(calls) == sorted([ORDER, REFUND, HINDI])


def test_the_drafts_of_other_pieces_are_read_beside_a_corrected_one(calls: Calls) -> None:
    recording_id = calls.call([(CUSTOMER, "where is my odour"), (AGENT, "one moment"), (CUSTOMER, REFUND)])
    calls.correct(recording_id, [(CUSTOMER, ORDER)], end_s=3.0)
    call_utterances.collect(calls.context)
    assert texts(calls) == sorted([ORDER, REFUND])


@pytest.mark.parametrize("route", [
    {"version": "v1", "shadow": "v2"}, {"version": "v1", "shadow": None}, {"version": "v0", "shadow": "v2"},
])  # fmt: skip
def test_the_text_is_the_one_that_people_see_and_not_that_of_a_version_on_trial(
    calls: Calls, route: dict[str, object]
) -> None:
    recording_id = calls.call([(CUSTOMER, ORDER)], route=route)
    calls.transcribe(recording_id, [(CUSTOMER, "wear is my odour")], version="v2")
    call_utterances.collect(calls.context)
    assert texts(calls) == [ORDER]


def test_a_run_that_read_enough_stops_and_the_next_one_goes_on_there(
    calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_utterances, "MOST_CANDIDATES", 2)
    monkeypatch.setattr(call_utterances, "PAGE", 1)
    said = ["refund it", "stop my parcel", "change the address", "i need an invoice", "pay now", "speak to a person"]
    recorded = [calls.call([(CUSTOMER, text)]) for text in said]
    for recording_id in reversed(recorded[:2]):
        calls.correct(recording_id, [(CUSTOMER, f"please {said[recording_id - 1]}")])
    first = call_utterances.collect(calls.context)
    assert (first.recordings, first.added, first.more) == (2, 2, True)
    runs = [call_utterances.collect(calls.context) for _ in range(4)]
    assert all(run.recordings <= 2 for run in runs)
    assert not runs[-1].more
    assert texts(calls) == sorted([*(f"please {text}" for text in said[:2]), *said[2:]])


def test_nothing_is_passed_over_while_few_places_are_free(tmp_path: Path) -> None:
    calls = Calls(tmp_path, nlu_call_utterances=8)
    calls.call([(CUSTOMER, ORDER)])
    waiting = {"origin": "calls", "source": "call", "state": "waiting", "digest": "d"}
    for number in range(7):
        calls.insert(tables.utterances, external_id=f"9:1:{number}", text=f"word {number}", **waiting)
    done = call_utterances.collect(calls.context)
    assert (done.enough_wait, done.room, done.recordings, done.more) == (True, 1, 0, True)
    assert call_utterances.collect(calls.context, everything=True).added == 1, "a person asked for it"
    with calls.context.db.transaction() as connection:
        connection.execute(sa.delete(tables.utterances).where(tables.utterances.c.external_id != "9:1:0"))
        connection.execute(sa.delete(tables.checkpoints))
    done = call_utterances.collect(calls.context)
    assert (done.enough_wait, done.recordings, done.added) == (False, 1, 1)
