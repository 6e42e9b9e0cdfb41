"""Strict and indic: what is one text, and that no mark is ever lost."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from training.text.readings import NORMALISERS, NUMBER_CANONICAL, SCRIPT_NEUTRAL, indic, strict
from training.text.writing import indic_words

VOWEL_SIGNS = [chr(c) for c in range(0x900, 0x980) if unicodedata.category(chr(c)) in ("Mc", "Mn")]
LETTERS = [chr(c) for c in range(0x905, 0x93A)]
DEVANAGARI = st.text(st.sampled_from(LETTERS + VOWEL_SIGNS + [" ", "\u200c", "\u200d", "।", ","]), max_size=30)
ANY = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)


@given(DEVANAGARI)
def test_no_vowel_sign_and_no_other_mark_disappears(text: str) -> None:
    for read in (strict, indic):
        kept = unicodedata.normalize("NFD", read(text))
        there = unicodedata.normalize("NFD", text)
        assert [kept.count(sign) for sign in VOWEL_SIGNS] >= [there.count(sign) for sign in VOWEL_SIGNS]


@pytest.mark.parametrize("name", NORMALISERS)
@example(word="ए", sign="़")
@given(word=st.text(st.sampled_from(LETTERS), min_size=1, max_size=6), sign=st.sampled_from("ािीुूृेैोौॉॅंःँ़्"))
def test_a_dropped_mark_is_seen_in_every_reading(name: str, word: str, sign: str) -> None:
    read = NORMALISERS[name]
    whole, dropped = read(word + sign + "क", "hi"), read(word + "क", "hi")
    if sign in "\u093c\u0903" and name in (SCRIPT_NEUTRAL, NUMBER_CANONICAL):
        return  # nukta and visarga are left out in accepted spellings
    assert whole != dropped


@pytest.mark.parametrize("name", NORMALISERS)
@given(text=ANY, language=st.sampled_from([None, "hi", "mr", "en", "hi-en", "ta"]))
def test_any_text_is_read_and_single_spaces_part_its_words(name: str, text: str, language: str | None) -> None:
    read = NORMALISERS[name](text, language)
    assert read == " ".join(read.split())


@pytest.mark.parametrize("name", ["strict@1", "indic@1"])
@example(text="\ue000")
@given(text=ANY)
def test_reading_what_was_read_changes_nothing(name: str, text: str) -> None:
    read = NORMALISERS[name]
    assert read(read(text, None), None) == read(text, None)


@pytest.mark.parametrize("name", NORMALISERS)
@given(text=DEVANAGARI)
def test_composed_and_decomposed_letters_are_one(name: str, text: str) -> None:
    read = NORMALISERS[name]
    assert read(unicodedata.normalize("NFD", text), "hi") == read(unicodedata.normalize("NFC", text), "hi")


@pytest.mark.parametrize("name", NORMALISERS)
@pytest.mark.parametrize("empty", ["", "   ", "\n\t", "\u200b", "\ufeff", "\u00a0"])
def test_nothing_is_nothing(name: str, empty: str) -> None:
    assert NORMALISERS[name](empty, "hi") == ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("\u0958लम", "क\u093cलम"),  # qa, composed and not
        ("क्\u200dष", "क्ष"),  # joiners
        ("श्री\u200cमान", "श्रीमान"),
        ("दुसर्\u200dया", "दुसऱ्या"),  # the Marathi eyelash, typed in two ways
        ("नमस्ते।", "नमस्ते"),
        ("नमस्ते॥ जी", "नमस्ते जी"),
        ("Order, please!", "order please"),
        ("don’t", "don't"),
        ("1,25,000", "125000"),
        ("ok…", "ok"),
        ("«हाँ»", "हाँ"),
    ],
)
def test_what_looks_or_sounds_the_same_is_one_indic_text(one: str, other: str) -> None:
    assert indic(one) == indic(other)
    assert indic(one)


@pytest.mark.parametrize(
    ("one", "other"),
    [("दर्या", "दऱ्या"), ("हँस", "हंस"), ("राज", "राज़"), ("की", "कि"), ("3.5", "35"), ("५", "5"), ("₹5", "$5")],
)
def test_what_is_not_the_same_stays_different(one: str, other: str) -> None:
    assert indic(one) != indic(other)


def test_strict_counts_case_punctuation_and_joiners_but_not_white_space() -> None:
    assert strict(" Haan,\u00a0 ji\n") == "Haan, ji"
    assert strict("haan ji") != strict("Haan ji")
    assert strict("क्\u200dष") != strict("क्ष")
    assert strict("\ufeffहाँ\u200b") == "हाँ"


@given(st.lists(st.one_of(ANY, DEVANAGARI), max_size=8))
@example(["1", ",000", "5.", "3", "don'", "t", "a\ue001b", "", "\u0915", "\u093c"])
def test_texts_worked_on_at_once_are_what_each_is_alone(texts: list[str]) -> None:
    assert indic_words(texts) == [indic(text).split() for text in texts]
