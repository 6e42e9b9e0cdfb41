"""Work on the page: jobs, trouble, schedules and storage; retry and cancel with a name and a reason."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.jobs import enqueueing, job_kinds, schedules
from ml_backend.reports import storage_growth
from tests.ml_backend.api.serving import BEARER, Serving
from tests.ml_backend.page.visitors import API_TOKENS, visitor

WRONG = {"error_code": "store-down", "error": "The store <i>is</i> down.", "next_step": "Start it."}


@pytest.fixture
def busy(serve: Any) -> Serving:
    """A waiting job, a failed one, a schedule that ran, a bucket that grows."""
    serving: Serving = serve(api_tokens=API_TOKENS)
    with serving.context.db.transaction() as connection:
        enqueueing.enqueue(connection, job_kinds.INGEST_RECORDING, recording_id=7)
        failed = enqueueing.enqueue(connection, job_kinds.SCAN_BUCKET, bucket="=cmd", full=0)
        ended = sa.update(tables.jobs).where(tables.jobs.c.id == failed)
        connection.execute(ended.values(state="failed", finished_at=tables.now(), **WRONG))
        for day in range(1, 5):
            storage_growth.keep(connection, "bucket:calls", date(2026, 11, day), {"used_bytes": day * 10**9})
    weekly = next(each for each in schedules.SCHEDULES if each.kind is job_kinds.CHECK_WEEKLY)
    schedules.make_due(serving.context.db, weekly)
    return serving


def job(busy: Serving, state: str) -> Any:
    return busy.context.db.rows(sa.select(tables.jobs).where(tables.jobs.c.state == state))[0]


def test_work_shows_trouble_with_its_next_step_schedules_and_storage(busy: Serving) -> None:
    page = visitor(busy).get("/page/work").text
    for said in (
        "The store &lt;i&gt;is&lt;/i&gt; down.",
        "Start it.",
        "check-weekly",
        "10 min",
        "bucket:calls",
        "4.0 GB",
    ):
        assert said in page
    assert "Size of each place as a table" in page


def test_the_list_of_jobs_filters_as_the_api_does_and_its_csv_runs_nothing(busy: Serving) -> None:
    page = visitor(busy).get("/page/work/jobs?state=failed&name=").text
    assert f"/page/work/jobs/{job(busy, 'failed').id}" in page
    assert "ingest-recording</bdi>" not in page
    csv = visitor(busy).get("/page/work/jobs?format=csv").text
    assert len(csv.splitlines()) == 1 + len(busy.get("/api/jobs", BEARER).get_json()["jobs"])
    assert visitor(busy).get("/page/work/jobs?state=asleep").status_code == 400


def test_a_job_can_be_run_again_and_cancelled_by_who_may_operate_with_a_name_and_a_reason(busy: Serving) -> None:
    failed, waiting = job(busy, "failed"), job(busy, "waiting")
    assert visitor(busy).post(f"/page/work/jobs/{failed.id}/retry", reason="it is up", sure="yes").status_code == 403
    one = visitor(busy, "operate")
    assert one.post(f"/page/work/jobs/{failed.id}/retry", sure="yes").status_code == 400
    assert one.post(f"/page/work/jobs/{failed.id}/retry", reason="it is up", sure="yes").status_code == 303
    assert busy.context.db.row(tables.jobs, failed.id).state == "waiting"
    assert "Retried by shop: it is up" in one.get(f"/page/work/jobs/{failed.id}").text
    assert one.post(f"/page/work/jobs/{waiting.id}/cancel", reason="not needed", sure="yes").status_code == 303
    cancelled = busy.context.db.row(tables.jobs, waiting.id)
    assert (cancelled.state, cancelled.progress["note"]) == ("cancelled", "Cancelled by shop: not needed")
    assert visitor(busy).get("/page/work/jobs/999999").status_code == 404


def test_a_job_that_waits_says_which_worker_is_missing(busy: Serving) -> None:
    assert "No sync worker is running" in visitor(busy).get(f"/page/work/jobs/{job(busy, 'waiting').id}").text


def test_each_list_of_work_can_be_sorted_and_taken_as_csv(busy: Serving) -> None:
    one = visitor(busy)
    for part in ("by_kind", "trouble", "schedules", "storage"):
        assert one.get(f"/page/work/{part}").status_code == 200
        assert len(one.get(f"/page/work/{part}?format=csv").text.splitlines()) > 1
    rows = one.get("/page/work/by_kind?sort=-failed&format=csv").text.splitlines()[1:]
    assert rows[0].startswith("scan-bucket,")
    assert one.get("/page/work/nothing").status_code == 404
