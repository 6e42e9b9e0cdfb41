"""`status`: one screen for the operator. Exit code 0 when work gets done, 1 when something needs a person."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import sqlalchemy as sa
import typer

from ml_backend import quantities, settings, tables
from ml_backend.calls import live_spool
from ml_backend.commands import printing
from ml_backend.context import Context, open_context
from ml_backend.errors import KaanError
from ml_backend.jobs import enqueueing, job_kinds, processes, transport
from ml_backend.quantities import rough_duration
from ml_backend.storage.object_store import free_space_mb
from ml_backend.tables import JOB_TROUBLE, projects, recordings
from ml_backend.tables import jobs as job_rows
from ml_backend.views import live_views
from sync.annotations import differences
from sync.commands.project import as_dict

app = typer.Typer(add_completion=False)

LATE = timedelta(minutes=10)  # a job due for longer than this is not being worked on
LIVE_AUDIO_LATE_S = 120.0
NEEDED = ("relay", "worker-sync", "worker-transcribe")


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
    now = tables.now()
    running = [
        {"role": row.role, "pid": row.pid, "up_s": round((now - row.started_at).total_seconds())}
        for row in processes.alive(context.db)
    ]
    waiting = _waiting(context)
    facts: dict[str, Any] = {
        "processes": running,
        "jobs": enqueueing.counts(context.db),
        "waiting": waiting,
        "oldest_due_s": max((entry["oldest_due_s"] for entry in waiting), default=0),
        "ended_badly": _ended_badly(context),
        "recordings": _counts(context, recordings.c.state),
        "refused": _refused(context),
        "disk": {
            "free_mb": round(free_space_mb(context.settings.data_dir)),
            "needed_mb": round(context.settings.min_free_disk_mb),
        },
        "live_audio": _live_audio(context),
        "projects": [
            as_dict(context, row) for row in context.db.rows(sa.select(projects).order_by(projects.c.ls_project_id))
        ],
    }
    attached = context.db.rows(sa.select(projects).where(projects.c.state == "attached").order_by(projects.c.id))
    counted = [differences.read(context, row.id) for row in attached]
    facts["annotations"] = [{**body, **differences.judged(body)} for body in counted if body]
    facts["live"] = live_views.summary(context.db)
    facts["trouble"] = _trouble(context, facts)
    return facts


def _live_audio(context: Context) -> dict[str, Any]:
    """What live requests sent and this machine's disk still holds."""
    paths = live_spool.waiting(context.settings)
    oldest_s = (tables.now() - live_spool.came_at(paths[0])).total_seconds() if paths else 0.0
    return {"waiting": len(paths), "oldest_s": round(oldest_s)}


def _waiting(context: Context) -> list[dict[str, Any]]:
    """Due jobs by kind, and the process that each kind waits for."""
    now = tables.now()
    statement = (
        sa.select(
            job_rows.c.name,
            sa.func.count().label("number"),
            sa.func.min(job_rows.c.due_at).label("oldest"),
            sa.func.min(job_rows.c.priority).label("priority"),
        )
        .where(job_rows.c.state.in_(("waiting", "queued", "running")))
        .group_by(job_rows.c.name)
        .order_by(sa.func.min(job_rows.c.priority), sa.func.min(job_rows.c.due_at))
    )
    found = []
    for row in context.db.rows(statement):
        oldest = tables.UtcTime().process_result_value(row.oldest, None)
        late_s = (now - oldest).total_seconds() if oldest else 0.0
        for_whom = (
            "a person" if row.priority == job_kinds.WAITED_FOR else "new calls" if row.priority < 100 else "back-fill"
        )
        entry = {"name": row.name, "number": row.number, "for": for_whom, "oldest_due_s": max(0, round(late_s))}
        found.append({**entry, "due": late_s >= 0})
    return found


def _ended_badly(context: Context) -> list[dict[str, Any]]:
    statement = sa.select(job_rows).where(job_rows.c.state.in_(JOB_TROUBLE)).order_by(job_rows.c.id.desc()).limit(5)
    return [
        {
            "job": row.id,
            "name": row.name,
            "state": row.state,
            "code": row.error_code,
            "why": row.error,
            "next": row.next_step,
        }
        for row in context.db.rows(statement)
    ]


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


