"""`export`: the accepted samples as a dataset, in this process or as a job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ml_backend import quantities, settings
from ml_backend.commands import printing
from ml_backend.context import Context, open_context
from ml_backend.jobs import enqueueing, job_kinds, processes
from ml_backend.labelling import project_rows
from ml_backend.models import kinds
from ml_backend.models.kinds import Kind
from ml_backend.tables import datasets
from training.datasets import dataset, hub, renderings
from training.datasets.filters import CONSENT, DatasetFilters


def export(
    name: Annotated[
        str, typer.Argument(help="The dataset's name; its versions count from 1. Usual: calls, utterances, voices.")
    ] = "",
    kind: Annotated[str, typer.Option(help=f"Kind of model that learns from it: {', '.join(kinds.KINDS)}.")] = "",
    min_quality: Annotated[float, typer.Option(help="Lowest quality score of a recording, 0 to 1.")] = 0.0,
    languages: Annotated[str, typer.Option(help="Only these, with commas: hi,mr.")] = "",
    since: Annotated[str, typer.Option(help="First day of calls, UTC, e.g. 2026-01-31.")] = "",
    until: Annotated[str, typer.Option(help="Last day of calls.")] = "",
    consent: Annotated[str, typer.Option(help=f"{CONSENT[0]}, or {CONSENT[1]}: purpose training only.")] = CONSENT[0],
    projects: Annotated[str, typer.Option(help="Only these projects, by their numbers in Label Studio: 2,3.")] = "",
    public: Annotated[str, typer.Option(help="Public speech: layout:place[:language], with commas.")] = "",
    public_share: Annotated[float, typer.Option(help="Its share of the training rows, 0 to 1.")] = 0.0,
    form: Annotated[str, typer.Option(help=f"With commas: {', '.join(renderings.FORMS)}.")] = "",
    to: Annotated[Path | None, typer.Option(help="Also copy the version into this folder.")] = None,
    push_to: Annotated[str, typer.Option(help="Also push it to this dataset repository of the hub.")] = "",
    later: Annotated[bool, typer.Option("--later", help="As a job of the training worker, not here.")] = False,
    as_json: printing.AsJson = False,
) -> None:
    """Make the next version of a dataset from the accepted samples; the same samples give the version there is.

    Example: python -m ml_backend export calls --languages hi,mr

    Example: python -m ml_backend export calls
    """
    filters = DatasetFilters(
        min_quality=min_quality, languages=languages, since=since, until=until, consent=consent, projects=projects,
        public=public, public_share=public_share,
    )  # fmt: skip
    brought = kinds.of(kind) if kind else _kind_of(name)
    name, forms = name or brought.dataset, tuple(form.split(",")) if form else (next(iter(brought.forms)),)
    dataset.check(name, forms, brought)
    context = open_context(settings.load())
    for number in filters.project_ids:
        project_rows.row_of(context, number)
    if later:
        with context.db.transaction() as connection:
            chosen = {"name": name, "forms": ",".join(forms), "model_kind": brought.name, **filters.to_json()}
            job_id = enqueueing.enqueue(connection, job_kinds.EXPORT_DATASET, key=name, **chosen)
        waits = processes.waits_for(context.db, job_kinds.EXPORT_DATASET.queue)
        printing.result({"job": job_id}, f"Job {job_id} exports {name}. {waits}".rstrip(), as_json=as_json)
        return
    dataset_id = _run(context, name, brought, filters, forms, quiet=as_json)
    found = context.db.row(datasets, dataset_id)
    places: dict[str, Any] = {}
    if to is not None:
        places["folder"] = str(renderings.copy(context, found, to))
    if push_to:
        places["hub"] = hub.push(context, found, push_to)
    if as_json:
        printing.say_json({**to_dict(found), **places})
        return
    counts = found.counts
    typer.echo(
        f"{found.name} version {found.version}: {quantities.counted(counts['rows'], 'row')}, "
        f"{quantities.duration(3600 * counts['hours'])} of audio"
    )
    typer.echo(f"manifest {found.manifest_sha256}")
    for split, entry in counts["splits"].items():
        typer.echo(
            f"  {split:<11}{entry['rows']:>9,} rows  "
            f"{quantities.duration(3600 * entry['hours']):>9}  {entry['speakers']:,} speakers"
        )
    for reason, number in counts["excluded"].items():
        typer.echo(f"  left out   {number:>9,}  {reason}")
    for what, place in places.items():
        typer.echo(f"{what}: {place}")


def to_dict(row: Any) -> dict[str, Any]:
    """A dataset's row as JSON."""
    return {
        "id": row.id, "name": row.name, "kind": row.kind, "version": row.version, "state": row.state,
        "manifest_sha256": row.manifest_sha256, "test_sha256": row.test_sha256, "manifest_key": row.manifest_key,
        "card_key": row.card_key, "filters": row.filters, "counts": row.counts, "parent_id": row.parent_id,
        "renderings": row.renderings, "made_at": row.created_at.isoformat(), "reason": row.reason,
    }  # fmt: skip


def _kind_of(name: str) -> Kind:
    """The kind whose usual dataset has this name; else speech recognition."""
    every = [kinds.of(each) for each in kinds.names()]
    return next((each for each in every if each.dataset == name), every[0])


def _run(
    context: Context, name: str, kind: Kind, filters: DatasetFilters, forms: tuple[str, ...], *, quiet: bool
) -> int:
    with printing.moving(quiet=quiet) as progress:
        task = progress.add_task("samples", total=1.0)
        return dataset.export(
            context, name=name, kind=kind.name, filters=filters, forms=forms,
            report=lambda fraction, note: progress.update(task, completed=fraction, description=note),
        )  # fmt: skip
