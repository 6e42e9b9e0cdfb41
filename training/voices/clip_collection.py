"""Recordings of known texts -> rows of `voice_clips`, as they appear.

A recording below SYNTHETIC_PREFIXES has its text from the `.txt` beside it, which the scan of its bucket pairs with it,
and a studio's recording from its list (`studio`). Both are rows of `recordings` with a known text: the only source.
A pass looks at what has changed since the last one; a daily pass looks at everything. Rows are never deleted: audio
that is gone leaves a row with the reason.

Who speaks is said by the list of the studio, else by the object's metadata (voice, engine, emotion, version), else by
TTS_VOICE_RULES.
"""

from __future__ import annotations

import fnmatch
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, setting_values, tables
from ml_backend.context import Context, JobContext
from ml_backend.errors import PermanentError
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.tables import checkpoints, objects, recordings, voice_clips
from training.voices import clip_checks
from training.voices.clip_checks import REASONS, ClipFacts

POSITION = "voices"
TOGETHER = 50
OVERLAP = timedelta(minutes=10)  # rows that a transaction committed after a pass had read past their time
_BEGINNING = datetime(2000, 1, 1, tzinfo=tables.now().tzinfo)
_KEPT = ("voice", "emotion", "engine", "model_version", "role")  # a row's own word goes before metadata and rules
_UNREADY = ("found", "spooled", "stored")


def collect_voices(context: JobContext, everything: int = 0) -> None:
    """Bring the rows of all recordings that changed up to date. Safe to repeat."""
    began = tables.now()
    counts = collect(context, since=None if everything else _since(context))
    values = {"name": POSITION, "position": {"at": began.isoformat()}, "state": "done", "updated_at": tables.now()}
    with context.db.transaction() as connection:
        db.upsert(connection, checkpoints, values, key=("name",))
        if counts["accepted"]:
            enqueueing.enqueue(connection, job_kinds.CHECK_VOICES, key="all")
    context.report(1.0, ", ".join(f"{number} {name}" for name, number in sorted(counts.items())) or "nothing new")


def collect(context: Context, *, since: datetime | None = None) -> Counter[str]:
    """Rows of recordings that changed after `since`; gives how many rows are new or changed, by their outcome."""
    counts: Counter[str] = Counter()
    rules = setting_values.voice_rules(context.settings.tts_voice_rules)[0]
    after = (since or _BEGINNING, 0)
    while rows := _changed(context, after):
        said = {row.id: _metadata(context, row) for row in rows}
        with context.db.transaction() as connection:
            for row in rows:
                counts += _collect(
                    connection, context, row, {**ruled(f"{row.bucket}/{row.object_key}", rules), **said[row.id]}
                )
        after = (rows[-1].updated_at, rows[-1].id)
    return counts


def ruled(place: str, rules: Sequence[tuple[str, Mapping[str, str]]]) -> dict[str, str]:
    """What the rules say of `bucket/key`: each fact by the longest prefix or pattern that names it."""
    found: dict[str, str] = {}
    for prefix, facts in sorted(rules, key=lambda rule: len(rule[0])):
        if fnmatch.fnmatchcase(place, f"{prefix}*"):
            found |= facts
    return found


def _since(context: Context) -> datetime | None:
    rows = context.db.rows(sa.select(checkpoints.c.position).where(checkpoints.c.name == POSITION))
    return datetime.fromisoformat(rows[0].position["at"]) - OVERLAP if rows else None


def _changed(context: Context, after: tuple[datetime, int]) -> Sequence[sa.Row[Any]]:
    at, row_id = after
    later = sa.or_(recordings.c.updated_at > at, sa.and_(recordings.c.updated_at == at, recordings.c.id > row_id))
    mine = sa.select(recordings).where(
        sa.text("synthetic"), recordings.c.updated_at >= at, later
    )  # as the index says it
    return context.db.rows(mine.order_by(recordings.c.updated_at, recordings.c.id).limit(TOGETHER))


def _metadata(context: Context, row: sa.Row[Any]) -> dict[str, str]:
    """What the object's writer said about it; nothing when the store cannot be asked for this object."""
    if not row.bucket or not row.object_key or row.state in _UNREADY:
        return {}
    try:
        said = context.store.metadata(row.bucket, row.object_key)
    except PermanentError:
        return {}
    return {name: said[name].strip()[:60] for name in setting_values.VOICE_FACTS if said.get(name, "").strip()}


