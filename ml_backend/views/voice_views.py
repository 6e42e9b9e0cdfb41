"""Voice clips for commands and /api: which, how many, what is missing; and what people think of voices. Reads only."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime
from itertools import product
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field

from ml_backend.db import Database
from ml_backend.errors import InvalidInput
from ml_backend.tables import summaries, voice_clips
from ml_backend.views.call_views import text_of
from ml_backend.views.queries import PagedQuery, Query, one_of

STATES = ("found", "accepted", "excluded")
RATINGS = "ratings"  # the summary of the ratings' job
BASIS = "basis"  # in it, the digest of the answers that it is made of
UNKNOWN = "unknown"
FEW_S = 60.0  # of speech: less than a voice can be tuned with


_State = Annotated[
    str, one_of(STATES, InvalidInput("no-such-clips", "There is no such state.", f"Use one of: {', '.join(STATES)}."))
]


class ClipQuery(PagedQuery):
    """Which clips."""

    language: Annotated[str | None, Field(description="Only in this language, e.g. hi.")] = None
    voice: Annotated[str | None, Field(description="Only by this voice.")] = None
    emotion: Annotated[str | None, Field(description="Only with this emotion.")] = None
    state: Annotated[_State | None, Field(description="Only in this state.")] = None
    reason: Annotated[str | None, Field(description="Only left out for this reason, e.g. no-text.")] = None


class RatingsQuery(Query):
    """Which scores."""

    version: Annotated[str | None, Field(description="Only of this version.")] = None
    voice: Annotated[str | None, Field(description="Only of this voice.")] = None
    language: Annotated[str | None, Field(description="Only in this language, e.g. hi.")] = None


def find(database: Database, query: ClipQuery) -> list[dict[str, Any]]:
    """Clips, newest first."""
    wanted = {
        "language": query.language, "voice": query.voice, "emotion": query.emotion, "state": query.state,
        "reason_code": query.reason,
    }  # fmt: skip
    statement = sa.select(voice_clips).filter_by(**{name: value for name, value in wanted.items() if value is not None})
    if query.before is not None:
        statement = statement.where(voice_clips.c.id < query.before)
    return [as_dict(row) for row in database.rows(statement.order_by(voice_clips.c.id.desc()).limit(query.limit))]


def kept_ratings(database: Database, query: RatingsQuery) -> dict[str, Any]:
    """The latest report of the ratings' job, its versions and groups filtered, and its `made_at`; None without one."""
    found = database.rows(sa.select(summaries).where(summaries.c.name == RATINGS))
    if not found:
        return {"summary": None, "made_at": None}
    wanted = {"version": query.version, "voice": query.voice, "language": query.language}
    body = {name: value for name, value in found[0].body.items() if name != BASIS}
    for part in ("versions", "groups"):
        body[part] = [
            one for one in body[part] if all(value in (None, one.get(name, value)) for name, value in wanted.items())
        ]
    return {"summary": body, "made_at": text_of(found[0].made_at)}


def ratings_are_of(database: Database, basis: str, *, since: datetime) -> bool:
    """Whether the latest report is made of these answers, and not earlier."""
    found = database.rows(sa.select(summaries).where(summaries.c.name == RATINGS, summaries.c.made_at >= since))
    return bool(found) and found[0].body.get(BASIS) == basis


def show(database: Database, clip_id: int) -> dict[str, Any]:
    """One clip with its figures."""
    found = database.rows(sa.select(voice_clips).where(voice_clips.c.id == clip_id))
    if not found:
        raise InvalidInput(
            "no-such-clip", f"There is no voice clip {clip_id}.", "Run `python -m ml_backend voices list`.", status=404
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
    figures = (sa.func.count().label("clips"), seconds.label("seconds"), sa.func.max(voice_clips.c.reason).label("why"))
    rows = database.rows(sa.select(*by, *figures).group_by(*by))
    sentences = {row.reason_code: row.why or "" for row in rows}
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
            {"code": code, "clips": number, "reason": sentences[code]} for code, number in reasons.most_common()
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
