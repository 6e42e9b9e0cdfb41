"""Work: jobs by state and kind, trouble with its next step, schedules, storage; one job, and what a person may do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from urllib.parse import urlencode

from flask import Response, g

from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.jobs import enqueueing, job_kinds, processes
from ml_backend.page import page_actions, page_lists, page_shell, plots
from ml_backend.page.page_lists import Column
from ml_backend.page.plots import Plot, Point, Series
from ml_backend.reports import report_table, storage_growth, work_summary
from ml_backend.tables import JOB_STATES, JOB_TROUBLE
from ml_backend.views import job_views
from ml_backend.views.job_views import JobQuery
from ml_backend.views.queries import Query, whole_number

JOBS = "/page/work/jobs"
PROCESS = ("name", "role", "started_at", "seen_at")
ENDED = ("done", "cancelled", *JOB_TROUBLE)
Row = Mapping[str, Any]


def _of_kind(state: str) -> Any:
    """A link to the jobs of a row's kind in one state."""

    def link(row: Row) -> str | None:
        return f"{JOBS}?{urlencode({'state': state, 'name': row['kind']})}" if row[state] else None

    return link


BY_KIND = (
    Column("kind", "kind", link=lambda row: f"{JOBS}?{urlencode({'name': row['kind']})}", sortable=True),
    *(Column(state, state, "number", link=_of_kind(state), sortable=True) for state in work_summary.COUNTED),
    Column("recently_done", "recently done", "number", sortable=True),
)
TROUBLE = (
    Column("job", "job", link=lambda row: page_shell.link_to("job", row["job"]), sortable=True),
    Column("kind", "kind"),
    Column("at", "ended", "time"),
    Column("error", "what went wrong"),
    Column("next_step", "what to do"),
)
SCHEDULES = (
    Column("kind", "schedule", link=lambda row: f"{JOBS}?{urlencode({'name': row['kind']})}", sortable=True),
    Column("every", "every"),
    Column("what", "what it makes"),
    Column("last_at", "last", "time", sortable=True),
    Column("last_state", "how that went"),
    Column("last_number", "jobs", "number"),
    Column("next", "next"),
)
STORAGE = (
    Column("place", "place", sortable=True),
    Column("used", "size"),
    Column("objects", "objects", "number"),
    Column("free", "free"),
    Column("growth", "growth a day"),
    Column("days_measured", "days measured", "number"),
    Column("left", "days left"),
)
PARTS = {
    "by_kind": ("Jobs by kind and state", BY_KIND, "work"),
    "trouble": ("Jobs that need a person", TROUBLE, "work"),
    "schedules": ("Schedules", SCHEDULES, "schedules"),
    "storage": ("Storage", STORAGE, "storage"),
}
JOB_LIST = (
    Column("id", "job", link=lambda row: page_shell.link_to("job", row["id"])),
    Column("name", "kind"),
    Column("state", "state"),
    Column("for", "for"),
    Column("created_at", "created", "time"),
    Column("due_at", "due", "time"),
    Column("finished_at", "ended", "time"),
    Column("attempt", "tries", "number"),
    Column("why", "why"),
)


