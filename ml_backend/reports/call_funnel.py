"""From the callback to the dataset: how many calls get how far, and why the others do not. Reads only.

callback -> call -> recording -> stored -> transcribed -> task -> annotated -> sample -> dataset

The figures are sums of rows of `day_counts`, which a job keeps; `counted_at` says how old they are.
"""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field

from ml_backend import quantities, tables
from ml_backend.calls.events import zone_of
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.reports.call_days import NAME, STEPS
from ml_backend.tables import day_counts
from ml_backend.views.call_views import text_of
from ml_backend.views.queries import Day, Query, one_of

PERIODS = ("day", "week", "month", "all")
MOST_DAYS = 1100
DEFAULT_DAYS = 28
NEXT_STEPS = {
    "recording": "have a recording",
    "stored": "are stored",
    "transcribed": "were transcribed",
    "task": "became tasks",
    "annotated": "were annotated",
    "sample": "gave a sample",
    "dataset": "are in a dataset",
}


class FunnelQuery(Query):
    """Which days, of EXOTEL_TIME_ZONE, and how they are put together."""

    since: Annotated[Day | None, Field(description=f"The first day; default: the last {DEFAULT_DAYS} days.")] = None
    until: Annotated[Day | None, Field(description="The last day; default: today.")] = None
    by: Annotated[
        str,
        Field(description="One row for each day, week or month, or for all."),
        one_of(PERIODS, InvalidInput("bad-period", "There is no such period.", f"Known: {', '.join(PERIODS)}.")),
    ] = "all"


def of(context: Context, query: FunnelQuery) -> dict[str, Any]:
    """The funnel of the whole time and of each period, and the ledger's balance of each day, the newest first."""
    first, last = days_of(context, query)
    rows = counted(context, first, last)
    periods: dict[str, list[Any]] = {}
    for row in sorted(rows, key=lambda each: each.day, reverse=True):
        periods.setdefault(_period(row.day, query.by), []).append(row)
    whole = _funnel(rows)
    return {
        "since": first.isoformat(),
        "until": last.isoformat(),
        "zone": context.settings.exotel_time_zone,
        "counted_at": text_of(min((row.made_at for row in rows), default=None)),
        **whole,
        "periods": [] if query.by == "all" else [
            {"period": name, "calls": found["calls"], **{step["step"]: step["calls"] for step in found["steps"]}}
            for name, mine in periods.items()
            for found in (_funnel(mine),)
        ],
        "days": [
            {**row.body["balance"], "counted_at": text_of(row.made_at)}
            for row in sorted(rows, key=lambda each: each.day, reverse=True)
        ],
        "note": note_of(context, rows),
    }  # fmt: skip


def days_of(context: Context, query: FunnelQuery) -> tuple[date, date]:
    """The first and the last day asked for; InvalidInput for too many."""
    today = tables.now().astimezone(zone_of(context.settings.exotel_time_zone)).date()
    last = query.until or today
    first = query.since or last - timedelta(days=DEFAULT_DAYS - 1)
    if first > last:
        raise InvalidInput("days-reversed", "The first day is after the last.", "Exchange them.")
    if (last - first).days >= MOST_DAYS:
        raise InvalidInput("too-many-days", f"These are more than {MOST_DAYS:,} days.", "Ask for fewer.")
    return first, last


def counted(context: Context, first: date | None, last: date | None) -> list[Any]:
    """The counted days in that time."""
    statement = sa.select(day_counts).where(day_counts.c.name == NAME).order_by(day_counts.c.day)
    if first is not None:
        statement = statement.where(day_counts.c.day >= first)
    if last is not None:
        statement = statement.where(day_counts.c.day <= last)
    return list(context.db.rows(statement))


def note_of(context: Context, rows: list[Any]) -> str | None:
    """A sentence where figures are missing; None otherwise."""
    if rows:
        return None
    anything = context.db.rows(sa.select(day_counts.c.day).where(day_counts.c.name == NAME).limit(1))
    return (
        "No call began in these days."
        if anything
        else "Nothing was counted yet: `relay` and a worker of queue `sync` count calls every few minutes."
    )


def lines(found: dict[str, Any]) -> list[str]:
    """The report for a terminal."""
    said = [
        f"Calls from {found['since']} to {found['until']} ({found['zone']}), counted at {found['counted_at'] or '-'}"
    ]
    if found["note"]:
        return [*said, found["note"]]
    said.append(f"{found['calls']:>8,}  calls; a callback reported {found['called_back']:,} of them")
    for step in found["steps"]:
        share = f"{100 * step['share']:5.1f} %" if step["share"] is not None else ""
        said.append(f"{step['calls']:>8,}  {NEXT_STEPS[step['step']]:<20} {share}")
        said += [
            f"{'':>10}{each['calls']:,} {'still waiting' if each['waiting'] else 'not'}: {each['reason']}"
            + (f" ({each['sentence']})" if each["sentence"] else "")
            for each in step["fell_out"]
        ]
    for each in found["periods"]:
        numbers = ", ".join(f"{each[step]:,} {step}" for step in STEPS)
        said.append(f"{each['period']}: {quantities.counted(each['calls'], 'call')}; {numbers}")
    for each in found["days"]:
        even = "even" if each["balanced"] and not each["unexplained"] else "uneven"
        said.append(
            f"{each['day']}: {each['reported']:,} reported, {each['listed']:,} listed = {each['stored']:,} stored + "
            f"{each['explained']:,} explained: {even}"
        )
    return said


def _funnel(rows: list[Any]) -> dict[str, Any]:
    """The steps with what fell out at each, the most frequent reason first. `share` is of the calls one step before."""
    total: Counter[str] = Counter()
    reasons: dict[str, Counter[tuple[str, bool]]] = {step: Counter() for step in STEPS}
    said: dict[str, str] = {}
    called_back = calls = 0
    for row in rows:
        body = row.body
        calls += body["calls"]
        called_back += body["called_back"]
        total.update(body["reached"])
        said.update(body["said"])
        for name, waiting in (("out", False), ("waiting", True)):
            for step, found in body[name].items():
                reasons[step].update({(reason, waiting): number for reason, number in found.items()})
    before, steps = calls, []
    for step in STEPS:
        fell = [
            {"reason": reason, "waiting": waiting, "calls": number, "sentence": said.get(reason, "")}
            for (reason, waiting), number in reasons[step].most_common()
        ]
        share = round(total[step] / before, 4) if before else None
        steps.append({"step": step, "calls": total[step], "share": share, "fell_out": fell})
        before = total[step]
    return {"calls": calls, "called_back": called_back, "steps": steps}


def _period(day: date, by: str) -> str:
    if by == "week":
        year, week, _ = day.isocalendar()
        return f"{year}-W{week:02d}"
    return day.isoformat() if by == "day" else f"{day:%Y-%m}" if by == "month" else "all"
