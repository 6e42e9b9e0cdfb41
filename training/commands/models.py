"""`models list|show|compare|register`: model versions, their scores and history as champion."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from ml_backend import settings
from ml_backend.commands import printing
from ml_backend.context import open_context
from ml_backend.errors import InvalidInput
from ml_backend.models import kinds, registry
from ml_backend.serving import adoption, default_model
from ml_backend.views import version_views
from training.datasets import dataset as datasets
from training.promotion import judgements, promotion
from training.runs import execution as training_runs

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Model versions, and what is known of them.")

Name = Annotated[str, typer.Argument(help="A model version, from `models list`.")]


@app.command("list")
def list_(
    kind: Annotated[str, typer.Option(help=f"Only of this kind: {', '.join(kinds.KINDS)}.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, newest first.")] = 50,
    as_json: printing.AsJson = False,
) -> None:
    """Show model versions of every kind, newest first, and which serve.

    Example: python -m ml_backend models list
    """
    context = open_context(settings.load())
    if kind:
        kinds.of(kind)
    default_model.ensure_every(context)
    found = version_views.every(context, version_views.VersionQuery(kind=kind or None, limit=limit))
    if as_json:
        printing.say_json({"models": found})
        return
    lines, scored = [], version_views.latest_scores(context, [one["id"] for one in found])
    for one in found:
        verdict, scores = one["verdict"], scored.get(one["id"])
        serves = ", ".join(f"{alias['alias']} {alias['language']}" for alias in one["aliases"])
        lines.append((
            one["version"], one["kind"], serves or ("rolled back" if one["rolled_back_at"] else ""),
            ", ".join(one["languages"]), kinds.of(one["kind"]).headline(scores) if scores else "",
            verdict or "", f"{one['made_at']:%Y-%m-%d %H:%M}",
        ))  # fmt: skip
    titles = ("version", "kind", "serves", "languages", "score", "last verdict", "made at, UTC")
    printing.table(titles, lines)


@app.command()
def show(version: Name, as_json: printing.AsJson = False) -> None:
    """Show one version: what it was made from, its scores and verdicts, and its time as champion.

    Example: python -m ml_backend models show kaan-tiny-44e83820
    """
    context = open_context(settings.load())
    default_model.ensure_every(context)
    found = version_views.one(context, version)
    if as_json:
        printing.say_json(found)
        return
    for name, text in _facts(found):
        printing.fact(name, text, width=15)
    for one in found["evaluations"]:
        against = f" against {one['against']}" if one["against"] else ""
        printing.fact(f"evaluation {one['evaluation']}", f"{one['at']:%Y-%m-%d %H:%M}{against}", width=15)
        for line in one["words"] or [f"{100 * one['wer']:.1f} of 100 words wrong" if one["wer"] is not None else ""]:
            printing.fact("", line, width=15)
    for one in found["history"]:
        moved = f"{one['at']:%Y-%m-%d %H:%M} {one['from'] or 'nothing'} -> {one['to']}"
        printing.fact(f"{one['alias']} {one['language']}", f"{moved}, {one['who']}: {one['why']}", width=15)


def _facts(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """A version's own facts, in words."""
    for name, value in found.items():
        if value in (None, "", [], {}) or name in ("evaluations", "history"):
            continue
        if name == "aliases":
            yield "serves", ", ".join(f"{one['alias']} {one['language']}" for one in value)
        elif name == "wer":
            yield "wrong of 100", f"{100 * value:.1f} words"
        elif name == "parity" and "difference" in value:
            apart, measured = f"{100 * value['difference']:.1f} %", f"{value['words']} in {value['clips']} clips"
            yield name, f"{apart} of words otherwise than the trained form, of {measured} ({value.get('quantization')})"
        elif name == "files":
            size = sum(entry["size_bytes"] for entry in value.values())
            yield (
                name,
                f"{len(value)}, {size / 1e6:.1f} MB; model.bin {value.get('model.bin', {}).get('sha256', '')[:16]}",
            )
        elif isinstance(value, dict):
            yield name, ", ".join(f"{key} {each}" for key, each in value.items() if each is not None)
        elif isinstance(value, list):
            yield name, ", ".join(map(str, value))
        else:
            yield name, f"{value:%Y-%m-%d %H:%M} UTC" if isinstance(value, datetime) else str(value)


@app.command()
def compare(
    first: Annotated[str, typer.Argument(help="The version that is measured against.")],
    second: Annotated[str, typer.Argument(help="The version that would take its place.")],
    dataset: Annotated[str, typer.Option(help="name, name@version or id; by default the newest test set.")] = "",
    page: Annotated[bool, typer.Option("--page", help="Print the whole report as Markdown.")] = False,
    as_json: printing.AsJson = False,
) -> None:
    """Compare two versions on calls neither has learnt from, as the gate would; nothing is promoted.

    Example: python -m ml_backend models compare champion newest --dataset calls
    """
    context = open_context(settings.load())
    default_model.ensure_every(context)
    before, after = registry.find(context, first), registry.find(context, second)
    newest = promotion.newest_test_set
    dataset_id = int(datasets.find_whole(context, dataset).id) if dataset else newest(context, after.kind)
    if before.id == after.id:
        raise InvalidInput("same-version", f"{first} and {second} are one version.", "`models list` shows the others.")
    found = judgements.judge(context, before, after, dataset_id)
    if as_json:
        printing.say_json(found.body)
    elif page:
        typer.echo(judgements.text(found.body))
    else:
        for line in found.words:
            typer.echo(line)
        typer.echo(f"Report: {found.report_key.replace(judgements.REPORT, judgements.PAGE)}")


@app.command()
def register(
    folder: Annotated[Path | None, typer.Argument(help="A CTranslate2 Whisper folder that was made elsewhere.")] = None,
    run: Annotated[int, typer.Option(help="The kept weights of this run, whatever kept them from being served.")] = 0,
    name: Annotated[str, typer.Option(help="Name of the version, where the folder has no manifest.")] = "",
    as_json: printing.AsJson = False,
) -> None:
    """Make a folder a model version: looked at file by file, copied, tried out; nothing is promoted.

    Example: python -m ml_backend models register ml_backend/bundled/model

    Example: python -m ml_backend models register --run 1
    """
    context = open_context(settings.load())
    if (folder is None) == (not run):
        raise InvalidInput("register-what", "Name a folder, or --run N.", "`train list` shows runs.")
    if run:
        found = registry.find(context, training_runs.register(context, run))
    else:
        found = adoption.adopt(context, Path(folder or "").absolute(), name=name)
    body: dict[str, Any] = {"version": found.version, "location": found.location, "languages": list(found.languages)}
    if as_json:
        printing.say_json(body)
        return
    serving = registry.aliased(context, found.kind)
    if serving is not None and serving.id == found.id:
        typer.echo(f"{found.version} is known and serves already.")
    else:
        printing.say(f"Registered {found.version}. Next: python -m ml_backend promote {found.version}")
