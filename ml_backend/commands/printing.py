"""What commands print for people: lines and tables that can be piped, copied and searched.

A row is one line at any terminal width, because a cut or wrapped name cannot be copied into the next command. Only the
prose of a last column is wrapped, between words, on a terminal with room for it. Foreign text is printed without
markup, with its control characters escaped.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from ml_backend.log import escaped

if TYPE_CHECKING:
    from rich.progress import Progress  # loaded by the commands that draw a bar

PROGRAM = "python -m ml_backend"
SETTINGS_FILE = ""  # what --env-file named
_COMMAND = re.compile(rf"(?<![\w./-]){PROGRAM} ")
_GAP = 2
_PROSE_ROOM = 24  # columns that prose needs beside the others before it is wrapped

Cell = str | Text
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def console(*, stderr: bool = False) -> Console:
    """A console that never wraps or cuts a line."""
    return Console(stderr=stderr, soft_wrap=True, highlight=False, markup=False, emoji=False)


def runnable(text: str) -> str:
    """The text, in which each command can be copied: with the Python and the settings file that this one has.

    Another Python on the path lacks the packages, and other settings mean another database.
    """
    begun = f"{python()}{PROGRAM.removeprefix('python')} "
    if SETTINGS_FILE and "--env-file" not in text:
        begun += f"--env-file {shlex.quote(SETTINGS_FILE)} "
    return _COMMAND.sub(lambda _: begun, text)


def python() -> str:
    """What a person types in this folder for the Python that runs here: `python` where that is it, else its path."""
    mine = Path(sys.executable or "python")
    found = shutil.which("python")
    if not mine.is_absolute() or (found and Path(found).absolute().parent == mine.parent):
        return "python"
    near = mine.is_relative_to(Path.cwd())
    return shlex.quote(os.path.relpath(mine) if near else str(mine))


def say(text: Cell = "", *, style: str = "", stderr: bool = False) -> None:
    console(stderr=stderr).print(text if isinstance(text, Text) else Text(runnable(text), style=style))


def say_json(facts: Any) -> None:
    """What `--json` prints: one line, in the letters it was written in."""
    typer.echo(json.dumps(facts, ensure_ascii=False, default=str))


def result(facts: dict[str, Any], sentence: str, *, as_json: bool) -> None:
    """What came of a command: the facts for a program, or a sentence for a person."""
    say_json(facts) if as_json else typer.echo(runnable(sentence))


@contextmanager
def moving(count: str = "", *, quiet: bool = False) -> Iterator[Progress]:
    """A temporary bar on standard error, drawn only on a terminal. `count` is a column in rich's format."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    shown = console(stderr=True)
    counter = [TextColumn(count)] if count else []
    columns = (TextColumn("{task.description}"), BarColumn(), *counter, TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=shown, transient=True, disable=quiet or not shown.is_terminal) as bar:
        yield bar


def progress(fraction: float, note: str) -> None:
    """Print a long command's progress on standard error, one line each time."""
    say(f"{100 * fraction:3.0f} %  {note}", stderr=True)


def fact(title: str, text: str, *, width: int = 12, style: str = "bold") -> None:
    """A bold title, then its text."""
    line = Text(title.ljust(width), style=style)
    say(Text.assemble(line, " ", (escaped(runnable(text)), "")))


def table(
    titles: Sequence[str], rows: Iterable[Sequence[Cell]], *, right: Collection[str] = (), indent: int = 0
) -> None:
    """Columns under bold titles; those in `right` are numbers. The last column may be prose."""
    lines = [[_text(cell) for cell in row] for row in rows]
    heads = [Text(title, style="bold") for title in titles]
    widths = [max(cell_len(row[place].plain) for row in [heads, *lines]) for place in range(len(titles))]
    sink = console()
    taken = indent + sum(widths[:-1]) + _GAP * (len(titles) - 1)
    room = sink.width - taken if sink.is_terminal else 0
    for row in [heads, *lines]:
        first, *below = _prose(row[-1], room) if titles[-1] not in right else [row[-1]]
        cells = [*row[:-1], first]
        line = Text(" " * indent)
        for place, cell in enumerate(cells):
            pad = " " * (widths[place] - cell_len(cell.plain))
            line.append_text(Text.assemble(pad, cell) if titles[place] in right else cell)
            if place < len(cells) - 1:
                line.append("" if titles[place] in right else pad).append(" " * _GAP)
        line.rstrip()
        sink.print(line)
        for more in below:
            sink.print(Text.assemble(" " * taken, more))


def _text(cell: Cell) -> Text:
    return cell if isinstance(cell, Text) else Text(escaped(runnable(" ".join(cell.splitlines()))))


def _prose(cell: Text, room: int) -> list[Text]:
    """The lines of a last column, wrapped between words where the terminal is wide enough."""
    if room < _PROSE_ROOM or cell_len(cell.plain) <= room:
        return [cell]
    lines, line = [], ""
    for word in cell.plain.split(" "):
        if line and cell_len(f"{line} {word}") > room:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [Text(each, style=cell.style) for each in [*lines, line]]
