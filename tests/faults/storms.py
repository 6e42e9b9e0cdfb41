"""Load with random kills: callbacks go in while processes of the product die, from a seed that is printed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import psutil

from tests.faults.launch import At
from tests.faults.world import PLAIN, Process, World, callback, sid, until


@dataclass
class Kept:
    """A process that is started again as soon as it is gone, like a supervisor does."""

    start: Callable[[], Process]
    process: Process
    kills: int = 0

    def look(self) -> None:
        if not self.process.alive:
            self.process = self.start()


def callbacks_under_kills(
    there: World,
    kept: Sequence[Kept],
    *,
    callbacks: int,
    kills: int,
    seed: int,
    senders: int = 4,
    gap_s: float = 0.0,
    more_kills: Sequence[Callable[[], None]] = (),
    body: Callable[[int], dict[str, Any]] = lambda number: callback(sid(number)),
    say: Callable[[int, int], None] = lambda sent, kills: None,
) -> None:
    """Send `callbacks` different callbacks, each until it is acknowledged, while `kills` random SIGKILLs fall.

    What was acknowledged stands in the outside ledger. Kills fall spread over the whole load, `gap_s` apart on
    average, so that what was started again comes to work before it dies again; callbacks arrive all the while.
    """
    print(f"seed {seed}")
    chance = random.Random(seed)
    numbers, lock, done = iter(range(callbacks)), threading.Lock(), [0]
    began = time.monotonic()

    def send() -> None:
        with httpx.Client(timeout=20, verify=PLAIN) as client:
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                time.sleep(max(0.0, began + gap_s * kills * number / callbacks - time.monotonic()))
                sent = body(number)
                while there.post(sent, client=client) != 200:
                    time.sleep(0.02)
                done[0] += 1

    threads = [threading.Thread(target=send) for _ in range(senders)]
    for thread in threads:
        thread.start()
    fallen, next_at = 0, began
    while any(thread.is_alive() for thread in threads) or fallen < kills:
        if fallen < kills and time.monotonic() >= next_at and done[0] >= callbacks * fallen / (kills + 1):
            _kill_one(chance, kept, more_kills)
            fallen += 1
            next_at = time.monotonic() + gap_s * chance.uniform(0.2, 1.6)
        for one in kept:
            one.look()
        say(done[0], fallen)
        time.sleep(chance.uniform(0.005, 0.03))
    for thread in threads:
        thread.join()
    for one in kept:
        one.look()


def _kill_one(chance: random.Random, kept: Sequence[Kept], more: Sequence[Callable[[], None]]) -> None:
    """One of the processes as a whole, one of its children, or what else there is."""
    number = chance.randrange(len(kept) + len(more))
    if number >= len(kept):
        more[number - len(kept)]()
        return
    one = kept[number]
    one.kills += 1
    children: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(one.process.popen.pid).children(recursive=True)
    if children and chance.random() < 0.5:
        with contextlib.suppress(psutil.NoSuchProcess):
            os.kill(chance.choice(children).pid, signal.SIGKILL)
        return
    one.process.kill()


def supervised(there: World, *command: str, at: tuple[At, ...] = ()) -> Kept:
    """A process that is kept running, armed anew each time; a web process is waited for."""

    def start() -> Process:
        return there.start(*command, at=at)

    one = Kept(start, start())
    if command[0] == "web":
        until(there.healthy, say=lambda: one.process.log)
    return one
