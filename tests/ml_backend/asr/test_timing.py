"""Words are in the phrase where they were said, at times that fit the speech; what no word covers is found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.asr import timing
from ml_backend.asr.transcript import Word
from ml_backend.asr.windows import RATE_HZ, Stretch, Window


def stretch(
    start_s: float, end_s: float, *, pauses: tuple[tuple[float, float], ...] = (), sure: float = 0.9
) -> Stretch:
    """Speech from 0.3 s after the start to 0.3 s before the end."""
    start, end = int(start_s * RATE_HZ), int(end_s * RATE_HZ)
    inside = tuple((int(stop * RATE_HZ), int(resume * RATE_HZ)) for stop, resume in pauses)
    return Stretch(start, end, sure, start + 4800, end - 4800, inside)


def words(*said: tuple[float, float, str]) -> list[Word]:
    return [Word(start_s, end_s, f" {text}", 0.9) for start_s, end_s, text in said]


def texts(window: Window, found: list[Word]) -> list[str]:
    return ["".join(word.text for word in one.words).strip() for one in timing.by_phrase(found, window)]


PACKED = Window(0, (stretch(10, 13), stretch(20, 23)))  # 0 to 3 s and 3 to 6 s of the window


def test_a_first_word_that_alignment_begins_in_the_stretch_before_is_put_where_it_ends():
    found = words((0.3, 0.9, "Wednesday"), (0.9, 3.9, "agent"), (3.9, 4.3, "logged"), (4.3, 5.6, "off"))
    assert texts(PACKED, found) == ["Wednesday", "agent logged off"]
    [_, second] = timing.by_phrase(found, PACKED)
    assert PACKED.in_recording_s(second.words[0].start_s, second.phrase.piece) == pytest.approx(20.3, abs=0.25)


def test_a_last_word_that_reaches_to_the_next_onset_stays_in_its_stretch():
    found = words((0.3, 0.9, "press"), (0.9, 1.6, "the"), (2.2, 3.35, "pound"), (3.35, 3.8, "agent"), (3.8, 4.2, "on"))
    assert texts(PACKED, found) == ["press the pound", "agent on"]


def test_words_in_the_middle_of_a_stretch_keep_their_times():
    found = words((0.3, 0.8, "please"), (0.8, 1.2, "try"), (1.2, 1.6, "again"))
    [one] = timing.by_phrase(found, PACKED)
    assert one.words == tuple(found)


def test_a_first_word_that_takes_a_pause_inside_a_stretch_begins_after_it():
    window = Window(0, (stretch(0, 6, pauses=((1.5, 3.5),)),))
    found = words((0.4, 0.8, "thank"), (0.8, 1.3, "you."), (1.8, 4.1, "Press"), (4.1, 4.4, "one"))
    assert texts(window, found) == ["thank you.", "Press one"]
    [_, second] = timing.by_phrase(found, window)
    assert second.words[0].start_s >= 3.2


@given(
    st.lists(st.tuples(st.floats(0, 6), st.floats(0, 6), st.text("abcde", min_size=1, max_size=8)), max_size=20),
    st.lists(st.floats(0.7, 4), min_size=1, max_size=4),
)
def test_no_word_is_lost_doubled_or_put_outside_the_window(said, lengths):
    place, pieces = 0.0, []
    for length in lengths:
        pieces.append(stretch(place, place + length))
        place += length + 3
    window = Window(0, tuple(pieces))
    found = sorted(words(*((min(a, b), max(a, b), text) for a, b, text in said)), key=lambda word: word.start_s)
    told = timing.by_phrase(found, window)
    assert [word.text for one in told for word in one.words] == [word.text for word in found]
    for one in told:
        assert all(one.phrase.start_s <= w.start_s <= w.end_s <= one.phrase.end_s for w in one.words)


def test_speech_that_no_word_covers_is_found_and_breath_is_not():
    window = Window(0, (stretch(0, 3), stretch(10, 20), stretch(30, 33, sure=0.4), stretch(40, 41.2)))
    told = timing.by_phrase(words((0.3, 2.6, "hello"), (3.4, 4.0, "press"), (4.0, 5.0, "one")), window)
    gaps = [(round(start_s, 1), round(end_s, 1)) for _, start_s, end_s in timing.untranscribed(told, window)]
    assert gaps == [(5.0, 12.7)]  # not the uncertain stretch, not half a second of sound


def test_a_stretch_without_a_word_is_found_whole():
    told = timing.by_phrase(words((0.3, 2.6, "hello")), PACKED)
    [(phrase, start_s, end_s)] = timing.untranscribed(told, PACKED)
    assert (phrase.piece, start_s, end_s) == (1, pytest.approx(3.3), pytest.approx(5.7))
