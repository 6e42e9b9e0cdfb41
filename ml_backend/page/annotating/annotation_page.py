"""How annotation goes, for whoever leads the team. The figures are those of the report `annotation-figures`.

Suspicious patterns are shown with their evidence: how often, of how many, and what would be expected. A person decides
what they mean. One person's page has the same figures of that person alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response, g

from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.page import page_lists, page_shell, plots
from ml_backend.page.annotating.personal_links import PERSON, PersonalLink, PersonalLinks
from ml_backend.page.page_lists import Column, Row
from ml_backend.page.plots import Plot, Point, Series
from ml_backend.reports.annotating import annotation_figures
from ml_backend.reports.annotating.annotation_figures import AnnotationFiguresQuery
from ml_backend.views.queries import Query

ADDRESS = "/page/annotation"
EVIDENCE = {
    "unsure-unchanged": "left drafts unchanged that the model was unsure of, more often than the others did",
    "faster-than-audio": "accepted drafts in less time than their audio lasts",
    "draft-over-people": "agrees with the draft far more closely than with other people on the same tasks",
    "gold-unchanged": "left wrong drafts of tasks with a known answer unchanged",
}
_WORK = (
    Column("annotations", "annotations", "number", sortable=True),
    Column("worked_h", "hours of work", "number", sortable=True),
    Column("audio_min", "minutes of audio", "number", sortable=True),
    Column("minutes_per_audio_minute", "time per audio minute", "number", sortable=True),
    Column("low", "low", "number"),
    Column("high", "high", "number"),
    Column("timed", "timed", "number"),
    Column("changed_words_share", "words changed", "share", sortable=True),
    Column("words", "of words", "number"),
    Column("unchanged_share", "drafts unchanged", "share", sortable=True),
    Column("drafted", "of drafts", "number"),
    Column("skipped", "skipped", "number"),
    Column("left_open", "left open", "number"),
)
PEOPLE = (
    Column("name", "person", link=lambda row: _of_person(row["annotator"]), sortable=True),
    Column("days", "days", "number", sortable=True),
    Column("hours_per_day", "hours per day", "number", sortable=True),
    *_WORK,
    Column("agreement_wer", "differs from others", "share"),
    Column("agreement_tasks", "shared tasks", "number"),
    Column("gold_wer", "gold errors", "share"),
    Column("gold_answers", "gold answers", "number"),
    Column("signs", "signs"),
)
PROJECTS = (Column("title", "project", link=lambda row: _of_project(row["project"]), sortable=True), *_WORK)
BACKLOG = (
    Column("title", "project", link=lambda row: _of_project(row["project"])),
    Column("open", "open tasks", "number"),
    Column("median_days", "half older than, days", "number"),
    Column("oldest_days", "oldest, days", "number"),
    *(Column(name, name, "number") for name, _ in annotation_figures.AGES),
)
SUSPECTS = (
    Column("person", "person", link=lambda row: _of_person(row["annotator"])),
    Column("name", "sign"),
    Column("seen", "what was seen"),
    Column("part", "times", "number"),
    Column("of", "of", "number"),
    Column("expected", "expected", "number"),
)
DRAFTS = (
    Column("version", "version", link=lambda row: page_shell.link_to("version", row["version"]), sortable=True),
    Column("week_of", "week of", sortable=True),
    Column("annotations", "annotations", "number", sortable=True),
    Column("changed_words", "words changed", "share", sortable=True),
    Column("words", "of words", "number"),
    Column("unchanged", "drafts unchanged", "share", sortable=True),
    Column("low", "low", "share"),
    Column("high", "high", "share"),
)
LISTS = {"people": PEOPLE, "projects": PROJECTS, "backlog": BACKLOG, "suspects": SUSPECTS, "drafts": DRAFTS}


class AnnotationTeamPage:
    """Throughput, backlog, quality and people."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def show(self) -> Response:
        """The whole; with `annotator` or `project` in the address, of one alone."""
        query = page_lists.asked(AnnotationFiguresQuery)
        found = annotation_figures.of(self._context, query)
        lists = [
            page_lists.plain_listing(columns, rows_of(found, name), name.capitalize())
            for name, columns in LISTS.items()
        ]
        title = "Annotation"
        if query.annotator is not None:
            title += f": {annotation_figures.called(query.annotator, annotation_figures.names_of(self._context.db))}"
        return page_shell.render(
            "annotation.html", title=title, active="annotation",
            found=found, query=query, plots=[_throughput(found), _pace(found)], draft_plot=_draft_plot(found),
            lists=dict(zip(LISTS, lists, strict=True)), address=ADDRESS,
            agreement=_agreement(found), gold=_gold(found), link=self._link(query.annotator),
        )  # fmt: skip

    def _link(self, annotator: int | None) -> str | None:
        """A person's link to My day, for those who may hand it out."""
        session = g.get("session")
        if annotator is None or session is None or not session.may("operate"):
            return None
        return PersonalLinks(self._context).url(PersonalLink(PERSON, annotator))

    def one_list(self, name: str) -> Response:
        """One of the lists alone: sorted, filtered, as CSV."""
        columns = LISTS.get(name)
        if columns is None:
            raise InvalidInput("unknown-report", "There is no such list.", f"Known: {', '.join(LISTS)}.", status=404)
        query = page_lists.asked(AnnotationFiguresQuery)

        def rows(asked: Query) -> Sequence[Row]:
            return rows_of(annotation_figures.of(self._context, query), name)

        if page_lists.wants_csv():
            return page_lists.to_csv(f"annotation-{name}", query, rows, columns)
        return page_shell.render(
            "annotation_list.html", title=f"Annotation: {name}", active="annotation", address=ADDRESS,
            listing=page_lists.of(query, rows, columns, caption=name.capitalize()),
        )  # fmt: skip


