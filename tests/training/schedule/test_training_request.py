"""A run goes from step to step, each a job that may be killed and repeated, and its row says how it ended.

The steps here are small ones of the test's own; exporting and training have tests of theirs.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.context import Context, JobContext, open_context
from ml_backend.errors import PermanentError, RetryableError
from ml_backend.jobs import devices, enqueueing, failpoints, job_kinds, runner
from ml_backend.jobs.leases import Timing
from ml_backend.models import manifest, registry
from ml_backend.serving import default_model
from ml_backend.settings import Settings
from training.runs import execution
from training.schedule import training_request

QUICK = Timing(backoff_s=0.01, backoff_cap_s=0.02)


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    settings = Settings(_env_file=None, data_dir=tmp_path)
    db.upgrade(settings.database)
    opened = open_context(settings)
    yield opened
    opened.kept.clear()
    opened.db.dispose()


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps that were done, in order; a test may put something that goes wrong in place of one."""
    order: list[str] = []

    def step(name: str) -> Callable[[Any, Any], None]:
        return lambda context, row: order.append(name)

    monkeypatch.setattr(training_request, "STEPS", {name: step(name) for name in ("export", "train", "last")})
    return order


def begin(context: Context) -> int:
    with context.db.transaction() as connection:
        values = {"kind": "asr", "arguments": {}, "step": "export", "who": "schedule", "why": "threshold"}
        run_id = int(
            connection.execute(sa.insert(tables.runs).values(**values).returning(tables.runs.c.id)).scalar_one()
        )
        enqueueing.enqueue(connection, job_kinds.TRAIN, key=f"run:{run_id}", run_id=run_id)
    return run_id


def row(context: Context, run_id: int) -> Any:
    return context.db.row(tables.runs, run_id)


def put(monkeypatch: pytest.MonkeyPatch, name: str, step: Callable[[Any, Any], None]) -> None:
    monkeypatch.setattr(training_request, "STEPS", {**training_request.STEPS, name: step})


def test_steps_follow_one_another_each_in_a_job_of_its_own(context, done):
    run_id = begin(context)
    assert not runner.run_due(context).failed
    found = row(context, run_id)
    assert (done, found.state, found.step) == (["export", "train", "last"], "done", "done")
    assert found.started_at <= found.finished_at
    assert [job.state for job in enqueueing.find(context.db, names=["train"])] == ["done"] * 3


def test_a_step_that_fails_for_a_while_is_tried_again_where_it_was(context, done, monkeypatch):
    left = [1, 2]

    def flaky(context: Any, row: Any) -> None:
        if left:
            left.pop()
            raise RetryableError("store-away", "The store is away.", "Wait.")
        done.append("train")

    put(monkeypatch, "train", flaky)
    run_id = begin(context)
    runner.run_due(context, timing=QUICK, wait_s=5)
    assert (done, row(context, run_id).state) == (["export", "train", "last"], "done")


@pytest.mark.parametrize(("code", "state"), [("dataset-empty", "refused"), ("something-else", "failed")])
def test_a_step_that_cannot_be_done_ends_the_run_with_its_reason(context, done, monkeypatch, code, state):
    def wrong(context: Any, row: Any) -> None:
        raise PermanentError(code, "It cannot be done.", "Mend it.")

    put(monkeypatch, "train", wrong)
    run_id = begin(context)
    assert bool(runner.run_due(context).failed) == (state == "failed"), "a refusal is no trouble of the job's"
    found = row(context, run_id)
    assert (found.state, found.reason_code, found.reason, done) == (state, code, "It cannot be done.", ["export"])


def test_a_worker_killed_between_a_step_and_the_next_repeats_the_step_and_loses_nothing(context, done, monkeypatch):
    class Killed(BaseException):
        """Nothing catches it."""

    def die(name: str) -> None:
        if name == "pipeline.before-next-step" and done == ["export", "train"]:
            raise Killed

    monkeypatch.setattr(failpoints, "hit", die)
    run_id = begin(context)
    with pytest.raises(Killed):
        runner.run_due(context)
    assert row(context, run_id).step == "train"
    with context.db.transaction() as connection:  # what the relay does when the lease has run out
        mine = sa.update(tables.jobs).where(tables.jobs.c.state == "running")
        connection.execute(mine.values(state="waiting", lease_owner=None, lease_until=None))
    assert not runner.run_due(context).failed
    assert done == ["export", "train", "train", "last"]
    assert row(context, run_id).state == "done"


