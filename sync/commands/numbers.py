"""`calls numbers`: facts about the company's own numbers."""

from __future__ import annotations

from typing import Annotated, Any

import sqlalchemy as sa
import typer
from sqlalchemy.engine import Connection

from ml_backend import db, settings
from ml_backend.calls import pseudonyms
from ml_backend.calls.consent import LEARNING
from ml_backend.commands import printing
from ml_backend.context import Context, open_context
from ml_backend.errors import InvalidInput
from ml_backend.labelling import parameters
from ml_backend.labelling.agent_channel import set_agent_channel
from ml_backend.tables import company_numbers
from sync.recordings import recording_language

app = typer.Typer(add_completion=False, no_args_is_help=True, help="What is known of the company's own numbers.")

_KEEPS = {
    "off": "live audio is not kept",
    "on": "live audio is kept",
    "without-consent": "live audio is not kept, although it is switched on: the consent does not allow it",
}
Number = Annotated[str, typer.Argument(help="The company's number in any form, or its pseudonym.")]


@app.command("list")
def list_numbers(as_json: printing.AsJson = False) -> None:
    """Show the company's numbers, as pseudonyms: the agents' channel, the language, the consent, live audio.

    Example: python -m ml_backend calls numbers list
    """
    rows = open_context(settings.load()).db.rows(sa.select(company_numbers).order_by(company_numbers.c.id))
    found = [
        {
            "number": row.pseudonym,
            "agent_channel": row.agent_channel,
            "language": row.language,
            "consent_purpose": row.consent_purpose,
            "live_audio": _live_audio(row),
        }
        for row in rows
    ]
    if as_json:
        printing.say_json(found)
        return
    for one in found:
        consent = one["consent_purpose"] or "not stated"
        facts = (_said(one["agent_channel"]), _spoken(one["language"]), f"consent {consent}", _KEEPS[one["live_audio"]])
        typer.echo(f"{one['number']}: {', '.join(facts)}")
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
    live_audio: Annotated[
        str | None,
        typer.Option(help="on: keep what live requests of its calls send, as recordings; off: do not (the default)."),
    ] = None,
    as_json: printing.AsJson = False,
) -> None:
    """Say which channel of a number's recordings is the agent, which language its calls have, and what is kept.

    Example: python -m ml_backend calls numbers set 00000000101 --agent-channel 0 --language hi --live-audio on
    """
    if agent_channel is None and language is None and live_audio is None:
        raise InvalidInput(
            "nothing-to-set", "There is nothing to set.", "Give --agent-channel, --language or --live-audio."
        )
    if agent_channel not in (None, "0", "1", "unknown"):
        raise InvalidInput("bad-channel", f"{agent_channel[:20]!r} is no channel.", "Give 0, 1 or unknown.")
    if live_audio not in (None, "on", "off"):
        raise InvalidInput("bad-switch", f"{live_audio[:20]!r} is neither on nor off.", "Give on or off.")
    code = _code(language)
    context = open_context(settings.load())
    name = _pseudonym(context, number)
    if live_audio is not None:
        with context.db.transaction() as connection:
            _switch(connection, name, on=live_audio == "on")
    if agent_channel is not None:
        with context.db.transaction() as connection:
            set_agent_channel(connection, name, None if agent_channel == "unknown" else int(agent_channel))
    if language is not None:
        recording_language.set_of_number(context, name, code)
    row = context.db.rows(sa.select(company_numbers).where(company_numbers.c.pseudonym == name))[0]
    facts = {
        "number": name, "agent_channel": row.agent_channel, "language": row.language, "live_audio": _live_audio(row),
    }  # fmt: skip
    follow = " Open drafts follow." if agent_channel is not None or language is not None else ""
    said = f"{name}: {_said(row.agent_channel)}, {_spoken(row.language)}, {_KEEPS[_live_audio(row)]}.{follow}"
    printing.result(facts, said, as_json=as_json)


def _switch(connection: Connection, name: str, *, on: bool) -> None:
    """Keep a number's live audio, or keep it no longer. On needs the stated consent purpose that allows learning."""
    mine = sa.select(company_numbers).where(company_numbers.c.pseudonym == name).with_for_update()
    row = connection.execute(mine).first()
    purpose = row.consent_purpose if row is not None else None
    if on and purpose != LEARNING:
        stated = f"It is {purpose!r}" if purpose else "None is stated"
        raise InvalidInput(
            "live-audio-consent",
            f"Live audio is kept to learn from it, and the number's consent purpose does not allow that. {stated}.",
            f"Where the callers agreed, state {LEARNING!r} with `calls consent import FILE.csv`; then switch it on.",
        )
    row_id, _ = db.insert_once(connection, company_numbers, {"pseudonym": name}, key=("pseudonym",))
    db.update(connection, company_numbers, row_id, keeps_live_audio=on)


def _live_audio(row: Any) -> str:
    """off, on, or without-consent: switched on, while the purpose no longer allows it."""
    if not row.keeps_live_audio:
        return "off"
    return "on" if row.consent_purpose == LEARNING else "without-consent"


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