def rows_of(found: Mapping[str, Any], name: str) -> list[Row]:
    """The rows of a list; a sign with the words for it."""
    rows = found[name]
    return [{**one, "seen": EVIDENCE.get(one["name"], "")} for one in rows] if name == "suspects" else list(rows)


def _throughput(found: Mapping[str, Any]) -> Plot:
    points = [Point(one["day"], one["annotations"], note=f"{one['worked_h']} h") for one in found["by_day"]]
    return plots.bars("Annotations per day", "day", "annotations", series=[Series("annotations", points)])


def _pace(found: Mapping[str, Any]) -> Plot:
    points = [
        Point(one["day"], one["minutes_per_audio_minute"], one["low"], one["high"], f"{one['timed']} timed")
        for one in found["by_day"]
        if one["minutes_per_audio_minute"] is not None
    ]
    return plots.lines(
        "Time per minute of audio", "day", "minutes of work per minute of audio", series=[Series("pooled", points)],
        description="Tasks that were left open are not counted.",
    )  # fmt: skip


def _draft_plot(found: Mapping[str, Any]) -> Plot:
    versions: dict[str, list[Point]] = {}
    for one in found["drafts"]:
        if one["week_of"] != "all" and one["changed_words"] is not None:
            versions.setdefault(one["version"], []).append(
                Point(one["week_of"], one["changed_words"], note=f"{one['words']:,} words")
            )
    return plots.lines(
        "What people changed in drafts, by model version", "week", "words changed of all words",
        series=[Series(name, points) for name, points in versions.items()],
    )  # fmt: skip


def _agreement(found: Mapping[str, Any]) -> list[list[Any]]:
    """Rows for a table: who began how, word differences, their basis."""
    return [
        [name, (one.get("wer") or {}).get("value"), (one.get("wer") or {}).get("of"), one.get("tasks")]
        for name, one in (found["agreement"] or {}).items()
    ]


def _gold(found: Mapping[str, Any]) -> dict[str, Any]:
    """Every field, empty where nothing is known."""
    nothing = dict.fromkeys(("value", "of", "low", "high", "note"))
    gold = found["gold"] or {}
    rates = {name: {**nothing, **(gold.get(name) or {})} for name in ("wer", "right")}
    return {"answers": gold.get("answers"), "tasks": gold.get("tasks"), **rates}


def _of_person(annotator: int | None) -> str | None:
    return f"{ADDRESS}?annotator={annotator}" if annotator else None


def _of_project(project: int | None) -> str | None:
    return f"{ADDRESS}?project={project}" if project else None
