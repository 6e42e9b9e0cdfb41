"""The way in: a callback with its durable commit beside a route that only acknowledges; ingest beside a bare decode.

The callbacks go to the real web process over real connections, and each is another event, so that every one is
committed with full durability. Rates are what eight connections get out of one process; the times are taken at 50 a
second, the load the receiver is made for. CPU is the measure of ingest, its decoder's process included.
"""

from __future__ import annotations

import http.client
import itertools
import json
import statistics
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import sqlalchemy as sa

from bench import ratios
from bench.servers import ROOT, serving
from ml_backend import db, tables
from ml_backend.audio import decoder_pool, decoding
from ml_backend.context import JobContext, open_context
from ml_backend.settings import Settings
from sync.recordings.ingest import ingest_recording

SECRET = "bench-webhook-secret-0000"  # noqa: S105 - of a server that lives for a minute on this machine
CONNECTIONS, A_SECOND = 8, 50
CALL_S, TOGETHER = 60.0, 4


def rows(*, quick: bool = False) -> Iterator[dict[str, Any]]:
    """The rows of this part."""
    yield callbacks(quick=quick)
    yield ingest(quick=quick)


def callbacks(*, quick: bool) -> dict[str, Any]:
    """p50, p99 and rate of durable callbacks, beside a route of the same server that only answers."""
    with tempfile.TemporaryDirectory(prefix="kaan-bench-") as name:
        folder = Path(name)
        (folder / "ready.json").write_text('{"status": "ok"}')
        db.upgrade(Settings(_env_file=None, data_dir=folder).database)
        with serving(folder, EXOTEL_WEBHOOK_SECRET=SECRET) as (port, _):
            numbers, sides = itertools.count(), {"durable": f"/webhooks/exotel/{SECRET}", "bare": "/bare"}
            rates: dict[str, list[float]] = {side: [] for side in sides}
            times: dict[str, list[float]] = {side: [] for side in sides}
            _rate(port, sides["durable"], numbers, 1.0)  # warm
            for _ in range(1 if quick else 5):
                for side, path in sides.items():
                    rates[side].append(_rate(port, path, numbers, 1.0 if quick else 4.0))
                    times[side] += _times(port, path, numbers, 2.0 if quick else 5.0)
        kept = db.Database(Settings(_env_file=None, data_dir=folder).database)
        lost = _DURABLE[0] - _kept(kept)
        kept.dispose()
    found = {
        side: {
            "per_second": round(statistics.median(rates[side])),
            "p50_ms": round(statistics.median(times[side]) * 1000, 1),
            "p99_ms": round(sorted(times[side])[int(len(times[side]) * 0.99)] * 1000, 1),
        }
        for side in sides
    }
    p99 = found["durable"]["p99_ms"]
    return {
        "name": f"a callback with its durable commit at {A_SECOND} a second: p99 in ms",
        "value": p99,
        "target": "<= 250",
        "met": p99 <= 250 and lost <= 0,
        "rate_to_bare": round(found["durable"]["per_second"] / found["bare"]["per_second"], 3),
        **found,
    }


_DURABLE = [0]


def _kept(database: db.Database) -> int:
    with database.reading() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(tables.events)).scalar_one())


def _post(connection: http.client.HTTPConnection, path: str, number: int) -> None:
    body = json.dumps(
        {
            "CallSid": f"{number:032x}", "EventType": "terminal", "Status": "completed", "Direction": "incoming",
            "From": "00000000101", "To": "00000000202", "StartTime": "2026-11-22 10:00:00",
            "EndTime": "2026-11-22 10:01:00", "ConversationDuration": 60, "RecordingUrl": "",
        }
    )  # fmt: skip
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200:
        raise AssertionError(f"{path.rpartition('/')[0]} answered {answer.status}")
    if path != "/bare":
        _DURABLE[0] += 1


