"""`nlu`: utterances with intents and entities: bring them in, list them, count them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ml_backend import quantities, setting_values
from ml_backend.commands import printing
from ml_backend.commands.command_line import quiet_context
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.views import utterance_views
from training.utterances import call_utterances, utterance_import, utterance_sources
from training.utterances.utterance_checks import SENTENCES
from training.utterances.utterance_import import ImportReport
from training.utterances.utterance_sources import UtteranceFile, UtteranceSource

app = typer.Typer(add_completion=False, no_args_is_help=True, help="What callers want: utterances with their intents.")
_NOTES = {
    "offsets-utf16": "entities had offsets in UTF-16 units, which were converted",
    "offsets-moved": "entities stood elsewhere than their offsets said, and were found by their value",
    "language-unknown": "rows named a language that is not known, and it was detected",
}


@app.command("import")
def import_(
    file: Annotated[
        Path | None, typer.Argument(help="A .csv or .jsonl file; without one, the table of NLU_DATABASE_URL is read.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Read the whole table again, and leave out rows that it no longer has.")
    ] = False,
    origin: Annotated[
        str, typer.Option(help="The file's name in the database; the same name again replaces its rows.")
    ] = "",
    as_json: printing.AsJson = False,
) -> None:
    """Bring in labelled utterances from the company's table, or from a file. Only what changed is written.

    A table is read from its latest change on, a file is read whole. What cannot be used is named with its reason. Exit
    code 1 when not one row could be used.

    Example: python -m ml_backend nlu import utterances.csv

    Example: python -m ml_backend nlu import --all
    """
    context = quiet_context()
    if file is None and origin:
        raise InvalidInput("origin-of-a-file", "A table keeps its own name.", "Leave --origin out, or name a file.")
    with _source(context, file, origin, everything=everything) as source:
        with printing.moving("{task.completed:,} rows", quiet=as_json) as bar:
            task = bar.add_task("reading", total=None)

            def show(done: int, total: int | None, note: str) -> None:
                bar.update(task, completed=done, total=total, description=note)

            done = utterance_import.run(context, source, report=show)
    if as_json:
        printing.say_json(done.to_dict())
    else:
        _show(done)
    if done.read and not done.added + done.changed + done.unchanged:
        raise typer.Exit(1)


@app.command("from-calls")
def from_calls(
    everything: Annotated[bool, typer.Option("--all", help="Begin with the first call again.")] = False,
    as_json: printing.AsJson = False,
) -> None:
    """Take what customers said in calls, for people to say what it means; only what is new since the last time.

    The parser that serves says what it takes each for. The least certain and the rarest come first, and so many wait
    at most as NLU_CALL_UTTERANCES allows. A project of the `nlu` config makes tasks of them.

    Example: python -m ml_backend nlu from-calls
    """
    context = quiet_context()
    if not context.settings.nlu_call_utterances:
        raise InvalidInput(
            "no-call-utterances", "NLU_CALL_UTTERANCES is 0: nothing is taken from calls.", "Set it, e.g. to 200."
        )
    with printing.moving("{task.completed:,} recordings", quiet=as_json) as bar:
        task = bar.add_task("reading", total=None)
        done = call_utterances.collect(
            context, everything=everything, report=lambda read, found: bar.update(task, completed=read)
        )
    if as_json:
        printing.say_json(done.to_dict())
        return
    if done.enough_wait:
        printing.say(
            f"{done.waiting:,} utterances of calls wait for people already: nothing is read until a quarter of "
            "NLU_CALL_UTTERANCES is free. Have them annotated (`python -m ml_backend project create --config nlu` "
            "makes a project for it), or raise NLU_CALL_UTTERANCES."
        )
        return
    printing.say(
        f"{quantities.counted(done.recordings, 'recording')} read, {done.added:,} of "
        f"{quantities.counted(done.candidates, 'new wording')} taken; {done.waiting:,} wait for a person",
        style="bold",
    )
    for code, number in done.left_out.most_common():
        printing.fact("left out", f"{number:,} {code}: {call_utterances.LEFT_OUT[code]}", style="")
    for intent, number in done.intents.most_common(10):
        printing.fact("taken for", f"{intent}: {number:,}", style="")
    if done.replaced:
        printing.say(f"{done.replaced:,} drafted texts gave way to corrected ones.")
    if done.more:
        printing.say("There are more calls to read: run it again when people have annotated these.")


@contextmanager
def _source(context: Context, file: Path | None, origin: str, *, everything: bool) -> Iterator[UtteranceSource]:
    chosen = context.settings
    columns, _ = setting_values.columns(chosen.nlu_columns)
    if file is not None:
        yield UtteranceFile(file, columns, origin=origin and f"file:{origin}"[:120])
        return
    since = None if everything else utterance_import.since(context, f"table:{chosen.nlu_table}")
    with utterance_sources.table(chosen.nlu_database_url, chosen.nlu_table, columns, since=since) as found:
        yield found


@app.command("list")
def list_(
    state: Annotated[str | None, typer.Option(help=f"Only in this state: {', '.join(utterance_views.STATES)}.")] = None,
    source: Annotated[
        str | None, typer.Option(help=f"Only from this source: {', '.join(utterance_views.SOURCES)}.")
    ] = None,
    language: Annotated[str | None, typer.Option(help="Only in this language, e.g. hi.")] = None,
    intent: Annotated[str | None, typer.Option(help="Only with this intent.")] = None,
    family: Annotated[str | None, typer.Option(help="Only rewordings of one sentence, by the family's name.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only those left out for this reason code.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most this many rows.")] = 30,
    as_json: printing.AsJson = False,
) -> None:
    """Show utterances, newest first, with their intents and why some are left out.

    Example: python -m ml_backend nlu list --state excluded
    """
    query = utterance_views.UtteranceQuery(
        state=state, source=source, language=language, intent=intent, family=family, reason=reason, limit=limit
    )
    found = utterance_views.find(quiet_context().db, query)
    if as_json:
        printing.say_json({"utterances": found})
        return
    if not found:
        printing.say("There are no such utterances. `python -m ml_backend nlu import` brings them in.")
        return
    titles = ("id", "source", "lang", "intent", "checked", "family", "state", "text")
    printing.table(titles, map(_row, found))


@app.command()
def summary(as_json: printing.AsJson = False) -> None:
    """Count the utterances by source, language, intent and family, and say what is left out and why.

    Example: python -m ml_backend nlu summary
    """
    found = utterance_views.summary(quiet_context().db)
    if as_json:
        printing.say_json(found)
        return
    if not found["states"]:
        printing.say("There are no utterances yet: `python -m ml_backend nlu import` brings them in.")
        return
    for title in ("states", "left_out", "sources", "languages", "scripts"):
        for place, (name, number) in enumerate(found[title].items()):
            printing.fact(title.replace("_", " ") if not place else "", f"{number:,} {name}")
    families = found["families"]
    printing.fact("families", f"{families['families']:,}, the largest has {families['largest']:,} wordings")
    printing.fact("checked", f"{found['checked']:,} by people: only these are tested on")
    rows = [
        (one["intent"], *(f"{one[name]:,}" for name in ("rows", "checked", "families"))) for one in found["intents"]
    ]
    printing.table(("intent", "rows", "checked", "families"), rows, right=("rows", "checked", "families"))
    if found["more_intents"]:
        printing.say(f"… and {found['more_intents']:,} more intents")


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    state = f"{one['state']}: {one['reason_code']}" if one["reason_code"] else one["state"]
    start = (quantities.shortened(one["id"], 24), one["source"], one["language"] or "", one["intent"] or "")
    return (*start, "yes" if one["checked"] else "", one["family"] or "", state, one["text"])


def _show(done: ImportReport) -> None:
    read = "the whole of it" if done.whole else "what changed since the last import"
    printing.say(f"{done.origin}: {done.read:,} rows read ({read})", style="bold")
    printing.say(f"{done.added:,} added, {done.changed:,} changed, {done.unchanged:,} as before, {done.gone:,} gone")
    for code, number in done.bad.most_common():
        printing.fact("left out", f"{number:,} {code}: {SENTENCES[code]}", style="")
    for one in done.examples:
        printing.say(f"  {one['where']}: {one['code']}")
    if sum(done.bad.values()) > len(done.examples):
        printing.say("  … all: `python -m ml_backend nlu list --state excluded`")
    for code, number in done.notes.most_common():
        printing.fact("corrected", f"{number:,} {_NOTES[code]}", style="")
    for name, spellings in done.labels.items():
        merged = ", ".join(f"{spelling!r} ({number:,})" for spelling, number in spellings.items())
        printing.fact("one label", f"{name}: also written {merged}", style="")
    families = done.families
    printing.say(
        f"{families['utterances']:,} utterances are wordings of {families['families']:,} sentences; "
        f"the most of one: {families['largest']:,}"
    )
    for warning in done.warnings:
        printing.fact("note", warning, style="yellow")
