"""Number-canonical: one number, however it is written, and never another."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.text import cases
from training.text import number_words
from training.text.readings import number_canonical

ALL = [
    *((*case, "hi") for case in cases.NUMBERS_HINDI),
    *((*case, "mr") for case in cases.NUMBERS_MARATHI),
    *((*case, "en") for case in cases.NUMBERS_ENGLISH),
    *((*case, "hi-en") for case in cases.NUMBERS_HINGLISH),
]


@pytest.mark.parametrize(("one", "other", "digits", "language"), ALL)
def test_a_number_is_one_however_it_is_written(one: str, other: str, digits: str, language: str) -> None:
    assert number_canonical(one, language) == digits
    assert number_canonical(other, language) == digits


@pytest.mark.parametrize(("one", "other", "language"), cases.NOT_ONE_NUMBER)
def test_different_numbers_stay_different(one: str, other: str, language: str) -> None:
    assert number_canonical(one, language) != number_canonical(other, language)


@pytest.mark.parametrize(
    ("table", "language"), [(number_words.HINDI, "hi"), (number_words.MARATHI, "mr"), (number_words.ENGLISH, "en")]
)
def test_every_number_word_of_the_tables_gives_its_number(table: str, language: str) -> None:
    seen = set()
    for entry in (entry.split() for line in table.split("\n") for entry in line.split("|") if entry):
        seen.add(int(entry[0]))
        for word in entry[1:]:
            assert number_canonical(f"तो {word} किलो", language) == f"तो {entry[0]} किलो"
    if language != "en":
        assert seen == set(range(100))


@pytest.mark.parametrize("text", ["साढ़े", "मुझे पानी चाहिए", "point", "and", "k", "a", "शे"])
def test_words_that_are_no_numbers_stay_words(text: str) -> None:
    assert number_canonical(text, "hi") == text


def test_english_words_that_look_like_hindi_numbers_stay_words() -> None:
    assert number_canonical("do it for a teen", "hi-en") == "do it for a teen"
    assert number_canonical("do it for a teen", "en") == "do it for a teen"


def _english(n: int) -> str:
    units = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    small = [*units.split(), "seventeen", "eighteen", "nineteen"]
    tens = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
    if n < 20:
        return small[n]
    if n < 100:
        return tens[n // 10] + ("" if n % 10 == 0 else f" {small[n % 10]}")
    for size, name in ((10**7, "crore"), (10**5, "lakh"), (1000, "thousand"), (100, "hundred")):
        if n >= size:
            return f"{_english(n // size)} {name}" + (f" {_english(n % size)}" if n % size else "")
    raise AssertionError


def _devanagari(n: int, table: str, hundred: str, crore: str) -> str:
    words = {int(e.split()[0]): e.split()[1] for line in table.split("\n") for e in line.split("|") if e}
    if n < 100:
        return words[n]
    for size, name in ((10**7, f" {crore}"), (10**5, " लाख"), (1000, " हजार"), (100, hundred)):
        if n >= size:
            rest = f" {_devanagari(n % size, table, hundred, crore)}" if n % size else ""
            return _devanagari(n // size, table, hundred, crore) + name + rest
    raise AssertionError


@given(st.integers(0, 99_99_99_999))
def test_any_number_spelled_out_in_three_languages_is_its_digits(number: int) -> None:
    assert number_canonical(_english(number), "en") == str(number)
    assert number_canonical(_devanagari(number, number_words.HINDI, " सौ", "करोड़"), "hi") == str(number)
    assert number_canonical(_devanagari(number, number_words.MARATHI, "शे", "कोटी"), "mr") == str(number)
    assert number_canonical(f"{number:,}", "en") == str(number)


PARTS = "साढ़े सवा पौने डेढ़ ढाई दो सौ हज़ार लाख पचास 5 2.5 007 point and a half twenty one k शे डबल"


@given(st.lists(st.sampled_from(PARTS.split(" "))))
def test_any_row_of_number_words_is_read(words: list[str]) -> None:
    assert isinstance(number_canonical(" ".join(words), "hi"), str)
