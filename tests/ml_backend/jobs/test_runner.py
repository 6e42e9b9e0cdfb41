"""Promises about running one job row: leases, fencing, retries by branch, pools, and the end of hanging processes."""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context
from ml_backend.errors import RetryableError
from ml_backend.jobs import attempt, enqueueing, leases, runner
from ml_backend.jobs.job_kinds import BULK, WAITED_FOR, JobKind
from tests.ml_backend.job_functions import (
    FAIL,
    FAIL_THEN_WORK,
    GONE,
    HANG,
    HANG_WITH_INTERPRETER,
    KINDS,
    POOLED,
    UNTIL_TOLD,
    WORK,
    diary,
)
from tests.ml_backend.serve import QUICK, processes, until

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # where the kind of database is no matter


def _add(context: Context, kind: JobKind, **values: object) -> int:
    with context.db.transaction() as tx:
        return enqueueing.enqueue(tx, kind, **values)


def _row(context: Context, job_id: int) -> sa.Row:
    return context.db.row(tables.jobs, job_id)


def _state(context: Context, job_id: int) -> str:
    return str(_row(context, job_id).state)


def _run_due(context: Context, **options: object) -> runner.Summary:
    return runner.run_due(context, kinds=KINDS, timing=QUICK, **options)


def test_everything_due_runs_and_is_done(context: Context) -> None:
    ids = [_add(context, WORK, n=n) for n in range(3)]
    assert [settled.job_id for settled in _run_due(context).of("done")] == ids
    assert diary(context) == ["start 0 1", "end 0 1", "start 1 1", "end 1 1", "start 2 1", "end 2 1"]


def test_a_person_waiting_goes_before_bulk(context: Context) -> None:
    bulk, urgent = _add(context, WORK, n=1, priority=BULK), _add(context, WORK, n=2, priority=WAITED_FOR)
    assert [settled.job_id for settled in _run_due(context).outcomes] == [urgent, bulk]


def test_a_job_that_is_not_due_waits(context: Context) -> None:
    job_id = _add(context, WORK, due_at=tables.now() + timedelta(hours=1))
    assert _run_due(context, wait_s=0.2).outcomes == []
    assert _state(context, job_id) == "waiting"


@pytest.mark.parametrize(
    ("branch", "code", "tries", "kept_as"),
    [
        ("retryable", "busy", 3, "retryable"),
        ("permanent", "not-audio", 1, "permanent"),
        ("configuration", "no-token", 1, "configuration"),
        ("exit", "interrupted", 3, "retryable"),
        ("row gone", "row-gone", 1, "permanent"),
        ("unexpected", "unexpected-error", 3, "retryable"),
    ],
)
@SQLITE
def test_the_branch_of_an_error_alone_decides_how_often_a_job_is_tried(
    context: Context, branch: str, code: str, tries: int, kept_as: str
) -> None:
    job_id = _add(context, FAIL, branch=branch)
    summary = _run_due(context, wait_s=5)
    row = _row(context, job_id)
    assert (row.state, row.error_code, row.error_branch, row.attempt) == ("failed", code, kept_as, tries)
    assert [settled.job_id for settled in summary.failed] == [job_id]
    assert row.error
    assert row.lease_owner is None


@SQLITE
def test_an_unknown_exception_keeps_no_value_in_the_row_and_no_number_in_the_log(
    context: Context, capfd: pytest.CaptureFixture[str]
) -> None:
    with processes(context) as start:
        job_id = _add(context, FAIL, branch="unexpected")
        process = start("run")
        assert process.wait() == 0
        assert "ValueError" in process.log
        assert "Traceback" in process.log
        assert "12345678" not in process.log
    row = _row(context, job_id)
    assert row.error == "Something unexpected went wrong (ValueError)."
    assert "12345678" not in str(row)


def test_back_off_is_spread_over_a_doubling_span_and_an_error_may_name_its_own() -> None:
    timing = leases.Timing(backoff_s=10, backoff_cap_s=35)
    for failures, bound in ((1, 10), (2, 20), (3, 35), (9, 35)):
        delays = [leases._delay_s(RetryableError("busy", "Busy."), failures, timing) for _ in range(200)]
        assert all(0 <= delay <= bound for delay in delays)
        assert max(delays) > bound * 0.8
        assert min(delays) < bound * 0.2
    assert leases._delay_s(RetryableError("busy", "Busy.", after_s=123), 1, timing) == 123


