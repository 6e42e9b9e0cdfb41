"""What one annotator did today, against that person's own past. Nobody else's figures, and no ranking.

Everything is found by an index on person and time. A draft's words are compared with the words of the finished text,
which shows what the model gets wrong again and again for this person's calls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from difflib import SequenceMatcher
from statistics import median
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field
from sqlalchemy.engine import Connection

from ml_backend import languages
from ml_backend.calls.events import zone_of
from ml_backend.context import Context
from ml_backend.db import Database
from ml_backend.reports import annotation_days, day_counts
from ml_backend.reports.annotating import annotation_figures
from ml_backend.tables import annotations as written
from ml_backend.tables import hotwords, projects
from ml_backend.views.queries import Query, Whole

PAST_DAYS = 28
LEAST = 10  # timed annotations before today: fewer give no median
MOST_COMPARED = 300  # newest drafts
MOST_WORDS, MOST_GLOSSARY = 15, 300
LONGEST = 400  # words of one text that are compared
_AROUND = ".,;:!?\"'()[]{}।॥-–—…"


class MyDayQuery(Query):
    """Whose day."""

    annotator: Annotated[Whole, Field(description="The person, by Label Studio's user id.")]


def of(context: Context, query: MyDayQuery) -> dict[str, Any]:
    """The report."""
    zone, today = zone_of(context.settings.exotel_time_zone), day_counts.today_of(context)
    begin, end = day_counts.span_of(today, zone)
    past = begin - timedelta(days=PAST_DAYS)
    with context.db.reading() as connection:
        rows = annotation_days.rows_between(connection, past, end, annotator=query.annotator)
        corrected = _corrected(_changed(connection, query.annotator, past))
    now = [row for row in rows if _made(row) >= begin]
    mine = sorted({row["project_id"] for row in rows})
    paces, before = _paces(now), _paces(row for row in rows if _made(row) < begin)
    return {
        "annotator": query.annotator,
        "name": annotation_figures.called(query.annotator, annotation_figures.names_of(context.db)),
        "day": today.isoformat(), "zone": context.settings.exotel_time_zone,
        **_summed(now),
        "median_pace": round(median(paces), 2) if paces else None, "timed": len(paces),
        "own_median_pace": round(median(before), 2) if len(before) >= LEAST else None,
        "own_timed": len(before), "past_days": PAST_DAYS,
        "corrected": corrected,
        **glossary(context.db, mine),
    }  # fmt: skip


def glossary(database: Database, project_ids: Iterable[int]) -> dict[str, Any]:
    """Approved words with the forms that the model writes instead, and the script of each language."""
    mine = list(project_ids)
    words = (
        sa.select(hotwords.c.word, hotwords.c.language, hotwords.c.heard)
        .where(hotwords.c.state == "approved", hotwords.c.project_id.in_(mine))
        .order_by(hotwords.c.language, hotwords.c.word)
        .limit(MOST_GLOSSARY)
    )
    policies = sa.select(projects.c.script_policy).where(projects.c.id.in_(mine)).order_by(projects.c.id)
    found: dict[str, str] = {}
    for row in database.rows(policies):
        found |= {language: str(script) for language, script in (row.script_policy or {}).items()}
    return {
        "glossary": [
            {
                "word": row.word, "language": row.language,
                "instead_of": [str(one.get("form")) for one in row.heard or () if one.get("form")][:5],
            }
            for row in database.rows(words)
        ],
        "spellings": [
            {"language": language, "name": _name(language), "script": _script(script)}
            for language, script in sorted(found.items())
        ],
    }  # fmt: skip


def lines(found: Mapping[str, Any]) -> list[str]:
    """For a terminal."""
    pace = "no time known" if found["median_pace"] is None else f"{found['median_pace']} minutes per minute of audio"
    own = f"; own median {found['own_median_pace']}" if found["own_median_pace"] is not None else ""
    words = [f"{one['draft']} -> {one['text']}: {one['times']}" for one in found["corrected"]]
    return [
        f"{found['name']}, {found['day']}: {found['annotations']} annotations, {found['audio_min']} minutes of audio",
        f"{pace}{own}", *words,
        *(f"{one['word']} ({one['language']}), not {', '.join(one['instead_of'])}" for one in found["glossary"]),
    ]  # fmt: skip


def _summed(now: list[dict[str, Any]]) -> dict[str, Any]:
    people = annotation_days.people(now)
    return {
        "annotations": sum(one.annotations for one in people), "skipped": sum(one.skipped for one in people),
        "worked_min": round(sum(one.worked_s for one in people) / 60, 1),
        "audio_min": round(sum(one.audio_s for one in people) / 60, 1),
    }  # fmt: skip


def _paces(rows: Iterable[Mapping[str, Any]]) -> list[float]:
    """Minutes of work per minute of audio, of each annotation with both."""
    return [
        row["lead_time_s"] / row["audio_s"]
        for row in rows
        if row["lead_time_s"] and row["audio_s"]
        and row["text"] is not None and not row["skipped"] and not row["reject"]
        and not annotation_days.left_open(row["lead_time_s"], row["audio_s"])
    ]  # fmt: skip


def _changed(connection: Connection, annotator: int, since: datetime) -> Iterator[tuple[str, str]]:
    """(draft, finished text) of the newest annotations that began from a draft."""
    row = written.c
    found = (
        sa.select(row.draft["text"].as_string().label("drafted"), row.text)
        .where(row.annotator == annotator, row.ls_created_at >= since, row.deleted_at.is_(None))
        .where(row.skipped.is_(False), row.edited == "edited", row.text.is_not(None))
        .order_by(row.ls_created_at.desc())
        .limit(MOST_COMPARED)
    )
    for one in connection.execute(found):
        if one.drafted:
            yield one.drafted, one.text


def _corrected(pairs: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """Words that were replaced, the most often first; each word for one word."""
    found: Counter[tuple[str, str]] = Counter()
    for drafted, text in pairs:
        before, after = _words(drafted), _words(text)
        for kind, i, j, k, m in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
            if kind == "replace" and j - i == m - k:
                found.update(zip(before[i:j], after[k:m], strict=True))
    order = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return [{"draft": pair[0], "text": pair[1], "times": times} for pair, times in order[:MOST_WORDS]]


def _words(text: str) -> list[str]:
    return [word for each in text.lower().split()[:LONGEST] if (word := each.strip(_AROUND))]


def _made(row: Mapping[str, Any]) -> datetime:
    at: datetime = row["made_at"]
    return at


def _name(code: str) -> str:
    known = languages.LANGUAGES.get(code)
    return known.name if known else code


def _script(code: str) -> str:
    named = {one.script.code: one.script.name for one in languages.LANGUAGES.values()}
    return {languages.MIXED: "each word in its own script"}.get(code, named.get(code, code))
