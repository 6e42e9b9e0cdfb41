"""Number of calls -> the cost of a back-fill before it runs: hours of audio, hours of compute, tasks.

Every figure names its basis: a measurement on this installation if there is one, otherwise a stated assumption.
Nothing is fetched or changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ml_backend import quantities
from ml_backend.context import Context
from ml_backend.jobs import job_kinds
from ml_backend.tables import jobs as job_rows
from ml_backend.tables import recordings, tasks

ENOUGH = 20  # recordings before a measurement counts
LATEST = 500  # how many recent jobs and recordings are measured
SPEED = 2.0  # assumed seconds of audio transcribed per second: large-v3-turbo on a few CPU cores, roughly
BYTES_PER_S = {".wav": 16_000.0, ".mp3": 4_000.0, ".gsm": 1_650.0, ".amr": 1_600.0}  # 8 kHz telephony as usually kept
BYTES_PER_S_ELSE = 4_000.0


@dataclass(frozen=True)
class ImportEstimate:
    """The estimate for a number of calls; `notes` state the basis of each figure."""

    calls: int
    audio_hours: float
    compute_hours: float
    tasks: int
    tasks_open_at_once: int
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {**asdict(self), "notes": list(self.notes)}

    def sentences(self) -> list[str]:
        """For the screen."""
        return [
            f"{self.calls} calls with {quantities.duration(3600 * self.audio_hours)} of audio are new.",
            f"They take about {quantities.duration(3600 * self.compute_hours)} to transcribe with the current workers.",
            f"They become about {self.tasks} tasks, at most {self.tasks_open_at_once} open at once.",
            *self.notes,
        ]


def of_calls(context: Context, *, calls: int, audio_s: float, basis: str, speed: float | None = None) -> ImportEstimate:
    """The estimate. `basis` says where `audio_s` comes from; `speed` (audio seconds per second) replaces measuring."""
    pace, pace_note = (speed, f"Speed: {speed:g} times real time, as given.") if speed else _speed(context)
    share, share_note = _tasks(context, calls=calls, audio_s=audio_s)
    settings = context.settings
    return ImportEstimate(
        calls=calls,
        audio_hours=round(audio_s / 3600, 4),
        compute_hours=round(audio_s / 3600 / pace, 4),
        tasks=round(share),
        tasks_open_at_once=min(round(share), settings.max_open_tasks),
        notes=(f"Audio: {basis}", pace_note, share_note),
    )


def audio_s_of(context: Context, sizes: Iterable[tuple[str, int]]) -> tuple[float, str]:
    """Seconds of audio in objects of these (suffix, bytes), and the basis of that figure. Nothing is downloaded."""
    total: dict[str, int] = {}
    for suffix, size_bytes in sizes:
        total[suffix] = total.get(suffix, 0) + size_bytes
    seconds = 0.0
    measured: list[str] = []
    assumed: list[str] = []
    for suffix, size_bytes in sorted(total.items()):
        rate = _bytes_per_s(context, suffix)
        (measured if rate else assumed).append(suffix)
        seconds += size_bytes / (rate or BYTES_PER_S.get(suffix, BYTES_PER_S_ELSE))
    parts = []
    if measured:
        parts.append(f"bytes per second as in our recordings so far ({', '.join(measured)})")
    if assumed:
        named = ", ".join(f"{suffix} {BYTES_PER_S.get(suffix, BYTES_PER_S_ELSE):.0f}" for suffix in assumed)
        parts.append(f"bytes per second assumed as for 8 kHz telephony ({named})")
    return seconds, "from the sizes; " + "; ".join(parts) + "." if parts else "there is none."


def _bytes_per_s(context: Context, suffix: str) -> float | None:
    """Bytes per second, measured over our latest recordings with this suffix."""
    mine = sa.select(recordings.c.size_bytes, recordings.c.duration_s).where(
        recordings.c.duration_s > 0, recordings.c.object_key.like(f"%{suffix}"), recordings.c.state == "ready"
    )
    rows = context.db.rows(mine.order_by(recordings.c.id.desc()).limit(LATEST))
    seconds = sum(float(row.duration_s) for row in rows)
    return sum(int(row.size_bytes) for row in rows) / seconds if len(rows) >= ENOUGH and seconds else None


def _speed(context: Context) -> tuple[float, str]:
    """Seconds of audio transcribed per second in which at least one transcription job ran."""
    done = (
        sa.select(job_rows.c.arguments, job_rows.c.started_at, job_rows.c.finished_at)
        .where(job_rows.c.name == job_kinds.TRANSCRIBE_RECORDING.name, job_rows.c.state == "done")
        .where(job_rows.c.started_at.is_not(None), job_rows.c.finished_at.is_not(None))
    )
    rows = context.db.rows(done.order_by(job_rows.c.id.desc()).limit(LATEST))
    ids = {int(row.arguments["recording_id"]) for row in rows}
    lengths = sa.select(sa.func.sum(recordings.c.duration_s)).where(recordings.c.id.in_(ids))
    transcription_s = float(context.db.rows(lengths)[0][0] or 0.0) if ids else 0.0
    busy_s = _covered_s([(row.started_at, row.finished_at) for row in rows])
    if len(ids) < ENOUGH or transcription_s <= 0 or busy_s <= 0:
        return (
            SPEED,
            f"Speed: {SPEED:g} times real time, assumed: too little was transcribed here to measure it (--speed).",
        )
    pace = transcription_s / busy_s
    return pace, f"Speed: {pace:.1f} times real time, measured over the last {len(ids)} transcribed recordings."


def _covered_s(spans: list[tuple[datetime, datetime]]) -> float:
    """Seconds covered by spans, overlaps counted once, because members of one batch run together."""
    covered, reached = 0.0, None
    for start, end in sorted(spans):
        begin = start if reached is None or start > reached else reached
        if end > begin:
            covered += (end - begin).total_seconds()
        reached = end if reached is None or end > reached else reached
    return covered


def _tasks(context: Context, *, calls: int, audio_s: float) -> tuple[float, str]:
    """The number of tasks: the share of recordings that became tasks so far; a long call becomes several."""
    settings = context.settings
    pieces = max(float(calls), audio_s / settings.max_task_s)
    decided = (
        sa.select(sa.func.count())
        .select_from(recordings)
        .where(recordings.c.state == "ready", recordings.c.synthetic.is_(False), recordings.c.source != "upload")
    )
    number = int(context.db.rows(decided)[0][0])
    ours = sa.select(sa.func.count(sa.distinct(tasks.c.recording_id))).where(tasks.c.origin == "ours")
    chosen = int(context.db.rows(ours)[0][0])
    if number >= ENOUGH:
        share = min(1.0, chosen / number)
        return pieces * share, f"Tasks: {share:.0%} of the recordings so far became tasks."
    share = settings.audit_share
    least = (
        f"Tasks: at least the audit share of {share:.0%}. How many more go to review for low confidence is not known"
        " before some calls are transcribed. A project that reviews everything makes a task of each."
    )
    return pieces * share, least
