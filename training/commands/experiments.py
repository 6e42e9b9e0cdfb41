"""`experiments start|list|show|stop`: a new version on a share of the calls, or in shadow."""

from __future__ import annotations

import re
from typing import Annotated, Any

import sqlalchemy as sa
import typer

from ml_backend import quantities, settings, tables
from ml_backend.commands import printing
from ml_backend.context import Context, open_context
from ml_backend.errors import InvalidInput, PermanentError
from ml_backend.models import registry, routing
from ml_backend.tables import experiments
from ml_backend.views import version_views
from training.experiments import experiment_watch

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Compare two model versions on real calls.")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")
Name = Annotated[str, typer.Argument(help="Name of the experiment.")]


@app.command()
def start(
    challenger: Annotated[str, typer.Argument(help="The version to try; see `models list`.")],
    name: Annotated[str, typer.Option(help="A name for it; by default the version's.")] = "",
    share: Annotated[float, typer.Option(help="Share of the calls it gets, e.g. 0.5 or 0.1.")] = 0.5,
    shadow: Annotated[bool, typer.Option("--shadow", help="It transcribes them too; its text is never shown.")] = False,
    language: Annotated[str, typer.Option(help="Only calls of projects in this language.")] = "*",
    days: Annotated[int, typer.Option(help="Ends undecided after so many days.", min=1, max=365)] = 28,
    as_json: printing.AsJson = False,
) -> None:
    """Send a share of the calls to another version. Annotators do not see which version made a draft.

    Example: python -m ml_backend experiments start newest --share 0.5 --name try
    """
    context = open_context(settings.load())
    if not 0 < share <= 1 or (share == 1 and not shadow):
        raise InvalidInput("bad-share", "Both sides need a share of the calls.", "Give --share between 0 and 1.")
    version = registry.find(context, challenger)
    champion = registry.champion(context, version.kind, language=language)
    if version.id == champion.id:
        step = "`models list` shows the others; where there is none, `train asr` makes one."
        raise InvalidInput("same-version", f"{challenger} is the champion.", step)
    if version.rolled_back:
        raise PermanentError(
            "rolled-back", f"{challenger} was rolled back.", "Train a new version; this one was found wanting."
        )
    registry.verified(context, version)
    experiment_watch.watch_experiments(context)  # ends an experiment whose champion no longer serves
    if experiment_watch.is_running(context, language):
        raise PermanentError(
            "experiment-running", "Another experiment is running.", "`experiments list`, then `experiments stop NAME`."
        )
    name = name or f"{challenger}-{tables.now():%Y%m%d-%H%M%S}"
    if not _NAME.fullmatch(name):
        raise InvalidInput("bad-name", f"{name[:60]!r} is no name.", "Use letters, digits, dots and hyphens.")
    if context.db.rows(sa.select(experiments.c.id).where(experiments.c.name == name)):
        raise PermanentError("experiment-known", f"There was an experiment {name!r}.", "Give another --name.")
    kind = routing.SHADOW if shadow else routing.AB
    planned = experiment_watch.plan(
        context, version, name=name, share=share, who="command", kind=kind, language=language, days=days
    )
    experiment_watch.begin(context, planned)
    _say(context, name, as_json=as_json)


@app.command("list")
def list_(as_json: printing.AsJson = False) -> None:
    """All experiments, the latest first.

    Example: python -m ml_backend experiments list
    """
    context = open_context(settings.load())
    rows = context.db.rows(sa.select(experiments).order_by(experiments.c.id.desc()).limit(100))
    if as_json:
        printing.say_json({"experiments": [version_views.experiment(row) for row in rows]})
        return
    if not rows:
        printing.say("No experiment was ever started.")
        return
    lines = [
        (row.name, row.kind, f"{100 * row.traffic_share:.0f} %", row.champion, row.challenger, row.state)
        for row in rows
    ]
    printing.table(("name", "kind", "share", "champion", "challenger", "state"), lines, right=("share",))


@app.command()
def show(name: Name, as_json: printing.AsJson = False) -> None:
    """Both sides side by side: calls, corrected words, time, and whether it is decided.

    Example: python -m ml_backend experiments show try
    """
    context = open_context(settings.load())
    row = _find(context, name)
    if row.state == experiment_watch.RUNNING:
        experiment_watch.look(context, row)
    _say(context, name, as_json=as_json)


@app.command()
def stop(name: Name, as_json: printing.AsJson = False) -> None:
    """End an experiment; open tasks of the challenger are drafted anew by the champion.

    Example: python -m ml_backend experiments stop try
    """
    context = open_context(settings.load())
    row = _find(context, name)
    if row.state == experiment_watch.RUNNING:
        experiment_watch.look(context, row)
        with context.db.transaction() as connection:
            experiment_watch.stop(connection, row, who="command")
    _say(context, name, as_json=as_json)


def _find(context: Context, name: str) -> sa.Row[Any]:
    rows = context.db.rows(sa.select(experiments).where(experiments.c.name == name))
    if not rows:
        known = [row.name for row in context.db.rows(sa.select(experiments.c.name).limit(20))]
        raise PermanentError(
            "unknown-experiment", f"There is no experiment {name[:80]!r}.", f"Known: {', '.join(known) or 'none yet'}."
        )
    return rows[0]


def _say(context: Context, name: str, *, as_json: bool) -> None:
    facts = version_views.experiment(_find(context, name))
    if as_json:
        printing.say_json(facts)
        return
    outcome = facts["outcome"] or {}
    printing.say(f"{facts['name']}: {facts['challenger']} against {facts['champion']}, {facts['state']}.")
    printing.say(f"Started by {facts['started_by'] or 'an unknown caller'} at {facts['started_at'][:16]}.")
    if facts["reason"]:
        printing.say(facts["reason"])
    lines = []
    sides = [outcome.get(side) or {} for side in (routing.CHAMPION, routing.CHALLENGER)]
    for title, key, form in (
        ("calls", "calls", "{:d}"), ("words", "words", "{:d}"), ("words corrected", "wer", "{:.1f} %"),
        ("drafts corrected", "edit_rate", "{:.0f} %"),
        ("seconds of work per audio minute", "review_s_per_audio_minute", "{:.0f}"),
        ("draft there after (s)", "draft_after_s", "{:.0f}"), ("satisfaction", "satisfaction", "{:.2f}"),
    ):  # fmt: skip
        scale = 100 if form.endswith("%") else 1
        cells = (form.format(scale * side[key]) if side.get(key) is not None else "-" for side in sides)
        lines.append((title, *cells))
    printing.table(("measure", "champion", "challenger"), lines, right=("champion", "challenger"))
    if outcome.get("interval"):
        between = quantities.between([outcome["difference"], *outcome["interval"]], sign=True)
        sure = "too few calls to say how sure" if between == quantities.TOO_FEW else f"surely between {between}"
        printing.say(f"Difference {100 * outcome['difference']:+.1f} points, {sure}.")
