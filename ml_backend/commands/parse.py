"""`parse`: texts -> intents and entities in this process, without queue or Label Studio."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ml_backend import quantities
from ml_backend.commands import printing
from ml_backend.errors import InvalidInput
from ml_backend.models import kinds
from ml_backend.serving import chosen_model

if TYPE_CHECKING:
    from ml_backend.nlu.parsing import Parse

app = typer.Typer(add_completion=False)


@app.command()
def parse(
    texts: Annotated[list[str] | None, typer.Argument(help="What somebody said.", metavar="TEXT...")] = None,
    file: Annotated[Path | None, typer.Option(help="A file with one text per line; - reads standard input.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per text and line.")] = False,
    model: Annotated[str, typer.Option(help=chosen_model.MODEL_HELP)] = "",
    language: Annotated[str, typer.Option(help="Ask the champion of this language, where it has its own.")] = "*",
) -> None:
    """Say the intent of texts, and the entities in them, with their offsets.

    Example: python -m ml_backend parse "where is my order KA1234" --json
    """
    from ml_backend.nlu import loading

    if not texts and file is None:
        raise InvalidInput("no-text", "There is no text to parse.", "Give one in quotes, or --file FILE.")
    parser = loading.load(chosen_model.location(kinds.NLU, model, language=language))
    for text in _texts(texts or [], file):
        found = parser.parse(text)
        if as_json:
            printing.say_json({"text": text, **found.to_json()})
        else:
            typer.echo(_line(text, found))


def _texts(given: list[str], file: Path | None) -> Iterator[str]:
    """The texts, then the lines of the file, each as soon as it is read."""
    yield from given
    if file is None:
        return
    try:
        if str(file) == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin)
            return
        with file.open(encoding="utf-8") as lines:
            yield from (line.rstrip("\r\n") for line in lines)
    except (OSError, UnicodeDecodeError):
        raise InvalidInput(
            "text-unreadable", f"{file.name} cannot be read as lines of UTF-8.", "Name a text file: --file FILE."
        ) from None


def _line(text: str, found: Parse) -> str:
    """`order_status 0.98  order=KA1234 | where is my order KA1234`"""
    entities = " ".join(f"{each.entity}={each.value}" for each in found.entities)
    cut = " (read in part)" if found.truncated else ""
    return f"{found.intent} {found.confidence:.2f}  {entities}{cut} | {quantities.shortened(text, 100)}"
