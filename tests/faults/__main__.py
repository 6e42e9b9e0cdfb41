"""`python -m tests.faults [quick|guards|full]`: every fault once; every guard proven; the counts and times.

quick    each fault F1-F73 met once (make faults)
guards   each guard taken away, and its test seen to fail
full     quick's faults in numbers, the times, and the guards (make faults-full); --seed replays a run
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.faults import network
from tests.faults.tables import table

AT_ONCE = 2  # tests without their guard
UNFIT = re.compile(  # a removal that calls for what is not there, or cannot be called as the guard was
    r"tests/faults/guards/\w+\.py:\d+: (?:Attribute|Import|Key|ModuleNotFound|Name|Type|UnboundLocal)Error"
    r"|TypeError: \S+\(\) (?:takes|got an unexpected|missing) "
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("set", choices=("quick", "guards", "full"), nargs="?", default="quick")
    parser.add_argument("--seed", type=int, default=None, help="replay a full run")
    parser.add_argument("--scale", type=float, default=1.0, help="a part of the full counts, for a look")
    parser.add_argument("--only", action="append", help="only this measurement or guard (repeatable)")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is stopped, not left behind
    print(f"Running {network.enter()}.", flush=True)
    if given.set == "quick":
        return quick()
    if given.set == "guards":
        return guards(given.only)
    from tests.faults import full

    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(1 << 32)
    return full.run(seed=seed, scale=given.scale, only=given.only)


def quick() -> int:
    """Everything of the table and of this folder, once."""
    return _pytest("-n", "3", "tests/faults", *table.elsewhere(), "--durations=10").returncode  # it waits, mostly


def guards(only: list[str] | None = None) -> int:
    """Take each guard away and watch its tests fail."""
    holds = prove([row for row in table.guarded() if not only or row[2] in only])
    print(f"{len(holds)} guards are not proven." if holds else "Every test fails without its guard.")
    return 1 if holds else 0


def prove(rows: Sequence[tuple[int, str, str]]) -> list[str]:
    """Run each test without its guard, two at a time, since most of it is waiting; gives those that prove nothing.

    A guard left in its place would be no proof, so a test that does not fail is asked once more by itself. Nor is a
    removal that breaks by itself: the test fails, but not for want of the guard.
    """
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        passed = [row for row, bites in zip(rows, pool.map(_bites, rows), strict=True) if not bites]
    return [test for number, test, guard in passed if not _bites((number, test, guard))]


def _bites(row: tuple[int, str, str]) -> bool:
    number, test, guard = row
    began = time.monotonic()
    ran = _pytest("-p", "tests.faults.plugin", "--without", guard, "-n0", "-x", "--timeout=90", test, quiet=True)
    failed = ran.returncode == 1  # pytest's own: tests ran, and some failed
    bites = failed and not UNFIT.search(ran.stdout)
    found = "bites" if bites else "BREAKS" if failed else "HOLDS"
    took = f"{found:6} F{number:<3}{time.monotonic() - began:5.0f} s  {guard:40}{test}"
    print(f"{took}\n{'':19}{_why(ran.stdout)}", flush=True)
    return bites


def _why(said: str) -> str:
    """How the test ended: a person sees whether it failed for the guard's sake."""
    errors = [line[1:].strip() for line in said.splitlines() if line.startswith("E  ") or "Timeout" in line]
    return next((line for line in errors if line), said.strip().rpartition("\n")[2])[:140]


def _pytest(*arguments: str, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if quiet else {}
    return subprocess.run(command, text=True, env={**os.environ, "KAAN_FAULTS_RUN": "1"}, **output)


if __name__ == "__main__":
    sys.exit(main())
