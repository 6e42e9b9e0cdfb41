"""`ratings`: what people think of the voices, and how sure that is."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

import typer

from ml_backend import tables
from ml_backend.commands import printing
from ml_backend.commands.command_line import quiet_context
from ml_backend.labelling import project_rows
from ml_backend.views.queries import MOST_DAYS
from training.scoring.opinion_scores import AXES, LEAST_RATERS
from training.voices import anchors, people_verdict, rating_rows

app = typer.Typer(add_completion=False, no_args_is_help=True, help="What people think of the voices.")

Project = Annotated[int | None, typer.Option(min=1, help="Only this project, by its number in Label Studio.")]
Days = Annotated[int | None, typer.Option(min=1, max=MOST_DAYS, help="Only answers of the last so many days.")]
Language = Annotated[str | None, typer.Option(help="Only clips in this language, e.g. hi.")]


@app.callback()
def _group() -> None:
    """What people think of the voices."""


@app.command()
def summary(
    project: Project = None,
    days: Days = None,
    language: Language = None,
    target: Annotated[
        float, typer.Option(min=1, max=5, help="The score that a voice must reach.")
    ] = rating_rows.TARGET,
    as_json: printing.AsJson = False,
) -> None:
    """Show the mean opinion scores of each version, voice and language, with their intervals.

    A target is met when the lower bound of every axis is, with at least six raters; below that a figure is provisional.

    Example: python -m ml_backend ratings summary --target 4
    """
    context = quiet_context()
    found = rating_rows.summary(context.db, _query(context, project, days, language), target=target)
    if as_json:
        printing.say_json(found)
        return
    if not found["answers"] and not found["left_out"]:
        printing.say(
            "Nobody has rated a voice yet. `python -m ml_backend project create --config tts` makes a project."
        )
    for title, rows in (("version", found["versions"]), ("voice", found["groups"])):
        if rows:
            printing.table((title, *AXES, "raters", f"at least {target:g}"), [_row(title, one) for one in rows])
    for role, axes in found["anchors"].items():
        if axes["naturalness"] is not None:
            printing.fact(role, f"naturalness {_figure(axes['naturalness'])}: the hidden anchors", width=11)
    for one in found["left_out"]:
        printing.fact("left out", f"person {one['rater']}, {one['votes']} scores. {one['reason']}", width=11)
    if found["unchecked_raters"]:
        people = ", ".join(map(str, found["unchecked_raters"]))
        printing.fact("unchecked", f"person {people}: met no pair of hidden anchors yet", width=11)
    for one in found["bad"]:
        printing.fact("not used", f"{one['answers']}: {one['reason']}", width=11)


@app.command()
def compare(
    old: Annotated[str, typer.Argument(help="The version that people know.")],
    new: Annotated[str, typer.Argument(help="The version that may replace it.")],
    project: Project = None,
    days: Days = None,
    language: Language = None,
    as_json: printing.AsJson = False,
) -> None:
    """Compare two versions on the sentences that both have, by scores and by choices between the two.

    Example: python -m ml_backend ratings compare divya-1 divya-2
    """
    context = quiet_context()
    found = rating_rows.comparison(context.db, _query(context, project, days, language), old=old, new=new)
    verdict = people_verdict.decide(found)
    if as_json:
        printing.say_json({**found, "verdict": verdict.word, "sentence": verdict.sentence})
        return
    printing.fact(verdict.word, verdict.sentence, width=15)
    for axis, one in found["axes"].items():
        said = (
            "nobody rated both on one sentence"
            if one is None
            else f"{_figure(one, signed=True)} on {one['sentences']} sentences"
        )
        printing.fact(axis, said, width=15)
    for each in found["left_out"]:
        printing.fact("left out", f"person {each['rater']}, {each['votes']} answers. {each['reason']}", width=15)
    if (chosen := found["preference"]) is None:
        printing.fact("preference", "nobody chose between the two", width=15)
        return
    won = f"{chosen['wins']} of {chosen['wins'] + chosen['losses']} sentences, {chosen['ties']} undecided"
    printing.fact("preference", f"{new} in {won} (p = {chosen['p']:.3f}, {chosen['raters']} people)", width=15)


@app.command("anchors")
def anchors_(
    count: Annotated[int, typer.Option(min=1, max=200, help="So many sentences shall have a degraded copy.")] = 10,
    language: Language = None,
    as_json: printing.AsJson = False,
) -> None:
    """Make degraded copies of recordings by people: hidden in the rating project, they show who listens.

    Example: python -m ml_backend ratings anchors --count 10
    """
    made = anchors.make(quiet_context(), count, language=language)
    sentence = f"Degraded copies made: {made}. They become tasks like every clip." if made else _no_anchor()
    printing.result({"made": made}, sentence, as_json=as_json)


def _no_anchor() -> str:
    return "Nothing to make: as many as that are there, or no accepted recording by a person is left (`voices import`)."


def _query(context: Any, project: int | None, days: int | None, language: str | None) -> rating_rows.RatingQuery:
    return rating_rows.RatingQuery(
        project_id=None if project is None else project_rows.row_of(context, project),
        since=tables.now() - timedelta(days=days) if days else None,
        language=language,
    )


def _row(title: str, one: dict[str, Any]) -> tuple[str, ...]:
    name = one["version"] if title == "version" else f"{one['version']}, {one['voice']}, {one['language']}"
    raters = max((axis["raters"] for axis in one["axes"].values() if axis), default=0)
    few = raters < LEAST_RATERS
    return (
        name,
        *(_figure(one["axes"][axis]) for axis in AXES),
        str(raters),
        "provisional" if few else "yes" if one["met"] else "no",
    )


def _figure(one: dict[str, Any] | None, *, signed: bool = False) -> str:
    if one is None:
        return "-"
    shown = "{:+.2f}" if signed else "{:.2f}"
    if one["low"] is None:
        return f"{shown.format(one['mean'])} (one rater or sentence)"
    return f"{shown.format(one['mean'])} [{shown.format(one['low'])}, {shown.format(one['high'])}]"
