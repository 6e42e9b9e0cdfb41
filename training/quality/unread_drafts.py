"""Reviews of a team -> signs that one person accepts drafts unread. Pure.

Four independent signs, each with its counts:

    unsure-unchanged     left unsure drafts unchanged more often than the others did, for drafts of the same confidence
                         and length (exact test of that many or more, p < 0.001)
    faster-than-audio    accepted drafts in less time than the audio lasts, far more often than the others; or most of
                         them in less than half of it, which is too short to listen
    draft-over-people    on shared tasks, agrees with the draft at least twice as closely as with the other people
    gold-unchanged       left wrong drafts of gold tasks unchanged

Confidence is ranked among the drafts of the same model version, because one model's 0.7 is another one's 0.9.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from training.quality.figures import at_least, at_most
from training.quality.review_time import left_open
from training.quality.reviews import AgreementPair, Review

LEAST = 10  # annotations of one person needed for a sign
LEAST_OTHERS = 10  # comparable annotations of others
CHANCE = 0.001  # probability that an honest person shows a sign
EXCESS, GREAT_EXCESS = 0.25, 0.4  # over the expected share; missing half of all errors stays below the second
MIN_AUDIO_S, MIN_WORDS = 4.0, 3  # shorter drafts are too often right or read at a glance
UNHEARD = 0.5  # of the audio's length: the editor plays at double speed
FEW_VERSIONS_DRAFTS, UNSURE = 20, 0.6  # with fewer drafts of a version, a draft is unsure below this confidence


@dataclass(frozen=True)
class Sign:
    """One sign against one person: `part` of `of`, and the `expected` number by the others' behaviour."""

    name: str
    part: int
    of: int
    expected: float | None = None
    strong: bool = False


