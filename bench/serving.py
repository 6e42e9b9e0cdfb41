"""What an annotator feels: /predict on finished drafts, the start of the web process, /health under load.

Ratios against a bare handler in the same process, alternated, in CPU seconds of the server; the first side is taken
twice (A-A) as a control. A hit is answered from rows made here, so no model and no Label Studio is needed.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bench import ratios
from bench.ratios import alternate
from bench.servers import ROOT, children, cpu_s_of, environment, free_port, serving, wait_for
from ml_backend import db, tables
from ml_backend.asr.transcript import Segment, Transcript
from ml_backend.db import Database
from ml_backend.labelling import labelconfig, rendering

CONFIG = labelconfig.read("original")
TASKS, ROUNDS, REQUESTS = 100, 9, 200

BARE_START = """
import ctranslate2
from flask import Flask
from gunicorn.app.base import BaseApplication
class Bare(BaseApplication):
    def load_config(self):
        for name, value in (("bind", "127.0.0.1:{port}"), ("worker_class", "gthread"), ("threads", 8),
                            ("control_socket_disable", True), ("loglevel", "error")):
            self.cfg.set(name, value)
    def load(self):
        app = Flask("bare")
        app.add_url_rule("/health", view_func=lambda: {{"status": "UP"}})
        return app
Bare().run()
"""


def rows() -> Iterator[dict[str, Any]]:
    """One result at a time, for the table and `results.json`."""
    yield predict_hit(TASKS, target=3.0)
    yield predict_hit(1, target=3.0)
    yield web_start()
    yield health_under_load()


# --- /predict


def predict_hit(count: int, *, target: float) -> dict[str, Any]:
    """CPU of a batch that is answered from finished drafts, against ready bytes from the same app."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        body = deployment(folder, count)
        with serving(folder) as (port, pid):
            ours = Side(port, pid, "/predict", body)
            bare = Side(port, pid, "/bare", body)
            answered = ours.run(5)
            if answered != (folder / "ready.json").read_bytes():
                raise AssertionError("/predict and the bare handler do not answer the same bytes")
            bare.run(5)
            wal = folder / "kaan.db-wal"
            before = (wal.stat().st_size, wal.stat().st_mtime_ns) if wal.exists() else None
            requests = REQUESTS if count > 1 else 3 * REQUESTS
            pairs = alternate(lambda: bare.cpu_s(requests), lambda: ours.cpu_s(requests), rounds=ROUNDS)
            control = alternate(lambda: bare.cpu_s(requests), lambda: bare.cpu_s(requests), rounds=ROUNDS)
            after = (wal.stat().st_size, wal.stat().st_mtime_ns) if wal.exists() else None
    return ratios.row(
        f"/predict hit, {count} tasks / ready bytes, server CPU",
        pairs,
        control,
        target=target,
        at_least=False,
        p99_ms=round(percentile(ours.waits_s, 0.99) * 1000, 2),
        p99_target_ms=25,
        cpu_ms=round(statistics.median(mine for _, mine in pairs) / requests * 1000, 3),
        database_written=before != after,
    )


class Side:
    """One route, asked over one kept connection."""

    def __init__(self, port: int, pid: int, path: str, body: bytes) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.pid, self.path, self.body = pid, path, body
        self.waits_s: list[float] = []

    def run(self, requests: int) -> bytes:
        """The last answer; every wait is kept."""
        self.connection.close()  # the server ends idle connections, and the other side had its turn
        data = b""
        for _ in range(requests):
            began = time.perf_counter()
            self.connection.request("POST", self.path, self.body, {"Content-Type": "application/json"})
            answer = self.connection.getresponse()
            data = answer.read()
            self.waits_s.append(time.perf_counter() - began)
            if answer.status != 200:
                raise AssertionError(f"{self.path} answered {answer.status}: {data[:200]!r}")
        return data

    def cpu_s(self, requests: int) -> float:
        """CPU seconds of the server for so many requests."""
        before = cpu_s_of(self.pid)
        self.run(requests)
        return cpu_s_of(self.pid) - before


def deployment(folder: Path, count: int) -> bytes:
    """A database with finished, delivered drafts; gives the request that asks for them."""
    url = f"sqlite:///{folder / 'kaan.db'}"
    db.upgrade(url)
    database = Database(url)
    digest, controls = labelconfig.digest(CONFIG), labelconfig.parse(CONFIG)
    long_ago = tables.now() - timedelta(hours=1)
    bodies: list[str] = []
    with database.transaction() as connection:
        project = {"instance_url": "", "ls_project_id": 1, "state": "attached", "label_config": CONFIG}
        project |= {"config_sha256": digest, "extra_params": {}}
        project_id = connection.execute(sa.insert(tables.projects).values(**project).returning(tables.projects.c.id))
        owner = project_id.scalar_one()
        for number in range(1, count + 1):
            task = {"project_id": owner, "ls_task_id": number, "external_key": str(number), "origin": "ours"}
            task |= {"data_value": f"s3://calls/recordings/2026/11/22/{number:06d}.wav", "state": "open"}
            task_id = connection.execute(
                sa.insert(tables.tasks).values(**task).returning(tables.tasks.c.id)
            ).scalar_one()
            text = "नमस्ते आपका ऑर्डर कल शाम तक पहुँच जाएगा धन्यवाद " * 3
            transcript = Transcript((Segment(0, 9, text, confidence=0.8),), "hi", 0.9, 10.0, 0.8, "v")
            drafted = rendering.to_prediction(
                transcript, controls, draft_label="draft-1", duration_s=10.0, quality_label="good"
            )
            bodies.append(json.dumps(drafted, ensure_ascii=False))
            prediction = {"task_id": task_id, "project_id": owner, "draft_label": "draft-1", "model_version": "v"}
            prediction |= {
                "config_sha256": digest,
                "body": bodies[-1],
                "delivered_by": "push",
                "delivered_at": long_ago,
            }
            connection.execute(sa.insert(tables.predictions).values(**prediction))
    database.dispose()
    (folder / "ready.json").write_text('{"results":[' + ",".join(bodies) + "]}")
    template = json.loads((ROOT / "tests/fixtures/label-studio/ml-predict-open-task.json").read_text())["request"][
        "body"
    ]
    (task,) = template["tasks"]
    audios = [f"s3://calls/recordings/2026/11/22/{number:06d}.wav" for number in range(1, count + 1)]
    asked = [{**task, "id": n, "data": {"audio": value}} for n, value in enumerate(audios, 1)]
    return json.dumps({**template, "tasks": asked, "project": "1.1795340392", "label_config": CONFIG}).encode()


