"""Ratings from 1 to 5, and choices between two -> how good a voice is, and how sure that is. Pure.

People differ more than voices do: the most and the least generous rater of a test lie two points apart (Rosenberg and
Ramabhadran, "Bias and statistical significance in evaluating speech synthesis with mean opinion scores", Interspeech
2017), and the ratings of one person, or of one sentence, go together. So

    centred     a score is (what the clip is worth) + (how generous the rater is), fitted together; a voice that met
                generous raters gains nothing by it
    interval    raters and sentences are both drawn again with replacement (Owen, "The pigeonhole bootstrap", 2007), and
                its half-width is widened for few raters by Student's t
    decision    the lower bound decides whether a target is met; below LEAST_RATERS the figure is provisional
    anchors     everybody also rates, unknowingly, a person's recording and a copy that we made worse. Whoever finds the
                copy as good has not listened, and is left out

A preference is counted by sentence, because the votes on one sentence go together: the sign test is one-sided and
exact, and a sentence without a majority does not count.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

AXES = ("naturalness", "pronunciation", "emotion")
LOWEST, HIGHEST = 1, 5
LEAST_RATERS = 6
LEAST_SENTENCES = 2
REFERENCE, DEGRADED = "reference", "degraded"
RESAMPLES = 1000
CONFIDENT = 0.05  # of a sign test
_SEED = 20_261_130
_ROUNDS = 3  # of fitting clips and raters by turns
_AT_ONCE = 4_000_000  # numbers in memory
_Z = 1.959964

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rating:
    """One score by one person for one clip on one axis. `role`: reference or degraded, for an anchor."""

    rater: Hashable
    sentence: Hashable
    axis: str
    score: float
    voice: str = ""
    language: str = ""
    version: str = ""
    role: str | None = None


@dataclass(frozen=True)
class LeftOutRater:
    """A rater whose votes do not count, and why."""

    rater: Hashable
    votes: int
    code: str
    reason: str


@dataclass(frozen=True)
class Opinion:
    """The mean opinion score of one group on one axis with its 95 % interval; no interval where there is too little."""

    mean: float
    low: float | None
    high: float | None
    raters: int
    sentences: int
    votes: int

    @property
    def provisional(self) -> bool:
        return self.raters < LEAST_RATERS or self.low is None

    def meets(self, target: float) -> bool:
        """Whether the target is met: by the lower bound, with enough raters."""
        return not self.provisional and self.low is not None and self.low >= target

    def to_json(self) -> dict[str, Any]:
        return {
            "mean": round(self.mean, 3),
            "low": None if self.low is None else round(self.low, 3),
            "high": None if self.high is None else round(self.high, 3),
            "raters": self.raters,
            "sentences": self.sentences,
            "votes": self.votes,
            "provisional": self.provisional,
        }


@dataclass(frozen=True)
class Preference:
    """Old against new, by sentence. `p` is the chance of so many wins if neither is better."""

    wins: int
    losses: int
    ties: int
    votes: int
    raters: int
    p: float

    @property
    def provisional(self) -> bool:
        return self.raters < LEAST_RATERS

    @property
    def better(self) -> bool:
        """Whether the new one is surely preferred."""
        return not self.provisional and self.p < CONFIDENT

    def to_json(self) -> dict[str, Any]:
        more = {"p": round(self.p, 5), "provisional": self.provisional, "better": self.better}
        return {name: getattr(self, name) for name in ("wins", "losses", "ties", "votes", "raters")} | more


def screened(ratings: Iterable[Rating]) -> tuple[list[Rating], list[LeftOutRater]]:
    """The ratings that count, and the raters that are left out."""
    found = list(ratings)
    if wrong := [one for one in found if not LOWEST <= one.score <= HIGHEST]:
        raise ValueError(f"{len(wrong)} ratings are outside {LOWEST} to {HIGHEST}")
    by_rater: defaultdict[Hashable, list[Rating]] = defaultdict(list)
    for one in found:
        by_rater[one.rater].append(one)
    left_out = [out for rater, mine in by_rater.items() if (out := _failed(rater, mine)) is not None]
    names = {out.rater for out in left_out}
    return [one for one in found if one.rater not in names], left_out


def _failed(rater: Hashable, mine: Sequence[Rating]) -> LeftOutRater | None:
    """Compared on the sentences whose reference and degraded copy the rater met, else over all anchors."""
    scores: dict[str, defaultdict[Hashable, list[float]]] = {REFERENCE: defaultdict(list), DEGRADED: defaultdict(list)}
    for one in mine:
        if one.role in scores:
            scores[one.role][one.sentence, one.axis].append(one.score)
    both = scores[REFERENCE].keys() & scores[DEGRADED].keys()
    means = [
        [score for key, some in scores[role].items() if not both or key in both for score in some]
        for role in (REFERENCE, DEGRADED)
    ]
    if not means[0] or not means[1]:
        return None
    reference, degraded = (sum(each) / len(each) for each in means)
    if degraded < reference:
        return None
    said = f"Rated the degraded copies {degraded:.2f} and the recordings of people {reference:.2f}."
    return LeftOutRater(rater, len(mine), "anchors", said)


def opinion(ratings: Sequence[Rating], chosen: Sequence[Rating]) -> Opinion | None:
    """The score of `chosen`, one axis; all `ratings` of that axis say how generous each rater is."""
    return opinions(ratings, [chosen])[0]


def opinions(ratings: Sequence[Rating], groups: Sequence[Sequence[Rating]]) -> list[Opinion | None]:
    """`opinion` of several groups, on the same draws."""
    if not any(groups):
        return [None] * len(groups)
    table = _Table(ratings)
    clips = [table.clips_of(chosen) for chosen in groups]
    values = table.means(np.ones((1, table.raters)), np.ones((1, table.sentences)), clips)[0]
    drawn = table.drawn(clips)
    return [_opinion(chosen, float(values[place]), drawn[:, place]) for place, chosen in enumerate(groups)]


def _opinion(chosen: Sequence[Rating], value: float, draws: Numbers) -> Opinion | None:
    if not chosen:
        return None
    raters, sentences = len({one.rater for one in chosen}), len({one.sentence for one in chosen})
    if raters < 2 or sentences < LEAST_SENTENCES:
        return Opinion(value, None, None, raters, sentences, len(chosen))
    low, high = _interval(draws, value, raters)
    return Opinion(value, max(LOWEST, low), min(HIGHEST, high), raters, sentences, len(chosen))


def difference(ratings: Sequence[Rating], old: Sequence[Rating], new: Sequence[Rating]) -> Opinion | None:
    """New minus old on one axis, over the sentences that both have and that were rated by the same people."""
    shared = {one.sentence for one in old} & {one.sentence for one in new}
    old, new = ([one for one in some if one.sentence in shared] for some in (old, new))
    people = {one.rater for one in old} & {one.rater for one in new}
    if not shared or not people:
        return None
    table = _Table(ratings)
    groups = [table.clips_of(old), table.clips_of(new)]
    ones = np.ones((1, table.raters)), np.ones((1, table.sentences))
    before, after = table.means(*ones, groups)[0]
    value, votes = float(after - before), len(old) + len(new)
    if len(people) < 2 or len(shared) < LEAST_SENTENCES:
        return Opinion(value, None, None, len(people), len(shared), votes)
    drawn = table.drawn(groups)
    low, high = _interval(drawn[:, 1] - drawn[:, 0], value, len(people))
    return Opinion(value, low, high, len(people), len(shared), votes)


def preference(votes: Iterable[tuple[Hashable, Hashable, int]]) -> Preference:
    """(rater, sentence, +1 new, -1 old, 0 no difference) -> the sign test over sentences."""
    found = list(votes)
    sums: Counter[Hashable] = Counter()
    for _, sentence, side in found:
        sums[sentence] += side
    wins, losses = sum(each > 0 for each in sums.values()), sum(each < 0 for each in sums.values())
    people = len({rater for rater, _, _ in found})
    return Preference(wins, losses, len(sums) - wins - losses, len(found), people, sign_test(wins, wins + losses))


def sign_test(wins: int, of: int) -> float:
    """The chance of `wins` or more among `of` fair coins."""
    return float(sum(math.comb(of, each) for each in range(wins, of + 1)) / 2**of)


class _Table:
    """Raters x clips of one axis. A clip is a sentence as one voice of one version spoke it."""

    def __init__(self, ratings: Sequence[Rating]) -> None:
        people = {rater: place for place, rater in enumerate(dict.fromkeys(one.rater for one in ratings))}
        sentences = {name: place for place, name in enumerate(dict.fromkeys(one.sentence for one in ratings))}
        self._clips = {clip: place for place, clip in enumerate(dict.fromkeys(map(_clip, ratings)))}
        self.raters, self.sentences = len(people), len(sentences)
        sums = np.zeros((len(people), len(self._clips)))
        self._times = np.zeros_like(sums)
        self._sentence_of = np.zeros(len(self._clips), np.intp)
        for one in ratings:
            place = people[one.rater], self._clips[_clip(one)]
            sums[place] += one.score
            self._times[place] += 1
            self._sentence_of[place[1]] = sentences[one.sentence]
        self._scores = np.divide(sums, self._times, out=np.zeros_like(sums), where=self._times > 0)
        self._there = (self._times > 0).astype(np.float64)

    def clips_of(self, ratings: Sequence[Rating]) -> npt.NDArray[np.bool_]:
        chosen = np.zeros(len(self._clips), bool)
        chosen[[self._clips[_clip(one)] for one in ratings]] = True
        return chosen

    def means(self, raters: Numbers, sentences: Numbers, groups: Sequence[npt.NDArray[np.bool_]]) -> Numbers:
        """[draws, groups]: the mean worth of each group's clips, for `raters` and `sentences` drawn so many times."""
        clips = sentences[:, self._sentence_of]
        seen = raters @ self._there  # how many of the drawn raters met a clip
        met = np.maximum(clips @ self._there.T, 1e-12)  # how many of the drawn clips a rater met
        given, received = raters @ self._scores, clips @ self._scores.T
        generous = np.zeros_like(raters)
        for _ in range(_ROUNDS):
            worth = (given - (raters * generous) @ self._there) / np.maximum(seen, 1e-12)
            generous = (received - (clips * worth) @ self._there.T) / met
            generous -= (raters * generous).sum(axis=1, keepdims=True) / raters.sum(axis=1, keepdims=True)
        worth = (given - (raters * generous) @ self._there) / np.maximum(seen, 1e-12)
        counted = clips * (seen > 0)
        inside = np.stack(groups, axis=1).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Numbers = ((worth * counted) @ inside) / (counted @ inside)
        return found

    def drawn(self, groups: Sequence[npt.NDArray[np.bool_]]) -> Numbers:
        """`means` of RESAMPLES draws; not a number where a group has no clip in a draw."""
        draw = np.random.default_rng(_SEED)
        at_once = max(1, min(RESAMPLES, _AT_ONCE // max(1, len(self._clips))))
        found, left = [], RESAMPLES
        while left > 0:
            size = min(left, at_once)
            people = draw.multinomial(self.raters, np.full(self.raters, 1 / self.raters), size=size)
            sentences = draw.multinomial(self.sentences, np.full(self.sentences, 1 / self.sentences), size=size)
            found.append(self.means(people.astype(np.float64), sentences.astype(np.float64), groups))
            left -= size
        return np.concatenate(found)


def _clip(one: Rating) -> tuple[Hashable, ...]:
    return (one.sentence, one.voice, one.language, one.version, one.role)


def _interval(draws: Numbers, value: float, raters: int) -> tuple[float, float]:
    """Percentiles of the draws, widened for few raters, whose spread is a guess."""
    draws = draws[np.isfinite(draws)]
    low, high = np.percentile(draws, [2.5, 97.5]) if draws.size else (value, value)
    wider = students_t(raters - 1) / _Z
    return value - (value - float(low)) * wider, value + (float(high) - value) * wider


def students_t(degrees: int) -> float:
    """The 97.5 % point of Student's t; exact for 1 and 2, else Hill's expansion, right to 0.005."""
    if degrees == 1:
        return 12.706
    if degrees == 2:
        return 4.303
    z, n = _Z, float(degrees)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + first / n + second / n**2 + third / n**3 + fourth / n**4
