"""What a task is worth: each part of the formula moves it in the right direction, and the reason says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ml_backend.usefulness import team_model
from ml_backend.usefulness.task_worth import WorthFacts, word_key, worth_of
from ml_backend.usefulness.team_model import PRIOR, ErrorCurve, TeamModel, WorkMinutes

WORDS = ("नमस्ते", "ऑर्डर", "कहाँ", "है") * 5
FACTS = WorthFacts("mr", 0.6, WORDS, 10.0, 0.9, {"snr": "5-10 dB"}, 20)
LEARNT = TeamModel(
    errors={"*": ErrorCurve((0.5, 0.8), (0.5, 0.2, 0.05), 300)},
    usable=ErrorCurve((0.3,), (0.1, 0.95), 300),
    worth={"mr": 1.6, "hi": 0.8},
    slices={"snr": {"5-10 dB": 1.4}},
    known_words={"mr": frozenset({"नमस्ते", "ऑर्डर", "कहाँ", "है"})},
)


def test_the_gain_is_what_is_expected_to_be_corrected_over_the_minutes_it_takes() -> None:
    worth = worth_of(LEARNT, replace(FACTS, language="en", slices={}, speaker_tasks=None))
    minutes = 10 / 60 * LEARNT.minutes.with_draft(0.2)
    assert worth.minutes == pytest.approx(minutes)
    assert worth.gain == pytest.approx(20 * 0.2 * 0.95 * 0.9 / minutes)
    assert worth.usefulness == pytest.approx(worth.gain / (worth.gain + LEARNT.typical_gain), abs=1e-4)


@pytest.mark.parametrize(
    "more",
    [
        {"confidence": 0.45},
        {"language": "mr"},
        {"slices": {"snr": "5-10 dB"}},
        {"speaker_tasks": 0},
        {"quality": 1.0},
        {"words": (*WORDS[:-4], *("परतावा", "कूपन", "नवीन", "पत्ता")), "language": "mr"},
    ],
    ids=["unsure", "language", "slice", "new-caller", "clearer", "rare-words"],
)
def test_what_is_annotated_too_little_weighs_more(more: dict[str, object]) -> None:
    plain = replace(FACTS, language="hi", slices={}, speaker_tasks=20, quality=0.9)
    assert worth_of(LEARNT, replace(plain, **more)).gain > 1.05 * worth_of(LEARNT, plain).gain  # type: ignore[arg-type]


def test_what_mostly_ends_without_a_text_is_worth_little_however_unsure_the_model_is() -> None:
    assert worth_of(LEARNT, replace(FACTS, confidence=0.1)).gain < 0.3 * worth_of(LEARNT, FACTS).gain


def test_without_a_draft_the_time_is_that_of_writing() -> None:
    poor = replace(LEARNT, errors={"*": ErrorCurve((), (0.9,), 300)}, minutes=WorkMinutes(1.0, 10.0, 3.0))
    assert worth_of(poor, FACTS).minutes == pytest.approx(10 / 60 * 3.0)


def test_the_reason_is_plain_and_names_what_made_it_useful() -> None:
    assert worth_of(LEARNT, replace(FACTS, speaker_tasks=0)).reason == (
        "About 4 of 20 words may be wrong; correcting takes about 30 seconds; nothing is annotated of this caller; "
        "speech at 5-10 dB above noise is annotated less than its share of calls; an hour of Marathi brings more than "
        "an hour of other languages now."
    )
    assert "because nothing is learnt from corrections yet" in worth_of(PRIOR, FACTS).reason


def test_a_word_is_known_whatever_its_case_and_punctuation() -> None:
    assert word_key("Order,") == "order"
    assert word_key("है।") == "है"


def test_a_stored_model_reads_back_and_a_stranger_is_the_prior() -> None:
    assert team_model.from_json(None) == PRIOR
    assert team_model.from_json({}) == PRIOR
    body = {"errors": {"hi": {"edges": [0.5], "errors": [0.4, 0.1], "corrections": 40}}}
    read = team_model.from_json(body)
    assert (read.expected_error("hi", 0.2), read.expected_error("hi", 0.9)) == (0.4, 0.1)
    assert read.expected_error("mr", 0.7) == pytest.approx(0.3)  # no curve of all languages: the confidence itself
    assert read.is_calibrated("hi")
    assert not read.is_calibrated("mr")
