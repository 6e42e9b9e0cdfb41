"""Reviews of a team -> people who accept drafts unread, and the affected annotations. Pure.

One sign may be a working style. Two signs make a suspect, or one decisive sign: most drafts accepted in less than half
their audio's length, or far more unsure drafts unchanged than even a careless reader leaves. Suspects are then removed
from the norm and the others are judged again, so that several suspects cannot become the norm. A person must examine a
suspicion; its only effect here is that the suspect's unchanged texts are no reference. Annotations made in bulk by
Label Studio's "predictions to annotations" count as unread.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from training.quality.reviews import AgreementPair, Review
from training.quality.unread_drafts import Confidences, Sign, Team, against, eligible, hurried, unheard

ROUNDS = 6
BULK, BULK_GAP_S = 5, 1.0  # so many in a row with at most this gap: too quick for a person


@dataclass(frozen=True)
class Findings:
    """`people`: the signs against each suspect. `annotations`: the reason for each stamped annotation."""

    people: dict[int, tuple[Sign, ...]]
    annotations: dict[int, str]

    def to_dict(self, reviews: Sequence[Review]) -> dict[str, Any]:
        """Counts and ids for the summary, no text."""
        drafted = len(eligible(reviews))
        by_reason: dict[str, int] = defaultdict(int)
        for why in self.annotations.values():
            by_reason[why] += 1
        return {
            "drafted": drafted,
            "stamped": len(self.annotations),
            "reasons": dict(sorted(by_reason.items())),
            "people": [
                {"annotator": who, "signs": [vars(sign) for sign in self.people[who]]} for who in sorted(self.people)
            ],
            "annotations": sorted(self.annotations),
        }


def find(reviews: Sequence[Review], pairs: Sequence[AgreementPair]) -> Findings:
    """Suspects, and stamped annotations: `copied` in bulk, `unheard` though unsure, or a `suspect`'s."""
    drafted = eligible(reviews)
    copied = _copied(drafted)
    judged = [each for each in drafted if each.id not in copied]
    sure = Confidences(judged)
    people = _suspects(judged, [each for each in pairs if not {each.first.id, each.second.id} & copied], sure)
    annotations = dict.fromkeys(copied, "copied")
    for review in judged:
        if not review.unchanged:
            continue
        if unheard(review) and sure.unsure(review):
            annotations[review.id] = "unheard"
        elif review.annotator in people and (review.lead_time_s is None or hurried(review) or sure.unsure(review)):
            annotations[review.id] = "suspect"
    return Findings(people, annotations)


def _suspects(
    reviews: Sequence[Review], pairs: Sequence[AgreementPair], sure: Confidences
) -> dict[int, tuple[Sign, ...]]:
    mine: dict[int, list[Review]] = defaultdict(list)
    for review in reviews:
        mine[review.annotator or 0].append(review)
    shared: dict[int, list[AgreementPair]] = defaultdict(list)
    for pair in pairs:
        for who in {pair.first.annotator, pair.second.annotator}:
            shared[who or 0].append(pair)
    suspects: dict[int, tuple[Sign, ...]] = {}
    for _ in range(ROUNDS):
        team = Team(reviews, sure, suspects)
        found = {who: tuple(against(who, mine[who], shared[who], team, sure)) for who in mine}
        suspected = {who: signs for who, signs in found.items() if _enough(signs)}
        if suspected.keys() == suspects.keys():
            return suspected
        suspects = suspected
    return suspects


def _enough(signs: Sequence[Sign]) -> bool:
    """Two signs, or a decisive one."""
    return len(signs) > 1 or any(sign.strong for sign in signs)


def _copied(reviews: Iterable[Review]) -> set[int]:
    """Unchanged annotations without a time, several of one person in quick succession."""
    runs: dict[tuple[int, int | None], list[Review]] = defaultdict(list)
    for review in reviews:
        if review.unchanged and review.lead_time_s is None and review.created_at is not None:
            runs[(review.project_id, review.annotator)].append(review)
    found: set[int] = set()
    for run in runs.values():
        run.sort(key=lambda each: each.created_at.timestamp() if each.created_at else 0.0)
        begin = 0
        for end in range(1, len(run) + 1):
            if end < len(run) and _soon(run[end - 1], run[end]):
                continue
            if end - begin >= BULK:
                found.update(each.id for each in run[begin:end])
            begin = end
    return found


def _soon(one: Review, other: Review) -> bool:
    if one.created_at is None or other.created_at is None:
        return False
    return (other.created_at - one.created_at).total_seconds() <= BULK_GAP_S