def _trouble(context: Context, facts: dict[str, Any]) -> list[str]:
    alive = {entry["role"] for entry in facts["processes"]}
    found = []
    for role in NEEDED:
        if not any(_is_role(other, role) for other in alive):
            command = role.replace("-", " ")
            found.append(f"No {role} is running. Start it: `python -m ml_backend {command}`.")
    found += _nobody_for(context, facts["waiting"], alive)
    if facts["oldest_due_s"] > LATE.total_seconds():
        latest = max(facts["waiting"], key=lambda entry: int(entry["oldest_due_s"]))
        role = f"worker-{_queue_of(latest)}"
        if role in NEEDED or any(_is_role(other, role) for other in alive):  # else already reported
            minutes = latest["oldest_due_s"] // 60
            found.append(f"{latest['name']} has been due for {minutes} minutes. {_who_runs(latest, alive)}")
    bad = sum(facts["jobs"].get(state, 0) for state in JOB_TROUBLE)
    if bad:
        found.append(f"{bad} jobs ended badly: `python -m ml_backend jobs list --trouble`.")
    if facts["disk"]["free_mb"] < facts["disk"]["needed_mb"]:
        found.append(f"Only {facts['disk']['free_mb']} MB are free: no audio is fetched.")
    live = facts["live_audio"]
    if live["oldest_s"] > LIVE_AUDIO_LATE_S:
        found.append(
            f"Audio of live requests waits: {live['waiting']}, for {rough_duration(live['oldest_s'])}. Is the object "
            "store there, and does `python -m ml_backend serve` run here?"
        )
    stopped = sa.select(tables.checkpoints.c.reason).where(tables.checkpoints.c.state == "stopped")
    found += _redis(context)
    found += [
        f"The {kind} model that was chosen does not answer live requests: {reason} Promote "
        f"another version (`promote VERSION`), or go back (`rollback --kind {kind} --why ...`)."
        for kind, reasons in processes.not_loaded(processes.alive(context.db)).items()
        for reason in reasons
    ]
    found += [f"Nothing is fetched: {row.reason}" for row in context.db.rows(stopped)]
    found += [f"Project {a['project']}: {a['trouble']}" for a in facts["annotations"] if a["trouble"]]
    found += [
        f"Project {p['project']}: {p['reason']}" for p in facts["projects"] if p["reason"] and p["state"] == "attached"
    ]
    return found


def _redis(context: Context) -> list[str]:
    """Why Redis passes no messages: work then waits although every process runs."""
    try:
        transport.check(transport.connect(context.settings.redis_url, ca_file=context.settings.ca_file))
    except KaanError as error:
        return [f"{error.sentence} {error.next_step}"]
    return []


def _nobody_for(context: Context, waiting: list[dict[str, Any]], alive: set[str]) -> list[str]:
    """Due work that no process takes, by queue, except the queues of NEEDED, which are reported elsewhere."""
    found = []
    for queue in job_kinds.QUEUES:
        role = f"worker-{queue}"
        due = [each for each in waiting if each["due"] and _queue_of(each) == queue]
        if due and role not in NEEDED and not any(_is_role(other, role) for other in alive):
            what = ", ".join(f"{each['number']} {each['name']}" for each in due)
            found.append(f"Waiting for a worker: {what}. {processes.waits_for(context.db, queue)}")
    return found


def _queue_of(waiting: dict[str, Any]) -> str:
    return job_kinds.KINDS[waiting["name"]].queue if waiting["name"] in job_kinds.KINDS else ""


def _who_runs(waiting: dict[str, Any], alive: set[str]) -> str:
    queue = _queue_of(waiting)
    if queue and not any(_is_role(role, f"worker-{queue}") for role in alive):
        return f"No worker serves the queue {queue}: `python -m ml_backend worker {queue}`, or `jobs run` once."
    return "`python -m ml_backend jobs list` shows what runs meanwhile."


def _is_role(found: str, wanted: str) -> bool:
    """A worker's role may be written `worker sync` or `worker-sync`."""
    return found.replace(" ", "-").replace(":", "-") == wanted


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
