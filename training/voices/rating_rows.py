"""Annotations of rating projects -> ratings, and what the people's answers say together.

Each answer is one person's newest annotation of a task. What cannot be used is named with its reason and costs no
other answer anything: a score outside 1 to 5, an answer without an axis, a clip that is not known. Withdrawn and
skipped annotations count as not given. Who speaks is read from `voice_clips` when the summary is made, so that
nothing in the task tells it to the person who rates.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.context import JobContext
from ml_backend.db import Database
from ml_backend.errors import InvalidInput
from ml_backend.labelling import labelconfig
from ml_backend.tables import annotations as written
from ml_backend.tables import newest_version, projects, tasks, voice_clips
from ml_backend.views import voice_views
from training.scoring import opinion_scores
from training.scoring.opinion_scores import AXES, HIGHEST, LOWEST, LeftOutRater, Opinion, Preference, Rating

TARGET = 4.0
STAYS = timedelta(days=1)
BAD = {
    "bad-score": f"A score is no whole number from {LOWEST} to {HIGHEST}.",
    "no-score": "An answer lacks one of the three scores; the others count.",
    "no-clip": "The task's audio is no known voice clip.",
}
UNKNOWN = "unknown"
BETTER, SIDES = "better", {"A": 1, "B": -1, "same": 0}
ANCHORS = (opinion_scores.REFERENCE, opinion_scores.DEGRADED)
Vote = tuple[int, str, int]
Wanted = Callable[[Rating], bool]


@dataclass(frozen=True)
class RatingQuery:
    """Which answers count; None is any."""

    project_id: int | None = None
    since: datetime | None = None
    language: str | None = None


@dataclass
class Answers:
    """What people answered. `bad`: (annotation in Label Studio, code)."""

    ratings: list[Rating] = field(default_factory=list)
    bad: list[tuple[int, str]] = field(default_factory=list)


def answers(database: Database, query: RatingQuery) -> Answers:
    """Every usable rating, and what is wrong with the others."""
    found = Answers()
    for row in _newest(database, query):
        if row.clip_id is None:
            found.bad.append((row.ls_annotation_id, "no-clip"))
            continue
        for axis in AXES:
            said = _chosen(row.choices, axis)
            score = _score(said)
            if score is None:
                found.bad.append((row.ls_annotation_id, "no-score" if said is None else "bad-score"))
                continue
            found.ratings.append(
                Rating(
                    rater=row.annotator or 0,
                    sentence=row.text_key or f"clip-{row.clip_id}",
                    axis=axis,
                    score=score,
                    voice=row.voice or UNKNOWN,
                    language=row.clip_language or UNKNOWN,
                    version=version_of(row),
                    role=row.role,
                )
            )
    return found


def version_of(clip: Any) -> str:
    """The version of a clip's voice; its engine where no version is known."""
    return str(clip.model_version or clip.engine or UNKNOWN)


def summary(database: Database, query: RatingQuery, *, target: float = TARGET) -> dict[str, Any]:
    """Scores per axis of each version, voice and language; anchors; raters that are left out; bad answers."""
    return _summed(answers(database, query), target)


def _summed(found: Answers, target: float) -> dict[str, Any]:
    kept, left_out = opinion_scores.screened(found.ratings)
    by_axis = {axis: [one for one in kept if one.axis == axis] for axis in AXES}
    plain = [one for one in kept if one.role != opinion_scores.DEGRADED]
    groups = sorted({(one.version, one.voice, one.language) for one in plain})
    versions = sorted({one.version for one in plain})
    return {
        "target": target,
        "raters": len({one.rater for one in kept}),
        "answers": len({(one.rater, one.sentence, one.voice, one.version, one.role) for one in kept}),
        "left_out": [_left_out(one) for one in left_out],
        "unchecked_raters": _unchecked(kept),
        "bad": [{"code": code, "answers": number, "reason": BAD[code]} for code, number in _counted(found.bad)],
        "bad_annotations": sorted({number for number, _ in found.bad})[:50],
        "versions": [
            {"version": version, **scores}
            for version, scores in zip(
                versions, _scores(by_axis, target, [_of(version) for version in versions]), strict=True
            )
        ],
        "groups": [
            {"version": version, "voice": voice, "language": language, **scores}
            for (version, voice, language), scores in zip(
                groups, _scores(by_axis, target, [_of(*group) for group in groups]), strict=True
            )
        ],
        "anchors": {
            role: scores["axes"]
            for role, scores in zip(
                ANCHORS, _scores(by_axis, target, [_in_role(role) for role in ANCHORS]), strict=True
            )
        },
    }


