"""Accepted samples -> the lines of a manifest, and for every other sample the reason why it is left out.

The rows are read in the order of the manifest (audio, time, channel, digest), so nothing is sorted in memory, and
cutting the audio opens each recording once. A line has only facts of the annotation and its call, no row ids and no
time of export, so that another database with the same annotations gives the same lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.tables import annotations as written
from ml_backend.tables import calls, company_numbers, projects, recordings, samples, tasks
from ml_backend.views.training_progress import BLIND_AUDIT
from training.datasets import splits, stretches
from training.datasets.filters import DatasetFilters
from training.quality import exclusions

MAX_S = 30.0  # the models' window
LINE, EXCLUDED, DUPLICATE = "line", "excluded", "duplicate"
_PAGE = 2000


@dataclass(frozen=True)
class ManifestLine:
    """`kind` line: `body` belongs to the manifest; excluded: `body` identifies the sample and `reason` says why."""

    kind: str
    body: dict[str, Any]
    reason: str = ""


def lines(connection: Connection, filters: DatasetFilters) -> Iterator[ManifestLine]:
    """Every sample once, in the order of the manifest. One snapshot: use one reading transaction."""
    numbers = frozenset(connection.execute(sa.select(company_numbers.c.pseudonym)).scalars())
    judged = exclusions.read(connection)
    tests = _test_callers(connection, filters, numbers, judged)
    known, facts = None, _Recording.nothing()
    before, owner = "", ("", "")
    held: list[tuple[Any, _Recording, str]] = []  # of one recording
    tasks_held: set[tuple[int, int]] = set()
    for row in _rows(connection, filters, only_blind=False):
        if held and row.audio_sha256 != owner[0]:
            yield from _recording_lines(connection, held, tasks_held)
            held, tasks_held = [], set()
        if row.recording_id is None or row.recording_id != known:
            known, facts = row.recording_id, _Recording.of(row, numbers)
        reason = _objection(row, filters, facts) or judged.objection(row.annotation_id, row.recording_id)
        split = splits.TEST if facts.parties.group in tests else facts.side
        if not reason and split == splits.TEST and not _audited(row):
            reason = "test-caller"
        if not reason and facts.synthetic:
            split = splits.TRAIN
        other = row.audio_sha256 == owner[0] and facts.parties.group != owner[1]
        if not reason and (row.digest == before or other):  # audio of two callers would be on two sides
            reason = DUPLICATE
        if reason:
            yield ManifestLine(EXCLUDED, _named(row), reason)
            continue
        before, owner = row.digest, (row.audio_sha256, facts.parties.group)
        held.append((row, facts, split))
        tasks_held.add((row.ls_project_id, row.ls_task_id))
    yield from _recording_lines(connection, held, tasks_held)


def _recording_lines(
    connection: Connection, held: list[tuple[Any, _Recording, str]], tasks_held: set[tuple[int, int]]
) -> Iterator[ManifestLine]:
    """The lines of one recording, with one task's text where several tasks overlap."""
    again = stretches.surplus(connection, [row for row, *_ in held]) if len(tasks_held) > 1 else ()
    for place, (row, facts, split) in enumerate(held):
        if place in again:
            yield ManifestLine(EXCLUDED, _named(row), DUPLICATE)
        else:
            yield ManifestLine(LINE, _line(row, facts, split))


def _test_callers(
    connection: Connection, filters: DatasetFilters, numbers: frozenset[str], judged: exclusions.Verdicts
) -> set[str]:
    """The callers with a blind audit sample in this dataset."""
    found = set()
    for row in _rows(connection, filters, only_blind=True):
        facts = _Recording.of(row, numbers)
        reason = _objection(row, filters, facts) or judged.objection(row.annotation_id, row.recording_id)
        if _audited(row) and not facts.synthetic and not reason:
            found.add(facts.parties.group)
    return found


@dataclass(frozen=True)
class _Recording:
    """Facts that all samples of one recording share."""

    parties: splits.Parties
    side: str
    day: str | None
    agent_channel: int | None
    snr_db: dict[str, float]
    synthetic: bool

    @classmethod
    def nothing(cls) -> _Recording:
        return cls(splits.Parties("", "", "", ""), splits.TRAIN, None, None, {}, False)

    @classmethod
    def of(cls, row: Any, numbers: frozenset[str]) -> _Recording:
        who = splits.parties(
            audio_sha256=row.audio_sha256 or "", call_sid=row.call_sid,
            from_pseudonym=row.from_pseudonym, to_pseudonym=row.to_pseudonym,
            direction=row.direction, company_number=row.company_number, company_numbers=numbers,
        )  # fmt: skip
        measured = orjson.loads(row.measured) if row.measured else None
        parts = measured.get("parts") if isinstance(measured, dict) else None
        snr = {
            channel: round(float(part["snr_db"]), 1)
            for channel, part in (parts or {}).items()
            if isinstance(part, dict) and isinstance(part.get("snr_db"), int | float)
        }
        agent = row.agent_channel if row.agent_channel is not None else row.agent_of_number
        channel = int(agent) if agent is not None and (row.channels or 0) > 1 else None
        day = row.started_at.date().isoformat() if row.started_at else None
        return cls(who, splits.side(who.group), day, channel, snr, bool(row.synthetic))


