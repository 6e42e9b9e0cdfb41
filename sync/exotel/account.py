"""Exotel account -> findings for the operator: does the API answer, and is EXOTEL_TIME_ZONE right?

Exotel's times carry no zone. A wrong EXOTEL_TIME_ZONE moves every call, and the listing's windows, by hours. So the
setting is checked against one known fact: a callback arrives within minutes after its call ended.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from datetime import timedelta

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context
from ml_backend.tables import calls, events
from sync.exotel import exotel_client as exotel
from sync.exotel import listing
from sync.outbound import origins

LATEST, ENOUGH = 50, 5
ODD = timedelta(minutes=75)  # more than the delay of a callback, less than the step between most zones


def look(context: Context) -> Iterator[tuple[bool, str, str]]:
    """(whether it is well, sentence, next step) for each check. Raises our errors when Exotel does not answer."""
    entries = origins.listed(context.settings)
    private = sum(entry.may_be_private for entry in entries)
    yield True, f"Recordings are fetched from {len(entries)} listed origins, {private} of them may be private.", ""
    client, now = exotel.client_of(context), tables.now()
    page = client.page(listing.first_of(client, context.settings, now - timedelta(days=1), now))
    yield True, f"The API answers; it lists {page.total or len(page.calls)} calls of the last day.", ""
    odd = zone_difference(context)
    if odd is not None and abs(odd) > ODD:
        hours = odd.total_seconds() / 3600
        yield (
            False,
            f"Callbacks come {abs(hours):.1f} hours {'after' if hours > 0 else 'before'} the end that Exotel names.",
            "Exotel's times are probably in another zone than EXOTEL_TIME_ZONE says: correct it.",
        )


def zone_difference(context: Context) -> timedelta | None:
    """The median time from the end of a call to its callback; None while too few are known."""
    mine = sa.and_(events.c.call_sid == calls.c.call_sid, events.c.source == "exotel", calls.c.ended_at.is_not(None))
    found = sa.select(events.c.created_at, calls.c.ended_at).select_from(events.join(calls, mine))
    rows = context.db.rows(found.order_by(events.c.id.desc()).limit(LATEST))
    if len(rows) < ENOUGH:
        return None
    return timedelta(seconds=statistics.median((row.created_at - row.ended_at).total_seconds() for row in rows))
