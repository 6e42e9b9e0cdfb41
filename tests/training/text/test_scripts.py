"""Script-neutral: the other script costs nothing, another word costs what it always costs."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.text import cases
from training.scoring.error_counts import count
from training.text import hinglish, scripts, spellings
from training.text.readings import NORMALISERS, SCRIPT_NEUTRAL, indic, pair, script_neutral, script_neutral_1
from training.text.scripts import align, same_word
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


LETTERS = st.lists(st.sampled_from("abcAB"), max_size=24)


def _by_the_whole_table(expected: list[str], heard: list[str]) -> list[tuple[int, int]]:
    """The alignment with the fewest edits, from all pairs of places."""
    costs = [list(range(len(heard) + 1))]
    for i, word in enumerate(expected):
        row = [i + 1]
        for j, other in enumerate(heard):
            replaced = costs[-1][j] + (word.lower() != other.lower())
            row.append(min(replaced, costs[-1][j + 1] + 1, row[j] + 1))
        costs.append(row)
    found, i, j = [], len(expected), len(heard)
    while i and j:
        equal = expected[i - 1].lower() == heard[j - 1].lower()
        if costs[i][j] == costs[i - 1][j - 1] + (not equal):
            i, j = i - 1, j - 1
            found += [(i, j)] * equal
        elif costs[i][j] == costs[i - 1][j] + 1:
            i -= 1
        else:
            j -= 1
    return found


@given(LETTERS, LETTERS)
def test_the_band_around_the_diagonal_gives_the_alignment_of_the_whole_table(
    expected: list[str], heard: list[str]
) -> None:
    found = align(expected, heard, (expected, heard), lambda one, other: one.lower() == other.lower())
    assert found == _by_the_whole_table(expected, heard)


def test_long_texts_that_are_nearly_equal_are_compared_in_proportion_to_their_length() -> None:
    compared: dict[int, int] = {}
    for length in (500, 2000):
        expected = [f"w{number}" for number in range(length)]
        heard = [*expected[:50], "other", *expected[53:]]
        pairs: list[tuple[str, str]] = []
        align(expected, heard, (expected, heard), lambda *pair, pairs=pairs: bool(pairs.append(pair)))
        compared[length] = len(pairs)
    assert compared[2000] < 5 * compared[500]


def test_a_word_that_nobody_says_costs_what_its_letters_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte without a space: no pattern is made of it, and no letter looks at all that came before."""

    def refuse(word: str) -> None:
        raise AssertionError(f"a pattern of {len(word)} letters")

    long = "क" * 1_000_000
    assert len(scripts.letters(long)) == 2_000_000 - 1
    monkeypatch.setattr(scripts, "_pattern", refuse)
    assert not scripts.same_word(long, "k" * 1_000_000)