class WorkPage:
    """What machines do, and what needs a person."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def show(self) -> Response:
        """Everything at a glance."""
        found = work_summary.of(self._context, Query())
        schedules = work_summary.every_schedule(self._context, Query())["schedules"]
        storage = storage_growth.of(self._context, Query())
        return page_shell.render(
            "work.html", title="Work", active="work", states=found["states"], oldest=found["oldest"],
            process_rows=[[one[name] for name in PROCESS] for one in found["processes"]],
            recent_rows=found["recent_rows"],
            by_kind=page_lists.plain_listing(BY_KIND, found["by_kind"], "Jobs by kind and state"),
            trouble=page_lists.plain_listing(TROUBLE, found["trouble"], "Jobs that need a person, newest first"),
            schedules=page_lists.plain_listing(SCHEDULES, schedules, "Schedules"),
            storage=page_lists.plain_listing(STORAGE, [_place(one) for one in storage["places"]], "Storage"),
            growth=growth_plot(storage["places"]), why_no_storage=storage["why_none"], jobs=JOBS,
            parts=PARTS,
        )  # fmt: skip

    def part(self, part: str) -> Response:
        """One of its lists, to sort and to take along."""
        if part not in PARTS:
            raise InvalidInput("no-such-page", "There is no such list.", f"Known: {', '.join(PARTS)}.", status=404)
        title, columns, report = PARTS[part]

        def find(query: Query) -> Sequence[Row]:
            found = report_table.named(report).of(self._context, query)
            rows = found[part if part != "storage" else "places"]
            return [_place(one) for one in rows] if part == "storage" else list(rows)

        if page_lists.wants_csv():
            return page_lists.to_csv(part, Query(), find, columns)
        return page_shell.render(
            "listing.html", title=title, active="work",
            listing=page_lists.of(page_lists.asked(Query), find, columns, caption=title),
            command=f"python -m ml_backend report {report}", api=f"/api/reports/{report}",
        )  # fmt: skip

    def jobs(self) -> Response:
        """The list of jobs, newest first."""
        query = page_lists.asked(JobQuery)

        def find(query: JobQuery) -> Sequence[Row]:
            return [_job(row) for row in job_views.every(self._context, query)]

        if page_lists.wants_csv():
            return page_lists.to_csv("jobs", query, find, JOB_LIST)
        choices = {"state": JOB_STATES, "name": tuple(sorted(job_kinds.KINDS))}
        return page_shell.render(
            "listing.html", title="Jobs", active="work",
            listing=page_lists.of(query, find, JOB_LIST, choices=choices, caption="Jobs, newest first"),
            command="python -m ml_backend jobs list", api="/api/jobs",
        )  # fmt: skip

    def job(self, job_id: str) -> Response:
        """One job: how far it is, what went wrong, what to do."""
        found = job_views.one(self._context, whole_number(job_id, "job id"))
        waits = found["state"] in ("waiting", "queued")
        return page_shell.render(
            "job.html", title=f"Job {found['id']}: {found['name']}", active="work", job=_job(found),
            missing=processes.waits_for(self._context.db, found["queue"]) if waits else "",
            may_retry=found["state"] in ("waiting", "queued", *ENDED), may_cancel=found["state"] not in ENDED,
            going_on=found["state"] not in ENDED,
        )  # fmt: skip

    def retry(self, job_id: str) -> Response:
        """Run an ended job again, now."""
        return self._act(job_id, enqueueing.retry, "Retried")

    def cancel(self, job_id: str) -> Response:
        """Take a job out; a running one ends within seconds."""
        return self._act(job_id, enqueueing.cancel, "Cancelled")

    def _act(self, job_id: str, act: Any, what: str) -> Response:
        number, reason = whole_number(job_id, "job id"), page_actions.reason()
        act(self._context.db, number, said=f"{what} by {g.caller}: {reason}")
        page_actions.note(what.lower(), f"job {number}", who=g.caller, why=reason)
        return page_shell.go_to(page_shell.link_to("job", number))


def growth_plot(places: Sequence[Row]) -> Plot:
    """Size by day, in gigabytes."""
    series = [
        Series(one["place"], [Point(date.fromisoformat(day), round(size / 1e9, 4)) for day, size in one["points"]])
        for one in places
    ]
    return plots.lines("Size of each place", "day", "GB", series=series)


def _place(one: Row) -> dict[str, Any]:
    growth, size = one["bytes_per_day"], storage_growth.size
    return {
        **one, "used": f"{'at least ' * one['at_least']}{size(one['used_bytes'])}",
        "free": size(one["free_bytes"]) if one["free_bytes"] is not None else None,
        "growth": size(growth) if growth is not None else "not known yet",
        "left": f"{one['days_left']:,}" if one["days_left"] is not None else one["why_no_days_left"],
    }  # fmt: skip


def _job(row: Row) -> dict[str, Any]:
    progress = row["progress"] or {}
    told = f"{100 * progress['fraction']:.0f} % {progress['note']}".strip() if progress else ""
    went_wrong = " ".join(filter(None, (row["error"], row["next_step"]))) if row["error_code"] else ""
    return {
        **row, "for": ", ".join(f"{name} {value}" for name, value in row["arguments"].items()), "told": told,
        "why": (went_wrong if row["state"] != "done" else "") or told,
    }  # fmt: skip