# --- start

# what the barest web process has, and what ours cannot do without on top
STARTED_WITH = (
    "flask, ctranslate2, gunicorn.app.base",
    "sqlalchemy",
    "pydantic_settings",
    "ml_backend.tables",
    "typer",
)


def web_start() -> dict[str, Any]:
    """CPU from exec to the first 200 on /health, against Flask + CTranslate2 under the same server."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        db.upgrade(f"sqlite:///{folder / 'kaan.db'}")

        def ours() -> float:
            port = free_port()
            command = [sys.executable, "-m", "ml_backend", "web"]
            return start_cpu_s(command, folder, port)

        def bare() -> float:
            port = free_port()
            return start_cpu_s([sys.executable, "-c", BARE_START.format(port=port)], folder, port)

        ours(), bare()  # the bytecode is written and the pages are warm
        pairs = alternate(bare, ours, rounds=ROUNDS)
        control = alternate(bare, bare, rounds=ROUNDS)
    return ratios.row(
        "web start / bare Flask + CTranslate2 start, CPU",
        pairs,
        control,
        target=2.0,
        at_least=False,
        heavy_modules=heavy_modules(),
        cpu_s=round(statistics.median(mine for _, mine in pairs), 3),
        imports_cpu_s={name: import_cpu_s(name) for name in STARTED_WITH},
    )


def import_cpu_s(modules: str) -> float:
    """What an interpreter takes more to start with these modules than with nothing: the floor of whoever needs them."""
    spent = [[_run_cpu_s(f"import {modules}"), _run_cpu_s("pass")] for _ in range(ROUNDS)]
    return round(statistics.median(mine - nothing for mine, nothing in spent), 3)


def _run_cpu_s(code: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def start_cpu_s(command: list[str], folder: Path, port: int) -> float:
    """Start, wait for health, stop; CPU of the whole process tree."""
    process = subprocess.Popen(command, cwd=folder, env=environment(folder, port), stderr=subprocess.DEVNULL)
    wait_for(port, process)
    used_s = sum(cpu_s_of(pid) for pid in (process.pid, *children(process.pid)))
    process.terminate()
    process.wait(30)
    return used_s


def heavy_modules() -> list[str]:
    """Libraries that must not be in the web process, found there."""
    code = """
        import sys, ml_backend.api.server, ml_backend.api.app, model
        print(*sorted({"torch", "transformers", "datasets", "pandas", "faster_whisper"} & set(sys.modules)))
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return ran.stdout.split()


# --- health


def health_under_load(seconds: float = 12.0) -> dict[str, Any]:
    """p99 of /health while the permitted waiters hold threads and two processes take both cores."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        body = deployment(folder, 1)
        with serving(folder, PREDICT_WAIT_S="3") as (port, _):
            stop = threading.Event()
            missing = json.loads(body)
            missing["tasks"] = [{**missing["tasks"][0], "id": 999_999}]
            waiters = [threading.Thread(target=hold, args=(port, json.dumps(missing).encode(), stop)) for _ in range(3)]
            burners = [multiprocessing.Process(target=burn, daemon=True) for _ in range(os.cpu_count() or 2)]
            for waiter in waiters:
                waiter.start()
            for burner in burners:
                burner.start()
            time.sleep(2.0)
            waits_s = []
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                began = time.perf_counter()
                connection.request("GET", "/health")
                connection.getresponse().read()
                waits_s.append(time.perf_counter() - began)
                connection.close()
                time.sleep(0.01)
            stop.set()
            for burner in burners:
                burner.kill()
            for waiter in waiters:
                waiter.join(10)
    p99_ms = percentile(waits_s, 0.99) * 1000
    return {
        "name": "/health p99 while waiters hold threads and both cores are busy, ms",
        "value": round(p99_ms, 1),
        "target": "<= 50",
        "met": p99_ms <= 50,
        "p50_ms": round(percentile(waits_s, 0.5) * 1000, 1),
        "max_ms": round(max(waits_s) * 1000, 1),
        "requests": len(waits_s),
    }


def hold(port: int, body: bytes, stop: threading.Event) -> None:
    """Ask again and again for a draft that never comes."""
    while not stop.is_set():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        connection.getresponse().read()
        connection.close()


def burn() -> None:
    """A transcription worker's appetite, at its priority."""
    from ml_backend.jobs.worker_process import NICENESS

    os.nice(NICENESS["transcribe"])
    while True:
        sum(i * i for i in range(10_000))


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
