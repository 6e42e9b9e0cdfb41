"""Terminal output of `learn`: numbered steps, their commands and progress. Plain lines without a terminal."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from rich.console import Console

from ml_backend.commands import printing
from ml_backend.commands.demo.programs import leashed
from ml_backend.commands.printing import PROGRAM
from ml_backend.errors import PermanentError

EVERY_S = 10.0  # between two progress lines in plain mode
_SO_FAR = re.compile(r"^ *\d{1,3} % ")  # a command's own progress


class Tutor:
    """`plain` prints lines only, without moving parts: for pipes, logs and tests."""

    def __init__(self, *, plain: bool, of: int) -> None:
        self.plain = plain
        self.console = Console(highlight=False, soft_wrap=True, no_color=plain)
        self._number, self._of, self._begun = 0, of, time.monotonic()
        self._moving: Callable[[str], None] | None = None
        self._said_at = 0.0

    @contextmanager
    def step(self, title: str, why: str) -> Iterator[None]:
        """One step of the loop, with its title and its purpose."""
        self._number += 1
        self.console.print(f"\n[bold]{self._number}/{self._of}  {title}[/]")
        self.console.print(f"     {why}", style="dim", markup=False)
        started, self._said_at = time.monotonic(), 0.0
        if self.plain:
            yield
        else:
            with self.console.status("") as status:
                self._moving = status.update
                try:
                    yield
                finally:
                    self._moving = None
        took, so_far = time.monotonic() - started, time.monotonic() - self._begun
        self.console.print(f"     [green]✓[/] [dim]{took:.0f} s, {_minutes(so_far)} in all[/]")

    def there(self, sentence: str) -> None:
        """Report a step that an earlier run has done."""
        self.console.print(f"     Already there: {sentence}", style="cyan", markup=False)

    def say(self, sentence: str) -> None:
        """Print one sentence."""
        self.console.print(f"     {sentence}", markup=False)

    def now(self, sentence: str) -> None:
        """Show the progress: in place on a terminal, as an occasional line in plain mode."""
        if self._moving is not None:
            self._moving(sentence)
        elif time.monotonic() - self._said_at > EVERY_S:
            self._said_at = time.monotonic()
            self.say(sentence)

    def shows(self, *arguments: str, changed: Mapping[str, str] | None = None) -> None:
        """Print the command that a user would type, with the settings changed for it."""
        before = "".join(f"{name}={value} " for name, value in (changed or {}).items())
        command = printing.runnable(f"{PROGRAM} {shlex.join(arguments)}")
        self.console.print(f"     $ {before}{command}", style="bold cyan", markup=False)

    def runs(
        self, env_file: Path, *arguments: str, codes: Sequence[int] = (0,), changed: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Run a command as a user would and show its output; returns its exit code and output."""
        self.shows(*arguments, changed=changed)
        others = ["env", *(f"{name}={value}" for name, value in changed.items())] if changed else []
        command = [*others, sys.executable, "-m", "ml_backend", "--env-file", str(env_file), *arguments]
        process = leashed(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert process.stdout is not None  # noqa: S101
        try:
            text = "\n".join(self._repeat(process.stdout))
            code = process.wait()
        except BaseException:
            end(process)
            raise
        if code not in codes:
            raise PermanentError(
                "learn-step-failed",
                f"`{PROGRAM} {shlex.join(arguments)}` ended with exit code {code}.",
                "Its output is above. `learn` continues from here.",
            )
        return code, text

    def _repeat(self, stream: IO[bytes]) -> Iterator[str]:
        for raw in stream:
            line = raw.decode(errors="replace").rstrip()
            if _SO_FAR.match(line):
                self.now(line.strip())
            elif line.strip():
                self.say(line)
                yield line


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a process with SIGINT, then SIGTERM, then SIGKILL."""
    for number, patience_s in ((signal.SIGINT, 20.0), (signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0)):
        if process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            continue


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