def _rate(port: int, path: str, numbers: Iterator[int], seconds: float) -> float:
    """Requests a second over eight connections."""
    done, ends_at = [0] * CONNECTIONS, time.monotonic() + seconds

    def send(place: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while time.monotonic() < ends_at:
            _post(connection, path, next(numbers))
            done[place] += 1
        connection.close()

    threads = [threading.Thread(target=send, args=(place,)) for place in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / seconds


def _times(port: int, path: str, numbers: Iterator[int], seconds: float) -> list[float]:
    """Seconds each request took, at a fixed pace."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    taken, begun = [], time.monotonic()
    for turn in range(int(seconds * A_SECOND)):
        time.sleep(max(0.0, begun + turn / A_SECOND - time.monotonic()))
        at = time.monotonic()
        _post(connection, path, next(numbers))
        taken.append(time.monotonic() - at)
    connection.close()
    return taken


def ingest(*, quick: bool) -> dict[str, Any]:
    """Original -> measured, hashed, stored, in the database; against decoding and resampling into a file."""
    with tempfile.TemporaryDirectory(prefix="kaan-bench-") as name:
        folder = Path(name)
        call = _call(folder)
        settings = Settings(_env_file=None, data_dir=folder / "data", min_free_disk_mb=0)
        db.upgrade(settings.database)
        context = open_context(settings)
        context.store.ensure_bucket("call-recordings")
        decoding.decode(call, folder / "warm.wav")  # starts the decoder's process
        numbers = itertools.count()

        job = JobContext(context.settings, context.db, context.store, context.kept)

        def ours() -> float:
            ids = [_stored(context, call, next(numbers)) for _ in range(TOGETHER)]
            decoding.decode(call, folder / "warm.wav")  # a fork's CPU is counted when the next one begins
            took = _cpu_s(lambda: [ingest_recording(job, one) for one in ids])
            for one in ids:
                row = context.db.row(tables.recordings, one)
                if row.state != "ready" or abs(row.duration_s - CALL_S) > 0.5:
                    raise AssertionError(f"the call was not ingested: {row.state}, {row.reason}")
            return took / TOGETHER

        def bare() -> float:
            return _cpu_s(lambda: [_bare(call) for _ in range(TOGETHER)]) / TOGETHER

        def nothing_kept() -> float:
            return _cpu_s(lambda: [deque(_pieces(call), maxlen=0) for _ in range(TOGETHER)]) / TOGETHER

        ours(), bare()
        pairs = ratios.alternate(bare, ours, rounds=3 if quick else 9)
        control = ratios.alternate(bare, bare, rounds=3 if quick else 9)
        least = statistics.median(nothing_kept() for _ in range(3 if quick else 9))
        context.db.dispose()
    return ratios.row(
        "ingest of a 60 s call / decoding and resampling it", pairs, control, target=1.5, at_least=False,
        bare_s=round(statistics.median(pair[0] for pair in pairs), 3),
        ours_s=round(statistics.median(pair[1] for pair in pairs), 3),
        decoding_and_resampling_with_nothing_kept_s=round(least, 3),
    )  # fmt: skip


def _cpu_s(work: Callable[[], Any]) -> float:
    """With the decoder's process, by the kernel's accounting; several times, because its clock is coarse."""
    return ratios.own_cpu_s(work, child=decoder_pool.process_id())


def _stored(context: Any, call: Path, number: int) -> int:
    """One more recording in the store: other bytes at its end, so that nothing of it is there already."""
    key = f"recordings/2026/11/22/bench-{number}.mp3"
    context.store.put_bytes("call-recordings", key, call.read_bytes() + number.to_bytes(4, "big"))
    values = {"source": "object", "source_identity": f"s3://call-recordings/{key}", "bucket": "call-recordings",
              "object_key": key, "state": "found"}  # fmt: skip
    with context.db.transaction() as connection:
        return db.insert_once(connection, tables.recordings, values, key=("source", "source_identity"))[0]


def _bare(call: Path) -> Any:
    """The samples at 16 kHz in memory, by the usual loop."""
    return np.concatenate([piece.to_ndarray()[0] for piece in _pieces(call)])


def _pieces(call: Path) -> Iterator[av.AudioFrame]:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
    with av.open(str(call)) as source:
        for frame in source.decode(audio=0):
            yield from resampler.resample(frame)


def _call(folder: Path) -> Path:
    """A minute of telephone speech as MP3, from the bundled calls."""
    speech = [_samples(path) for path in sorted((ROOT / "ml_backend" / "bundled" / "calls").glob("*.wav"))]
    minute = np.concatenate(speech * 4)[: int(CALL_S * 8000)]
    target = folder / "call.mp3"
    with av.open(str(target), "w", format="mp3") as out:
        stream = out.add_stream("mp3", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(minute[None, :], format="s16", layout="mono")
        frame.rate = 8000
        for piece in av.AudioResampler(format="s16p", layout="mono", rate=8000, frame_size=576).resample(frame):
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    return target


def _samples(path: Path) -> Any:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=8000)
    with av.open(str(path)) as source:
        return np.concatenate([p.to_ndarray()[0] for f in source.decode(audio=0) for p in resampler.resample(f)])