def _objection(row: Any, filters: DatasetFilters, facts: _Recording) -> str:
    """Why this dataset leaves a sample out, as a code; empty when it is used.

    The sample's own reasons are on its row. This checks the dataset's filters, and whether the audio is available now:
    a recording that is being fetched again is not.
    """
    if row.state == "excluded":
        return str(row.reason_code or "excluded")
    if filters.consent == "stated" and row.consent_purpose != "training":
        return "consent"
    if row.recording_state != "ready" or not row.derived_key or not row.audio_sha256:
        return "audio-missing"
    if filters.language_set and (row.language or "") not in filters.language_set:
        return "language"
    if filters.min_quality and (row.quality_score or 0.0) < filters.min_quality:
        return "quality"
    if filters.since or filters.until:
        at, first, end = row.started_at or row.recorded_at, filters.first_moment, filters.end_moment
        if (first and at < first) or (end and at >= end):
            return "date"
    end_s = min(row.end_s, row.duration_s) if row.duration_s else row.end_s
    return "" if end_s > row.start_s else "audio-missing"


def _audited(row: Any) -> bool:
    return bool(row.blind) and row.selection_reason == BLIND_AUDIT


def _line(row: Any, facts: _Recording, split: str) -> dict[str, Any]:
    by_agent = facts.agent_channel is not None and row.channel == facts.agent_channel
    end_s = min(row.end_s, row.duration_s) if row.duration_s else row.end_s
    return {
        "id": row.digest[:20],
        "digest": row.digest,
        "source": "calls",
        "audio_sha256": row.audio_sha256,
        "call_id": facts.parties.call,
        "project_id": row.ls_project_id,
        "task_id": row.ls_task_id,
        "annotation_id": row.ls_annotation_id,
        "start_s": round(row.start_s, 3),
        "end_s": round(end_s, 3),
        "channel": row.channel,
        "text": row.text,
        "language": row.language,
        "script": row.script,
        "speaker_id": facts.parties.agent if by_agent else facts.parties.caller,
        "accent": row.accent,
        **({"emotion": row.emotion} if row.emotion else {}),  # keeps older manifests byte-identical
        "quality": row.quality,
        "quality_score": row.quality_score,
        "snr_db": facts.snr_db.get(f"leg_{row.channel}"),
        "date": facts.day,
        "split": split,
        "model_version": row.model_version,
        "consent_purpose": row.consent_purpose,
        "selection_reason": row.selection_reason,
        "selection_probability": row.selection_probability,
    }


def _named(row: Any) -> dict[str, Any]:
    """An excluded sample: its place in Label Studio, without its text."""
    return {
        "digest": row.digest,
        "audio_sha256": row.audio_sha256,
        "project_id": row.ls_project_id,
        "task_id": row.ls_task_id,
        "annotation_id": row.ls_annotation_id,
        "start_s": round(row.start_s, 3),
        "end_s": round(row.end_s, 3),
        "channel": row.channel,
    }


def _rows(connection: Connection, filters: DatasetFilters, *, only_blind: bool) -> Iterator[Any]:
    found = statement(filters)
    if only_blind:
        found = found.where(samples.c.blind.is_(True), samples.c.state == "accepted")
    yield from connection.execute(found, execution_options={"yield_per": _PAGE})


def statement(filters: DatasetFilters) -> sa.Select[Any]:
    """Every sample with all columns of a line, in the order of the manifest."""
    sample, audio = samples.c, recordings.c
    found = (
        sa.select(
            sample.digest, sample.recording_id, sample.annotation_id, sample.start_s, sample.end_s, sample.channel,
            sample.text, sample.language, sample.script, sample.quality, sample.accent, sample.emotion, sample.blind,
            sample.state, sample.reason_code, audio.sha256.label("audio_sha256"), audio.duration_s, audio.channels,
            audio.synthetic, audio.agent_channel,
            audio.derived_key, audio.quality_score, audio.created_at.label("recorded_at"),
            audio.state.label("recording_state"), sa.cast(audio.quality, sa.Text).label("measured"),
            sa.func.coalesce(calls.c.call_sid, audio.call_sid).label("call_sid"), calls.c.from_pseudonym,
            calls.c.to_pseudonym, calls.c.direction, calls.c.company_number, calls.c.started_at,
            calls.c.consent_purpose, company_numbers.c.agent_channel.label("agent_of_number"),
            tasks.c.ls_task_id, tasks.c.selection_reason, tasks.c.selection_probability,
            written.c.ls_annotation_id, written.c.model_version, projects.c.ls_project_id,
        )
        .join(tasks, tasks.c.id == sample.task_id)
        .join(written, written.c.id == sample.annotation_id)
        .join(projects, projects.c.id == sample.project_id)
        .outerjoin(recordings, audio.id == sample.recording_id)
        .outerjoin(calls, calls.c.id == audio.call_id)
        .outerjoin(company_numbers, company_numbers.c.pseudonym == calls.c.company_number)
        .order_by(
            audio.sha256, sample.start_s, sample.end_s, sample.channel, sample.digest,
            projects.c.ls_project_id, written.c.ls_annotation_id,
        )
    )  # fmt: skip
    if filters.project_ids:
        found = found.where(projects.c.ls_project_id.in_(filters.project_ids))
    return found
