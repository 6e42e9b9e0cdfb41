"""How each of the company's success metrics is measured.

Counts come from `day_counts`, which a job keeps; scores, promotions and opinions are read as they are, being few.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from ml_backend.calls.events import zone_of
from ml_backend.context import Context
from ml_backend.latency_buckets import LatencyBuckets
from ml_backend.models import kinds, registry
from ml_backend.reports import champion_history, day_counts, intervals
from ml_backend.reports.champion_history import ChampionMove, ChampionScore
from ml_backend.reports.intervals import Estimate, Ratio

WEEKS = 12
QUARTER_DAYS, MONTH_DAYS, WEEK_DAYS = 91, 28, 7
UPTIME_DAYS = 30
PERCENTILE = 0.95
LEAST = 20  # observations of a share, a mean or a percentile
LEAST_DAYS = 5  # on which somebody worked
OPINION = "naturalness"

Days = Mapping[date, Mapping[str, Any]]


@dataclass(frozen=True)
class MetricFacts:
    """What is known of one metric. `parts`: the value's components by name. `why`: why it is not judged."""

    now: Estimate | None = None
    trend: tuple[tuple[date, Estimate], ...] = ()
    parts: tuple[tuple[str, Estimate], ...] = ()
    why: str = ""
    next: str = ""
    note: str = ""


@dataclass(frozen=True)
class SuccessFacts:
    """What the metrics are read from."""

    context: Context
    days: Days
    today: date
    begun: date | None  # the first day on which anything was counted
    mos: Days
    moves: list[ChampionMove]
    scored: list[ChampionScore]

    def window(self, length: int, *, back: int = 0) -> list[Mapping[str, Any]]:
        """The counts of `length` days, the last of them `back` days ago."""
        last = self.today - timedelta(days=back)
        found = (self.days.get(last - timedelta(days=each)) for each in range(length))
        return [one for one in found if one is not None]

    def trend(
        self, of: Callable[[list[Mapping[str, Any]]], Estimate | None], length: int = WEEK_DAYS, *, back: int = 0
    ) -> tuple[tuple[date, Estimate], ...]:
        """One point a week, the oldest first, each over `length` days."""
        found = [(7 * week + back, of(self.window(length, back=7 * week + back))) for week in reversed(range(WEEKS))]
        return tuple((self.today - timedelta(days=ago), value) for ago, value in found if value is not None)


@dataclass(frozen=True)
class SuccessMetric:
    """One metric. `sign` is how its value is compared with the target; `of` is what its count counts."""

    name: str
    title: str
    unit: str  # h, share, mos, s, min
    sign: str
    of: str
    window: str
    counted: str
    measure: Callable[[SuccessFacts], MetricFacts]
    least: int = 1

    def meets(self, value: float, target: float) -> bool:
        return {">": value > target, ">=": value >= target, "<": value < target, "<=": value <= target}[self.sign]


def read(context: Context) -> SuccessFacts:
    """Everything that the metrics are made of; a few queries, whatever has grown."""
    today = day_counts.today_of(context)
    since = today - timedelta(days=QUARTER_DAYS + 7 * WEEKS)
    days = day_counts.kept(context.db, day_counts.SUCCESS, since=since)
    with context.db.reading() as connection:
        moves = champion_history.moves(connection)
        scored = champion_history.scores(connection, sorted({one.to_version for one in moves}))
    begun = next((day for day, body in days.items() if _anything(body)), None)
    mos = day_counts.kept(context.db, day_counts.MOS, since=since)
    return SuccessFacts(context, days, today, begun, mos, moves, scored)


def _anything(body: Mapping[str, Any]) -> bool:
    """Whether anything at all happened on a day."""
    return bool(body["data"]["recordings"] or body["tasks"]["made"] or body["samples"]["samples"] or body["calls"])


def _amount(facts: SuccessFacts, part: str, counts: str, length: int, *, next_step: str) -> MetricFacts:
    """Hours of audio in a window. An amount is judged when the whole window has passed."""

    def hours(days: list[Mapping[str, Any]]) -> Estimate | None:
        number = sum(day[part][counts] for day in days)
        return Estimate(sum(day[part]["audio_s"] for day in days) / 3600, number) if days else None

    found = MetricFacts(hours(facts.window(length)), facts.trend(hours, length), next=next_step)
    passed = (facts.today - facts.begun).days + 1 if facts.begun else 0
    if found.now is None or not facts.begun:
        return replace(found, now=None, why="Nothing came yet.")
    note = f"{passed} of {length} days have passed since the first." if passed < length else ""
    return replace(found, note=note)


