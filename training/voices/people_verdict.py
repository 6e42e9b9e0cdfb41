"""What people say of a new version beside the old one -> one word with its sentence, for the gate. Pure.

Figures that a machine takes can refuse a voice; only people can promote one. Their word is

    better       the new version is surely preferred, or surely scored higher on an axis and surely lower on none
    worse        the same for the old one
    undecided    enough people answered, and neither is sure
    provisional  fewer people than `opinion_scores.LEAST_RATERS` answered
    unrated      nobody compared the two
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.scoring.opinion_scores import CONFIDENT, LEAST_RATERS, sign_test

BETTER, WORSE, UNDECIDED, PROVISIONAL, UNRATED = "better", "worse", "undecided", "provisional", "unrated"


@dataclass(frozen=True)
class PeopleVerdict:
    """`word` is one of the five; `sentence` says the figures behind it."""

    word: str
    sentence: str

    @property
    def promotes(self) -> bool:
        return self.word == BETTER


def decide(comparison: Mapping[str, Any]) -> PeopleVerdict:
    """The verdict on what `rating_rows.comparison` found."""
    chosen = comparison["preference"]
    axes = {name: found for name, found in comparison["axes"].items() if found is not None}
    if chosen is None and not axes:
        return PeopleVerdict(UNRATED, "Nobody has compared the two versions.")
    for by_people in (_of_choices(chosen), _of_scores(axes)):
        if by_people is not None and by_people.word in (BETTER, WORSE):
            return by_people
    people = max([found["raters"] for found in axes.values()] + ([chosen["raters"]] if chosen else []))
    if people < LEAST_RATERS:
        return PeopleVerdict(PROVISIONAL, f"{people} of at least {LEAST_RATERS} people have compared them.")
    return PeopleVerdict(UNDECIDED, f"{people} people have compared them, and the difference may be luck.")


def _of_choices(chosen: Mapping[str, Any] | None) -> PeopleVerdict | None:
    if chosen is None or chosen["raters"] < LEAST_RATERS:
        return None
    wins, losses = chosen["wins"], chosen["losses"]
    for word, mine in ((BETTER, wins), (WORSE, losses)):
        if sign_test(mine, wins + losses) < CONFIDENT:
            name = "new" if word == BETTER else "old"
            return PeopleVerdict(word, f"People prefer the {name} one in {mine} of {wins + losses} sentences.")
    return None


def _of_scores(axes: Mapping[str, Mapping[str, Any]]) -> PeopleVerdict | None:
    sure = {name: found for name, found in axes.items() if not found["provisional"]}
    lower = [name for name, found in sure.items() if found["high"] < 0]
    higher = [name for name, found in sure.items() if found["low"] > 0]
    if lower:
        return PeopleVerdict(WORSE, f"{_said(lower, sure)}: surely lower than the old one.")
    if higher and len(sure) == len(axes):
        return PeopleVerdict(BETTER, f"{_said(higher, sure)}: surely higher than the old one.")
    return None


def _said(names: list[str], axes: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(f"{name} {axes[name]['mean']:+.2f}" for name in names).capitalize()
