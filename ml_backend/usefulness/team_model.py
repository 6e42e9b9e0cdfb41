"""`summaries` row -> TeamModel: how wrong drafts are, how long people need, and which speech is annotated too little.

The job `learn-usefulness` writes the row (training/usefulness). Before that, and for whatever it has too few
corrections for, the priors below apply. Priors and their sources: docs/explanation/usefulness.md.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.tables import summaries

NAME = "team-model"
EVERY = "*"  # all languages together

BREAK_EVEN = 0.30  # WER above which people write faster than they correct: Gaur et al., W4A 2016
FROM_NOTHING = 4.0  # minutes of work per minute of audio without a draft: the same study
WITH_PERFECT_DRAFT = 1.3  # somebody who corrects still listens to all of it
PER_ERROR = (FROM_NOTHING - WITH_PERFECT_DRAFT) / BREAK_EVEN  # so that the two lines meet at the break-even
TYPICAL_GAIN = 10.0  # wrong words corrected per minute at usefulness 0.5
LEAST_CORRECTIONS = 30  # with drafts, in one language, before a draft is withheld


@dataclass(frozen=True)
class ErrorCurve:
    """Expected errors per word by the draft's confidence: `errors[i]` up to `edges[i]`, which rise."""

    edges: tuple[float, ...]
    errors: tuple[float, ...]
    corrections: int = 0

    def at(self, confidence: float) -> float:
        """The expected error of a draft of this confidence."""
        return self.errors[min(bisect_right(self.edges, confidence), len(self.errors) - 1)]


@dataclass(frozen=True)
class WorkMinutes:
    """Minutes of work per minute of audio: `base + per_error x expected error` with a draft, `from_nothing` without."""

    base: float = WITH_PERFECT_DRAFT
    per_error: float = PER_ERROR
    from_nothing: float = FROM_NOTHING
    drafted: int = 0  # annotations it was measured on
    undrafted: int = 0

    def with_draft(self, error: float) -> float:
        """Who finds a draft useless deletes it and writes, so it costs at most a fifth more than no draft."""
        return min(self.base + self.per_error * error, max(self.base, 1.2 * self.from_nothing))


@dataclass(frozen=True)
class BreakEven:
    """The WER above which a draft costs more time than it saves, with its 95 % interval; the prior's at first."""

    value: float = BREAK_EVEN
    low: float = 0.10
    high: float = 0.50
    drafted: int = 0
    undrafted: int = 0

    @property
    def measured(self) -> bool:
        """Whether the team's own times are in it."""
        return self.drafted > 0


@dataclass(frozen=True)
class TeamModel:
    """All that is learnt. `slices`: kind -> name -> weight; `worth`: language -> what one corrected error is worth,
    1 being the average; `known_words`: language -> words that several calls have taught already."""

    errors: Mapping[str, ErrorCurve] = field(default_factory=dict)
    usable: ErrorCurve | None = None  # the share of tasks that get a text, by confidence
    minutes: WorkMinutes = WorkMinutes()
    break_even: BreakEven = BreakEven()
    slices: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    worth: Mapping[str, float] = field(default_factory=dict)
    known_words: Mapping[str, frozenset[str]] = field(default_factory=dict)
    typical_gain: float = TYPICAL_GAIN
    corrections: int = 0

    def expected_error(self, language: str | None, confidence: float) -> float:
        """Errors per word that a draft of this confidence is expected to have."""
        curve = self.errors.get(language or "") or self.errors.get(EVERY)
        return prior_error(confidence) if curve is None else curve.at(confidence)

    def usable_share(self, confidence: float) -> float:
        """The expected share of tasks that end with a text, neither skipped nor rejected."""
        return 1.0 if self.usable is None else self.usable.at(confidence)

    def is_calibrated(self, language: str | None) -> bool:
        """Whether enough corrections in this language tell what its confidence means."""
        curve = self.errors.get(language or "")
        return curve is not None and curve.corrections >= LEAST_CORRECTIONS


PRIOR = TeamModel()


def prior_error(confidence: float) -> float:
    """Before anything is learnt: the confidence is taken at its word."""
    return min(1.0, max(0.02, 1.0 - confidence))


def read(connection: Connection) -> TeamModel:
    """The learnt model, or the priors before the job's first run."""
    made = connection.execute(sa.select(summaries.c.made_at).where(summaries.c.name == NAME)).scalar()
    if made is None:
        return PRIOR
    if (known := _last.get(made)) is None:
        body = connection.execute(sa.select(summaries.c.body).where(summaries.c.name == NAME)).scalar()
        _last.clear()
        known = _last[made] = from_json(body)
    return known


_last: dict[Any, TeamModel] = {}


def from_json(body: Any) -> TeamModel:
    """The model of a stored body; what an older body lacks is the prior's."""
    if not isinstance(body, Mapping):
        return PRIOR
    usable = body.get("usable")
    return TeamModel(
        errors={language: _curve(curve) for language, curve in (body.get("errors") or {}).items()},
        usable=_curve(usable) if usable else None,
        minutes=WorkMinutes(**(body.get("minutes") or {})),
        break_even=BreakEven(**(body.get("break_even") or {})),
        slices=body.get("slices") or {},
        worth=body.get("worth") or {},
        known_words={language: frozenset(words) for language, words in (body.get("known_words") or {}).items()},
        typical_gain=float(body.get("typical_gain") or TYPICAL_GAIN),
        corrections=int(body.get("corrections") or 0),
    )


def _curve(body: Mapping[str, Any]) -> ErrorCurve:
    return ErrorCurve(tuple(body["edges"]), tuple(body["errors"]), int(body.get("corrections") or 0))
