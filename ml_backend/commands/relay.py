"""`relay`: hand due jobs to the workers."""

from __future__ import annotations

import signal
import threading

import typer

from ml_backend import log, settings
from ml_backend.context import open_context

app = typer.Typer(add_completion=False)


@app.command()
def relay() -> None:
    """Hand due jobs to the workers, make scheduled jobs, and put right what a crash left behind.

    One is enough; a second does no harm. Redis being away is waited out, and emptying it loses nothing.

    Example: python -m ml_backend relay
    """
    from ml_backend.jobs.relay import Relay

    chosen = settings.load()
    log.configure(chosen, "relay")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    Relay(open_context(chosen)).run(stop)
