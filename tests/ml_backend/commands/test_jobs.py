"""Promises about `python -m ml_backend jobs`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.commands import command_line
from ml_backend.context import Context, open_context
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.settings import Settings

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def context(tmp_path: Path) -> Context:
    settings = Settings(_env_file=None, data_dir=tmp_path)
    db.upgrade(settings.database)
    return open_context(settings)


@pytest.fixture
def run(context: Context, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`run("list", "--json")` -> (exit code, everything printed)."""
    monkeypatch.chdir(context.settings.data_dir)
    for name in ("DATABASE_URL", "OBJECT_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATA_DIR", str(context.settings.data_dir))
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> tuple[int, str]:
        code = command_line.main(["jobs", *arguments])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return call


def _failed(context: Context, *, branch: str = "permanent", state: str = "failed") -> int:
    with context.db.transaction() as tx:
        job_id = enqueueing.enqueue(tx, job_kinds.INGEST_RECORDING, recording_id=7)
        reason = {"error_code": "not-audio", "error": "This is not audio.", "next_step": "Look at the file."}
        values = {"state": state, "error_branch": branch, "attempt": 1, "failures": 1, **reason}
        tx.execute(sa.update(tables.jobs).where(tables.jobs.c.id == job_id).values(**values))
    return job_id


def test_the_list_says_what_is_wrong_and_what_to_do(context: Context, run: Run) -> None:
    _failed(context, branch="configuration")
    _failed(context, state="quarantined")
    code, text = run("list", "--trouble")
    assert code == 0
    for words in ("failed (needs a setting)", "quarantined", "recording_id=7", "This is not audio. Look at the file."):
        assert words in text
    assert "1 failed, 1 quarantined" in text


def test_the_list_as_json_holds_counts_and_rows(context: Context, run: Run) -> None:
    _failed(context)
    code, text = run("list", "--json", "--state", "failed")
    shown = json.loads(text)
    assert (code, shown["counts"]) == (0, {"failed": 1})
    assert shown["jobs"][0]["arguments"] == {"recording_id": 7}
    assert shown["jobs"][0]["due_at"].endswith("+00:00")


def test_an_empty_list_and_an_unknown_state_are_plain_sentences(run: Run) -> None:
    assert run("list") == (0, run("list")[1])
    assert "There are no jobs." in run("list")[1]
    code, text = run("list", "--state", "broken")
    assert code == 1
    assert "There is no state 'broken'" in text
    assert "quarantined" in text


def test_show_tells_the_whole_story_of_one_job(context: Context, run: Run) -> None:
    code, text = run("show", str(_failed(context)))
    assert code == 0
    for words in ("ingest-recording", "1 started, 1 of 5 allowed failed", "[not-audio]", "Look at the file."):
        assert words in text
    assert run("show", "4711")[0] == 1
    assert "There is no job 4711" in run("show", "4711")[1]


def test_retry_names_jobs_or_takes_all_that_waited_for_a_setting(context: Context, run: Run) -> None:
    wrong, setting = _failed(context), _failed(context, branch="configuration")
    assert run("retry", "--needs-setting")[0] == 0
    assert [context.db.row(tables.jobs, each).state for each in (wrong, setting)] == ["failed", "waiting"]
    assert "will run" in run("retry", str(wrong))[1]
    assert "No job needs it." in run("retry", "--trouble")[1]
    assert run("retry")[0] == 1


def test_cancel_takes_a_waiting_job_out(context: Context, run: Run) -> None:
    with context.db.transaction() as tx:
        job_id = enqueueing.enqueue(tx, job_kinds.READ_EVENT, event_id=1)
    assert "cancelled" in run("cancel", str(job_id))[1]
    assert enqueueing.counts(context.db) == {"cancelled": 1}


def test_run_works_without_redis_and_its_exit_code_tells_of_failure(context: Context, run: Run) -> None:
    assert run("run") == (0, "Nothing was due.\n")
    with context.db.transaction() as tx:
        job_id = enqueueing.enqueue(tx, job_kinds.JobKind("from-tomorrow", "x.y", "sync", 1))
    code, text = run("run", "--json")
    assert code == 1
    assert context.db.row(tables.jobs, job_id).error_code == "unknown-job-kind"
    assert "from-tomorrow" in text
