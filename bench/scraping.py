"""A scrape of /metrics at ten thousand calls and at a million: it costs the same, and little.

There are as many recordings and jobs, of which a third still waits, and a tenth as many annotations and transcriptions.
On SQLite, whose work is this process's own; that PostgreSQL scans nothing either is a test
(tests/sync/live/test_kept_counts.py).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bench.ratios import own_cpu_s
from ml_backend import db, tables
from ml_backend.context import Context, JobContext, open_context
from ml_backend.metrics import Metrics
from ml_backend.settings import Settings
from sync.live import kept_counts

FEW, MANY, TIMES = 10_000, 1_000_000, 15
MOST_MS, MOST_GROWTH = 50.0, 1.5
_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows)"
_FILL = (  # (share, table, columns, values)
    (
        1, "calls", "created_at, updated_at, provider, call_sid, merged, seen_by, state, tries, due_at",
        ":now, :now, 'exotel', 'c' || i, '{}', '[]', CASE WHEN i % 50 = 0 THEN 'to-fetch' ELSE 'tasked' END, 0, :now",
    ),
    (
        1, "recordings", "created_at, updated_at, source, source_identity, synthetic, priority, state",
        ":now, :now, 'exotel', 'r' || i, false, 50, 'ready'",
    ),
    (
        1, "jobs",
        "created_at, name, queue, arguments, priority, state, due_at, finished_at, attempt, failures, deaths",
        ":now, 'ingest-recording', 'sync', '{}', 100, CASE WHEN i % 3 = 0 THEN 'waiting' ELSE 'done' END, :now, :now,"
        " 1, 0, 0",
    ),
    (
        10, "transcriptions",
        "created_at, recording_id, audio_sha256, model_version, decoding_hash, decoding, text, transcript, confidence,"
        " duration_s",
        ":now, i, 'a' || i, 'v1', 'h', '{}', '', '{}', 1.0, 60.0",
    ),
    (
        10, "annotations",
        "created_at, project_id, ls_annotation_id, ls_updated_at, result, skipped, ground_truth, before_attach, edited",
        ":now, 1, i, :now, '[]', false, false, false, 'edited'",
    ),
)  # fmt: skip


def rows(*, quick: bool = False) -> Iterator[dict[str, Any]]:
    many = MANY // 10 if quick else MANY
    few_ms, many_ms = (_scrape_ms(number) for number in (FEW, many))
    yield {
        "name": f"a scrape of /metrics with {many:,} calls, CPU (ms, the median)", "value": round(many_ms, 1),
        "target": MOST_MS, "met": many_ms <= MOST_MS, "samples": TIMES,
    }  # fmt: skip
    yield {
        "name": f"a scrape of /metrics with {many:,} calls / with {FEW:,}, CPU", "value": round(many_ms / few_ms, 2),
        "target": MOST_GROWTH, "met": many_ms / few_ms <= MOST_GROWTH, "samples": TIMES,
    }  # fmt: skip


def _scrape_ms(number: int) -> float:
    with tempfile.TemporaryDirectory(prefix="kaan-scraping-") as folder:
        context = _filled(Path(folder), number)
        kept_counts.keep_counts(JobContext(context.settings, context.db, context.store))
        metrics = Metrics(context)
        metrics.text()
        took = sorted(own_cpu_s(metrics.text) for _ in range(TIMES))
        context.db.dispose()
    return took[TIMES // 2] * 1000


def _filled(folder: Path, number: int) -> Context:
    settings = Settings(_env_file=None, data_dir=folder)
    db.upgrade(settings.database)
    context = open_context(settings)
    with context.db.transaction() as connection:
        project = {"instance_url": "http://label-studio", "ls_project_id": 1, "state": "attached"}
        connection.execute(sa.insert(tables.projects).values(**project))
    for share, table, columns, values in _FILL:
        with context.db.transaction() as connection:
            statement = sa.text(f"INSERT INTO {table} ({columns}) {_NUMBERS} SELECT {values} FROM n")  # noqa: S608
            given = sa.bindparam("now", tables.now(), tables.UtcTime())
            connection.execute(statement.bindparams(given), {"rows": number // share})
    return context
