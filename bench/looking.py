"""What looking costs: every page and `/metrics`, over a year of calls and over a hundredth of it.

Rows are made by the database itself, with a year's spread of times. Jobs that keep counts run once before. SQLite has no
statistics, as in a deployment. What counts
is the CPU of the web app that answers; the database is SQLite, so its work is in it. The same pages over few rows are the
other side: cost may not grow with history. p95 is over all pages of one round, as one visitor meets them.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bench import ratios
from bench.ratios import own_cpu_s
from ml_backend import db
from ml_backend.api.app import create_app, load_plugin
from ml_backend.context import Context, open_context
from ml_backend.jobs import enqueueing, job_kinds, runner
from ml_backend.page import page_shell
from ml_backend.settings import Settings

FEW, MANY, ROUNDS = 10_000, 1_000_000, 5
TASKS = 10  # calls per annotated task
TOKEN = "looks-at-everything-and-is-no-secret"  # noqa: S105 - of a database that is gone a minute later
MORE_PAGES = (
    "/page/calls?state=tasked",
    "/page/calls/days",
    "/page/calls/call-77",
    "/page/recordings?state=ready",
    "/page/worth",
    "/page/work/jobs",
    "/page/experiments",
    "/page/runs",
)

_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows) "
_AT = "strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || (i * 31536000.0 / :rows) || ' seconds') || '000'"


def rows(*, quick: bool = False) -> Iterator[dict[str, Any]]:
    """One result at a time, for the table and `results.json`."""
    many, rounds = (100_000, 1) if quick else (MANY, ROUNDS)
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        small, large = Deployment(Path(folder) / "few", FEW), Deployment(Path(folder) / "many", many)
        for what, looks in (("all pages", Deployment.pages), ("/metrics", Deployment.metrics)):
            pairs, controls, every = [], [], []
            looks(small), looks(large)
            for _ in range(rounds):
                a, b, c = looks(small), looks(large), looks(large)
                pairs.append((sum(a), sum(b)))
                controls.append((sum(b), sum(c)))
                every += b
            every.sort()
            yield ratios.row(
                f"{what} over {many:,} calls / over {FEW:,}, CPU", pairs, controls, target=1.5, at_least=False,
                p95_ms=round(1000 * every[max(0, round(0.95 * len(every)) - 1)], 1),
                median_ms=round(1000 * statistics.median(every), 1), looked_at=len(every) // rounds,
            )  # fmt: skip


class Deployment:
    """A web app over a database with so many calls, a tenth of them annotated."""

    def __init__(self, folder: Path, calls: int) -> None:
        folder.mkdir()
        settings = Settings(_env_file=None, data_dir=folder, api_tokens=f"bench:admin:{TOKEN}")  # type: ignore[call-arg]
        db.upgrade(settings.database)
        self.context: Context = open_context(settings)
        with self.context.db.transaction() as connection:
            for statement in STATEMENTS:
                connection.execute(sa.text(statement), {"rows": calls})
        with self.context.db.transaction() as connection:
            enqueueing.enqueue(connection, job_kinds.COUNT_DAYS, days=15)
            enqueueing.enqueue(connection, job_kinds.COUNT_CALLS)
        runner.run_due(self.context)
        self.app = create_app(settings, load_plugin(settings.plugin), context=self.context)
        self.client = self.app.test_client()
        self.client.post("/page/sign-in", data={"token": TOKEN})

    def pages(self) -> list[float]:
        """CPU seconds of every page."""
        known = [address for _, _, address in page_shell.MENU]
        return [self._look(address) for address in (*known, *MORE_PAGES)]

    def metrics(self) -> list[float]:
        return [self._look("/metrics")]

    def _look(self, address: str) -> float:
        def get() -> None:
            answer = self.client.get(address, headers={"Authorization": f"Bearer {TOKEN}", "Accept": "text/html"})
            if answer.status_code not in (200, 404):
                raise RuntimeError(f"{address} answers {answer.status_code}: {answer.text[:200]}")

        return own_cpu_s(get)


STATEMENTS = (
    _NUMBERS + "INSERT INTO calls (id, created_at, updated_at, provider, call_sid, started_at, merged, seen_by, listed_at, "  # noqa: S608
    "state, reason_code, tries, company_number, direction, talk_seconds) "
    f"SELECT i, {_AT}, {_AT}, 'exotel', 'call-' || i, {_AT}, '{{}}', '[]', {_AT}, "
    "CASE i % 20 WHEN 0 THEN 'missing' ELSE 'tasked' END, CASE i % 20 WHEN 0 THEN 'not-recorded' END, 0, 'n' || (i % 7), "
    "'inbound', 60 FROM n",
    _NUMBERS + "INSERT INTO recordings (id, created_at, updated_at, source, source_identity, call_id, call_sid, synthetic, bucket, "  # noqa: S608
    "object_key, sha256, size_bytes, duration_s, rate_hz, channels, language, language_by, priority, state) "
    f"SELECT i, {_AT}, {_AT}, 'exotel', 'https://recordings/' || i, i, 'call-' || i, 0, 'call-recordings', "
    "'recordings/' || i || '.wav', 'x' || i, 960044, 60, 8000, 1, CASE i % 3 WHEN 0 THEN 'mr' ELSE 'hi' END, 'detected', 50, "
    "'ready' FROM n WHERE i % 20 <> 0",
    "INSERT INTO projects (id, created_at, updated_at, instance_url, ls_project_id, title, state, label_config, extra_params, "
    "draft_label, revision) VALUES (1, '2026-01-01 00:00:00.000000', '2026-01-01 00:00:00.000000', "
    "'http://127.0.0.1:8080', 1, 'Calls', 'attached', '', '{}', 'draft-1', 0)",
    _NUMBERS + "INSERT INTO tasks (id, created_at, updated_at, project_id, recording_id, start_s, end_s, ls_task_id, external_key, "  # noqa: S608
    "origin, blind, overlap, selection_reason, state) "
    f"SELECT i, {_AT}, {_AT}, 1, i, 0, 60, i, 'k' || i, 'ours', 0, 1, 'useful', CASE i % 4 WHEN 0 THEN 'open' ELSE 'annotated' END "
    f"FROM n WHERE i % {TASKS} = 1",
    _NUMBERS + "INSERT INTO annotations (id, created_at, project_id, task_id, ls_task_id, ls_annotation_id, ls_updated_at, "  # noqa: S608
    "ls_created_at, annotator, result, text, language, skipped, ground_truth, lead_time_s, before_attach, edited, measures, "
    "model_version) "
    f"SELECT i, {_AT}, 1, i, i, i, {_AT}, {_AT}, i % 9, '[]', 'नमस्ते जी', 'hi', 0, 0, 90, 0, 'edited', '{{}}', 'kaan-tiny' "
    f"FROM n WHERE i % {TASKS} = 1",
    _NUMBERS + "INSERT INTO samples (id, created_at, project_id, task_id, number, annotation_id, recording_id, start_s, end_s, channel, "  # noqa: S608
    "text, language, annotator, blind, before_attach, digest, accepted_at, state) "
    f"SELECT i, {_AT}, 1, i, 0, i, i, 0, 60, 0, 'नमस्ते जी', 'hi', i % 9, 0, 0, 'd' || i, {_AT}, 'accepted' "
    f"FROM n WHERE i % {TASKS} = 1",
    _NUMBERS + "INSERT INTO jobs (id, created_at, name, queue, arguments, priority, state, due_at, finished_at, attempt, failures, "  # noqa: S608
    f"deaths) SELECT i, {_AT}, 'read-call-event', 'sync', '{{}}', 50, 'done', {_AT}, {_AT}, 1, 0, 0 FROM n",
    _NUMBERS + "INSERT INTO outcomes (id, created_at, updated_at, call_sid, kind, requests, failed, success, satisfaction, automated, "  # noqa: S608
    f"reported_at, source) SELECT i, {_AT}, {_AT}, 'call-' || i, 'call', 0, 0, i % 9 <> 0, 0.8, i % 5 <> 0, {_AT}, 'api' "
    f"FROM n WHERE i % {TASKS} = 1",
)  # fmt: skip
