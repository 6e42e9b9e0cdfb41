"""`evaluate VERSION`: score a model version on a test set. `evaluations`: what a version got wrong, utterance by
utterance, and two versions side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from ml_backend import settings
from ml_backend.commands import printing
from ml_backend.context import Context, open_context
from ml_backend.labelling import review_requests
from ml_backend.log import escaped
from ml_backend.models import kinds, registry
from ml_backend.models.error_index import ERRORS, SORTS
from ml_backend.serving import default_model
from ml_backend.views import error_views
from ml_backend.views.error_views import ErrorsQuery, EvaluationQuery, UtterancesQuery
from training.datasets import dataset as datasets
from training.evaluation import evaluation as evaluating
from training.evaluation import explorer_rows
from training.promotion import promotion

app = typer.Typer(add_completion=False, no_args_is_help=True, help="What a version got wrong, utterance by utterance.")

Evaluation = Annotated[int, typer.Argument(min=1, help="Number of the evaluation, from `evaluations list`.")]
Reading = Annotated[str, typer.Option(help="Count under this reading; by default the one that decides.")]
Limit = Annotated[int, typer.Option(min=1, max=200, help="At most so many.")]
Before = Annotated[int | None, typer.Option(min=1, help="Go on here: what the page before gave as `next`.")]
_MARKS = {"S": "{{{0} → {1}}}", "D": "[-{0}-]", "I": "{{+{0}+}}", "=": "{0}"}


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
    found = evaluating.evaluate(context, chosen, dataset_id, again=again, report=printing.progress)
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


@app.command("list")
def list_evaluations(
    kind: Annotated[str, typer.Option(help=f"Only of this kind: {', '.join(kinds.KINDS)}.")] = "",
    version: Annotated[str, typer.Option(help="Only of this model version.")] = "",
    limit: Limit = 30,
    before: Before = None,
    as_json: printing.AsJson = False,
) -> None:
    """Show the evaluations, newest first.

    Example: python -m ml_backend evaluations list --kind asr
    """
    query = EvaluationQuery(kind=kind or None, version=version or None, limit=limit, before=before)
    found = error_views.every(_context(), query)
    if as_json:
        printing.say_json({"evaluations": found})
        return
    if not found:
        printing.say("There are no such evaluations. `python -m ml_backend evaluate champion` makes one.")
        return
    rows = [
        (str(one["evaluation"]), one["version"], one["kind"], one["dataset"] or "", _count(one["utterances"]),
         _share(one["wer"]), _share(one["cer"]), f"{one['at']:%Y-%m-%d %H:%M}")
        for one in found
    ]  # fmt: skip
    titles = ("evaluation", "version", "kind", "dataset", "utterances", "words wrong", "characters wrong", "at, UTC")
    printing.table(titles, rows, right=("evaluation", "utterances", "words wrong", "characters wrong"))


@app.command()
def errors(
    evaluation: Evaluation,
    kind: Annotated[str, typer.Option(help=f"Only these: {', '.join(ERRORS)}.")] = "",
    word: Annotated[str, typer.Option(help="Only errors with this word.")] = "",
    reading: Reading = "",
    limit: Limit = 30,
    before: Before = None,
    as_json: printing.AsJson = False,
) -> None:
    """Show the most frequent errors: words confused, missed and invented.

    Example: python -m ml_backend evaluations errors 3 --kind substitution
    """
    query = ErrorsQuery(kind=kind or None, word=word or None, reading=reading or None, limit=limit, before=before)
    found = error_views.errors(_context(), evaluation, query)
    if as_json:
        printing.say_json(found)
        return
    sums = found["sums"]
    printing.say(
        f"{sums['substitution']:,} confused, {sums['deletion']:,} missed, {sums['insertion']:,} invented "
        f"under {found['reading']}; {found['total']:,} different"
    )
    rows = [
        (one["kind"], "(erased)" if one["erased"] else one["said"] or "", one["written"] or "", _count(one["times"]),
         _count(one["utterances"]))
        for one in found["errors"]
    ]  # fmt: skip
    printing.table(("error", "said", "written", "times", "utterances"), rows, right=("times", "utterances"))
    _more(found)


@app.command()
def utterances(
    evaluation: Evaluation,
    sort: Annotated[str, typer.Option(help=f"The order: {', '.join(SORTS)}.")] = "worst",
    word: Annotated[str, typer.Option(help="Only where this word was said or written.")] = "",
    said: Annotated[str, typer.Option(help="Only where this word was confused (with --written) or missed.")] = "",
    written: Annotated[str, typer.Option(help="Only where this was written for --said; alone: was invented.")] = "",
    language: Annotated[str, typer.Option(help="Only in this language, e.g. hi.")] = "",
    in_slice: Annotated[
        list[str] | None, typer.Option("--slice", help="Only of this slice, e.g. channel='channel 0'; repeatable.")
    ] = None,
    against: Annotated[int | None, typer.Option(min=1, help="Side by side with this evaluation.")] = None,
    outcome: Annotated[str, typer.Option(help="With --against: only better, worse or equal ones.")] = "",
    reading: Reading = "",
    limit: Limit = 20,
    before: Before = None,
    as_json: printing.AsJson = False,
) -> None:
    """Show utterances with their errors marked, the worst first: {said → written}, [-missed-], {+invented+}.

    Example: python -m ml_backend evaluations utterances 3 --said order --written odor

    Example: python -m ml_backend evaluations utterances 3 --against 2 --outcome worse
    """
    query = UtterancesQuery(
        sort=sort, word=word or None, said=said or None, written=written or None, language=language or None,
        slice=tuple(in_slice or ()), against=against, outcome=outcome or None, reading=reading or None, limit=limit,
        before=before,
    )  # fmt: skip
    found = error_views.utterances(_context(), evaluation, query)
    if as_json:
        printing.say_json(found)
        return
    for line in _lines(found):
        printing.say(line)
    _more(found)


@app.command()
def review(
    evaluation: Evaluation,
    number: Annotated[int, typer.Argument(min=1, help="Number of the utterance.")],
    reason: Annotated[str, typer.Option(help="Why: who looks at it again sees nothing of it, the history does.")],
    as_json: printing.AsJson = False,
) -> None:
    """Send an utterance to review again: one more person gets its task in Label Studio.

    Example: python -m ml_backend evaluations review 3 17 --reason "the reference has the wrong city"
    """
    context = _context()
    with context.db.transaction() as connection:
        found = review_requests.ask(connection, evaluation, number, who="command line", why=reason)
    printing.result(found, f"Task {found['ls_task_id']} is open for one more person.", as_json=as_json)


@app.command("list-again")
def list_again(
    evaluation: Annotated[int | None, typer.Argument(min=1, help="Only this one; by default all not listed.")] = None,
    as_json: printing.AsJson = False,
) -> None:
    """List the utterances of evaluations of an earlier release, which a job does within the hour too.

    Example: python -m ml_backend evaluations list-again
    """
    context = _context()
    if evaluation is None:
        waiting = context.db.scalars(explorer_rows.not_listed())
    else:
        waiting = [error_views.one(context, evaluation)["evaluation"]]
    for each in waiting:
        explorer_rows.list_evaluation(context, each)
    printing.result({"listed": waiting}, f"{len(waiting):,} evaluations were listed.", as_json=as_json)


def _context() -> Context:
    return open_context(settings.load())


def _lines(found: dict[str, Any]) -> Iterator[str]:
    selected = found["selected"]
    yield (
        f"{selected['utterances']:,} utterances, {selected['words']:,} words, {selected['word_edits']:,} wrong "
        f"({_share(selected['wer']) or 'no words'}) under {found['reading']}"
    )
    if against := found.get("against"):
        yield (
            f"against {against['version']}: {against['better']:,} better, {against['worse']:,} worse, "
            f"{against['equal']:,} equal; {against['word_edits']:+,} wrong words"
        )
    for row in found["utterances"]:
        left_out = "" if row["counted"] else ", learnt from, not counted"
        url = f"  {row['task']['url']}" if row["task"] else ""
        yield ""
        yield (
            f"{row['number']}  {row['language'] or '?'}  {row['duration_s'] or 0:.1f} s  {row['word_edits']} of "
            f"{row['words']} words wrong{left_out}{url}"
        )
        yield f"  {marked(row)}"
        if "against" in row:
            yield f"  {row['outcome']} than: {marked(row['against'])}"


def marked(row: dict[str, Any]) -> str:
    """An utterance as one line, in which each error is marked; its control characters are escaped where it is said."""
    if row["erased"]:
        return "(erased)"
    return escaped(" ".join(_MARKS[step[0]].format(*step[1:]) for step in row["steps"]))


def _more(found: dict[str, Any]) -> None:
    if found["next"]:
        printing.say(f"More: --before {found['next']}")


def _count(number: int | None) -> str:
    return "not listed" if number is None else f"{number:,}"


def _share(rate: float | None) -> str:
    return "" if rate is None else f"{100 * rate:.1f} %"
