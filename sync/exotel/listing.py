"""Exotel's listing -> the ledger. The listing guarantees completeness; callbacks are the fast path.

It is read every 15 minutes over the last 2 hours, hourly over 24, daily over 7 days. The windows overlap, so a call
that is listed late or moves between two pages is read again; merging makes that harmless. Exotel does not list calls
in progress, so a window is final only 4 h 15 min after its end. The daily run begins where the final part ends, so it
also covers a long outage, up to the six months that Exotel lists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.engine import Connection

from ml_backend import log, tables
from ml_backend.calls.events import zone_of
from ml_backend.calls.states import LONGEST_CALL
from ml_backend.context import Context, JobContext
from ml_backend.errors import ConfigurationError, InvalidInput, RetryableError
from ml_backend.jobs import failpoints, job_kinds
from ml_backend.jobs.runner import new_owner
from ml_backend.settings import Settings
from sync.exotel import exotel_client as exotel
from sync.exotel import lookups, rate_limiter, reader_positions, stops
from sync.exotel.listed_rows import Kept, created, keep

WINDOW = timedelta(days=28)  # at most: Exotel accepts one month, and the shortest has 28 days
OVERLAP = timedelta(minutes=1)
GOES_ON = timedelta(minutes=15)  # a reconciling run that stopped more recently is resumed; an older one begins again
MONTHS_BACK = 6
CATCHING_UP_H = 7 * 24  # a run this long also covers the gap an outage left

_log = log.get("listing")


@dataclass
class Walk:
    """One pass over the listing. `at` only grows: every call created before it is in the ledger."""

    name: str
    since: datetime
    until: datetime
    at: datetime
    priority: int = job_kinds.LIVE
    owner: str = field(default_factory=lambda: new_owner("listing"))
    pages: int = 0
    kept: Kept = field(default_factory=Kept)

    @property
    def lease(self) -> str:
        """A back-fill and a reconciling run may run together; two of the same kind may not."""
        kind = "back-fill" if self.priority == job_kinds.BULK else "reconcile"
        return f"listing-lease:{kind}"

    @property
    def fraction(self) -> float:
        whole = (self.until - self.since).total_seconds()
        return 1.0 if whole <= 0 else min(1.0, (self.at - self.since).total_seconds() / whole)


def reconcile_calls(context: JobContext, hours: int) -> None:
    """The last `hours` of Exotel's listing -> the ledger. Does nothing without an account or with a refused key."""
    lookups.take_up(context)
    if not exotel.is_set(context.settings) or stops.until(context):
        return
    now = tables.now()
    since = now - timedelta(hours=hours)
    if hours >= CATCHING_UP_H and (final := final_until(context)):
        since = min(since, final)
    floor = earliest(context.settings, now)
    if since < floor:
        _log.error("some calls were never read and are now too old for Exotel's listing", since=since.isoformat())
        since = floor
    walk = begin(context, f"last-{hours}h", since=since, until=now)
    if walk is None:
        _log.info("another process is reading the listing", hours=hours)
        return
    try:
        go(context, walk, on_page=lambda: context.report(walk.fraction, f"{walk.kept.calls} calls"))
    except ConfigurationError as error:
        if error.code == "http-unauthorised":
            stops.stop(context, error)
        raise
    except RetryableError as error:
        wait_s = rate_limiter.pause_s(error, context.attempt)
        raise RetryableError(error.code, error.sentence, error.next_step, after_s=wait_s) from error
    finally:
        leave(context, walk)


def begin(
    context: Context, label: str, *, since: datetime, until: datetime, priority: int = job_kinds.LIVE
) -> Walk | None:
    """Take the lease and resume where this walk stopped; None while another process has the lease."""
    name = f"listing:{context.settings.exotel_account_sid}:{label}"[:200]
    walk = Walk(name, since, until, since, priority=priority)
    with context.db.transaction() as connection:
        if not reader_positions.lease(connection, walk.lease, walk.owner):
            return None
        before = reader_positions.read(connection, name)
        if before is not None and before.state == "running":
            stopped_at = datetime.fromisoformat(before.position["at"])
            floor = earliest(context.settings, tables.now())
            lately = tables.now() - before.updated_at < GOES_ON
            if floor <= stopped_at < until and (priority == job_kinds.BULK or lately or stopped_at < since):
                walk.at = stopped_at
                walk.since = min(since, stopped_at)
                walk.pages = int(before.position.get("pages", 0))
        reader_positions.write(connection, name, _position(walk), state="running")
    return walk


def go(context: Context, walk: Walk, *, on_page: Callable[[], None] = lambda: None) -> None:
    """Read from `walk.at` to its end. Every page is committed before the next one is asked for."""
    begun_at = walk.at
    while walk.at < walk.until:
        end = min(walk.at + WINDOW, walk.until)
        _window(context, walk, end, on_page)
        walk.at = end if end == walk.until else max(walk.at, end - OVERLAP)
    with context.db.transaction() as connection:
        reader_positions.write(connection, walk.name, _position(walk), state="done")
    _finish(context, walk, begun_at)
    _log.info("listing read", pages=walk.pages, calls=walk.kept.calls, new=walk.kept.new)