def test_a_cancelled_run_ends_before_its_next_step(context, done, monkeypatch):
    def train(job: Any, row: Any) -> None:
        done.append("train")
        execution.cancel(context, row.id)

    put(monkeypatch, "train", train)
    run_id = begin(context)
    assert not runner.run_due(context).failed
    assert done == ["export", "train"]
    assert row(context, run_id).cancel_asked
    assert row(context, run_id).state == "cancelled"


def test_two_jobs_of_one_run_do_a_step_at_most_once_more_and_the_next_is_asked_for_once(context, done):
    run_id = begin(context)
    with context.db.transaction() as connection:
        enqueueing.enqueue(connection, job_kinds.TRAIN, run_id=run_id)  # as after a repeated delivery
    assert not runner.run_due(context).failed
    assert row(context, run_id).state == "done"
    assert done.count("last") == 1


def test_a_step_may_wait_for_its_hours(context, done, monkeypatch):
    later = tables.now() + timedelta(hours=3)
    put(monkeypatch, "train", lambda context, row: later)
    run_id = begin(context)
    assert not runner.run_due(context).failed
    assert (done, row(context, run_id).step, row(context, run_id).state) == (["export"], "train", "running")
    [waiting] = context.db.rows(sa.select(tables.jobs).where(tables.jobs.c.state == "waiting"))
    assert (waiting.name, waiting.due_at) == ("train", later)


def test_a_run_asked_for_by_itself_as_a_job_keeps_to_the_hours_too(context, monkeypatch):
    monkeypatch.setattr(execution, "execute", lambda *_, **__: pytest.fail("it began"))
    monkeypatch.setattr(tables, "now", lambda: datetime(2026, 11, 22, 10, tzinfo=UTC))
    here = context.settings.model_copy(update={"training_window": "22:00-06:00"})
    execution.run_training(JobContext(here, context.db, context.store), begin(context))
    [later] = enqueueing.find(context.db, names=["run-training"])
    assert (later.state, later.due_at) == ("waiting", datetime(2026, 11, 22, 16, 30, tzinfo=UTC))


def test_training_begins_in_its_window_and_holds_the_device(context, monkeypatch):
    held = []

    def execute(context: Any, run_id: int, **options: Any) -> None:
        held.extend(context.db.rows(sa.select(tables.device_leases.c.owner)))

    monkeypatch.setattr(execution, "execute", execute)
    run_id = begin(context)
    context.db.update(tables.runs, run_id, step="train")
    here = context.settings.model_copy(update={"training_window": "22:00-06:00"})
    monkeypatch.setattr(tables, "now", lambda: datetime(2026, 11, 22, 10, tzinfo=UTC))
    job = JobContext(here, context.db, context.store)
    assert training_request._train(job, row(context, run_id)) == datetime(2026, 11, 22, 16, 30, tzinfo=UTC)
    assert held == []
    monkeypatch.setattr(tables, "now", lambda: datetime(2026, 11, 22, 17, tzinfo=UTC))
    assert training_request._train(job, row(context, run_id)) is None
    assert [each.owner for each in held] == [f"run-{run_id}"] * 2, "the device, and the kind on all machines"
    assert [each.owner for each in context.db.rows(sa.select(tables.device_leases.c.owner))] == [None] * 2


