"""Promotions to and fro under load: several serving processes, one alias that moves as soon as all have followed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ml_backend.context import Context
from ml_backend.models import registry
from tests.patience import until

ROOT = Path(__file__).parents[2]


@dataclass
class Served:
    """What every process answered, and how long the last of them took to answer with the new version, per swap."""

    answers: list[list[dict[str, Any]]]
    took_s: list[float] = field(default_factory=list)
    died: int = 0

    @property
    def all(self) -> list[dict[str, Any]]:
        return [answer for mine in self.answers for answer in mine]

    @property
    def failed(self) -> int:
        return self.died + sum(answer["text"] is None for answer in self.all)

    @property
    def mixed(self) -> int:
        """Answers that name another version than the one that heard them, and texts of a version beyond its one."""
        texts: dict[str, set[str]] = {}
        for answer in self.all:
            texts.setdefault(answer["version"], set()).add(answer["text"])
        shared = len(texts) - len({frozenset(heard) for heard in texts.values()})
        wrong = sum(answer["version"] != answer["by"] for answer in self.all)
        return wrong + shared + sum(len(heard) - 1 for heard in texts.values())


def under_load(
    context: Context,
    versions: Sequence[registry.Version],
    *,
    swaps: int,
    processes: int,
    rate: float,
    say: Callable[[int], None] = lambda swap: None,
) -> Served:
    """`versions[0]` serves at first; `rate` requests a second over all processes."""
    command = [sys.executable, "-m", "tests.ml_backend.swapping", str(context.settings.data_dir), str(rate / processes)]
    served = Served([[] for _ in range(processes)])
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(processes)
        ]
        readers = [
            threading.Thread(target=_read, args=(process, mine))
            for process, mine in zip(started, served.answers, strict=True)
        ]
        for reader in readers:
            reader.start()
        until(lambda: all(served.answers), "all serve", within_s=120)
        for swap in range(1, swaps + 1):
            now = versions[swap % len(versions)]
            began = time.monotonic()
            registry.move_alias(context, now, expected_revision=swap, who="t", why="to and fro")
            until(lambda now=now: all(mine[-1]["by"] == now.version for mine in served.answers), "all follow")
            served.took_s.append(time.monotonic() - began)
            say(swap)
        for process in started:
            process.stdin.close()
            served.died += process.wait(60) != 0
        for reader in readers:
            reader.join(60)
    return served


def _read(process: subprocess.Popen[str], mine: list[dict[str, Any]]) -> None:
    for line in process.stdout or ():
        if isinstance(answer := json.loads(line), dict):
            mine.append(answer)
