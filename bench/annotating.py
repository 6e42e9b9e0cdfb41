"""Annotations in: a webhook with its durable commit at fifty a second, and a comparison of ten thousand tasks.

The webhook is a recorded one of Label Studio, sent to the real web process, another annotation each time. Label Studio
waits a second for the answer, inside the annotator's click. The comparison runs against the scripted Label Studio of
the fault tests, which pages as the real one does and counts what it is asked.
"""

from __future__ import annotations

import http.client
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bench.servers import ROOT, environment, serving
from ml_backend import db, tables
from ml_backend.context import JobContext, open_context
from ml_backend.labelling import labelconfig
from ml_backend.settings import Settings
from sync.annotations import differences
from sync.projects import annotation_comparison, attachment
from tests.faults import label_studio

SECRET = "bench-hook-secret-0000"  # noqa: S105 - of a server that lives for a minute on this machine
RECORDED = ROOT / "tests" / "fixtures" / "label-studio" / "webhook-annotation-created-ui-edited.json"
A_SECOND, TASKS, MOST_REQUESTS = 50, 10_000, 25


def rows(*, quick: bool = False) -> Iterator[dict[str, Any]]:
    """The rows of this part."""
    yield webhooks(quick=quick)
    yield full_comparison(quick=quick)


def webhooks(*, quick: bool) -> dict[str, Any]:
    """p50 and p99 at a fixed pace, from outside, while a worker reads the events in the same database."""
    body = json.loads(RECORDED.read_text())["request"]["body"]
    with tempfile.TemporaryDirectory(prefix="kaan-bench-") as name:
        folder = Path(name)
        (folder / "ready.json").write_text('{"status": "ok"}')
        settings = Settings(_env_file=None, data_dir=folder)
        db.upgrade(settings.database)
        with serving(folder, LABEL_STUDIO_WEBHOOK_SECRET=SECRET) as (port, _):
            _times(port, body, 1.0)
            with _reading(folder):
                taken = _times(port, body, 4.0 if quick else 30.0)
        kept = db.Database(settings.database)
        with kept.reading() as connection:
            events = connection.execute(sa.select(sa.func.count()).select_from(tables.events)).scalar_one()
            read = connection.execute(
                sa.select(sa.func.count()).select_from(tables.events).where(tables.events.c.state == "read")
            ).scalar_one()
        kept.dispose()
    p99 = round(sorted(taken)[int(len(taken) * 0.99)] * 1000, 1)
    return {
        "name": f"an annotation webhook with its durable commit at {A_SECOND} a second: p99 in ms",
        "value": p99,
        "target": "<= 250",
        "met": p99 <= 250 and events >= len(taken) + A_SECOND,
        "p50_ms": round(statistics.median(taken) * 1000, 1),
        "longest_ms": round(max(taken) * 1000, 1),
        "webhooks": len(taken),
        "read_meanwhile": read,
        "bytes": len(json.dumps(body)),
    }


_ids = itertools.count(1)

READER = """
from ml_backend import settings
from ml_backend.context import open_context
from ml_backend.jobs import runner
context = open_context(settings.load())
while True:
    runner.run_due(context, wait_s=0.1)
"""


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """A worker beside: it writes to the same database all the time."""
    command = [sys.executable, "-c", READER]
    worker = subprocess.Popen(command, cwd=folder, env=environment(folder, 1), stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        worker.kill()
        worker.wait()


def _times(port: int, body: dict[str, Any], seconds: float) -> list[float]:
    """Seconds each took. Label Studio opens a connection for each webhook."""
    taken, begun = [], time.monotonic()
    for turn in range(int(seconds * A_SECOND)):
        time.sleep(max(0.0, begun + turn / A_SECOND - time.monotonic()))
        raw = json.dumps({**body, "annotation": {**body["annotation"], "id": next(_ids)}})
        at = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        headers = {"Content-Type": "application/json", "X-Webhook-Secret": SECRET}
        connection.request("POST", "/webhook", raw, headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        if answer.status != 200:
            raise AssertionError(f"/webhook answered {answer.status}")
        taken.append(time.monotonic() - at)
    return taken


def full_comparison(*, quick: bool) -> dict[str, Any]:
    """Requests of a full comparison, token and project included; every tenth task is annotated."""
    number = TASKS // 10 if quick else TASKS
    with tempfile.TemporaryDirectory(prefix="kaan-bench-") as name, label_studio.running() as studio:
        settings = Settings(
            _env_file=None, data_dir=Path(name), label_studio_url=studio.url,
            label_studio_api_key=label_studio.TOKEN, label_studio_webhook_secret=SECRET,
            label_studio_local_files_root=name, public_url="http://127.0.0.1:1",
        )  # fmt: skip
        db.upgrade(settings.database)
        context = open_context(settings)
        project_id = attachment.create(context, config=labelconfig.read("original"), title="bench")
        project = context.db.row(tables.projects, project_id)
        for each in range(number):
            task_id = studio.add_task(project.ls_project_id, {"audio": f"ftp://nowhere/{each}.wav"})
            if each % 10 == 0:
                studio.annotate(task_id, f"said {each}")
        job = JobContext(settings, context.db, context.store, context.kept)
        annotation_comparison.compare_annotations(job, project_id, full=1)
        victim = sorted(studio.annotations)[number // 20]
        del studio.annotations[victim]
        before, at = len(studio.requests), time.monotonic()
        annotation_comparison.compare_annotations(job, project_id, full=1)
        took, asked = time.monotonic() - at, len(studio.requests) - before
        found = differences.read(context, project_id) or {}
        context.db.dispose()
    return {
        "name": f"a full comparison of {number} tasks: requests",
        "value": asked,
        "target": f"<= {MOST_REQUESTS}",
        "met": asked <= MOST_REQUESTS and (found["difference"], found["repaired"]) == (0, 1),
        "seconds_with_a_scripted_label_studio": round(took, 1),
        "annotations": found["there"],
    }
