"""A request to train -> a training run, step by step: export, train, evaluate, promote or try.

Start Training, the threshold and the weekly check only insert a job row. Here the request becomes a run, or a refusal
that is stored for `training status` and `/api/training`, because Label Studio discards our answer.

Each step is a repeatable job: when it is done, one transaction moves the run to the next step and inserts the next job.
If a worker dies in between, its job is run again and repeats its step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import JobContext
from ml_backend.errors import ConfigurationError, PermanentError
from ml_backend.jobs import devices, failpoints
from ml_backend.models import kinds, registry
from ml_backend.models.registry import ANY_LANGUAGE, Version
from ml_backend.tables import runs as run_rows
from training.datasets import dataset
from training.experiments import experiment_watch
from training.promotion import judgements, promotion
from training.runs import execution
from training.schedule import threshold

GATE = "gate-refused"
REFUSALS = ("dataset-empty", "no-test-set", GATE)  # caused by the data or the model, not by a failure


def train_requested(context: JobContext, run_id: int | None = None, project_id: int | None = None) -> None:
    """Do the next step of an existing run, or of one that a person requests now. Safe to repeat."""
    if run_id is None:
        answer = threshold.ask_by_hand(context, who="Label Studio", project_id=project_id)
        if answer.run_id is None:
            context.report(1.0, f"Refused: {answer.reason}")
        else:
            context.report(1.0, f"Run {answer.run_id} begins.")
        return
    row = execution.find(context, run_id)
    if (row.state in execution.OVER and not execution.resumable(context, row)) or row.step not in STEPS:
        context.report(1.0, f"Run {run_id} is {row.state}.")
        return
    if row.cancel_asked:
        _end(context, run_id, state="cancelled", code=None, reason="Cancelled on request.")
        return
    if row.step == "train":
        execution.require_trainer(row.kind)  # the job ends as one that needs a setting; a retry continues here
    _begin(context, row)
    try:
        later = STEPS[row.step](context, row)
    except devices.Busy:
        later = tables.now() + devices.LOOK_AGAIN
    except (PermanentError, ConfigurationError) as error:
        state, reason = "refused" if error.code in REFUSALS else "failed", error.sentence
        if state == "failed" and execution.version_of(context, run_id):
            state = execution.TRAINED
            reason = f"trained, not served: {reason} {error.next_step} `train resume {run_id}` goes on.".strip()
        _end(context, run_id, state=state, code=error.code, reason=reason)
        if state != "refused":
            raise
        context.report(1.0, f"Refused: {error.sentence}")
        return
    failpoints.hit("pipeline.before-next-step")
    if later is None:
        _go_on(context, row)
        return
    with context.db.transaction() as connection:
        threshold.enqueue(connection, row.id, due_at=later)
    context.report(0.0, f"Run {row.id} goes on at {later:%Y-%m-%d %H:%M} UTC.")


def _export(context: JobContext, row: sa.Row[Any]) -> None:
    """Samples -> the dataset of this run. The same samples give the existing dataset."""
    made = dataset.export(context, kind=row.kind, report=context.report)
    context.db.update(run_rows, row.id, dataset_id=made)


def _train(context: JobContext, row: sa.Row[Any]) -> datetime | None:
    """Dataset -> a registered version, at the permitted hours. A cancelled run says so in its row."""
    settings, now = context.settings, tables.now()
    opens = devices.opens_at(settings.training_window, now, zone=settings.exotel_time_zone)
    if opens > now:
        return opens
    with execution.device(context, row.id):
        execution.execute(context, row.id, report=context.report)
    return None


def _gate(context: JobContext, row: sa.Row[Any]) -> None:
    """Version -> the verdict against the champion, with its report. A refusal ends the run with the reason."""
    version = _version(context, row)
    champion, _ = promotion.serving(context, version.kind, ANY_LANGUAGE)
    test_set = promotion.newest_test_set(context, version.kind)
    found = judgements.judge(context, champion, version, test_set, report=context.report)
    metrics = {**(context.db.row(run_rows, row.id).metrics or {}), "gate": found.numbers}
    context.db.update(run_rows, row.id, metrics=metrics)
    if not found.verdict.passed:
        raise PermanentError(GATE, found.words[0], f"`python -m ml_backend models show {version.version}` has it all.")


def _try(context: JobContext, row: sa.Row[Any]) -> None:
    """Give a version that passed the gate a share of the calls, unless another experiment is running."""
    version, share = _version(context, row), context.settings.experiment_share
    if not kinds.of(version.kind).in_experiments:
        return
    experiment_watch.watch_experiments(context)
    if share and not experiment_watch.is_running(context, kind=version.kind):
        name = f"{version.version}-run-{row.id}"
        experiment_watch.begin(context, experiment_watch.plan(context, version, name=name, share=share, who="schedule"))


def _version(context: JobContext, row: sa.Row[Any]) -> Version:
    return registry.find(context, str(execution.version_of(context, row.id)))


# In order. A step returns the time of its next attempt, or None when it is done.
STEPS: Mapping[str, Callable[[JobContext, sa.Row[Any]], datetime | None]] = {
    "export": _export, "train": _train, "gate": _gate, "experiment": _try,
}  # fmt: skip


def _begin(context: JobContext, row: sa.Row[Any]) -> None:
    waiting = sa.and_(run_rows.c.id == row.id, run_rows.c.state != "running")
    values = {"state": "running", "started_at": row.started_at or tables.now(), "updated_at": tables.now()}
    values |= {"finished_at": None, "reason_code": None, "reason": None}
    with context.db.transaction() as connection:
        connection.execute(sa.update(run_rows).where(waiting).values(**values))


def _go_on(context: JobContext, row: sa.Row[Any]) -> None:
    """Start the next step with its job, or end the run; nothing if it has ended or another process was first."""
    names = list(STEPS)
    following = names[names.index(row.step) + 1 :]
    values: dict[str, Any] = {"step": following[0] if following else "done", "updated_at": tables.now()}
    if not following:
        values |= {"state": "done", "finished_at": tables.now()}
    here = sa.and_(run_rows.c.id == row.id, run_rows.c.step == row.step, run_rows.c.state == "running")
    with context.db.transaction() as connection:
        if connection.execute(sa.update(run_rows).where(here).values(**values)).rowcount and following:
            threshold.enqueue(connection, row.id)


def _end(context: JobContext, run_id: int, *, state: str, code: str | None, reason: str) -> None:
    """Store why the run ended, unless the step has done so."""
    now = tables.now()
    values = {"state": state, "reason_code": code, "reason": reason, "finished_at": now, "updated_at": now}
    alive = sa.and_(run_rows.c.id == run_id, run_rows.c.state.in_(("waiting", "running")))
    with context.db.transaction() as connection:
        connection.execute(sa.update(run_rows).where(alive).values(**values))
