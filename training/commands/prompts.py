"""`prompts`: what the IVR says, by another version of the voice, and back."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from ml_backend.commands import printing
from ml_backend.commands.command_line import quiet_context
from ml_backend.context import Context
from ml_backend.models import kinds, registry, routing
from ml_backend.serving import chosen_model
from ml_backend.tts import voice_loading
from ml_backend.tts.voice_loading import Voice
from training.voices import prompt_renders, prompt_switch
from training.voices.prompt_renders import READY, PromptScope
from training.voices.prompt_switch import PromptChange

NOT_READY = 3
app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="What the IVR says, by another version of the voice."
)

VersionOption = Annotated[str, typer.Option("--version", help="A version of the voice; the champion by default.")]
LanguageOption = Annotated[str, typer.Option(help="Only prompts in this language, by its champion, e.g. mr.")]


@app.command("list")
def list_prompts(as_json: printing.AsJson = False) -> None:
    """Show what the IVR says now, by which version, and which prompts have no known text.

    Example: python -m ml_backend prompts list
    """
    context = quiet_context()
    found, now = prompt_renders.listed(context), prompt_switch.current(context)
    if as_json:
        switched = {"state": now.state, "version": now.to} if now else None
        known = [vars(one) for one in found.known]
        printing.say_json({"prompts": known, "without_text": list(found.textless), "switch": switched})
        return
    titles = ("prompt", "lang", "voice", "version", "text")
    rows = [(one.key, one.language, one.voice or "?", one.model_version or "?", one.text) for one in found.known]
    printing.table(titles, rows)
    if found.textless:
        printing.say(f"{len(found.textless)} more have no known text: put a .txt beside them. --json names them.")
    if now:
        printing.say(f"The last switch was to {now.to}: {now.state}.")


@app.command()
def render(version: VersionOption = "", language: LanguageOption = "", as_json: printing.AsJson = False) -> None:
    """Speak all prompts with a version, beside those that the IVR has. What is spoken already is not spoken again.

    Without a version, a language that has a champion of its own is left to it: name the language.

    Example: python -m ml_backend prompts render
    """
    context = quiet_context()
    speaker, scope = _speaker(context, version, language)
    done = prompt_renders.render(context, speaker, scope=scope, report=printing.progress)
    failed = [{"key": key, "code": code, "sentence": sentence} for key, code, sentence in done.failed]
    if as_json:
        printing.say_json({"version": speaker.model_version, "new": done.new, "before": done.before, "failed": failed})
    else:
        printing.say(f"{speaker.model_version}: {done.new} spoken, {done.before} spoken before, {len(failed)} failed.")
        for key, code, sentence in done.failed:
            printing.say(f"{key}: {sentence} [{code}]")
    raise typer.Exit(NOT_READY if failed else 0)


@app.command()
def compare(version: VersionOption = "", language: LanguageOption = "", as_json: printing.AsJson = False) -> None:
    """Compare each prompt with its rendering: missing, silent, clipped, or of another length. Exit code 3 if one is.

    Example: python -m ml_backend prompts compare
    """
    context = quiet_context()
    speaker, scope = _speaker(context, version, language)
    found = prompt_renders.compare(context, speaker, scope=scope, report=printing.progress)
    counts = Counter(one.state for one in found)
    if as_json:
        rows = [
            {"key": one.prompt.key, "rendering": one.rendering, "state": one.state, "old_s": one.old_s,
             "new_s": one.new_s, "ratio": one.ratio, "clipped_share": one.clipped_share}
            for one in found
        ]  # fmt: skip
        printing.say_json({"version": speaker.model_version, "counts": dict(counts), "prompts": rows})
    else:
        rows_shown = [
            (one.prompt.key, one.state, f"{one.ratio:.2f}" if one.ratio else "", one.prompt.text) for one in found
        ]
        printing.table(("prompt", "state", "length", "text"), rows_shown, right=("length",))
        printing.say(", ".join(f"{number} {state}" for state, number in counts.items()) or "There are no prompts.")
    raise typer.Exit(NOT_READY if set(counts) - {READY} else 0)


@app.command()
def switch(
    version: VersionOption = "",
    language: LanguageOption = "",
    force: Annotated[bool, typer.Option("--force", help="Leave prompts that are not ready as they are.")] = False,
    as_json: printing.AsJson = False,
) -> None:
    """Give the IVR a version's renderings. Old ones are kept first; after an interruption, repeat it.

    Example: python -m ml_backend prompts switch
    """
    context = quiet_context()
    speaker, scope = _speaker(context, version, language)
    done = prompt_switch.switch(context, speaker, scope=scope, force=force, report=printing.progress)
    _say(done, f"The IVR speaks with {done.version}", as_json=as_json)


@app.command()
def rollback(as_json: printing.AsJson = False) -> None:
    """Give the IVR what it had before the last switch, byte for byte; after an interruption, repeat it.

    Example: python -m ml_backend prompts rollback
    """
    done = prompt_switch.rollback(quiet_context(), report=printing.progress)
    _say(done, f"The IVR speaks as before {done.version}", as_json=as_json)


def _speaker(context: Context, version: str, language: str) -> tuple[Voice, PromptScope]:
    """(the voice, the prompts that are its own to speak)"""
    spoken = language or registry.ANY_LANGUAGE
    place = chosen_model.of_version(context, kinds.TTS, version, language=spoken)
    scope = PromptScope(language or None, frozenset() if version else routing.Routes(context, kinds.TTS).languages)
    return voice_loading.load(context.settings, Path(place)), scope


def _say(done: PromptChange, sentence: str, *, as_json: bool) -> None:
    left = f"; {len(done.left)} were changed by somebody else and left: {', '.join(done.left[:5])}" if done.left else ""
    facts = {"version": done.version, "changed": done.changed, "already": done.already, "left": list(done.left)}
    printing.result(facts, f"{sentence}: {done.changed} changed, {done.already} already{left}.", as_json=as_json)
