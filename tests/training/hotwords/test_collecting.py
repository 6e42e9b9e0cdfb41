"""Which words come onto the list: wrong in several recordings, hardly ever right; and which forms may be corrected."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from training.hotwords.collecting import Candidate, CorrectedDraft, collect
from training.scoring.alignment import blocks


def collected(*rows: tuple[str, str, int], language: str = "en") -> list[Candidate]:
    pairs = [CorrectedDraft(draft, text, language, recording, f"caller {recording}") for draft, text, recording in rows]
    return collect(lambda: pairs)


def test_a_name_corrected_in_three_recordings_is_listed_with_what_was_heard():
    [found] = collected(
        ("send the blanket today.", "Send the Zylofen today.", 1),
        ("two blanket please", "two Zylofen please", 2),
        ("my siphon is late", "my Zylofen is late", 3),
    )
    assert (found.word, found.seen, found.missed, found.written) == ("Zylofen", 3, 3, 3)
    assert [(form.form, form.times, form.said, form.sure) for form in found.forms] == [
        ("blanket", 2, 2, True), ("siphon", 1, 1, False),
    ]  # fmt: skip


def test_three_corrections_in_one_recording_are_one():
    rows = [("a blanket b", "a Zylofen b", 1)] * 5
    assert collected(*rows) == []


def test_a_word_that_one_caller_alone_says_is_nobody_elses():
    rows = [CorrectedDraft("I am blanket", "I am Zylofen", "en", number, "one caller") for number in range(5)]
    assert collect(lambda: rows) == []
    assert len(collect(lambda: [*rows, CorrectedDraft("I am blanket", "I am Zylofen", "en", 6, "another")])) == 1


def test_a_word_the_model_usually_gets_right_is_not_listed():
    wrong = [("the pillow came", "the mixer came", number) for number in range(3)]
    right = [("the mixer came", "the mixer came", number) for number in range(3, 6)]
    assert collected(*wrong, *right) == []


def test_a_form_that_is_often_right_is_shown_and_never_sure():
    wrong = [("the blanket came", "the Zylofen came", number) for number in range(4)]
    right = [("the blanket tore", "the blanket tore", number) for number in range(4, 8)]
    [found] = collected(*wrong, *right)
    assert [(form.form, form.times, form.said, form.sure) for form in found.forms] == [("blanket", 4, 8, False)]


def test_a_name_heard_as_two_words_keeps_both_as_its_form():
    [found] = collected(*((f"call some sara at {n}", f"call Samsara at {n}", n) for n in range(3)))
    assert [(form.form, form.sure) for form in found.forms] == [("some sara", True)]


def test_case_and_punctuation_are_no_corrections_and_vowel_signs_are():
    assert collected(*(("नमस्ते जी", "नमस्ते, जी।", n) for n in range(3)), language="hi") == []
    [found] = collected(*(("मिला दो", "मीला दो", n) for n in range(3)), language="hi")
    assert found.word == "मीला"


def test_numbers_and_very_short_words_are_no_hotwords():
    assert collected(*(("of two", "to 25", n) for n in range(4))) == []


def test_one_word_typed_in_two_forms_is_one_word():
    [found] = collected(
        ("a cafe b", "a caf\u0065\u0301 b", 1), ("a cafe b", "a caf\u00e9 b", 2), ("a cafe b", "a café b", 3)
    )
    assert (found.word, found.seen) == ("caf\u00e9", 3)


def test_languages_are_counted_apart():
    rows = [
        CorrectedDraft("a blanket", "a Zylofen", language, n, f"{n}") for language in ("en", "hi") for n in range(2)
    ]
    assert collect(lambda: rows) == []


words = st.lists(st.sampled_from("abcde"), max_size=8)


@given(words, words)
def test_blocks_cover_both_sides_in_order_and_take_turns(hypothesis, reference):
    found = blocks(hypothesis, reference)
    assert [one for block in found for one in hypothesis[slice(*block.hypothesis)]] == hypothesis
    assert [one for block in found for one in reference[slice(*block.reference)]] == reference
    assert all(one.same != other.same for one, other in pairwise(found))
    assert all(hypothesis[slice(*b.hypothesis)] == reference[slice(*b.reference)] for b in found if b.same)
