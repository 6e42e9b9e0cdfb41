"""Amounts as people read them."""

import pytest

from ml_backend.quantities import TOO_FEW, between, counted, duration, shortened


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (0.4, "0.4 s"), (9.94, "9.9 s"), (34.2, "34 s"), (59.6, "1.0 min"), (72, "1.2 min"),
     (3590, "59.8 min"), (3600, "1.0 h"), (44_280, "12.3 h"), (36_000_000, "10,000.0 h")],
)  # fmt: skip
def test_a_duration_has_the_unit_in_which_its_digits_say_something(seconds, said):
    assert duration(seconds) == said


def test_an_interval_of_no_width_says_nothing():
    assert between([0.04, 0.031, 0.05]) == "3.1 % and 5.0 %"
    assert between([-0.01, -0.02, 0.003], sign=True) == "-2.0 and +0.3"
    assert between([0.0, 0.0, 0.0]) == between([0.5, 0.5, 0.5]) == between(None) == TOO_FEW


@pytest.mark.parametrize("most", range(4, 60))
def test_a_foreign_sentence_ends_at_a_word_and_says_that_it_goes_on(most):
    text = "The connection to the server was refused, since nobody listens there"
    found = shortened(text, most)
    assert len(found) <= most + 1
    assert found.endswith("…")
    kept = found.removesuffix("…").rstrip()
    assert text.startswith(kept)
    assert not kept or text[len(kept) :][0] in " ,"


def test_what_fits_is_left_alone_and_one_long_word_is_cut():
    assert shortened("short  enough\nhere", 20) == "short enough here"
    assert shortened("x" * 50, 10) == "x" * 9 + "…"


def test_one_of_a_kind_is_not_said_in_the_plural():
    said = [counted(number, "person", "people") for number in (0, 1, 1234)]
    assert said == ["0 people", "1 person", "1,234 people"]
    assert counted(1, "row") == "1 row"
    assert counted(2, "row") == "2 rows"
