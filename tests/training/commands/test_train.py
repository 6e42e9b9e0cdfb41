"""`train asr` where torch is not installed: one sentence, and no run that nobody can carry out."""

import re

import pytest
import sqlalchemy as sa

from ml_backend import packages, tables
from ml_backend.commands import command_line
from ml_backend.jobs import job_kinds
from tests.training.datasets import speech
from training.datasets import dataset


@pytest.fixture
def service(tmp_path, monkeypatch):
    opened = speech.opened(tmp_path)
    opened.sample(opened.call("hi-refund-sum.wav", who=speech.caller(1), sid="a"), 0.0, 2.0, "नमस्ते")
    dataset.export(opened.context, forms=())
    for name, value in (("DATA_DIR", tmp_path), ("DATABASE_URL", opened.context.settings.database)):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("OBJECT_STORE", opened.context.settings.objects)
    monkeypatch.setattr(packages, "_is_here", lambda name: name != "torch")
    yield opened
    opened.context.db.dispose()


def test_nothing_begins_where_torch_is_missing(service, capsys):
    for asked in (["asr", "--dataset", "calls"], ["asr", "--dataset", "calls", "--json"]):
        assert command_line.main(["train", *asked]) == 2
        assert capsys.readouterr().err.splitlines() == [
            "error: Training needs the training set, and torch is not installed here. [not-installed]",
            "       Install it: `make environment-training`; in containers, use the training image.",
        ]
    assert service.context.db.rows(sa.select(tables.runs)) == []


def test_a_job_for_a_worker_says_at_once_that_none_is_running_and_what_it_takes(service, capsys):
    assert command_line.main(["train", "asr", "--dataset", "calls", "--job"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"No training worker is running; start one: `\S*python -m ml_backend worker training`", said)
    assert "make environment-training" in said
    assert command_line.main(["export", "calls", "--later"]) == 0
    assert "No training worker is running" in capsys.readouterr().out


def test_a_worker_without_torch_ends_the_job_as_one_that_needs_a_setting_and_the_run_waits(
    service, capsys, monkeypatch
):
    assert command_line.main(["train", "asr", "--dataset", "calls", "--job"]) == 0
    (job,) = service.context.db.rows(sa.select(tables.jobs).where(tables.jobs.c.name == job_kinds.RUN_TRAINING.name))
    assert command_line.main(["jobs", "run", "--queue", "training"]) == 1
    capsys.readouterr()
    row = service.context.db.row(tables.jobs, job.id)
    assert (row.state, row.error_branch, row.error_code) == ("failed", "configuration", "not-installed")
    (run,) = service.context.db.rows(sa.select(tables.runs))
    assert run.state == "waiting"
