"""The calls that began on one day -> how far they got, why the others did not, and what they are made of: counts.

A job (`sync/recordings/call_counting.py`) keeps one row a day in `day_counts`, so that no request reads the calls
themselves.

The steps follow one another: a call that got to a later one is counted in all before it, also when the audio it needed
for that is gone by now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import quantities, tables
from ml_backend.calls.events import LIVE_SOURCE, zone_of
from ml_backend.calls.states import GONE, OPEN, SUPERSEDED
from ml_backend.outcomes.call_outcomes import CALL
from ml_backend.reports import dataset_parts
from ml_backend.tables import annotations as written
from ml_backend.tables import calls, outcomes, recordings, samples, tasks
from ml_backend.tables import transcriptions as texts
from ml_backend.views.ledger_balance import began_between

STEPS = ("recording", "stored", "transcribed", "task", "annotated", "sample", "dataset")
NOT_CALLED_BACK = ("listing", "details", "object", LIVE_SOURCE)  # sources that are no message about the call
UNKNOWN, OTHER = "unknown", "other"
MOST_VALUES = 50  # of one dimension on one day
NAME = "calls"
_SAID_CHARS = 200


@dataclass
class CallDay:
    """What is kept of one day. `out` and `waiting`: per step that was not reached, how many calls by reason."""

    calls: int = 0
    called_back: int = 0
    reached: Counter[str] = field(default_factory=Counter)
    out: dict[str, Counter[str]] = field(default_factory=dict)
    waiting: dict[str, Counter[str]] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)  # a reason -> a sentence with it
    made_of: dict[str, dict[str, list[float]]] = field(default_factory=dict)  # dimension, value -> [calls, seconds]
    with_audio: int = 0
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {
            "calls": self.calls, "called_back": self.called_back, "reached": dict(self.reached),
            "out": self.out, "waiting": self.waiting, "said": self.said, "with_audio": self.with_audio,
            "seconds": round(self.seconds, 1),
            "made_of": {name: _most(values) for name, values in self.made_of.items()},
        }  # fmt: skip

    def count(self, dimension: str, value: str, seconds: float) -> None:
        entry = self.made_of.setdefault(dimension, {}).setdefault(value, [0, 0.0])
        entry[0] += 1
        entry[1] += seconds


def _most(values: dict[str, list[float]]) -> dict[str, list[float]]:
    """The values with the most seconds; the others are one, because a tag may be different for every call."""
    order = sorted(values, key=lambda value: (-values[value][1], value))
    kept = {value: [int(values[value][0]), round(values[value][1], 1)] for value in order[:MOST_VALUES]}
    if rest := [values[value] for value in order[MOST_VALUES:]]:
        kept[OTHER] = [int(sum(each[0] for each in rest)), round(sum(each[1] for each in rest), 1)]
    return kept


def of_day(
    connection: Connection, day: date, *, zone: str, in_datasets: dataset_parts.InDatasets | None = None
) -> CallDay:
    """Count the calls that began on a day of that time zone."""
    begin = datetime.combine(day, clock_time(), zone_of(zone))
    mine = began_between(begin, datetime.combine(day + timedelta(days=1), clock_time(), zone_of(zone)))
    found, whole = CallDay(), _Progress.of(connection, mine)
    named = ("id", "call_sid", "state", "reason_code", "reason", "next_action", "seen_by", "recording_url")
    for call in connection.execute(sa.select(*(calls.c[name] for name in named)).where(mine)):
        _count(found, call, whole, in_datasets or dataset_parts.InDatasets())
    return found


@dataclass
class _Progress:
    """The rows that follow a day's calls, by call."""

    recordings: dict[int, list[Any]]
    transcribed: set[int]
    tasks: dict[int, list[Any]]
    annotations: dict[int, list[Any]]
    samples: dict[int, list[Any]]
    outcomes: dict[str, Any]

    @classmethod
    def of(cls, connection: Connection, mine: Any) -> _Progress:
        audio = recordings.join(calls, calls.c.id == recordings.c.call_id)
        work = audio.join(tasks, tasks.c.recording_id == recordings.c.id)

        def rows(source: Any, *columns: Any, more: Any = None) -> dict[int, list[Any]]:
            statement = sa.select(calls.c.id.label("of"), *columns).select_from(source).where(mine)
            found: dict[int, list[Any]] = {}
            for row in connection.execute(statement if more is None else statement.where(more)):
                found.setdefault(row.of, []).append(row)
            return found

        each, reported = recordings.c, outcomes.c
        told = sa.select(reported.call_sid, reported.intent, reported.tags).join(
            calls, sa.and_(calls.c.call_sid == reported.call_sid, reported.kind == CALL)
        )
        return cls(
            recordings=rows(
                audio, each.state, each.reason_code, each.reason, each.source, each.duration_s, each.channels,
                each.language, each.quality,
            ),
            transcribed=set(rows(audio, more=sa.exists().where(texts.c.recording_id == each.id))),
            tasks=rows(work, tasks.c.state, tasks.c.reason_code, tasks.c.reason),
            annotations=rows(
                work.join(written, written.c.task_id == tasks.c.id),
                written.c.skipped, written.c.reject, more=tables.newest_version(),
            ),
            samples=rows(
                work.join(samples, samples.c.task_id == tasks.c.id),
                samples.c.state, samples.c.reason_code, samples.c.reason, samples.c.digest,
            ),
            outcomes={row.call_sid: row for row in connection.execute(told.where(mine))},
        )  # fmt: skip


