"""Counts of edits: equal to jiwer's, and they add up."""

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.errors import InvalidInput
from training.scoring.error_counts import ErrorCounts, compare, count, totals
from training.text.readings import NORMALISERS

WORDS = st.lists(st.sampled_from(["मुझे", "काम", "कम", "चाहिए", "order", "कब", "25"]), max_size=12)


@given(WORDS, WORDS)
def test_counts_equal_those_of_jiwer(reference: list[str], hypothesis: list[str]) -> None:
    one, other = " ".join(reference), " ".join(hypothesis)
    ours = compare(one, other)
    assert ours.words == len(reference)
    if not reference:  # jiwer refuses an empty reference: every word is put in
        assert (ours.word_edits.insertions, ours.word_edits.total) == (len(hypothesis), len(hypothesis))
        return
    words = jiwer.process_words(one, other)
    assert ours.word_edits.total == words.substitutions + words.deletions + words.insertions
    assert ours.word_edits.insertions - ours.word_edits.deletions == words.insertions - words.deletions
    chars = jiwer.process_characters(one, other)
    assert ours.char_edits == chars.substitutions + chars.deletions + chars.insertions
    assert ours.chars == len(one)


@given(st.lists(st.tuples(WORDS, WORDS), max_size=6))
def test_counts_of_many_are_the_sum_and_rates_are_pooled(pairs: list[tuple[list[str], list[str]]]) -> None:
    each = [compare(" ".join(one), " ".join(other)) for one, other in pairs]
    total = sum(each, ErrorCounts())
    assert total.words == sum(one.words for one in each)
    assert total.word_edits.total == sum(one.word_edits.total for one in each)
    assert (total.wer is None) == (total.words == 0)
    assert totals((" ".join(one), " ".join(other)) for one, other in pairs) == total.to_json()


def test_an_empty_hypothesis_leaves_out_every_word_and_an_empty_reference_has_no_rate() -> None:
    assert count("दो शब्द", "", normaliser="strict@1").word_edits.deletions == 2
    nothing = count("", "दो शब्द", normaliser="strict@1")
    assert nothing.word_edits.insertions == 2
    assert nothing.wer is None
    assert count("  ", "\n", normaliser="indic@1") == ErrorCounts()


def test_an_unknown_reading_is_told_which_are_known() -> None:
    with pytest.raises(InvalidInput, match="whisper") as caught:
        count("a", "b", normaliser="whisper")
    assert "indic@1" in caught.value.next_step


@given(WORDS, WORDS, st.sampled_from(list(NORMALISERS)))
def test_the_denominator_never_depends_on_what_was_heard(
    reference: list[str], hypothesis: list[str], name: str
) -> None:
    one, other = " ".join(reference), " ".join(hypothesis)
    alone = NORMALISERS[name](one, "hi")
    counts = count(one, other, normaliser=name, language="hi")
    assert (counts.words, counts.chars) == (len(alone.split()), len(alone))


SAID = "ढाई हज़ार सौ दो पचास किलो रुपये साढ़े तीन मुझे twenty five"
NUMBERS = st.lists(st.sampled_from(SAID.split(" ")), min_size=1, max_size=8)


@given(NUMBERS, st.data())
def test_one_wrong_word_never_costs_more_than_one_however_numbers_fall_apart(
    reference: list[str], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(reference) - 1))
    hypothesis = [*reference[:place], "किताब", *reference[place + 1 :]]
    for name in NORMALISERS:
        counts = count(" ".join(reference), " ".join(hypothesis), normaliser=name, language="hi")
        assert counts.word_edits.total == 1
