"""Models of every kind: versions, their lineage and verdicts, any two beside each other, and runs that train."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flask import Response, g

from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.jobs import job_kinds
from ml_backend.models import kinds, registry
from ml_backend.page import page_actions, page_lists, page_shell, plots
from ml_backend.page.page_lists import Column
from ml_backend.page.plots import IntervalRow, Plot, Point, Series
from ml_backend.reports.learning import model_lineage, model_verdicts, run_curves
from ml_backend.reports.learning.model_lineage import LineageQuery
from ml_backend.reports.learning.model_verdicts import VerdictQuery, VersionPairQuery
from ml_backend.reports.learning.run_curves import CurveQuery, RunQuery
from ml_backend.views import version_views
from ml_backend.views.queries import Query, whole_number
from ml_backend.views.version_views import VersionQuery

MODELS, RUNS, COMPARE = "/page/models", "/page/runs", "/page/models/compare"
GOING_ON = ("waiting", "running")
Row = Mapping[str, Any]


def _version(row: Row, name: str = "version") -> str | None:
    return page_shell.link_to("version", row[name]) if row.get(name) else None


def _run(row: Row, name: str = "run") -> str | None:
    return page_shell.link_to("run", row[name]) if row.get(name) else None


VERSIONS = (
    Column("version", "version", link=_version),
    Column("kind", "kind"),
    Column("serves", "serves"),
    Column("languages", "languages"),
    Column("score", "score", "share"),
    Column("measure", "of"),
    Column("count", "counted", "number"),
    Column("verdict", "last verdict"),
    Column("made_at", "made", "time"),
    Column("run_id", "run", link=lambda row: _run(row, "run_id")),
)
RUN_LIST = (
    Column("run", "run", link=_run),
    Column("kind", "kind"),
    Column("state", "state"),
    Column("base", "from"),
    Column("dataset", "dataset"),
    Column("version", "version", link=_version),
    Column("who", "asked by"),
    Column("created_at", "asked", "time"),
    Column("finished_at", "ended", "time"),
    Column("why", "why"),
)
SLICES = (
    Column("title", "slice", sortable=True),
    Column("before", "before", "share", sortable=True),
    Column("now", "now", "share", sortable=True),
    Column("low", "from", "share"),
    Column("high", "to", "share"),
    Column("count", "counted", "number", sortable=True),
    Column("few", ""),
)
HISTORY = (
    Column("at", "when", "time"),
    Column("alias", "alias"),
    Column("language", "language"),
    Column("from", "from", link=lambda row: _version(row, "from")),
    Column("to", "to", link=lambda row: _version(row, "to")),
    Column("who", "who"),
    Column("why", "why"),
)


class ModelsPage:
    """Versions and runs."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def show(self) -> Response:
        """Versions of every kind, newest first, and what serves."""
        query = page_lists.asked(VersionQuery)
        if page_lists.wants_csv():
            return page_lists.to_csv("models", query, self._versions, VERSIONS)
        listing = page_lists.of(
            query, self._versions, VERSIONS, choices={"kind": kinds.names()}, caption="Model versions, newest first"
        )
        return page_shell.render(
            "models.html", title="Models", active="models", listing=listing, champions=list(self._champions()),
            names=[row["version"] for row in listing.rows], compare=COMPARE, runs=RUNS,
        )  # fmt: skip

    def version(self, version: str) -> Response:
        """One version: its lineage, verdicts, scores and time as champion."""
        found = version_views.one(self._context, version)
        lineage = model_lineage.of(self._context, LineageQuery(version=found["version"]))
        verdicts = model_verdicts.of(self._context, VerdictQuery(version=found["version"]))
        latest = verdicts["verdicts"][0] if verdicts["verdicts"] else None
        champion = registry.aliased(self._context, found["kind"])
        return page_shell.render(
            "version.html", title=found["version"], active="models", version=found, lineage=lineage,
            verdicts=verdicts["verdicts"], why_no_verdict=verdicts["why_none"], latest=latest,
            plot=verdict_plot(latest) if latest else None,
            slices=page_lists.plain_listing(SLICES, list(_slices(latest["slices"])), "Slices") if latest else None,
            history=page_lists.plain_listing(HISTORY, found["history"], "When it began and ended to serve"),
            champion=champion.version if champion else None, compare=COMPARE,
            path=page_shell.link_to("version", found["version"]),
            languages=[alias["language"] for alias in found["aliases"] if alias["alias"] == registry.CHAMPION],
        )  # fmt: skip

    def slices(self, version: str) -> Response:
        """The slices of its latest verdict, to sort and to take along."""
        found = model_verdicts.of(self._context, VerdictQuery(version=version))["verdicts"]
        rows = list(_slices(found[0]["slices"])) if found else []
        if page_lists.wants_csv():
            return page_lists.to_csv("slices", Query(), lambda query: rows, SLICES)
        return page_shell.render(
            "listing.html", title=f"Slices of {version}", active="models",
            listing=page_lists.of(page_lists.asked(Query), lambda query: rows, SLICES, caption="Slices before and now"),
            command=f"python -m ml_backend report verdicts --only version={version}",
            api=f"/api/reports/verdicts?version={version}",
        )  # fmt: skip

    def compare(self) -> Response:
        """Any two versions of one kind."""
        query = page_lists.asked(VersionPairQuery)
        found = model_verdicts.compare(self._context, query)
        rows = list(_slices(found["slices"]))
        if page_lists.wants_csv():
            return page_lists.to_csv("comparison", query, lambda query: rows, SLICES)
        names = [row["version"] for row in version_views.every(self._context, VersionQuery(limit=200))]
        measure = found["measure"] or ""
        return page_shell.render(
            "comparison.html", title="Two versions", active="models", found=found, names=names, compare=COMPARE,
            listing=page_lists.plain_listing(SLICES, rows, "Slices"),
            plot=slices_plot("Stored scores, before and now", measure, found["slices"]),
            verdict=verdict_plot(found["verdict"]) if found["verdict"] else None,
        )  # fmt: skip

    def runs(self) -> Response:
        """Training runs, newest first."""
        query = page_lists.asked(RunQuery)

        def find(query: RunQuery) -> Sequence[Row]:
            found: list[dict[str, Any]] = run_curves.every(self._context, query)["runs"]
            return found

        if page_lists.wants_csv():
            return page_lists.to_csv("runs", query, find, RUN_LIST, key="run")
        return page_shell.render(
            "listing.html", title="Training runs", active="models", command="python -m ml_backend train list",
            listing=page_lists.of(
                query, find, RUN_LIST, key="run", choices={"kind": kinds.names()}, caption="Training runs, newest first"
            ),
            api="/api/reports/runs",
        )  # fmt: skip

    def run(self, run_id: str) -> Response:
        """One run, and its curves while it trains."""
        found = run_curves.of(self._context, CurveQuery(run=whole_number(run_id, "run id")))
        return page_shell.render(
            "run.html", title=f"Training run {found['run']}", active="models", run=found,
            going_on=found["state"] in GOING_ON, plots=[curve_plot(one) for one in found["curve"] if one["points"]],
        )  # fmt: skip

    # --- what a person may change

    def promote(self, version: str) -> Response:
        """Ask the gate; it promotes, or refuses with its reason in the job."""
        reason, language = page_actions.reason(), page_actions.field("language", 10) or registry.ANY_LANGUAGE
        found = version_views.one(self._context, version)
        return page_actions.ask_for(
            self._context, job_kinds.PROMOTE_VERSION, key=f"{found['version']}:{language}", version=found["version"],
            who=g.caller, why=reason, language=language,
        )  # fmt: skip

    def roll_back(self, version: str) -> Response:
        """Go back to the champion before this one."""
        reason, language = page_actions.reason(), page_actions.field("language", 10) or registry.ANY_LANGUAGE
        found = version_views.one(self._context, version)
        if language not in {one["language"] for one in found["aliases"] if one["alias"] == registry.CHAMPION}:
            raise InvalidInput(
                "not-serving", f"{found['version']} does not serve {language}.",
                "Open the version that serves: it is at the top of the page of models.", status=409,
            )  # fmt: skip
        return page_actions.ask_for(
            self._context, job_kinds.ROLL_BACK, key=f"{found['kind']}:{language}", model_kind=found["kind"],
            language=language, to="", left=found["version"], who=g.caller, why=reason,
        )  # fmt: skip

    def judge(self) -> Response:
        """Compare two versions as the gate would, on one test set; nothing is promoted."""
        reason = page_actions.reason()
        first, second = (
            version_views.one(self._context, page_actions.field(name))["version"] for name in ("first", "second")
        )
        return page_actions.ask_for(
            self._context, job_kinds.COMPARE_VERSIONS, key=f"{first}:{second}", first=first, second=second,
            who=g.caller, why=reason,
        )  # fmt: skip

    def _versions(self, query: VersionQuery) -> list[dict[str, Any]]:
        rows = version_views.every(self._context, query)
        scores = version_views.latest_scores(self._context, [row["id"] for row in rows])
        return [_listed(row, scores.get(row["id"])) for row in rows]

    def _champions(self) -> Iterator[dict[str, Any]]:
        """What serves, by kind: with the score of its latest evaluation."""
        for kind in kinds.names():
            serves = registry.aliased(self._context, kind)
            if serves is None:
                yield {"kind": kind, "version": None}
                continue
            scores = version_views.latest_scores(self._context, [serves.id]).get(serves.id) or {}
            measure, unit, _ = model_verdicts.MEASURES[kind]
            figure = model_verdicts.headline(kind, scores)
            yield {"kind": kind, "version": serves.version, "measure": measure, "unit": unit, **figure}


