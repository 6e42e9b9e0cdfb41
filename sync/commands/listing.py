"""`sync exotel`: Exotel's listing of weeks or months -> the ledger, in this process; or an estimate (`--dry-run`).

It may be ended at any moment: every page is committed, and the next run with the same `--since` continues. Its calls
wait behind live ones.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from ml_backend import log, settings, tables
from ml_backend.calls.events import zone_of
from ml_backend.commands import printing
from ml_backend.context import Context, open_context
from ml_backend.errors import InvalidInput, RetryableError
from ml_backend.jobs import job_kinds
from ml_backend.settings import Settings
from ml_backend.views.queries import YEARS
from sync.exotel import exotel_client as provider
from sync.exotel import listing, rate_limiter, stops
from sync.objects import estimate

TRIES = 20  # consecutive failures to read a page
NAME = "since-{since:%Y-%m-%dT%H%M}"


def exotel(
    since: Annotated[str, typer.Option(help="First day or time, in EXOTEL_TIME_ZONE, e.g. 2026-09-01.")],
    until: Annotated[str | None, typer.Option(help="Last day (included) or time; empty is now.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the calls, hours, compute and tasks that would come of it.")
    ] = False,
    speed: Annotated[
        float | None, typer.Option(min=0.01, help="For --dry-run: seconds of audio your workers transcribe per second.")
    ] = None,
    as_json: printing.AsJson = False,
) -> None:
    """Read Exotel's call listing into the ledger. End it with Ctrl-C at any time; the same command goes on there.

    Example: python -m ml_backend sync exotel --since 2026-09-01 --dry-run
    """
    found = settings.load()
    context = open_context(found)
    log.configure(found, "sync", quiet=True)
    begin, end = window(found, since, until)
    if dry_run:
        facts = look(context, begin, end, speed=speed)
        printing.result(facts, "\n".join(facts["sentences"]), as_json=as_json)
        return
    walk = listing.begin(
        context, NAME.format(since=begin.astimezone(UTC)), since=begin, until=end, priority=job_kinds.BULK
    )
    if walk is None:
        raise InvalidInput("back-fill-running", "Another back-fill is running.", "Wait until it is done, or end it.")
    went_on = walk.at > walk.since
    try:
        _read(context, walk, quiet=as_json)
    except KeyboardInterrupt:
        typer.echo("Ended. The same command goes on from here.", err=True)
        raise typer.Exit(130) from None
    finally:
        listing.leave(context, walk)
    facts = {
        "since": begin.isoformat(), "until": end.isoformat(), "went_on": went_on, "pages": walk.pages,
        "calls": walk.kept.calls, "new": walk.kept.new, "with_recording": walk.kept.with_recording,
    }  # fmt: skip
    sentence = (
        f"{'Went on and read' if went_on else 'Read'} {facts['calls']} calls: {facts['new']} were not known, "
        f"{facts['with_recording']} have a recording. Their recordings are fetched behind live calls."
    )
    printing.result(facts, sentence, as_json=as_json)


def window(found: Settings, since: str, until: str | None) -> tuple[datetime, datetime]:
    """The two times; InvalidInput if one is malformed, they are reversed, or older than Exotel lists."""
    now = tables.now()
    begin = _moment(found, since)
    end = now if until is None else min(now, _moment(found, until, end_of_day=True))
    if begin >= end:
        raise InvalidInput("window-empty", "--since is not before --until.", "Exchange them, or leave --until out.")
    listing.refuse_too_old(found, begin)
    return begin, end


def look(context: Context, since: datetime, until: datetime, *, speed: float | None = None) -> dict[str, Any]:
    """Estimate a back-fill from the first page of each month: one request each. Changes nothing."""
    client = provider.client_of(context)
    total, seen, recorded, seconds = 0, 0, 0, 0.0
    at = since
    while at < until:
        end = min(at + listing.WINDOW, until)
        page = client.page(listing.first_of(client, context.settings, at, end))
        count = page.total if page.total is not None else len(page.calls)
        total, seen = total + count, seen + len(page.calls)
        share = count / len(page.calls) if page.calls else 0.0
        with_one = [row for row in page.calls if row.get("RecordingUrl")]
        recorded += round(len(with_one) * share)
        seconds += sum(_seconds(row.get("Duration")) for row in with_one) * share
        at = end
    basis = f"from the first {seen} of {total} listed calls, month by month; durations include the ringing."
    result = estimate.of_calls(context, calls=recorded, audio_s=seconds, basis=basis, speed=speed)
    requests = math.ceil(total / provider.PAGE_SIZE)
    minutes = max(1, math.ceil(requests / context.settings.exotel_requests_per_minute))
    sentences = [
        f"Exotel lists {total} calls; about {recorded} of them have a recording.",
        f"Reading the listing takes {requests} requests, about {minutes} minutes at EXOTEL_REQUESTS_PER_MINUTE.",
        *result.sentences(),
        "Nothing was changed.",
    ]
    return {"dry_run": True, "listed": total, "requests": requests, **result.as_dict(), "sentences": sentences}


def _read(context: Context, walk: listing.Walk, *, quiet: bool) -> None:
    """Read to the end; wait and retry when Exotel is busy or the connection is lost."""
    with printing.moving("{task.percentage:>3.0f} %", quiet=quiet) as bar:
        line = bar.add_task("reading", total=1000, completed=round(1000 * walk.fraction))
        tries = 0

        def page_read() -> None:
            nonlocal tries
            tries = 0
            said = f"{walk.at:%Y-%m-%d}: {walk.kept.calls} calls, {walk.kept.new} new"
            bar.update(line, completed=round(1000 * walk.fraction), description=said)

        while True:
            try:
                listing.go(context, walk, on_page=page_read)
                stops.accepted(context)
                return
            except RetryableError as error:
                tries += 1
                if tries >= TRIES or error.code == "lease-lost":
                    raise
                _wait(rate_limiter.pause_s(error, tries), error, lambda text: bar.update(line, description=text))


def _wait(seconds: float, error: RetryableError, say: Callable[[str], None]) -> None:
    say(f"waiting {seconds:.0f} s: {error.sentence}")
    time.sleep(seconds)


def _moment(found: Settings, text: str, *, end_of_day: bool = False) -> datetime:
    zone = zone_of(found.exotel_time_zone)
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        moment = None
    if moment is None or moment.year not in YEARS:
        raise InvalidInput("bad-time", "That is no day or time.", "Write it as 2026-09-01 or 2026-09-01T12:30.")
    if end_of_day and len(text.strip()) <= 10:
        moment = moment.replace(hour=23, minute=59, second=59)
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def _seconds(value: Any) -> float:
    """Exotel's Duration: a number, a quoted number, or empty."""
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return 0.0
    return seconds if 0 <= seconds < 86400 else 0.0
