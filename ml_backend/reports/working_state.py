"""Does it work now: processes, due work, and trouble with its next step. For `status`, /api and the page.

It reads nothing that grows with history: open jobs, processes, projects, and what jobs keep in `summaries`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.calls import live_spool
from ml_backend.context import Context
from ml_backend.errors import KaanError
from ml_backend.jobs import job_kinds, processes
from ml_backend.quantities import rough_duration
from ml_backend.storage.object_store import free_space_mb
from ml_backend.tables import JOB_TROUBLE, projects, summaries
from ml_backend.tables import jobs as job_rows
from ml_backend.views.queries import Query

LATE = timedelta(minutes=10)  # a job due for longer than this is not being worked on
LIVE_AUDIO_LATE_S = 120.0
COMPARED_LATE_S = 2 * 3600.0  # a comparison is due every five minutes
NEEDED = ("relay", "worker-sync", "worker-transcribe")


def of(context: Context, query: Query | None = None) -> dict[str, Any]:
    """The state of this moment. `trouble` holds a sentence for each thing that needs a person."""
    now = tables.now()
    running = [
        {"role": row.role, "pid": row.pid, "up_s": round((now - row.started_at).total_seconds())}
        for row in processes.alive(context.db)
    ]
    waiting = _waiting(context)
    facts: dict[str, Any] = {
        "processes": running,
        "waiting": waiting,
        "oldest_due_s": max((entry["oldest_due_s"] for entry in waiting), default=0),
        "ended_badly": _ended_badly(context),
        "bad_jobs": _bad_jobs(context),
        "disk": {
            "free_mb": round(free_space_mb(context.settings.data_dir)),
            "needed_mb": round(context.settings.min_free_disk_mb),
        },
        "live_audio": _live_audio(context),
        "annotations": _differences(context),
    }
    return {**facts, "trouble": _trouble(context, facts)}


def lines(found: Mapping[str, Any]) -> list[str]:
    """For a terminal; `status` shows more."""
    running = ", ".join(f"{one['role']} ({rough_duration(one['up_s'])})" for one in found["processes"])
    waits = [
        f"waiting: {one['number']} {one['name']} for {one['for']}, due for {rough_duration(one['oldest_due_s'])}"
        for one in found["waiting"]
    ]
    return [f"processes: {running or 'none'}", *waits, *(f"trouble: {one}" for one in found["trouble"] or ["none"])]


def judged(body: Mapping[str, Any]) -> dict[str, Any]:
    """The age of a summary, and what in it needs a person: {"age_s", "trouble"}.

    A difference is trouble only if a full comparison could not remove it.
    """
    age_s = (tables.now() - (_time(body.get("at")) or tables.now())).total_seconds()
    trouble = None
    if body["difference"] and body.get("left_by_full"):
        trouble = (
            f"{body['there']} annotations in Label Studio, {body['here']} accounted for here, and comparing all "
            "of them did not help. `jobs list --trouble` may say why."
        )
    elif body.get("webhook"):
        trouble = f"The webhook cannot be put back, so annotations arrive up to five minutes late: {body['webhook']}"
    elif age_s > COMPARED_LATE_S:
        trouble = f"Annotations were last compared {age_s / 3600:.0f} hours ago. Is a relay and a worker sync running?"
    return {"age_s": round(age_s), "trouble": trouble}


def _differences(context: Context) -> list[dict[str, Any]]:
    """Annotations in Label Studio and here, by attached project, as last compared."""
    names = sa.literal("difference:") + sa.cast(projects.c.id, sa.String)
    found = (
        sa.select(summaries.c.body)
        .join(projects, summaries.c.name == names)
        .where(projects.c.state == "attached")
        .order_by(projects.c.id)
    )
    return [{**row.body, **judged(row.body)} for row in context.db.rows(found)]


def _bad_jobs(context: Context) -> int:
    number = sa.select(sa.func.count().label("number")).where(job_rows.c.state.in_(JOB_TROUBLE))
    return int(context.db.rows(number)[0].number)


def _time(text: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


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
    if facts["bad_jobs"]:
        found.append(f"{facts['bad_jobs']} jobs ended badly: `python -m ml_backend jobs list --trouble`.")
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
    attached = sa.select(projects.c.ls_project_id, projects.c.reason).where(projects.c.state == "attached")
    return found + [
        f"Project {row.ls_project_id}: {row.reason}"
        for row in context.db.rows(attached.order_by(projects.c.ls_project_id))
        if row.reason
    ]


def _redis(context: Context) -> list[str]:
    """Why Redis passes no messages: work then waits although every process runs."""
    try:
        from ml_backend.jobs import transport  # Redis's client: not in the web process before somebody looks

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
