"""Reviews -> seconds of work per minute of audio. Pure.

Label Studio's editor measures the time a task is on the screen, so a tab left open overnight would outweigh a week.
Reviews with implausibly long times are counted and left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from ml_backend.reports import annotation_days
from training.quality.figures import LEAST_ITEMS, TOO_FEW
from training.quality.reviews import Review


def left_open(review: Review) -> bool:
    """Whether the recorded time cannot be working time."""
    return annotation_days.left_open(review.lead_time_s, review.audio_s)


def timed(reviews: Sequence[Review]) -> list[Review]:
    """The reviews with known working time and length."""
    return [
        each for each in reviews if each.answered and each.lead_time_s and each.audio_s and not left_open(each)
    ]  # fmt: skip


def measure(reviews: Sequence[Review], *, least: int = LEAST_ITEMS) -> dict[str, Any]:
    """Pooled and median seconds per minute of audio, and how many reviews were left out."""
    done = [each for each in reviews if each.answered]
    found = timed(done)
    work_s = sum(each.lead_time_s or 0.0 for each in found)
    audio_s = sum(each.audio_s or 0.0 for each in found)
    body: dict[str, Any] = {
        "annotations": len(found),
        "work_s": round(work_s, 1),
        "audio_s": round(audio_s, 1),
        "without_time": sum(each.lead_time_s is None for each in done),
        "left_open": sum(left_open(each) for each in done),
        "seconds_per_audio_minute": None,
        "median_seconds_per_audio_minute": None,
    }
    if len(found) < least:
        return body | {"note": TOO_FEW}
    each_s = median(60 * (each.lead_time_s or 0.0) / (each.audio_s or 1.0) for each in found)
    pooled = round(60 * work_s / audio_s, 1)
    return body | {"seconds_per_audio_minute": pooled, "median_seconds_per_audio_minute": round(each_s, 1)}


def by_start(reviews: Sequence[Review]) -> dict[str, Any]:
    """All reviews; those with a draft; those without."""
    drafted = [each for each in reviews if each.drafted]
    return {
        "all": measure(reviews),
        "drafted": measure(drafted),
        "from_nothing": measure([each for each in reviews if each.blind or each.word_edits is None]),
    }
