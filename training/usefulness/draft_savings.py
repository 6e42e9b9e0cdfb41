"""Reviews -> minutes that drafts saved or cost, by how wrong they were, with counts and intervals. Pure.

Saved is what the same audio would have taken without a draft, at the team's mean rate, less the time it took. Intervals
draw the reviews with and without a draft again. Tasks without a draft are a random sample of all calls, those with one
were picked because they are hard, so the saving is rather understated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.usefulness.work_minutes import LEAST_UNDRAFTED, Numbers, Timed

BANDS = ((0.10, "below 10 %"), (0.20, "10-20 %"), (0.30, "20-30 %"), (0.50, "30-50 %"), (float("inf"), "50 % and more"))
LEAST = 5  # reviews in a band, below which it has no figure
DRAWS = 400
TOO_FEW = "too few to say"
_SEED = 20_261_130


def measure(found: Timed, *, left_out: Sequence[tuple[float, float, float]] = ()) -> dict[str, Any]:
    """`left_out`: (minutes of audio, of work, expected with its draft) of tasks whose draft was left out."""
    draw = np.random.default_rng(_SEED)
    error = found.drafted[:, 2]
    bands, below = [], 0.0
    for upto, name in BANDS:
        bands.append({"errors": name} | _saved(found.drafted[(error >= below) & (error < upto)], found.undrafted, draw))
        below = upto
    return {
        "from_nothing": _rate(found.undrafted, draw),
        "all": _saved(found.drafted, found.undrafted, draw),
        "bands": bands,
        "left_out": _left_out(left_out, draw),
    }


def _saved(some: Numbers, without: Numbers, draw: np.random.Generator) -> dict[str, Any]:
    audio, work = float(some[:, 0].sum()), float(some[:, 1].sum())
    body: dict[str, Any] = {
        "annotations": len(some), "audio_min": round(audio, 2), "work_min": round(work, 2),
        "minutes_per_audio_minute": round(work / audio, 3) if audio else None, "saved_min": None,
    }  # fmt: skip
    if len(some) < LEAST or len(without) < LEAST_UNDRAFTED:
        return body | {"note": TOO_FEW}
    drawn = []
    for _ in range(DRAWS):
        again, nothing = some[draw.integers(0, len(some), len(some))], _drawn(without, draw)
        drawn.append(again[:, 0].sum() * nothing[:, 1].sum() / nothing[:, 0].sum() - again[:, 1].sum())
    rate = float(without[:, 1].sum() / without[:, 0].sum())
    low, high = np.percentile(drawn, [2.5, 97.5])
    return body | {"saved_min": round(audio * rate - work, 2), **_interval(low, high)}


def _rate(without: Numbers, draw: np.random.Generator) -> dict[str, Any]:
    """Minutes of work per minute of audio without a draft."""
    body: dict[str, Any] = {"annotations": len(without), "minutes_per_audio_minute": None}
    if len(without) < LEAST_UNDRAFTED:
        return body | {"note": TOO_FEW}
    drawn = [(some := _drawn(without, draw))[:, 1].sum() / some[:, 0].sum() for _ in range(DRAWS)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    value = without[:, 1].sum() / without[:, 0].sum()
    return body | {"minutes_per_audio_minute": round(float(value), 2), **_interval(low, high)}


def _left_out(rows: Sequence[tuple[float, float, float]], draw: np.random.Generator) -> dict[str, Any]:
    """What leaving poor drafts out saved: the time expected with the draft, less the time it took."""
    found = np.array(rows, dtype=np.float64).reshape(-1, 3)
    body: dict[str, Any] = {"annotations": len(found), "saved_min": None}
    if len(found) < LEAST:
        return body | {"note": TOO_FEW}
    saved = found[:, 2] - found[:, 1]
    drawn = [float(_drawn(saved, draw).sum()) for _ in range(DRAWS)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return body | {"saved_min": round(float(saved.sum()), 2), **_interval(low, high)}


def _drawn(rows: Numbers, draw: np.random.Generator) -> Numbers:
    return rows[draw.integers(0, len(rows), len(rows))]


def _interval(low: float, high: float) -> dict[str, float]:
    return {"low": round(float(low), 2), "high": round(float(high), 2)}
