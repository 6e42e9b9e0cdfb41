"""Agreement on intents is corrected for chance, agreement on spans is strict, and both say their basis."""

from __future__ import annotations

import random
from typing import Any

import pytest

from training.quality.intent_agreement import MarkedBy, measure, span_f1


def spans(*places: tuple[int, int, str]) -> list[dict[str, Any]]:
    return [{"start": a, "end": b, "entity": name} for a, b, name in places]


def test_people_who_agree_have_alpha_one_and_people_who_guess_zero() -> None:
    chance = random.Random(1)
    same = [MarkedBy(n, who, "ab"[n % 2]) for n in range(40) for who in (1, 2, 3)]
    guessed = [MarkedBy(n, who, chance.choice("ab")) for n in range(2000) for who in (1, 2)]
    assert measure(same)["intents"]["value"] == 1.0
    assert measure(guessed)["intents"]["value"] == pytest.approx(0, abs=0.06)


def test_alpha_is_that_of_the_reference() -> None:
    """Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, example C: 0.743 for nominal data."""
    table = {
        1: [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None], 2: [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        3: [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None], 4: [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    }  # fmt: skip
    answers = [MarkedBy(n, who, str(v)) for who, row in table.items() for n, v in enumerate(row) if v is not None]
    assert measure(answers)["intents"]["value"] == pytest.approx(0.743, abs=0.001)


def test_spans_count_only_where_borders_and_name_are_equal() -> None:
    one = MarkedBy(1, 1, "a", spans((0, 4, "city"), (6, 8, "amount")))
    other = MarkedBy(1, 2, "a", spans((0, 4, "city"), (6, 9, "amount")))
    assert span_f1([(one, other)] * 5) == {"value": 0.5, "part": 10, "of": 20}
    assert span_f1([(one, other)])["value"] is None


def test_what_is_confused_most_comes_first_and_one_person_alone_is_no_agreement() -> None:
    answers = [MarkedBy(n, who, ["cancel", "refund"][who - 1]) for n in range(3) for who in (1, 2)]
    answers += [MarkedBy(9, 1, "a"), MarkedBy(9, 2, "b"), MarkedBy(10, 1, "a")]
    found = measure(answers)
    assert found["confused"][0] == {"intents": ["cancel", "refund"], "times": 3}
    assert found["utterances"] == 4
    assert found["intents"]["note"] == "too few to say"