def _count(into: CallDay, call: Any, progress: _Progress, in_datasets: dataset_parts.InDatasets) -> None:
    into.calls += 1
    into.called_back += bool(set(call.seen_by or ()) - set(NOT_CALLED_BACK))
    audio = [row for row in progress.recordings.get(call.id, ()) if row.state != SUPERSEDED]
    made = progress.samples.get(call.id, ())
    usable = [row.digest for row in made if row.state == "accepted"]
    done = {
        "recording": bool(audio) or call.recording_url is not None,
        "stored": any(row.state in ("stored", "ready") for row in audio),
        "transcribed": call.id in progress.transcribed,
        "task": call.id in progress.tasks,
        "annotated": call.id in progress.annotations,
        "sample": bool(usable),
        "dataset": any(digest in in_datasets for digest in usable),
    }
    far = max((place for place, step in enumerate(STEPS) if done[step]), default=-1)
    for step in STEPS[: far + 1]:
        into.reached[step] += 1
    if far + 1 < len(STEPS):
        step = STEPS[far + 1]
        waits, code, sentence = _why(step, call, audio, progress, in_datasets)
        where = into.waiting if waits else into.out
        where.setdefault(step, Counter())[code] += 1
        if sentence:
            into.said.setdefault(code, quantities.shortened(sentence, _SAID_CHARS))
    _measure(into, call, audio, progress.outcomes.get(call.call_sid))


def _why(
    step: str, call: Any, audio: Sequence[Any], progress: _Progress, in_datasets: dataset_parts.InDatasets
) -> tuple[bool, str, str]:
    """(whether the call still waits for this step, the reason's code, a sentence)."""
    gone = next((row for row in audio if row.state in ("erased", "expired")), None)
    if call.state in ("erased", "expired") or (gone is not None and all(row.state in GONE for row in audio)):
        state = call.state if call.state in ("erased", "expired") else gone.state if gone is not None else call.state
        return False, state, _ENDED.get(state, "")
    if step == "annotated":
        open_ones = [row for row in progress.tasks[call.id] if row.state in _OPEN_TASKS]
        if open_ones:
            state = min((row.state for row in open_ones), key=list(_OPEN_TASKS).index)
            return True, f"task-{state}", _OPEN_TASKS[state]
        row = progress.tasks[call.id][0]
        return False, row.reason_code or f"task-{row.state}", row.reason or f"Its task is {row.state}."
    if step == "sample":
        if excluded := progress.samples.get(call.id):
            return False, excluded[0].reason_code or "excluded", excluded[0].reason or ""
        answers = progress.annotations[call.id]
        if all(row.skipped for row in answers):
            return False, "skipped", "The annotator skipped the task."
        if reject := next((row.reject for row in answers if row.reject), None):
            return False, f"rejected-{reject[0]}", "The annotator rejected the call."
        return True, "not-sampled", "Its annotation is still to be compared and cut into samples."
    if step == "dataset":
        for row in progress.samples.get(call.id, ()):
            if reason := in_datasets.left_out(row.digest):
                return False, reason, "The newest dataset leaves its samples out for this reason."
        return True, "next-dataset", "Its samples are newer than the newest dataset."
    if call.state in OPEN:
        return True, call.next_action or call.state, _ACTIONS.get(call.next_action or "", "")
    return False, call.reason_code or call.state, call.reason or ""


