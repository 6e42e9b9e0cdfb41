"""`python -m ml_backend demo --headless` as a fixture: on free ports, asked through Label Studio's own API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from dotenv import dotenv_values

from tests.patience import until

ROOT = Path(__file__).resolve().parents[2]
CALLS = ROOT / "ml_backend" / "bundled" / "calls" / "calls.json"
UP_WITHIN_S = 1200.0  # Label Studio's first start on two busy cores, then the calls


@dataclass
class LabelStudio:
    """Label Studio's own API, as any client sees it. Tasks are read through lists: reading one asks the backend."""

    url: str
    token: str
    _access: str = field(default="", repr=False)
    _renewed: float = field(default=float("-inf"), repr=False)

    def call(self, method: str, path: str, **options: Any) -> Any:
        answer = httpx.request(method, self.url + path, headers=self._headers(), timeout=120, **options)
        assert answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text[:400]}"
        return answer.json() if answer.content else None

    def _headers(self) -> dict[str, str]:
        if time.monotonic() - self._renewed > 120:  # an access token lasts 300 s
            answer = httpx.post(f"{self.url}/api/token/refresh/", json={"refresh": self.token}, timeout=60)
            self._access, self._renewed = answer.json()["access"], time.monotonic()
        return {"Authorization": f"Bearer {self._access}"}

    def projects(self) -> list[dict[str, Any]]:
        return list(self.call("GET", "/api/projects/", params={"page_size": 100})["results"])

    def tasks(self, project_id: int) -> list[dict[str, Any]]:
        """Every task with its predictions and annotations in full."""
        query = {"project": project_id, "page_size": 500, "fields": "all"}
        return list(self.call("GET", "/api/tasks/", params=query)["tasks"])

    def predictions(self, task_id: int) -> list[dict[str, Any]]:
        return list(self.call("GET", "/api/predictions/", params={"task": task_id}))

    def next_task(self, project_id: int) -> dict[str, Any]:
        """What the label stream opens."""
        return dict(self.call("GET", f"/api/projects/{project_id}/next"))

    def upload(self, project_id: int, path: Path, *, name: str = "") -> None:
        """A file chosen in the import dialogue."""
        with path.open("rb") as stream:
            files = {"file": (name or path.name, stream, "audio/wav")}
            self.call("POST", f"/api/projects/{project_id}/import", files=files)

    def action(self, project_id: int, action: str) -> Any:
        """A Data Manager action over all tasks."""
        body = {"project": project_id, "selectedItems": {"all": True, "excluded": []}}
        return self.call("POST", "/api/dm/actions", params={"id": action, "project": project_id}, json=body)


@dataclass
class Stack:
    """A running demo."""

    folder: Path
    process: subprocess.Popen[str]
    facts: dict[str, Any]
    settings: dict[str, str]
    label_studio: LabelStudio

    @property
    def password(self) -> str:
        return str(json.loads((self.folder / "secrets.json").read_text())["label_studio_password"])

    def cli(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command typed beside the running demo."""
        return cli("--env-file", str(self.folder / "demo.env"), *arguments, check=check)

    def project(self, config: str) -> int:
        """The id of one of the two projects the demo makes."""
        return next(int(p["id"]) for p in self.label_studio.projects() if p["title"] == f"Kaan {config}")

    def create_project(self, title: str, *, config: str = "original") -> int:
        """A further project of ours."""
        made = self.cli("project", "create", "--config", config, "--title", title, "--json")
        return int(json.loads(made.stdout)["project"])

    def program(self, name: str) -> psutil.Process:
        """The process of one program now."""
        for group in json.loads((self.folder / "run" / "programs.json").read_text()):
            if group["name"] == name:
                return psutil.Process(group["pid"])
        raise LookupError(name)

    def kill(self, name: str) -> None:
        """kill -9 of a program and all its children, as the machine would do it."""
        group = self.program(name)
        os.killpg(group.pid, signal.SIGKILL)

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """A program that is there but does nothing, for the length of a block."""
        group = self.program(name).pid
        os.killpg(group, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(group, signal.SIGCONT)


def cli(*arguments: str, check: bool = True, env: dict[str, str] | None = None, cwd: Path = ROOT) -> Any:
    """`python -m ml_backend ...` to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "ml_backend", *arguments],
        cwd=cwd, env=env or bare_environment(), capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert done.returncode == 0 or not check, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def bare_environment() -> dict[str, str]:
    """Nothing of the shell's settings, except what a person may choose for a whole run."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
    chosen = {name: value for name, value in os.environ.items() if name in kept or name.startswith("ASR_")}
    return {**chosen, "PYTHONPATH": str(ROOT)}


def start(folder: Path) -> Stack:
    """Bring the demo up and wait until it says that it is."""
    command = [sys.executable, "-m", "ml_backend", "demo", "--headless", "--data-dir", str(folder)]
    command += ["--port", "0", "--label-studio-port", "0"]
    output = folder.with_suffix(".out")
    ready = folder / "run" / "ready.json"
    ready.unlink(missing_ok=True)  # a killed demo could not take its own away
    with output.open("a") as stream:
        process = subprocess.Popen(
            command, cwd=ROOT, env=bare_environment(), stdout=stream, stderr=subprocess.STDOUT, text=True
        )
    try:
        until(
            lambda: ready.exists() or process.poll() is not None, f"the demo is up; see {output}", within_s=UP_WITHIN_S
        )
        assert process.poll() is None, output.read_text()[-3000:]
    except BaseException:
        stop(process)
        raise
    facts = json.loads(ready.read_text())
    settings = {name: value or "" for name, value in dotenv_values(folder / "demo.env").items()}
    api = LabelStudio(facts["label_studio_url"], settings["LABEL_STUDIO_API_KEY"])
    return Stack(folder, process, facts, settings, api)


def stop(process: subprocess.Popen[str]) -> None:
    """Ctrl-C, and patience."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.wait(60)


@contextmanager
def demo(folder: Path) -> Iterator[Stack]:
    """A demo for the length of a block."""
    stack = start(folder)
    try:
        yield stack
    finally:
        stop(stack.process)


def texts(predictions: Sequence[dict[str, Any]]) -> str:
    """All that predictions put into text areas, in order of time."""
    items = [item for prediction in predictions for item in prediction["result"] if item["type"] == "textarea"]
    items.sort(key=lambda item: item["value"].get("start", 0.0))
    return " ".join(text for item in items for text in item["value"]["text"])


def choices(predictions: Sequence[dict[str, Any]], control: str) -> list[str]:
    """What predictions pre-set in one choices control."""
    return [
        choice
        for prediction in predictions
        for item in prediction["result"]
        if item["type"] == "choices" and item["from_name"] == control
        for choice in item["value"]["choices"]
    ]
