"""The two tables beside this file: pairs that cost nothing, and pairs of which one word is another.

`equal.txt` and `different.txt` are written by hand, in Hindi, Marathi, English and Roman Hindi.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

import ml_backend
from training.scoring.error_counts import count
from training.text import readings
from training.text.readings import CURRENT, INDIC, NORMALISERS, NUMBER_CANONICAL, SCRIPT_NEUTRAL

HERE = Path(__file__).parent
CALLS = Path(ml_backend.__file__).parent / "bundled" / "calls" / "calls.json"
Row = tuple[str, str, str, str]


def rows(name: str) -> list[Row]:
    found = []
    for line in (HERE / name).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            reading, language, one, other = (part.strip() for part in line.split("|"))
            found.append((reading, language, one, other))
    return found


EQUAL, DIFFERENT = rows("equal.txt"), rows("different.txt")


def edits(reading: str, language: str, one: str, other: str) -> int:
    return count(one, other, normaliser=reading, language=language).word_edits.total


def test_the_tables_are_long_and_cover_every_language() -> None:
    for table in (EQUAL, DIFFERENT):
        assert len(set(table)) >= 300
        assert {row[1] for row in table} >= {"hi", "mr", "en", "hi-en"}
        assert {row[0] for row in table} == {"script-neutral", "number-canonical"}
        assert all(one != other for _, _, one, other in table)


def test_two_ways_to_write_one_text_cost_nothing_whichever_is_the_reference() -> None:
    wrong = [row for row in EQUAL if edits(*row) or edits(row[0], row[1], row[3], row[2])]
    assert not wrong


def test_another_word_or_number_costs_one_whichever_is_the_reference() -> None:
    wrong = []
    for reading, language, one, other in DIFFERENT:
        most = 1 if len(one.split()) == len(other.split()) else 2
        for pair in ((one, other), (other, one)):
            if not 1 <= edits(reading, language, *pair) <= most:
                wrong.append((reading, language, *pair))
    assert not wrong


def test_the_first_versions_know_neither_the_spellings_nor_the_ways_to_say_a_number() -> None:
    """They stay as they were: an old evaluation can be counted again."""
    assert count("हिन्दी", "हिंदी", normaliser="script-neutral@1", language="hi").word_edits.total == 1
    assert readings.normalise("two fifty", "en", normaliser="number-canonical@1") == "2 50"
    assert readings.normalise("first 58765 43210", "en", normaliser="number-canonical@1") == "first 58765 43210"
    assert readings.normalise("गये", "hi", normaliser="script-neutral@1") == "gaye"


@pytest.mark.parametrize(("name", "means"), [(each.partition("@")[0], each) for each in CURRENT])
def test_a_name_without_a_version_is_the_newest(name: str, means: str) -> None:
    assert readings.resolve(name) == means == readings.resolve(means)
    assert max(each for each in NORMALISERS if each.startswith(f"{name}@")) == means
    one, other = "हिन्दी two fifty", "हिंदी 250"
    assert count(one, other, normaliser=name, language="hi") == count(one, other, normaliser=means, language="hi")


def test_laughing_and_swans_are_told_apart_by_indic_and_not_where_spellings_are_free() -> None:
    """Writers leave these marks out, so a text cannot tell the mistake from the spelling."""
    for one, other in (("हँस लो", "हंस लो"), ("राज खोलो", "राज़ खोलो")):
        assert edits(INDIC, "hi", one, other) == 1
        assert edits(NUMBER_CANONICAL, "hi", one, other) == 1
        assert edits(SCRIPT_NEUTRAL, "hi", one, other) == 0


@pytest.mark.parametrize("reading", [SCRIPT_NEUTRAL, NUMBER_CANONICAL])
def test_no_two_sentences_of_the_bundled_calls_become_one(reading: str) -> None:
    calls = json.loads(CALLS.read_text(encoding="utf-8"))
    said = {(call["language"], phrase["text"]) for call in calls for phrase in call["phrases"]}
    assert len(said) > 40
    for (language, one), (_, other) in itertools.combinations(sorted(said), 2):
        if readings.indic(one) != readings.indic(other):
            assert edits(reading, language, one, other) > 0


@pytest.mark.parametrize("reading", [SCRIPT_NEUTRAL, NUMBER_CANONICAL])
def test_a_wrong_word_anywhere_in_a_bundled_call_costs_exactly_one(reading: str) -> None:
    calls = json.loads(CALLS.read_text(encoding="utf-8"))
    for language, text in {(call["language"], phrase["text"]) for call in calls for phrase in call["phrases"]}:
        words = readings.indic(text).split()
        for place in range(len(words)):
            wrong = [*words[:place], "झमेलाघर", *words[place + 1 :]]
            assert edits(reading, language, " ".join(words), " ".join(wrong)) == 1, (text, place)


def test_one_wrong_number_does_not_cost_the_others_their_reading() -> None:
    said = "ढाई हज़ार रुपये और नौ आठ सात छह"
    assert edits(NUMBER_CANONICAL, "hi", said, "2500 रुपये और नौ आठ किताब छह") == 1
    assert edits(NUMBER_CANONICAL, "hi", said, "₹2500 और 9876") == 0
