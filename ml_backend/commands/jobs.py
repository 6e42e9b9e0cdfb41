"""`jobs`: list, show, retry, cancel and run background jobs."""

from __future__ import annotations

from typing import Annotated, Any

import sqlalchemy as sa
import typer

from ml_backend import quantities
from ml_backend.commands import printing
from ml_backend.commands.command_line import quiet_context
from ml_backend.errors import InvalidInput
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.jobs.leases import Settled
from ml_backend.quantities import rough_duration
from ml_backend.tables import JOB_STATES, JOB_TROUBLE, now

app = typer.Typer(add_completion=False, no_args_is_help=True, help="List, show, retry, cancel and run background jobs.")

JobId = Annotated[int, typer.Argument(help="Number of the job, from `jobs list`.")]


@app.command("list")
def list_jobs(
    state: Annotated[list[str] | None, typer.Option(help=f"Only this state: {', '.join(JOB_STATES)}.")] = None,
    name: Annotated[list[str] | None, typer.Option(help="Only this kind of job, e.g. transcribe-recording.")] = None,
    trouble: Annotated[bool, typer.Option("--trouble", help="Only failed and quarantined jobs.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most this many rows.")] = 30,
    as_json: printing.AsJson = False,
) -> None:
    """Show jobs: what runs, what waits in the order it will run, what ended.

    Example: python -m ml_backend jobs list --trouble
    """
    states = _known(state or [], JOB_STATES, "state") + (list(JOB_TROUBLE) if trouble else [])
    context = quiet_context()
    rows = enqueueing.find(
        context.db, states=states, names=_known(name or [], tuple(job_kinds.KINDS), "kind"), limit=limit
    )
    counts = enqueueing.counts(context.db)
    if as_json:
        printing.say_json({"counts": counts, "jobs": [_as_dict(row) for row in rows]})
        return
    lines = [
        (str(row.id), row.name, _state(row), _for_what(row), _due(row), str(row.attempt), _why(row)) for row in rows
    ]
    if lines:
        printing.table(("job", "kind", "state", "for", "due", "tries", "why"), lines, right=("job", "tries"))
    printing.say(", ".join(f"{counts[each]} {each}" for each in JOB_STATES if each in counts) or "There are no jobs.")
    if not trouble and any(each in counts for each in JOB_TROUBLE):
        printing.say("`python -m ml_backend jobs list --trouble` shows what needs a person.")


@app.command()
def show(job_id: JobId, as_json: printing.AsJson = False) -> None:
    """Show one job: state, tries, what went wrong and what to do.

    Example: python -m ml_backend jobs show 12
    """
    row = enqueueing.show(quiet_context().db, job_id)
    if as_json:
        printing.say_json(_as_dict(row))
        return
    kind = job_kinds.KINDS.get(row.name)
    lines = {
        "job": f"{row.id} {row.name}",
        "state": _state(row),
        "for": _for_what(row),
        "queue": f"{row.queue}, priority {row.priority}",
        "due": _due(row),
        "tries": f"{row.attempt} started, {row.failures} of {kind.max_attempts if kind else '?'} allowed failed,"
        f" {row.deaths} ended their process",
        "progress": f"{row.progress['fraction']:.0%} {row.progress['note']}" if row.progress else "",
        "runs in": row.lease_owner or "",
        "created": _ago(row.created_at),
        "started": _ago(row.started_at),
        "ended": _ago(row.finished_at),
        "why": f"{row.error} [{row.error_code}]" if row.error_code else "",
        "next step": row.next_step or "",
    }
    for title, text in lines.items():
        if text:
            printing.fact(title, text, width=10)


