"""Rows come in once, whatever else is wrong around them, and the source is never written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.context import Context
from ml_backend.errors import ConfigurationError, InvalidInput, RetryableError
from ml_backend.setting_values import columns
from tests.servers import postgres
from tests.training.utterances.rows import bring_in, jsonl, open_in, row, stored, table
from training.utterances import utterance_import, utterance_sources


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return open_in(tmp_path)


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.PostgresServer]:
    with postgres.running() as found:
        yield found


@pytest.fixture
def theirs(server: postgres.PostgresServer) -> str:
    """The company's table, with the columns that the settings assume."""
    url = server.database()
    with _open(url) as connection:
        connection.execute(
            "CREATE TYPE review AS ENUM ('unreviewed', 'approved', 'rejected');"
            "CREATE TABLE nlu_training_data (id uuid PRIMARY KEY, text text, text_normalised text, intent text,"
            " entities jsonb, language varchar(10), script text, source text, parent_id uuid, call_sid text,"
            " model_version text, confidence real, review_status review, created_at timestamptz,"
            " updated_at timestamptz)"
        )
    return url


def _open(url: str) -> psycopg.Connection[Any]:
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)


def _uuid(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012}"


def _add(url: str, number: int, text: str, *, at: str = "2026-01-01T00:00:00Z", **more: Any) -> None:
    values = {"id": _uuid(number), "text": text, "intent": "track", "updated_at": at, **more}
    marks = ", ".join(["%s"] * len(values))
    with _open(url) as connection:
        statement = f"INSERT INTO nlu_training_data ({', '.join(values)}) VALUES ({marks})"  # noqa: S608
        connection.execute(statement.encode(), [json.dumps(v) if isinstance(v, list) else v for v in values.values()])


def _import(context: Context, url: str, *, everything: bool = False, name: str = "nlu_training_data") -> Any:
    since = None if everything else utterance_import.since(context, f"table:{name}")
    with utterance_sources.table(url, name, columns("")[0], since=since) as source:
        return utterance_import.run(context, source)


def test_a_table_of_postgresql_comes_in_with_all_it_says(context: Context, theirs: str) -> None:
    spans = [{"entity": "order_no", "start": 9, "end": 11, "value": "77"}]  # in UTF-16 units
    _add(theirs, 1, "😀 ऑर्डर 77 कहाँ है", entities=spans, language="hi", source="human", review_status="approved")
    _add(theirs, 2, "where is my order", language="auto", parent_id=_uuid(1), confidence=0.5, model_version="nlu-3")
    _add(theirs, 3, "order kahan hai", language="en", review_status="rejected")
    done = _import(context, theirs)
    found = stored(context)
    assert (done.read, done.added, dict(done.bad)) == (3, 2, {"utterance-rejected": 1})
    first, second = found[_uuid(1)], found[_uuid(2)]
    assert first.entities == [{"entity": "order_no", "start": 8, "end": 10, "value": "77"}]
    assert (first.checked, first.script, first.source) == (True, "Deva", "human")
    assert (second.source, second.language, second.checked, second.model_version) == ("auto", "en", False, "nlu-3")
    assert first.family == second.family, "a row and the row it rewords are one family"


def test_a_second_import_reads_what_changed_and_writes_nothing_else(context: Context, theirs: str) -> None:
    for number in range(1, 121):
        _add(theirs, number, f"where is parcel {number}", at="2026-01-01T00:00:00Z")
    _add(theirs, 200, "cancel it", at="2026-01-02T00:00:00Z")
    assert _import(context, theirs).added == 121
    before = stored(context)
    again = _import(context, theirs)
    assert (again.read, again.added, again.changed, again.whole) == (1, 0, 0, False)
    with _open(theirs) as connection:
        connection.execute(
            "UPDATE nlu_training_data SET intent = 'cancel', updated_at = '2026-01-03' WHERE text ~ '^c'"
        )
    _add(theirs, 300, "a late commit", at="2026-01-01T23:30:00Z")  # of a transaction that began before
    third = _import(context, theirs)
    assert (third.added, third.changed) == (1, 1)
    assert stored(context)[_uuid(1)] == before[_uuid(1)]
    assert stored(context)[_uuid(200)].intent == "cancel"


def test_a_row_that_is_gone_from_the_table_is_left_out_when_everything_is_read(context: Context, theirs: str) -> None:
    _add(theirs, 1, "where is it")
    _add(theirs, 2, "cancel it")
    _import(context, theirs)
    with _open(theirs) as connection:
        connection.execute("DELETE FROM nlu_training_data WHERE text = 'cancel it'")
    assert _import(context, theirs).gone == 0
    assert _import(context, theirs, everything=True).gone == 1
    assert list(stored(context)) == [_uuid(1)]
    _add(theirs, 2, "cancel it")
    assert _import(context, theirs, everything=True).changed == 1
    assert len(stored(context)) == 2


