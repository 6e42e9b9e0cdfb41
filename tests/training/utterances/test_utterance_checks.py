"""A row is used as it is meant, or left out for a reason; offsets count characters, whoever counted them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.utterances.label_names import LabelNames
from training.utterances.utterance_checks import REASONS, LeftOut, Reading, check


def read(text: Any, **more: Any) -> Any:
    return check({"id": 1, "text": text, "intent": "x", **more}, Reading(LabelNames()))


def span(start: Any, end: Any, value: Any = None) -> list[dict[str, Any]]:
    return [{"entity": "item", "start": start, "end": end, "value": value}]


@pytest.mark.parametrize(
    ("text", "start", "end", "value", "expected"),
    [
        ("order 77 please", 6, 8, "77", (6, 8)),
        ("order 77 please", "6", 8.0, None, (6, 8)),
        ("  order 77", 8, 10, "77", (6, 8)),  # blanks before the text are taken off
        ("😀 order 77", 9, 11, "77", (8, 10)),  # UTF-16 units, as browsers count
        ("👍🏽 साड़ी चाहिए", 5, 10, "साड़ी", (3, 8)),
        ("ऑर्डर 77 कहाँ", 0, 2, "77", (6, 8)),  # found by its value
        ("red saree", 4, 9, "sari", (4, 9)),  # a synonym, not what was said
        ("order 77 ", 5, 9, None, (6, 8)),
    ],
)
def test_a_span_encloses_what_the_source_meant(text: str, start: Any, end: Any, value: Any, expected: Any) -> None:
    found = read(text, entities=span(start, end, value))
    one = found.entities[0]
    assert (one["start"], one["end"]) == expected
    assert one["value"] == found.text[one["start"] : one["end"]]


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"text": None}, "utterance-empty"),
        ({"text": 7}, "utterance-empty"),
        ({"text": " \u00a0\n"}, "utterance-empty"),
        ({"text": "a" * 1001}, "utterance-too-long"),
        ({"text": "a\x00b"}, "utterance-unprintable"),
        ({"text": "tea &amp; milk"}, "utterance-markup"),
        ({"text": "hi <br/>"}, "utterance-markup"),
        ({"intent": " "}, "intent-missing"),
        ({"intent": ["a"]}, "intent-unusable"),
        ({"intent": "x" * 200}, "intent-unusable"),
        ({"entities": "{"}, "entities-unreadable"),
        ({"entities": {"a": 1}}, "entities-unreadable"),
        ({"entities": ["city"]}, "entities-unreadable"),
        ({"entities": [{"entity": "a", "start": True, "end": 2}]}, "entities-unreadable"),
        ({"entities": span(-1, 2)}, "span-outside"),
        ({"entities": span(2, 2)}, "span-outside"),
        ({"entities": span(3, 99)}, "span-outside"),
        ({"text": "aa b aa", "entities": span(3, 5, "aa")}, "span-mismatch"),
        ({"text": "abcdef", "entities": span(0, 3) + span(2, 4)}, "spans-overlap"),
        ({"source": "robot"}, "source-unknown"),
        ({"id": "n" * 121}, "utterance-no-id"),
        ({"id": ""}, "utterance-no-id"),
        ({"review_status": "Rejected"}, "utterance-rejected"),
    ],
)
def test_what_cannot_be_used_has_a_reason(row: dict[str, Any], code: str) -> None:
    with pytest.raises(LeftOut) as left:
        read(**{"text": "where is it", **row})
    assert left.value.code == code
    assert code in dict(REASONS)


@pytest.mark.parametrize("text", ["a < b and c > d", "5 & 6", "👍", "मैं होटल & taxi", "क्‍ष ि", "ok\ufeff", "&c"])
def test_signs_emoji_and_mixed_scripts_are_text(text: str) -> None:
    assert read(text).text == text.replace("\ufeff", "").strip()


@pytest.mark.parametrize(
    ("review", "source", "checked"),
    [
        (None, None, True), (None, "human", True), (None, "auto", False), (None, "call", False),
        ("approved", "auto", True), ("unreviewed", "human", False), (" Approved", None, True), ("", "human", True),
    ],
)  # fmt: skip
def test_only_what_a_person_wrote_or_approved_is_checked(review: Any, source: Any, checked: bool) -> None:
    assert read("where", review_status=review, source=source).checked is checked


@pytest.mark.parametrize(
    ("stated", "code"),
    [("Hindi", "hi"), ("en-IN", "en"), ("मराठी", "mr"), ("hi_IN", "hi"), ("klingon", "en"), ("", "en")],
)
def test_a_language_is_known_by_its_names_and_detected_otherwise(stated: str, code: str) -> None:
    assert read("where is my order", language=stated).language == code


@settings(max_examples=50)
@given(st.dictionaries(
    st.sampled_from(["id", "text", "intent", "entities", "language", "source", "review_status", "updated_at",
                     "confidence", "parent_id", "call_sid"]),
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda each: st.lists(each)
                 | st.dictionaries(st.sampled_from(["entity", "start", "end", "value"]), each), max_leaves=6),
))  # fmt: skip
def test_no_row_breaks_the_import(row: dict[str, Any]) -> None:
    try:
        found = check(row, Reading(LabelNames()))
    except LeftOut:
        return
    assert all(found.text[one["start"] : one["end"]] == one["value"] for one in found.entities)
    assert found.digest
