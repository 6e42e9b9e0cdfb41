"""Reviews -> how good the drafts of each model version were: what people changed in them. Pure.

Left out: annotations from before the project was attached, which did not begin from our drafts; blind tasks; skipped or
rejected calls; gold tasks, which were chosen for their difficulty. Drafts accepted unread flatter the model, so a
second rate leaves out everything of those people: without only their unchanged texts it would be too high.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import UTC, timedelta
from typing import Any

from training.quality.figures import rate, share
from training.quality.reviews import Review

WEEKS = 8


def judged(reviews: Sequence[Review]) -> list[Review]:
    """The annotations that measure the draft they began from."""
    return [each for each in reviews if each.drafted and each.answered and each.gold is None and each.model_version]


def by_version(reviews: Sequence[Review], suspects: Collection[int] = ()) -> list[dict[str, Any]]:
    """Per model version, the latest used first. `suspects` are people."""
    found: dict[str, list[Review]] = defaultdict(list)
    for review in judged(reviews):
        found[review.model_version or ""].append(review)
    latest = sorted(found, key=lambda version: max(map(_day, found[version])), reverse=True)
    return [
        {"model_version": version}
        | measure(found[version])
        | {"without_suspects": measure([each for each in found[version] if each.annotator not in suspects])}
        | {"languages": _by_language(found[version]), "weeks": by_week(found[version])}
        for version in latest
    ]


def measure(reviews: Sequence[Review]) -> dict[str, Any]:
    """Edits per word and character of the finished text, and the share of unchanged drafts."""
    words, chars = (sum(getattr(each, name) for each in reviews) for name in ("words", "chars"))
    return {
        "annotations": len(reviews),
        "edit_rate": rate(sum(each.word_edits or 0 for each in reviews), words),
        "char_edit_rate": rate(sum(each.char_edits or 0 for each in reviews), chars),
        "accepted_unchanged": share(sum(each.unchanged for each in reviews), len(reviews)),
    }


def by_week(reviews: Sequence[Review]) -> list[dict[str, Any]]:
    """The last weeks with annotations, oldest first, to show whether drafts get better or worse."""
    weeks: dict[str, list[Review]] = defaultdict(list)
    for review in reviews:
        if review.created_at is not None:
            day = review.created_at.astimezone(UTC)
            weeks[f"{day - timedelta(days=day.weekday()):%Y-%m-%d}"].append(review)
    return [{"week_of": week} | measure(weeks[week]) for week in sorted(weeks)[-WEEKS:]]


def _by_language(reviews: Sequence[Review]) -> dict[str, Any]:
    languages: dict[str, list[Review]] = defaultdict(list)
    for review in reviews:
        languages[review.language or "unknown"].append(review)
    return {language: measure(languages[language]) for language in sorted(languages)}


def _day(review: Review) -> float:
    return review.created_at.timestamp() if review.created_at else 0.0
