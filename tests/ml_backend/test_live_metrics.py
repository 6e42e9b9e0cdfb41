"""`kaan_live_*` says what all processes answered, whichever of them is asked, in the names that Prometheus expects."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ml_backend import tables
from ml_backend.api.live.live_tally import LiveTally
from ml_backend.context import Context
from ml_backend.jobs import processes
from ml_backend.metrics import Metrics


class Silent(LiveTally):
    def _begin(self) -> None:
        pass


@pytest.fixture
def workers(context: Context) -> tuple[LiveTally, LiveTally]:
    """Two processes of `serve`."""
    return Silent(context), Silent(context)


def answer(tally: LiveTally, **given: Any) -> None:
    tally.answered("parse", "nlu", **{"version": "v1", "status": 200, "seconds": 0.02, **given})


def shown(context: Context, pattern: str = "kaan_live_") -> list[str]:
    text = Metrics(context).text().decode()
    return [line for line in text.splitlines() if line.startswith(pattern)]


def test_the_answers_of_two_processes_are_one_count(context: Context, workers: tuple[LiveTally, LiveTally]) -> None:
    for tally, times in zip(workers, (3, 4), strict=True):
        for _ in range(times):
            answer(tally, wait_s=0.0, compute_s=0.2)
        answer(tally, version=None, status=429, refused="rate-limited")
        assert tally.write()
    answer(workers[0], version=None, status=429)
    workers[0].write()
    lines = shown(context)
    assert 'kaan_live_requests_total{kind="nlu",route="parse",status="200",version="v1"} 7.0' in lines
    assert 'kaan_live_requests_total{kind="nlu",route="parse",status="429",version=""} 3.0' in lines
    assert 'kaan_live_refused_total{reason="live-busy"} 1.0' in lines
    assert 'kaan_live_refused_total{reason="rate-limited"} 2.0' in lines
    named = 'kind="nlu",route="parse",version="v1"'
    assert 'kaan_live_request_duration_seconds_bucket{kind="nlu",le="0.01",route="parse",version="v1"} 0.0' in lines
    for le in ("0.025", "60", "+Inf"):
        bucket = f'kaan_live_request_duration_seconds_bucket{{kind="nlu",le="{le}",route="parse",version="v1"}} 7.0'
        assert bucket in lines
    assert f"kaan_live_request_duration_seconds_count{{{named}}} 7.0" in lines
    assert f"kaan_live_compute_seconds_sum{{{named}}} 1.4" in lines
    assert f"kaan_live_queue_wait_seconds_count{{{named}}} 7.0" in lines
    assert not [line for line in lines if line.startswith("kaan_live_first_partial_seconds_bucket")]


def test_what_is_inside_is_the_sum_over_the_processes_that_are_alive(context: Context) -> None:
    tally = Silent(context)
    tally.serves()
    name = processes.own_name("live")
    processes.seen(context.db, name, "live", started_at=tables.now())
    gone = tables.now().replace(year=2020)
    with context.db.transaction() as connection:
        values = {"role": "live", "pid": 1, "started_at": gone, "detail": {"inside": {"requests": 5}}}
        connection.execute(tables.processes.insert().values(name="gone", seen_at=gone, **values))
        connection.execute(tables.processes.insert().values(name="other", seen_at=tables.now(), **values))
    with tally.inside(), tally.inside("sessions"):
        tally.write()
        assert "kaan_live_requests_inside 6.0" in shown(context)
        assert "kaan_live_sessions 1.0" in shown(context)
        processes.seen(context.db, name, "live", started_at=tables.now())  # a heartbeat changes nothing of it
        assert "kaan_live_requests_inside 6.0" in shown(context)
    tally.write()
    assert "kaan_live_requests_inside 5.0" in shown(context)
    assert "kaan_live_sessions 0.0" in shown(context)


def test_the_names_are_as_prometheus_wants_them(context: Context, workers: tuple[LiveTally, LiveTally]) -> None:
    """What `promtool check metrics` asks: a help text, base units, `_total` for counters and for nothing else."""
    answer(workers[0], wait_s=0.1, compute_s=0.1, first_partial_s=0.1, call="c1")
    answer(workers[0], version=None, status=429)
    workers[0].write()
    text = Metrics(context).text().decode()
    kinds = dict(re.findall(r"^# TYPE (kaan_live_\w+) (\w+)$", text, re.MULTILINE))
    assert set(kinds.values()) == {"counter", "histogram", "gauge"}
    assert len(kinds) >= 8
    for name, kind in kinds.items():
        assert re.search(rf"^# HELP {name} [A-Z].+\.$", text, re.MULTILINE), name
        assert name == name.lower()
        assert name.endswith("_total") is (kind == "counter"), name
        assert kind != "histogram" or name.endswith("_seconds"), name
        assert re.search(rf"^{name}(_bucket|_count|_sum|\{{| )", text, re.MULTILINE), name
    labels = {label for line in shown(context) for label in re.findall(r'(\w+)="', line)}
    assert labels == {"route", "kind", "version", "status", "reason", "le"}
