"""`evaluate VERSION`: score a model version on the test part of a dataset."""

from __future__ import annotations

from typing import Annotated

import typer

from ml_backend import settings
from ml_backend.commands import printing
from ml_backend.context import open_context
from ml_backend.models import kinds, registry
from ml_backend.serving import default_model
from training.datasets import dataset as datasets
from training.evaluation import evaluation
from training.promotion import promotion


def evaluate(
    version: Annotated[str, typer.Argument(help="Model version, from `models list`; also champion or newest.")],
    dataset: Annotated[str, typer.Option(help="name, name@version or id; by default the newest test set.")] = "",
    again: Annotated[bool, typer.Option("--again", help="Score anew, though there are scores.")] = False,
    as_json: printing.AsJson = False,
) -> None:
    """Score a version on a test set: of speech recognition, count its wrong words under four readings.

    Example: python -m ml_backend evaluate champion --dataset calls
    """
    context = open_context(settings.load())
    default_model.ensure_every(context)
    chosen = registry.find(context, version)
    brought = kinds.of(chosen.kind)
    newest = promotion.newest_test_set
    dataset_id = int(datasets.find_whole(context, dataset).id) if dataset else newest(context, chosen.kind)
    found = evaluation.evaluate(
        context, chosen, dataset_id, again=again,
        report=printing.progress,
    )  # fmt: skip
    if as_json:
        body = {"evaluation": found.id, "version": found.version, "dataset_id": found.dataset_id}
        printing.say_json({**body, "test_sha256": found.test_sha256, "scores": found.scores})
        return
    printing.say(f"{found.version} (evaluation {found.id})")
    for part in brought.figures(found.scores):
        if isinstance(part, str):
            printing.say(part)
        else:
            printing.table(part.titles, part.rows, right=part.titles[1:])
