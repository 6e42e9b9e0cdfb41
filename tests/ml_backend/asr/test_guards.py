"""Text that nobody can have spoken is dropped, doubtful text is marked, and neither is ever confident."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.asr import guards
from ml_backend.asr.guards import Evidence

GOOD = {
    "avg_logprob": -0.2,
    "no_speech_probability": 0.01,
    "speech_probability": 0.9,
    "duration_s": 5.0,
    "level_dbfs": -25,
}


def evidence(text: str, **changes: float) -> Evidence:
    return Evidence(text=text, **{**GOOD, **changes})


@pytest.mark.parametrize(
    "text",
    [
        "Hello, I want to order milk.",
        "हाँ हाँ हाँ",
        "haan haan haan theek hai",
        "no no no",
        "hello hello, can you hear me",
    ],
)
def test_ordinary_speech_passes(text):
    verdict = guards.judge(evidence(text))
    assert (verdict.empty, verdict.flags) == (False, ())


@pytest.mark.parametrize(
    ("text", "changes", "flag"),
    [
        ("Thank you for watching.", {"level_dbfs": -75.0, "avg_logprob": -0.8}, "quiet"),
        ("Thank you for watching.", {"level_dbfs": -75.0, "speech_probability": 0.4}, "quiet"),
        ("Thank you for watching.", {"no_speech_probability": 0.9, "avg_logprob": -1.4}, "no-speech"),
        ("thank you " * 30, {}, "repetition"),
        (
            "so we went there and then they said that this was not what we had asked for at all",
            {"duration_s": 1.0},
            "rate",
        ),
        ("something said", {"speech_probability": 0.2, "avg_logprob": -1.3}, "hardly-speech"),
    ],
)
def test_invented_text_is_dropped_with_its_reason(text, changes, flag):
    verdict = guards.judge(evidence(text, **changes))
    assert verdict.empty
    assert flag in verdict.flags


@pytest.mark.parametrize(
    ("text", "changes", "flag"),
    [
        ("ok ok ok ok ok so what", {}, "repetition"),
        ("one two three four five six seven eight", {"duration_s": 1.0}, "rate"),
        ("order the milk", {"avg_logprob": -1.2}, "improbable"),
        ("order the milk", {"no_speech_probability": 0.8}, "no-speech"),
        ("order the milk", {"speech_probability": 0.3}, "hardly-speech"),
        ("order the milk", {"level_dbfs": -75.0}, "quiet"),
    ],
)
def test_doubtful_text_is_kept_and_marked(text, changes, flag):
    verdict = guards.judge(evidence(text, **changes))
    assert not verdict.empty
    assert flag in verdict.flags


FLAGS = st.sampled_from([(), ("rate",), ("repetition", "rate")])


@given(st.lists(st.floats(0, 1), max_size=20), st.floats(-20, 0), FLAGS)
def test_confidence_is_between_0_and_1_and_a_flag_caps_it(tokens, logprob, flags):
    for value in (guards.confidence(tokens, flags), guards.window_confidence(logprob, tokens, flags)):
        assert 0 <= value <= 1
        if flags:
            assert value <= guards.FLAGGED_CONFIDENCE


@given(st.lists(st.floats(0, 1), min_size=3, max_size=20), st.floats(0, 1))
def test_one_more_token_never_makes_a_segment_more_confident(tokens, another):
    assert guards.confidence([*tokens, another], ()) <= guards.confidence(tokens, ()) + 1e-9


def test_one_weak_word_is_seen_however_long_the_segment_is():
    assert guards.confidence([0.99] * 30 + [0.1], ()) < 0.75 < guards.confidence([0.99] * 31, ())


@given(st.floats(-5, 0), st.floats(-5, 0), st.lists(st.floats(0.1, 1), min_size=1, max_size=5))
def test_a_version_older_than_the_formula_keeps_the_one_its_stored_values_have(one, other, words):
    low, high = sorted((one, other))
    assert guards.window_confidence(low, words, ()) <= guards.window_confidence(high, words, ())


@given(st.text(alphabet="abc ", max_size=60))
def test_repetition_counts_what_is_there(text):
    words = text.split()
    share, repeats = guards.repetition(words)
    assert 0 <= share <= 1
    assert repeats >= 1
    if repeats > 1:
        spread = " ".join(words)
        assert any(
            " ".join(words[i : i + n] * repeats) in spread for n in range(1, 9) for i in range(len(words) - n + 1)
        )


def test_the_quality_test_is_whispers():
    assert guards.failed("fine words here", -1.5, 0.1)
    assert not guards.failed("fine words here", -1.5, 0.9)  # silence: nothing to try again for
    assert guards.failed("again " * 60, -0.1, 0.1)
    assert not guards.failed("fine words here", -0.5, 0.1)