@pytest.mark.parametrize("step", ["train", "gate"])
def test_a_device_that_is_taken_is_asked_for_again_as_long_as_it_takes(context, monkeypatch, step):
    """Neither training nor listening to a test set begins while another trains, and no failure is counted."""

    def listens(*_: Any, **__: Any) -> None:
        with devices.held(context, devices.here("auto"), "an evaluation"):
            raise AssertionError("two at once")

    monkeypatch.setattr(training_request.execution, "execute", listens)
    monkeypatch.setattr(training_request, "_version", lambda context, row: registry.champion(context))
    monkeypatch.setattr(training_request.promotion, "newest_test_set", lambda context, kind: 1)
    monkeypatch.setattr(training_request.judgements, "judge", listens)
    default_model.ensure(context)
    run_id = begin(context)
    context.db.update(tables.runs, run_id, step=step)
    for _ in range(job_kinds.TRAIN.max_attempts + 1):
        with devices.held(context, devices.here("auto"), "run-1"):
            assert not runner.run_due(context).failed
        [waiting] = context.db.rows(sa.select(tables.jobs).where(tables.jobs.c.state == "waiting"))
        assert waiting.due_at > tables.now()
        context.db.update(tables.jobs, waiting.id, due_at=tables.now())
    assert (row(context, run_id).state, row(context, run_id).step) == ("running", step)


class Judged:
    """What the gate says, in place of two evaluations."""

    def __init__(self, outcome: str) -> None:
        self.verdict = SimpleNamespace(passed=outcome == "better")
        self.words, self.numbers = [f"It is {outcome}."], {"outcome": outcome}


@pytest.fixture
def judged(context, monkeypatch):
    """A run that has trained `small-2`, before the gate; gives its id after the gate has said `outcome`."""
    folders = [shutil.copytree(registry.BUNDLED, context.settings.data_dir / name) for name in ("one", "two")]
    for folder in folders:
        old = manifest.verify(folder)
        manifest.write(folder, name=folder.name, languages=old.languages, window=old.window, trained_on="x")
    champion = registry.register(context, str(folders[0]))
    registry.move_alias(context, champion, expected_revision=0, who="asha", why="first")
    run_id = begin(context)
    context.db.update(tables.runs, run_id, step="gate", state="running")
    registry.register(context, str(folders[1]), run_id=run_id)
    monkeypatch.setattr(training_request.promotion, "newest_test_set", lambda context, kind: 1)

    def go(outcome: str) -> int:
        monkeypatch.setattr(training_request.judgements, "judge", lambda *_, **__: Judged(outcome))
        assert not runner.run_due(context).failed
        return run_id

    return go


def test_a_version_that_passed_the_gate_gets_its_share_of_the_calls_and_is_not_promoted(context, judged):
    run_id = judged("better")
    assert row(context, run_id).state == "done"
    assert row(context, run_id).metrics["gate"] == {"outcome": "better"}
    [experiment] = context.db.rows(sa.select(tables.experiments))
    assert (experiment.traffic_share, experiment.state, experiment.kind) == (0.5, "running", "ab")
    assert experiment.challenger.startswith("two-")
    assert registry.champion(context).version.startswith("one-")


@pytest.mark.parametrize("outcome", ["worse", "equal", "cannot-tell", "vetoed"])
def test_a_version_that_did_not_pass_is_refused_with_the_reason_in_words(context, judged, outcome):
    run_id = judged(outcome)
    found = row(context, run_id)
    assert (found.state, found.reason_code, found.reason) == ("refused", "gate-refused", f"It is {outcome}.")
    assert context.db.rows(sa.select(tables.experiments)) == []


def test_a_comparison_that_is_running_is_left_alone(context, judged):
    serves = registry.champion(context).version
    values = {"name": "e", "champion": serves, "challenger": "b", "traffic_share": 0.5}
    with context.db.transaction() as connection:
        connection.execute(sa.insert(tables.experiments).values(**values))
    assert row(context, judged("better")).state == "done"
    assert len(context.db.rows(sa.select(tables.experiments))) == 1


def test_a_comparison_with_a_champion_of_yesterday_holds_up_nobody(context, judged):
    values = {"name": "e", "champion": "gone", "challenger": "b", "traffic_share": 0.5}
    with context.db.transaction() as connection:
        connection.execute(sa.insert(tables.experiments).values(**values))
    judged("better")
    states = [each.state for each in context.db.rows(sa.select(tables.experiments).order_by(tables.experiments.c.id))]
    assert states == ["stopped", "running"]
