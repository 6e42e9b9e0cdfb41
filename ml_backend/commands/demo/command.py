"""`demo`: nothing -> a running Label Studio whose tasks open with transcripts.

Every step checks whether it is done already, so a start that was killed is finished by the next one, and a second
start takes seconds.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from ml_backend import db, settings, tables
from ml_backend.commands.command_line import named
from ml_backend.commands.demo import home as homes
from ml_backend.commands.demo import label_studio, ports, programs, progress, redis_server
from ml_backend.commands.demo.home import USER, DemoFolder
from ml_backend.commands.demo.programs import Supervisor, end_leftovers
from ml_backend.commands.demo.screen import Screen
from ml_backend.context import Context, open_context
from ml_backend.db import Database

LOOK_EVERY_S = 0.5
SERVES_WITHIN_S = 120.0
CALLS = Path(__file__).resolve().parents[2] / "bundled" / "calls" / "calls.json"

app = typer.Typer(add_completion=False)


class _Stop:
    """Ctrl-C, SIGTERM or a closed terminal: once to stop, twice to hurry."""

    def __init__(self) -> None:
        self.asked = 0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked += 1

    def stopping(self) -> bool:
        return self.asked > 0

    def hurry(self) -> bool:
        return self.asked > 1


@app.command()
def demo(
    data_dir: Annotated[Path, typer.Option(help="Folder for all data of the demo.")] = Path("data"),
    port: Annotated[int | None, typer.Option(help="Port of the ML backend; 0 picks a free one. [9090]")] = None,
    label_studio_port: Annotated[
        int | None, typer.Option(help="Port of Label Studio; 0 picks a free one. [8080]")
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open Label Studio in a browser.")] = False,
    calls: Annotated[Path, typer.Option(help="Manifest of the calls to bring in.", hidden=True)] = CALLS,
    headless: Annotated[bool, typer.Option(help="Plain lines, and DATA_DIR/run/ready.json when ready.")] = False,
) -> None:
    """Start Label Studio, the services and the bundled calls on this machine, and keep them running.

    Ctrl-C stops all of it; the next start keeps the data.

    Example: python -m ml_backend demo --port 9191 --label-studio-port 8181
    """
    screen = Screen(plain=headless or not sys.stdout.isatty())
    home = homes.take(data_dir, port=port, label_studio_port=label_studio_port)
    ready_file = home.run / "ready.json"
    ready_file.unlink(missing_ok=True)
    stop = _Stop()
    supervisor = Supervisor(home, say=screen.warn, stopping=stop.stopping)
    try:
        api_key = _bring_up(home, supervisor, screen)
        _fill(home, supervisor, screen, api_key=api_key, calls=calls)
        homes.write_private(ready_file, json.dumps(_facts(home)))
        screen.welcome(home, USER, home.secrets["label_studio_password"])
        if browser:
            typer.launch(home.label_studio_url)
        while not stop.stopping():
            supervisor.watch()
            time.sleep(LOOK_EVERY_S)
    except KeyboardInterrupt:
        pass
    finally:
        if supervisor.running:
            screen.note("Stopping ...")
        supervisor.stop(hurry=stop.hurry)
        ready_file.unlink(missing_ok=True)
        home.release()
    screen.note(f"Stopped. The data stays in {home.path}; the same command continues from there.")


def _bring_up(home: DemoFolder, supervisor: Supervisor, screen: Screen) -> str:
    """Start Redis, Label Studio and our own processes; returns the personal access token."""
    if ended := end_leftovers(home):
        screen.note(f"Stopped what a killed demo left running: {', '.join(ended)}.")
    ports.require_free(home.label_studio_port, "Label Studio", "--label-studio-port")
    ports.require_free(home.port, "the ML backend", "--port")
    with screen.step("Redis"):
        supervisor.start(redis_server.program(home))
        supervisor.wait_ready("redis", 30)
    known = label_studio.kept_token(home)
    with screen.step("Label Studio" + ("" if known else " (the first start creates its database, about a minute)")):
        supervisor.start(label_studio.program(home))
        if known:  # a later start: everything comes up side by side
            _start_services(home, supervisor, api_key=known)
        supervisor.wait_ready("label-studio", label_studio.FIRST_START_WITHIN_S)
        api_key = label_studio.token(home)
    with screen.step("Relay, workers and web process"):
        if not known:
            _start_services(home, supervisor, api_key=api_key)
        supervisor.wait_ready("web", SERVES_WITHIN_S)
    return api_key


def _start_services(home: DemoFolder, supervisor: Supervisor, *, api_key: str) -> None:
    environment = programs.environment(home, api_key=api_key)
    db.upgrade(environment["DATABASE_URL"])
    for program in programs.programs(home, environment):
        supervisor.start(program)


def _fill(home: DemoFolder, supervisor: Supervisor, screen: Screen, *, api_key: str, calls: Path) -> None:
    """The two projects, the bundled calls, and the wait until every call has its draft in Label Studio."""
    fields: dict[str, Any] = {name.lower(): value for name, value in home.settings(api_key=api_key).items()}
    context = open_context(settings.load(**fields))
    try:
        with screen.step("Projects"):
            project_ids = named("sync.demo.bundled_calls:ensure_projects")(context)
        with screen.step("Bundled calls"):
            recording_ids = named("sync.demo.bundled_calls:bring_in")(context, calls, project_ids)
        with screen.step("Transcripts"):
            _wait_transcribed(context, recording_ids, supervisor)
            named("sync.demo.bundled_calls:choose")(context, calls, project_ids)
            _wait(context.db, recording_ids, supervisor, screen)
    finally:
        context.db.dispose()


def _wait_transcribed(context: Context, recording_ids: Sequence[int], supervisor: Supervisor) -> None:
    """Wait until every call is transcribed or refused: the texts decide which call is shown first."""
    since = tables.now()
    transcribed = named("sync.demo.bundled_calls:transcribed")
    for _ in _looks(supervisor):
        if transcribed(context, recording_ids) >= len(recording_ids) or progress.gave_up(context.db, since):
            return


def _wait(database: Database, recording_ids: Sequence[int], supervisor: Supervisor, screen: Screen) -> None:
    shown: set[str] = set()
    since = tables.now()
    with screen.bars() as show:
        for _ in _looks(supervisor):
            now = progress.of(database, recording_ids, since=since)
            show(now)
            for sentence in now.trouble:
                if sentence not in shown:
                    shown.add(sentence)
                    screen.warn(sentence)
            if now.complete or now.trouble:
                return


def _looks(supervisor: Supervisor) -> Iterator[None]:
    """Supervise the programs between two checks; raises KeyboardInterrupt when a person stops the demo."""
    while True:
        supervisor.watch()
        if supervisor.stopping():
            raise KeyboardInterrupt
        yield
        time.sleep(LOOK_EVERY_S)


def _facts(home: DemoFolder) -> dict[str, object]:
    """The facts about a running demo that tests and scripts need."""
    return {
        "pid": os.getpid(),
        "url": home.url,
        "label_studio_url": home.label_studio_url,
        "user": USER,
        "env_file": str(home.env_file),
    }
