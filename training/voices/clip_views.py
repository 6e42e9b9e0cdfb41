"""Questions about voice clips: which, how many, and what is missing. Read-only."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import sqlalchemy as sa

from ml_backend.db import Database
from ml_backend.errors import InvalidInput
from ml_backend.tables import voice_clips
from training.voices.clip_checks import REASONS

STATES = ("found", "accepted", "excluded")
UNKNOWN = "unknown"
FEW_S = 60.0  # of speech: less than a voice can be tuned with


@dataclass(frozen=True)
class ClipQuery:
    """Which clips; None is any."""

    language: str | None = None
    voice: str | None = None
    emotion: str | None = None
    state: str | None = None
    reason: str | None = None
    limit: int = 30


def find(database: Database, query: ClipQuery) -> list[dict[str, Any]]:
    """Clips, newest first. Raises InvalidInput for an unknown state or reason, naming the known ones."""
    for name, value, known in (("state", query.state, STATES), ("reason", query.reason, tuple(REASONS))):
        if value is not None and value not in known:
            raise InvalidInput("no-such-clips", f"There is no {name} {value!r}.", f"Use one of: {', '.join(known)}.")
    wanted = {"language": query.language, "voice": query.voice, "emotion": query.emotion, "state": query.state}
    statement = sa.select(voice_clips).filter_by(**{name: value for name, value in wanted.items() if value is not None})
    if query.reason is not None:
        statement = statement.where(voice_clips.c.reason_code == query.reason)
    return [as_dict(row) for row in database.rows(statement.order_by(voice_clips.c.id.desc()).limit(query.limit))]


def accepted(
    database: Database, *, languages: Sequence[str] = (), voices: Sequence[str] = (), batch: int = 500
) -> Iterator[sa.Row[Any]]:
    """Accepted clips by id, a few at a time, for `voice_lines.lines`; all where no language or voice is named."""
    wanted = sa.select(voice_clips).where(voice_clips.c.state == "accepted")
    for column, names in ((voice_clips.c.language, languages), (voice_clips.c.voice, voices)):
        if names:
            wanted = wanted.where(column.in_(names))
    after = 0
    while rows := database.rows(wanted.where(voice_clips.c.id > after).order_by(voice_clips.c.id).limit(batch)):
        yield from rows
        after = int(rows[-1].id)


def show(database: Database, clip_id: int) -> dict[str, Any]:
    """One clip with its figures."""
    found = database.rows(sa.select(voice_clips).where(voice_clips.c.id == clip_id))
    if not found:
        raise InvalidInput(
            "no-such-clip", f"There is no voice clip {clip_id}.", "Run `python -m ml_backend voices list`."
        )
    return as_dict(found[0])


def as_dict(row: sa.Row[Any]) -> dict[str, Any]:
    """A clip for `--json`."""
    names = (
        "id", "state", "language", "voice", "emotion", "engine", "model_version", "role", "text", "bucket", "key",
        "sha256", "duration_s", "rate_hz", "channels", "checks", "reason_code", "reason",
    )  # fmt: skip
    return {name: getattr(row, name) for name in names}


def summary(database: Database) -> dict[str, Any]:
    """Counts by state, language and reason, sample rates, and the median error rate of re-transcription."""
    by = (voice_clips.c.state, voice_clips.c.language, voice_clips.c.reason_code, voice_clips.c.rate_hz)
    seconds = sa.func.coalesce(sa.func.sum(voice_clips.c.duration_s), 0.0)
    rows = database.rows(sa.select(*by, sa.func.count().label("clips"), seconds.label("seconds")).group_by(*by))
    states: Counter[str] = Counter(dict.fromkeys(STATES, 0))
    reasons: Counter[str] = Counter()
    rates: Counter[str] = Counter()
    languages: defaultdict[str, dict[str, float]] = defaultdict(lambda: {"clips": 0, "seconds": 0.0, "excluded": 0})
    for row in rows:
        states[row.state] += row.clips
        one = languages[row.language or UNKNOWN]
        if row.state == "accepted":
            one["clips"] += row.clips
            one["seconds"] = round(one["seconds"] + row.seconds, 1)
            rates[str(row.rate_hz)] += row.clips
        elif row.reason_code:
            one["excluded"] += row.clips
            reasons[row.reason_code] += row.clips
    return {
        "clips": dict(states),
        "languages": dict(sorted(languages.items())),
        "rates_hz": dict(sorted(rates.items())),
        "excluded": [
            {"code": code, "clips": number, "reason": REASONS.get(code, "")} for code, number in reasons.most_common()
        ],
        "retranscription": _retranscription(database),
    }


def coverage(database: Database) -> dict[str, Any]:
    """Clips and seconds of each voice, language and emotion, and the combinations that are missing or few."""
    by = (voice_clips.c.voice, voice_clips.c.language, voice_clips.c.emotion)
    seconds = sa.func.coalesce(sa.func.sum(voice_clips.c.duration_s), 0.0)
    accepted = sa.select(*by, sa.func.count().label("clips"), seconds.label("seconds")).where(
        voice_clips.c.state == "accepted"
    )
    cells = {
        (row.voice or UNKNOWN, row.language or UNKNOWN, row.emotion or UNKNOWN): (row.clips, round(row.seconds, 1))
        for row in database.rows(accepted.group_by(*by))
    }
    voices, languages, emotions = (sorted({cell[place] for cell in cells}) for place in range(3))
    names = [sorted(each, key=lambda name: (name == UNKNOWN, name)) for each in (voices, languages, emotions)]
    table = [
        {"voice": voice, "language": language, "emotion": emotion, "clips": clips, "seconds": seconds_}
        for voice, language, emotion in product(*names)
        for clips, seconds_ in [cells.get((voice, language, emotion), (0, 0.0))]
    ]
    known = [one for one in table if UNKNOWN not in (one["voice"], one["language"], one["emotion"])]
    return {
        "voices": names[0],
        "languages": names[1],
        "emotions": names[2],
        "cells": table,
        "missing": [_name(one) for one in known if not one["clips"]],
        "few": [_name(one) for one in known if one["clips"] and one["seconds"] < FEW_S],
    }


def _name(one: dict[str, Any]) -> dict[str, Any]:
    return {name: one[name] for name in ("voice", "language", "emotion", "clips", "seconds")}


def _retranscription(database: Database) -> list[dict[str, Any]]:
    """Per language and recogniser: how many clips have a rate, and its median."""
    rows = database.rows(
        sa.select(voice_clips.c.language, voice_clips.c.checks).where(voice_clips.c.state == "accepted")
    )
    found: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        checks = row.checks or {}
        if checks.get("cer") is not None:
            found[row.language or UNKNOWN, checks["recogniser"]].append(float(checks["cer"]))
    return [
        {"language": language, "recogniser": name, "clips": len(cers), "median_cer": sorted(cers)[len(cers) // 2]}
        for (language, name), cers in sorted(found.items())
    ]
