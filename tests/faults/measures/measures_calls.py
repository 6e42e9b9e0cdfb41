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
import psutil
import pytest

from ml_backend import tables
from ml_backend.calls import ledger
from ml_backend.jobs import enqueueing, job_kinds, schedules
from tests.faults import canaries, checker, wholes
from tests.faults.full import Figure, Run
from tests.faults.wholes import BUCKET, CALL, Whole
from tests.faults.world import PLAIN, sid
from tests.ledger_rules import violations
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
        schedule = list(_listing_schedule())
        made = sorted(chance.randrange(minutes - 30) for _ in range(total))
        asked: dict[str, int] = {}
        for minute in range(minutes):
            while made and made[0] == minute:
                made.pop(0)
                row = here.provider.add(total - len(made), audio=SPEECH + total.to_bytes(4, "big"))
                listed_at[row["Sid"]] = minute
                if chance.random() >= 0.3:
                    here.told(row)
            for every, hours in schedule:
                if minute % every == phase:
                    with here.context.db.transaction() as connection:
                        enqueueing.enqueue(connection, job_kinds.RECONCILE_CALLS, key=str(hours), hours=hours)
            here.later(minutes=1)
            run.say(f"{len(listed_at)} of {total} calls, {minute} of {minutes} simulated minutes")
            there = {call.call_sid for call in here.rows(tables.calls)}
            for one in (listed_at.keys() & there) - asked.keys():
                asked[one] = minute
                late = max(late, minute - listed_at[one])
        missing = listed_at.keys() - asked.keys()
        from_listing = sum(call.source == "listing" for call in here.rows(tables.calls))
        with here.context.db.reading() as connection:
            broken = violations(connection)
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


def _listing_schedule() -> Iterator[tuple[int, int]]:
    """(every so many minutes, over so many hours), as the relay has it; its clock is the rows' own, which is real."""
    for one in schedules.SCHEDULES:
        if one.kind is job_kinds.RECONCILE_CALLS:
            yield int(one.every_s // 60), int(one.wanted(None)[0]["hours"])  # type: ignore[arg-type]


DOWN = {"up": {}, "up again": {}, "down": {"down": True}, "silent": {"timeout": True}}
BLOCK = 25


def all_down(run: Run) -> list[Figure]:
    """A callback's time and CPU with everything behind the web process up, up again (the control), down, and silent.

    Side by side: the four states take turns every 25 callbacks, at 50 a second, in an order drawn anew each time.
    """
    rounds, each, chance = 4, run.count(250, least=50), run.chance
    times: dict[str, list[float]] = {state: [] for state in DOWN}
    cpu_s = dict.fromkeys(DOWN, 0.0)
    with wholes.everything(run.folder) as around:
        whole, number = around.whole, itertools.count()
        web = psutil.Process(whole.serve().popen.pid)
        with httpx.Client(timeout=20, verify=PLAIN) as client:
            for _ in range(50):
                whole.send(sid(next(number)), client=client, Status="busy")
            for _ in range(rounds * each // BLOCK):
                for state in chance.sample(list(DOWN), len(DOWN)):
                    for one in (whole.store, whole.labels, whole.broker, whole.recorder):
                        one.heal()
                        one.set(**DOWN[state])
                    before = _cpu_s(web)
                    times[state] += [_timed(whole, client, next(number)) for _ in range(BLOCK)]
                    cpu_s[state] += _cpu_s(web) - before
                run.say(f"{len(times['up'])} callbacks in each state")
        lost = checker.events(whole.context, whole.history.read())
    p50 = {state: statistics.median(found) * 1000 for state, found in times.items()}
    p99 = {state: sorted(found)[int(len(found) * 0.99)] * 1000 for state, found in times.items()}
    each_ms = {state: spent * 1000 / len(times[state]) for state, spent in cpu_s.items()}
    return [
        *_against_up("CPU", each_ms), *_against_up("median", p50),
        Figure("p99 of a durable callback at 50 a second, with everything down", "250 ms",
               f"{p99['down']:.0f} ms (up: {p99['up']:.0f} ms)", p99["down"] <= 250),
        Figure(f"of {sum(map(len, times.values()))} acknowledged and lost meanwhile", "0", str(len(lost)), not lost),
    ]  # fmt: skip


def _against_up(what: str, milliseconds: dict[str, float]) -> Iterator[Figure]:
    up = milliseconds["up"]
    control = milliseconds["up again"] / up
    for state in ("down", "silent"):
        ratio = milliseconds[state] / up
        yield Figure(f"{what} of a callback, everything behind {state} / up", "0.80 to 1.20",
                     f"{ratio:.2f} ({milliseconds[state]:.2f} / {up:.2f} ms; control {control:.2f})",
                     0.8 <= ratio <= 1.2)  # fmt: skip


def _cpu_s(process: psutil.Process) -> float:
    """What the process and its children have spent."""
    return sum(sum(one.cpu_times()[:2]) for one in (process, *process.children(recursive=True)))


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
