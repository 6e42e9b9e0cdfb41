"""A made-up team of annotators over the real tables: who reads what they accept, and who does not, is known.

A draft has wrong words, the more the less sure it is. Who works honestly listens at a speed of their own, finds most of
them and leaves some, and differs from the others in a word now and then. Who stamps sends the draft back as it is.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.db import Database

BEGAN = datetime(2026, 3, 2, 8, tzinfo=UTC)


@dataclass(frozen=True)
class Person:
    """`stamps`: how many of the drafts they send back unread. `pads`: they wait until it looks like listening."""

    number: int
    stamps: float = 0.0
    pads: bool = False
    timed: float = 0.9  # of the annotations whose time is known
    speed: float = 1.0
    care: float = 0.92  # of the wrong words they find
    quirks: float = 0.01  # words per word that they write in their own way


@dataclass
class Team:
    """What was made: the stampers, and the ids of the annotations nobody read."""

    stampers: set[int]
    stamped: set[int] = field(default_factory=set)
    annotations: int = 0


def honest(number: int, seed: random.Random) -> Person:
    """Up to double speed, careful or less so; one in nine has no times, one in six finds half the errors."""
    return Person(
        number,
        timed=0.0 if number % 9 == 0 else 0.9,
        speed=seed.choice((1.0, 1.0, 1.25, 1.5, 2.0)),
        care=seed.uniform(0.5, 0.6) if number % 6 == 0 else seed.uniform(0.8, 0.99),
        quirks=seed.uniform(0.0, 0.03),
    )


def stamper(number: int, seed: random.Random) -> Person:
    """Some stamp everything, some most; one in four waits for the time to pass; one in six has no times."""
    return Person(
        number,
        stamps=seed.uniform(0.6, 1.0),
        pads=seed.random() < 0.25,
        timed=0.0 if seed.random() < 1 / 6 else 0.9,
        speed=seed.choice((1.0, 1.5)),
        care=seed.uniform(0.8, 0.95),
    )


def project(database: Database, **values: Any) -> int:
    """An attached project."""
    row = {"instance_url": "http://label-studio.example", "ls_project_id": 1, "state": "attached"} | values
    with database.transaction() as connection:
        return int(
            connection.execute(sa.insert(tables.projects).values(**row).returning(tables.projects.c.id)).scalar_one()
        )


def fill(database: Database, people: Sequence[Person], *, seed: int, tasks: int, shared: float = 0.15) -> Team:
    """`tasks` drafted tasks annotated by one person each, `shared` of them by two."""
    draw = random.Random(seed)
    project_id = project(database)
    team = Team({person.number for person in people if person.stamps})
    recordings, rows, agreed, made = [], [], [], []
    for task_id in range(1, tasks + 1):
        audio_s = round(draw.uniform(4, 28), 2)
        words = max(3, round(audio_s * draw.uniform(1.6, 2.6)))
        confidence = round(min(0.95, max(0.25, draw.gauss(0.68, 0.15))), 3)
        chance = min(0.5, max(0.0, 0.34 * (1 - confidence) + draw.gauss(0, 0.02)))
        wrong = {place for place in range(words) if draw.random() < chance}
        recordings.append(_recording(task_id, audio_s))
        made.append(_task(task_id, project_id, audio_s))
        pair = []
        for person in draw.sample(list(people), 2 if draw.random() < shared else 1):
            annotation_id = len(rows) + 1
            left, quirks, lead_s, stamped = _work(person, draw, wrong, words, audio_s)
            edits = len(wrong - left) + quirks
            at = BEGAN + timedelta(minutes=7 * task_id)
            rows.append(_annotation(annotation_id, project_id, task_id, person, at, lead_s, words, edits, confidence))
            pair.append((annotation_id, left, quirks))
            if stamped:
                team.stamped.add(annotation_id)
        if len(pair) == 2:
            (one, left, mine), (other, theirs, quirks) = pair
            counts = {"words": words, "word_edits": len(left ^ theirs) + mine + quirks}
            agreed.append({"task_id": task_id, "first_id": one, "second_id": other, "counts": _with_chars(counts)})
    team.annotations = len(rows)
    with database.transaction() as connection:
        for table, some in ((tables.recordings, recordings), (tables.tasks, made), (tables.annotations, rows)):
            connection.execute(sa.insert(table), some)
        if agreed:
            connection.execute(sa.insert(tables.agreements), agreed)
    return team


def _work(
    person: Person, draw: random.Random, wrong: set[int], words: int, audio_s: float
) -> tuple[set[int], int, float | None, bool]:
    """(wrong words left, words changed for no reason, seconds, whether it was stamped)."""
    known = draw.random() < person.timed
    if draw.random() < person.stamps:
        took = audio_s * draw.uniform(0.95, 1.6) if person.pads else draw.uniform(1.5, 2.5 + 0.45 * audio_s)
        return set(wrong), 0, round(took, 1) if known else None, True
    left = {place for place in wrong if draw.random() > person.care}
    quirks = sum(draw.random() < person.quirks for _ in range(words))
    took = 2.0 + audio_s / person.speed * draw.uniform(1.0, 1.3) + sum(draw.uniform(2, 6) for _ in wrong - left)
    return left, quirks, round(took, 1) if known else None, False


def _recording(number: int, audio_s: float) -> dict[str, Any]:
    return {"id": number, "source": "object", "source_identity": f"s3://calls/{number}.wav", "duration_s": audio_s}


def _task(number: int, project_id: int, audio_s: float) -> dict[str, Any]:
    return {
        "id": number, "project_id": project_id, "recording_id": number, "start_s": 0.0, "end_s": audio_s,
        "ls_task_id": number, "external_key": f"key-{number}", "origin": "ours", "state": "annotated",
    }  # fmt: skip


def _annotation(
    number: int, project_id: int, task_id: int, person: Person, at: datetime, lead_s: float | None, words: int,
    edits: int, confidence: float,
) -> dict[str, Any]:  # fmt: skip
    counts = {"words": words, "word_edits": edits}
    return {
        "id": number, "project_id": project_id, "task_id": task_id, "ls_task_id": task_id, "ls_annotation_id": number,
        "ls_updated_at": at, "ls_created_at": at, "annotator": person.number, "result": [], "text": "…",
        "lead_time_s": lead_s, "edited": "edited" if edits else "untouched", "model_version": "small-1",
        "draft": {"text": "…", "segments": [], "words": [], "confidence": confidence},
        "measures": {"normaliser": "indic@1", **_with_chars(counts), "unchanged": edits == 0},
    }  # fmt: skip


def _with_chars(counts: dict[str, int]) -> dict[str, int]:
    return {**counts, "chars": 5 * counts["words"], "char_edits": 3 * counts["word_edits"]}
