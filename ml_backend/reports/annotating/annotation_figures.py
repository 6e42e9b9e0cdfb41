"""How annotation goes: throughput, backlog, time per audio minute, agreement, gold, suspicious patterns, per person.

Days come from `day_counts`; what compares annotations with one another is in the summary that a job makes. Names are
Label Studio's. Nothing is ranked by quality: people are in the order of their ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field

from ml_backend import tables
from ml_backend.context import Context
from ml_backend.db import Database
from ml_backend.reports import day_counts, intervals
from ml_backend.reports.annotation_days import PersonDay
from ml_backend.tables import projects, summaries, tasks
from ml_backend.views import annotation_views
from ml_backend.views.queries import Days, Query, Whole

NAMES = "people"  # the summary with the names of Label Studio's users
MOST_OPEN = 20_000
AGES = (("under a day", 1), ("1 to 7 days", 7), ("8 to 30 days", 30), ("over 30 days", None))
CHANGED = ("edit_rate", "accepted_unchanged")  # of drafts, in the summary


class AnnotationFiguresQuery(Query):
    """Which days, and whose."""

    days: Annotated[Days, Field(description="So many days back; at most 92.")] = 28
    project: Annotated[Whole | None, Field(description="Only of this project, by its number in Label Studio.")] = None
    annotator: Annotated[Whole | None, Field(description="Only by this person, by Label Studio's user id.")] = None


@dataclass(frozen=True)
class _Project:
    id: int
    ls_project_id: int
    title: str
    state: str


def of(context: Context, query: AnnotationFiguresQuery) -> dict[str, Any]:
    """The report."""
    known = _projects(context.db)
    chosen = {one.id for one in known.values() if query.project in (None, one.ls_project_id)}
    since = day_counts.today_of(context) - timedelta(days=query.days - 1)
    kept = day_counts.kept(context.db, day_counts.PEOPLE, since=since)
    by_day = {
        day: [
            one
            for one in map(PersonDay.from_json, body)
            if one.project_id in chosen and query.annotator in (None, one.annotator)
        ]
        for day, body in kept.items()
    }
    every = [one for some in by_day.values() for one in some]
    names, summary = names_of(context.db), annotation_views.kept_summary(context.db)
    whole = summary["summary"] or {}
    return {
        "days": query.days, "since": since.isoformat(), "counted_at": _text(day_counts.counted_at(context.db)),
        "compared_at": summary["made_at"],
        "total": _figures(_summed(every)),
        "by_day": [{"day": day.isoformat(), **_figures(_summed(some))} for day, some in by_day.items()],
        "people": _people(every, by_day, names, whole),
        "projects": _by_project(every, known),
        "backlog": _backlog(context.db, known, chosen),
        "agreement": whole.get("agreement"), "alpha": whole.get("alpha"), "gold": whole.get("gold"),
        "suspects": _suspects(whole, names, query.annotator), "stamped": (whole.get("stamping") or {}).get("reasons"),
        "drafts": _drafts(whole),
    }  # fmt: skip


def names_of(database: Database) -> dict[int, str]:
    """Label Studio's user id -> name, as the job last read them."""
    found = database.rows(sa.select(summaries.c.body).where(summaries.c.name == NAMES))
    return {int(who): str(name) for who, name in (found[0].body.get("names") or {}).items()} if found else {}


def called(who: int | None, names: Mapping[int, str]) -> str:
    """A person's name, or what is known instead."""
    return names.get(who, f"annotator {who}") if who is not None else "no author"


def _projects(database: Database) -> dict[int, _Project]:
    named = sa.select(projects.c.id, projects.c.ls_project_id, projects.c.title, projects.c.state)
    rows = database.rows(named.order_by(projects.c.id))
    return {
        row.id: _Project(row.id, row.ls_project_id, row.title or f"project {row.ls_project_id}", row.state)
        for row in rows
    }


def _summed(some: list[PersonDay]) -> PersonDay:
    whole = PersonDay(None, 0)
    for one in some:
        whole.add(one)
    return whole


def _figures(one: PersonDay) -> dict[str, Any]:
    """Counts, and the rates that they give with their basis."""
    time, changed = intervals.ratio(one.time), one.word_edits / one.words if one.words else None
    unchanged = intervals.share(one.unchanged, one.drafted)
    return {
        "annotations": one.annotations, "skipped": one.skipped, "rejected": one.rejected,
        "left_open": one.left_open, "worked_h": round(one.worked_s / 3600, 2), "audio_min": round(one.audio_s / 60, 1),
        "minutes_per_audio_minute": round(time.value, 3) if time else None,
        "low": round(time.low, 3) if time and time.low is not None else None,
        "high": round(time.high, 3) if time and time.high is not None else None, "timed": one.time.count,
        "drafted": one.drafted, "unchanged_share": round(unchanged.value, 4) if unchanged else None,
        "changed_words_share": round(changed, 4) if changed is not None else None, "words": one.words,
    }  # fmt: skip


