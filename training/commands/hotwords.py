"""`hotwords list|approve|remove`: words that people correct repeatedly, in use within minutes."""

from __future__ import annotations

import getpass
import time
from typing import Annotated, Any

import sqlalchemy as sa
import typer

from ml_backend import settings, tables
from ml_backend.commands import printing
from ml_backend.context import Context, open_context
from ml_backend.errors import InvalidInput
from ml_backend.jobs import enqueueing
from ml_backend.labelling import project_rows
from training.hotwords import draft_pairs, hotword_jobs, hotword_rows

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Words that people correct again and again.")

Word = Annotated[str, typer.Argument(help="The id in the list, or the word itself.", metavar="WORD")]
Project = Annotated[int | None, typer.Option(min=1, help="Only this project, by its number in Label Studio.")]
Language = Annotated[str | None, typer.Option(help="Only this language, e.g. hi.")]
Who = Annotated[str, typer.Option(help="Who decides, for the record.", default_factory=getpass.getuser)]
POLL_S = 0.5
MOST_SHOWN = 4


@app.command("list")
def list_words(
    project: Project = None,
    language: Language = None,
    state: Annotated[list[str] | None, typer.Option(help="suggested, checking, approved, refused or removed.")] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Count anew first, instead of every 15 minutes.")] = False,
    as_json: printing.AsJson = False,
) -> None:
    """Show corrected words with how often, what was transcribed in their place, and what became of them.

    Example: python -m ml_backend hotwords list --language hi --state suggested
    """
    for one in state or ():
        if one not in hotword_rows.STATES:
            raise InvalidInput(
                "unknown-state", f"There is no state {one[:20]!r}.", f"Known: {', '.join(hotword_rows.STATES)}."
            )
    context = open_context(settings.load())
    row_id = _row_of(context, project)
    if refresh:
        every = sa.select(tables.projects.c.id)
        every = every if row_id is None else every.where(tables.projects.c.id == row_id)
        for row in context.db.rows(every.order_by(tables.projects.c.id)):
            hotword_jobs.collect(context, row.id)
    found = draft_pairs.listed(context, states=tuple(state or ()), project_id=row_id, language=language)
    if as_json:
        printing.say_json({"hotwords": found})
        return
    for each in found:
        _print(each)
    if not found:
        printing.say(
            "No word is on the list: it takes corrections of the same word in three recordings, by two callers."
        )
        printing.say("Corrections are counted every 15 minutes; `hotwords list --refresh` does it now.")
    elif any(one["state"] == hotword_rows.SUGGESTED for one in found):
        printing.say("Next: `hotwords approve ID --wait` tries the word on recent calls, and uses it if that helps.")


@app.command()
def approve(
    word: Word,
    who: Who,
    project: Project = None,
    language: Language = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the check and print its numbers.")] = False,
    as_json: printing.AsJson = False,
) -> None:
    """Put a word to use if recent calls agree; with --project and --language also one that is not on the list yet.

    Example: python -m ml_backend hotwords approve Kaan --project 2 --language en
    """
    context = open_context(settings.load())
    row_id = _row_of(context, project)
    with context.db.transaction() as connection:
        if row_id is not None and language is not None and not word.isdigit():
            row = hotword_rows.add(connection, word, project_id=row_id, language=language)
        else:
            row = hotword_rows.find(connection, word, project_id=row_id, language=language)
        job_id = hotword_rows.approve(connection, row, who=who)
    if wait:
        _wait(context, job_id)
    shown = draft_pairs.shown(context, row.id)
    if as_json:
        printing.say_json({**shown, "job": job_id})
    elif shown["state"] == hotword_rows.CHECKING:
        typer.echo(
            f"{shown['word']} is being checked on recent calls (job {job_id}); `hotwords list` says what came of it."
        )
    else:
        _print(shown)
    if shown["state"] == hotword_rows.REFUSED:
        raise typer.Exit(1)


@app.command()
def remove(
    word: Word, who: Who, project: Project = None, language: Language = None, as_json: printing.AsJson = False
) -> None:
    """Take a word out of use; open tasks get their drafts without it. A suggestion is not made again.

    Example: python -m ml_backend hotwords remove Kaan
    """
    context = open_context(settings.load())
    row_id = _row_of(context, project)
    with context.db.transaction() as connection:
        row = hotword_rows.find(connection, word, project_id=row_id, language=language)
        hotword_rows.remove(connection, row, who=who)
    shown = draft_pairs.shown(context, row.id)
    in_use = row.state == hotword_rows.APPROVED
    sentence = f"{row.word} is out of use. Open drafts follow." if in_use else f"{row.word} is off the list."
    printing.result(shown, sentence, as_json=as_json)


def _wait(context: Context, job_id: int) -> None:
    """Wait until the check, which a transcribe worker runs, has ended."""
    while (row := enqueueing.show(context.db, job_id)).state != "done":
        if row.state in ("failed", "quarantined", "cancelled"):
            raise InvalidInput("check-failed", f"The check failed: {row.error}", row.next_step or "See `jobs show`.")
        time.sleep(POLL_S)


def _row_of(context: Context, ls_project_id: int | None) -> int | None:
    return None if ls_project_id is None else project_rows.row_of(context, ls_project_id)


def _print(one: dict[str, Any]) -> None:
    safe = _forms([form for form in one["heard"] if form["sure"]])
    others = _forms([form for form in one["heard"] if not form["sure"]][:MOST_SHOWN])
    where = f"project {one['project']}, {one['language']}"
    printing.say(
        f"{one['id']} {one['word']}  {where}: {one['state']}, in {one['recordings']} recordings"
        + (f"; transcribed as {others}" if others else "")
        + (f"; safe to correct: {safe}" if safe else "")
    )
    if one["reason"]:
        printing.say(f"    {one['reason']} [{one['code']}]")
    check = one["check"]
    if check and one["way"]:
        now, chosen = check["ways"]["now"], check["ways"][one["way"]]
        printing.say(
            f"    applied as {one['way']}: wrong words where it is said {now['here']['word_edits']} -> "
            f"{chosen['here']['word_edits']} of {now['here']['words']}, elsewhere "
            f"{now['elsewhere']['word_edits']} -> {chosen['elsewhere']['word_edits']} of {now['elsewhere']['words']}"
        )


def _forms(forms: list[dict[str, Any]]) -> str:
    return ", ".join(f"{form['form']} ({form['times']} of {form['said']})" for form in forms)
