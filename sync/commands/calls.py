"""`calls`: list calls, explain one in plain words, and show the daily balance."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.text import Text

from ml_backend import quantities, tables
from ml_backend.calls import pseudonyms
from ml_backend.calls.states import STATES
from ml_backend.commands import printing
from ml_backend.commands.command_line import quiet_context
from ml_backend.views import call_timeline, ledger_balance, outcome_views, queries, recording_views
from ml_backend.views import call_views as calls
from sync.commands import numbers, outcomes, privacy

app = typer.Typer(add_completion=False, no_args_is_help=True, help="List and explain calls; the daily balance.")
privacy.register(app)
app.add_typer(numbers.app, name="numbers")
app.add_typer(outcomes.app, name="outcomes")


@app.command("list")
def list_calls(
    state: Annotated[list[str] | None, typer.Option(help=f"Only this state: {', '.join(STATES)}.")] = None,
    reason: Annotated[list[str] | None, typer.Option(help="Only this reason code, e.g. audio-cut.")] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=queries.MOST_DAYS, help="Only calls of the last so many days.")
    ] = None,
    day: Annotated[str | None, typer.Option(help="Only calls that began on this day, e.g. 2026-01-31.")] = None,
    language: Annotated[str | None, typer.Option(help="Only calls with a recording in this language, e.g. hi.")] = None,
    project: Annotated[int | None, typer.Option(min=1, help="Only calls of this Label Studio project.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most this many rows.")] = 30,
    as_json: printing.AsJson = False,
) -> None:
    """Show calls, newest first.

    Example: python -m ml_backend calls list --state missing
    """
    since = tables.now() - timedelta(days=days) if days else None
    given = {"since": since, "day": queries.day(day) if day else None, "language": language, "project": project}
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    query = calls.CallQuery(state=tuple(state or ()), reason_code=tuple(reason or ()), limit=limit, **chosen)
    context = quiet_context()
    found = calls.find(context.db, query, zone=context.settings.exotel_time_zone)
    counts = calls.counts(context.db)
    if as_json:
        printing.say_json({"states": counts, "calls": found})
        return
    if found:
        titles = ("call", "began (UTC)", "state", "status", "talked", "from", "to", "why, or what is next")
        printing.table(titles, map(_row, found), right=("talked",))
    printing.say(", ".join(f"{number} {name}" for name, number in counts.items()) or "There are no calls.")


@app.command()
def show(
    what: Annotated[
        str,
        typer.Argument(help="A call's id, recording:12, task:34 or its address, object:bucket/key, or a phone number."),
    ],
    as_json: printing.AsJson = False,
) -> None:
    """Explain a call, a recording, a task or an object: what is known of it, why it is a task or not, and its draft.

    Example: python -m ml_backend calls show task:34
    """
    context = quiet_context()
    found = recording_views.look_up(context.db, what, key=pseudonyms.key_in(context.settings, context.db))
    if as_json:
        printing.say_json(found[0] if len(found) == 1 else {"calls": found})
        return
    for place, call in enumerate(found):
        if place:
            printing.say()
        for title, text in _lines(call):
            printing.fact(title, text, width=10)


@app.command()
def timeline(
    what: Annotated[str, typer.Argument(help="A call's id, recording:12, task:34, object:bucket/key.")],
    as_json: printing.AsJson = False,
) -> None:
    """Show what happened to a call and when, what is next, and every transcription of its audio.

    Example: python -m ml_backend calls timeline task:34
    """
    context = quiet_context()
    ids = calls.resolve(context.db, what, key=pseudonyms.key_in(context.settings, context.db))
    found = [call_timeline.of_call(context.db, call_id) for call_id in ids[: queries.MAX_LIMIT]]
    if as_json:
        printing.say_json(found[0] if len(found) == 1 else {"calls": found})
        return
    for call in found:
        printing.say(f"Call {call['call_sid']}: {call['state']}")
        for each in call["timeline"]:
            printing.fact(each["at"].replace("T", " ").removesuffix("Z"), each["what"], width=19)
        if call["next"]:
            printing.fact("next", call["next"]["what"], width=19)
        for each in call["transcripts"]:
            printing.fact(f"by {each['version']}", each["text"] or "(no speech)", width=19)


@app.command("recordings")
def list_recordings(
    state: Annotated[str | None, typer.Option(help="Only in this state, e.g. refused.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most this many rows.")] = 50,
    as_json: printing.AsJson = False,
) -> None:
    """List recordings of every source, newest first; those from a bucket or an upload belong to no call.

    Example: python -m ml_backend calls recordings --state refused
    """
    context = quiet_context()
    found = recording_views.find(context.db, recording_views.RecordingQuery(state=state, limit=limit))
    if as_json:
        printing.say_json({"recordings": found})
        return
    titles = ("id", "came in (UTC)", "source", "length", "language", "state", "reason", "file")
    printing.table(titles, [
        (str(each["id"]), each["created_at"] or "", each["source"], f"{each['duration_s'] or 0:.1f} s",
         each["language"] or "", each["state"], each["reason_code"] or "", each["file"] or each["call_sid"] or "")
        for each in found
    ], right={"id", "length"})  # fmt: skip


@app.command()
def listenings(
    who: Annotated[str | None, typer.Option(help="Only by the token of this name.")] = None,
    recording: Annotated[int | None, typer.Option(min=1, help="Only to this recording.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most this many rows.")] = 50,
    as_json: printing.AsJson = False,
) -> None:
    """Show who listened to which recording on the page, newest first.

    Example: python -m ml_backend calls listenings --recording 12
    """
    context = quiet_context()
    query = recording_views.ListeningQuery(who=who, recording=recording, limit=limit)
    found = recording_views.listened(context.db, query)
    if as_json:
        printing.say_json({"listenings": found})
        return
    titles = ("began (UTC)", "who", "recording", "call", "until")
    printing.table(titles, [
        (each["began_at"], each["who"], str(each["recording_id"]), each["call_sid"] or "", each["last_at"])
        for each in found
    ])  # fmt: skip


@app.command()
def summary(
    days: Annotated[int, typer.Option(min=1, max=366, help="So many days, newest first.")] = 7,
    last: Annotated[str | None, typer.Option(help="The last day, e.g. 2026-01-31; today when left out.")] = None,
    as_json: printing.AsJson = False,
) -> None:
    """Show the balance of each day: what Exotel lists is stored, or explained. Exit code 1: a call is not.

    Example: python -m ml_backend calls summary --days 30
    """
    context = quiet_context()
    zone = context.settings.exotel_time_zone
    found = ledger_balance.of_days(context.db, days=days, zone=zone, last=queries.day(last) if last else None)
    counts = calls.counts(context.db)
    if as_json:
        warning = ledger_balance.clock_warning(context.db)
        printing.say_json({"states": counts, "days": [day.to_dict() for day in found], "warning": warning})
    else:
        _print_balance(found, counts, zone)
        if warning := ledger_balance.clock_warning(context.db):
            printing.say(warning, style="yellow")
    raise typer.Exit(0 if all(day.balanced and not day.unexplained for day in found) else 1)


def _print_balance(found: list[ledger_balance.Balance], counts: dict[str, int], zone: str) -> None:
    titles = ("day", "reported", "listed", "stored", "explained", "waiting", "tasks", "balance")
    rows = []
    for day in found:
        even = "even" if day.balanced and not day.unexplained else Text("uneven", style="red")
        numbers = (day.reported, day.listed, day.stored, day.explained, day.waiting, day.tasked)
        rows.append((day.day, *map(str, numbers), even))
    printing.table(titles, rows, right=titles[1:-1])
    for day in found:
        if day.reasons:
            why = ", ".join(f"{number} {reason}" for reason, number in day.reasons.items())
            printing.say(f"{day.day} not stored: {why}")
    printing.say(f"Days of {zone}. listed = stored + explained; the rest Exotel has not listed so far.")
    for day in found:
        for sid in day.unexplained:
            printing.say(f"Not explained: {sid} of {day.day}. Please report this.")
    printing.say(", ".join(f"{number} {name}" for name, number in counts.items()) or "There are no calls.")


def _row(call: dict[str, Any]) -> tuple[str, ...]:
    talked = f"{call['talk_seconds']:.0f} s" if call["talk_seconds"] is not None else ""
    why = call["reason_code"] or ""
    if call["next_action"]:
        why = f"{call['next_action']} {_due(call['due_at'])}" + (f" ({why})" if why else "")
    began = (call["started_at_utc"] or "").replace("T", " ").removesuffix("Z")
    more = (call["status"] or "", talked, call["from"] or "", call["to"] or "")
    return (call["call_sid"], began, call["state"], *more, why)


def _due(at: str | None) -> str:
    if at is None:
        return ""
    seconds = (datetime.fromisoformat(at).astimezone(UTC) - tables.now()).total_seconds()
    return "now" if seconds <= 0 else f"in {quantities.rough_duration(seconds)}"


def _lines(call: dict[str, Any]) -> list[tuple[str, str]]:
    known = {"about": call["name"]} if call["call_sid"] is None else _known(call)
    lines = [(name, str(value)) for name, value in known.items() if value]
    for each in call["recordings"]:
        where = f"s3://{each['bucket']}/{each['object_key']}" if each["object_key"] else each["source_identity"]
        length = f", {each['duration_s']:.1f} s" if each["duration_s"] is not None else ""
        score = f", quality {each['quality_score']:.2f}" if each["quality_score"] is not None else ""
        lines.append(("recording", f"{each['id']} {each['state']}{length}{score}: {where}"))
    for each in call["tasks"]:
        there = f": {each['url']}" if each["url"] else ""
        lines.append(("task", f"{each['ls_task_id'] or '-'} {each['state']}{there}"))
    for each in call.get("messages", ()):
        said = f"{each['received_at']} {each['source']}, {each['copies']} times, {each['state']}"
        lines.append(("message", said))
    if "outcome" in call:
        lines += outcome_views.sentences(call)
    return lines + [("" if place else "why", said) for place, said in enumerate(call["explanation"])]


def _known(call: dict[str, Any]) -> dict[str, Any]:
    """The facts in a provider's messages about a call."""
    return {
        "call": call["call_sid"],
        "state": call["state"],
        "from, to": " → ".join(filter(None, (call["from"], call["to"]))),
        "through": call["company_number"],
        "direction": call["direction"],
        "began": call["started_at_utc"],
        "ended": call["ended_at_utc"],
        "talked": f"{call['talk_seconds']:.0f} s" if call["talk_seconds"] is not None else None,
        "status": call["status"],
        "consent": call["consent_purpose"],
        "note": call["custom_field"],
        "address": call["recording_url"],
        "odd": ", ".join(call["warnings"]),
    }
