"""`datasets list|show|diff`: the versions there are, what is in one, and what changed between two."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ml_backend import settings
from ml_backend.context import Context, open_context
from ml_backend.errors import InvalidInput
from ml_backend.tables import datasets
from training import dataset
from training.commands.export import told
from training.export import manifest

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Datasets: list, show, compare.")
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_MOST_SHOWN = 50


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show the versions of every dataset.

    Example: python -m ml_backend datasets list
    """
    context = open_context(settings.load())
    found = context.db.rows(sa.select(datasets).order_by(datasets.c.id.desc()).limit(limit))
    if as_json:
        typer.echo(json.dumps({"datasets": [told(row) for row in found]}, ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False)
    for title in ("dataset", "rows", "hours", "train", "validation", "test", "state", "manifest", "made at, UTC"):
        table.add_column(title, no_wrap=True)
    for row in found:
        counts = row.counts or {}
        parts = [
            f"{counts.get('splits', {}).get(split, {}).get('rows', 0):,}" for split in ("train", "validation", "test")
        ]
        table.add_row(
            f"{row.name}@{row.version}", f"{counts.get('rows', 0):,}", f"{counts.get('hours', 0):.2f}", *parts,
            row.state, row.manifest_sha256[:12], f"{row.created_at:%Y-%m-%d %H:%M}",
        )  # fmt: skip
    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table if found else "There is no dataset yet.")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="name, name@version or id.")],
    card: Annotated[bool, typer.Option("--card", help="Print the whole card.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what is in a dataset: splits, languages, quality, and what was left out and why.

    Example: python -m ml_backend datasets show calls@2
    """
    context = open_context(settings.load())
    row = dataset.find(context, name)
    if as_json:
        typer.echo(json.dumps(told(row), ensure_ascii=False))
        return
    if card:
        typer.echo(_card(context, row))
        return
    console = Console(soft_wrap=True, highlight=False)
    counts = row.counts or {}
    console.print(f"[bold]{escape(row.name)}@{row.version}[/bold] ({row.state}), manifest {row.manifest_sha256}")
    if row.reason:
        console.print(escape(row.reason))
    console.print(
        f"{counts.get('rows', 0):,} rows, {counts.get('hours', 0):.2f} hours; filters: {row.filters or 'none'}"
    )
    for title in ("splits", "languages", "scripts", "snr_bands", "accents", "qualities", "sources"):
        for place, (entry, numbers) in enumerate(counts.get(title, {}).items()):
            head = title.replace("_", " ") if not place else ""
            speakers = f", {numbers['speakers']:,} speakers" if "speakers" in numbers else ""
            console.print(
                f"[bold]{head:<12}[/bold] {escape(entry)}: {numbers['rows']:,} rows, {numbers['hours']:.2f} h{speakers}"
            )
    for reason, number in counts.get("excluded", {}).items():
        console.print(f"{'left out':<12} {number:,} {escape(reason)}")
    for form, made in (row.renderings or {}).items():
        console.print(f"{form:<12} {len(made['files'])} files under datasets/{row.name}/{row.version}/{form}/")


@app.command()
def diff(
    old: Annotated[str, typer.Argument(help="name@version or id.")],
    new: Annotated[str, typer.Argument(help="name@version or id.")],
    as_json: AsJson = False,
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
        for what, line in manifest.difference(manifest.read(files[0]), manifest.read(files[1])):
            numbers[f"{what} in {line['split']}"] += 1
            if len(shown) < _MOST_SHOWN:
                names = ("id", "audio_sha256", "start_s", "end_s", "split", "text")
                shown.append({"what": what, **{name: line[name] for name in names}, "before": line.get("before")})
    same_test = first.test_sha256 == second.test_sha256
    if as_json:
        typer.echo(json.dumps({"counts": numbers, "same_test_set": same_test, "rows": shown}, ensure_ascii=False))
        return
    for what, number in sorted(numbers.items()):
        typer.echo(f"{number:>9,} {what}")
    for line in shown:
        before = ", ".join(f"{name} {value}" for name, value in (line["before"] or {}).items())
        was = f"  (was {before})" if before else ""
        span = f"{line['start_s']:.2f}-{line['end_s']:.2f} s"
        typer.echo(f"  {line['what']:<8} {line['id']} {line['split']:<10} {span}  {line['text'][:60]}{was}")
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
