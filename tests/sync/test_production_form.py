"""The production form without containers: the image's files, the compose file's environment, and the real servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from minio import Minio

from tests.patience import until
from tests.policy import test_compose as compose
from tests.policy.test_image import build
from tests.servers import label_studio, moto, postgres, redis

CALLS = Path(__file__).resolve().parents[2] / "ml_backend" / "bundled" / "calls"
SILENT = "silent: submit if so, press Shift+5 if somebody speaks"
SOME = ("en-short-price.mp3", "hi-refund-sum.wav", "silence.wav")
PROCESSES = ("relay", "sync-worker", "transcribe-worker", "web")


class Production:
    """The processes of docker-compose.yml, each from the image's folder with its own command."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment
        self.started: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, service: str) -> None:
        with (self.folder.parent / f"{service}.log").open("wb") as log:
            self.started[service] = subprocess.Popen(
                [sys.executable, "-m", "ml_backend", *compose.SERVICES[service]["command"]],
                cwd=self.folder, env=self.environment, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One command, as `docker compose exec web python -m ml_backend ...` would run it."""
        return subprocess.run(
            [sys.executable, "-m", "ml_backend", *words],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def facts(self, *words: str) -> dict:
        done = self.run(*words, "--json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def stop(self) -> dict[str, int]:
        for process in self.started.values():
            process.send_signal(signal.SIGTERM)
        return {name: process.wait(60) for name, process in self.started.items()}

    def log(self, service: str) -> str:
        return (self.folder.parent / f"{service}.log").read_text(errors="replace")


@pytest.fixture
def production(label_studio_server, tmp_path):
    image = tmp_path / "image"
    build("serving", image)
    with ExitStack() as servers:
        s3 = servers.enter_context(moto.running())
        queue = servers.enter_context(redis.running(tmp_path / "redis", options=("--maxmemory-policy", "noeviction")))
        database = servers.enter_context(postgres.running()).database()
        port = label_studio.free_port()
        given = compose.given() | {
            "DATABASE_URL": database,
            "REDIS_URL": queue.url,
            "MINIO_ENDPOINT": s3,
            "LABEL_STUDIO_URL": label_studio_server.url,
            "LABEL_STUDIO_API_KEY": label_studio_server.token,
            "PUBLIC_URL": f"http://127.0.0.1:{port}",
            "ASR_THREADS": "1",
        }
        environment = compose.environment("web", given) | {
            "DATA_DIR": str(tmp_path / "data"),
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(image),
        }
        production = Production(image, environment)
        upgraded = production.run(*compose.SERVICES["upgrade"]["command"])
        assert upgraded.returncode == 0, upgraded.stderr
        for service in PROCESSES:
            production.start(service)
        try:
            yield production
        finally:
            for process in production.started.values():
                process.kill()
                process.wait()


def _done(production: Production, number: int) -> bool:
    facts = production.facts("status")
    counts = facts["projects"][0]["tasks"]
    return not facts["waiting"] and counts["open"] == counts["drafted"] == number


@pytest.mark.timeout(900)
def test_calls_in_a_bucket_become_drafted_tasks_that_play(production, label_studio_server):
    """PostgreSQL, Redis and S3. The tasks keep their s3:// address, however often they are read back."""
    web = production.environment["PUBLIC_URL"]
    until(lambda: _answers(f"{web}/ready"), "the processes are ready", within_s=120, every_s=0.5)
    checked = production.run("doctor")
    assert checked.returncode == 0, checked.stdout
    project = production.facts("project", "create", "--config", "calls", "--title", "Production")["project"]
    store = Minio(production.environment["MINIO_ENDPOINT"], compose.SECRET, compose.SECRET, secure=False)
    store.make_bucket("call-recordings")
    for call in SOME:
        store.fput_object("call-recordings", f"recordings/2026/11/22/{call}", str(CALLS / call))
    added = production.facts("project", "add", str(project), "call-recordings/recordings/2026")
    assert added["added"] == len(SOME)
    until(lambda: _done(production, len(SOME)), "all calls are drafted", within_s=360, every_s=1)

    production.facts("project", "attach", str(project))  # reads every task back
    until(lambda: _done(production, len(SOME)), "the tasks were read back", within_s=180, every_s=1)
    url, token = label_studio_server.url, {"refresh": label_studio_server.token}
    access = httpx.post(f"{url}/api/token/refresh/", json=token, timeout=30).json()["access"]
    bearer = {"Authorization": f"Bearer {access}"}
    with httpx.Client(base_url=url, headers=bearer, timeout=30, follow_redirects=True) as client:
        options = {"project": project, "fields": "all"}
        held = client.get("/api/tasks/", params={**options, "resolve_uri": "false"}).json()["tasks"]
        shown = client.get("/api/tasks/", params=options).json()["tasks"]
        assert [task["total_predictions"] for task in held] == [1] * len(SOME)
        assert all(task["data"]["audio"].startswith("s3://kaan-audio/derived/") for task in held)
        assert not [task["data"]["status"] for task in held if "storage" in task["data"]["status"]]
        assert [task["data"]["status"] for task in held if task["data"]["call"] == "silence.wav"] == [SILENT]
        for task in shown:
            heard = client.get(task["data"]["audio"], headers={"Range": "bytes=0-43"})
            assert heard.status_code == 206
            assert heard.content[:4] == b"RIFF"
    assert production.run("status").returncode == 0

    alive = compose.SERVICES["relay"]["healthcheck"]["test"][3]
    healthy = subprocess.run(
        [sys.executable, "-c", alive], cwd=production.folder, env=production.environment, check=False
    )
    assert healthy.returncode == 0
    assert set(production.stop().values()) == {0}, {name: production.log(name)[-500:] for name in PROCESSES}


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
