"""Redrafting after a promotion with ten thousand open tasks: linear, in short transactions, with callbacks beside it.

The project lies in a scripted Label Studio, and both versions' texts are there, so that what is measured is ours: the
comparison, the rendering, the rows. One side is the redraft of a half as many open tasks, the other of all of them, in
CPU seconds per task; the control is the smaller one measured twice. Meanwhile the real web process takes callbacks of
the phone system into the same database, at a fixed pace, and every transaction's time is taken from BEGIN to COMMIT;
the same callbacks before the redraft, with nothing of ours beside them, say what the machine itself takes.
"""

from __future__ import annotations

import http.client
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import ratios
from bench.servers import serving
from tests.sync.redrafts import Drafted, drafted

OPEN_TASKS, A_SECOND, ALONE_S = 10_000, 20, 15
LONGEST_S, MOST_MS, LINEAR = 0.2, 250.0, 1.15
SECRET = "bench-callback-secret-00"  # noqa: S105 - of a server that lives for a minute on this machine


def rows(*, quick: bool = False) -> Iterator[dict[str, Any]]:
    """The rows of this part."""
    number = OPEN_TASKS // 10 if quick else OPEN_TASKS
    rounds = 1 if quick else 2
    half, whole = (lambda: _cpu_per_task(number // 2)), (lambda: _cpu_per_task(number))
    control = ratios.alternate(half, half, rounds=rounds)
    pairs = ratios.alternate(half, whole, rounds=rounds)
    yield ratios.row(
        f"redraft after a promotion, CPU per task: {number} open tasks against {number // 2}",
        pairs, control, target=LINEAR, at_least=False,
        ms_per_task=round(1000 * statistics.median(each for _, each in pairs), 2),
    )  # fmt: skip
    yield from _with_callbacks(number)


def _cpu_per_task(number: int) -> float:
    with tempfile.TemporaryDirectory(prefix="kaan-bench-") as name, drafted(Path(name), number) as world:
        world.transcribe(*range(1, number + 1))
        return ratios.own_cpu_s(lambda: _redraft(world)) / number


def _redraft(world: Drafted) -> None:
    world.promote()
    world.run("redraft-project")
    while world.project().next_draft_label:
        if not world.run("push-predictions", "redraft-project"):
            raise AssertionError("the redraft stopped half-way")


def _with_callbacks(number: int) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="kaan-bench-") as name, drafted(Path(name), number) as world:
        world.transcribe(*range(1, number + 1))
        (Path(name) / "ready.json").write_text('{"status": "ok"}')
        with serving(Path(name), EXOTEL_WEBHOOK_SECRET=SECRET) as (port, _):
            _callbacks(port, threading.Event(), at_most=2 * A_SECOND)  # the server is warm
            alone = _callbacks(port, threading.Event(), at_most=ALONE_S * A_SECOND)
            stop, taken = threading.Event(), list[float]()
            caller = threading.Thread(target=lambda: taken.extend(_callbacks(port, stop)))
            held: list[float] = []
            _watch(world, held)
            caller.start()
            _redraft(world)
            stop.set()
            caller.join()
    longest, p99 = max(held), _p99_ms(taken)
    yield {
        "name": f"redraft with {number} open tasks: the longest write transaction in seconds",
        "value": round(longest, 3),
        "target": f"<= {LONGEST_S}",
        "met": longest <= LONGEST_S,
        "transactions": len(held),
        "p99_s": round(sorted(held)[int(len(held) * 0.99)], 4),
    }
    yield {
        "name": f"callbacks at {A_SECOND} a second meanwhile: p99 in ms",
        "value": round(p99, 1),
        "target": f"<= {MOST_MS:g}",
        "met": p99 <= MOST_MS,
        "p50_ms": round(1000 * statistics.median(taken), 1),
        "alone_p99_ms": round(_p99_ms(alone), 1),
        "alone_p50_ms": round(1000 * statistics.median(alone), 1),
        "callbacks": len(taken),
    }


def _p99_ms(taken: list[float]) -> float:
    return 1000 * sorted(taken)[int(len(taken) * 0.99)]


def _watch(world: Drafted, held: list[float]) -> None:
    """Seconds from the moment it was let in to the end of its COMMIT, of every write transaction of this process."""
    plain = world.context.db.transaction

    @contextmanager
    def timed(**options: Any) -> Iterator[Any]:
        begun = 0.0
        with plain(**options) as connection:
            begun = time.monotonic()
            yield connection
        held.append(time.monotonic() - begun)

    world.context.db.transaction = timed  # type: ignore[method-assign]


def _callbacks(port: int, stop: threading.Event, *, at_most: int = 1_000_000) -> list[float]:
    """Seconds each callback took, at a fixed pace, each over a connection of its own."""
    taken, begun = [], time.monotonic()
    for turn in range(at_most):
        if stop.is_set():
            break
        time.sleep(max(0.0, begun + turn / A_SECOND - time.monotonic()))
        call = {"CallSid": f"bench{turn:06}{port}", "Status": "completed", "From": "00000000101", "To": "00000000001"}
        at = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        headers = {"Content-Type": "application/json"}
        connection.request("POST", f"/webhooks/exotel/{SECRET}", json.dumps(call), headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        if answer.status >= 300:
            raise AssertionError(f"the callback was answered {answer.status}")
        taken.append(time.monotonic() - at)
    return taken