def verdict_plot(verdict: Row) -> Plot:
    """Before → now per slice with its interval; slices without a vote are grey."""
    return slices_plot(f"Against {verdict['against']}: {verdict['measure']}", verdict["measure"], verdict["slices"])


def slices_plot(title: str, measure: str, slices: Sequence[Row]) -> Plot:
    rows = [
        IntervalRow(
            one["title"],
            Point(one["title"], _of_100(one["before"]), _of_100(one["before_low"]), _of_100(one["before_high"]))
            if one["before"] is not None else None,
            Point(
                one["title"], _of_100(one["now"]), _of_100(one["low"]), _of_100(one["high"]), f"{one['count']:,}"
            ) if one["now"] is not None else None,
            thin=not one["enough"],
        )
        for one in slices
    ]  # fmt: skip
    return plots.intervals(title, measure, rows=rows, description="Thin slices are grey: they have no vote.")


def curve_plot(one: Row) -> Plot:
    """One figure of a run by step."""
    times = 100 if one["share"] else 1
    points = [Point(step, round(times * value, 8)) for step, value in one["points"]]
    unit = "%" if one["share"] else one["title"].lower()
    return plots.lines(one["title"], "step", unit, series=[Series(one["title"], points)])


def _of_100(value: float | None) -> float | None:
    return None if value is None else round(100 * value, 2)


def _slices(slices: Sequence[Row]) -> Iterator[dict[str, Any]]:
    for one in slices:
        yield {**one, "few": "" if one["enough"] else "too few to judge"}


def _listed(row: Row, scores: Row | None) -> dict[str, Any]:
    figure = model_verdicts.headline(row["kind"], scores) if scores else {"value": None, "count": None}
    return {
        **row, "serves": ", ".join(f"{one['alias']} {one['language']}" for one in row["aliases"])
        or ("rolled back" if row["rolled_back_at"] else ""),
        "score": figure["value"], "count": figure["count"],
        "measure": model_verdicts.MEASURES[row["kind"]][0].removesuffix(" in 100") if scores else "",
        "languages": ", ".join(row["languages"]),
    }  # fmt: skip
