"""Number-canonical: one number, however it is written, and never another."""

import hashlib
import random
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.languages import LANGUAGES, OFFERED, ROMAN, scripts_in
from tests.training.text import cases
from training.text import number_words
from training.text.number_lexicon import vocabulary
from training.text.number_words_of_languages import NUMBER_WORDS
from training.text.numeral_words import word_key
from training.text.readings import NUMBER_CANONICAL, NUMBER_CANONICAL_1, indic, normalise, number_canonical

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


TAMIL_AND_BENGALI = [
    ("நூற்று இருபது", "120", "ta"), ("நூற்றி இருபது", "120", "ta"), ("நூற்றிருபது", "120", "ta"),
    ("நூற்றுப்பத்து", "110", "ta"),
    ("இருபத்தைந்து", "25", "ta"), ("இருபத்தி ஐந்து", "25", "ta"), ("இருபத்தியைந்து", "25", "ta"),
    ("இருபத்தி அஞ்சு", "25", "ta"),
    ("தொண்ணூற்றொன்பது", "99", "ta"), ("தொள்ளாயிரத்து ஐம்பது", "950", "ta"), ("ஆயிரத்து இருநூற்று ஐம்பது", "1250", "ta"),
    ("இரண்டாயிரத்து முன்னூறு", "2300", "ta"), ("மூவாயிரம்", "3000", "ta"), ("இருபத்தைந்தாயிரம்", "25000", "ta"),
    ("ஒரு லட்சத்து இருபதாயிரம்", "120000", "ta"), ("ஒரு இலட்சம்", "100000", "ta"), ("இரண்டரை லட்சம்", "250000", "ta"),
    ("ஒன்றரை கோடி", "15000000", "ta"), ("௫௦௦ ரூபாய்", "500 ரூபாய்", "ta"), ("₹500", "500 ரூபாய்", "ta"),
    ("ரூ. 500", "500 ரூபாய்", "ta"), ("50%", "50 சதவீதம்", "ta"), ("ஐம்பது சதவிகிதம்", "50 சதவீதம்", "ta"),
    ("ஒன்பது எட்டு ஏழு ஆறு", "9876", "ta"), ("டபுள் நைன் எய்ட்", "998", "ta"), ("ஐந்தாம் தேதி", "5th தேதி", "ta"),
    ("5ஆம் தேதி", "5th தேதி", "ta"), ("இருபத்தைந்தாவது", "25th", "ta"), ("five hundred", "500", "ta"),
    ("একশো কুড়ি", "120", "bn"), ("একশ বিশ", "120", "bn"), ("এক শত কুড়ি", "120", "bn"), ("দু'শো", "200", "bn"),
    ("দুইশো পঞ্চাশ", "250", "bn"), ("পনেরোশো", "1500", "bn"), ("সাড়ে তিনশো", "350", "bn"), ("দেড়শো", "150", "bn"),
    ("আড়াই হাজার", "2500", "bn"), ("পৌনে দুই লাখ", "175000", "bn"), ("এক লক্ষ কুড়ি হাজার", "120000", "bn"),
    ("তিন কোটি", "30000000", "bn"), ("পাঁচশ টাকা", "500 টাকা", "bn"), ("৫০০ টাকা", "500 টাকা", "bn"), ("৳500", "500 টাকা", "bn"),
    ("বিশ শতাংশ", "20 শতাংশ", "bn"), ("২০%", "20 শতাংশ", "bn"), ("দুই দশমিক পাঁচ", "2.5", "bn"), ("ডাবল নাইন এইট", "998", "bn"),
    ("নয় আট সাত ছয়", "9876", "bn"), ("নয় হাজার", "9000", "bn"), ("নয় টাকা", "9 টাকা", "bn"), ("দ্বিতীয়", "2nd", "bn"),
    ("২য়", "2nd", "bn"), ("২১শে মার্চ", "21st মার্চ", "bn"),
]  # fmt: skip


@pytest.mark.parametrize(("said", "digits", "language"), TAMIL_AND_BENGALI)
def test_numbers_of_tamil_and_bengali_are_their_digits(said: str, digits: str, language: str) -> None:
    assert number_canonical(said, language) == digits


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("এটা নয়", "bn"), ("লক্ষ করুন", "bn"), ("শো দেখব", "bn"), ("ஒரு நாள்", "ta"), ("இருபது ஐந்து", "ta"),
        ("நூற்றுக்கு", "ta"),        ("முதல் நாள்", "ta"),
    ],
)  # fmt: skip
def test_words_of_tamil_and_bengali_that_are_no_numbers_alone_stay_words(text: str, language: str) -> None:
    assert number_canonical(text, language) == ("20 5" if text == "இருபது ஐந்து" else text)