class Confidences:
    """The confidence quarter of each draft among those of its model version: 0 is the least sure, 3 the surest."""

    def __init__(self, reviews: Iterable[Review]) -> None:
        found: dict[str | None, list[float]] = defaultdict(list)
        for review in reviews:
            if review.drafted and review.confidence is not None:
                found[review.model_version].append(review.confidence)
        self._sorted = {version: sorted(values) for version, values in found.items()}

    def quarter(self, review: Review) -> int:
        """The quarter; an unknown confidence counts as sure."""
        if review.confidence is None:
            return 3
        known = self._sorted.get(review.model_version, [])
        if len(known) < FEW_VERSIONS_DRAFTS:
            return 0 if review.confidence < UNSURE else 3
        return min(3, 4 * (bisect_right(known, review.confidence) - 1) // len(known))

    def unsure(self, review: Review) -> bool:
        """Whether the draft is in the less sure half."""
        return self.quarter(review) < 2


def eligible(reviews: Sequence[Review]) -> list[Review]:
    """Annotations with a draft, an author and an answer."""
    return [each for each in reviews if each.drafted and each.answered and each.annotator is not None]


def hurried(review: Review) -> bool:
    """Accepted unchanged, in less time than the audio lasts."""
    return _accepted_within(review, 1.0)


def unheard(review: Review) -> bool:
    """Accepted unchanged, in less time than listening takes."""
    return _accepted_within(review, UNHEARD)


def _accepted_within(review: Review, share: float) -> bool:
    if not review.unchanged or review.of_text or not _telling(review) or review.lead_time_s is None:
        return False
    return review.lead_time_s < share * (review.audio_s or 0.0)


def _telling(review: Review) -> bool:
    return review.of_text or (review.words >= MIN_WORDS and (review.audio_s or 0.0) >= MIN_AUDIO_S)


def _timed(review: Review) -> bool:
    return not review.of_text and _telling(review) and review.lead_time_s is not None and not left_open(review)


class Team:
    """The behaviour of the people who are not suspects, to compare each person with the others."""

    def __init__(self, reviews: Sequence[Review], confidences: Confidences, suspected: Collection[int] = ()) -> None:
        self._confidences = confidences
        self._made: Counter[tuple[object, ...]] = Counter()
        self._kept: Counter[tuple[object, ...]] = Counter()
        for review in reviews:
            if review.annotator in suspected:
                continue
            for key in self._keys(review):
                for who in (None, review.annotator):
                    self._made[(who, *key)] += 1
                    self._kept[(who, *key)] += hurried(review) if key[0] == "hurry" else review.unchanged

    def unchanged(self, review: Review) -> float | None:
        """How often the others leave such a draft unchanged; None when too few have had one."""
        return next(
            (chance for key in self._keys(review)[:-1] if (chance := self._others(review.annotator, key)) is not None),
            None,
        )

    def hurry(self, annotator: int | None) -> float | None:
        """How often the others accept a draft in less time than its audio lasts."""
        return self._others(annotator, ("hurry",))

    def _keys(self, review: Review) -> list[tuple[object, ...]]:
        """The groups of a draft, from the narrowest to the widest, and last the one for haste."""
        quarter, length = self._confidences.quarter(review), bisect_right((8, 25), review.words)
        half = quarter < 2
        groups: list[tuple[object, ...]] = [("both", quarter, length), ("unsure", half, length), ("half", half)]
        return [*groups, ("hurry",) if _timed(review) else ("untimed",)]

    def _others(self, annotator: int | None, key: tuple[object, ...]) -> float | None:
        made = self._made[(None, *key)] - self._made[(annotator, *key)]
        kept = self._kept[(None, *key)] - self._kept[(annotator, *key)]
        return (kept + 1) / (made + 2) if made >= LEAST_OTHERS else None


def against(
    annotator: int, mine: Sequence[Review], pairs: Sequence[AgreementPair], team: Team, sure: Confidences
) -> list[Sign]:
    """Every sign against one person. `mine` are their eligible reviews, `pairs` those that include them."""
    found = (
        _unsure_unchanged(mine, team, sure),
        _faster_than_audio(annotator, mine, team),
        _draft_over_people(annotator, pairs),
        _gold_unchanged(mine),
    )
    return [sign for sign in found if sign is not None]


def _unsure_unchanged(mine: Sequence[Review], team: Team, sure: Confidences) -> Sign | None:
    asked = [(each, team.unchanged(each)) for each in mine if sure.unsure(each) and _telling(each)]
    known = [(each.unchanged, chance) for each, chance in asked if chance is not None]
    if len(known) < LEAST:
        return None
    part, expected = sum(unchanged for unchanged, _ in known), sum(chance for _, chance in known)
    luck = at_least(part, [chance for _, chance in known])
    excess = (part - expected) / len(known)
    if luck >= CHANCE or excess < EXCESS:
        return None
    strong = luck < CHANCE**2 and excess >= GREAT_EXCESS
    return Sign("unsure-unchanged", part, len(known), round(expected, 1), strong)


def _faster_than_audio(annotator: int, mine: Sequence[Review], team: Team) -> Sign | None:
    found = [each for each in mine if _timed(each)]
    accepted = [each for each in found if each.unchanged]
    if len(found) < LEAST:
        return None
    unread = sum(map(unheard, accepted))
    if len(accepted) >= LEAST and unread >= 0.5 * len(accepted):
        return Sign("faster-than-audio", unread, len(accepted), strong=True)
    part, usual = sum(map(hurried, found)), team.hurry(annotator)
    if usual is None or part < max(0.3, 2 * usual) * len(found) or at_least(part, [usual] * len(found)) >= CHANCE:
        return None
    return Sign("faster-than-audio", part, len(found), round(usual * len(found), 1))


def _draft_over_people(annotator: int, pairs: Sequence[AgreementPair]) -> Sign | None:
    """At most half as many edits against the draft as against people, significantly below a true ratio of one half."""
    from_draft, from_people = 0, 0
    for pair in pairs:
        me = pair.first if pair.first.annotator == annotator else pair.second
        if pair.first.drafted and pair.second.drafted and me.answered and pair.first.answered == pair.second.answered:
            from_draft += me.word_edits or 0
            from_people += pair.word_edits
    if from_people < LEAST or from_draft >= 0.5 * from_people:
        return None
    if at_most(from_draft, from_draft + from_people, 1 / 3) >= CHANCE:
        return None
    return Sign("draft-over-people", from_draft, from_people)


def _gold_unchanged(mine: Sequence[Review]) -> Sign | None:
    """Gold tasks with a wrong draft that was left unchanged."""
    gold = [each for each in mine if each.gold is not None]
    missed = sum(each.unchanged and _differ(each.text, each.gold) for each in gold)
    wrong = missed + sum(not each.unchanged for each in gold)
    return Sign("gold-unchanged", missed, wrong) if missed >= 3 and missed >= 0.5 * wrong else None


def _differ(text: str | None, known: str | None) -> bool:
    return (text or "").casefold().split() != (known or "").casefold().split()
