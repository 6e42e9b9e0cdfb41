"""Nothing that rewords a test sentence, and nobody who said one, is trained on; only checked rows are tested on."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend import tables
from ml_backend.context import Context
from tests.training.utterances.rows import bring_in, jsonl, open_in, row
from training.datasets.dataset_rows import EXCLUDED, LINE
from training.datasets.filters import DatasetFilters
from training.utterances import utterance_lines
from training.utterances.utterance_lines import SplitRow, place_rows

WORDS = ["order", "refund", "parcel", "saree", "कहाँ", "kab", "cancel", "paisa", "address", "delivery", "payment", "कल"]


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return open_in(tmp_path)


def made(context: Context, **filters: Any) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """(lines, digest -> reason of the others)."""
    with context.db.reading() as connection:
        found = list(utterance_lines.lines(connection, DatasetFilters(**filters)))
    lines = [each.body for each in found if each.kind == LINE]
    assert lines == sorted(lines, key=utterance_lines.order)
    return lines, {each.body["digest"]: each.reason for each in found if each.kind == EXCLUDED}


def generated(families: int, *, intents: int = 4, seed: int = 1) -> list[dict[str, Any]]:
    """Families of five wordings: one by a person, four by a program."""
    chance, rows = random.Random(seed), []
    for family in range(families):
        sentence = chance.sample(WORDS, 5)
        for wording in range(5):
            chance.shuffle(sentence)
            text = f"{' '.join(sentence)} {'abcdefghij'[wording]}{family:x}q"
            rows.append(row(
                len(rows), text, f"intent-{family % intents}", source="human" if not wording else "auto",
                parent_id=None if not wording else family * 5, language="hi" if family % 5 else "mr",
            ))  # fmt: skip
    return rows


def test_a_family_is_on_one_side_and_only_checked_rows_are_tested_on(context: Context, tmp_path: Path) -> None:
    bring_in(context, jsonl(tmp_path / "u.jsonl", generated(80)))
    lines, left_out = made(context)
    sides = defaultdict(set)
    for line in lines:
        sides[line["family"]].add(line["wording"] or line["split"])
    assert {frozenset(each - {"seen"}) for each in sides.values()} <= {
        frozenset({"train"}), frozenset({"validation"}), frozenset({"unseen"}),
    }  # fmt: skip
    assert all(line["checked"] for line in lines if line["split"] == "test")
    assert {line["wording"] for line in lines if line["split"] == "test"} == {"seen", "unseen"}
    assert set(left_out.values()) == {"test-family"}
    trained = {line["family"] for line in lines if line["split"] == "train"}
    assert {line["family"] for line in lines if line["wording"] == "seen"} <= trained
    intents = {line["intent"] for line in lines if line["split"] == "train"}
    assert intents == {f"intent-{number}" for number in range(4)}


def test_the_same_rows_in_another_order_and_database_give_the_same_lines(context: Context, tmp_path: Path) -> None:
    rows = generated(30)
    bring_in(context, jsonl(tmp_path / "u.jsonl", rows))
    (tmp_path / "other").mkdir()
    other = open_in(tmp_path / "other")
    random.Random(2).shuffle(rows)
    bring_in(other, jsonl(tmp_path / "u.jsonl", rows))
    assert made(context) == made(other)


rows_of_splits = st.lists(
    st.builds(
        SplitRow, digest=st.uuids().map(str), intent=st.sampled_from("abc"), family=st.sampled_from("klmnopqrstuv"),
        caller=st.none() | st.sampled_from(["c1", "c2", "c3"]), checked=st.booleans(),
    ),
    max_size=60,
)  # fmt: skip


@settings(max_examples=60)
@given(rows_of_splits)
def test_no_caller_and_no_unseen_wording_is_on_two_sides(rows: list[SplitRow]) -> None:
    placed = place_rows(rows)
    assert len(placed) == len(rows)
    sides: defaultdict[str, set[str]] = defaultdict(set)
    trained = {row.family for row, where in zip(rows, placed, strict=True) if where.split == "train"}
    for one, where in zip(rows, placed, strict=True):
        assert where.split != "test" or one.checked
        if where.wording == "seen":
            assert one.family in trained
            assert sum(other.caller == one.caller for other in rows) == 1 or one.caller is None
            continue
        for name in (f"family {one.family}", f"caller {one.caller}"):
            if where.split and name != "caller None":
                sides[name].add(where.split)
    assert all(len(each) == 1 for each in sides.values())
    assert {row.intent for row, where in zip(rows, placed, strict=True) if where.split == "train"} == {
        row.intent for row in rows
    }, "every intent is trained on"


def test_an_intent_of_one_row_is_trained_on() -> None:
    rows = [SplitRow(str(n), f"i{n}", f"f{n}", None, True) for n in range(20)]
    assert {each.split for each in place_rows(rows)} == {"train"}


def test_every_intent_with_enough_sentences_is_tested() -> None:
    rows = [SplitRow(f"{n}", f"i{n % 6}", f"f{n}", None, True) for n in range(30)]
    placed = place_rows(rows)
    for part in ("train", "validation", "test"):
        found = {row.intent for row, where in zip(rows, placed, strict=True) if where.split == part}
        assert found == {f"i{n}" for n in range(6)}, part


def test_one_text_counts_once_and_contradictions_are_left_out(context: Context, tmp_path: Path) -> None:
    rows = [
        row(1, "Where is it", "track"), row(2, "where  is it", "track", source="auto"),
        row(3, "yes", "confirm", source="auto"), row(4, "yes", "deny", source="auto"),
        row(5, "no", "deny"), row(6, "no", "confirm", source="auto"),
    ]  # fmt: skip
    bring_in(context, jsonl(tmp_path / "u.jsonl", rows))
    lines, left_out = made(context)
    assert {(line["text"], line["intent"]) for line in lines} == {("Where is it", "track"), ("no", "deny")}
    assert sorted(left_out.values()) == ["duplicate", "label-conflict", "label-conflict", "label-conflict"]


def test_a_correction_overrules_what_the_source_says(context: Context, tmp_path: Path) -> None:
    bring_in(context, jsonl(tmp_path / "u.jsonl", [row(1, "where is it", "cancel"), row(2, "bye", "bye")]))
    with context.db.transaction() as connection:
        asked = connection.execute(sa.select(tables.utterances).where(tables.utterances.c.external_id == "1")).one()
        values = {**asked._mapping, "id": 99, "origin": "label-studio", "source": "correction", "intent": "track"}
        connection.execute(sa.insert(tables.utterances).values(**{**values, "digest": "f" * 64}))
    lines, left_out = made(context)
    assert {(line["text"], line["intent"]) for line in lines} == {("where is it", "track"), ("bye", "bye")}
    assert list(left_out.values()) == ["label-conflict"]


def test_filters_leave_out_with_a_reason(context: Context, tmp_path: Path) -> None:
    rows = [row(1, "where is it", language="en"), row(2, "कहाँ है", language="hi"), row(3, "", language="en")]
    bring_in(context, jsonl(tmp_path / "u.jsonl", rows))
    lines, left_out = made(context, languages="hi")
    assert [line["language"] for line in lines] == ["hi"]
    assert sorted(left_out.values()) == ["language", "utterance-empty"]
    assert set(made(context, since="2999-01-01")[1].values()) == {"date", "utterance-empty"}


def test_consent_that_is_taken_back_after_the_import_counts(context: Context, tmp_path: Path) -> None:
    with context.db.transaction() as connection:
        call = connection.execute(sa.insert(tables.calls).values(provider="exotel", call_sid="c1", state="kept"))
        connection.execute(sa.insert(tables.recordings).values(
            source="exotel", source_identity="c1", call_id=call.inserted_primary_key[0], state="ready"
        ))  # fmt: skip
        connection.execute(sa.insert(tables.calls).values(provider="exotel", call_sid="c2", state="kept"))  # no audio
    rows = [row(1, "where is it", call_sid="c1"), row(2, "when is it", call_sid="c2")]
    bring_in(context, jsonl(tmp_path / "u.jsonl", rows))
    assert len(made(context)[0]) == 2
    assert set(made(context, consent="stated")[1].values()) == {"consent"}
    with context.db.transaction() as connection:
        connection.execute(sa.update(tables.calls).values(consent_purpose="review"))
    assert list(made(context)[1].values()) == ["consent", "consent"]


def test_a_language_with_few_tested_rows_gets_counts_and_no_score() -> None:
    lines = [{"language": "hi", "split": "test", "wording": "unseen"}] * 30
    lines += [{"language": "mr", "split": "test", "wording": "seen"}] * 40
    lines += [{"language": "mr", "split": "train", "wording": None}] * 3
    assert utterance_lines.language_counts(lines) == {
        "hi": {"test_unseen": 30, "scored": True},
        "mr": {"test_seen": 40, "train": 3, "scored": False},
    }