def _data(facts: SuccessFacts) -> MetricFacts:
    return _amount(
        facts, "data", "recordings", WEEK_DAYS,
        next_step="See what became of every call: `python -m ml_backend calls summary`.",
    )  # fmt: skip


def _dataset(facts: SuccessFacts) -> MetricFacts:
    return _amount(
        facts, "samples", "samples", QUARTER_DAYS,
        next_step="See what was left out and why: `python -m ml_backend training status`.",
    )  # fmt: skip


def _in_time(facts: SuccessFacts) -> MetricFacts:
    def share(days: list[Mapping[str, Any]]) -> Estimate | None:
        return intervals.share(sum(day["tasks"]["in_time"] for day in days), sum(day["tasks"]["made"] for day in days))

    settled = WEEK_DAYS + 1  # the tasks of later days still have time
    now = share(facts.window(MONTH_DAYS, back=settled))
    return MetricFacts(
        now, facts.trend(share, back=settled),
        why="" if now else "No task is older than seven days.",
        next="Fewer tasks (REVIEW_MAX_CONFIDENCE, AUDIT_SHARE, MAX_OPEN_TASKS) or more time of annotators.",
    )  # fmt: skip


def _fall(facts: SuccessFacts) -> MetricFacts:
    def between(back: int) -> tuple[Estimate | None, str]:
        until = _end_of(facts, back)
        since = until - timedelta(days=QUARTER_DAYS)
        return champion_history.fall(facts.moves, facts.scored, since=since, until=until)

    now, why = between(0)
    points = ((7 * week, between(7 * week)[0]) for week in reversed(range(WEEKS)))
    trend = tuple((facts.today - timedelta(days=back), point) for back, point in points if point is not None)
    note = "" if now is None or now.count else "No version was promoted in the quarter."
    return MetricFacts(
        now, trend, why=why, note=note,
        next="Train and promote: `python -m ml_backend training status` says what is missing for the next run.",
    )  # fmt: skip


def _wer(facts: SuccessFacts) -> MetricFacts:
    serving = registry.aliased(facts.context, kinds.ASR)
    mine = [one for one in facts.scored if serving is not None and one.version == serving.version]
    if not mine:
        name = serving.version if serving else "the version that serves"
        return MetricFacts(
            why=f"No test set has scored {name}." if serving else "No version serves yet.",
            next="Score it: `python -m ml_backend export`, then `python -m ml_backend evaluate champion`.",
        )
    trend = []
    for week in reversed(range(WEEKS)):
        until = _end_of(facts, 7 * week)
        if (point := _served_then(facts, until)) is not None:
            trend.append((facts.today - timedelta(days=7 * week), point))
    return MetricFacts(
        mine[-1].wer, tuple(trend), note=f"Version {mine[-1].version}.",
        next="Annotate more, and train: `python -m ml_backend training status`.",
    )  # fmt: skip


def _mos(facts: SuccessFacts) -> MetricFacts:
    serving = registry.aliased(facts.context, kinds.TTS)
    name = serving.version if serving else ""
    by_day = [(day, _opinion(body.get(name))) for day, body in facts.mos.items()]
    known = [(day, one) for day, one in by_day if one is not None]
    if not known:
        return MetricFacts(
            why=f"Nobody has rated {name or 'a voice'} yet.",
            next="Rate it: docs/how-to/rate-voices.md; `python -m ml_backend ratings summary` shows what is there.",
        )
    body = facts.mos[known[-1][0]][name]
    parts = tuple((axis, one) for axis in body if (one := _opinion(body, axis)) is not None)
    note = "Provisional: fewer than six people rated it." if (body[OPINION] or {}).get("provisional") else ""
    return MetricFacts(known[-1][1], tuple(known[-WEEKS * 7 :: 7]), parts, note=f"Version {name}. {note}".strip())


