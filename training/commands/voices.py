"""`voices`: recordings of known texts, that a voice may learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ml_backend.commands import printing
from ml_backend.commands.command_line import quiet_context
from ml_backend.errors import InvalidInput
from ml_backend.views import voice_views
from ml_backend.views.queries import MAX_LIMIT
from training.voices import clip_collection, studio

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Recordings that a voice may learn from.")

Language = Annotated[str | None, typer.Option(help="Only in this language, e.g. hi.")]
Voice = Annotated[str | None, typer.Option(help="Only by this voice.")]


@app.command("import")
def import_(
    place: Annotated[str, typer.Argument(help="A folder on this machine, or bucket/prefix in the object store.")],
    list_name: Annotated[str, typer.Option("--list", help="Name of the CSV list, where the place has several.")] = "",
    dry_run: Annotated[bool, typer.Option(help="Say what would come in, and change nothing.")] = False,
    as_json: printing.AsJson = False,
) -> None:
    """Take recordings by people: a CSV with the columns file, text, language, voice, and emotion if wanted.

    A folder's files are copied into AUDIO_BUCKET; those of a bucket stay there. Repeating it changes nothing. Bad rows
    are named and left out.

    Example: python -m ml_backend voices import studio/november
    """
    context = quiet_context()
    if Path(place).is_dir():
        done = studio.import_folder(context, Path(place), list_name=list_name, dry_run=dry_run)
    else:
        bucket, slash, prefix = place.strip("/").partition("/")
        if not slash:
            raise InvalidInput("no-such-place", f"There is no folder {place}.", "Give a folder, or bucket/prefix.")
        done = studio.import_prefix(context, bucket, prefix, list_name=list_name, dry_run=dry_run)
    facts = {"new": done.new, "changed": done.changed, "unchanged": done.unchanged, "dry_run": dry_run}
    if as_json:
        printing.say_json({**facts, "bad": [vars(one) for one in done.bad]})
        return
    verb = "would come" if dry_run else "came"
    printing.say(f"Recordings that {verb} in: {done.new}; changed: {done.changed}; as before: {done.unchanged}.")
    if done.bad:
        printing.say(f"Rows that are left out: {len(done.bad)}")
        printing.table(
            ("line", "file", "why"), [(str(one.line), one.file, one.reason) for one in done.bad], right=("line",)
        )


@app.command("collect")
def collect_(as_json: printing.AsJson = False) -> None:
    """Bring the list of clips up to date now; a job does so every few minutes.

    Example: python -m ml_backend voices collect
    """
    counts = dict(clip_collection.collect(quiet_context()))
    sentence = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
    printing.result({"changed": counts}, f"Changed: {sentence or 'nothing'}.", as_json=as_json)


@app.command("list")
def list_voices(
    language: Language = None,
    voice: Voice = None,
    emotion: Annotated[str | None, typer.Option(help="Only with this emotion.")] = None,
    state: Annotated[str | None, typer.Option(help=f"Only these: {', '.join(voice_views.STATES)}.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only those left out for this reason, e.g. no-text.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_LIMIT, help="At most this many rows.")] = 30,
    as_json: printing.AsJson = False,
) -> None:
    """Show clips, newest first: who says what, and why some are left out.

    Example: python -m ml_backend voices list --state excluded
    """
    query = voice_views.ClipQuery(
        language=language, voice=voice, emotion=emotion, state=state, reason=reason, limit=limit
    )
    found = voice_views.find(quiet_context().db, query)
    if as_json:
        printing.say_json({"clips": found})
        return
    if not found:
        printing.say("There are no such clips.")
        return
    titles = ("clip", "state", "why", "lang", "voice", "emotion", "seconds", "text")
    printing.table(titles, map(_row, found), right=("clip", "seconds"))


@app.command()
def show(
    clip: Annotated[int, typer.Argument(min=1, help="Number of the clip, as `voices list` shows it.")],
    as_json: printing.AsJson = False,
) -> None:
    """Show one clip with the figures of its checks.

    Example: python -m ml_backend voices show 12
    """
    found = voice_views.show(quiet_context().db, clip)
    if as_json:
        printing.say_json(found)
        return
    checks = found.pop("checks") or {}
    for name, value in {**found, **checks}.items():
        if value is not None:
            printing.fact(name, str(value), width=14)


@app.command()
def summary(as_json: printing.AsJson = False) -> None:
    """Show how much speech there is by language, and why clips are left out.

    Example: python -m ml_backend voices summary
    """
    found = voice_views.summary(quiet_context().db)
    if as_json:
        printing.say_json(found)
        return
    printing.say(", ".join(f"{number} {name}" for name, number in found["clips"].items()))
    rows = [
        (name, str(one["clips"]), f"{one['seconds'] / 60:.1f}", str(one["excluded"]))
        for name, one in found["languages"].items()
    ]
    printing.table(("language", "clips", "minutes", "left out"), rows, right=("clips", "minutes", "left out"))
    for one in found["excluded"]:
        printing.fact(one["code"], f"{one['clips']}: {one['reason']}", width=16)
    for one in found["retranscription"]:
        said = f"CER {100 * one['median_cer']:.1f} % in the median of {one['clips']} clips, by {one['recogniser']}"
        printing.fact(one["language"], said, width=16)


@app.command()
def coverage(as_json: printing.AsJson = False) -> None:
    """Show voices x emotions x languages: how much there is, and which combinations are missing.

    Example: python -m ml_backend voices coverage
    """
    found = voice_views.coverage(quiet_context().db)
    if as_json:
        printing.say_json(found)
        return
    if not found["cells"]:
        printing.say("No clip is accepted yet. `python -m ml_backend voices summary` says why.")
        return
    rows = [
        (one["voice"], one["language"], one["emotion"], str(one["clips"]), f"{one['seconds'] / 60:.1f}", _lack(one))
        for one in found["cells"]
    ]
    printing.table(("voice", "language", "emotion", "clips", "minutes", ""), rows, right=("clips", "minutes"))


def _lack(one: dict[str, Any]) -> str:
    if not one["clips"]:
        return "missing"
    return f"less than {voice_views.FEW_S / 60:.0f} min" if one["seconds"] < voice_views.FEW_S else ""


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    seconds = f"{one['duration_s']:.1f}" if one["duration_s"] else ""
    who = (one["language"] or "?", one["voice"] or "?", one["emotion"] or "?")
    return (str(one["id"]), one["state"], one["reason_code"] or "", *who, seconds, one["text"] or "")
