"""Pieces of words become words, and no word goes on over a pause."""

from __future__ import annotations

from ml_backend.asr.transcript import Word
from ml_backend.asr.window_decoding import whole


def pieces(*given: tuple[str, float, float]):
    return [(Word(start, end, text, 0.9), (0.9,)) for text, start, end in given]


def texts(found) -> list[str]:
    return [word.text for word, _ in found]


def test_numbers_said_one_by_one_with_pauses_are_words_of_their_own_at_their_own_places():
    said = pieces((" 15", 0.0, 0.66), (".16", 0.66, 3.28), (".14.", 3.28, 4.72))
    found = whole(said, spaced=True, begins_s=(0.1, 2.5, 4.0))
    assert texts(found) == [" 15.", " 16.", " 14."]
    assert [word.end_s for word, _ in found] == [0.66, 3.28, 4.72]
    assert [tokens for _, tokens in found] == [(0.9,)] * 3


def test_what_is_written_without_a_space_and_said_without_a_pause_is_one_word():
    said = pieces((" 24", 1.0, 1.4), ("/7", 1.4, 2.0), (" 3", 2.0, 2.4), (".5", 2.4, 3.2))
    assert texts(whole(said, spaced=True, begins_s=(0.9,))) == [" 24/7", " 3.5"]


def test_a_mark_that_reaches_into_the_next_phrase_is_no_word():
    assert texts(whole(pieces((" 50", 0.0, 0.6), ("%", 0.6, 2.4)), spaced=True, begins_s=(0.0, 2.0))) == [" 50%"]
