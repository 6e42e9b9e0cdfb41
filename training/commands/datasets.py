"""`datasets list|show|diff`: the versions, the contents of one, and the changes between two."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
import typer

from ml_backend import quantities, settings
from ml_backend.commands import printing
from ml_backend.context import Context, open_context
from ml_backend.errors import InvalidInput
from ml_backend.tables import datasets
from training.commands.export import to_dict
from training.datasets import dataset, dataset_manifest

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Datasets: list, show, compare.")
_MOST_SHOWN = 50


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, newest first.")] = 50,
    as_json: printing.AsJson = False,
) -> None:
    """Show the versions of every dataset.

    Example: python -m ml_backend datasets list
    """
    context = open_context(settings.load())
    found = context.db.rows(sa.select(datasets).order_by(datasets.c.id.desc()).limit(limit))
    if as_json:
        printing.say_json({"datasets": [to_dict(row) for row in found]})
        return
    if not found:
        printing.say("There is no dataset yet: `python -m ml_backend export` makes one.")
        return
    lines = []
    for row in found:
        counts = row.counts or {}
        parts = [
            f"{counts.get('splits', {}).get(split, {}).get('rows', 0):,}" for split in ("train", "validation", "test")
        ]
        audio = quantities.duration(3600 * counts.get("hours", 0))
        lines.append((
            f"{row.name}@{row.version}", f"{counts.get('rows', 0):,}", audio, *parts,
            dataset.state_of(context, row), row.manifest_sha256[:12], f"{row.created_at:%Y-%m-%d %H:%M}",
        ))  # fmt: skip
    titles = ("dataset", "rows", "audio", "train", "validation", "test", "state", "manifest", "made at, UTC")
    printing.table(titles, lines, right=titles[1:6])
    if any(line[6] == dataset.UNFINISHED for line in lines):
        printing.say("An unfinished version is finished, or replaced, by the next `export` of that name.")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="name, name@version or id.")],
    card: Annotated[bool, typer.Option("--card", help="Print the whole card.")] = False,
    as_json: printing.AsJson = False,
) -> None:
    """Show what is in a dataset: splits, languages, quality, and what was left out and why.

    Example: python -m ml_backend datasets show calls@2
    """
    context = open_context(settings.load())
    row = dataset.find(context, name)
    if as_json:
        printing.say_json(to_dict(row))
        return
    if card:
        typer.echo(_card(context, row))
        return
    counts = row.counts or {}
    state = dataset.state_of(context, row)
    printing.say(f"{row.name}@{row.version} ({state}), manifest {row.manifest_sha256}", style="bold")
    if row.reason or state == dataset.UNFINISHED:
        printing.say(row.reason or str(dataset.unfinished(context, row)))
    filters = ", ".join(f"{name} {value}" for name, value in (row.filters or {}).items())
    audio = quantities.duration(3600 * counts.get("hours", 0))
    printing.say(f"{quantities.counted(counts.get('rows', 0), 'row')}, {audio} of audio; filters: {filters or 'none'}")
    for title in ("splits", "languages", "scripts", "snr_bands", "accents", "qualities", "sources"):
        for place, (entry, numbers) in enumerate(counts.get(title, {}).items()):
            speakers = f", {quantities.counted(numbers['speakers'], 'speaker')}" if "speakers" in numbers else ""
            said = f"{entry}: {quantities.counted(numbers['rows'], 'row')}, "
            said += f"{quantities.duration(3600 * numbers['hours'])}{speakers}"
            printing.fact(title.replace("_", " ") if not place else "", said)
    for reason, number in counts.get("excluded", {}).items():
        printing.fact("left out", f"{number:,} {reason}", style="")
    for form, made in (row.renderings or {}).items():
        said = f"{quantities.counted(len(made['files']), 'file')} under datasets/{row.name}/{row.version}/{form}/"
        printing.fact(form, said, style="")


@app.command()
def diff(
    old: Annotated[str, typer.Argument(help="name@version or id.")],
    new: Annotated[str, typer.Argument(help="name@version or id.")],
    as_json: printing.AsJson = False,
) -> None:
    """Show which rows were added, removed or changed between two versions, and whether the test set is the same.

    Example: python -m ml_backend datasets diff calls@1 calls@2
    """
    context = open_context(settings.load())
    first, second = dataset.find_whole(context, old), dataset.find_whole(context, new)
    numbers: Counter[str] = Counter()
    shown: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="kaan-diff-") as folder:
        files = [dataset.manifest_file(context, row, Path(folder)) for row in (first, second)]
        for what, line in dataset_manifest.difference(dataset_manifest.read(files[0]), dataset_manifest.read(files[1])):
            numbers[f"{what} in {line['split']}"] += 1
            if len(shown) < _MOST_SHOWN:
                names = ("id", "audio_sha256", "start_s", "end_s", "split", "text")
                shown.append({"what": what, **{name: line[name] for name in names}, "before": line.get("before")})
    same_test = first.test_sha256 == second.test_sha256
    if as_json:
        printing.say_json({"counts": numbers, "same_test_set": same_test, "rows": shown})
        return
    for what, number in sorted(numbers.items()):
        typer.echo(f"{number:>9,} {what}")
    for line in shown:
        before = ", ".join(f"{name} {value}" for name, value in (line["before"] or {}).items())
        was = f"  (was {before})" if before else ""
        span = f"{line['start_s']:.2f}-{line['end_s']:.2f} s"
        typer.echo(
            f"  {line['what']:<8} {line['id']} {line['split']:<10} {span}  "
            f"{quantities.shortened(line['text'], 60)}{was}"
        )
    if sum(numbers.values()) > len(shown):
        typer.echo(f"  … and {sum(numbers.values()) - len(shown):,} more")
    typer.echo("The test set is the same." if same_test else "The test set differs: score both models on the new one.")


def _card(context: Context, row: Any) -> str:
    if not row.card_key:
        raise InvalidInput("no-card", "This version has no card any more.", "Look at the latest version.")
    with tempfile.TemporaryDirectory(prefix="kaan-card-") as folder:
        path = Path(folder) / "card.md"
        context.store.fetch(context.settings.audio_bucket, row.card_key, path)
        return path.read_text(encoding="utf-8")
