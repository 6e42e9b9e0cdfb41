"""Promotions and evaluations -> how good the champions of one kind were over time. Reads only.

Scores of different test sets cannot be compared, so a fall of the error rate is made of steps: each promotion compared
both versions on the same calls, and the factors of the steps are multiplied. A version that served before has the level
it had then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.context import Context
from ml_backend.models import kinds
from ml_backend.models.registry import ANY_LANGUAGE, CHAMPION
from ml_backend.reports.intervals import Estimate, Z
from ml_backend.tables import alias_history, evaluations, model_versions
from ml_backend.views.queries import Query

READING = "indic@1"  # that decides about promotions
MOST_MOVES = 1000


@dataclass(frozen=True)
class ChampionScore:
    """One scoring of one version: a rate with its interval, its words, and the test set."""

    version: str
    at: datetime
    wer: Estimate
    test_sha256: str | None


@dataclass(frozen=True)
class ChampionMove:
    """One change of the champion; `before` and `now` are rates on the same calls, where it was compared."""

    at: datetime
    from_version: str | None
    to_version: str
    who: str
    why: str
    before: float | None = None
    now: float | None = None
    spread: float | None = None  # of the logarithm of their ratio

    @property
    def factor(self) -> float | None:
        """The logarithm of now over before."""
        return math.log(self.now / self.before) if self.before and self.now else None


def moves(connection: Connection, *, language: str = ANY_LANGUAGE) -> list[ChampionMove]:
    """The champions that transcribe, oldest first."""
    row = alias_history.c
    latest = (
        sa.select(alias_history)
        .where(row.kind == kinds.ASR, row.language == language, row.alias == CHAMPION)
        .order_by(row.id.desc())
        .limit(MOST_MOVES)
    )
    return [_move(one) for one in reversed(connection.execute(latest).all())]


def scores(connection: Connection, versions: Sequence[str]) -> list[ChampionScore]:
    """Every scoring of these versions that is no comparison, oldest first."""
    version = model_versions.c
    found = (
        sa.select(version.version, evaluations.c.created_at, evaluations.c.scores, evaluations.c.test_sha256)
        .join(model_versions, version.id == evaluations.c.model_version_id)
        .where(version.version.in_(list(versions)), evaluations.c.against_version.is_(None))
        .order_by(evaluations.c.id)
    )
    rows = [(row, rate_of(row.scores)) for row in connection.execute(found)]
    return [ChampionScore(row.version, row.created_at, wer, row.test_sha256) for row, wer in rows if wer is not None]


def over_time(connection: Connection) -> list[dict[str, Any]]:
    """The champion's error rate: one point per promotion, and one for each later scoring while it served."""
    every = moves(connection)
    known = scores(connection, sorted({one.to_version for one in every}))
    found = []
    for place, move in enumerate(every):
        until = every[place + 1].at if place + 1 < len(every) else None
        mine = [one for one in known if one.version == move.to_version]
        before = [one for one in mine if one.at <= move.at]
        later = [one for one in mine if one.at > move.at and (until is None or one.at < until)]
        first = before[-1] if before else later.pop(0) if later else None
        if first is not None:
            found.append(_point(move, first, at=move.at, promoted=place > 0))
        found += [_point(move, one, at=one.at, promoted=False) for one in later]
    return found


def fall(
    every: Sequence[ChampionMove], known: Sequence[ChampionScore], *, since: datetime, until: datetime
) -> tuple[Estimate | None, str]:
    """(how much of the error rate went away between two times, counting promotions; or None and why)."""
    inside = [one for one in every if since <= one.at < until]
    if not any(one.at < until for one in every):
        return None, "No version served yet."
    levels: dict[str, tuple[float, float]] = {}
    begun = [one for one in every if one.at < since]
    if begun:
        levels[begun[-1].to_version] = (0.0, 0.0)
    here, steps = (0.0, 0.0), 0
    for one in inside:
        if not levels:  # the first champion ever: the start
            levels[one.to_version] = here
            continue
        step = _step(one, known)
        if step is not None:
            here = (here[0] + step[0], here[1] + step[1])
        elif one.to_version in levels:
            here = levels[one.to_version]
        else:
            return None, f"{one.to_version} was made the champion without a comparison on the same calls."
        levels[one.to_version] = here
        steps += 1
    half = Z * math.sqrt(here[1])
    if not steps:
        return Estimate(0.0, 0), ""
    return Estimate(1 - math.exp(here[0]), steps, 1 - math.exp(here[0] + half), 1 - math.exp(here[0] - half)), ""


def rate_of(scores_: Mapping[str, Any] | None) -> Estimate | None:
    """The word error rate of stored scores; None where they have none."""
    body = ((scores_ or {}).get("rates") or {}).get(READING) or {}
    return _estimate(body.get("wer"), body.get("words"))


def _step(move: ChampionMove, known: Sequence[ChampionScore]) -> tuple[float, float] | None:
    """(logarithm of the ratio, its variance): as compared by the promotion, else scores of one test set."""
    if (factor := move.factor) is not None:
        return factor, (move.spread or 0.0) ** 2
    for now in reversed([one for one in known if one.version == move.to_version and one.test_sha256]):
        for before in reversed([one for one in known if one.version == move.from_version]):
            if before.test_sha256 == now.test_sha256 and before.wer.value > 0 and now.wer.value > 0:
                return math.log(now.wer.value / before.wer.value), _spread(now.wer) ** 2 + _spread(before.wer) ** 2
    return None


def _move(row: Any) -> ChampionMove:
    numbers = row.numbers or {}
    before, now, difference = (numbers.get(name) for name in ("before", "now", "difference"))
    spread = (difference[2] - difference[1]) / (2 * Z) / now if difference and now else None
    return ChampionMove(row.created_at, row.from_version, row.to_version, row.who, row.why, before, now, spread)


def _estimate(found: Sequence[float] | None, words: Any) -> Estimate | None:
    return Estimate(found[0], int(words or 0), found[1], found[2]) if found else None


def _spread(one: Estimate) -> float:
    return (one.high - one.low) / (2 * Z) / one.value if one.low is not None and one.high is not None else 0.0


def _point(move: ChampionMove, score: ChampionScore, *, at: datetime, promoted: bool) -> dict[str, Any]:
    return {
        "at": at.isoformat(), "version": score.version, **score.wer.to_dict(), "test_sha256": score.test_sha256,
        "promoted": promoted, "who": move.who if promoted else None,
    }  # fmt: skip


def of(context: Context, query: Query | None = None) -> dict[str, Any]:
    """The report: the error rate of the champions over time, and every promotion with its reason."""
    with context.db.reading() as connection:
        every = moves(connection)
        points = over_time(connection)
    return {
        "reading": READING,
        "points": points,
        "promotions": [
            {
                "at": one.at.isoformat(), "from": one.from_version, "to": one.to_version, "who": one.who,
                "why": one.why, "before": one.before, "now": one.now,
            }
            for one in every
        ],
    }  # fmt: skip
