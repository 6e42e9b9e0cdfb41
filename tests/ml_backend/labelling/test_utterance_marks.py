"""What a model says of an utterance reads back from Label Studio as the same, in every script."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.labelling.utterance_marks import MarkedUtterance, digest, span, to_result, to_utterance


@settings(max_examples=80)
@given(st.text(st.sampled_from("ab क्ा😀👍🏽\u200d"), min_size=1, max_size=20), st.data())
def test_an_accepted_draft_reads_back_as_the_same(text: str, data: st.DataObject) -> None:
    places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4, unique=True)))
    entities = tuple(
        {"entity": f"e{a}", "start": a, "end": b, "value": text[a:b]}
        for a, b in zip(places[::2], places[1::2], strict=False)
        if text[a:b].strip() == text[a:b]
    )
    marked = MarkedUtterance(intent="track", entities=entities, language="hi")
    assert to_utterance(to_result(text, marked, score=0.5), text) == marked


@pytest.mark.parametrize(
    ("start", "end", "stated", "expected"),
    [
        (9, 11, "77", (8, 10)),  # UTF-16 units
        (8, 10, "77", (8, 10)),
        (7, 11, " 77 ", (8, 10)),
        (2, 7, "ऑर्डर", (2, 7)),
        (8, 99, None, None),
        (-1, 3, None, None),
        (True, 3, None, None),
        (1, 2, " ", None),
    ],
)
def test_a_span_is_found_whoever_counted(start: Any, end: Any, stated: Any, expected: Any) -> None:
    assert span("😀 ऑर्डर 77 कहाँ", start, end, stated) == expected


def test_choices_comments_and_faults_are_read() -> None:
    result = [
        {"type": "choices", "from_name": "intent", "value": {"choices": ["cancel"]}},
        {"type": "choices", "from_name": "verdict", "value": {"choices": ["unusable"]}},
        {"type": "choices", "from_name": "out_of_scope", "value": {"choices": ["yes"]}},
        {"type": "textarea", "from_name": "comments", "value": {"text": ["half a sentence\u0000"]}},
        {"type": "labels", "from_name": "entities", "value": {"start": 0, "end": 4, "labels": ["a"]}},
        {"type": "labels", "from_name": "entities", "value": {"start": 2, "end": 6, "labels": ["b"]}},
        {"type": "labels", "from_name": "entities", "value": {"start": 2, "end": 600, "labels": ["b"]}},
        {"type": "labels"}, None,
    ]  # fmt: skip
    found = to_utterance(result, "where is it")
    assert (found.intent, found.verdict, found.out_of_scope, found.comments) == (
        "cancel", "unusable", True, "half a sentence",
    )  # fmt: skip
    assert [each["entity"] for each in found.entities] == ["a"]
    assert len(found.problems) == 4


def test_the_digest_is_of_what_is_learnt() -> None:
    one = [{"entity": "a", "start": 0, "end": 1}]
    assert digest("x", "i", one, "hi") == digest("x", "i", [{**one[0], "value": "x"}], "hi")
    assert len({digest("x", "i", one, "hi"), digest("x", "j", one, "hi"), digest("x", "i", [], "hi")}) == 3
