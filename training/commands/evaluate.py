"""`evaluate VERSION`: score a model version on the test part of a dataset."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ml_backend import default_model, registry, settings
from ml_backend.context import open_context
from training import dataset as datasets
from training import evaluation, promotion


def evaluate(
    version: Annotated[str, typer.Argument(help="Model version, from `models list`, or champion.")],
    dataset: Annotated[str, typer.Option(help="name, name@version or id; by default the newest test set.")] = "",
    again: Annotated[bool, typer.Option("--again", help="Score anew, though there are scores.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Let a version hear a test set, and count what it got wrong under four readings.

    Example: python -m ml_backend evaluate kaan-tiny-44e83820 --dataset calls
    """
    context = open_context(settings.load())
    default_model.ensure(context)
    chosen = registry.champion(context) if version == registry.CHAMPION else registry.find(context, version)
    dataset_id = int(datasets.find_whole(context, dataset).id) if dataset else promotion.newest_test_set(context)
    told = Console(stderr=True, highlight=False)
    found = evaluation.evaluate(
        context, chosen, dataset_id, again=again,
        report=lambda fraction, note: told.print(f"{100 * fraction:3.0f} %  {note}"),
    )  # fmt: skip
    if as_json:
        body = {"evaluation": found.id, "version": found.version, "dataset_id": found.dataset_id}
        typer.echo(json.dumps({**body, "test_sha256": found.test_sha256, "scores": found.scores}, ensure_ascii=False))
        return
    _print(found)


def _print(found: evaluation.Evaluation) -> None:
    console, scores = Console(highlight=False), found.scores
    console.print(
        f"{found.version}: {scores['utterances']:,} utterances of {scores['calls']:,} calls and "
        f"{scores['callers']:,} callers, {scores['words']:,} words (evaluation {found.id})"
    )
    table = Table("", "words wrong", "95 % between", "characters wrong", box=None, pad_edge=False)
    for name, one in scores["rates"].items():
        wer, cer = one["wer"], one["cer"]
        if wer and cer:
            table.add_row(name, _percent(wer[0]), f"{_percent(wer[1])} and {_percent(wer[2])}", _percent(cer[0]))
    for kind, some in scores["slices"].items():
        for name, one in some.items():
            wer = one["wer"]
            table.add_row(
                f"{kind}: {name}", _percent(wer[0]) if wer else "-",
                f"{_percent(wer[1])} and {_percent(wer[2])}" if wer else "", f"{one['calls']:,} calls",
            )  # fmt: skip
    console.print(table)
    right, empty, silence = scores["language_identification"], scores["empty"], scores["silence"]
    console.print(f"language right: {right['count']} of {right['of']}; empty: {empty['count']} of {empty['of']}")
    console.print(
        f"clips without speech that got words: {silence['with_words']} of {silence['of']}; "
        f"{scores['speed']['real_time_factor']} s per second of audio"
    )
    if scores["self_check"]:
        console.print(f"self-check: {scores['self_check']}")
    if left_out := scores["left_out"]["learnt_from"]:
        console.print(f"left out, because it learnt from them: {left_out:,} rows")


def _percent(rate: float) -> str:
    return f"{100 * rate:.1f} %"
