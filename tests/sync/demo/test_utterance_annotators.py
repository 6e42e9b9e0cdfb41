"""The people of `learn` who correct utterances: right as a rule, slipping as people do, and the same each time."""

from __future__ import annotations

from typing import Any

from ml_backend.labelling import labelconfig
from ml_backend.labelling.utterance_marks import MarkedUtterance, to_result, to_utterance
from sync.demo import utterance_annotators as team
from sync.demo.simulated_annotators import LEFT, WRITTEN
from training.demo_intents import intent_corpus

SAID = intent_corpus.utterances("clinic", seed=3, human=4, auto=0)
LABELS = {
    "intents": sorted({each.intent for each in SAID}),
    "entities": sorted({mark["entity"] for each in SAID for mark in each.entities}),
}
CONTROLS = labelconfig.parse(labelconfig.read("nlu", ["en", "hi", "mr"], labels=LABELS))
DRAFT = {"id": 7, "result": to_result("x", MarkedUtterance(intent=LABELS["intents"][0]))}


def worked(draft: dict[str, Any]) -> list[tuple[Any, dict[str, Any], str]]:
    return [(each, *team.work(each, draft, CONTROLS)) for each in SAID]


def test_what_they_write_is_what_was_meant_but_for_a_few_slips() -> None:
    slips = short = marks = 0
    for said, body, what in worked({}):
        read = to_utterance(body["result"], said.text)
        assert what == WRITTEN
        assert not read.problems
        assert (read.verdict, read.language is not None) == ("corrected", True)
        slips += read.intent != said.intent
        marks += len(said.entities)
        short += sum(mark not in said.entities for mark in read.entities)
    assert 0 < slips < len(SAID) / 12
    assert short < marks / 12


def test_now_and_then_a_draft_is_submitted_unread_and_a_right_one_is_confirmed() -> None:
    found = worked(DRAFT)
    left = [body for _, body, what in found if what == LEFT]
    assert 0 < len(left) < len(SAID) / 8
    assert all(body["result"] == DRAFT["result"] for body in left)
    assert all(body["parent_prediction"] == 7 for _, body, _ in found)
    said, body, _ = worked({})[0]
    without_verdict = [item for item in body["result"] if item["from_name"] != "verdict"]
    again, what = team.work(said, {"id": 8, "result": without_verdict}, CONTROLS)
    assert what in (team.CONFIRMED, LEFT)
    assert to_utterance(again["result"], said.text).verdict in ("right", None)


def test_the_same_utterance_is_worked_on_in_the_same_way_after_an_interruption() -> None:
    assert worked(DRAFT) == worked(DRAFT)
