"""The whole way in: a callback becomes a call, a recording, a transcript and a task in a real Label Studio."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from ml_backend import tables
from ml_backend.settings import Settings
from tests import ledger_rules
from tests.servers import exotel
from tests.sync.conftest import CALLS, Service, serving

SECRET = "a-webhook-secret-of-the-tests"


@pytest.fixture
def provider() -> Iterator[exotel.Exotel]:
    with exotel.running() as server:
        yield server


@pytest.fixture
def taking_calls(settings: Settings, provider: exotel.Exotel) -> Iterator[Service]:
    """A service that knows this provider."""
    values = {name.lower(): value for name, value in provider.environment.items()}
    for name in ("exotel_api_key", "exotel_api_token"):
        values[name] = SecretStr(values[name])
    more = {"exotel_webhook_secret": SecretStr(SECRET)}
    with serving(settings.model_copy(update={**values, **more})) as served:
        yield served


def callback(service: Service, row: dict[str, object]) -> httpx.Response:
    """What Exotel posts when a call is over."""
    form = {
        "CallSid": row["Sid"],
        "Status": row["Status"],
        "RecordingUrl": row["RecordingUrl"] or "",
        "From": row["From"],
        "To": row["To"],
        "EventType": "terminal",
    }
    return httpx.post(f"{service.url}/webhooks/exotel/{SECRET}", data={k: str(v) for k, v in form.items()})


def test_a_call_that_ends_becomes_a_task_with_its_transcript_and_its_audio_is_kept(
    taking_calls: Service, provider: exotel.Exotel
) -> None:
    service = taking_calls
    project = service.project()
    service.context.db.update(tables.projects, project.id, selection={"review": "all"})
    audio = (CALLS / "en-delivery-noisy.wav").read_bytes()
    row = provider.add(7, audio=audio, file_name=f"{7:031x}p.wav")

    for _ in range(3):
        assert callback(service, row).status_code == 200
    service.run_jobs()

    [task] = service.there(project)
    assert len(task["predictions"]) == 1
    [call] = service.rows(tables.calls)
    assert (call.call_sid, call.state, call.status) == (row["Sid"], "tasked", "completed")
    [recording] = service.rows(tables.recordings)
    assert recording.bucket == "call-recordings"
    assert recording.object_key.endswith(f"/{row['Sid']}.wav")
    stored = service.context.store.open_local(recording.bucket, recording.object_key)
    assert stored is not None
    assert stored.read_bytes() == audio
    with service.context.db.reading() as connection:
        assert ledger_rules.violations(connection) == []


def test_a_call_nobody_reported_is_found_in_the_listing_and_goes_the_same_way(
    taking_calls: Service, provider: exotel.Exotel
) -> None:
    from ml_backend.jobs import enqueueing, job_kinds

    service = taking_calls
    project = service.project()
    service.context.db.update(tables.projects, project.id, selection={"review": "all"})
    an_hour_ago = tables.now() - timedelta(hours=1)
    provider.add(8, created=an_hour_ago, audio=(CALLS / "hi-refund-sum.wav").read_bytes(), file_name=f"{8:031x}p.wav")
    provider.add(9, created=an_hour_ago, status="no-answer")

    with service.context.db.transaction() as connection:
        enqueueing.enqueue(connection, job_kinds.RECONCILE_CALLS, hours=2)
    service.run_jobs()

    assert [len(task["predictions"]) for task in service.there(project)] == [1]
    states = {call.call_sid[-2:]: call.state for call in service.rows(tables.calls)}
    assert states == {"8p": "tasked", "9p": "no-recording"}
    with service.context.db.reading() as connection:
        assert ledger_rules.violations(connection) == []
    texts = service.context.db.rows(sa.select(tables.transcriptions.c.text))
    assert len(texts) == 1