def test_a_retried_job_that_works_forgets_its_error(context: Context) -> None:
    job_id = _add(context, FAIL_THEN_WORK)
    assert len(_run_due(context, wait_s=5).outcomes) == 2
    row = _row(context, job_id)
    assert (row.state, row.attempt, row.failures, row.error_code) == ("done", 2, 1, None)


@SQLITE
def test_a_kind_or_function_that_is_not_here_fails_with_its_name(context: Context) -> None:
    gone = _add(context, GONE)
    unknown = _add(context, JobKind("from-tomorrow", "x.y", "sync", 1))
    _run_due(context)
    assert _row(context, gone).error_code == "job-not-installed"
    assert "from-tomorrow" in _row(context, unknown).error
    assert "work" in _row(context, unknown).error


def test_the_attempt_is_counted_and_leased_before_any_work(context: Context) -> None:
    seen = []
    job_id = _add(context, WORK)
    _run_due(context, on_start=lambda name, ids: seen.append(_row(context, job_id)))
    assert (seen[0].attempt, seen[0].state) == (1, "running")
    assert seen[0].lease_until > tables.now()


def test_the_heartbeat_keeps_the_lease_of_a_long_job(context: Context) -> None:
    job_id = _add(context, WORK, seconds=1.2)
    timing = replace(QUICK, lease_s=0.8, beat_s=0.2)
    thread = threading.Thread(target=runner.Runner(context, kinds=KINDS, timing=timing).run, args=(job_id,))
    thread.start()
    ran_out = 0
    while thread.is_alive():
        with context.db.reading() as connection:
            ran_out += len(leases.ran_out(connection, lease_s=timing.lease_s))
        time.sleep(0.05)
    assert ran_out == 0
    assert _state(context, job_id) == "done"


def test_a_slow_old_attempt_cannot_overwrite_what_a_later_one_wrote(context: Context) -> None:
    job_id = _add(context, UNTIL_TOLD)
    never_beats = replace(QUICK, beat_s=60)
    slow: list[list[leases.Settled]] = []
    old = runner.Runner(context, kinds=KINDS, timing=never_beats)
    thread = threading.Thread(target=lambda: slow.append(old.run(job_id)))
    thread.start()
    until(lambda: diary(context) == ["start 0 1"])
    _let_leases_run_out(context)
    with context.db.transaction() as tx:  # as the relay does
        assert [settled.state for settled in leases.take_back(tx, lease_s=30)] == ["waiting"]
    assert [settled.attempt for settled in _run_due(context).of("done")] == [2]
    finished = _row(context, job_id)
    (context.settings.data_dir / "go").touch()
    thread.join()
    assert diary(context)[-1] == "end 0 1"  # the old attempt did come to its end
    assert slow == [[]]
    assert _row(context, job_id) == finished


def test_an_old_message_about_an_earlier_attempt_takes_nothing(context: Context) -> None:
    job_id = _add(context, FAIL_THEN_WORK)
    one = runner.Runner(context, kinds=KINDS, timing=QUICK)
    assert one.run(job_id, after_attempt=0)
    assert one.run(job_id, after_attempt=0) == []
    assert one.run(job_id, after_attempt=1)
    assert one.run(job_id, after_attempt=2) == []  # done


def test_two_jobs_of_one_key_never_run_at_once(context: Context) -> None:
    first = _add(context, WORK, key="a", n=1, seconds=0.3)
    threads = []
    for n in (2, 3, 4):
        thread = threading.Thread(target=_run_due, args=(context,), kwargs={"wait_s": 0.0})
        thread.start()
        threads.append(thread)
        if n == 2:
            until(lambda: _state(context, first) == "running")
            _add(context, WORK, key="a", n=2, seconds=0.1)
    for thread in threads:
        thread.join()
    _run_due(context)
    running = 0
    for line in diary(context):
        running += 1 if line.startswith("start") else -1
        assert running <= 1
    assert len(diary(context)) == 4


def test_a_failed_job_gives_way_to_newer_news_of_its_key(context: Context) -> None:
    old = _add(context, FAIL, key="a", branch="retryable")
    with context.db.transaction() as tx:
        lease = leases.take(tx, old, owner="me", lease_s=30)
    newer = _add(context, FAIL, key="a", branch="retryable")
    with context.db.transaction() as tx:
        leases.failed(tx, lease, RetryableError("busy", "Busy."), max_attempts=3, timing=QUICK)
    assert (_state(context, old), _row(context, old).error_code) == ("cancelled", "superseded")
    heir = _row(context, newer)
    assert (heir.state, heir.failures) == ("waiting", 1)  # with what its predecessor had used up
    assert heir.due_at > heir.created_at


