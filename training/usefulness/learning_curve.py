"""Evaluations -> WER against hours of annotation per language, fitted, or why that is too early.

    WER = floor + scale x hours ^ -exponent

An inverse power law with an irreducible part describes how error falls with data (Hestness et al., "Deep Learning
Scaling is Predictable, Empirically", 2017) and serves to predict how much more is needed (Figueroa et al., "Predicting
sample size required for classification performance", 2012). WERs are comparable on one test set only, and test sets
grow. So each test set has a scale of its own and all share the exponent; what is predicted is the latest test set. With
fewer than FLOOR_POINTS different hours the floor is taken as 0, which is optimistic, and the report says so.

The interval is a parametric bootstrap: WERs are drawn again around the curve, within their own intervals and the
scatter that is left, and fitted again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.models import kinds
from ml_backend.tables import datasets, evaluations, model_versions, runs

NEWEST = 500  # evaluations
LEAST_POINTS = 3  # different hours on test sets that compare them
FLOOR_POINTS = 5
LEAST_RANGE = 1.5  # the most hours over the fewest
LEAST_CALLS = 5  # of the language, in the test set
DRAWS = 300
SURE = 0.95
SCATTER = 0.03  # relative; the least that one training run differs from another
_SEED = 20_261_130
_FLOORS = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75)  # of the lowest WER

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CurvePoint:
    """One version on one test set: its WER in a language, and the hours of that language it was trained on."""

    version: str
    test: str
    hours: float
    wer: float
    low: float
    high: float
    calls: int
    evaluation_id: int

    @property
    def error(self) -> float:
        """The relative standard error of the WER."""
        return max((self.high - self.low) / 3.92, 0.002) / max(self.wer, 0.002)


def points(connection: Connection) -> dict[str, list[CurvePoint]]:
    """Language -> the newest evaluation of each version and test set, of versions trained here."""
    statement = (
        sa.select(
            evaluations.c.id, evaluations.c.scores, evaluations.c.test_sha256, evaluations.c.normalisers,
            model_versions.c.version, datasets.c.counts,
        )
        .join(model_versions, model_versions.c.id == evaluations.c.model_version_id)
        .join(runs, runs.c.id == model_versions.c.run_id)
        .join(datasets, datasets.c.id == runs.c.dataset_id)
        .where(model_versions.c.kind == kinds.ASR, evaluations.c.against_version.is_(None))
        .order_by(evaluations.c.id.desc())
        .limit(NEWEST)
    )  # fmt: skip
    found: dict[str, dict[tuple[str, str], CurvePoint]] = defaultdict(dict)
    for row in connection.execute(statement):
        test = f"{row.test_sha256} {row.normalisers}"  # another reading counts other errors
        for language, one in ((row.scores or {}).get("slices") or {}).get("language", {}).items():
            hours, wer = _hours(row.counts, language), one.get("wer")
            if hours and wer and int(one.get("calls") or 0) >= LEAST_CALLS:
                value, low, high = map(float, wer)
                point = CurvePoint(row.version, test, hours, value, low, high, int(one["calls"]), int(row.id))
                found[language].setdefault((row.version, test), point)
    return {language: sorted(some.values(), key=lambda one: one.evaluation_id) for language, some in found.items()}


def fit(some: Sequence[CurvePoint]) -> dict[str, Any]:
    """The curve of one language as `summaries` has it: its points, and a fit or `too_early`."""
    body: dict[str, Any] = {"points": [asdict(one) | {"test": one.test[:12]} for one in some], "fit": None}
    body["hours"] = max((one.hours for one in some), default=0.0)
    used = comparable(some)
    distinct = sorted({round(one.hours, 3) for one in used})
    if len(distinct) < LEAST_POINTS:
        return body | {"too_early": f"it takes versions trained on {LEAST_POINTS} different amounts of speech and "
                       f"scored on one test set; there are {len(distinct)}"}  # fmt: skip
    if distinct[-1] < LEAST_RANGE * distinct[0]:
        return body | {"too_early": f"all versions were trained on nearly the same amount, {distinct[0]:.1f} to "
                       f"{distinct[-1]:.1f} hours"}  # fmt: skip
    with_floor = len(distinct) >= FLOOR_POINTS
    curve = _Curve(used, with_floor=with_floor)
    draws = curve.draws()
    falling = float(np.mean(draws[:, 1] > 0))
    if falling < SURE:
        return body | {"too_early": "WER has not surely fallen with more hours so far"}
    scale, exponent, floor = curve.best
    return body | {
        "fit": {
            "scale": round(scale, 6), "exponent": round(exponent, 5), "floor": round(floor, 5),
            "with_floor": with_floor, "points": len(used), "test": used[-1].test[:12],
        },
        "draws": [[round(float(value), 6) for value in row] for row in draws],
    }  # fmt: skip


def comparable(some: Sequence[CurvePoint]) -> list[CurvePoint]:
    """The points on test sets that at least two different hours were scored on, those of the latest such set last."""
    hours: Mapping[str, set[float]] = defaultdict(set)
    latest: dict[str, int] = {}
    for one in some:
        hours[one.test].add(round(one.hours, 3))
        latest[one.test] = max(one.evaluation_id, latest.get(one.test, 0))
    used = [one for one in some if len(hours[one.test]) > 1]
    return sorted(used, key=lambda one: (latest[one.test], one.evaluation_id))


class _Curve:
    """Least squares in logarithms: log(WER - floor) = log(scale of the test set) - exponent x log(hours)."""

    def __init__(self, used: Sequence[CurvePoint], *, with_floor: bool) -> None:
        tests = sorted({one.test for one in used}, key=lambda test: test == used[-1].test)
        self._columns = np.zeros((len(used), len(tests) + 1))
        for row, one in enumerate(used):
            self._columns[row, tests.index(one.test)] = 1.0
            self._columns[row, -1] = -np.log(one.hours)
        self._wer = np.array([one.wer for one in used])
        self._error = np.array([np.hypot(one.error, SCATTER) for one in used])
        self._floors = _FLOORS if with_floor else (0.0,)
        self._free = max(1, len(used) - self._columns.shape[1] - (1 if with_floor else 0))
        self._solution, self._floor = self._solve(self._wer)

    @property
    def best(self) -> tuple[float, float, float]:
        """(scale of the latest test set, exponent, floor)."""
        return float(np.exp(self._solution[-2])), float(self._solution[-1]), self._floor

    def draws(self) -> Numbers:
        """Lines of (scale, exponent, floor), fitted to WERs drawn again."""
        fitted = self._floor + np.exp(self._columns @ self._solution)
        scatter = (np.log(self._wer) - np.log(fitted)) / self._error
        spread = self._error * max(1.0, float(np.sqrt((scatter**2).sum() / self._free)))
        draw = np.random.default_rng(_SEED)
        found = []
        for _ in range(DRAWS):
            solution, floor = self._solve(fitted * np.exp(draw.normal(0, spread)))
            found.append((np.exp(solution[-2]), solution[-1], floor))
        return np.array(found)

    def _solve(self, wer: Numbers) -> tuple[Numbers, float]:
        found: list[tuple[float, Numbers, float]] = []
        for share in self._floors:
            floor = share * float(wer.min())
            weights = (wer - floor) / (wer * self._error)  # an error of the WER weighs more, near the floor
            columns = self._columns * weights[:, None]
            solution, *_ = np.linalg.lstsq(columns, np.log(wer - floor) * weights, rcond=None)
            left = float((((self._columns @ solution) - np.log(wer - floor)) ** 2 * weights**2).sum())
            found.append((left, solution, floor))
        _, solution, floor = min(found, key=lambda one: one[0])
        return solution, floor


def _hours(counts: Any, language: str) -> float:
    """The hours of a language in the training part: its hours in the dataset, by the part's share of all."""
    if not isinstance(counts, Mapping):
        return 0.0
    mine = ((counts.get("languages") or {}).get(language) or {}).get("hours") or 0.0
    train = ((counts.get("splits") or {}).get("train") or {}).get("hours") or 0.0
    every = counts.get("hours") or 0.0
    return float(mine) * min(1.0, float(train) / float(every)) if every else 0.0