@app.command()
def retry(
    job_ids: Annotated[list[int] | None, typer.Argument(help="Numbers of the jobs.")] = None,
    trouble: Annotated[bool, typer.Option("--trouble", help="All failed and quarantined jobs.")] = False,
    needs_setting: Annotated[
        bool, typer.Option("--needs-setting", help="All jobs that failed because a setting was wrong.")
    ] = False,
) -> None:
    """Let ended jobs run again, with a clean count of tries.

    Example: python -m ml_backend jobs retry --trouble
    """
    context = quiet_context()
    chosen = list(job_ids or [])
    if trouble or needs_setting:
        rows = enqueueing.find(context.db, states=JOB_TROUBLE, limit=100_000)
        chosen += [row.id for row in rows if trouble or row.error_branch == "configuration"]
    if not chosen and not (trouble or needs_setting):
        raise InvalidInput("no-job-named", "Say which job.", "e.g. `python -m ml_backend jobs retry 12`.")
    for job_id in dict.fromkeys(chosen):
        typer.echo(enqueueing.retry(context.db, job_id))
    if not chosen:
        typer.echo("No job needs it.")


@app.command()
def cancel(job_ids: Annotated[list[int], typer.Argument(help="Numbers of the jobs.")]) -> None:
    """Take jobs out; a running one is ended within seconds.

    Example: python -m ml_backend jobs cancel 12
    """
    context = quiet_context()
    for job_id in job_ids:
        typer.echo(enqueueing.cancel(context.db, job_id))


@app.command()
def run(
    queue: Annotated[list[str] | None, typer.Option(help="Only this queue: sync, transcribe or training.")] = None,
    wait: Annotated[float, typer.Option(min=0, help="Wait up to this many seconds for retries that are due soon.")] = 0,
    as_json: printing.AsJson = False,
) -> None:
    """Run all due jobs in this process, without Redis, relay or workers, until nothing is due. Exit code 1: one failed.

    Example: python -m ml_backend jobs run
    """
    from ml_backend.jobs import runner

    context = quiet_context("jobs")

    def started(name: str, ids: list[int]) -> None:
        printing.say(f"{name} {', '.join(map(str, ids[:8]))}{' …' if len(ids) > 8 else ''}", stderr=as_json)

    def settled(outcome: Settled) -> None:
        text = f"  {outcome.job_id} {outcome.state}" + (f": {outcome.sentence}" if outcome.sentence else "")
        if outcome.state == "waiting" and outcome.due_at:
            text += f" Tried again in {max(0, (outcome.due_at - now()).total_seconds()):.0f} s."
        printing.say(text, stderr=as_json)

    chosen = _known(queue or [], job_kinds.QUEUES, "queue")
    summary = runner.run_due(context, queues=chosen, wait_s=wait, on_start=started, on_settled=settled)
    report = {state: len(summary.of(state)) for state in JOB_STATES if summary.of(state)}
    if as_json:
        printing.say_json({"outcomes": [vars(outcome) for outcome in summary.outcomes]})
    said = ", ".join(f"{number} {state}" for state, number in report.items()) or "Nothing was due."
    printing.say(said, stderr=as_json)
    raise typer.Exit(1 if summary.failed else 0)


def _known(given: list[str], known: tuple[str, ...], what: str) -> list[str]:
    for each in given:
        if each not in known:
            raise InvalidInput(f"unknown-{what}", f"There is no {what} {each[:40]!r}.", f"Known: {', '.join(known)}.")
    return given


def _as_dict(row: sa.Row[Any]) -> dict[str, Any]:
    shown = dict(row._mapping)
    return shown | {key: value.isoformat() for key, value in shown.items() if hasattr(value, "isoformat")}


def _state(row: sa.Row[Any]) -> str:
    return "failed (needs a setting)" if row.state == "failed" and row.error_branch == "configuration" else row.state


def _for_what(row: sa.Row[Any]) -> str:
    return quantities.shortened(" ".join(f"{name}={value}" for name, value in row.arguments.items()), 80)


def _due(row: sa.Row[Any]) -> str:
    if row.state not in ("waiting", "queued"):
        return ""
    seconds = (row.due_at - now()).total_seconds()
    return "now" if seconds <= 0 else f"in {rough_duration(seconds)}"


def _why(row: sa.Row[Any]) -> str:
    if not row.error_code or row.state == "done":
        return ""
    return f"{row.error} {row.next_step or ''}".strip()


def _ago(at: Any) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC ({rough_duration((now() - at).total_seconds())} ago)"