def test_the_source_refuses_to_be_written_by_us(theirs: str) -> None:
    with pytest.raises(ConfigurationError, match="read-only transaction"), db.reading_elsewhere(theirs) as connection:
        connection.execute(sa.text("DELETE FROM nlu_training_data"))


def test_a_wrong_address_table_or_column_is_named_with_what_there_is(context: Context, theirs: str) -> None:
    with pytest.raises(ConfigurationError, match="no-such-table") as error:
        _import(context, theirs, name="nlu_trainig_data")
    assert "nlu_training_data" in error.value.next_step
    with pytest.raises(ConfigurationError, match="no-such-column") as error:
        with utterance_sources.table(theirs, "nlu_training_data", columns("text=utterance")[0], since=None):
            pass
    assert "text_normalised" in error.value.sentence
    with pytest.raises(RetryableError, match="source-unreachable"):
        _import(context, "postgresql+psycopg://kaan:hidden-word@127.0.0.1:1/none")
    with pytest.raises(ConfigurationError, match="no-utterance-database"):
        _import(context, "")


def test_a_user_without_the_right_to_read_is_told_so(context: Context, theirs: str) -> None:
    with _open(theirs) as connection:
        connection.execute("CREATE ROLE outsider LOGIN")
    with pytest.raises(ConfigurationError, match="source-refused"):
        _import(context, theirs.replace("kaan@", "outsider@"))
    with _open(theirs) as connection:
        connection.execute("DROP ROLE outsider")


def test_an_empty_table_or_file_excludes_nothing_that_is_there(context: Context, theirs: str, tmp_path: Path) -> None:
    _add(theirs, 1, "where is it")
    _import(context, theirs)
    with _open(theirs) as connection:
        connection.execute("DELETE FROM nlu_training_data")
    with pytest.raises(InvalidInput, match="no-utterances"):
        _import(context, theirs, everything=True)
    assert len(stored(context)) == 1
    with pytest.raises(InvalidInput, match="no-utterances"):
        bring_in(context, jsonl(tmp_path / "nothing.jsonl", []))


