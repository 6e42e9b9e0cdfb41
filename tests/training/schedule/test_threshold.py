"""Reaching the threshold asks for one run, however the samples arrive and however often it is asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.calls import ledger
from ml_backend.context import Context, JobContext, open_context
from ml_backend.jobs import enqueueing, job_kinds, runner, schedules
from ml_backend.settings import Settings
from ml_backend.views import training_progress
from tests.ml_backend.conftest import database_url, postgres_server, postgres_url  # noqa: F401 - both kinds of database
from training.schedule import threshold, training_request

THRESHOLD = 10


@pytest.fixture
def context(database_url: str, tmp_path: Path) -> Iterator[Context]:  # noqa: F811
    settings = Settings(_env_file=None, data_dir=tmp_path, database_url=database_url, training_threshold=THRESHOLD)
    opened = open_context(settings)
    yield opened
    opened.db.dispose()


def project(context: Context) -> int:
    with context.db.transaction() as connection:
        row = {"instance_url": "http://ls", "ls_project_id": 1}
        project_id, _ = db.insert_once(connection, tables.projects, row, key=("instance_url", "ls_project_id"))
    return project_id


def bring(
    context: Context,
    count: int,
    *,
    synthetic: bool = False,
    at: datetime | None = None,
    reason: str = "",
    **values: Any,
) -> None:
    """So many accepted samples in one transaction, as an import makes them."""
    project_id, at = project(context), at or tables.now()
    with context.db.transaction() as connection:
        key = f"{at.isoformat()} {synthetic} {reason} {values}"
        task_id = connection.execute(
            sa.insert(tables.tasks)
            .values(project_id=project_id, external_key=key[:80], origin="ours", selection_reason=reason or None)
            .returning(tables.tasks.c.id)
        ).scalar_one()
        recording_id = connection.execute(
            sa.insert(tables.recordings)
            .values(source="object", source_identity=key, synthetic=synthetic)
            .returning(tables.recordings.c.id)
        ).scalar_one()
        annotation_id = connection.execute(
            sa.insert(tables.annotations)
            .values(project_id=project_id, ls_annotation_id=task_id, ls_updated_at=at, result=[])
            .returning(tables.annotations.c.id)
        ).scalar_one()
        common = {
            "project_id": project_id, "task_id": task_id, "annotation_id": annotation_id,
            "recording_id": recording_id, "start_s": 0.0, "end_s": 3.6, "text": "namaste", "language": "hi",
            "digest": "d", "state": "accepted", "accepted_at": at, **values,
        }  # fmt: skip
        connection.execute(sa.insert(tables.samples), [{**common, "number": number} for number in range(count)])


def runs(context: Context) -> list[Any]:
    return list(context.db.rows(sa.select(tables.runs).order_by(tables.runs.c.id)))


def check(context: Context) -> None:
    with context.db.transaction() as connection:
        enqueueing.enqueue(connection, job_kinds.CHECK_TRAINING, key="all")
    assert not runner.run_due(context, queues=("sync",)).failed


def end(context: Context, state: str) -> None:
    with context.db.transaction() as connection:
        connection.execute(sa.update(tables.runs).values(state=state))


def facts(context: Context) -> dict[str, Any]:
    with context.db.reading() as connection:
        return training_progress.facts(connection, threshold=THRESHOLD)


def test_below_the_threshold_nothing_is_asked_for(context):
    bring(context, THRESHOLD - 1)
    check(context)
    assert runs(context) == []
    assert facts(context)["said"] == "9 of 10"


def test_reaching_the_threshold_asks_for_one_run_however_often_it_is_checked(context):
    bring(context, THRESHOLD)
    check(context)
    end(context, "done")
    check(context)
    [run] = runs(context)
    assert (run.why, run.arguments["samples"]) == ("threshold", THRESHOLD)
    assert [row.name for row in enqueueing.find(context.db, names=["train"])] == ["train"]
    assert facts(context)["new"] == 0


def test_five_thousand_at_once_do_not_step_over_it_and_make_one_run(context):
    bring(context, 5000)
    check(context)
    check(context)
    [run] = runs(context)
    assert run.arguments["samples"] == 5000


def test_two_checks_at_once_make_one_run(context):
    bring(context, THRESHOLD)
    ready, answers = threading.Barrier(4), []

    def ask() -> None:
        ready.wait()
        with context.db.transaction() as connection:
            options = {"who": "schedule", "why": threshold.THRESHOLD, "keep_refusal": False}
            answers.append(threshold.ask(connection, least=THRESHOLD, **options))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(answers) == 4
    assert len([one for one in answers if one.run_id is not None]) == 1
    assert len(runs(context)) == 1


def test_what_is_accepted_while_a_run_is_under_way_counts_for_the_next_one(context):
    bring(context, THRESHOLD)
    check(context)
    bring(context, THRESHOLD + 2, at=tables.now() + timedelta(seconds=1))
    check(context)
    assert len(runs(context)) == 1
    assert facts(context)["new"] == THRESHOLD + 2
    end(context, "done")
    check(context)
    assert [run.arguments["samples"] for run in runs(context)] == [THRESHOLD, THRESHOLD + 2]


def test_synthetic_voice_and_excluded_samples_do_not_count_and_work_from_before_attaching_does(context):
    bring(context, THRESHOLD, synthetic=True)
    bring(context, THRESHOLD, state="excluded", reason_code="unclear", accepted_at=None)
    bring(context, 3, before_attach=True)
    told = facts(context)
    assert (told["new"], told["accepted"], told["excluded"]) == (3, 3, {"unclear": THRESHOLD})
    check(context)
    assert runs(context) == []


def test_samples_whose_sound_is_gone_do_not_count_and_are_shown_as_left_out(context):
    bring(context, 3)
    bring(context, 4, text="old")
    bring(context, 2, state="excluded", reason_code="unclear", accepted_at=None)
    old = sa.select(tables.samples.c.recording_id).where(tables.samples.c.text == "old")
    with context.db.transaction() as connection:
        gone = sa.update(tables.recordings).where(tables.recordings.c.id.in_(old))
        for row in connection.execute(gone.values(state="expired").returning(tables.recordings.c.id)).all():
            ledger.recording_moved(connection, row.id)
        told = training_progress.facts(connection, threshold=THRESHOLD)
    assert (told["new"], told["accepted"]) == (3, 3)
    assert told["excluded"] == {"audio-missing": 4, "unclear": 2}


def test_the_train_button_asks_on_demand_and_a_refusal_is_kept_with_its_reason(context):
    project_id = project(context)

    def press() -> None:
        job = JobContext(context.settings, context.db, context.store)
        training_request.train_requested(job, project_id=project_id)

    press()
    told = facts(context)
    assert told["running"] == []
    assert (told["last_refusal"]["code"], told["last_refusal"]["asked_by"]) == ("nothing-new", "Label Studio")
    bring(context, 2)
    press()
    [running] = facts(context)["running"]
    assert (running["samples"], running["why"], running["project"]) == (2, "button", project_id)
    press()
    assert facts(context)["last_refusal"]["code"] == "run-under-way"
    end(context, "failed")
    press()  # the same samples once more, because nothing came of them
    assert [run.state for run in runs(context)][-1] == "waiting"


def test_a_run_whose_job_gave_up_holds_up_nobody_and_takes_over_its_reason(context):
    bring(context, THRESHOLD)
    check(context)
    with context.db.transaction() as connection:
        values = {"state": "quarantined", "error_code": "job-died", "error": "It died three times."}
        connection.execute(sa.update(tables.jobs).where(tables.jobs.c.name == "train").values(**values))
    bring(context, THRESHOLD, at=tables.now() + timedelta(seconds=1))
    check(context)
    first, second = runs(context)
    assert (first.state, first.reason_code, first.reason) == ("failed", "job-died", "It died three times.")
    assert second.state == "waiting"


def test_a_run_by_hand_counts_as_under_way_as_long_as_its_process_holds_a_device(context):
    bring(context, THRESHOLD)
    lease = tables.device_leases
    with context.db.transaction() as connection:
        by_hand = {"kind": "asr", "arguments": {}, "state": "running"}
        run_id = connection.execute(sa.insert(tables.runs).values(**by_hand)).inserted_primary_key[0]
        until = tables.now() + timedelta(minutes=5)
        connection.execute(sa.insert(lease).values(device="elsewhere:cpu", owner=f"run-{run_id}", until=until))
    check(context)
    assert len(runs(context)) == 1
    with context.db.transaction() as connection:
        connection.execute(sa.update(lease).values(until=tables.now() - timedelta(seconds=1)))
    check(context)
    assert len(runs(context)) == 2


def test_the_expected_date_follows_the_recent_rate_and_is_none_without_one(context):
    assert facts(context)["expected_at"] is None
    now = tables.now()
    for day in (3, 2, 1):
        bring(context, 2, at=now - timedelta(days=day))
    told = facts(context)
    assert told["per_day"] == 2.0
    assert timedelta(days=1.9) < told["expected_at"] - now < timedelta(days=2.2)
    assert told["languages"] == {"hi": {"accepted": 6, "hours": 0.006, "new": 6, "blind": 0}}


def test_only_what_was_drawn_for_the_blind_audit_is_said_to_be_for_testing(context):
    bring(context, 2, blind=True)
    bring(context, 3, blind=True, reason="blind")
    assert facts(context)["languages"]["hi"] == {"accepted": 5, "hours": 0.005, "new": 5, "blind": 3}


def test_the_next_check_is_the_one_that_waits_or_the_next_of_the_schedule(context):
    check(context)
    told = facts(context)
    assert told["next_check_at"] == told["looked_at"] + timedelta(seconds=schedules.CHECK_TRAINING_EVERY_S)
