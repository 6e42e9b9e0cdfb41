"""Bucket -> Recordings: objects that other systems put into the object store.

A listing is compared with the table `objects` in two ways. The *full* scan (nightly) lists a bucket from its first key
to its last; it saves its position after every piece and resumes there after a crash. The *quick* scan (every few
minutes) lists small buckets whole, but of large ones only the day folders since shortly before the last scan, so that
a bucket with years of calls costs one request. A large bucket without day folders is scanned nightly, or at once when a
notification or a person names a folder.

A job works for a minute and then enqueues its successor, so that a first scan of years of audio delays no live call.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ml_backend import db, log, tables
from ml_backend.context import Context, JobContext
from ml_backend.errors import ConfigurationError
from ml_backend.jobs import enqueueing, failpoints, job_kinds
from ml_backend.storage.object_store import ObjectInfo
from ml_backend.tables import checkpoints, objects
from sync.objects import joins, listing_differences, pairs
from sync.objects import object_rows as found_objects
from sync.recordings import layouts

EVERYTHING = "*"
PAGE = 1000
SLICE_S = 60.0  # of one job
NOTE_EVERY = 10  # pages without news after which the position is saved
OVERLAP_DAYS = 2
SMALL = 2000  # keys; a bucket up to this size is always listed whole

_log = log.get("scan")


@dataclass
class Report:
    """The result of a scan."""

    bucket: str
    full: bool
    listed: int = 0
    counts: Counter[str] = field(default_factory=Counter)  # new, altered, back, gone, joined, paired, and reasons
    finished: bool = True
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "bucket": self.bucket,
            "full": self.full,
            "listed": self.listed,
            "finished": self.finished,
            "counts": dict(sorted(self.counts.items())),
            "note": self.note,
        }


@dataclass(frozen=True)
class _Stretch:
    """Keys that start with `prefix` and come after `after`."""

    prefix: str = ""
    after: str = ""

    @property
    def end(self) -> str | None:
        """The first key beyond the prefix."""
        return self.prefix[:-1] + chr(ord(self.prefix[-1]) + 1) if self.prefix else None


def scan_bucket(context: JobContext, bucket: str, full: int = 0, prefix: str = "") -> None:
    """Bucket -> Recordings, and their ingest. Safe to repeat, and to run concurrently."""
    if bucket == EVERYTHING:
        with context.db.transaction() as connection:
            for name in buckets(context):
                enqueue(connection, name, full=bool(full))
        return
    if bucket not in buckets(context):
        return
    ends = time.monotonic() + SLICE_S
    report = run(context, bucket, full=bool(full), prefix=prefix, more=lambda seen: time.monotonic() < ends)
    context.report(1.0, f"{report.listed} objects, {sum(report.counts.values())} changes")
    if report.counts:
        _log.info("bucket scanned", bucket=bucket, full=bool(full), listed=report.listed, counts=dict(report.counts))
    if not report.finished:
        with context.db.transaction() as connection:
            enqueue(connection, bucket, full=True)


def enqueue(
    connection: sa.Connection, bucket: str, *, full: bool = False, prefix: str = "", due_at: datetime | None = None
) -> int:
    """Enqueue a scan; gives the job's id."""
    what = "full" if full else prefix or "quick"
    return enqueueing.enqueue(
        connection, job_kinds.SCAN_BUCKET, key=f"{bucket}:{what}", due_at=due_at,
        priority=job_kinds.BULK if full else job_kinds.LIVE,
        bucket=bucket, full=int(full), prefix=prefix,
    )  # fmt: skip


def buckets(context: Context) -> list[str]:
    """The buckets to scan; never our own bucket for normalised audio."""
    names = [name.strip() for name in context.settings.scan_buckets.split(",")]
    return [name for name in dict.fromkeys(names) if name and name != context.settings.audio_bucket]


def run(
    context: Context, bucket: str, *, full: bool, prefix: str = "", more: Callable[[Report], bool] = lambda seen: True
) -> Report:
    """Compare until done, or until `more` is false: then `finished` is False and the next full scan resumes there."""
    report = Report(bucket, full)
    begun_at = tables.now()
    memory = _position(context, bucket)
    running = _position(context, f"{bucket}:full") if full else {}
    stretches = [_Stretch(after=running.get("after", ""))] if full else _stretches(context, bucket, prefix, memory)
    walk = _Walk(context, report, running if full else None)
    try:
        for stretch in stretches:
            walk.stretch(stretch, more)
    except ConfigurationError as error:
        if error.code != "bucket-missing" or _knows(context, bucket):
            raise
        report.note = f"There is no bucket {bucket}."
        return report
    report.counts += joins.settle(context, bucket)
    report.counts += pairs.settle(context, bucket, since=None if full else begun_at - timedelta(days=1))
    if full and report.finished:
        _note(context, f"{bucket}:full", {}, state="done")
        memory |= {"roots": sorted(walk.roots), "keys": walk.keys}
    if report.finished and not prefix:
        _note(context, bucket, {**memory, "looked_at": begun_at.isoformat()}, state="done")
    return report