def test_one_bad_row_costs_its_neighbours_nothing(context: Context, tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    good = [row(1, "where is it"), row(2, "cancel it", "cancel")]
    lines = [json.dumps(each) for each in good]
    bad = ["{", "[1]", '{"id": 3, "text": "\\ud83d", "intent": "x"}',
           '{"id": 4, "text": "' + "a" * 10_000 + '", "intent": "x"}',
           '{"id": 5, "text": "<b>hi</b>", "intent": "x"}', '{"id": 1, "text": "again", "intent": "x"}',
           '{"id": 6, "text": "hi", "intent": "x", "entities": [{"entity": "a", "start": 1, "end": 9}]}',
           '{"id": 7, "text": "hi\\u0000", "intent": "x"}', '{"id": null, "text": "hi", "intent": "x"}']  # fmt: skip
    path.write_text("\n".join([lines[0], *bad, lines[1]]) + "\n", encoding="utf-8")
    done = bring_in(context, path)
    assert set(stored(context)) == {"1", "2"}
    assert done.bad == {
        "row-unreadable": 2, "utterance-unprintable": 2, "utterance-too-long": 1, "utterance-markup": 1,
        "utterance-id-twice": 1, "span-outside": 1, "utterance-no-id": 1,
    }  # fmt: skip
    assert {"where": "line 6", "code": "utterance-markup"}.items() <= done.examples[4].items()
    listed = context.db.scalars(
        sa.select(tables.utterances.c.reason_code).where(tables.utterances.c.state == "excluded")
    )
    assert sorted(listed) == [
        "span-outside", "utterance-markup", "utterance-too-long", "utterance-unprintable", "utterance-unprintable",
    ]  # fmt: skip
    assert bring_in(context, path).unchanged == 2


def test_a_corrected_row_comes_back_into_use(context: Context, tmp_path: Path) -> None:
    bring_in(context, jsonl(tmp_path / "u.jsonl", [row(1, ""), row(2, "where")]))
    done = bring_in(context, jsonl(tmp_path / "u.jsonl", [row(1, "where is it"), row(2, "where")]))
    assert (done.changed, done.unchanged) == (1, 1)
    assert stored(context)["1"].accepted_at is not None


def test_labels_that_differ_in_case_or_spaces_are_one_and_the_merge_is_reported(
    context: Context, tmp_path: Path
) -> None:
    names = ("cancel_order", "Cancel_Order", "cancel order ", "cancel_order", " CANCEL-ORDER", "track")
    rows = [row(number, f"text {number * 'x'}", name) for number, name in enumerate(names)]
    done = bring_in(context, jsonl(tmp_path / "u.jsonl", rows))
    assert {each.intent for each in stored(context).values()} == {"cancel_order", "track"}
    assert done.labels == {"cancel_order": {" CANCEL-ORDER": 1, "Cancel_Order": 1, "cancel order ": 1}}
    more = bring_in(context, jsonl(tmp_path / "more.jsonl", [row(n, f"m{n}", "CANCEL ORDER") for n in range(50, 59)]))
    assert {each.intent for each in stored(context).values()} == {"cancel_order", "track"}, "the first spelling stays"
    assert more.labels == {"cancel_order": {"CANCEL ORDER": 9}}


@pytest.mark.parametrize(("means", "source", "checked"), [("source", "auto", False), ("language", "human", True)])
def test_auto_is_a_source_or_an_unknown_language_as_configured(
    tmp_path: Path, means: str, source: str, checked: bool
) -> None:
    context = open_in(tmp_path, nlu_auto_means=means)
    bring_in(context, table(tmp_path / "u.csv", [row(1, "माझी ऑर्डर कुठे आहे", language="auto")]))
    found = stored(context)["1"]
    assert (found.source, found.language, found.checked) == (source, "mr", checked)


def test_a_spreadsheet_with_semicolons_a_mark_of_its_encoding_and_other_names_comes_in(
    context: Context, tmp_path: Path
) -> None:
    path = tmp_path / "Utterances.CSV"
    path.write_bytes('\ufeffnr;frase;label\r\n7;"where; is\r\nit";track\r\n8;ok;yes;extra\r\n9;cancel;no\r\n'.encode())
    done = bring_in(context, path, "id=nr,text=frase,intent=label")
    found = stored(context)
    assert found["7"].text == "where; is  it"
    assert (set(found), dict(done.bad)) == ({"7", "9"}, {"row-unreadable": 1})


def test_bytes_that_are_no_utf8_cost_their_row(context: Context, tmp_path: Path) -> None:
    path = tmp_path / "u.csv"
    path.write_bytes(b"id,text,intent\n1,caf\xe9,x\n2,hello,x\n")
    assert bring_in(context, path).bad == {"utterance-unprintable": 1}
    assert set(stored(context)) == {"2"}


def test_rows_without_ids_are_known_by_what_they_say(context: Context, tmp_path: Path) -> None:
    rows = [{"text": "where is it", "intent": "track"}, {"text": "cancel", "intent": "cancel"}]
    assert bring_in(context, table(tmp_path / "u.csv", rows)).added == 2
    again = bring_in(context, table(tmp_path / "u.csv", [rows[1]]))
    assert (again.unchanged, again.gone) == (1, 1)


def test_few_intents_and_rows_are_pointed_out(context: Context, tmp_path: Path) -> None:
    one = bring_in(context, jsonl(tmp_path / "u.jsonl", [row(1, "where"), row(2, "when")]))
    assert "only one intent" in one.warnings[0]
    more = bring_in(context, jsonl(tmp_path / "v.jsonl", [row(1, "cancel", "cancel")]))
    assert "1 of 2 intents have one row each (cancel)" in more.warnings[0]


@pytest.mark.parametrize(("purpose", "state"), [("training", "accepted"), ("review", "excluded"), (None, "accepted")])
def test_what_was_said_in_a_call_is_used_as_far_as_the_call_allows(
    context: Context, tmp_path: Path, purpose: str | None, state: str
) -> None:
    with context.db.transaction() as connection:
        connection.execute(sa.insert(tables.calls).values(
            provider="exotel", call_sid="c1", from_pseudonym="a" * 24 + "-01", consent_purpose=purpose,
            started_at=datetime(2026, 1, 1, tzinfo=UTC), state="kept",
        ))  # fmt: skip
    bring_in(context, jsonl(tmp_path / "u.jsonl", [row(1, "where is it", call_sid="c1"), row(2, "when")]))
    found = context.db.rows(sa.select(tables.utterances).where(tables.utterances.c.external_id == "1"))[0]
    assert (found.state, found.reason_code) == (state, "call-consent" if state == "excluded" else None)
    assert found.caller.startswith("caller-")


def test_nothing_of_an_erased_call_comes_in_or_stays(context: Context, tmp_path: Path) -> None:
    from ml_backend.calls import pseudonyms, tombstones

    path = jsonl(tmp_path / "u.jsonl", [row(1, "my name is Asha", call_sid="c1"), row(2, "when")])
    assert bring_in(context, path).added == 2
    with context.db.transaction() as connection:
        key = pseudonyms.key_of(context.settings)
        tombstones.mark_erased(connection, "call", "c1", key=key)
    done = bring_in(context, path)
    assert dict(done.bad) == {"call-erased": 1}
    assert context.db.scalars(sa.select(tables.utterances.c.external_id)) == ["2"]
