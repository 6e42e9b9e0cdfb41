"""Numbers for Prometheus: what this process answered, and what the database says about everything else.

The database is asked at each scrape, so it does not matter which process answers, and workers need no port: `serve` has
several processes behind one. Only `kaan_requests` and `kaan_request_seconds` are per process, in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import sqlalchemy as sa
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest
from prometheus_client import Counter as RequestCounter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from ml_backend.context import Context
from ml_backend.db import SCHEMA_VERSION, Database
from ml_backend.jobs import leases
from ml_backend.jobs import processes as process_rows
from ml_backend.latency_buckets import LatencyBuckets
from ml_backend.monitoring import learning_numbers, work_numbers
from ml_backend.monitoring.metric_values import Gauge, Total
from ml_backend.packages import VERSION
from ml_backend.tables import live_totals

CONTENT_TYPE = CONTENT_TYPE_LATEST
STATUSES = ("200", "429", "500", "503")  # are there from the first answer on: Prometheus sees no rise from nothing
MOST_LIVE_ROWS = 200  # routes times versions that are shown, the last ones used


class Metrics:
    """One process's numbers. Keep one per process: `context.keep("metrics", lambda: Metrics(context))`."""

    def __init__(self, context: Context) -> None:
        self.registry = CollectorRegistry()
        self._requests = RequestCounter(
            "kaan_requests", "Requests answered by this process.", ["route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "kaan_request_seconds", "Time to answer.", ["route"], registry=self.registry,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        )  # fmt: skip
        self._errors = RequestCounter(
            "kaan_server_errors", "Answers of this process with a status of 5xx; not those of /ready.",
            registry=self.registry,
        )  # fmt: skip
        self.registry.register(_Numbers(context))
        self.registry.register(_LiveRequests(context.db))

    def answered(self, route: str, status: int, *, seconds: float) -> None:
        """One request was answered. `route` is the rule, never the requested path."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if status >= 500 and route != "/ready":  # there it says that something else is missing
            self._errors.inc()

    def text(self) -> bytes:
        """Everything in Prometheus's text format; content type `CONTENT_TYPE`."""
        return generate_latest(self.registry)


class _Numbers:
    """What the database and this machine say now."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def describe(self) -> list[Metric]:
        """Nothing: registering must not touch the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        with self.context.db.reading() as connection:
            now = leases.clock(connection)
            found = [
                _build(),
                *work_numbers.of(connection, self.context, now),
                *learning_numbers.of(connection, now),
            ]
        for each in found:
            family = CounterMetricFamily if isinstance(each, Total) else GaugeMetricFamily
            shown = family(each.name, each.help, labels=each.labels)
            for values, number in each.samples.items():
                shown.add_metric(values, number)
            yield shown


def _build() -> Gauge:
    info = Gauge("kaan_build_info", "The release and its schema; always 1.", ["version", "schema"])
    info.set(1, VERSION, SCHEMA_VERSION)
    return info


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
        refused: Counter[str] = Counter({"live-busy": 0, "rate-limited": 0})
        counted = {(row.route, row.kind, ""): dict.fromkeys(STATUSES, 0) for row in rows}  # no version was chosen
        for row in rows:
            counted[row.route, row.kind, row.model_version] = dict.fromkeys(STATUSES, 0) | row.body["status"]
            refused.update(row.body["refused"])
        for names, statuses in counted.items():
            for status, number in sorted(statuses.items()):
                answered.add_metric([*names, status], number)
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