def test_deaths_are_counted_on_and_the_third_sets_the_job_aside(context: Context) -> None:
    job_id = _add(context, WORK)
    for expected in ("waiting", "waiting", "quarantined"):
        with context.db.transaction() as tx:
            assert leases.take(tx, job_id, owner="me", lease_s=30)
            tx.execute(sa.update(tables.jobs).values(lease_until=tables.now() - timedelta(seconds=1)))
            leases.take_back(tx, lease_s=30)
        assert _state(context, job_id) == expected
    row = _row(context, job_id)
    assert row.deaths == 3
    assert "set aside" in row.error
    assert "jobs retry" in row.next_step
    assert _run_due(context).outcomes == []


def test_a_lease_written_before_the_clock_went_back_does_not_hold_a_job_for_ever(context: Context) -> None:
    job_id = _add(context, WORK)
    with context.db.transaction() as tx:
        leases.take(tx, job_id, owner="me", lease_s=30)
        tx.execute(sa.update(tables.jobs).values(lease_until=tables.now() + timedelta(hours=1)))
        assert leases.take_back(tx, lease_s=30)


# --- pools


def _recording(context: Context, duration_s: float | None) -> int:
    with context.db.transaction() as tx:
        values = {"source": "object", "source_identity": f"s3://b/{time.monotonic_ns()}", "duration_s": duration_s}
        return int(tx.execute(sa.insert(tables.recordings).values(**values).returning(tables.recordings.c.id)).scalar())


def _pools(context: Context) -> list[list[int]]:
    return [[int(part) for part in line.split()[1:]] for line in diary(context) if line.startswith("pool")]


def test_a_pool_takes_neighbours_up_to_its_seconds_of_audio(context: Context) -> None:
    ids = [_add(context, POOLED, recording_id=_recording(context, seconds)) for seconds in (100, 100, 90, 50)]
    _run_due(context)
    assert _pools(context) == [ids[:3], ids[3:]]
    assert {_state(context, job_id) for job_id in ids} == {"done"}


def test_a_pool_has_at_most_32_members_and_one_long_call_is_a_pool(context: Context) -> None:
    short = [_add(context, POOLED, recording_id=_recording(context, 1.0)) for _ in range(33)]
    long = _add(context, POOLED, recording_id=_recording(context, 4000.0))
    _run_due(context)
    assert [len(pool) for pool in _pools(context)] == [32, 1, 1]
    assert _pools(context)[1:] == [[short[32]], [long]]


def test_bulk_never_rides_with_a_person_who_waits(context: Context) -> None:
    bulk = [_add(context, POOLED, priority=BULK, mood="fine") for _ in range(2)]
    urgent = [_add(context, POOLED, priority=WAITED_FOR, mood="fine") for _ in range(2)]
    _run_due(context)
    assert _pools(context) == [urgent, bulk]


def test_members_that_fail_or_are_forgotten_do_not_take_the_others_along(context: Context) -> None:
    fine = _add(context, POOLED, mood="fine")
    wrong = _add(context, POOLED, mood="fail")
    forgotten = _add(context, POOLED, mood="forget")
    also_fine = _add(context, POOLED, mood="fine")
    _run_due(context, wait_s=5)
    assert {_state(context, fine), _state(context, also_fine)} == {"done"}
    assert (_state(context, wrong), _row(context, wrong).error_code) == ("failed", "not-audio")
    assert (_state(context, forgotten), _row(context, forgotten).error_code) == ("failed", "not-settled")
    assert _pools(context)[1:] == [[forgotten], [forgotten]]


def test_after_a_call_that_failed_as_a_whole_every_member_runs_alone(context: Context) -> None:
    before = _add(context, POOLED, mood="fine")
    culprit = _add(context, POOLED, mood="raise")
    behind = _add(context, POOLED, mood="fine")
    _run_due(context, wait_s=5)
    assert {_state(context, before), _state(context, behind)} == {"done"}
    assert _row(context, before).attempt == 1  # settled before the call failed: not repeated
    assert _state(context, culprit) == "failed"
    assert all(len(pool) == 1 for pool in _pools(context)[1:])


@SQLITE
def test_after_a_pool_was_killed_the_good_members_finish_alone_and_the_bad_one_is_set_aside(context: Context) -> None:
    good = [_add(context, POOLED, mood="fine") for _ in range(2)]
    bad = _add(context, POOLED, mood="die")
    good.append(_add(context, POOLED, mood="fine"))
    with processes(context) as start:
        for _ in range(3):
            assert start("run").wait() == -signal.SIGKILL
            _let_leases_run_out(context)
        assert start("run").wait() == 0
    assert {_state(context, job_id) for job_id in good} == {"done"}
    assert _state(context, bad) == "quarantined"
    ends = [line.split()[1] for line in diary(context) if line.startswith("end")]
    assert sorted(ends) == sorted(str(job_id) for job_id in good)


