"""Reviews -> one line per annotator: how much, how fast, how much changed, how close to others and to known answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from training.quality import agreement, draft_quality, gold_tasks, rejection, review_time
from training.quality.reviews import Pair, Review
from training.quality.stamping import Findings


def table(reviews: Sequence[Review], pairs: Sequence[Pair], found: Findings) -> list[dict[str, Any]]:
    """Who did most first. People are Label Studio's user ids; None is an annotation without an author."""
    mine: dict[int | None, list[Review]] = defaultdict(list)
    for review in reviews:
        mine[review.annotator].append(review)
    order = sorted(mine, key=lambda who: (-len(mine[who]), who or 0))
    return [_line(who, mine[who], pairs, found) for who in order]


def _line(who: int | None, mine: Sequence[Review], pairs: Sequence[Pair], found: Findings) -> dict[str, Any]:
    answered = [each for each in mine if each.answered]
    between = agreement.measure(agreement.of_person(pairs, who))
    against = gold_tasks.measure(mine)
    work = draft_quality.measure(draft_quality.judged(mine))
    return {
        "annotator": who,
        "annotations": len(mine),
        "audio_s": round(sum(each.audio_s or 0.0 for each in answered), 1),
        "time": review_time.measure(mine),
        "edit_rate": work["edit_rate"],
        "accepted_unchanged": work["accepted_unchanged"],
        "agreement": {"tasks": between["tasks"], "wer": between["wer"]},
        "gold": {"answers": against["answers"], "wer": against["wer"], "right": against["right"]},
        **{name: rejection.measure(mine)[name] for name in ("rejected", "skipped")},
        "stamped": sum(each.id in found.annotations for each in mine),
        "signs": [sign.name for sign in found.people.get(who or 0, ())],
    }
