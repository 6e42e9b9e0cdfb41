"""Where turns begin and end, and what of their text is given out: without a model."""

from __future__ import annotations

import numpy as np
import pytest

from ml_backend.api.realtime.stable_text import StableText
from ml_backend.api.realtime.turn import STEP_S, Turn
from ml_backend.api.realtime.turn_detection import TurnDetector, TurnSettings, fair_cut
from ml_backend.asr.transcript import Segment, Transcript, Word


def transcript(text: str, *, each_s: float = 0.4, from_s: float = 0.0, language: str = "en") -> Transcript:
    words = tuple(
        Word(from_s + n * each_s, from_s + (n + 1) * each_s, word, 0.9) for n, word in enumerate(text.split())
    )
    segment = Segment(0.0, len(words) * each_s, text, words=words)
    return Transcript((segment,), language, 1.0, 9.0, 0.9, "v")


def test_a_word_is_given_out_when_two_transcripts_agree_and_a_second_has_followed() -> None:
    text = StableText()
    assert text.grown(transcript("the wall clock"), from_s=0, until_s=9) == ""
    assert text.unstable_text == "the wall clock"
    assert text.grown(transcript("The wall, flower is"), from_s=0, until_s=9) == "The wall,"
    assert text.grown(transcript("the wall clock is"), from_s=0, until_s=9) == ""
    assert text.grown(transcript("the wall clock is broken"), from_s=0, until_s=1.3) == " clock"
    assert text.unstable_text == "is broken"


@pytest.mark.parametrize(
    ("final", "from_s", "whole"),
    [
        ("the wall clock is broken", 0.0, "the wall clock is broken"),
        ("a wall clock is broken", 0.0, "the wall clock is broken"),  # what was sent stays
        ("wall clock is broken", 0.4, "the wall clock is broken"),
        ("in the wall clock is broken", -0.4, "the wall clock is broken"),
        ("the wall", 0.0, "the wall clock"),
        ("", 0.0, "the wall clock"),
    ],
)
def test_the_final_text_begins_with_what_was_given_out_and_repeats_nothing(
    final: str, from_s: float, whole: str
) -> None:
    text, sent = StableText(), ""
    for _ in range(2):
        sent += text.grown(transcript("the wall clock"), from_s=0, until_s=9)
    assert sent == "the wall clock"
    sent += text.ended(transcript(final, from_s=from_s), from_s=0)
    assert sent == text.text == whole


def test_a_language_without_spaces_gets_none() -> None:
    text = StableText()
    for _ in range(2):
        text.grown(transcript("壁 時計", language="ja"), from_s=0, until_s=9)
    assert text.text == "壁時計"


def steps(detector: TurnDetector, *probabilities: float) -> list[str]:
    return [found for found in (detector.step(one) for one in probabilities) if found]


def test_a_click_begins_no_turn_a_word_does_and_silence_ends_it() -> None:
    detector = TurnDetector(TurnSettings(silence_duration_ms=320))
    assert steps(detector, 0.9, 0.9, 0.01, 0.9, 0.01) == []
    assert steps(detector, *[0.35] * 10, 0.01) == []  # uncertain, and less than half a second
    assert steps(detector, 0.4, 0.9, 0.9) == ["begins"]
    assert steps(detector, *[0.01] * 9, 0.9, *[0.01] * 9) == []
    assert steps(detector, 0.01) == ["ends"]
    assert steps(detector, *[0.35] * 16) == ["begins"]  # a quiet voice, for long


def test_steps_in_which_the_probability_falls_count_as_silence() -> None:
    detector = TurnDetector(TurnSettings(silence_duration_ms=320))
    steps(detector, *[0.9] * 5)
    assert steps(detector, 0.4, 0.3, 0.2, 0.1, *[0.01] * 6) == ["ends"]


def test_the_threshold_is_the_clients() -> None:
    assert steps(TurnDetector(TurnSettings(threshold=0.7)), *[0.6] * 40) == []
    assert steps(TurnDetector(TurnSettings(threshold=0.5)), *[0.6] * 40) == ["begins"]


def test_a_turn_is_cut_at_its_quietest_place_and_loses_nothing() -> None:
    turn = Turn("one", has_speech=True)
    for number in range(100):
        turn.append(np.full(512, number, np.float32), 0.2 if number in (10, 84, 85) else 0.9, is_speech=True)
    at = fair_cut(turn.probabilities, 60)
    assert at in (84, 85)
    rest = turn.cut(at, "two")
    assert [int(block[0]) for block in (*turn.blocks, *rest.blocks)] == list(range(100))
    assert (turn.last_speech, rest.last_speech) == (at, 100 - at)


def test_a_long_turn_is_transcribed_from_between_two_stable_words_on() -> None:
    turn = Turn("one", has_speech=True)
    for number in range(400):
        turn.append(np.zeros(512, np.float32), 0.1 if number == 250 else 0.9, is_speech=True)
    turn.transcribed_to = 400
    said = transcript(" ".join("abcdefghijklmnopqrstuvwxyz"))
    for _ in range(2):
        turn.text.grown(said, from_s=0, until_s=99)
    turn.shorten(most_s=20)
    assert turn.transcribed_from == 0
    turn.shorten(most_s=6)
    assert turn.transcribed_from == 250
    assert abs(250 * STEP_S - 8.0) < 0.01  # where t ends
    assert turn.text.grown(transcript("u v"), from_s=250 * STEP_S, until_s=99) == ""
