"""Callbacks, the listing and addresses in numbers: orders, drops, copies, hostile addresses, canaries, speed."""

from __future__ import annotations

import contextlib
import itertools
import json
import statistics
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from ml_backend import jobs, tables
from ml_backend.calls import ledger
from tests.faults import canaries, checker, wholes
from tests.faults.full import Figure, Run
from tests.faults.wholes import BUCKET, CALL, Whole
from tests.faults.world import PLAIN, sid
from tests.sync.provider import SPEECH, Beside, beside


@contextlib.contextmanager
def by_hand(run: Run) -> Iterator[Beside]:
    """A service beside Exotel whose clock is moved by hand."""
    with pytest.MonkeyPatch.context() as patch, beside(run.folder, patch) as here:
        yield here


def orders(run: Run) -> list[Figure]:
    """All 120 orders of the five kinds of message about one call."""
    from tests.ml_backend.calls.test_ledger import FIVE, KEY, WHEN, fresh, rows

    seen, tried = set(), 0
    for order in itertools.permutations(FIVE):
        tried += 1
        with fresh() as connection:
            for event in order:
                row = ledger.record(connection, event, key=KEY)
            told = {name: value for name, value in row._asdict().items() if name not in WHEN}
            seen.add(repr((told, [one.source_identity for one in rows(connection, tables.recordings)])))
    return [Figure(f"different rows after {tried} orders of five messages", "1", str(len(seen)), len(seen) == 1)]


def dropped(run: Run) -> list[Figure]:
    """Six simulated hours, 30 % of the callbacks dropped: how long after its listing is a call here?"""
    chance, total = run.chance, run.count(1000, least=40)
    with by_hand(run) as here:
        minutes, late, listed_at, phase = 360, 0.0, dict[str, int](), chance.randrange(15)
        made = sorted(chance.randrange(minutes - 30) for _ in range(total))
        asked: dict[str, int] = {}
        for minute in range(minutes):
            while made and made[0] == minute:
                made.pop(0)
                row = here.provider.add(total - len(made), audio=SPEECH + total.to_bytes(4, "big"))
                listed_at[row["Sid"]] = minute
                if chance.random() >= 0.3:
                    here.told(row)
            for every, hours in ((15, 2), (60, 24)):  # the schedule, whose own clock is the calendar of the rows
                if minute % every == phase:
                    with here.context.db.transaction() as connection:
                        jobs.enqueue(connection, jobs.RECONCILE_CALLS, key=str(hours), hours=hours)
            here.later(minutes=1)
            there = {call.call_sid for call in here.rows(tables.calls)}
            for one in (listed_at.keys() & there) - asked.keys():
                asked[one] = minute
                late = max(late, minute - listed_at[one])
        missing = listed_at.keys() - asked.keys()
        from_listing = sum(call.source == "listing" for call in here.rows(tables.calls))
        with here.context.db.reading() as connection:
            broken = ledger.violations(connection)
    return [
        Figure(f"of {total} calls, 30 % never called back: missing at the end", "0",
               f"{len(missing)} ({from_listing} from the listing)", not missing and not broken),
        Figure("simulated minutes from listing to ledger, at most", "20", f"{late:.0f}", late <= 20),
    ]  # fmt: skip


def canaries_hunt(run: Run) -> list[Figure]:
    """Twelve secrets and numbers, every output searched."""
    with wholes.everything(run.folder) as around:
        whole = around.whole
        found = canaries.hunt(whole)
    planted = len(canaries.NUMBERS) + len(canaries.SECRETS)
    for one in found:
        print("canary:", one)
    return [Figure(f"of {planted} planted secrets and numbers, found in outputs", "0", str(len(found)), not found)]


def all_down(run: Run) -> list[Figure]:
    """The time of a callback with everything behind the web process up, and down; 50 a second, in turn."""
    with wholes.everything(run.folder) as around:
        whole = around.whole
        whole.serve()
        rounds, each, times = 4, run.count(250, least=50), {"up": [], "down": []}
        number = itertools.count()
        with httpx.Client(timeout=20, verify=PLAIN) as client:
            for _ in range(50):
                whole.send(sid(next(number)), client=client, Status="busy")
            for _ in range(rounds):
                for state in ("up", "down"):
                    for one in (whole.store, whole.labels, whole.broker, whole.recorder):
                        one.set(down=True) if state == "down" else one.heal()
                    times[state] += [_timed(whole, client, next(number)) for _ in range(each)]
        lost = checker.events(whole.context, whole.history.read())
    p50 = {state: statistics.median(found) * 1000 for state, found in times.items()}
    p99 = {state: sorted(found)[int(len(found) * 0.99)] * 1000 for state, found in times.items()}
    ratio = p50["down"] / p50["up"]
    return [
        Figure("callback with everything behind down / up, median", "0.80 to 1.20",
               f"{ratio:.2f} ({p50['down']:.1f} / {p50['up']:.1f} ms)", 0.8 <= ratio <= 1.2),
        Figure("p99 of a durable callback at 50 a second, with everything down", "250 ms",
               f"{p99['down']:.0f} ms (up: {p99['up']:.0f} ms)", p99["down"] <= 250),
        Figure("acknowledged and lost meanwhile", "0", str(len(lost)), not lost),
    ]  # fmt: skip


def _timed(whole: Whole, client: httpx.Client, number: int) -> float:
    began = time.monotonic()
    assert whole.send(sid(number), client=client, Status="busy") == 200
    took = time.monotonic() - began
    time.sleep(max(0.0, 0.02 - took))
    return took


def copies(run: Run) -> list[Figure]:
    """50 copies at once, 100 times: one event, one object, one task each."""
    trials, together = run.count(100, least=3), 50
    with wholes.everything(run.folder) as around:
        whole = around.whole
        whole.serve()
        bad = 0
        for trial in range(1, trials + 1):
            body = json.dumps({**whole.call(trial, audio=CALL.read_bytes() + trial.to_bytes(2, "big"))}).encode()
            bad += _at_once(whole, body, together) != [200] * together
        whole.run_jobs()
        counts = {
            "records": whole.count(tables.calls),
            "recordings": whole.count(tables.recordings),
            "objects": len(list(whole.context.store.list(BUCKET))),
            "tasks": whole.count(tables.tasks),
            "in Label Studio": len(whole.studio.tasks),
        }
        broken = checker.wrong(whole.context, sent=whole.history.read(), label_studio=whole.studio)
        left = {(row.name, row.state, row.error_code) for row in whole.rows(tables.jobs) if row.state != "done"}
    for entry in [*broken[:10], *sorted(map(str, left))]:
        print(entry)
    seen = ", ".join(f"{count} {name}" for name, count in counts.items())
    return [
        Figure(
            f"{together} copies at once, {trials} times", f"{trials} of each", seen, set(counts.values()) == {trials}
        ),
        Figure("answers other than 200, invariants broken", "0, 0", f"{bad}, {len(broken)}", not bad and not broken),
    ]


def _at_once(whole: Whole, body: bytes, number: int) -> list[int | None]:
    barrier, answers = threading.Barrier(number), list[int | None]()

    def send() -> None:
        with httpx.Client(timeout=30, verify=PLAIN) as client:
            barrier.wait(30)
            answers.append(
                whole.history.post(client, whole.callbacks, body, call_sid="", content_type="application/json")
            )

    threads = [threading.Thread(target=send) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers
