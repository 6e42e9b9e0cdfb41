"""Approved corrections change whole words of their own language, and nothing else of a transcript."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.asr.corrections import apply, apply_to_text, fold
from ml_backend.asr.transcript import DecodingProfile, Segment, Transcript, Word

BLENDER = (("en", "blanket", "Zylofen"),)


def heard(text: str, language: str = "en", *, words: bool = True) -> Transcript:
    tokens = text.split()
    timed = tuple(Word(index * 0.5, index * 0.5 + 0.4, token, 0.9) for index, token in enumerate(tokens))
    segment = Segment(0.0, len(tokens) * 0.5, text, confidence=0.8, words=timed if words else ())
    return Transcript((segment,), language, 1.0, len(tokens) * 0.5, 0.8, "m")


@pytest.mark.parametrize("words", [True, False], ids=["with times", "without"])
@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("Send the blanket.", "Send the Zylofen."),
        ("(Blanket), please", "(Zylofen), please"),
        ("two blankets", "two blankets"),
        ("blanket-maker", "blanket-maker"),
        ("blanket blanket", "Zylofen Zylofen"),
    ],
)
def test_only_whole_words_change_and_marks_around_them_stay(said: str, wanted: str, words: bool) -> None:
    assert apply(heard(said, words=words), BLENDER).text == wanted
    assert apply_to_text(said, BLENDER, "en") == wanted


def test_a_form_of_several_words_becomes_one_in_their_time_and_the_longest_form_wins() -> None:
    corrected = apply(heard("ask some sara now"), (("en", "some sara", "Samsara"), ("en", "some", "sum")))
    [segment] = corrected.segments
    assert segment.text == "ask Samsara now"
    assert [(word.text, word.start_s, word.end_s) for word in segment.words][1] == ("Samsara", 0.5, 1.4)


def test_one_word_may_become_two_that_share_its_time() -> None:
    [segment] = apply(heard("go to viman"), (("en", "viman", "Viman Nagar"),)).segments
    assert [(w.text, w.start_s, w.end_s) for w in segment.words[2:]] == [("Viman", 1.0, 1.2), ("Nagar", 1.2, 1.4)]


def test_another_language_is_left_alone() -> None:
    said = heard("blanket", "hi")
    assert apply(said, BLENDER) is said


def test_what_was_corrected_is_not_corrected_again() -> None:
    assert apply(heard("a b"), (("en", "a", "b"), ("en", "b", "c"))).text == "b c"


def test_vowel_signs_tell_forms_apart() -> None:
    assert fold("मिला।") == "मिला"
    assert fold("मिला") != fold("मिल")
    assert apply(heard("मिल गया", "hi"), (("hi", "मिला", "मिली"),)).text == "मिल गया"


@given(st.text(max_size=40))
def test_without_a_form_in_it_a_text_keeps_its_words(text: str) -> None:
    assert apply_to_text(text, (("en", "qqqq qqqq", "x"),), "en").split() == text.split()


def test_learnt_words_and_corrections_make_a_revision_of_decoding_and_without_them_it_is_the_old_one() -> None:
    plain = DecodingProfile(language="hi", hotwords=("Kaan",))
    assert plain.digest() == DecodingProfile("hi", None, ("Kaan",)).digest() == "32b035e3a10ff858"
    learnt = DecodingProfile(language="hi", hotwords=("Kaan",), learnt_words=(("hi", "Zylo"), ("mr", "Pune")))
    corrected = DecodingProfile(language="hi", hotwords=("Kaan",), corrections=(("hi", "a", "b"),))
    assert len({plain.digest(), learnt.digest(), corrected.digest()}) == 3
    assert learnt.words_for("hi") == ("Kaan", "Zylo")