def leave(context: Context, walk: Walk) -> None:
    """Give the lease back."""
    with context.db.transaction() as connection:
        reader_positions.release(connection, walk.lease, walk.owner)


def _window(context: Context, walk: Walk, end: datetime, on_page: Callable[[], None]) -> None:
    """One query and its pages. If the next link is missing or repeats, a new query starts at the current position."""
    client, settings = exotel.client_of(context), context.settings
    begin_at = walk.at
    path, asked, rows, total = first_of(client, settings, begin_at, end), set[str](), 0, 0
    while path:
        asked.add(path)
        page = client.page(path)
        at = _reached(page, walk.at, end, settings)
        keep(context, page.calls, walk.kept, priority=walk.priority, holds=lambda tx: _renew(tx, walk))
        walk.at, walk.pages = at, walk.pages + 1
        failpoints.hit("listing.before-checkpoint")
        with context.db.transaction() as connection:
            _renew(connection, walk)
            reader_positions.write(connection, walk.name, _position(walk), state="running")
        failpoints.hit("listing.after-page")
        on_page()
        rows, total = rows + len(page.calls), max(total, page.total or 0)
        path = page.next_path
        if path in asked or (not path and rows < total):
            if walk.at <= begin_at:
                if len(page.calls) < exotel.PAGE_SIZE and path not in asked:
                    return  # the count is not about this window
                raise _stuck()
            begin_at = walk.at
            path, asked, rows, total = first_of(client, settings, begin_at, end), set[str](), 0, 0


def _reached(page: exotel.ListingPage, at: datetime, end: datetime, settings: Settings) -> datetime:
    """How far the listing is read after this page: up to its last call, if the page is in order of time."""
    times = [time for row in page.calls if (time := created(row, settings)) is not None]
    if len(times) < len(page.calls) or times != sorted(times):
        return at
    return max(at, min(times[-1], end)) if times else at


def _renew(connection: Connection, walk: Walk) -> None:
    if not reader_positions.lease(connection, walk.lease, walk.owner):
        raise RetryableError(
            "lease-lost", "Another process took over reading the listing.", "Nothing to do: that process continues."
        )


def final_until(context: Context) -> datetime | None:
    """The end of the final part of the listing; None before the first run."""
    with context.db.reading() as connection:
        row = reader_positions.look(connection, _final_name(context.settings))
    return None if row is None else datetime.fromisoformat(row.position["final_until"])


def _finish(context: Context, walk: Walk, since: datetime) -> None:
    """Extend the final part by what this walk read and can no longer change, if the two join.

    A back-fill of past weeks never starts the final part: the daily run would then treat everything after it as live.
    """
    final = min(walk.until, tables.now() - LONGEST_CALL)
    name = _final_name(context.settings)
    with context.db.transaction() as connection:
        before = reader_positions.read(connection, name)
        reached = datetime.fromisoformat(before.position["final_until"]) if before is not None else None
        begun = datetime.fromisoformat(before.position["since"]) if before is not None else since
        if before is None and walk.priority == job_kinds.BULK:
            return
        if final <= since or (reached is not None and not (since <= reached < final)):
            return
        position = {"since": min(begun, since).isoformat(), "final_until": final.isoformat()}
        reader_positions.write(connection, name, position, state="final")


def earliest(settings: Settings, now: datetime) -> datetime:
    """The first moment Exotel still lists: six months ago in its own calendar, and one day later to be safe."""
    local = now.astimezone(zone_of(settings.exotel_time_zone))
    month0 = local.year * 12 + local.month - 1 - MONTHS_BACK
    year, month = divmod(month0, 12)
    day = local.replace(day=1, year=year, month=month + 1, hour=0, minute=0, second=0, microsecond=0)
    return day + timedelta(days=local.day)  # the day after the same day of the month; later if that month is shorter


def refuse_too_old(settings: Settings, since: datetime) -> None:
    """InvalidInput for a time that Exotel no longer lists; the error names the first day it lists."""
    first = earliest(settings, tables.now())
    if since < first:
        asked = since.astimezone(first.tzinfo)
        raise InvalidInput(
            "listing-too-old",
            f"Exotel lists the last six months only, from {first:%Y-%m-%d} on; {asked:%Y-%m-%d} was asked for.",
            f"Use --since {first:%Y-%m-%d}. Older audio in the object store is found by `sync objects`.",
        )


def first_of(client: exotel.ExotelClient, settings: Settings, since: datetime, until: datetime) -> str:
    """The path of a window's first page, in the provider's own time."""
    zone = zone_of(settings.exotel_time_zone)
    text = [time.astimezone(zone).strftime(exotel.TIME) for time in (since, until)]
    return client.first_page(since=text[0], until=text[1])


def _position(walk: Walk) -> dict[str, object]:
    times = {"since": walk.since.isoformat(), "until": walk.until.isoformat(), "at": walk.at.isoformat()}
    return {**times, "pages": walk.pages}


def _final_name(settings: Settings) -> str:
    return f"listing-final:{settings.exotel_account_sid}"[:200]


def _stuck() -> RetryableError:
    return RetryableError(
        "listing-stuck",
        "Exotel's listing says that more pages follow, but its next link is missing or repeats.",
        "It is asked again from the same place; report it to Exotel if it lasts.",
    )
