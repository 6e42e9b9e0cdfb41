"""`status`: one screen for the operator. Exit code 0 when work gets done, 1 when something needs a person."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
import typer

from ml_backend import quantities, settings
from ml_backend.commands import printing
from ml_backend.context import Context, open_context
from ml_backend.jobs import enqueueing
from ml_backend.quantities import rough_duration
from ml_backend.reports import working_state
from ml_backend.tables import projects, recordings
from ml_backend.views import live_views
from sync.commands.project import as_dict

app = typer.Typer(add_completion=False)


@app.command()
def status(as_json: printing.AsJson = False) -> None:
    """Show processes, waiting work, trouble, disk and projects on one screen; exit code 1 when something is wrong.

    Example: python -m ml_backend status
    """
    context = open_context(settings.load())
    facts = read(context)
    if as_json:
        printing.say_json(facts)
    else:
        _show(facts)
    raise typer.Exit(1 if facts["trouble"] else 0)


def read(context: Context) -> dict[str, Any]:
    """Everything on the screen. `trouble` holds a sentence for each thing that needs a person."""
    counts: dict[str, Any] = {
        "jobs": enqueueing.counts(context.db),
        "recordings": _counts(context, recordings.c.state),
        "refused": _refused(context),
        "projects": [
            as_dict(context, row) for row in context.db.rows(sa.select(projects).order_by(projects.c.ls_project_id))
        ],
        "live": live_views.summary(context.db),
    }
    return {**working_state.of(context), **counts}


def _refused(context: Context) -> list[dict[str, Any]]:
    """Why recordings could not be used, by reason."""
    statement = (
        sa.select(
            recordings.c.reason_code.label("code"),
            sa.func.count().label("number"),
            sa.func.min(recordings.c.reason).label("example"),
        )
        .where(recordings.c.reason_code.is_not(None))
        .group_by(recordings.c.reason_code)
    )
    return [dict(row._mapping) for row in context.db.rows(statement)]


def _counts(context: Context, column: Any) -> dict[str, int]:
    rows: Any = context.db.rows(sa.select(column, sa.func.count()).group_by(column))
    return {str(name): int(number) for name, number in rows}


_SPANS = {"today": "today", "days_30": "30 days", "days_400": "400 days"}


def _show_live(found: dict[str, Any]) -> None:
    """Nothing where `serve` was never started."""
    for one in found["last_hour"]:
        times = one["answer"]
        said = f"{one['requests']} requests in the last hour, {one['failed']} failed"
        if times is not None:
            seconds = ", ".join(f"{name} {times[f'{name}_s'] * 1000:.0f} ms" for name in ("p50", "p95", "p99"))
            said = f"{seconds} of {times['count']} answers; {said}"
        printing.fact("live", f"{one['route']} ({one['kind']}): {said}")
    if found["uptime"]["since"] is not None:
        spans = [(words, found["uptime"][name]) for name, words in _SPANS.items()]
        said = ", ".join(f"{words} {_share(one)}" for words, one in spans)
        printing.fact("uptime", said if found["processes"] else f"{said}; no process of `serve` is running now")


def _share(one: dict[str, Any]) -> str:
    """Rounded down, so that 100 % means every minute."""
    if not one["minutes"]:
        return "no whole minute yet"
    percent = one["good_minutes"] * 10_000 // one["minutes"] / 100
    return f"{percent:g} % of {quantities.counted(one['minutes'], 'minute')}"


def _show(facts: dict[str, Any]) -> None:
    line = printing.fact
    line(
        "processes",
        ", ".join(f"{p['role']} ({rough_duration(p['up_s'])})" for p in facts["processes"]) or "none",
    )
    line("jobs", ", ".join(f"{number} {state}" for state, number in facts["jobs"].items()) or "none")
    for entry in facts["waiting"]:
        late = f", due for {rough_duration(entry['oldest_due_s'])}" if entry["oldest_due_s"] >= 1 else ""
        line("waiting", f"{entry['number']} {entry['name']} for {entry['for']}{late}")
    line("recordings", ", ".join(f"{number} {state}" for state, number in facts["recordings"].items()) or "none")
    for entry in facts["refused"]:
        line("", f"{entry['number']} {entry['code']}: {entry['example']}")
    if facts["live_audio"]["waiting"]:
        line("live audio", f"{facts['live_audio']['waiting']} requests' audio wait for the object store")
    line("disk", f"{facts['disk']['free_mb']} MB free")
    for project in facts["projects"]:
        counts = project["tasks"]
        blind = f", {counts['blind']} to be written without one" if counts["blind"] else ""
        line(
            f"project {project['project']}",
            f"{project['title']} ({project['state']}): {counts['open']} open, {counts['annotated']} annotated, "
            f"{counts['wanted']} coming, {counts['drafted']} drafts as {project['draft_label']}{blind}, "
            f"{counts['refused']} without usable audio",
        )
    for entry in facts["annotations"]:
        line(
            "annotations",
            f"project {entry['project']}: {entry['there']} in Label Studio, {entry['here']} accounted for here, "
            f"difference {entry['difference']} ({rough_duration(entry['age_s'])} ago)",
        )
    _show_live(facts["live"])
    for entry in facts["ended_badly"]:
        line("ended badly", f"job {entry['job']} {entry['name']}: {entry['why']} [{entry['code']}]")
    for sentence in facts["trouble"]:
        line("trouble", sentence, style="red")
    if not facts["trouble"]:
        printing.say("all well", style="green")
