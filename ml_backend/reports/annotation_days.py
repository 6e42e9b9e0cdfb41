"""One day -> what each person annotated in each project on it, as sums that add up over days. Reads only.

A day's annotations are found by an index on the time at which Label Studio made them. An annotation has a row for each
change, all with that time, so the newest that is not deleted counts, with the longest of their times: the editor sends
a running total, and a change through the API may have none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.reports.intervals import Ratio
from ml_backend.tables import annotations as written
from ml_backend.tables import recordings, tasks

LEFT_OPEN_TIMES, LEFT_OPEN_LEAST_S = 20, 600.0  # without a draft, an expert needs about 4 h per hour


@dataclass
class PersonDay:
    """The work of one person in one project on one day. `time`: seconds of work over seconds of audio."""

    annotator: int | None
    project_id: int
    annotations: int = 0
    skipped: int = 0
    rejected: int = 0
    drafted: int = 0
    unchanged: int = 0
    left_open: int = 0
    words: int = 0
    word_edits: int = 0
    worked_s: float = 0.0  # on everything, also without audio
    audio_s: float = 0.0
    time: Ratio = field(default_factory=Ratio)

    def to_json(self) -> dict[str, Any]:
        found = {name: value for name, value in vars(self).items() if value}
        found["time"] = self.time.to_json()
        found["worked_s"], found["audio_s"] = round(self.worked_s, 1), round(self.audio_s, 1)
        return {**found, "annotator": self.annotator}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> PersonDay:
        return cls(**{**body, "time": Ratio.from_json(body.get("time"))})

    def add(self, other: PersonDay) -> None:
        """The other's counts too."""
        for name, value in vars(other).items():
            if name == "time":
                self.time = self.time.plus(value)
            elif name not in ("annotator", "project_id"):
                setattr(self, name, getattr(self, name) + value)


def left_open(lead_time_s: float | None, audio_s: float | None) -> bool:
    """Whether the recorded time cannot be working time: the editor measures how long a task is on the screen."""
    return lead_time_s is not None and lead_time_s > max(LEFT_OPEN_LEAST_S, LEFT_OPEN_TIMES * (audio_s or 0.0))


def rows_between(
    connection: Connection, begin: datetime, end: datetime, *, annotator: int | None = None
) -> list[dict[str, Any]]:
    """The annotations made in a time, each once; of one person or all."""
    each = written.c
    made = sa.or_(
        sa.and_(each.ls_created_at >= begin, each.ls_created_at < end),
        sa.and_(each.ls_created_at.is_(None), each.created_at >= begin, each.created_at < end),
    )
    named = (
        each.id, each.project_id, each.ls_annotation_id, each.ls_updated_at, each.annotator, each.task_id, each.text,
        each.skipped, each.reject, each.lead_time_s, each.edited, each.measures, each.before_attach, each.language,
        sa.func.coalesce(each.ls_created_at, each.created_at).label("made_at"),
        tasks.c.start_s, tasks.c.end_s, tasks.c.blind, tasks.c.recording_id, recordings.c.duration_s,
    )  # fmt: skip
    statement = (
        sa.select(*named)
        .outerjoin(tasks, tasks.c.id == each.task_id)
        .outerjoin(recordings, recordings.c.id == tasks.c.recording_id)
        .where(made, each.deleted_at.is_(None))
        .order_by(each.ls_updated_at, each.id)
    )
    if annotator is not None:
        statement = statement.where(each.annotator == annotator)
    newest: dict[tuple[int, int], dict[str, Any]] = {}
    for row in connection.execute(statement):
        key = row.project_id, row.ls_annotation_id
        times = [each for each in (newest.get(key, {}).get("lead_time_s"), row.lead_time_s) if each is not None]
        newest[key] = {**row._mapping, "lead_time_s": max(times, default=None), "audio_s": _audio_s(row)}
    return list(newest.values())


def people(rows: Iterable[Mapping[str, Any]]) -> list[PersonDay]:
    """The rows of a day as sums by person and project."""
    found: dict[tuple[int | None, int], PersonDay] = {}
    for row in rows:
        key = row["annotator"], row["project_id"]
        _count(found.setdefault(key, PersonDay(*key)), row)
    return list(found.values())


def _count(mine: PersonDay, row: Mapping[str, Any]) -> None:
    rejected, audio_s = bool(row["reject"]) and not row["skipped"], row["audio_s"]
    work_s = row["lead_time_s"] or 0.0
    mine.annotations += 1
    mine.skipped += bool(row["skipped"])
    mine.rejected += rejected
    if left_open(work_s, audio_s):
        mine.left_open += 1
        work_s = 0.0
    mine.worked_s += work_s
    if row["skipped"] or rejected or row["text"] is None:
        return
    mine.audio_s += audio_s or 0.0
    if work_s and audio_s:
        mine.time = mine.time.plus(Ratio.of(work_s, audio_s))
    measures = row["measures"] if isinstance(row["measures"], Mapping) else {}
    edits = number(measures.get("word_edits"))
    if edits is not None and not row["blind"] and not row["before_attach"]:
        mine.drafted += 1
        mine.unchanged += edits == 0
        mine.words += number(measures.get("words")) or 0
        mine.word_edits += edits


def number(value: Any) -> int | None:
    """A count, whether stored as one number or by kind of edit."""
    if isinstance(value, Mapping):
        return sum(number(part) or 0 for part in value.values())
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _audio_s(row: Any) -> float | None:
    """The length of the task's audio."""
    end_s = row.end_s if row.end_s is not None else row.duration_s
    if row.recording_id is None or end_s is None or row.start_s is None or end_s <= row.start_s:
        return None
    return float(end_s - row.start_s)
