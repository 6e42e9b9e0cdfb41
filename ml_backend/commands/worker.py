"""`worker`: run the jobs of one queue."""

from __future__ import annotations

from typing import Annotated

import typer

from ml_backend import log, packages, settings
from ml_backend.errors import InvalidInput
from ml_backend.jobs import job_kinds

app = typer.Typer(add_completion=False)


@app.command()
def worker(
    queue: Annotated[str, typer.Argument(help="sync, transcribe or training.")],
    burst: Annotated[bool, typer.Option("--burst", help="End when no message is waiting.")] = False,
) -> None:
    """Run the jobs of one queue until stopped; SIGTERM lets the job in hand finish.

    Start as many as the machine bears, one queue each. The process ends itself when a job hangs beyond its time
    limit, so let a supervisor start it again.

    Example: python -m ml_backend worker transcribe
    """
    from ml_backend.jobs import worker_process as workers

    if queue not in job_kinds.QUEUES:
        raise InvalidInput(
            "unknown-queue", f"There is no queue {queue[:40]!r}.", f"Known: {', '.join(job_kinds.QUEUES)}."
        )
    chosen = settings.load()
    log.configure(chosen, f"worker:{queue}")
    if queue == "training" and (lacking := packages.missing(*packages.TRAINER)):
        log.get("worker").warning(
            "this worker exports, scores and promotes, and refuses to train: run `make environment-training` first",
            missing=", ".join(lacking),
        )
    workers.serve(chosen, queue, burst=burst)