_ENDED = {"erased": "The call was erased.", "expired": "The time of keeping its audio is over."}
_OPEN_TASKS = {  # the least finished last
    "open": "It waits for an annotator.",
    "wanted": "Its task is still to be made in Label Studio.",
    "waiting": "Its project is full; it waits for room.",
}
_ACTIONS = {
    "look-up": "Exotel will be asked about its recording.",
    "wait": "The end of the call was not reported yet.",
    "fetch": "Its recording is still to be fetched.",
    "ingest": "Its recording is still to be decoded and measured.",
    "transcribe": "It waits to be transcribed.",
    "select": "Whether it becomes a task is not decided yet.",
}


def _measure(into: CallDay, call: Any, audio: Sequence[Any], outcome: Any) -> None:
    """Add a call with audio to what the day's calls are made of."""
    heard = [row for row in audio if row.duration_s]
    if not heard:
        return
    row = max(heard, key=lambda each: each.duration_s)
    seconds = float(row.duration_s)
    into.with_audio += 1
    into.seconds += seconds
    for name, value in (
        ("language", row.language or UNKNOWN),
        ("channel", channel_band(row.channels)),
        ("snr", snr_band(worst_snr(row.quality))),
        ("duration", duration_band(seconds)),
    ):
        into.count(name, value, seconds)
    for topic in topics_of(outcome) or (UNKNOWN,):
        into.count("topic", topic, seconds)


def topics_of(outcome: Any) -> list[str]:
    """What the phone system said that a call was about: its intent, and its tags as `name: value`."""
    if outcome is None:
        return []
    tags = outcome.tags if isinstance(outcome.tags, Mapping) else {}
    said = [f"{name}: {text}" if text else str(name) for name, text in tags.items()]
    return ([str(outcome.intent)] if outcome.intent else []) + said


def channel_band(channels: int | None) -> str:
    """One channel, or two: a side of the call on each."""
    return UNKNOWN if not channels else "one channel" if channels == 1 else "two channels"


SNR_BANDS = ((5.0, "below 5 dB"), (10.0, "5-10 dB"), (20.0, "10-20 dB"), (30.0, "20-30 dB"))
DURATION_BANDS = (
    (30.0, "below 30 s"), (60.0, "30-60 s"), (180.0, "1-3 min"), (300.0, "3-5 min"), (900.0, "5-15 min"),
)  # fmt: skip


def snr_band(snr_db: float | None) -> str:
    """The name of a band of signal-to-noise ratio."""
    if snr_db is None:
        return UNKNOWN
    return next((name for below, name in SNR_BANDS if snr_db < below), "30 dB and more")


def duration_band(seconds: float) -> str:
    """The name of a band of length."""
    return next((name for below, name in DURATION_BANDS if seconds < below), "15 min and more")


def worst_snr(quality: Any) -> float | None:
    """The ratio of the noisiest channel with speech."""
    parts = quality.get("parts") if isinstance(quality, Mapping) else None
    each = [part for part in (parts or {}).values() if isinstance(part, Mapping) and part.get("speech_share")]
    found = [float(part["snr_db"]) for part in each if isinstance(part.get("snr_db"), int | float)]
    return min(found, default=None)