def _let_leases_run_out(context: Context) -> None:
    with context.db.transaction() as tx:
        running = sa.update(tables.jobs).where(tables.jobs.c.state == "running")
        tx.execute(running.values(lease_until=tables.now() - timedelta(seconds=1)))


def _lease_is_over(context: Context, job_id: int) -> bool:
    return bool(_row(context, job_id).lease_until < tables.now())


# --- processes that must end


@SQLITE
def test_a_job_that_hangs_in_c_code_is_ended_at_its_time_limit(context: Context) -> None:
    job_id = _add(context, HANG)
    with processes(context) as start:
        assert start("run").wait() == attempt.EXIT_TIME_LIMIT
    row = _row(context, job_id)
    assert (row.state, row.error_code) == ("failed", "time-limit")
    assert "0.5 s" in row.error


@SQLITE
def test_a_job_that_hangs_and_holds_the_interpreter_is_ended_too(context: Context) -> None:
    job_id = _add(context, HANG_WITH_INTERPRETER)
    with processes(context) as start:
        assert start("run").wait() == 1
    _let_leases_run_out(context)
    with context.db.transaction() as tx:
        leases.take_back(tx, lease_s=QUICK.lease_s)
    assert (_state(context, job_id), _row(context, job_id).deaths) == ("waiting", 1)


def test_cancelling_a_running_job_ends_its_process(context: Context) -> None:
    job_id = _add(context, UNTIL_TOLD)
    with processes(context) as start:
        process = start("run")
        until(lambda: diary(context) == ["start 0 1"])
        enqueueing.cancel(context.db, job_id)
        assert process.wait() == attempt.EXIT_LEASE_LOST
    assert _state(context, job_id) == "cancelled"


@SQLITE
def test_a_process_that_slept_through_its_lease_ends_when_it_wakes(context: Context) -> None:
    job_id = _add(context, UNTIL_TOLD)
    with processes(context) as start:
        process = start("run")
        until(lambda: diary(context) == ["start 0 1"])
        process.signal(signal.SIGSTOP)
        until(lambda: _lease_is_over(context, job_id))
        assert [settled.state for settled in _run_due(context).outcomes] == ["done"]
        process.signal(signal.SIGCONT)
        assert process.wait() == attempt.EXIT_LEASE_LOST
    assert diary(context) == ["start 0 1", "start 0 2", "end 0 2"]
    assert (_state(context, job_id), _row(context, job_id).attempt) == ("done", 2)


@SQLITE
def test_ctrl_c_lets_the_job_wait_again_at_once(context: Context) -> None:
    job_id = _add(context, UNTIL_TOLD)
    with processes(context) as start:
        process = start("run")
        until(lambda: diary(context) == ["start 0 1"])
        process.signal(signal.SIGINT)
        process.wait()
    row = _row(context, job_id)
    assert (row.state, row.deaths, row.failures) == ("waiting", 0, 0)
    assert _run_due(context).of("done")


@SQLITE
def test_an_outcome_is_offered_again_when_the_database_refuses_it(context: Context) -> None:
    job_id = _add(context, WORK, seconds=0.2)
    one = runner.Runner(context, kinds=KINDS, timing=QUICK)
    real, refusals = context.db.transaction, [2]

    def sometimes():  # type: ignore[no-untyped-def]
        if refusals[0] and (context.settings.data_dir / "diary").exists():
            refusals[0] -= 1
            raise RetryableError("database-unavailable", "locked")
        return real()

    context.db.transaction = sometimes  # type: ignore[method-assign]
    try:
        assert [settled.state for settled in one.run(job_id)] == ["done"]
    finally:
        del context.db.transaction
    assert refusals == [0]


def test_progress_is_shown_and_gone_with_the_lease(context: Context) -> None:
    job_id = _add(context, WORK)
    with context.db.transaction() as tx:
        lease = leases.take(tx, job_id, owner="me", lease_s=30)
        assert leases.report(tx, lease, 0.25, "decoding")
    assert _row(context, job_id).progress == {"fraction": 0.25, "note": "decoding"}
    with context.db.transaction() as tx:
        leases.done(tx, lease)
        assert not leases.report(tx, lease, 0.5, "late")
