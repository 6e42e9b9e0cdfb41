"""`calls erase|hold|release|consent` and `retention`: a person's rights and a company's rules."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
import typer
from sqlalchemy.engine import Connection

from ml_backend import quantities, settings
from ml_backend.calls import pseudonyms, tombstones
from ml_backend.commands import printing
from ml_backend.context import Context, open_context
from ml_backend.errors import InvalidInput
from ml_backend.storage.object_store import valid_bucket
from ml_backend.tables import calls
from ml_backend.views.queries import MOST_DAYS
from sync.objects import scan
from sync.privacy import consents, subjects
from sync.privacy import erasure as privacy
from sync.privacy import retention as periods

consent = typer.Typer(add_completion=False, no_args_is_help=True, help="What people in calls agreed to.")
retention = typer.Typer(add_completion=False, no_args_is_help=True, help="How long recordings of a bucket are kept.")

Caller = Annotated[
    str | None, typer.Option(help="A phone number in any form, its pseudonym, or - to read it from standard input.")
]
Call = Annotated[str | None, typer.Option(help="The provider's id of one call.")]
Bucket = Annotated[str, typer.Argument(help="A bucket, e.g. call-recordings.")]
Who = Annotated[str, typer.Option(help="Who asks for it, for the record.", default_factory=getpass.getuser)]


def register(app: typer.Typer) -> None:
    """Add these commands to the group `calls`."""
    app.command()(erase)
    app.command()(hold)
    app.command()(release)
    app.add_typer(consent, name="consent")


def erase(
    who: Who,
    caller: Caller = None,
    call: Call = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: printing.AsJson = False,
) -> None:
    """Erase a person or a call: audio, text, drafts, tasks, annotations and raw events. Safe to repeat.

    Example: python -m ml_backend calls erase --call 02571550669ec9e57a18257e3c8a8c22 --dry-run
    """
    context, subject = _subject(caller, call)
    found = privacy.preview(context, subject)
    sentence = ", ".join(f"{number} {name}" for name, number in found.items())
    if dry_run:
        facts = {"dry_run": True, "subject": subject.name, **found}
        printing.result(facts, f"Would erase {sentence}.{_nobody(context, subject, found)}", as_json=as_json)
        return
    if not yes and not typer.confirm(
        f"Erase {sentence}? Nothing of it can be brought back.{_nobody(context, subject, found)}", err=True
    ):
        raise typer.Exit(1)
    done = privacy.erase(context, subject, who=who)
    printing.result(done, _erased(done), as_json=as_json)


def hold(
    why: Annotated[str, typer.Option(help="The reason, e.g. the number of a case.")],
    who: Who,
    caller: Caller = None,
    call: Call = None,
    as_json: printing.AsJson = False,
) -> None:
    """Keep a person's calls, or one call, whatever erasure or retention says.

    Example: python -m ml_backend calls hold --call 02571550669ec9e57a18257e3c8a8c22 --why "case 17"
    """
    context, subject = _subject(caller, call)
    if not why.strip():
        raise InvalidInput("no-reason", "A hold needs a reason.", "Use --why.")
    with context.db.transaction() as connection:
        new = tombstones.hold(connection, subject.kind, subject.identity, why=why.strip(), who=who)
    facts = {"held": subject.name, "new": new}
    printing.result(facts, f"{subject.name} is held." if new else f"{subject.name} was held already.", as_json=as_json)


def release(caller: Caller = None, call: Call = None, as_json: printing.AsJson = False) -> None:
    """End a hold.

    Example: python -m ml_backend calls release --call 02571550669ec9e57a18257e3c8a8c22
    """
    context, subject = _subject(caller, call)
    with context.db.transaction() as connection:
        there = tombstones.release(connection, subject.kind, subject.identity)
    if not there:
        raise InvalidInput(
            "no-hold", f"There is no hold on {subject.name}.", "Name it as `calls hold` did.", status=404
        )
    printing.result({"released": subject.name}, f"{subject.name} is no longer held.", as_json=as_json)


@consent.command("import")
def import_consent(
    file: Annotated[Path, typer.Argument(help="CSV in UTF-8; its first line names the columns.")],
    as_json: printing.AsJson = False,
) -> None:
    """State consent purposes for company numbers or calls: all rows of the file, or none.

    The file begins with the line company_number,purpose,name or call_sid,purpose. A row is 00000000001,training,Support
    or 02571550669ec9e57a18257e3c8a8c22,service; a purpose is one of training, review, service and none.

    Example: python -m ml_backend calls consent import consent.csv
    """
    context = open_context(settings.load())
    about, said = consents.read(file, key=pseudonyms.key_in(context.settings, context.db))
    with context.db.transaction() as connection:
        counts = consents.state(connection, about, said)
    about_whom = (
        f"{quantities.counted(counts['numbers'], 'company number')}, {quantities.counted(counts['calls'], 'call')}"
    )
    sentence = f"{quantities.counted(len(said), 'row')}: the purpose is stated for {about_whom}."
    printing.result({"rows": len(said), **counts}, sentence, as_json=as_json)


@retention.command("show")
def show_retention(as_json: printing.AsJson = False) -> None:
    """Show every bucket with its period and what is due now.

    Example: python -m ml_backend retention show
    """
    context = open_context(settings.load())
    with context.db.reading() as connection:
        rows = [dict(row) for row in periods.shown(connection)]
    lines = [_period(row) for row in rows] or ["No bucket has recordings or a period yet."]
    printing.result({"buckets": rows}, "\n".join(lines), as_json=as_json)


@retention.command("set")
def set_retention(
    bucket: Bucket,
    days: Annotated[str, typer.Argument(help="Days, or `forever`.")],
    who: Who,
    as_json: printing.AsJson = False,
) -> None:
    """Give a bucket a period. A shorter one only reports until it is confirmed.

    Example: python -m ml_backend retention set call-recordings 365
    """
    context = open_context(settings.load())
    with context.db.transaction() as connection:
        _require_known(context, connection, valid_bucket(bucket))
        row = dict(periods.set_days(connection, bucket, _days(days), who=who))
    printing.result(row, _period(row), as_json=as_json)


@retention.command("confirm")
def confirm_retention(
    bucket: Bucket,
    days: Annotated[int, typer.Argument(min=1, max=MOST_DAYS, help="The days that `retention set` reported.")],
    who: Who,
    as_json: printing.AsJson = False,
) -> None:
    """Let a reported period take effect: what is due is removed within a day.

    Example: python -m ml_backend retention confirm call-recordings 365
    """
    context = open_context(settings.load())
    with context.db.transaction() as connection:
        row = dict(periods.confirm(connection, valid_bucket(bucket), days=days, who=who))
    printing.result(row, _period(row), as_json=as_json)


def _subject(caller: str | None, call: str | None) -> tuple[Context, subjects.Subject]:
    context = open_context(settings.load())
    if caller == "-":  # a number on the command line stays in the shell's history and shows in the process list
        caller = sys.stdin.readline().strip()
    if caller:
        pseudonyms.key_in(context.settings, context.db)  # with another key this person would not be found
    return context, subjects.subject_of(context.settings, caller=caller, call=call)


def _nobody(context: Context, subject: subjects.Subject, found: dict[str, int]) -> str:
    """What to do where nothing of the subject is known; empty where something is."""
    if any(found.values()):
        return ""
    if subject.kind == "call":
        return " No call and no recording has this id: `python -m ml_backend calls list` shows calls."
    callers = sa.func.count(sa.distinct(calls.c.from_pseudonym))
    with context.db.reading() as connection:
        known = connection.execute(sa.select(callers)).scalar_one()
    if known:
        return f" No call is from or to this number; {known} callers are known: `python -m ml_backend calls list`."
    return " No caller is known: only calls from Exotel have one. Use --call with the id of a recording."


def _require_known(context: Context, connection: Connection, bucket: str) -> None:
    """A misspelt bucket would get a period, and the one that was meant would keep everything."""
    kept = {row["bucket"] for row in periods.shown(connection)}
    known = {context.settings.recordings_bucket, *scan.buckets(context), *kept}
    if bucket not in known:
        names = ", ".join(sorted(known))
        raise InvalidInput("bucket-missing", f"No recording is kept in a bucket {bucket}.", f"Known: {names}.")


def _days(text: str) -> int | None:
    if text.lower() in ("forever", "for-ever", "none"):
        return None
    if not text.isdecimal() or len(text) > 5 or not 1 <= int(text) <= MOST_DAYS:
        raise InvalidInput("bad-days", f"{text[:20]!r} is no number of days.", f"Give 1 to {MOST_DAYS}, or forever.")
    return int(text)


def _period(row: dict[str, Any]) -> str:
    if row["days"] is None:
        return f"{row['bucket']}: kept for ever"
    due = f"{row['recordings']} recordings ({quantities.duration(3600 * row['hours'])}) are older"
    stay = f"; {row['held']} more are under a hold, {row['in_use']} in unfinished tasks"
    what = {
        periods.REPORTED: f"{due}; nothing is removed until you confirm: "
        f"python -m ml_backend retention confirm {row['bucket']} {row['days']}",
        periods.CONFIRMED: f"{due} and are removed daily",
    }
    return f"{row['bucket']}: {row['days']} days, {what.get(row['state'], row['state'])}{stay}"


def _erased(done: dict[str, Any]) -> str:
    counts, report = done["counts"], done["report"]
    lines = [f"Erased {', '.join(f'{number} {name}' for name, number in counts.items())}."]
    lines += [f"  still there: {each}" for each in report["left"]]
    lines += [f"  dataset {each['name']} version {each['version']} had used them" for each in report["datasets"]]
    lines += [f"  model {name} had learnt from them" for name in report["models"]]
    lines.append(f"The report is kept as erasure {done['erasure']}. Backups still hold what they held.")
    return "\n".join(lines)
