"""`calls outcomes`: how calls went: bring reports in, show and list them, write them into a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
import typer

from ml_backend import quantities, tables
from ml_backend.commands import printing
from ml_backend.commands.command_line import quiet_context
from ml_backend.context import Context
from ml_backend.db import Database
from ml_backend.errors import InvalidInput, KaanError
from ml_backend.models import kinds
from ml_backend.outcomes import call_outcomes, outcome_files, outcome_reports
from ml_backend.outcomes.outcome_files import OutcomeFile
from ml_backend.outcomes.outcome_reports import CheckedOutcome
from ml_backend.views import outcome_views, queries
from ml_backend.views.outcome_views import OutcomeQuery

app = typer.Typer(add_completion=False, no_args_is_help=True, help="How calls went, as the phone system reports it.")
SHOWN = 50  # bad rows that are printed for a person; --json has all


@dataclass
class ImportedOutcomes:
    """What became of the rows of a file."""

    file: str
    read: int = 0
    changed: int = 0
    unchanged: int = 0
    unknown: int = 0
    bad: list[dict[str, Any]] = field(default_factory=list)
    not_read: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {
            "file": self.file, "read": self.read, "changed": self.changed, "unchanged": self.unchanged,
            "of_unknown_calls": self.unknown, "bad": self.bad, "columns_not_read": self.not_read,
        }  # fmt: skip


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A CSV file; its first line names the columns.")],
    as_json: printing.AsJson = False,
) -> None:
    """Bring in how calls went. Good rows are kept, bad ones are named with their line; safe to repeat.

    The first line names the columns: call, and any of success, satisfaction, satisfaction_scale, automated, intent,
    tags, reported_at and latency_asr_s (seconds; any component). Exit code 1 when not one row could be used.

    Example: python -m ml_backend calls outcomes import outcomes.csv
    """
    context = quiet_context()
    source = OutcomeFile(file)
    done = ImportedOutcomes(file.name, not_read=source.not_read)
    with printing.moving("{task.completed:,} rows", quiet=as_json) as bar:
        task = bar.add_task("reading", total=None)
        rows = source.rows()
        while some := list(islice(rows, call_outcomes.TOGETHER)):
            _store(context, some, done)
            bar.update(task, completed=done.read)
    if as_json:
        printing.say_json(done.to_dict())
    else:
        _show(done)
    if done.bad and not done.changed + done.unchanged:
        raise typer.Exit(1)


@app.command()
def show(
    call: Annotated[str, typer.Argument(help="The call's id.")],
    as_json: printing.AsJson = False,
) -> None:
    """Show how one call went, and which versions answered it. The call need not be known.

    Example: python -m ml_backend calls outcomes show 02571550669ec9e57a18257e3c8a8c22
    """
    context = quiet_context()
    found = outcome_views.of_call(context.db, outcome_reports.checked_call(call), key=call_outcomes.key_of(context))
    if as_json:
        printing.say_json({"call": call, **found})
        return
    lines = outcome_views.sentences(found)
    if not lines:
        raise InvalidInput(
            "no-outcome", "Nothing was reported of this call, and no version answered it.",
            "`python -m ml_backend calls outcomes list` shows what was reported.", status=404,
        )  # fmt: skip
    for title, text in lines:
        printing.fact(title, text, width=10)


@app.command("list")
def list_(
    kind: Annotated[str, typer.Option(help=f"call: reports; {', '.join(kinds.KINDS)}: what models answered.")] = "call",
    days: Annotated[
        int | None, typer.Option(min=1, max=queries.MOST_DAYS, help="Only what was written in the last so many days.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most this many rows.")] = 30,
    as_json: printing.AsJson = False,
) -> None:
    """Show how calls went, the newest first.

    Example: python -m ml_backend calls outcomes list --days 7
    """
    since = tables.now() - timedelta(days=days) if days else None
    found = outcome_views.find(quiet_context().db, OutcomeQuery(kind=kind, since=since, limit=limit))
    if as_json:
        printing.say_json({"outcomes": found})
        return
    if not found:
        printing.say("Nothing was reported. The phone system reports with POST /api/calls/<call>/outcome.")
        return
    printing.table(("call", "at (UTC)", "known", "how it went"), map(_row, found))


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="The CSV file to write; `calls outcomes import` reads it.")],
    as_json: printing.AsJson = False,
) -> None:
    """Write every report into a CSV file, which spreadsheets open without running anything in it.

    Example: python -m ml_backend calls outcomes export outcomes.csv
    """
    context = quiet_context()
    part = file.with_name(f"{file.name}.part")
    try:
        with part.open("w", encoding="utf-8-sig", newline="") as stream:
            count = outcome_files.write(stream, _every(context.db), _components(context.db))
        part.replace(file)
    except OSError as error:
        raise InvalidInput(
            "file-not-written", f"{quantities.shortened(str(file), 120)} cannot be written ({error.strerror}).",
            "Name a file in a folder that is yours.",
        ) from None  # fmt: skip
    printing.result({"file": str(file), "rows": count}, f"{file}: {quantities.counted(count, 'row')}.", as_json=as_json)


def _store(context: Context, some: list[outcome_files.OutcomeRow], done: ImportedOutcomes) -> None:
    """Store some rows of a file; what is wrong with one is noted with its line."""
    good: list[tuple[int, CheckedOutcome]] = []
    for row in some:
        done.read += 1
        try:
            if row.fault:
                raise InvalidInput("row-unreadable", row.fault, "Correct the row and import the file again.")
            scale = context.settings.satisfaction_scale
            good.append((row.line, outcome_reports.checked(row.call, row.raw, scale=scale)))
        except InvalidInput as error:
            done.bad.append(_bad(row.line, row.call, error))
    stored = call_outcomes.store_many(context, [report for _, report in good], source=call_outcomes.CSV)
    for (line, report), became in zip(good, stored, strict=True):
        if isinstance(became, KaanError):
            done.bad.append(_bad(line, report.call_sid, became))
            continue
        done.changed += bool(became.changed)
        done.unchanged += not became.changed
        done.unknown += not became.known
    done.bad.sort(key=lambda each: int(each["line"]))


def _bad(line: int, call: str, error: KaanError) -> dict[str, Any]:
    return {"line": line, "call": call[: outcome_reports.MOST_ID], "code": error.code, "sentence": error.sentence}


def _show(done: ImportedOutcomes) -> None:
    printing.say(f"{done.file}: {quantities.counted(done.read, 'row')} read", style="bold")
    printing.say(
        f"{done.changed:,} brought something new, {done.unchanged:,} were known, {len(done.bad):,} are wrong; "
        f"{done.unknown:,} of calls that are not in the ledger yet"
    )
    for each in done.bad[:SHOWN]:
        printing.fact(f"line {each['line']}", f"{each['code']}: {each['sentence']}", style="")
    if len(done.bad) > SHOWN:
        printing.say(f"… and {len(done.bad) - SHOWN:,} more; --json names all")
    if done.not_read:
        names = ", ".join(quantities.shortened(name, 40) for name in done.not_read[:20])
        printing.fact("not read", f"columns of other names: {names}", style="yellow")


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    at = one.get("reported_at") or one["updated_at"]
    known = "yes" if one["known"] else "not yet"
    if "success" in one:
        return one["call"], f"{at:%Y-%m-%d %H:%M}", known, outcome_views.sentence(one)
    ((_, text),) = outcome_views.sentences({"outcome": None, "answered_by": [one]})
    return one["call"], f"{at:%Y-%m-%d %H:%M}", known, text


def _every(database: Database, page: int = 500) -> Iterator[dict[str, Any]]:
    before = None
    while found := outcome_views.find(database, OutcomeQuery.model_construct(limit=page, before=before)):
        yield from found
        before = found[-1]["id"]


def _components(database: Database) -> set[str]:
    rows = tables.outcomes.c
    with database.reading() as connection:
        found = connection.execute(
            sa.select(rows.latencies).where(rows.kind == call_outcomes.CALL, rows.latency_s.is_not(None)),
            execution_options={"yield_per": 1000},
        ).scalars()
        return {name for latencies in found for name in latencies or {}}
