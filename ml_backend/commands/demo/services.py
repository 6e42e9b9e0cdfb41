"""Our own processes of the demo: relay, the workers and the web process, each as an operator would start it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ml_backend.commands.demo import ports
from ml_backend.commands.demo.home import ROOT, Home, write_private
from ml_backend.commands.demo.programs import Program

_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "HF_HOME")
_PASSED_ON = ("ASR_", "DEFAULT_LANGUAGE", "PREDICT_WAIT_S", "LOG_LEVEL")  # what a person may want to try in the demo


def environment(home: Home, *, api_key: str) -> dict[str, str]:
    """The whole environment of one of our processes; also written to demo.env for commands typed by hand."""
    chosen = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
    settings = {**chosen, **home.settings(api_key=api_key)}
    write_private(
        home.env_file,
        "# Settings of this demo, written at each start; it holds secrets.\n"
        "# Use: python -m ml_backend --env-file "
        + str(home.env_file)
        + " status\n"
        + "".join(f"{name}='{value}'\n" for name, value in settings.items()),
    )
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, **settings, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "LOG_FORMAT": "text"}


def programs(home: Home, environment: dict[str, str]) -> list[Program]:
    """In the order they are started."""

    def serves() -> bool:
        return ports.answers(home.port, "/health", "UP")

    return [
        Program("relay", command("relay"), environment),
        Program("worker-sync", command("worker", "sync"), environment),
        Program("worker-transcribe", command("worker", "transcribe"), environment),
        Program("web", command("web"), environment, ready=serves),
    ]


def command(*arguments: str) -> list[str]:
    """`python -m ml_backend ...` with this Python."""
    return [sys.executable, "-m", "ml_backend", *arguments]


def log_of(home: Home, name: str) -> Path:
    """Where a program's output goes."""
    return home.logs / f"{name}.log"
