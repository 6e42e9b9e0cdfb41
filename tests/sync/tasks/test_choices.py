"""Which pieces are worth an annotator's time: pure decisions, repeatable draws, honest probabilities."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.settings import Settings
from ml_backend.usefulness.task_worth import WorthFacts, worth_of
from ml_backend.usefulness.team_model import PRIOR
from sync.tasks.choices import PieceFacts, Policy, choose, choose_by_hand, draw, policy_of

POLICY = Policy(audit_share=0.2, blind_share=0.5)
CLEAR_AND_UNSURE = {"quality": 0.9, "confidence": 0.5}
CLEAR_AND_SURE = {"quality": 0.9, "confidence": 0.97}
NOISY = {"quality": 0.3, "confidence": 0.4}

shares = st.floats(0, 1)
facts = st.builds(PieceFacts, name=st.text(max_size=20), quality=shares, confidence=shares, speech=st.booleans())


def choices(policy: Policy, count: int = 4000, *, speech: bool = True, **known: Any):
    return [choose(policy, PieceFacts(f"call {n}", speech=speech, **known)) for n in range(count)]


def known_piece(confidence: float) -> PieceFacts:
    worth = worth_of(PRIOR, WorthFacts("hi", confidence, ("namaste",) * 12, 8.0))
    return PieceFacts("call", 0.9, confidence, True, worth)


def shares_of(chosen):
    counted = Counter(choice.reason for choice in chosen)
    return {reason: number / len(chosen) for reason, number in counted.items()}


@given(facts)
def test_repeating_a_decision_changes_nothing(known: PieceFacts) -> None:
    assert choose(POLICY, known) == choose(POLICY, known)


@given(facts, st.builds(Policy, audit_share=shares, blind_share=shares, min_quality=shares, max_confidence=shares))
def test_every_decision_has_a_sentence_and_what_is_selected_a_probability(known: PieceFacts, policy: Policy) -> None:
    choice = choose(policy, known)
    assert choice.sentence.endswith(".")
    assert 0 <= choice.usefulness <= 1
    if choice.reason is not None:
        assert 0 < choice.probability <= 1
    assert choice.blind == (choice.reason == "blind")


def test_clear_calls_the_model_is_unsure_of_go_to_review() -> None:
    found = shares_of(choices(POLICY, **CLEAR_AND_UNSURE))
    assert set(found) == {"review", "blind"}
    assert found["blind"] == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("known", [CLEAR_AND_SURE, NOISY])
def test_of_all_other_calls_with_speech_the_audit_share_is_taken_and_half_of_it_blind(known: dict[str, float]) -> None:
    found = shares_of(choices(POLICY, **known))
    assert found["audit"] == pytest.approx(0.1, abs=0.02)
    assert found["blind"] == pytest.approx(0.1, abs=0.02)
    assert found[None] == pytest.approx(0.8, abs=0.02)


def test_the_blind_sample_is_the_same_share_of_every_kind_of_call() -> None:
    for known in (CLEAR_AND_UNSURE, CLEAR_AND_SURE, NOISY):
        blind = {n for n, choice in enumerate(choices(POLICY, **known)) if choice.blind}
        assert blind == {n for n, choice in enumerate(choices(POLICY, **NOISY)) if choice.blind}


def test_weights_by_the_stored_probability_count_all_calls_again() -> None:
    count = 20_000
    for known in (CLEAR_AND_UNSURE, CLEAR_AND_SURE):
        blind = [choice for choice in choices(POLICY, count, **known) if choice.reason == "blind"]
        assert sum(1 / choice.probability for choice in blind) == pytest.approx(count, rel=0.05)
    audit = [choice for choice in choices(POLICY, count, **NOISY) if choice.reason == "audit"]
    assert sum(1 / choice.probability for choice in audit) == pytest.approx(count, rel=0.05)


def test_calls_without_speech_are_never_selected_and_say_so() -> None:
    assert {(c.reason, c.code) for c in choices(POLICY, speech=False, quality=0.0, confidence=0.0)} == {
        (None, "no-speech")
    }


@pytest.mark.parametrize(
    ("known", "code", "word"), [(NOISY, "low-quality", "hear"), (CLEAR_AND_SURE, "confident", "sure")]
)
def test_a_kept_call_says_why_with_its_numbers(known: dict[str, float], code: str, word: str) -> None:
    kept = next(choice for choice in choices(POLICY, **known) if choice.reason is None)
    assert kept.code == code
    assert word in kept.sentence
    assert f"{known['quality' if code == 'low-quality' else 'confidence']:.2f}" in kept.sentence


def test_a_project_may_review_everything_also_silence() -> None:
    everything = Policy(review="all", audit_share=0)
    for known in (CLEAR_AND_UNSURE, CLEAR_AND_SURE, NOISY):
        assert {(c.reason, c.probability) for c in choices(everything, 200, **known)} == {("all", 1.0)}
    assert {c.reason for c in choices(everything, 50, speech=False, quality=0.0, confidence=0.0)} == {"all"}


def test_the_less_sure_the_model_the_more_useful_is_the_review() -> None:
    unsure, surer = (choose(Policy(audit_share=0), known_piece(confidence)) for confidence in (0.2, 0.8))
    assert unsure.usefulness > surer.usefulness


def test_the_order_of_blind_tasks_does_not_depend_on_what_is_in_them() -> None:
    def order(known: dict[str, float]) -> list[float]:
        worth = known_piece(known["confidence"]).worth
        return [choice.usefulness for choice in choices(POLICY, **known, worth=worth) if choice.blind]

    assert order(NOISY) == order(CLEAR_AND_SURE)
    assert min(order(NOISY)) >= 0.5


def test_the_overlap_share_goes_to_two_annotators() -> None:
    chosen = choices(Policy(overlap_share=0.05), 20_000, **CLEAR_AND_UNSURE)
    assert sum(choice.overlap == 2 for choice in chosen) / len(chosen) == pytest.approx(0.05, abs=0.01)
    assert {choice.overlap for choice in chosen} == {1, 2}


def test_draws_for_different_purposes_are_independent() -> None:
    both = [(draw(f"call {n}", "audit") < 0.5, draw(f"call {n}", "overlap") < 0.5) for n in range(4000)]
    assert Counter(both)[True, True] / 4000 == pytest.approx(0.25, abs=0.03)


def test_of_recordings_added_by_hand_the_asked_share_is_drawn_to_be_written_without_a_draft() -> None:
    chosen = [choose_by_hand(f"call {n}", 0.2) for n in range(4000)]
    assert shares_of(chosen)["blind"] == pytest.approx(0.2, abs=0.03)
    assert {(choice.reason, choice.blind, choice.probability) for choice in chosen} == {
        ("blind", True, 0.2), ("by-hand", False, 0.8)
    }  # fmt: skip
    assert {choose_by_hand(f"call {n}", 0.0).blind for n in range(100)} == {False}
    assert {choose_by_hand(f"call {n}", 1.0).blind for n in range(100)} == {True}


def test_a_projects_own_values_go_before_the_settings() -> None:
    settings = Settings(_env_file=None, audit_share=0.1, max_open_tasks=7)
    assert policy_of(None, settings).audit_share == 0.1
    own = policy_of({"review": "all", "audit_share": 0.5, "max_open": 3}, settings)
    assert (own.review, own.audit_share, own.max_open) == ("all", 0.5, 3)


def test_values_of_a_project_that_make_no_sense_are_left_aside() -> None:
    settings = Settings(_env_file=None)
    wrong = {"review": "never", "audit_share": 7, "min_quality": "high", "max_open": 0, "blind_share": True}
    assert policy_of(wrong, settings) == policy_of({}, settings)


def test_what_nothing_was_heard_in_comes_after_what_can_be_corrected() -> None:
    everything = Policy(review="all", audit_share=0)
    heard, silent = choose(everything, known_piece(0.05)), choose(everything, PieceFacts("call", 0.9, 0.0, True))
    assert heard.usefulness > silent.usefulness == 0.0
    assert choose(everything, PieceFacts("call", 0.9, 0.0, False)).usefulness == 0.0