def _latency(facts: SuccessFacts) -> MetricFacts:
    def by_component(days: list[Mapping[str, Any]]) -> dict[str, Estimate]:
        sums: dict[str, LatencyBuckets] = {}
        for day in days:
            theirs = (day["calls"] or {}).get("latencies") or {}
            named = [*day["latency"].items(), *((f"{name} (reported)", one) for name, one in theirs.items())]
            for name, body in named:
                sums.setdefault(name, LatencyBuckets()).merge(LatencyBuckets.from_json(body))
        found = {name: intervals.quantile(buckets, PERCENTILE) for name, buckets in sorted(sums.items())}
        return {name: one for name, one in found.items() if one is not None}

    def slowest(days: list[Mapping[str, Any]]) -> Estimate | None:
        enough = [one for one in by_component(days).values() if one.count >= LEAST]
        every = enough or list(by_component(days).values())
        return max(every, key=lambda one: one.value, default=None)

    window = facts.window(WEEK_DAYS)
    now = slowest(window)
    return MetricFacts(
        now, facts.trend(slowest), tuple(by_component(window).items()),
        why="" if now else "No live request was answered, and no report named a latency.",
        next="`python -m ml_backend serve` answers /v1; `python -m ml_backend status` shows its percentiles.",
    )  # fmt: skip


def _uptime(facts: SuccessFacts) -> MetricFacts:
    def share(days: list[Mapping[str, Any]]) -> Estimate | None:
        minutes, good = (sum(day["uptime"][name] for day in days) for name in ("minutes", "good"))
        return Estimate(good / minutes, minutes) if minutes else None

    now = share(facts.window(UPTIME_DAYS))
    return MetricFacts(
        now, facts.trend(share), why="" if now else "`serve` never ran.",
        next="Start it: `python -m ml_backend serve`; a second one behind the same port covers a restart.",
    )  # fmt: skip


def _told(name: str, what: str) -> Callable[[SuccessFacts], MetricFacts]:
    """A share of the calls that the phone system reported on."""

    def share(days: list[Mapping[str, Any]]) -> Estimate | None:
        bodies = [day["calls"] for day in days if day["calls"]]
        return intervals.share(sum(one[name] for one in bodies), sum(one[f"{name}_of"] for one in bodies))

    def measure(facts: SuccessFacts) -> MetricFacts:
        now = share(facts.window(MONTH_DAYS))
        return MetricFacts(now, facts.trend(share), why="" if now else f"No report says {what}.", next=_REPORT)

    return measure


def _satisfaction(facts: SuccessFacts) -> MetricFacts:
    def mean(days: list[Mapping[str, Any]]) -> Estimate | None:
        return intervals.ratio(_sum(day["calls"]["satisfaction"] for day in days if day["calls"]))

    now = mean(facts.window(MONTH_DAYS))
    return MetricFacts(
        now, facts.trend(mean), why="" if now else "No caller's satisfaction was reported.", next=_REPORT
    )


def _minutes(facts: SuccessFacts) -> MetricFacts:
    def pooled(days: list[Mapping[str, Any]]) -> Estimate | None:
        found = intervals.ratio(_sum(day["work"]["time"] for day in days))
        return found and Estimate(
            60 * found.value, found.count, *(None if end is None else 60 * end for end in (found.low, found.high))
        )

    now = pooled(facts.window(MONTH_DAYS))
    return MetricFacts(
        now, facts.trend(pooled), why="" if now else "No annotation has both a time and an audio length.",
        next="Better drafts cost less time: `python -m ml_backend annotations summary` shows it per person.",
    )  # fmt: skip


def _hours(facts: SuccessFacts) -> MetricFacts:
    def mean(days: list[Mapping[str, Any]]) -> Estimate | None:
        return intervals.ratio(_sum(day["work"]["hours"] for day in days))

    now = mean(facts.window(MONTH_DAYS))
    return MetricFacts(
        now, facts.trend(mean), why="" if now else "Nobody annotated in four weeks.",
        next="`python -m ml_backend annotations summary` shows who worked how long.",
    )  # fmt: skip


_REPORT = "Let the phone system report how calls went: docs/how-to/phone-system.md."


def _sum(found: Iterable[list[float] | None]) -> Ratio:
    whole = Ratio()
    for one in found:
        whole = whole.plus(Ratio.from_json(one))
    return whole


def _opinion(axes: Mapping[str, Any] | None, axis: str = OPINION) -> Estimate | None:
    one = (axes or {}).get(axis)
    return Estimate(one["mean"], one["votes"], one["low"], one["high"]) if one else None