def preview(context: Context, bucket: str, *, full: bool) -> Iterator[tuple[int, list[ObjectInfo]]]:
    """(objects listed, those that would be new or altered) page by page; nothing is changed."""
    for stretch in [_Stretch()] if full else _stretches(context, bucket, "", _position(context, bucket)):
        after, known = stretch.after, _known(context, bucket, stretch)
        for page, last in _pages(context.store.list(bucket, prefix=stretch.prefix, start_after=after)):
            found = list(listing_differences.of_page(page, known, after=after, last=last, at_most=2 * PAGE))
            yield len(page), [info for each in found for info in each.appeared]
            after = page[-1].key if page else after


class _Walk:
    """One pass over a bucket; a full pass saves its position after every piece."""

    def __init__(self, context: Context, report: Report, running: dict[str, Any] | None) -> None:
        self.context, self.report, self.noted = context, report, running is not None
        self.roots: set[str] = set((running or {}).get("roots", ()))
        self.keys = int((running or {}).get("keys", 0))

    def stretch(self, stretch: _Stretch, more: Callable[[Report], bool]) -> None:
        """Compare page by page."""
        after, quiet = stretch.after, 0
        known = _known(self.context, self.report.bucket, stretch)
        listing = self.context.store.list(self.report.bucket, prefix=stretch.prefix, start_after=after)
        for page, last in _pages(listing):
            news = False
            for found in listing_differences.of_page(page, known, after=after, last=last, at_most=2 * PAGE):
                news |= self._take(found)
            self._learn(page)
            after = page[-1].key if page else after
            quiet = 0 if news else quiet + 1
            if self.noted and not last and (news or quiet % NOTE_EVERY == 0):
                position = {"after": after, "roots": sorted(self.roots), "keys": self.keys}
                _note(self.context, f"{self.report.bucket}:full", position, state="running")
                failpoints.hit("scan.after-page")
            if not more(self.report) and self.noted and not last:
                self.report.finished = False
                return

    def _take(self, found: listing_differences.Differences) -> bool:
        for begin in range(0, len(found.appeared), found_objects.CHUNK):
            some = found.appeared[begin : begin + found_objects.CHUNK]
            self.report.counts += found_objects.appeared(self.context, self.report.bucket, some)
        for begin in range(0, len(found.gone), found_objects.CHUNK):
            some_keys = found.gone[begin : begin + found_objects.CHUNK]
            self.report.counts += found_objects.gone(self.context, self.report.bucket, some_keys)
        return bool(found.appeared or found.gone)

    def _learn(self, page: Sequence[ObjectInfo]) -> None:
        self.report.listed += len(page)
        self.keys += len(page)
        for folder in {found.key.rpartition("/")[0] for found in page}:
            root = layouts.day_root(f"{folder}/x")
            if root is not None:
                self.roots.add(root)


def _known(context: Context, bucket: str, stretch: _Stretch) -> listing_differences.Known:
    """Our rows of a bucket in the order of a listing, read in pieces."""
    columns = (objects.c.object_key, objects.c.etag, objects.c.size_bytes, objects.c.state)
    base = sa.select(*columns).where(objects.c.bucket == bucket).order_by(objects.c.object_key)
    if stretch.end:
        base = base.where(objects.c.object_key < stretch.end)

    def rows(after: str, end: str | None, at_most: int) -> Sequence[Any]:
        statement = base.where(objects.c.object_key > after).limit(at_most)
        return context.db.rows(statement if end is None else statement.where(objects.c.object_key <= end))

    return rows


def _pages(listing: Iterator[ObjectInfo]) -> Iterator[tuple[list[ObjectInfo], bool]]:
    """(page, whether it is the last) for each page; an empty listing is one empty page."""
    page = list(itertools.islice(listing, PAGE))
    while True:
        following = list(itertools.islice(listing, PAGE)) if len(page) == PAGE else []
        yield page, not following
        if not following:
            return
        page = following


def _stretches(context: Context, bucket: str, prefix: str, memory: dict[str, Any]) -> list[_Stretch]:
    """The ranges of keys that a quick scan lists."""
    if prefix:
        return [_Stretch(prefix=prefix)]
    if memory.get("keys", SMALL + 1) <= SMALL:
        return [_Stretch()]
    now = tables.now()
    looked_at = datetime.fromisoformat(memory["looked_at"]) if "looked_at" in memory else now
    first = layouts.since(min(now, looked_at), OVERLAP_DAYS)
    roots = memory.get("roots") or (["recordings/"] if bucket == context.settings.recordings_bucket else [])
    return [_Stretch(prefix=root or "20", after=layouts.day_prefix(root, first)) for root in roots]  # "20": the years


def expected(context: Context, bucket: str) -> int | None:
    """How many objects the last full scan listed."""
    return _position(context, bucket).get("keys")


def _knows(context: Context, bucket: str) -> bool:
    known = sa.select(objects.c.object_key).where(
        objects.c.bucket == bucket, objects.c.state != listing_differences.LOST
    )
    return bool(context.db.rows(known.limit(1)))


def _position(context: Context, name: str) -> dict[str, Any]:
    rows = context.db.rows(sa.select(checkpoints).where(checkpoints.c.name == f"scan:{name}"))
    return dict(rows[0].position) if rows else {}


def _note(context: Context, name: str, position: dict[str, Any], *, state: str) -> None:
    values = {"name": f"scan:{name}", "position": position, "state": state, "updated_at": tables.now()}
    with context.db.transaction() as connection:
        db.upsert(connection, checkpoints, values, key=("name",))