def _people(
    every: list[PersonDay], by_day: Mapping[Any, list[PersonDay]], names: Mapping[int, str], whole: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """One row per person: work of the window, and agreement and gold of all time."""
    compared = {one["annotator"]: one for one in whole.get("people") or ()}
    rows = []
    for who in sorted({one.annotator for one in every}, key=lambda each: (each is None, each or 0)):
        mine = _summed([one for one in every if one.annotator == who])
        days = sum(any(one.annotator == who and one.worked_s for one in some) for some in by_day.values())
        known = compared.get(who) or {}
        rows.append(
            {
                "annotator": who, "name": called(who, names), **_figures(mine), "days": days,
                "hours_per_day": round(mine.worked_s / 3600 / days, 2) if days else None,
                "agreement_wer": _value((known.get("agreement") or {}).get("wer")),
                "agreement_tasks": (known.get("agreement") or {}).get("tasks"),
                "gold_wer": _value((known.get("gold") or {}).get("wer")),
                "gold_answers": (known.get("gold") or {}).get("answers"),
                "signs": list(known.get("signs") or ()),
            }
        )  # fmt: skip
    return rows


def _by_project(every: list[PersonDay], known: Mapping[int, _Project]) -> list[dict[str, Any]]:
    return [
        {
            "project": known[project_id].ls_project_id if project_id in known else None,
            "title": known[project_id].title if project_id in known else "gone",
            **_figures(_summed([one for one in every if one.project_id == project_id])),
        }
        for project_id in sorted({one.project_id for one in every})
    ]


def _backlog(database: Database, known: Mapping[int, _Project], chosen: set[int]) -> list[dict[str, Any]]:
    """Open tasks of attached projects by age; counted up to a limit per project."""
    found = []
    for one in known.values():
        if one.id not in chosen or one.state != "attached":
            continue
        some = sa.select(tasks.c.created_at).where(tasks.c.state == "open", tasks.c.project_id == one.id)
        made = [row.created_at for row in database.rows(some.limit(MOST_OPEN))]
        if not made:
            continue
        days = sorted((tables.now() - at) / timedelta(days=1) for at in made)
        ages, below = {}, 0
        for name, most in AGES:
            until = len(days) if most is None else sum(each < most for each in days)
            ages[name], below = until - below, until
        found.append(
            {
                "project": one.ls_project_id, "title": one.title, "open": len(days), "at_least": len(days) == MOST_OPEN,
                "median_days": round(days[len(days) // 2], 1), "oldest_days": round(days[-1], 1), **ages,
            }
        )  # fmt: skip
    return found


def _suspects(whole: Mapping[str, Any], names: Mapping[int, str], only: int | None) -> list[dict[str, Any]]:
    """One row per sign against a person: what was seen, with its evidence."""
    people = (whole.get("stamping") or {}).get("people") or ()
    return [
        {"annotator": one["annotator"], "person": called(one["annotator"], names), **sign}
        for one in people
        if only in (None, one["annotator"])
        for sign in one["signs"]
    ]


def _drafts(whole: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What people changed in drafts, by the version that made them and the week."""
    rows = []
    for one in whole.get("drafts") or ():
        for week in ({"week_of": "all", **one}, *one.get("weeks", ())):
            rate, kept = week["edit_rate"], week["accepted_unchanged"]
            rows.append(
                {
                    "version": one["model_version"], "week_of": week["week_of"], "annotations": week["annotations"],
                    "changed_words": _value(rate), "words": rate.get("of"), "unchanged": _value(kept),
                    "low": kept.get("low"), "high": kept.get("high"),
                }
            )  # fmt: skip
    return rows


def _value(figure: Mapping[str, Any] | None) -> float | None:
    return figure.get("value") if isinstance(figure, Mapping) else figure


def _text(at: Any) -> str | None:
    return at.isoformat(timespec="seconds") if at else None


def lines(found: Mapping[str, Any]) -> list[str]:
    """For a terminal: the whole, then a line per person, project and sign."""
    told = [f"{found['days']} days: {_line(found['total'])}"]
    told += [f"{one['name']}: {_line(one)}, {one['days']} days of work" for one in found["people"]]
    told += [f"{one['title']}: {_line(one)}" for one in found["projects"]]
    told += [
        f"{one['title']}: {one['open']:,} tasks open, half of them over {one['median_days']} days, the oldest "
        f"{one['oldest_days']} days"
        for one in found["backlog"]
    ]
    return told + [f"{one['person']}: {one['name']}, {one['part']} of {one['of']}" for one in found["suspects"]]


def _line(one: Mapping[str, Any]) -> str:
    time = one["minutes_per_audio_minute"]
    per = f"{time:.2f} minutes per minute of audio" if time is not None else "no time known"
    work = f"{one['worked_h']:.1f} h of work, {one['audio_min']:.1f} min of audio"
    return f"{one['annotations']:,} annotations, {work}, {per}"