def _end_of(facts: SuccessFacts, back: int) -> datetime:
    """The end of the day that is so many days ago."""
    zone = zone_of(facts.context.settings.exotel_time_zone)
    return day_counts.span_of(facts.today - timedelta(days=back), zone)[1]


def _served_then(facts: SuccessFacts, at: datetime) -> Estimate | None:
    """The rate of the version that served at a time, as it was last known then; else as it was first scored later."""
    serving = [one.to_version for one in facts.moves if one.at < at]
    mine = [one for one in facts.scored if serving and one.version == serving[-1]]
    before = [one for one in mine if one.at < at]
    return before[-1].wer if before else mine[0].wer if mine else None


METRICS: tuple[SuccessMetric, ...] = (
    SuccessMetric(
        "data_hours_per_week", "Data collected", "h", ">=", "recordings", "last 7 days",
        "Hours of audio that came in the last 7 days and are in the object store; no synthetic voice.", _data,
        0,
    ),
    SuccessMetric(
        "annotated_within_7_days", "Annotated within 7 days", "share", ">=", "tasks", "tasks of 4 weeks",
        "Of the tasks made 8 to 35 days ago, those that a person answered within 7 days; skipping is no answer.",
        _in_time, LEAST,
    ),
    SuccessMetric(
        "dataset_hours_per_quarter", "Dataset hours", "h", ">=", "samples", "last 91 days",
        "Hours of annotated audio that were accepted for datasets in the last 91 days and are still accepted.",
        _dataset, 0,
    ),
    SuccessMetric(
        "wer_fall_per_quarter", "WER fall per quarter", "share", ">=", "promotions", "last 91 days",
        "How much of the champion's word error rate went away: the factors of the quarter's promotions, each measured "
        "on calls that both versions transcribed, multiplied.", _fall, 0,
    ),
    SuccessMetric(
        "asr_wer", "ASR word error rate", "share", "<", "words", "newest test",
        f"Words wrong of all words in the newest test of the version that serves (reading {champion_history.READING}), "
        "with the interval over calls.", _wer,
    ),
    SuccessMetric(
        "tts_mos", "TTS mean opinion score", "mos", ">", "votes", "all ratings",
        "Mean naturalness from 1 to 5 that people gave the voice that serves, corrected for raters and sentences.",
        _mos,
    ),
    SuccessMetric(
        "latency_s", "Latency per component", "s", "<", "answers", "last 7 days",
        "The 95th percentile of the time to answer, of the slowest component: what `serve` answered, and what the "
        "phone system reported of its own components.", _latency, LEAST,
    ),
    SuccessMetric(
        "uptime", "Uptime", "share", ">", "minutes", "last 30 days",
        "Minutes in which `serve` was there and answered at least 99 % of its requests, of all minutes.", _uptime,
    ),
    SuccessMetric(
        "call_success", "Call success", "share", ">", "calls", "last 28 days",
        "Of the calls whose success was reported, those that succeeded.", _told("success", "whether a call succeeded"),
        LEAST,
    ),
    SuccessMetric(
        "satisfaction", "Satisfaction", "mos", ">", "calls", "last 28 days",
        "Mean of the callers' reported satisfaction, on the scale from 1 to 5.", _satisfaction, LEAST,
    ),
    SuccessMetric(
        "automation", "Automation", "share", ">", "calls", "last 28 days",
        "Of the calls of which it was reported, those that no person had to take over.",
        _told("automated", "whether a person took over"), LEAST,
    ),
    SuccessMetric(
        "annotation_minutes_per_audio_hour", "Annotation per hour of audio", "min", "<=", "annotations",
        "last 28 days",
        "Minutes of work per hour of audio; tasks that were obviously left open are not counted.", _minutes, LEAST,
    ),
    SuccessMetric(
        "annotator_hours_per_day", "Hours per annotator and day", "h", ">=", "days of work", "last 28 days",
        "Mean hours of work of an annotator on a day on which they worked; time of tasks that were left open is not "
        "counted.", _hours, LEAST_DAYS,
    ),
)  # fmt: skip
BY_DAY = frozenset(one.name for one in METRICS) - {"wer_fall_per_quarter", "asr_wer"}
