"""`promote` and `rollback`: change the serving version. Exit code 3 when the gate refuses."""

from __future__ import annotations

from typing import Annotated

import typer

from ml_backend import settings
from ml_backend.commands import printing
from ml_backend.context import open_context
from ml_backend.errors import InvalidInput, PermanentError
from ml_backend.models import kinds, registry
from ml_backend.serving import default_model
from training.datasets import dataset as datasets
from training.promotion import promotion
from training.promotion.judgements import PAGE, REPORT

REFUSED = 3
WHO = "command line"
Language = Annotated[str, typer.Option(help="Only what serves this language; * is every language.")]


def promote(
    version: Annotated[str, typer.Argument(help="The candidate; see `models list`.")],
    dataset: Annotated[str, typer.Option(help="name, name@version or id; by default the newest test set.")] = "",
    language: Language = registry.ANY_LANGUAGE,
    why: Annotated[str, typer.Option(help="Kept in the history.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Whatever the verdict says; needs --why.")] = False,
    as_json: printing.AsJson = False,
) -> None:
    """Compare a version with the champion on calls neither has learnt from; only a better one takes its place.

    Example: python -m ml_backend promote newest --dataset calls
    """
    context = open_context(settings.load())
    default_model.ensure_every(context)
    candidate = registry.find(context, version)
    dataset_id = int(datasets.find_whole(context, dataset).id) if dataset else None
    try:
        result = promotion.promote(
            context, candidate, who=WHO, why=why, language=language, force=force, dataset_id=dataset_id,
            report=printing.progress,
        )  # fmt: skip
    except InvalidInput:
        raise
    except PermanentError as error:  # the gate lacks data, or the version must not serve
        result = promotion.Promotion(None, False, f"{error.sentence} {error.next_step}".strip())
    found = result.judgement
    if as_json:
        body = {"version": version, "promoted": result.moved, "refused": result.refused or None}
        body["next"] = kinds.of(candidate.kind).after_promotion or None if result.moved else None
        verdict = {"words": found.words, "verdict": found.body["verdict"], "report": found.report_key} if found else {}
        printing.say_json({**body, "revision": result.revision, **verdict})
    else:
        for line in found.words if found else []:
            typer.echo(line)
        if result.moved:
            typer.echo(f"{version} is the champion now. `rollback` goes back.")
            _say_next(candidate.kind)
        else:
            typer.echo(result.refused if found is None else f"{version} was not promoted.")
        if found:
            typer.echo(f"Report: {found.report_key.replace(REPORT, PAGE)}")
    raise typer.Exit(0 if result.moved else REFUSED)


def rollback(
    why: Annotated[str, typer.Option(help="What was found wanting; kept in the history and with the version.")],
    to: Annotated[str, typer.Option(help="This version, instead of the champion before.")] = "",
    language: Language = registry.ANY_LANGUAGE,
    kind: Annotated[str, typer.Option(help="Kind of model.")] = "asr",
    as_json: printing.AsJson = False,
) -> None:
    """Go back to the champion before; the one that is left is never promoted by itself again.

    Example: python -m ml_backend rollback --why "Marathi addresses come out in English"
    """
    context = open_context(settings.load())
    now, left = promotion.rollback(context, who=WHO, why=why, kind=kind, language=language, to=to)
    sentence = f"{now.version} is the champion again; {left.version} is marked as rolled back."
    printing.result({"champion": now.version, "rolled_back": left.version}, sentence, as_json=as_json)
    if not as_json:
        _say_next(kind)


def _say_next(kind: str) -> None:
    if sentence := kinds.of(kind).after_promotion:
        typer.echo(printing.runnable(sentence))
