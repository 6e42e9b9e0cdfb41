"""`demo`: nothing -> a running Label Studio whose tasks open with transcripts.

Every step may find that it is done already: a first start that was killed anywhere is finished by the next one, and
a second start takes seconds.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from ml_backend import db
from ml_backend.commands.demo import home as homes
from ml_backend.commands.demo import label_studio, ports, redis_server, services
from ml_backend.commands.demo.home import USER, Home
from ml_backend.commands.demo.programs import Supervisor, end_leftovers
from ml_backend.commands.demo.screen import Screen

LOOK_EVERY_S = 0.5

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
    data_dir: Annotated[Path, typer.Option(help="Folder that holds all of it.")] = Path("data"),
    port: Annotated[int | None, typer.Option(help="Port of the ML backend; 0 picks a free one. [9090]")] = None,
    label_studio_port: Annotated[
        int | None, typer.Option(help="Port of Label Studio; 0 picks a free one. [8080]")
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open Label Studio in a browser.")] = False,
    headless: Annotated[bool, typer.Option(help="Plain lines, and DATA_DIR/run/ready.json when all is up.")] = False,
) -> None:
    """Bring up everything on this machine and leave it running: Label Studio, transcripts, bundled calls.

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
        _fill(home, screen, supervisor)
        homes.write_private(ready_file, json.dumps(_facts(home, api_key)))
        screen.welcome(home, USER, home.secrets["label_studio_password"])
        if browser:
            typer.launch(home.label_studio_url)
        while not stop.stopping():
            supervisor.watch()
            time.sleep(LOOK_EVERY_S)
    except KeyboardInterrupt:
        pass
    finally:
        screen.note("Stopping ...")
        supervisor.stop(hurry=stop.hurry)
        ready_file.unlink(missing_ok=True)
        home.release()
    screen.note(f"Stopped. Everything is kept in {home.path}; the same command goes on from there.")


def _bring_up(home: Home, supervisor: Supervisor, screen: Screen) -> str:
    """Redis, Label Studio and our own processes; gives the personal access token."""
    if ended := end_leftovers(home):
        screen.note(f"A demo that was killed had left {', '.join(ended)} running; ended.")
    ports.require_free(home.label_studio_port, "Label Studio", "--label-studio-port")
    ports.require_free(home.port, "the ML backend", "--port")
    with screen.step("Redis"):
        supervisor.start(redis_server.program(home))
        supervisor.wait_ready("redis", 30)
    first = not (home.path / "label-studio" / "label_studio.sqlite3").exists()
    with screen.step("Label Studio" + (" (prepares its database at the first start, about a minute)" if first else "")):
        supervisor.start(label_studio.program(home))
        supervisor.wait_ready("label-studio", label_studio.FIRST_START_WITHIN_S)
        api_key = label_studio.token(home)
    with screen.step("Database"):
        environment = services.environment(home, api_key=api_key)
        db.upgrade(environment["DATABASE_URL"])
    with screen.step("Relay, workers and web process"):
        for program in services.programs(home, environment):
            supervisor.start(program)
        supervisor.wait_ready("web", 60)
    return api_key


def _fill(home: Home, screen: Screen, supervisor: Supervisor) -> None:
    """Projects, calls, and the wait until they are transcribed."""


def _facts(home: Home, api_key: str) -> dict[str, object]:
    """What a test or a script needs to know about a running demo."""
    return {
        "pid": os.getpid(),
        "url": home.url,
        "label_studio_url": home.label_studio_url,
        "user": USER,
        "env_file": str(home.env_file),
    }
