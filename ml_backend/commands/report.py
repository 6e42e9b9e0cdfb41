"""`report NAME`: figures over time, the same that the page and /api show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ml_backend.commands import command_line, printing
from ml_backend.errors import InvalidInput
from ml_backend.reports import report_table
from ml_backend.views import queries

app = typer.Typer(add_completion=False)


@app.command()
def report(
    name: Annotated[str, typer.Argument(help="Which report; without a name: what there is.")] = "",
    only: Annotated[
        list[str] | None, typer.Option("--only", "-o", help="A filter of this report, name=value, e.g. days=30.")
    ] = None,
    as_json: printing.AsJson = False,
) -> None:
    """Figures over time. The same filters as /api/reports/NAME takes.

    Example: python -m ml_backend report live --json
    """
    if not name:
        known = [(one.name, one.summary) for one in report_table.REPORTS.values()]
        if as_json:
            printing.say_json({"reports": [{"name": each, "summary": summary} for each, summary in known]})
        else:
            printing.table(("report", "what it shows"), known)
        return
    chosen = report_table.named(name)
    query = queries.from_arguments(chosen.query_model(), _filters(only or []))
    found = chosen.of(command_line.quiet_context(), query)
    if as_json:
        printing.say_json(found)
        return
    lines = chosen.to_lines(found)
    if lines is None:
        _tables(found)
    for line in lines or ():
        printing.say(line)


def _filters(given: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in given:
        name, is_pair, value = each.partition("=")
        if not is_pair or not name:
            raise InvalidInput("bad-filter", f"{each[:40]!r} is not name=value.", "Write e.g. --only days=30.")
        found.setdefault(name, []).append(value)
    return found


def _tables(found: Mapping[str, Any], title: str = "") -> None:
    """Every number by its name, and every list of objects as a table."""
    for name, value in found.items():
        path = f"{title} {name}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            _tables(value, path)
        elif isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
            printing.say(path, style="bold")
            heads = list(dict.fromkeys(key for each in value for key in each))
            numbers = [key for key in heads if all(isinstance(each.get(key), int | float) for each in value)]
            printing.table(heads, [[_cell(each.get(key)) for key in heads] for each in value], right=numbers, indent=2)
        else:
            printing.fact(path, _cell(value), width=28)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_cell(each)}" for name, each in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(_cell(each) for each in value) or "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
