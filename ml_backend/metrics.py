"""Numbers for Prometheus: what this process answered, and what the database says about work.

Work and live requests are counted in the database at each scrape, so it does not matter which process answers:
`serve` has several behind one port. Only `kaan_requests` and `kaan_request_seconds` are per process, in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import sqlalchemy as sa
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest
from prometheus_client import Counter as RequestCounter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from ml_backend import tables
from ml_backend.db import Database
from ml_backend.jobs import leases
from ml_backend.jobs import processes as process_rows
from ml_backend.latency_buckets import LatencyBuckets
from ml_backend.models import kinds
from ml_backend.tables import calls, jobs, live_totals, processes

CONTENT_TYPE = CONTENT_TYPE_LATEST
MOST_LIVE_ROWS = 200  # routes times versions that are shown, the last ones used


class Metrics:
    """One process's numbers. Keep one per process: `context.keep("metrics", lambda: Metrics(context.db))`."""

    def __init__(self, database: Database) -> None:
        self.registry = CollectorRegistry()
        self._requests = RequestCounter(
            "kaan_requests", "Requests answered by this process.", ["route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "kaan_request_seconds", "Time to answer.", ["route"], registry=self.registry,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        )  # fmt: skip
        self.registry.register(_Work(database))
        self.registry.register(_LiveRequests(database))

    def answered(self, route: str, status: int, *, seconds: float) -> None:
        """One request was answered. `route` is the rule, never the requested path."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Everything in Prometheus's text format; content type `CONTENT_TYPE`."""
        return generate_latest(self.registry)


class _Work:
    """What the database says now."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def describe(self) -> list[Metric]:
        """Nothing: registering must not touch the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        with self.database.reading() as connection:
            now = leases.clock(connection)
            number = GaugeMetricFamily("kaan_jobs", "Jobs by queue and state.", labels=["queue", "state"])
            counted = sa.select(jobs.c.queue, jobs.c.state, sa.func.count().label("number"))
            for row in connection.execute(counted.group_by(jobs.c.queue, jobs.c.state)):
                number.add_metric([row.queue, row.state], row.number)
            waits = GaugeMetricFamily("kaan_oldest_due_job_seconds", "How long the oldest waits.", labels=["queue"])
            oldest = sa.select(jobs.c.queue, sa.func.min(jobs.c.due_at).label("since")).where(
                jobs.c.state.in_(leases.OPEN), jobs.c.due_at <= now
            )
            for row in connection.execute(oldest.group_by(jobs.c.queue)):
                waits.add_metric([row.queue], (now - row.since).total_seconds())
            seen = GaugeMetricFamily("kaan_process_seen_seconds", "Since a process was seen.", labels=["role", "name"])
            found = connection.execute(sa.select(processes)).all()
            for row in found:
                seen.add_metric([row.role, row.name], (tables.now() - row.seen_at).total_seconds())
            not_loaded = GaugeMetricFamily(
                "kaan_live_model_not_loaded", "Processes in which the promoted version does not answer.",
                labels=["kind"],
            )  # fmt: skip
            alive = [row for row in found if now - row.seen_at < timedelta(seconds=process_rows.ALIVE_S)]
            for kind in kinds.names():
                missed = [row for row in alive if kind in process_rows.not_loaded([row])]
                not_loaded.add_metric([kind], len(missed))
            undelivered = GaugeMetricFamily("kaan_undelivered_predictions", "Predictions that are not delivered yet.")
            waiting = sa.select(sa.func.count()).where(tables.predictions.c.delivered_by.is_(None))
            undelivered.add_metric([], connection.execute(waiting).scalar_one())
            reported = GaugeMetricFamily("kaan_calls", "Calls the provider reported, by state.", labels=["state"])
            states = sa.select(calls.c.state, sa.func.count().label("number")).group_by(calls.c.state)
            for row in connection.execute(states):
                reported.add_metric([row.state], row.number)
            stopped = GaugeMetricFamily("kaan_stopped_accounts", "Accounts whose queue stands still: key refused.")
            refused = sa.select(sa.func.count()).where(tables.checkpoints.c.state == "stopped")
            stopped.add_metric([], connection.execute(refused).scalar_one())
            missing = GaugeMetricFamily(
                "kaan_annotation_difference", "Annotations in Label Studio minus those here.", labels=["project"]
            )
            since = GaugeMetricFamily(
                "kaan_annotations_compared_seconds", "Since that was counted.", labels=["project"]
            )
            counted_for = tables.summaries.c.name.startswith("difference:", autoescape=True)
            for row in connection.execute(sa.select(tables.summaries).where(counted_for)):
                missing.add_metric([str(row.body["project"])], row.body["difference"])
                since.add_metric([str(row.body["project"])], (now - row.made_at).total_seconds())
            strange = CounterMetricFamily(
                "kaan_refused_messages", "Messages in Redis that were not ours, and were removed.", labels=["queue"]
            )
            for queue, removed in process_rows.refused_messages(connection).items():
                strange.add_metric([queue], removed)
        yield from (number, waits, seen, not_loaded, undelivered, reported, stopped, missing, since, strange)


class _LiveRequests:
    """What all processes answered on `/v1`, as they wrote it four times a second."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def describe(self) -> list[Metric]:
        """Nothing: registering must not touch the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        latest = sa.select(live_totals).order_by(live_totals.c.updated_at.desc()).limit(MOST_LIVE_ROWS)
        rows = sorted(self.database.rows(latest), key=lambda row: (row.route, row.kind, row.model_version))
        answering = [
            (row.detail or {}).get("inside", {})
            for role in ("live", "web")
            for row in process_rows.alive(self.database, role=role)
        ]
        answered = CounterMetricFamily(
            "kaan_live_requests",
            "Live requests that were answered or refused.",
            labels=["route", "kind", "version", "status"],
        )
        reasons = CounterMetricFamily(
            "kaan_live_refused", "Live requests that were sent away: too many at once, or over a token's rate.",
            labels=["reason"],
        )  # fmt: skip
        refused: Counter[str] = Counter()
        for row in rows:
            for status, number in sorted(row.body["status"].items()):
                answered.add_metric([row.route, row.kind, row.model_version, status], number)
            refused.update(row.body["refused"])
        for reason, number in sorted(refused.items()):
            reasons.add_metric([reason], number)
        whole = HistogramMetricFamily(
            "kaan_live_request_duration_seconds", "Time to answer.", labels=["route", "kind", "version"]
        )
        waits = HistogramMetricFamily(
            "kaan_live_queue_wait_seconds", "Time before the model began.", labels=["route", "kind", "version"]
        )
        computes = HistogramMetricFamily(
            "kaan_live_compute_seconds", "Time that the model took.", labels=["route", "kind", "version"]
        )
        partials = HistogramMetricFamily(
            "kaan_live_first_partial_seconds",
            "From the first speech of a turn to its first text.",
            labels=["route", "kind", "version"],
        )
        for name, family in (
            ("seconds", whole), ("waits", waits), ("computes", computes), ("first_partials", partials),
        ):  # fmt: skip
            for row in rows:
                buckets = LatencyBuckets.from_json(row.body.get(name))
                if buckets.count:
                    named = [row.route, row.kind, row.model_version]
                    family.add_metric(named, buckets.cumulative(), buckets.total_s)
        inside = GaugeMetricFamily("kaan_live_requests_inside", "Live requests that are being answered or wait.")
        inside.add_metric([], sum(each.get("requests", 0) for each in answering))
        sessions = GaugeMetricFamily("kaan_live_sessions", "Streaming sessions that are open.")
        sessions.add_metric([], sum(each.get("sessions", 0) for each in answering))
        yield from (answered, reasons, whole, waits, computes, partials, inside, sessions)
