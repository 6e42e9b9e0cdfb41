"""One id leads through the log from Exotel's callback to the draft: `grep ID`, as docs/operate/monitoring.md says."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from ml_backend import log, tables
from ml_backend.api.app import create_app
from ml_backend.jobs import enqueueing, job_kinds, runner
from ml_backend.labelling import labelconfig
from ml_backend.serving import default_model
from model import SpeechModel
from tests.sync.provider import SPEECH, beside

SECRET = "s" * 24
STEPS = (
    "read-call-event",
    "fetch-recording",
    "ingest-recording",
    "transcribe-recording",
    "select-recording",
)  # it drafts


def lines_with(stream: io.StringIO, wanted: str) -> list[dict[str, Any]]:
    """`grep WANTED`."""
    return [json.loads(line) for line in stream.getvalue().splitlines() if wanted in line]


def project(context: Any) -> None:
    xml = labelconfig.read("original")
    values = {
        "instance_url": "http://ls", "ls_project_id": 1, "state": "attached", "label_config": xml,
        "config_sha256": labelconfig.digest(xml), "extra_params": {},
    }  # fmt: skip
    with context.db.transaction() as connection:
        connection.execute(sa.insert(tables.projects).values(**values))


def run_until_drafted(context: Any) -> None:
    for _ in range(12):
        row = tables.jobs.c
        due = sa.select(row.id).where(row.state == "waiting", row.name.in_(STEPS), row.due_at <= tables.now())
        ids = [each.id for each in context.db.rows(due.order_by(row.id))]
        if not ids:
            return
        for job_id in ids:
            runner.Runner(context).run(job_id)


def test_one_id_leads_from_the_callback_to_the_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    switches = {"exotel_webhook_secret": SecretStr(SECRET), "audit_share": 1.0, "blind_share": 0.0}
    with beside(tmp_path, monkeypatch, **switches) as here:
        project(here.context)
        default_model.ensure(here.context)
        stream = io.StringIO()
        log.configure(here.context.settings.model_copy(update={"log_format": "json"}), "web", stream=stream)
        client = create_app(here.context.settings, SpeechModel, context=here.context).test_client()
        callers = {}
        for number in (1, 2):  # two calls are transcribed together, and stay apart in the log
            row = here.provider.add(number, audio=SPEECH)
            said = {"CallSid": row["Sid"], "Status": "completed", "RecordingUrl": row["RecordingUrl"]}
            answered = client.post(f"/webhooks/exotel/{SECRET}", data=said)
            assert answered.status_code == 200
            callers[row["Sid"]] = answered.headers["X-Request-Id"]
        run_until_drafted(here.context)
        assert len(set(callers.values())) == 2
        assert len(here.rows(tables.predictions)) == 2
        for request in callers.values():
            mine = lines_with(stream, request)
            ran = [line["kind"] for line in mine if line["event"] == "job ran"]
            assert mine[0]["event"] == "a call event is kept"
            assert [name for name in STEPS if name not in ran] == []
            assert all(line["at"] and line["level"] and line["role"] for line in mine)


def test_a_job_of_a_schedule_begins_a_trace_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with beside(tmp_path, monkeypatch) as here:
        stream = io.StringIO()
        log.configure(here.context.settings.model_copy(update={"log_format": "json"}), "worker", stream=stream)
        with here.context.db.transaction() as connection:
            job = enqueueing.enqueue(connection, job_kinds.KEEP_COUNTS, key="all")
        runner.Runner(here.context).run(job)
        [ran] = [line for line in lines_with(stream, f"job-{job}") if line["event"] == "job ran"]
        assert ran["trace"] == f"job-{job}"


def test_two_threads_and_two_requests_do_not_take_each_others_id() -> None:
    with log.about(trace="first"):
        assert log.trace() == "first"
        with log.about(members={("recording_id", 5): "other"}):
            assert log.trace({"recording_id": 5}) == "other"
            assert log.trace({"recording_id": 6}) == "first"
        assert log.trace({"recording_id": 5}) == "first"
    assert log.trace() != "first"
