"""Terminal output of the demo: steps with their time, progress bars, the welcome. Plain lines without a terminal."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import progress as bars
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.table import Table

from ml_backend.commands import printing
from ml_backend.commands.demo.home import DemoFolder
from ml_backend.commands.demo.progress import Progress


class Screen:
    """`plain` prints lines only, without moving parts: for pipes, logs and tests."""

    def __init__(self, *, plain: bool) -> None:
        self.plain = plain
        self.console = Console(highlight=False, soft_wrap=plain, no_color=plain)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One start step: its title while it runs, its duration at the end."""
        started = time.monotonic()
        if self.plain:
            self.console.print(f"{title} ...")
            yield
        else:
            with self.console.status(f"{title} ..."):
                yield
        took = time.monotonic() - started
        self.console.print(f"  [green]✓[/] {title.split(' (')[0]} [dim]{took:.1f} s[/]")

    @contextmanager
    def bars(self) -> Iterator[Callable[[Progress], None]]:
        """Three progress bars; in plain mode one line per change."""
        if self.plain:
            shown: list[str] = []

            def show_line(now: Progress) -> None:
                line = f"  read {now.read}/{now.calls}, transcribed {now.drafted}/{now.tasks}, in Label Studio"
                line += f" {now.delivered}/{now.tasks}"
                if shown[-1:] != [line]:
                    shown.append(line)
                    self.note(line)

            yield show_line
            return
        columns = (TextColumn("  {task.description:<22}"), BarColumn(), MofNCompleteColumn())
        with bars.Progress(*columns, console=self.console, transient=True) as progress:
            titles = ("calls read", "drafts written", "tasks in Label Studio")
            read, drafted, delivered = (progress.add_task(title, total=None, visible=False) for title in titles)

            def show_bars(now: Progress) -> None:
                for bar in (read, drafted, delivered):
                    progress.update(bar, visible=True)
                progress.update(read, completed=now.read, total=now.calls)
                progress.update(drafted, completed=now.drafted, total=now.tasks)
                progress.update(delivered, completed=now.delivered, total=now.tasks)

            yield show_bars

    def note(self, sentence: str) -> None:
        """Print one sentence."""
        self.console.print(sentence, markup=False)

    def warn(self, sentence: str) -> None:
        """Print a problem that is being handled."""
        self.console.print(f"{time.strftime('%H:%M:%S')} {sentence}", style="yellow", markup=False)

    def welcome(self, home: DemoFolder, user: str, password: str) -> None:
        """The address, the log-in and what to click."""
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        table.add_row("open", f"[bold]{home.label_studio_url}[/]")
        table.add_row("e-mail", user)
        table.add_row("password", password)
        table.add_row("then", "choose [bold]Kaan calls[/] or [bold]Kaan original[/], click [bold]Label All Tasks[/]:")
        table.add_row("", "the transcript is already there; listen, correct it, and press [bold]Submit[/].")
        table.add_row("stop", "Ctrl-C; the next start keeps everything")
        if self.plain:
            self.console.print(table)
        else:
            self.console.print(Panel(table, title="Kaan is running", border_style="green", expand=False))
        # Below the frame and never wrapped by us: a path and a command must come out whole when they are copied.
        self.console.print(f"logs:  {home.logs}", soft_wrap=True, markup=False)
        look = printing.runnable(f"{printing.PROGRAM} --env-file {shlex.quote(str(home.env_file))} status")
        self.console.print(f"look:  {look}", soft_wrap=True, markup=False)
        self.console.print(
            f"page:  {home.url}/  (sign in with: {home.secrets['api_token']})", soft_wrap=True, markup=False
        )
        token = printing.runnable(f"grep API_TOKENS {shlex.quote(str(home.env_file))}")
        self.console.print(
            f"phone: {home.live_url}  (OpenAI's interface; its token: {token})", soft_wrap=True, markup=False
        )
