"""Only people can promote a voice, and only when they are sure and many enough."""

from __future__ import annotations

from typing import Any

import pytest

from training.voices import people_verdict


def axis(low: float, high: float, raters: int = 6) -> dict[str, Any]:
    return {"mean": (low + high) / 2, "low": low, "high": high, "raters": raters, "provisional": raters < 6}


def chosen(wins: int, losses: int, raters: int = 6) -> dict[str, Any]:
    return {"wins": wins, "losses": losses, "raters": raters}


@pytest.mark.parametrize(
    ("word", "preference", "axes"),
    [
        ("unrated", None, {"naturalness": None}),
        ("better", chosen(15, 5), {}),
        ("undecided", chosen(14, 6), {}),
        ("worse", chosen(5, 15), {}),
        ("provisional", chosen(20, 0, raters=5), {}),
        ("better", None, {"naturalness": axis(0.1, 0.6), "emotion": axis(-0.2, 0.3)}),
        ("worse", None, {"naturalness": axis(0.1, 0.6), "emotion": axis(-0.5, -0.1)}),
        ("undecided", None, {"naturalness": axis(-0.1, 0.6)}),
        ("provisional", None, {"naturalness": axis(0.1, 0.6, raters=3)}),
        ("worse", chosen(5, 15), {"naturalness": axis(0.1, 0.6)}),
        ("better", chosen(10, 10), {"naturalness": axis(0.1, 0.6)}),
    ],
)
def test_people_decide(word: str, preference: dict[str, Any] | None, axes: dict[str, Any]) -> None:
    found = people_verdict.decide({"preference": preference, "axes": axes})
    assert found.word == word
    assert found.promotes == (word == "better")
    assert found.sentence.endswith(".")
