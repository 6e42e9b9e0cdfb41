"""The team of `learn`: corrects what a draft got wrong, writes blind calls from nothing, and slips as people do."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from ml_backend.labelling import labelconfig, reference
from sync.demo import simulated_annotators as team
from sync.demo.simulated_annotators import SaidPhrase

CALLS = json.loads((Path(__file__).parents[3] / "ml_backend" / "bundled" / "learning" / "calls.json").read_text())
CONTROLS = labelconfig.parse(labelconfig.read("calls"))


def worked(call, draft, *, blind=False):
    return team._work(call, draft, CONTROLS, blind=blind, length_s=float(call["duration_s"]))


def draft_of(call, texts, number=7):
    """A draft with one region for each phrase."""
    items = [
        item
        for at, (phrase, text) in enumerate(zip(call["phrases"], texts, strict=True))
        for item in (
            {"id": f"s{at}", "from_name": "role", "to_name": "audio", "type": "labels",
             "value": {"start": phrase["start_s"], "end": phrase["end_s"], "channel": 0, "labels": ["Speech"]}},
            {"id": f"s{at}", "from_name": "transcription", "to_name": "audio", "type": "textarea",
             "value": {"start": phrase["start_s"], "end": phrase["end_s"], "channel": 0, "text": [text]}},
        )
    ]  # fmt: skip
    return {"id": number, "result": items}


def test_a_corrected_draft_says_what_was_said_but_for_a_few_slips_and_names_the_draft_it_began_with():
    said = slips = 0
    for call in CALLS[:60]:
        body, what = worked(call, draft_of(call, ["something else entirely"] * len(call["phrases"])))
        if what == team.LEFT:
            continue
        assert what == team.CORRECTED
        assert body["parent_prediction"] == 7
        read = reference.to_reference(body["result"], CONTROLS)
        assert not read.problems
        assert read.language == call["language"]
        for region, phrase in zip(read.segments, call["phrases"], strict=True):
            said += len(phrase["text"].split())
            slips += len(set(phrase["text"].split()) - set(region.text.split()))
    assert 0 < slips / said < 0.05


def test_now_and_then_a_draft_is_submitted_as_it_was_after_a_few_seconds():
    found = [worked(call, draft_of(call, ["wrong"] * len(call["phrases"]))) for call in CALLS]
    left = [body for body, what in found if what == team.LEFT]
    assert 0 < len(left) < len(CALLS) / 8
    assert all(body["lead_time"] <= 5 for body in left)
    assert all(reference.to_reference(body["result"], CONTROLS).text.split()[0] == "wrong" for body in left)


def test_a_blind_call_is_written_down_from_nothing_and_never_as_a_draft_has_it():
    for call in CALLS[:30]:
        body, what = worked(call, {}, blind=True)
        assert what == team.WRITTEN
        assert "parent_prediction" not in body
        read = reference.to_reference(body["result"], CONTROLS)
        assert len(read.segments) == len(call["phrases"])


def test_the_same_call_is_worked_on_in_the_same_way_after_an_interruption():
    call = CALLS[0]
    draft = draft_of(call, ["x"] * len(call["phrases"]))
    assert worked(call, draft) == worked(call, draft)


@pytest.mark.parametrize(
    ("stretches", "expected"),
    [
        ([(0.0, 2.1), (2.9, 5.0)], ["one two", "three four"]),
        ([(0.0, 5.0)], ["one two three four"]),  # a draft that made one region of both
        ([(0.0, 2.1)], ["one two", "three four"]),  # a phrase the draft has no region for
        ([(0.0, 2.1), (2.9, 5.0), (7.0, 8.0)], ["one two", "three four"]),  # a region in which nothing is said
        ([], ["one two", "three four"]),
    ],
)
def test_texts_stay_in_the_regions_of_the_draft(stretches, expected):
    phrases = [SaidPhrase(0.1, 2.0, "one two"), SaidPhrase(3.0, 4.8, "three four")]
    assert [one.text for one in team.placed(phrases, stretches)] == expected


def test_a_text_never_becomes_empty():
    assert all(team.with_slips("Yes.", random.Random(seed), 100.0) for seed in range(50))
