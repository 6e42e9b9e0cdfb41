"""The spelling rules of the language table bring accepted spellings together, and nothing else."""

import pytest

from training.text.readings import SCRIPT_NEUTRAL, pair


@pytest.mark.parametrize(
    ("one", "other", "language"),
    [
        ("ধর্ম্ম", "ধর্ম", "bn"), ("অর্দ্ধ", "অর্ধ", "bn"), ("সঙ্গীত", "সংগীত", "bn"), ("রঙ", "রং", "bn"),
        ("হঠাত্", "হঠাৎ", "bn"),
        ("বাড়ী", "বাড়ি", "bn"), ("ঘন্টা", "ঘণ্টা", "bn"), ("இலட்சம்", "லட்சம்", "ta"), ("ஶ்ரீ", "ஸ்ரீ", "ta"),
        ("சதவிகிதம்", "சதவீதம்", "ta"), ("௧௨௦", "120", "ta"), ("১২০", "120", "bn"),
    ],
)  # fmt: skip
def test_accepted_spellings_cost_nothing(one: str, other: str, language: str) -> None:
    expected, read = pair(one, other, normaliser=SCRIPT_NEUTRAL, language=language)
    assert expected == read


@pytest.mark.parametrize(
    ("one", "other", "language"),
    [
        ("কি", "কী", "bn"), ("কাল", "কালো", "bn"), ("মত", "মতো", "bn"), ("দিন", "দীন", "bn"), ("রঙের", "রংের", "bn"),
        ("பல்", "பால்", "ta"), ("கரி", "கறி", "ta"), ("மனம்", "மணம்", "ta"), ("பல்லி", "பள்ளி", "ta"),
    ],
)  # fmt: skip
def test_other_words_stay_other_words(one: str, other: str, language: str) -> None:
    expected, read = pair(one, other, normaliser=SCRIPT_NEUTRAL, language=language)
    assert expected != read
