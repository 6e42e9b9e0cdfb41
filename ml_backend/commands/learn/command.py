"""`learn`: the whole loop for each kind of model: calls, utterances, and a voice that people rate.

Every step is a documented command, shown before it runs, or a wait for the workers of the demo. A step first reads the
rows, so a stopped or killed run continues where it ended, and a finished one prints its result. Only people are
simulated.
"""

from __future__ import annotations

import importlib.util
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from ml_backend import settings
from ml_backend.commands import printing
from ml_backend.commands.demo.home import USER
from ml_backend.commands.learn import call_loop, ending, rating_loop, stack, utterance_loop
from ml_backend.commands.learn.call_loop import CallLoop
from ml_backend.commands.learn.loop_steps import REFUSED, LoopSteps
from ml_backend.commands.learn.rating_loop import RatingLoop
from ml_backend.commands.learn.stack import Stack
from ml_backend.commands.learn.tutor import Tutor
from ml_backend.commands.learn.utterance_loop import UtteranceLoop
from ml_backend.context import open_context
from ml_backend.errors import ConfigurationError

STEPS = 1 + call_loop.STEPS + utterance_loop.STEPS + rating_loop.STEPS

app = typer.Typer(add_completion=False)


@app.command()
def learn(
    data_dir: Annotated[Path, typer.Option(help="Folder of the demo to use.")] = Path("data"),
    port: Annotated[int | None, typer.Option(help="Port of the ML backend, if it starts a demo. [9090]")] = None,
    label_studio_port: Annotated[
        int | None, typer.Option(help="Port of Label Studio, if it starts a demo. [8080]")
    ] = None,
    stay: Annotated[
        bool | None,
        typer.Option("--stay/--no-stay", help="Keep a demo that it started running until Ctrl-C. [on a terminal]"),
    ] = None,
    short: Annotated[bool, typer.Option("--short", help="Fewer calls and steps, for a quick look.")] = False,
) -> None:
    """Run the whole loop on this machine, for each kind of model: calls, utterances, and a voice that people rate.

    Takes 5 to 20 minutes. Every step shows its command. Stop it at any time; the same command continues.

    Example: python -m ml_backend learn
    """
    if importlib.util.find_spec("torch") is None:
        raise ConfigurationError(
            "no-training-set",
            "Learning needs the training packages, which are not installed here.",
            "Run `make learn`, which installs them.",
        )
    _stop_like_ctrl_c()
    plain = not sys.stdout.isatty()
    tutor = Tutor(plain=plain, of=STEPS)
    here = stack.running(data_dir.expanduser().absolute()) or Stack(data_dir.expanduser().absolute())
    try:
        promoted = _loop(tutor, here, port=port, label_studio_port=label_studio_port, short=short)
        if here.mine is not None and (not plain if stay is None else stay):
            tutor.console.print("\nThe demo keeps running. Ctrl-C stops it.")
            with suppress(KeyboardInterrupt):
                here.mine.wait()
    except KeyboardInterrupt:
        tutor.console.print("\nStopping. The same command continues from here.")
        raise typer.Exit(130) from None
    finally:
        if here.mine is not None and here.mine.poll() is None:
            tutor.console.print(f"Stopping the demo; its data stays in {here.folder}.", markup=False)
        here.stop()
    raise typer.Exit(0 if promoted else REFUSED)


def _loop(tutor: Tutor, here: Stack, *, port: int | None, label_studio_port: int | None, short: bool) -> bool:
    """Run all steps; returns whether every new version was promoted."""
    with tutor.step("The demo", "Label Studio, Redis, the web process and the workers, all on this machine."):
        if here.facts:
            tutor.there(f"a demo runs in {here.folder}.")
        else:
            tutor.shows("demo", "--data-dir", str(here.folder))
            stack.start(here.folder, here, port=port, label_studio_port=label_studio_port)
            stack.wait(here, tutor.say)
    settings.use_file(here.env_file)
    printing.SETTINGS_FILE = here.env_file_from_here
    context = open_context(settings.load())
    try:
        steps = LoopSteps(tutor, here, context)
        found = [CallLoop(steps, short=short).all(), UtteranceLoop(steps).all(), RatingLoop(steps, short=short).all()]
        ending.show(tutor.console, here, found, user=USER)
        return all(one.promoted is not False for one in found)
    finally:
        context.db.dispose()


def _stop_like_ctrl_c() -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the first is ignored in a shell's background
        signal.signal(number, stop)
