"""`hotwords list|approve|remove`: what people correct again and again, put to use within minutes."""

from __future__ import annotations

import getpass
import json
import time
from typing import Annotated, Any

import sqlalchemy as sa
import typer
from rich.console import Console
from rich.markup import escape

from ml_backend import jobs as job_kinds
from ml_backend import settings
from ml_backend.context import Context, open_context
from ml_backend.errors import InvalidInput
from ml_backend.tables import hotwords, projects
from training.hotwords import job, reading, words

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Words that people correct again and again.")

Word = Annotated[str, typer.Argument(help="The id in the list, or the word itself.", metavar="WORD")]
Project = Annotated[int | None, typer.Option(help="Only this project: its id in our list, not in Label Studio.")]
Language = Annotated[str | None, typer.Option(help="Only this language, e.g. hi.")]
Who = Annotated[str, typer.Option(help="Who decides, for the record.", default_factory=getpass.getuser)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
POLL_S = 0.5


@app.command("list")
def list_words(
    project: Project = None,
    language: Language = None,
    state: Annotated[list[str] | None, typer.Option(help="suggested, checking, approved, refused or removed.")] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Count anew first, instead of every 15 minutes.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show corrected words with how often, what was heard in their place, and what became of them.

    Example: python -m ml_backend hotwords list --language hi --state suggested
    """
    for one in state or ():
        if one not in words.STATES:
            raise InvalidInput(
                "unknown-state", f"There is no state {one[:20]!r}.", f"Known: {', '.join(words.STATES)}."
            )
    context = open_context(settings.load())
    if refresh:
        every = sa.select(projects.c.id) if project is None else sa.select(projects.c.id).filter_by(id=project)
        for row in context.db.rows(every.order_by(projects.c.id)):
            job.collect(context, row.id)
    found = reading.listed(context, states=tuple(state or ()), project_id=project, language=language)
    if as_json:
        typer.echo(json.dumps({"hotwords": found}, ensure_ascii=False))
        return
    console = Console(soft_wrap=True, highlight=False)
    for each in found:
        _print(console, each)
    if not found:
        console.print("No word is on the list: it takes corrections of the same word in three recordings.")


@app.command()
def approve(
    word: Word,
    who: Who,
    project: Project = None,
    language: Language = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the check and print its numbers.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put a word to use if recent calls agree; with --project and --language also one that is not on the list yet.

    Example: python -m ml_backend hotwords approve 7 --wait
    """
    context = open_context(settings.load())
    with context.db.transaction() as connection:
        if project is not None and language is not None and not word.isdigit():
            row = words.add(connection, word, project_id=project, language=language)
        else:
            row = words.find(connection, word, project_id=project, language=language)
        job_id = words.approve(connection, row, who=who)
    if wait:
        _wait(context, job_id)
    told = _told(context, row.id)
    if as_json:
        typer.echo(json.dumps({**told, "job": job_id}, ensure_ascii=False))
    elif told["state"] == words.CHECKING:
        typer.echo(
            f"{told['word']} is being checked on recent calls (job {job_id}); `hotwords list` says what came of it."
        )
    else:
        _print(Console(soft_wrap=True, highlight=False), told)
    if told["state"] == words.REFUSED:
        raise typer.Exit(1)


@app.command()
def remove(word: Word, who: Who, project: Project = None, language: Language = None, as_json: AsJson = False) -> None:
    """Take a word out of use; open tasks get their drafts without it. A suggestion is not made again.

    Example: python -m ml_backend hotwords remove 7
    """
    context = open_context(settings.load())
    with context.db.transaction() as connection:
        row = words.find(connection, word, project_id=project, language=language)
        words.remove(connection, row, who=who)
    told = _told(context, row.id)
    in_use = row.state == words.APPROVED
    sentence = f"{row.word} is out of use. Open drafts follow." if in_use else f"{row.word} is off the list."
    typer.echo(json.dumps(told, ensure_ascii=False) if as_json else sentence)


def _wait(context: Context, job_id: int) -> None:
    """Until the check has ended: a transcribe worker runs it."""
    while (row := job_kinds.show(context.db, job_id)).state != "done":
        if row.state in ("failed", "quarantined", "cancelled"):
            raise InvalidInput("check-failed", f"The check failed: {row.error}", row.next_step or "See `jobs show`.")
        time.sleep(POLL_S)


def _told(context: Context, hotword_id: int) -> dict[str, Any]:
    return reading.told(context.db.row(hotwords, hotword_id))


def _print(console: Console, one: dict[str, Any]) -> None:
    heard = ", ".join(
        f"{form['form']} ({form['times']} of {form['said']}{'' if form['sure'] else ', not safe to correct'})"
        for form in one["heard"]
    )
    where = f"project {one['project']}, {one['language']}"
    console.print(
        f"[bold]{one['id']} {escape(one['word'])}[/bold]  {where}: {one['state']}, in {one['recordings']} recordings"
        + (f"; heard as {escape(heard)}" if heard else "")
    )
    if one["reason"]:
        console.print(f"    {escape(one['reason'])} \\[{one['code']}]")
    check = one["check"]
    if check and one["way"]:
        now, chosen = check["ways"]["now"], check["ways"][one["way"]]
        console.print(
            f"    applied as {one['way']}: wrong words where it is said {now['here']['word_edits']} -> "
            f"{chosen['here']['word_edits']} of {now['here']['words']}, elsewhere "
            f"{now['elsewhere']['word_edits']} -> {chosen['elsewhere']['word_edits']} of {now['elsewhere']['words']}"
        )
