"""Reviews -> how many calls people skipped or rejected, and why. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from training.quality.figures import share
from training.quality.reviews import Review


def measure(reviews: Sequence[Review]) -> dict[str, Any]:
    """Rejected: a reason was chosen, such as private or no-speech. Skipped: no answer at all."""
    skipped = sum(each.skipped for each in reviews)
    rejected = [each for each in reviews if each.reject and not each.skipped]
    reasons = Counter(reason for each in rejected for reason in each.reject)
    return {
        "rejected": share(len(rejected), len(reviews) - skipped),
        "skipped": share(skipped, len(reviews)),
        "reasons": dict(reasons.most_common()),
    }
