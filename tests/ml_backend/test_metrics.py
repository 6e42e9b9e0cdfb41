"""Promises about /metrics' numbers."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context
from ml_backend.jobs import enqueueing, processes
from ml_backend.jobs.relay import Relay
from ml_backend.metrics import Metrics
from tests.ml_backend.job_functions import POOLED, WORK
from tests.servers.redis import free_port


def test_work_is_counted_in_the_database_when_somebody_asks(context: Context) -> None:
    metrics = Metrics(context)
    with context.db.transaction() as tx:
        enqueueing.enqueue(tx, WORK, due_at=tables.now() - timedelta(seconds=90))
        enqueueing.enqueue(tx, POOLED, due_at=tables.now() + timedelta(hours=1))
    processes.seen(context.db, "relay@here", "relay", started_at=tables.now())
    text = metrics.text().decode()
    assert 'kaan_jobs{queue="sync",state="waiting"} 1.0' in text
    assert 'kaan_jobs{queue="transcribe",state="waiting"} 1.0' in text
    assert 'kaan_oldest_due_job_seconds{priority="live",queue="sync"} 9' in text
    assert 'kaan_oldest_due_job_seconds{priority="live",queue="transcribe"} 0.0' in text
    assert 'kaan_process_seen_seconds{name="relay@here",role="relay"} 0.' in text


def test_requests_are_counted_by_route_and_status(context: Context) -> None:
    metrics = Metrics(context)
    for status in (200, 200, 401):
        metrics.answered("/predict", status, seconds=0.02)
    text = metrics.text().decode()
    assert 'kaan_requests_total{route="/predict",status="200"} 2.0' in text
    assert 'kaan_request_seconds_bucket{le="0.025",route="/predict"} 3.0' in text


def test_a_promoted_model_that_does_not_load_is_counted_by_kind_while_its_process_lives(context: Context) -> None:
    database = context.db
    for name, role, kinds in (
        ("live-1", "live", {"nlu": "no"}),
        ("live-2", "live", {}),
        ("old", "live", {"asr": "no"}),
    ):
        processes.seen(database, name, role, started_at=tables.now(), detail={"not_loaded": kinds})
    with database.transaction() as connection:
        old = {"seen_at": tables.now() - timedelta(minutes=5)}
        connection.execute(sa.update(tables.processes).where(tables.processes.c.name == "old").values(**old))
    text = Metrics(context).text().decode()
    found = {kind: f'kaan_live_model_not_loaded{{kind="{kind}"}}' for kind in ("asr", "nlu", "tts")}
    assert f"{found['nlu']} 1.0" in text
    assert f"{found['asr']} 0.0" in text
    assert f"{found['tts']} 0.0" in text


def test_a_relay_that_reaches_no_redis_says_so_in_its_heartbeat(context: Context) -> None:
    """An empty port stands for a Redis that is away; with nothing due nobody would notice."""
    settings = context.settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}/0"})
    object.__setattr__(context, "settings", settings)
    assert "kaan_redis_trouble 0.0" in Metrics(context).text().decode()
    with context.db.transaction() as tx:
        enqueueing.enqueue(tx, WORK, due_at=tables.now() - timedelta(seconds=1))
    Relay(context, schedules=()).step()
    assert "kaan_redis_trouble 1.0" in Metrics(context).text().decode()
