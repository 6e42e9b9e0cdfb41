"""`serve`: the real command, asked by the real `openai` client over a real connection."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2
import openai
import psutil
import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.asr import engine
from ml_backend.commands import serve
from ml_backend.errors import ConfigurationError
from tests.faults import launch
from tests.ml_backend.commands.test_web import ROOT, ask, free_port, some_settings
from tests.patience import until

LIVE, READ = "l" * 24, "r" * 24


@contextmanager
def running(
    folder: Path, *arguments: str, settings: Mapping[str, str] | None = None
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The command on a free port; gives the port and the process."""
    db.upgrade(f"sqlite:///{folder}/kaan.db")
    port = free_port()
    given = {"DATA_DIR": str(folder), "LIVE_PORT": str(port), "API_TOKENS": f"phone:live:{LIVE},ops:read:{READ}"}
    given |= settings or {}
    program = "tests.faults.launch" if launch.VARIABLE in os.environ else "ml_backend"  # a guard is to be missing
    with (folder / "serve.log").open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", program, "serve", *arguments], cwd=folder, stderr=sink,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **given},
        )  # fmt: skip
    try:

        def answers() -> bool:
            assert process.poll() is None, (folder / "serve.log").read_text()
            return ask(port, "GET", "/health", attempt=True)[0] == 200

        until(answers, "it answers", within_s=60)
        yield port, process
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def client(port: int, *, retries: int = 0) -> openai.OpenAI:
    return openai.OpenAI(api_key=LIVE, base_url=f"http://127.0.0.1:{port}/v1", max_retries=retries, timeout=120)


def test_a_process_that_is_killed_loses_no_answer_of_a_client_that_comes_again(tmp_path: Path) -> None:
    with running(tmp_path, "--workers", "2") as (port, process):
        until(lambda: ask(port, "GET", "/ready", attempt=True)[0] == 200, "every kind is loaded unasked", within_s=120)
        assert {kind for one in client(port).models.list().data for kind in one.kinds} == {"asr", "nlu", "tts"}
        first = client(port, retries=5).audio.transcriptions.create(file=engine.CHECK, model="champion", language="en")
        assert first.text.strip()
        texts: list[str] = []
        begun = threading.Event()

        def call() -> None:
            for _ in range(4):
                mine = client(port, retries=8).audio.transcriptions
                texts.append(mine.create(file=engine.CHECK, model="champion", language="en").text)
                begun.set()

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        assert begun.wait(120)
        psutil.Process(process.pid).children()[0].kill()
        for thread in threads:
            thread.join(180)
        assert texts == [first.text] * 16
        assert {model.id for model in client(port, retries=5).models.list().data} > {"champion"}
        assert ask(port, "POST", "/webhook", "{}")[0] == 404  # nothing but the phone's routes


def test_every_process_tells_prometheus_what_all_answered_and_a_stop_loses_no_count(tmp_path: Path) -> None:
    database = db.Database(f"sqlite:///{tmp_path}/kaan.db")

    def parse(call: int) -> None:
        body = {"text": "where is my order", "call": f"c{call}"}
        assert httpx2.post(f"{address}/v1/nlu/parse", json=body, headers=phone).status_code == 200

    def counted() -> list[int]:
        """What each of a few new connections is told: some process of the two."""
        told = [httpx2.get(f"{address}/metrics", headers={"Authorization": f"Bearer {READ}"}).text for _ in range(6)]
        found = [re.findall(r'^kaan_live_requests_total{.*status="200".*} ([0-9.]+)$', one, re.M) for one in told]
        return [sum(int(float(each)) for each in one) for one in found]  # of every kind: some are zero

    with running(tmp_path, "--workers", "2") as (port, _):
        address, phone = f"http://127.0.0.1:{port}", {"Authorization": f"Bearer {LIVE}"}
        for call in range(12):
            parse(call)
        until(lambda: counted() == [12] * 6, "all processes say the same", within_s=60)
        there = sa.select(tables.live_minutes.c.process).where(tables.live_minutes.c.route == "").distinct()
        until(lambda: len(database.scalars(there)) == 2, "both processes say that they are there", within_s=60)
        for call in range(12, 20):
            parse(call)
    calls = set(database.scalars(sa.select(tables.outcomes.c.call_sid)))
    assert calls == {f"c{call}" for call in range(20)}
    assert database.scalars(sa.select(sa.func.sum(tables.live_minutes.c.requests))) == [20]
    database.dispose()


def test_it_does_not_start_where_no_token_may_ask(tmp_path: Path) -> None:
    for tokens in ("", f"ops:read:{LIVE}"):
        with pytest.raises(ConfigurationError, match="phone:live:TOKEN") as refused:
            serve.require_a_caller(some_settings(tmp_path, api_tokens=tokens))
        assert refused.value.code == "nobody-may-ask"
    serve.require_a_caller(some_settings(tmp_path, api_tokens=f"shop:operate:{LIVE}"))
