"""The faults in numbers: each measurement with its goal, what was reached, and at the end one table.

A run is repeated with `--seed`: every choice of what is killed, cut and dropped, and when, comes from it.
`--scale 0.05` takes a twentieth of every count, for a look.
"""

from __future__ import annotations

import logging
import random
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    name: str
    goal: str
    reached: str
    met: bool
    took_s: float = 0.0


@dataclass(frozen=True)
class Run:
    """What a measurement gets: a folder, a seed of its own, and how much of the full count to do."""

    folder: Path
    seed: int
    scale: float
    said: list[float] = field(default_factory=lambda: [time.monotonic()])  # when it began, and spoke since

    def say(self, what: str) -> None:
        """How far it is: a line now and then, for who waits."""
        if time.monotonic() - self.said[-1] > SAY_S:
            self.said.append(time.monotonic())
            print(f"       {what}, {self.said[-1] - self.said[0]:.0f} s", flush=True)

    def count(self, full: int, *, least: int = 1) -> int:
        return max(least, round(full * self.scale))

    @property
    def chance(self) -> random.Random:
        return random.Random(self.seed)


SAY_S = 15.0

Measure = Callable[[Run], Iterable[Figure]]


def measures() -> dict[str, Measure]:
    from tests.faults.measures import (
        measures_addresses,
        measures_audio,
        measures_calls,
        measures_clients,
        measures_jobs,
        measures_models,
    )

    return {
        "cuts": measures_audio.cuts,
        "bombs": measures_audio.bombs,
        "orders": measures_calls.orders,
        "dropped": measures_calls.dropped,
        "addresses": measures_addresses.addresses,
        "canaries": measures_calls.canaries_hunt,
        "all-down": measures_calls.all_down,
        "copies": measures_calls.copies,
        "slow-clients": measures_clients.slow_clients,
        "redis-emptied": measures_jobs.redis_emptied,
        "again": measures_jobs.again,
        "kills": measures_jobs.kills,
        "swaps": measures_models.swapped,
        "guards": guards,
    }


def guards(run: Run) -> list[Figure]:
    """Every guard taken away once; its tests must fail."""
    from tests.faults import __main__ as program
    from tests.faults.tables import table

    rows = table.guarded()
    chosen = rows if run.scale >= 1 else run.chance.sample(rows, run.count(len(rows)))
    holds = program.prove(chosen)
    return [
        Figure("tests that fail without their guard", f"{len(chosen)} of {len(chosen)}",
               f"{len(chosen) - len(holds)} of {len(chosen)}", not holds)
    ]  # fmt: skip


def run(*, seed: int, scale: float, only: Sequence[str] | None = None) -> int:
    """Every measurement, then the table; exit status 1 when a goal is missed."""
    print(f'seed {seed}   (again: make faults-full ARGS="--seed {seed}")', flush=True)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # the servers around us say every request
    logging.getLogger("kaan").setLevel(logging.ERROR)  # refusals are what is asked for here
    known, figures = measures(), list[Figure]()
    for number, (name, measure) in enumerate(known.items()):
        if only and name not in only:
            continue
        began = time.monotonic()
        print(f"{time.strftime('%H:%M:%S')}  {name}", flush=True)
        with tempfile.TemporaryDirectory(prefix=f"kaan-{name}-") as folder:
            try:
                found = list(measure(Run(Path(folder), seed + number, scale)))
            except Exception:
                traceback.print_exc()
                found = [Figure(name, "to be measured", "it broke, see above", False)]
        took_s = time.monotonic() - began
        for figure in found:
            print(line(figure), flush=True)
        figures += [Figure(**{**vars(figure), "took_s": took_s if not n else 0.0}) for n, figure in enumerate(found)]
    print(f"\n{'':7}{'goal':34}{'reached':44}{'':7}what, with seed {seed} and scale {scale:g}")
    for figure in figures:
        print(line(figure))
    missed = [figure for figure in figures if not figure.met]
    print(f"{len(figures) - len(missed)} of {len(figures)} goals met in {sum(f.took_s for f in figures):.0f} s.")
    return 1 if missed else 0


def line(figure: Figure) -> str:
    took = f"{figure.took_s:5.0f} s" if figure.took_s else " " * 7
    return f"{'met' if figure.met else 'MISSED':7}{figure.goal:34}{figure.reached:44}{took}  {figure.name}"
