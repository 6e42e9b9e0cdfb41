"""Looking through the object store: a full comparison of 100,000 keys, and a look when nothing has changed.

The bare side is the S3 client's own listing of the same bucket, thrown away. The server is a stub in a process of its
own that answers ready pages of 1,000 keys; only our side's CPU counts: listing, reading our rows, comparing, and
writing down how far we came.
"""

from __future__ import annotations

import bisect
import hashlib
import http.server
import multiprocessing
import tempfile
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from pydantic import SecretStr

from bench import ratios
from bench.ratios import alternate, own_cpu_s
from ml_backend import db, tables
from ml_backend.context import Context, open_context
from ml_backend.settings import Settings
from ml_backend.storage.s3_store import S3Store
from sync.objects import scan

BUCKET, KEYS, PER_DAY, PAGE, ROUNDS = "call-recordings", 100_000, 274, 1000, 5
NEW = 10
ETAG, SIZE_BYTES = "0123456789abcdef0123456789abcdef", 160_044
MODIFIED = "2026-01-01T10:00:00.000Z"


def rows(*, quick: bool = False) -> Iterator[dict[str, Any]]:
    """One result at a time, for the table and `results.json`."""
    with tempfile.TemporaryDirectory() as folder, _serving(KEYS) as (port, new):
        context = _context(Path(folder), port, KEYS)
        try:
            yield from _rows(context, new, 1 if quick else ROUNDS)
        finally:
            context.db.dispose()


def _rows(context: Context, new: Any, rounds: int) -> Iterator[dict[str, Any]]:
    store = cast(S3Store, context.store)

    def bare() -> float:
        return own_cpu_s(lambda: _list(store))

    def full() -> float:
        return own_cpu_s(lambda: _expect(_scan(context, full=True), listed=KEYS))

    def look() -> float:
        return own_cpu_s(lambda: _expect(_scan(context, full=False), listed=None))

    bare(), full(), look()  # warm, and the full one writes down where the days are
    yield ratios.row(
        f"full comparison of {KEYS:,} keys / the client's bare listing, CPU",
        alternate(bare, full, rounds=rounds),
        alternate(bare, bare, rounds=rounds),
        target=1.15,
        at_least=False,
    )
    pairs = alternate(full, look, rounds=rounds)
    yield ratios.row(
        f"no-change look / full comparison of {KEYS:,} keys, CPU",
        pairs,
        alternate(look, look, rounds=4 * rounds),
        target=0.02,
        at_least=False,
        look_ms=round(sum(b for _, b in pairs) / len(pairs) * 1000, 1),
    )
    new.value = NEW  # the comparison that was measured does find what is new
    found = _scan(context, full=True).counts["new"]
    if found != NEW:
        raise AssertionError(f"the comparison found {found} of {NEW} new objects")


def _list(store: S3Store) -> int:
    """What the client library does by itself."""
    return sum(1 for _ in store._client.list_objects(BUCKET, recursive=True))


def _scan(context: Context, *, full: bool) -> scan.Report:
    return scan.run(context, BUCKET, full=full)


def _expect(report: scan.Report, *, listed: int | None) -> None:
    if report.counts or (listed is not None and report.listed != listed):
        raise AssertionError(f"{report.listed} objects listed, {dict(report.counts)}: nothing should have changed")


def _context(folder: Path, port: int, keys: int) -> Context:
    """A database that knows every key."""
    settings = Settings(
        _env_file=None,
        data_dir=folder,
        object_store="s3://",
        minio_endpoint=f"127.0.0.1:{port}",
        minio_secure=False,
        minio_access_key=SecretStr("bench"),
        minio_secret_key=SecretStr("bench-bench-bench"),
    )
    db.upgrade(settings.database)
    context = open_context(settings)
    known = {"bucket": BUCKET, "etag": ETAG, "size_bytes": SIZE_BYTES, "state": "taken", "seen_at": tables.now()}
    values = [{**known, "object_key": key, "name": key.rpartition("/")[2][:-4]} for key in _keys(keys)]
    with context.db.transaction() as connection:
        connection.execute(sa.insert(tables.objects), values)
    return context


def _keys(count: int) -> list[str]:
    """Call recordings of the last year, in the layout in use, in the order of a listing."""
    today = datetime.now(UTC).date()
    found = []
    for number in range(count):
        day = today - timedelta(days=number // PER_DAY)
        found.append(f"recordings/{day:%Y/%m/%d}/{hashlib.sha256(str(number).encode()).hexdigest()[:32]}.wav")
    return sorted(found)


@contextmanager
def _serving(keys: int) -> Iterator[tuple[int, Any]]:
    """The port of the stub, and how many unknown objects it shows beside the others."""
    forked = multiprocessing.get_context("fork")
    ports, new = forked.Queue(), forked.Value("i", 0)
    process = forked.Process(target=_serve, args=(keys, ports, new), daemon=True)
    process.start()
    try:
        yield ports.get(timeout=60), new
    finally:
        process.terminate()
        process.join(10)


def _serve(count: int, ports: Any, new: Any) -> None:
    known, pages = _keys(count), {}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query, keep_blank_values=True)
            if "location" in asked:
                body = b'<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>'
            else:
                after = (asked.get("continuation-token") or asked.get("start-after") or [""])[0]
                place = (after, asked.get("prefix", [""])[0], new.value)
                body = pages.get(place) or pages.setdefault(place, _page(known, *place))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ports.put(server.server_port)
    server.serve_forever()


def _page(known: list[str], after: str, prefix: str, new: int) -> bytes:
    keys = sorted(known + [f"recordings/new-{number}.wav" for number in range(new)]) if new else known
    begin = bisect.bisect_right(keys, after)
    some = [key for key in keys[begin : begin + PAGE] if key.startswith(prefix)]
    more = begin + PAGE < len(keys)
    contents = "".join(
        f"<Contents><Key>{key}</Key><LastModified>{MODIFIED}</LastModified><ETag>&quot;{ETAG}&quot;</ETag>"
        f"<Size>{SIZE_BYTES}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for key in some
    )
    token = f"<NextContinuationToken>{some[-1]}</NextContinuationToken>" if more else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{BUCKET}</Name><Prefix>{prefix}</Prefix><KeyCount>{len(some)}</KeyCount><MaxKeys>{PAGE}</MaxKeys>"
        f"<EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>{token}{contents}"
        "</ListBucketResult>"
    ).encode()
