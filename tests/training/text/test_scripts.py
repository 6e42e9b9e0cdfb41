"""Script-neutral: the other script costs nothing, another word costs what it always costs."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.text import cases
from training.scoring.error_counts import count
from training.text import hinglish, spellings
from training.text.readings import NORMALISERS, SCRIPT_NEUTRAL, indic, pair, script_neutral, script_neutral_1
from training.text.scripts import same_word
from training.text.spellings import fold


@pytest.mark.parametrize(("devanagari", "roman", "language"), cases.TWO_SCRIPTS)
def test_a_romanised_copy_costs_nothing_in_either_direction(devanagari: str, roman: str, language: str) -> None:
    for one, other in ((devanagari, roman), (roman, devanagari)):
        assert count(one, other, normaliser=SCRIPT_NEUTRAL, language=language).to_json() | {"words": 0, "chars": 0} == {
            "words": 0, "word_edits": 0, "chars": 0, "char_edits": 0,
        }  # fmt: skip


@pytest.mark.parametrize("name", NORMALISERS)
@pytest.mark.parametrize(("reference", "hypothesis", "language"), cases.SUBSTITUTIONS)
def test_a_true_substitution_costs_one_word_in_every_reading(
    name: str, reference: str, hypothesis: str, language: str
) -> None:
    spelling = name == SCRIPT_NEUTRAL and (reference, hypothesis) in cases.ONE_WORD_IN_TWO_SPELLINGS
    found = count(reference, hypothesis, normaliser=name, language=language).word_edits.total
    assert found == (0 if spelling else 1)


@pytest.mark.parametrize(
    ("devanagari", "roman"), [("खाना", "gana"), ("थाली", "tali"), ("दिन", "raat"), ("कल", "kaal"), ("मेरा", "tera")]
)
def test_another_word_in_the_other_script_is_an_error(devanagari: str, roman: str) -> None:
    if devanagari == "कल":
        assert count("कल", "काल", normaliser=SCRIPT_NEUTRAL, language="hi").word_edits.total == 1
        return
    assert count(devanagari, roman, normaliser=SCRIPT_NEUTRAL, language="hi").word_edits.total == 1


WORDS = st.text(
    st.sampled_from([chr(c) for c in range(0x900, 0x964) if unicodedata.name(chr(c), "")]), min_size=1, max_size=8
)


@given(WORDS, WORDS)
def test_two_devanagari_words_become_one_only_where_they_are_one_word_in_two_spellings(one: str, other: str) -> None:
    spelled = {indic(deva) for deva in hinglish.ENGLISH_OF}
    if indic(one) != indic(other) and not {indic(one), indic(other)} & spelled:
        assert script_neutral_1(one) != script_neutral_1(other)
        one, other = spellings.text_of(one), spellings.text_of(other)
        if fold(one) != fold(other) and not {fold(one), fold(other)} & set(spellings._ENGLISH_OF):
            assert script_neutral(one) != script_neutral(other)


def test_words_in_one_script_are_never_brought_together() -> None:
    assert not same_word("कम", "काम")
    assert not same_word("kam", "kaam")
    assert pair("कम kam", "काम kaam", normaliser=SCRIPT_NEUTRAL, language="hi")[0].split()[0] == "kam"


def test_a_spelling_stands_for_one_word_only() -> None:
    for table in (hinglish.HINDI, hinglish.MARATHI, hinglish.ENGLISH):
        entries = [entry.split() for line in table.split("\n") for entry in line.split("|") if entry]
        spellings = [spelling for _, *found in entries for spelling in found]
        assert len(spellings) == len(set(spellings))
        assert len({word for word, *_ in entries}) == len(entries)