@pytest.mark.parametrize("language", NUMBER_WORDS)
def test_every_number_word_of_a_language_gives_its_number_where_the_language_is_known_and_where_it_is_not(
    language: str,
) -> None:
    words, seen = NUMBER_WORDS[language], set()
    doubtful = words.doubtful.split()
    for entry in (entry.split() for entry in words.small.replace("\n", "|").split("|") if entry):
        seen.add(int(entry[0]))
        for word in entry[1:]:
            for known in (language, None):
                assert number_canonical(f"{word} kg", known) == f"{indic(word) if word in doubtful else entry[0]} kg"
    tens = {int(entry.split()[0]) for entry in words.stems.replace("\n", "|").split("|") if entry}
    seen |= {ten + unit for ten in tens if ten < 100 for unit in range(1, 10)}
    assert seen >= set(range(100))


def _tamil(n: int) -> str:
    """As it is written: in two words after the link, a thousand grown together with its number."""
    small = {int(e.split()[0]): e.split()[1] for e in NUMBER_WORDS["ta"].small.replace("\n", "|").split("|") if e}
    stems = {int(e.split()[0]): e.split()[1] for e in NUMBER_WORDS["ta"].stems.replace("\n", "|").split("|") if e}
    if n in small:
        return small[n]
    if n == 100:
        return "நூறு"
    for size in (100, 10):
        if n < 1000 and n >= size and n % size:
            return f"{stems[n - n % size]}ு {_tamil(n % size)}"
    for size, whole, linked in ((10**7, "கோடி", "கோடியே"), (10**5, "லட்சம்", "லட்சத்து"), (1000, "ஆயிரம்", "ஆயிரத்து")):
        if n >= size:
            count = "ஒரு" if n // size == 1 else _tamil(n // size)
            together = size == 1000 and 1 < n // size < 100
            scale = linked if n % size else whole
            first = count.removesuffix("ு") + "ா" + scale.removeprefix("ஆ") if together else f"{count} {scale}"
            return first + (f" {_tamil(n % size)}" if n % size else "")
    raise AssertionError


def _bengali(n: int) -> str:
    small = {int(e.split()[0]): e.split()[1] for e in NUMBER_WORDS["bn"].small.replace("\n", "|").split("|") if e}
    if n < 100:
        return small[n]
    for size, name in ((10**7, " কোটি"), (10**5, " লাখ"), (1000, " হাজার"), (100, "শো")):
        if n >= size:
            return _bengali(n // size) + name + (f" {_bengali(n % size)}" if n % size else "")
    raise AssertionError


@given(st.integers(0, 99_99_99_999))
def test_any_number_spelled_out_in_tamil_or_bengali_is_its_digits(number: int) -> None:
    assert number_canonical(_tamil(number), "ta") == str(number)
    if number % 1000 != 9:  # এক হাজার নয় says more often that it is not a thousand
        assert number_canonical(_bengali(number), "bn") == str(number)


@pytest.mark.parametrize("language", [one.code for one in OFFERED if not one.parts])
def test_every_offered_language_has_number_words_a_word_for_rupees_and_digits_that_are_read(language: str) -> None:
    known = vocabulary(language)
    own = [word for word in known.small if scripts_in(word) <= {LANGUAGES[language].script.code}]
    least = 20 if language in ("en", "ta") else 100  # twenty five is two words, இருபத்தைந்து is made of two
    assert {int(known.small[word]) for word in own} >= set(range(least))
    assert word_key(known.rupee) in known.rupees
    assert {10**3, 10**5, 10**7} <= set(known.scales.values())
    if LANGUAGES[language].script != ROMAN:
        start = LANGUAGES[language].script.letters
        digits = "".join(unicodedata.lookup(f"{start} DIGIT {name}") for name in ["ONE", "TWO", "ZERO"])
        assert number_canonical(digits, language) == "120"


SAID = """
one two hundred thousand and a half an point double oh five twenty ninety nineteen ek do teen sau hazar saadhe
sava paune dedh dhai 5 12 007 2.5 500 98765 1st second k rs % 10:30 lakh crore quarter past सौ शे हज़ार लाख
करोड़ साढ़े सवा पौने डेढ़ ढाई सव्वा साडेतीनशे दोनशे शंभर डबल दशमलव पहला ₹ 3½ मुझे order
"""


def test_adding_languages_changed_no_number_of_hindi_marathi_and_english() -> None:
    """Both versions of number-canonical stay what they were: 6,000 rows of number words, by one digest."""
    draw, tables = random.Random(7), (number_words.HINDI, number_words.MARATHI, number_words.HINDI_IN_ROMAN)
    words = SAID.split() * 3 + [
        w for table in tables for e in table.replace("\n", "|").split("|") for w in e.split()[1:]
    ]
    digest = hashlib.sha256()
    for _ in range(1000):
        text = " ".join(draw.choice(words) for _ in range(draw.randint(1, 8)))
        for language in ("hi", "mr", "en"):
            for name in (NUMBER_CANONICAL_1, NUMBER_CANONICAL):
                digest.update(normalise(text, language, normaliser=name).encode())
    assert digest.hexdigest()[:16] == "1f049ad282f9ff19"
