"""Reviews -> minutes of work by how wrong the draft was, and the break-even above which a draft costs time. Pure.

    with a draft     base + per_error x errors per word       (minutes of work per minute of audio)
    without          from_nothing
    break-even       (from_nothing - base) / per_error

The line is a least-squares fit over drafted reviews, weighted by their length, with the priors as if further reviews
had been seen on the prior's line. Drafts with more than BENT errors per word are left out of the fit: people delete
such drafts, and time stops growing (Gaur et al., W4A 2016, where the peak is at 45 %). The interval draws reviews
again, and with them the priors, within what the literature leaves open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml_backend.usefulness.team_model import (
    BREAK_EVEN,
    FROM_NOTHING,
    WITH_PERFECT_DRAFT,
    BreakEven,
    WorkMinutes,
)
from training.quality import review_time
from training.quality.draft_quality import judged
from training.quality.reviews import Review

BENT = 0.6
PULL = 15.0  # reviews' worth of the prior on each side
LEAST_DRAFTED, LEAST_UNDRAFTED = 30, 15  # for a break-even of the team's own
SPREAD = {"from_nothing": 0.8, "base": 0.3, "break_even": 0.10}  # standard deviations of the priors
DRAWS = 400
LOWEST, HIGHEST = 0.02, 1.0
_SEED = 20_261_130

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Timed:
    """Reviews as columns: minutes of audio, minutes of work, and errors per word of those with a draft."""

    drafted: Numbers  # audio, work, error
    undrafted: Numbers  # audio, work


def timed(reviews: Sequence[Review]) -> Timed:
    """The reviews with a known working time, with and without a draft."""
    known = review_time.timed([each for each in reviews if not each.before_attach and each.gold is None])
    with_draft = [each for each in judged(known) if each.words]
    without = [each for each in known if each.blind or each.word_edits is None]
    return Timed(
        np.array([[*_minutes(each), (each.word_edits or 0) / each.words] for each in with_draft]).reshape(-1, 3),
        np.array([_minutes(each) for each in without]).reshape(-1, 2),
    )


def work_minutes(found: Timed) -> WorkMinutes:
    """The fitted times, near the priors while there are few reviews."""
    base, per_error, from_nothing = _fit(found, FROM_NOTHING, WITH_PERFECT_DRAFT, BREAK_EVEN)
    return WorkMinutes(
        round(base, 4), round(per_error, 4), round(from_nothing, 4), len(found.drafted), len(found.undrafted)
    )


def break_even(found: Timed) -> BreakEven:
    """The team's own break-even with its interval; the prior's until enough reviews have a time."""
    if len(found.drafted) < LEAST_DRAFTED or len(found.undrafted) < LEAST_UNDRAFTED:
        return BreakEven()
    value = _crossing(*_fit(found, FROM_NOTHING, WITH_PERFECT_DRAFT, BREAK_EVEN))
    draw = np.random.default_rng(_SEED)
    values = []
    for _ in range(DRAWS):
        again = Timed(_again(found.drafted, draw), _again(found.undrafted, draw))
        base = max(0.2, draw.normal(WITH_PERFECT_DRAFT, SPREAD["base"]))
        nothing = max(base + 0.5, draw.normal(FROM_NOTHING, SPREAD["from_nothing"]))
        even = max(0.05, draw.normal(BREAK_EVEN, SPREAD["break_even"]))
        values.append(_crossing(*_fit(again, nothing, base, even)))
    low, high = np.percentile(values, [2.5, 97.5])
    return BreakEven(
        round(value, 4), round(float(low), 4), round(float(high), 4), len(found.drafted), len(found.undrafted)
    )


def _fit(found: Timed, nothing: float, base: float, even: float) -> tuple[float, float, float]:
    """(base, per_error, from_nothing) with these priors."""
    fit = found.drafted[found.drafted[:, 2] <= BENT] if len(found.drafted) else found.drafted
    usual = float(np.mean(np.concatenate([found.drafted[:, 0], found.undrafted[:, 0], [0.5]])))
    slope = (nothing - base) / even
    audio = np.concatenate([fit[:, 0], [PULL / 2 * usual] * 2])
    error = np.concatenate([fit[:, 2], [0.0, even]])
    work = np.concatenate([fit[:, 1], [PULL / 2 * usual * base, PULL / 2 * usual * (base + slope * even)]])
    weights = np.sqrt(audio)
    columns = np.stack([weights, weights * error], axis=1)
    fitted, *_ = np.linalg.lstsq(columns, work / weights, rcond=None)
    pulled = PULL * usual
    per_minute = (found.undrafted[:, 1].sum() + pulled * nothing) / (found.undrafted[:, 0].sum() + pulled)
    return max(0.1, float(fitted[0])), max(0.0, float(fitted[1])), float(per_minute)


def _crossing(base: float, per_error: float, from_nothing: float) -> float:
    """Where both lines meet, in errors per word."""
    if from_nothing <= base:
        return LOWEST
    return HIGHEST if per_error <= 0 else min(HIGHEST, max(LOWEST, (from_nothing - base) / per_error))


def _again(rows: Numbers, draw: np.random.Generator) -> Numbers:
    return rows[draw.integers(0, len(rows), len(rows))] if len(rows) else rows


def _minutes(review: Review) -> tuple[float, float]:
    return (review.audio_s or 0.0) / 60, (review.lead_time_s or 0.0) / 60