def _collect(connection: Connection, context: Context, recording: sa.Row[Any], said: Mapping[str, str]) -> Counter[str]:
    """Insert or change the row of one recording."""
    if recording.state in _UNREADY or not recording.bucket or not recording.object_key:
        return Counter()
    place = sa.and_(voice_clips.c.bucket == recording.bucket, voice_clips.c.key == recording.object_key)
    there = connection.execute(sa.select(voice_clips).where(place)).first()
    kept = {name: getattr(there, name, None) for name in _KEPT}
    values = _values(recording, kept, said)
    code = clip_checks.objection(_facts(connection, recording, there), least_rate_hz=context.settings.tts_least_rate_hz)
    if not code and _is_duplicate(connection, values, there.id if there else None):
        code = "duplicate-text"
    if there is not None and there.digest == values["digest"] and there.reason_code == "not-the-text":
        code = code or "not-the-text"
    if there is not None and there.digest == values["digest"]:
        values["checks"] = {**(there.checks or {}), **values["checks"]}
    values |= {"state": "excluded" if code else "accepted", "reason_code": code or None, "reason": REASONS.get(code)}
    if there is not None and all(getattr(there, name) == value for name, value in values.items()):
        return Counter()
    accepted = values["state"] == "accepted"
    values["accepted_at"] = (getattr(there, "accepted_at", None) or tables.now()) if accepted else None
    if there is None:
        connection.execute(sa.insert(voice_clips).values(bucket=recording.bucket, key=recording.object_key, **values))
    else:
        db.update(connection, voice_clips, there.id, **values)
    counts = Counter([code or "accepted"])
    if code == "two-texts":
        _exclude_twins(connection, recording.sha256)
    return counts


def _values(recording: sa.Row[Any], kept: Mapping[str, Any], said: Mapping[str, str]) -> dict[str, Any]:
    gone = recording.state in ("erased", "expired")
    text = None if gone else recording.known_text
    who = {
        "voice": kept["voice"] or said.get("voice"),
        "emotion": kept["emotion"] or said.get("emotion"),
        "engine": kept["engine"] or said.get("engine"),
        "model_version": kept["model_version"] or said.get("version"),
        "role": kept["role"],
    }
    names = (recording.sha256, text, recording.language, who["voice"], who["emotion"])
    digest = hashlib.sha256("|".join(str(name or "") for name in names).encode()).hexdigest()
    return {
        **who,
        "recording_id": recording.id,
        "etag": recording.etag,
        "sha256": recording.sha256,
        "text": text,
        "text_key": clip_checks.text_key(text, recording.language) if text else None,
        "language": recording.language,
        "duration_s": recording.duration_s,
        "rate_hz": recording.rate_hz,
        "channels": recording.channels,
        "checks": clip_checks.figures(_measured(recording)),
        "digest": digest,
    }


def _measured(recording: sa.Row[Any]) -> ClipFacts:
    parts = (recording.quality or {}).get("parts") or {}
    return ClipFacts(
        state=recording.state, text=recording.known_text, language=recording.language,
        duration_s=recording.duration_s, rate_hz=recording.rate_hz, channels=recording.channels,
        sound=next(iter(parts.values()), None), fault=recording.reason_code,
    )  # fmt: skip


def _facts(connection: Connection, recording: sa.Row[Any], clip: Any) -> ClipFacts:
    """The facts with the number of different texts of this audio: under other keys, and in files beside it."""
    texts = {recording.known_text}
    if recording.sha256:
        same = sa.select(voice_clips.c.text).where(
            voice_clips.c.sha256 == recording.sha256,
            voice_clips.c.id != (clip.id if clip else 0),
            voice_clips.c.text.is_not(None),
        )
        texts |= set(connection.execute(same.limit(20)).scalars())
    beside = sa.select(sa.func.count(sa.distinct(objects.c.etag))).where(
        objects.c.recording_id == recording.id, objects.c.state == "paired"
    )
    different = max(len(texts - {None}), int(connection.execute(beside).scalar_one()))
    return replace(_measured(recording), texts=different, degraded=getattr(clip, "role", None) == "degraded")


def _is_duplicate(connection: Connection, values: Mapping[str, Any], clip_id: int | None) -> bool:
    """Whether an earlier accepted clip has the same sentence, voice, emotion, engine and version."""
    names = ("text_key", "voice", "emotion", "engine", "model_version", "role")
    same = [voice_clips.c[name].is_not_distinct_from(values[name]) for name in names]
    found = sa.select(voice_clips.c.id).where(*same, voice_clips.c.state == "accepted")
    if clip_id is not None:
        found = found.where(voice_clips.c.id < clip_id)
    return connection.execute(found.limit(1)).first() is not None


def _exclude_twins(connection: Connection, sha256: str | None) -> None:
    """The same audio under other keys with another text: nobody knows which is right."""
    twins = sa.and_(voice_clips.c.sha256 == sha256, voice_clips.c.state == "accepted")
    change = {"state": "excluded", "reason_code": "two-texts", "reason": REASONS["two-texts"], "accepted_at": None}
    connection.execute(sa.update(voice_clips).where(twins).values(updated_at=tables.now(), **change))
