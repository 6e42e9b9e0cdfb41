"""What a scan found walks the whole way: normalised, heard, selected, a task in Label Studio; and only once."""

from __future__ import annotations

import pytest

from ml_backend import tables
from ml_backend.calls import ledger
from ml_backend.calls.events import CallEvent
from ml_backend.jobs import enqueueing, job_kinds
from tests.sync.conftest import CALLS, Service
from tests.sync.outside import Outside

SID = "4f6c2a9be0d14c7f8a55"


@pytest.mark.parametrize("store", ["service", "s3_service"])
def test_an_object_becomes_the_one_task_of_its_call(request: pytest.FixtureRequest, store: str) -> None:
    service: Service = request.getfixturevalue(store)
    project = service.project("calls")
    service.context.db.update(tables.projects, project.id, selection={"review": "all"})
    service.run_jobs()
    outside = Outside(service.context)
    outside.put("call-recordings", f"export/{SID}.mp3", (CALLS / "en-short-price.mp3").read_bytes())
    outside.put("call-recordings", f"recordings/2026/11/20/{SID}.wav", (CALLS / "en-delivery-noisy.wav").read_bytes())
    with service.context.db.transaction() as connection:
        enqueueing.enqueue(connection, job_kinds.SCAN_BUCKET, key="*:1", bucket="*", full=1)
    service.run_jobs()
    event = CallEvent(
        call_sid=SID, source="status_callback", status="completed",
        recording_url=f"https://recordings.exotel.com/x/{SID}.mp3", from_="00000000101",
    )  # fmt: skip
    with service.context.db.transaction() as connection:
        ledger.record(connection, event, key=b"k" * 32)
    outside.scan()
    service.run_jobs()

    [task] = service.there(project)
    assert task["data"]["call"] == SID[:8], "as short as people read it; `calls show` takes it"
    assert len(task["predictions"]) == 1
    [call] = service.rows(tables.calls)
    assert (call.state, call.seen_by) == ("tasked", ["object", "status_callback"])
    states = {row.object_key: row.state for row in outside.rows(tables.objects)}
    assert states == {f"export/{SID}.mp3": "same-call", f"recordings/2026/11/20/{SID}.wav": "taken"}
    assert [row.source for row in service.rows(tables.recordings)] == ["object"]
