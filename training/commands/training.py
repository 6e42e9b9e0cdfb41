"""`training status`: the next model's progress, active runs, and why the last request was refused."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import typer
from sqlalchemy.engine import Connection

from ml_backend import quantities, settings
from ml_backend.commands import printing
from ml_backend.context import Context, open_context
from ml_backend.models import kinds
from ml_backend.models.kinds import Kind
from ml_backend.views import training_progress

app = typer.Typer(add_completion=False, no_args_is_help=True, help="When models are trained, and what for.")


@app.callback()
def _group() -> None:
    """When models are trained, and what for."""


@app.command()
def status(as_json: printing.AsJson = False) -> None:
    """Show accepted samples by language, when the next run is expected, what runs now, and the last refusal.

    Example: python -m ml_backend training status
    """
    context = open_context(settings.load())
    facts = read(context)
    if as_json:
        typer.echo(json.dumps(facts, ensure_ascii=False, default=_plain))
        return
    _show(facts)


def read(context: Context) -> dict[str, Any]:
    with context.db.reading() as connection:
        settings = context.settings
        facts = training_progress.facts(
            connection, threshold=settings.training_threshold, weekly=settings.training_weekly
        )
        others = [kinds.of(name) for name in kinds.names() if name != facts["kind"]]
        facts["kinds"] = {kind.name: _of_kind(connection, kind, kind.threshold(settings)) for kind in others}
        return facts


def _of_kind(connection: Connection, kind: Kind, threshold: int) -> dict[str, Any]:
    """How far the next run of another kind is, and how its last one ended."""
    new, _ = kind.new_samples(connection, training_progress.read_mark(connection, kind.name))
    return {
        "new": new,
        "threshold": threshold,
        "said": f"{new:,} of {threshold:,}",
        "why_none": None if new else kind.why_none(connection),
        "last_run": training_progress.last_run(connection, kind.name),
    }


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _show(facts: dict[str, Any]) -> None:
    def line(title: str, text: str) -> None:
        printing.fact(title, text, width=13)

    line("new samples", f"{facts['said']} since the last run")
    for language, entry in facts["languages"].items():
        tests = f", {entry['blind']} for testing" if entry["blind"] else ""
        audio = quantities.duration(3600 * entry["hours"])
        line("", f"{language}: {entry['new']:,} new, {entry['accepted']:,} in all, {audio}{tests}")
    for code, number in facts["excluded"].items():
        line("", f"{number:,} not used: {code}")
    if facts["synthetic"]:
        line("", f"{facts['synthetic']:,} not counted: synthetic voice, which is ours already")
    for name, entry in facts["kinds"].items():
        line(f"{name}", _said_of_kind(entry))
    line("next run", _expected(facts))
    weekly = f"; a run with less each week: {facts['weekly']}" if facts["weekly"] else ""
    line("next check", _at(facts["next_check_at"]) + weekly)
    for run in facts["running"]:
        where = ", ".join(filter(None, (run["state"], run["step"])))
        line(
            "running",
            f"run {run['run']} ({where}), asked by {run['asked_by']}" + (f": {run['why']}" if run["why"] else ""),
        )
    for job in facts["jobs"]:
        line("job", f"job {job['job']} is {job['state']} since {_at(job['since'])}")
    if not facts["running"] and not facts["jobs"]:
        line("running", "nothing")
    if last := facts["last_run"]:
        line("last run", f"run {last['run']} {last['state']} {_at(last['at'])}{_because(last)}")
    if refused := facts["last_refusal"]:
        line("refused", f"{_at(refused['at'])}, asked by {refused['asked_by']}{_because(refused)}")


def _said_of_kind(entry: dict[str, Any]) -> str:
    """`12 of 300 new since the last run; run 7 done 2026-11-30 12:00 UTC`"""
    last = entry["last_run"]
    ended = f"run {last['run']} {last['state']} {_at(last['at'])}{_because(last)}" if last else "no run yet"
    return f"{entry['said']} new samples since the last run; {ended}"


def _expected(facts: dict[str, Any]) -> str:
    if facts["expected_at"] is None:
        why = "nothing was accepted in the last two weeks" if facts["accepted"] else facts["why_none"].rstrip(".")
        return f"no date: {why[:1].lower() + why[1:]}"
    if facts["new"] >= facts["threshold"]:
        return "at the next check"
    return f"about {facts['expected_at']:%Y-%m-%d}, at {facts['per_day']} samples a day"


def _at(when: datetime) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC"


def _because(run: dict[str, Any]) -> str:
    return f": {run['reason']} [{run['code']}]" if run["reason"] else ""
