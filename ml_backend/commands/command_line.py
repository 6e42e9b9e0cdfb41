"""`python -m ml_backend COMMAND`: every command by name, loaded when it is called.

`--help` reads only the table below, so it is quick although some commands load a speech engine.
A command's module exposes a `typer.Typer` (one command in it is the command itself, several are a group) or a plain
function. Commands of the upper packages are named by dotted path, as jobs are: the kernel imports neither.
"""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from ml_backend.errors import ConfigurationError, KaanError

if TYPE_CHECKING:
    from ml_backend.context import Context  # help needs no database

FAILED, MISUSED = 1, 2  # exit codes: something went wrong; the command or a setting must be changed
INTERRUPTED = 130


@dataclass(frozen=True)
class Entry:
    """The dotted path of a command, and its one line of help."""

    path: str
    help: str


COMMANDS: dict[str, Entry] = {
    "demo": Entry("ml_backend.commands.demo.command:app", "Bring up everything on this machine, with bundled calls."),
    "learn": Entry("ml_backend.commands.learn.command:app", "Watch the whole loop: new calls, a better model."),
    "init": Entry("ml_backend.commands.init:app", "Write .env with generated secrets."),
    "web": Entry("ml_backend.commands.web:app", "Serve the Label Studio protocol, webhooks and /api."),
    "serve": Entry("ml_backend.commands.serve:app", "Answer the phone system: /v1 with the models in memory."),
    "worker": Entry("ml_backend.commands.worker:app", "Run the jobs of one queue: sync, transcribe or training."),
    "relay": Entry("ml_backend.commands.relay:app", "Hand due jobs to the workers."),
    "status": Entry("sync.commands.status:app", "One screen: processes, waiting work, trouble."),
    "doctor": Entry("sync.commands.doctor:app", "Check every outside world and how to mend it."),
    "transcribe": Entry("ml_backend.commands.transcribe:app", "Transcribe audio files here and now."),
    "parse": Entry("ml_backend.commands.parse:app", "Say the intent of texts, and the entities in them."),
    "speak": Entry("ml_backend.commands.speak:app", "Say a text with a voice, into a WAV file."),
    "project": Entry("sync.commands.project:app", "Create, attach or detach a Label Studio project."),
    "annotations": Entry("training.commands.annotations:app", "What people wrote, and how good it is."),
    "calls": Entry("sync.commands.calls:app", "What became of every call: list, show, daily balance."),
    "retention": Entry("sync.commands.privacy:retention", "How long recordings of a bucket are kept."),
    "sync": Entry("sync.commands.sync:app", "Bring in calls from Exotel's listing and from the object store."),
    "nlu": Entry("training.commands.nlu:app", "What callers want: import, list and count labelled utterances."),
    "export": Entry("training.commands.export:export", "Make a dataset from the accepted samples."),
    "datasets": Entry("training.commands.datasets:app", "Datasets: list, show, compare."),
    "voices": Entry("training.commands.voices:app", "Recordings that a voice may learn from: import, list, coverage."),
    "prompts": Entry("training.commands.prompts:app", "What the IVR says, by another version of the voice."),
    "ratings": Entry("training.commands.ratings:app", "What people think of the voices: mean opinion scores."),
    "training": Entry("training.commands.training:app", "When models are trained, and what for."),
    "hotwords": Entry("training.commands.hotwords:app", "Words that people correct again and again."),
    "jobs": Entry("ml_backend.commands.jobs:app", "List, show and retry background jobs."),
    "experiments": Entry("training.commands.experiments:app", "Compare two model versions on real calls."),
    "train": Entry("training.commands.train:app", "Fine-tune a model on a dataset; list, show, cancel runs."),
    "evaluate": Entry("training.commands.evaluations:evaluate", "Score a model version on a dataset's test part."),
    "evaluations": Entry(
        "training.commands.evaluations:app", "What a model version got wrong, utterance by utterance."
    ),
    "promote": Entry("training.commands.promote:promote", "Make a version the champion, if it beats the present one."),
    "rollback": Entry("training.commands.promote:rollback", "Go back to the champion before, at once."),
    "report": Entry("ml_backend.commands.report:app", "Figures over time, the same that the page shows."),
    "models": Entry("training.commands.models:app", "Model versions: list, show, compare, register."),
    "db": Entry("ml_backend.commands.db:app", "Bring the database to this release, or show its version."),
    "backup": Entry("sync.commands.backup:backup", "Save database and objects into one file."),
    "restore": Entry("sync.commands.backup:restore", "Bring a backup back, into an empty place."),
}


class Commands(TyperGroup):
    """The group over COMMANDS: summaries for help, the real command on invocation."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        entry = COMMANDS.get(cmd_name)
        return None if entry is None else TyperCommand(cmd_name, help=entry.help)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        if args and args[0] in COMMANDS:
            return args[0], load(args[0]), args[1:]
        if args and not args[0].startswith("-"):
            ctx.fail(f"There is no command {args[0][:40]!r}. Commands: {', '.join(COMMANDS)}.")
        return super().resolve_command(ctx, args)


def named(path: str) -> Any:
    """What stands at `module:name`. The kernel reaches the upper packages this way; it imports neither."""
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)


def load(name: str) -> Any:
    """The click command behind a name in COMMANDS."""
    found = named(COMMANDS[name].path)
    if not isinstance(found, typer.Typer):
        single = typer.Typer(add_completion=False)
        single.command(name)(found)
        found = single
    found.rich_markup_mode = None  # frames cut the names of options where the terminal is narrow
    command = typer.main.get_command(found)
    command.name = name
    return command


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _options(
    env_file: Annotated[
        Path | None,
        typer.Option(help="Read settings from this file first, then from .env, e.g. data/demo.env of a running demo."),
    ] = None,
) -> None:
    """Kaan: transcripts for phone calls in Label Studio."""
    from ml_backend.commands import printing

    printing.SETTINGS_FILE = str(env_file or "")
    if env_file is None:
        return
    from ml_backend import settings

    if not env_file.is_file():
        raise ConfigurationError("no-env-file", f"There is no settings file {env_file}.", "Check the path.")
    settings.use_file(env_file)


def quiet_context(role: str = "cli") -> Context:
    """This process's context, for a command that prints for people: its log has warnings only."""
    from ml_backend import context, log, settings

    chosen = settings.load()
    log.configure(chosen, role, quiet=True)
    return context.open_context(chosen)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Every error is printed as a sentence and a code, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a character that the terminal cannot show must not end a command
            stream.reconfigure(errors="backslashreplace")
    try:
        from ml_backend.commands import printing

        typer.main.get_command(app).main(args=arguments, prog_name=f"{printing.python()} -m ml_backend")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except ConfigurationError as error:
        return _complain(error, MISUSED)
    except KaanError as error:
        return _complain(error, FAILED)
    except BrokenPipeError:  # `... | head` closed its end
        sys.stderr.close()
        return FAILED
    except KeyboardInterrupt:
        print("Ended.", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:  # an unexpected error is printed as a sentence, and its traceback goes to a file
        from ml_backend import unexpected_errors

        return _complain(unexpected_errors.explained(error), FAILED)
    return 0


def _complain(error: KaanError, code: int) -> int:
    print(f"error: {error.sentence} [{error.code}]", file=sys.stderr)
    if error.next_step:
        from ml_backend.commands import printing

        print(f"       {printing.runnable(error.next_step)}", file=sys.stderr)
    return code
