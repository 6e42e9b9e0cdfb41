"""Offsets are of the text as given: code points for us, UTF-16 units in a browser, whole characters for people."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_backend.nlu import utterance_text

FAMILY = "👨‍👩‍👧"


@pytest.mark.parametrize(
    ("text", "given", "span"),
    [
        ("red saree, please", (4, 10), "saree"),
        ("(saree)", (0, 7), "saree"),
        ("मेरी साड़ी।", (5, 10), "साड़ी"),
        ("साड़ी", (0, 2), "सा"),
        ("साड़ी", (3, 4), "ड़ी"),  # ड, the dot below, the vowel sign
        ("स्त्री", (0, 1), "स्त्री"),  # a conjunct is one character
        ("किताब", (0, 1), "कि"),
        (f"ok {FAMILY} ok", (3, 4), FAMILY),
        ("👍🏽 yes", (0, 1), "👍🏽"),
        ("go 🇮🇳🇫🇷 now", (4, 5), "🇮🇳"),
        ("go 🇮🇳🇫🇷 now", (5, 6), "🇫🇷"),
        ("cafe\u0301 open", (0, 4), "cafe\u0301"),
        ("  ", (0, 2), ""),
        ("abc", (-5, 99), "abc"),
        ("", (0, 5), ""),
    ],
)
def test_a_span_is_whole_characters_without_punctuation_at_its_edges(text, given, span):
    start, end = utterance_text.whole_span(text, *given)
    assert text[start:end] == span


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("<b>cancel</b> it", "   cancel     it"),
        ('<a href="x">mera order</a>', "            mera order    "),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("a&nbsp;b &amp; c", "a      b       c"),
        ("order\x00\ufeffKA12\u200b3", "order  KA12 3"),
        ("क्\u200dष", "क्\u200dष"),  # a joiner inside a conjunct is spelling
        ("half \ud83d here", "half \ufffd here"),
    ],
)
def test_markup_and_invisible_characters_are_spaces_of_the_same_length(text, seen):
    assert utterance_text.readable(text) == seen


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_offsets_survive_every_text(text):
    assert len(utterance_text.readable(text)) == len(text)
    for offset in range(len(text) + 1):
        units = utterance_text.utf16_offset(text, offset)
        assert units == len(text[:offset].encode("utf-16-le", "surrogatepass")) // 2
        assert utterance_text.code_point_offset(text, units) == offset
        start, end = utterance_text.whole_span(text, offset, offset + 2)
        assert 0 <= start <= end <= len(text)


def test_an_offset_inside_a_surrogate_pair_is_that_of_its_character():
    assert [utterance_text.code_point_offset("a😀b", units) for units in range(5)] == [0, 1, 1, 2, 3]