def summarise_ratings(context: JobContext) -> None:
    """The job: store the summary for `/api`, which has no time to draw raters and sentences again. Safe to repeat.

    It draws only where an answer, or what is known of a clip, changed since; and once a day, for a later release.
    """
    found = answers(context.db, RatingQuery())
    basis = hashlib.sha256(repr((found.ratings, found.bad)).encode()).hexdigest()
    if voice_views.ratings_are_of(context.db, basis, since=tables.now() - STAYS):
        return
    body = {**_summed(found, TARGET), voice_views.BASIS: basis}
    with context.db.transaction() as connection:
        row = {"name": voice_views.RATINGS, "body": body, "made_at": tables.now()}
        db.upsert(connection, tables.summaries, row, key=("name",))


def of_project(database: Database, project_id: int) -> dict[str, Any]:
    """The summary of one project, by its row, for the usual target."""
    return summary(database, RatingQuery(project_id=project_id))


def comparison(database: Database, query: RatingQuery, *, old: str, new: str) -> dict[str, Any]:
    """New minus old per axis over the sentences that both have, and the preference where people chose between them.

    Raises InvalidInput `no-such-voice-version` for a version without a clip, naming those that have one.
    """
    known = _versions(database)
    if unknown := [name for name in (old, new) if name not in known]:
        raise InvalidInput(
            "no-such-voice-version",
            f"No clip was spoken by version {unknown[0]!r}.",
            f"Use one of: {', '.join(known)}." if known else "Run `python -m ml_backend voices summary`.",
        )
    kept, left_out = opinion_scores.screened(answers(database, query).ratings)
    axes: dict[str, Any] = {}
    for axis in AXES:
        mine = [one for one in kept if one.axis == axis]
        found = opinion_scores.difference(
            mine,
            [one for one in mine if one.version == old and one.role is None],
            [one for one in mine if one.version == new and one.role is None],
        )
        axes[axis] = found.to_json() if found is not None else None
    votes, not_listening = _votes(database, query, old=old, new=new)
    chosen: Preference | None = opinion_scores.preference(votes) if votes else None
    return {
        "old": old,
        "new": new,
        "axes": axes,
        "preference": chosen.to_json() if chosen is not None else None,
        "left_out": [_left_out(one) for one in (*left_out, *not_listening)],
    }


def _newest(database: Database, query: RatingQuery) -> Iterator[sa.Row[Any]]:
    """One person's newest answer to each task of the rating projects, with the clip that was rated."""
    for project_id in _projects(database, query):
        latest: dict[tuple[int, int], sa.Row[Any]] = {}
        statement = (
            sa.select(
                written.c.id, written.c.ls_annotation_id, written.c.ls_updated_at, written.c.annotator,
                written.c.choices, written.c.task_id, voice_clips.c.id.label("clip_id"), voice_clips.c.text_key,
                voice_clips.c.voice, voice_clips.c.language.label("clip_language"), voice_clips.c.engine,
                voice_clips.c.model_version, voice_clips.c.role,
            )
            .join(tasks, tasks.c.id == written.c.task_id)
            .outerjoin(voice_clips, voice_clips.c.recording_id == tasks.c.recording_id)
            .where(written.c.project_id == project_id, ~written.c.skipped, newest_version())
        )  # fmt: skip
        for row in database.rows(_limited(statement, query).order_by(written.c.ls_updated_at, written.c.id)):
            latest[row.annotator or 0, row.task_id] = row
        yield from latest.values()


def _projects(database: Database, query: RatingQuery) -> list[int]:
    found = sa.select(projects.c.id, projects.c.label_config)
    if query.project_id is not None:
        found = found.where(projects.c.id == query.project_id)
    return [row.id for row in database.rows(found.order_by(projects.c.id)) if _rates(row.label_config)]


def _rates(config: str | None) -> bool:
    """Whether people give scores there; a project in which they choose between two is none."""
    controls = labelconfig.parse(config or "")
    return controls.rates and any(axis in controls.other_choices or axis in _names(controls) for axis in AXES)


def _names(controls: Any) -> set[str]:
    return {choices.name for choices in controls.choices.values()}


def _chosen(choices: Mapping[str, Any] | None, axis: str) -> str | None:
    options = (choices or {}).get(axis)
    return str(options[0]) if isinstance(options, list) and len(options) == 1 else None if not options else ""


def _score(said: str | None) -> int | None:
    """The score of an option; None for anything but 1 to 5."""
    return (
        int(said) if said is not None and said.isascii() and said.isdigit() and LOWEST <= int(said) <= HIGHEST else None
    )


