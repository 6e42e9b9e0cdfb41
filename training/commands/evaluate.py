"""`evaluate VERSION`: score a model version on the test part of a dataset."""

from __future__ import annotations

from typing import Annotated

import typer

from ml_backend import quantities, settings
from ml_backend.commands import printing
from ml_backend.context import open_context
from ml_backend.models import registry
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
    """Transcribe a test set with a version, and count its wrong words under four readings.

    Example: python -m ml_backend evaluate champion --dataset calls
    """
    context = open_context(settings.load())
    default_model.ensure(context)
    chosen = registry.find(context, version)
    dataset_id = int(datasets.find_whole(context, dataset).id) if dataset else promotion.newest_test_set(context)
    found = evaluation.evaluate(
        context, chosen, dataset_id, again=again,
        report=printing.progress,
    )  # fmt: skip
    if as_json:
        body = {"evaluation": found.id, "version": found.version, "dataset_id": found.dataset_id}
        printing.say_json({**body, "test_sha256": found.test_sha256, "scores": found.scores})
        return
    _print(found)


def _print(found: evaluation.Evaluation) -> None:
    scores = found.scores
    printing.say(
        f"{found.version}: {scores['utterances']:,} utterances of {scores['calls']:,} calls and "
        f"{scores['callers']:,} callers, {scores['words']:,} words (evaluation {found.id})"
    )
    rows = []
    for name, one in scores["rates"].items():
        if one["wer"] and one["cer"]:
            rows.append((name, _percent(one["wer"][0]), quantities.between(one["wer"]), _percent(one["cer"][0]), ""))
    for kind, some in scores["slices"].items():
        for name, one in some.items():
            wrong, between = (_percent(one["wer"][0]), quantities.between(one["wer"])) if one["wer"] else ("-", "")
            rows.append((f"{kind}: {name}", wrong, between, "", f"{one['calls']:,}"))
    titles = ("reading or slice", "words wrong", "95 % between", "characters wrong", "calls")
    printing.table(titles, rows, right=titles[1:])
    right, empty, silence = scores["language_identification"], scores["empty"], scores["silence"]
    printing.say(f"language right: {right['count']} of {right['of']}; empty: {empty['count']} of {empty['of']}")
    printing.say(
        f"clips without speech that got words: {silence['with_words']} of {silence['of']}; "
        f"{scores['speed']['real_time_factor']} s per second of audio"
    )
    if scores["self_check"]:
        printing.say(f"self-check: {scores['self_check']}")
    if left_out := scores["left_out"]["learnt_from"]:
        printing.say(f"left out, because it learnt from them: {left_out:,} rows")


def _percent(rate: float) -> str:
    return f"{100 * rate:.1f} %"
