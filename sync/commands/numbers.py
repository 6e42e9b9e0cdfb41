"""`calls numbers`: facts about the company's own numbers."""

from __future__ import annotations

from typing import Annotated

import sqlalchemy as sa
import typer

from ml_backend import settings
from ml_backend.calls import pseudonyms
from ml_backend.commands import printing
from ml_backend.context import Context, open_context
from ml_backend.errors import InvalidInput
from ml_backend.labelling import parameters
from ml_backend.labelling.agent_channel import set_agent_channel
from ml_backend.tables import company_numbers
from sync.recordings import recording_language

app = typer.Typer(add_completion=False, no_args_is_help=True, help="What is known of the company's own numbers.")

Number = Annotated[str, typer.Argument(help="The company's number in any form, or its pseudonym.")]


@app.command("list")
def list_numbers(as_json: printing.AsJson = False) -> None:
    """Show the company's numbers, as pseudonyms: the channel their agents speak on, the language, the consent.

    Example: python -m ml_backend calls numbers list
    """
    rows = open_context(settings.load()).db.rows(sa.select(company_numbers).order_by(company_numbers.c.id))
    found = [
        {
            "number": row.pseudonym,
            "agent_channel": row.agent_channel,
            "language": row.language,
            "consent_purpose": row.consent_purpose,
        }
        for row in rows
    ]
    if as_json:
        printing.say_json(found)
        return
    for one in found:
        consent = one["consent_purpose"] or "not stated"
        typer.echo(f"{one['number']}: {_said(one['agent_channel'])}, {_spoken(one['language'])}, consent {consent}")
    if not found:
        typer.echo("No company number is known yet: they come with the calls.")


@app.command("set")
def set_number(
    number: Number,
    agent_channel: Annotated[
        str | None,
        typer.Option(help="The agent's channel in two-channel recordings: 0 (left), 1 (right) or unknown."),
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="The language of the calls through it, e.g. hi or Marathi; auto detects it.")
    ] = None,
    as_json: printing.AsJson = False,
) -> None:
    """Say which channel of a number's recordings is the agent, and in which language its calls are.

    Example: python -m ml_backend calls numbers set 00000000101 --agent-channel 0 --language hi
    """
    if agent_channel is None and language is None:
        raise InvalidInput("nothing-to-set", "There is nothing to set.", "Give --agent-channel or --language.")
    if agent_channel not in (None, "0", "1", "unknown"):
        raise InvalidInput("bad-channel", f"{agent_channel[:20]!r} is no channel.", "Give 0, 1 or unknown.")
    code = _code(language)
    context = open_context(settings.load())
    name = _pseudonym(context, number)
    if agent_channel is not None:
        with context.db.transaction() as connection:
            set_agent_channel(connection, name, None if agent_channel == "unknown" else int(agent_channel))
    if language is not None:
        recording_language.set_of_number(context, name, code)
    row = context.db.rows(sa.select(company_numbers).where(company_numbers.c.pseudonym == name))[0]
    facts = {"number": name, "agent_channel": row.agent_channel, "language": row.language}
    said = f"{name}: {_said(row.agent_channel)}, {_spoken(row.language)}. Open drafts follow."
    printing.result(facts, said, as_json=as_json)


def _code(language: str | None) -> str | None:
    if language is None or language.strip().casefold() in ("auto", ""):
        return None
    try:
        return parameters.language_code(language)
    except ValueError:
        step = "Give a code such as hi, a name such as Marathi, or auto."
        raise InvalidInput("bad-language", f"{language[:20]!r} is no language.", step) from None


def _pseudonym(context: Context, number: str) -> str:
    if pseudonyms.SHAPE.fullmatch(number.strip()):
        return number.strip()
    if sum(character.isdigit() for character in number) < 3:
        raise InvalidInput("no-number", "That is no phone number.", "Give the number as digits, or its pseudonym.")
    return pseudonyms.pseudonym(number, pseudonyms.key_in(context.settings, context.db))


def _said(channel: int | None) -> str:
    return "the agent's channel is not known" if channel is None else f"the agent is on channel {channel}"


def _spoken(language: str | None) -> str:
    return f"calls are in {language}" if language else "the language is detected"