def _votes(database: Database, query: RatingQuery, *, old: str, new: str) -> tuple[list[Vote], list[LeftOutRater]]:
    """(rater, sentence, +1 new, -1 old, 0 neither) of each answer, and who is left out.

    Who prefers the degraded copies at least as often as the recordings of people is left out.
    """
    found: list[Vote] = []
    anchors: defaultdict[int, list[int]] = defaultdict(list)
    for row in _choices(database, query):
        side = SIDES.get(_chosen(row.choices, BETTER) or "")
        if side is None:
            continue
        roles, versions = (
            (row.role, row.other_role),
            (version_of(row), str(row.other_version or row.other_engine or UNKNOWN)),
        )
        if set(roles) == {opinion_scores.REFERENCE, opinion_scores.DEGRADED}:
            anchors[row.annotator or 0].append(side if roles[0] == opinion_scores.REFERENCE else -side)
        elif versions in ((new, old), (old, new)):
            found.append((row.annotator or 0, str(row.text_key), side if versions[0] == new else -side))
    failed = {rater: sides for rater, sides in anchors.items() if sum(sides) <= 0}
    left_out = [
        LeftOutRater(
            rater, sum(one[0] == rater for one in found), "anchors",
            f"Preferred the recording of a person in {sides.count(1)} of {len(sides)} hidden pairs.",
        )
        for rater, sides in sorted(failed.items())
    ]  # fmt: skip
    return [one for one in found if one[0] not in failed], left_out


def _versions(database: Database) -> list[str]:
    """The versions of all clips."""
    columns = (voice_clips.c.model_version, voice_clips.c.engine)
    return sorted({version_of(row) for row in database.rows(sa.select(*columns).distinct())})


def _choices(database: Database, query: RatingQuery) -> Iterator[sa.Row[Any]]:
    """One person's newest answer to each task over two clips, with both clips."""
    other = voice_clips.alias("other")
    latest: dict[tuple[int, int], sa.Row[Any]] = {}
    statement = (
        sa.select(
            written.c.annotator, written.c.choices, written.c.task_id, voice_clips.c.text_key,
            voice_clips.c.role, voice_clips.c.model_version, voice_clips.c.engine, other.c.role.label("other_role"),
            other.c.model_version.label("other_version"), other.c.engine.label("other_engine"),
        )
        .join(tasks, tasks.c.id == written.c.task_id)
        .join(voice_clips, voice_clips.c.recording_id == tasks.c.recording_id)
        .join(other, other.c.recording_id == tasks.c.beside_id)
        .where(~written.c.skipped, newest_version())
    )  # fmt: skip
    for row in database.rows(_limited(statement, query).order_by(written.c.ls_updated_at, written.c.id)):
        latest[row.annotator or 0, row.task_id] = row
    yield from latest.values()


def _limited(statement: sa.Select[Any], query: RatingQuery) -> sa.Select[Any]:
    if query.project_id is not None:
        statement = statement.where(written.c.project_id == query.project_id)
    if query.since is not None:
        statement = statement.where(written.c.ls_updated_at >= query.since)
    if query.language is not None:
        statement = statement.where(voice_clips.c.language == query.language)
    return statement


def _of(version: str, voice: str | None = None, language: str | None = None) -> Wanted:
    """The clips of a version, or of one voice and language of it; no degraded copy."""
    return lambda one: (
        one.version == version and one.role != opinion_scores.DEGRADED
        and voice in (None, one.voice) and language in (None, one.language)
    )  # fmt: skip


def _in_role(role: str) -> Wanted:
    return lambda one: one.role == role


def _scores(by_axis: Mapping[str, Sequence[Rating]], target: float, wanted: Sequence[Wanted]) -> list[dict[str, Any]]:
    """Each axis of each group, and whether all axes of a group meet the target."""
    axes: dict[str, list[Opinion | None]] = {
        axis: opinion_scores.opinions(every, [[one for one in every if mine(one)] for mine in wanted])
        for axis, every in by_axis.items()
    }
    return [
        {
            "axes": {
                axis: None if (one := found[place]) is None else {**one.to_json(), "met": one.meets(target)}
                for axis, found in axes.items()
            },
            "met": all(one is not None and one.meets(target) for found in axes.values() for one in [found[place]]),
        }
        for place in range(len(wanted))
    ]


def _left_out(one: LeftOutRater) -> dict[str, Any]:
    return {"rater": one.rater, "votes": one.votes, "code": one.code, "reason": one.reason}


def _unchecked(kept: Sequence[Rating]) -> list[Any]:
    """Raters who met no reference or no degraded copy yet: nobody knows whether they listen."""
    roles: defaultdict[Any, set[str | None]] = defaultdict(set)
    for one in kept:
        roles[one.rater].add(one.role)
    return sorted(
        rater for rater, mine in roles.items() if not {opinion_scores.REFERENCE, opinion_scores.DEGRADED} <= mine
    )


def _counted(bad: Sequence[tuple[int, str]]) -> list[tuple[str, int]]:
    return Counter(code for _, code in bad).most_common()
