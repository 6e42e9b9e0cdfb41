"""`experiments start|list|show|stop`: a new version on a share of the calls, or in shadow."""

from __future__ import annotations

import re
import textwrap
from typing import Annotated, Any

import sqlalchemy as sa
import typer

from ml_backend import settings, tables
from ml_backend.commands import printing
from ml_backend.context import Context, open_context
from ml_backend.errors import InvalidInput, PermanentError
from ml_backend.models import registry, routing
from ml_backend.tables import experiments
from ml_backend.views import version_views
from training.experiments import experiment_measures, experiment_watch
from training.experiments.experiment_measures import MEASURES, Measure

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
    primary: Annotated[
        str, typer.Option(help=f"What decides: {', '.join(MEASURES)}; by default wer for asr, success for the others.")
    ] = "",
    guard: Annotated[
        str, typer.Option(help="What must not be harmed: latency, success, both with a comma between, or none.")
    ] = ",".join(experiment_measures.GUARDS),
    success_margin: Annotated[
        float, typer.Option(min=0, max=0.5, help="So much less success is accepted, as a share of the calls.")
    ] = experiment_measures.MARGINS[experiment_measures.SUCCESS],
    latency_margin: Annotated[
        float, typer.Option(min=0, max=5, help="So much more latency is accepted, as a share of the champion's.")
    ] = experiment_measures.MARGINS[experiment_measures.LATENCY],
    as_json: printing.AsJson = False,
) -> None:
    """Send a share of the calls to another version. Annotators do not see which version made a draft.

    One outcome decides, and a version that harms a guard by more than its margin is withdrawn by itself. Both are
    tested so that looking daily is no mistake. Versions of different kinds may be tried at the same time.

    Example: python -m ml_backend experiments start newest --share 0.5 --name try

    Example: python -m ml_backend experiments start newest --share 0.1 --primary success --guard latency
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
    kind = routing.SHADOW if shadow else routing.AB
    options = _options(
        version.kind, kind, primary=primary, guard=guard,
        margins={experiment_measures.SUCCESS: success_margin, experiment_measures.LATENCY: latency_margin},
    )  # fmt: skip
    experiment_watch.watch_experiments(context)  # ends an experiment whose champion no longer serves
    if experiment_watch.is_running(context, language, kind=version.kind):
        raise PermanentError(
            "experiment-running", f"Another experiment with versions of kind {version.kind} is running.",
            "`experiments list`, then `experiments stop NAME`.",
        )  # fmt: skip
    name = name or f"{challenger}-{tables.now():%Y%m%d-%H%M%S}"
    if not _NAME.fullmatch(name):
        raise InvalidInput("bad-name", f"{name[:60]!r} is no name.", "Use letters, digits, dots and hyphens.")
    if context.db.rows(sa.select(experiments.c.id).where(experiments.c.name == name)):
        raise PermanentError("experiment-known", f"There was an experiment {name!r}.", "Give another --name.")
    planned = experiment_watch.plan(
        context,
        version,
        name=name,
        share=share,
        who="command",
        kind=kind,
        language=language,
        days=days,
        options=options,
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
        (
            row.name,
            row.model_kind,
            row.kind,
            f"{100 * row.traffic_share:.0f} %",
            row.champion,
            row.challenger,
            row.state,
        )
        for row in rows
    ]
    printing.table(("name", "of", "kind", "share", "champion", "challenger", "state"), lines, right=("share",))


@app.command()
def show(name: Name, as_json: printing.AsJson = False) -> None:
    """Both sides by every outcome, with counts and 95 % intervals, the guards, and whether it is decided.

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
    for name, sides in outcome.get("measures", {}).items():
        _say_measure(MEASURES[name], sides, primary=name == outcome["primary"])
    if outcome.get("measures"):
        _say_work(outcome)
        printing.say()
    if (unseen := outcome.get("shadowed")) and unseen.get("requests"):
        printing.say(f"Asked unseen: {unseen['requests']:,} live requests,")
        share = f"{100 * unseen['differing'] / unseen['compared']:.1f} %" if unseen["compared"] else "nothing compared"
        printing.say(f"  differs: {share}; {unseen['dropped']:,} left out, {unseen['failed']:,} failed.")
    for each in outcome.get("guards", ()):
        said = "harmed" if each["harmed"] else "not harmed"
        unit = "%" if MEASURES[each["measure"]].seconds else "points"
        printing.say(f"Guard {each['measure']}: {said}, {each['observations']:,} calls,")
        printing.say(f"  margin {100 * each['margin']:g} {unit}.")
    if outcome.get("measures") and outcome["interval"]:
        measure = MEASURES[outcome["primary"]]
        low, high = map(measure.difference, outcome["interval"])
        printing.say(f"Difference in {measure.title}:")
        printing.say(f"  {measure.difference(outcome['difference'])}, surely between")
        printing.say(f"  {low} and {high}.")
    if facts["state"] == experiment_watch.RUNNING:
        printing.say("What would end it:")
        for sentence in facts["would_end"]:
            for line in textwrap.wrap(sentence, 38):
                printing.say(f"  {line}")


def _say_measure(measure: Measure, sides: dict[str, Any], *, primary: bool) -> None:
    """One table of at most 40 columns."""
    better = "less" if measure.lower_is_better else "more"
    printing.say()
    printing.say(f"{measure.title}: {better} is better{', decides' if primary else ''}", style="bold")
    if sides["not_measured"]:
        printing.say(f"not measured: {sides['not_measured']}")
        return
    lines, percentiles = [], []
    for arm in (routing.CHAMPION, routing.CHALLENGER):
        found = sides[arm]
        if found is None:
            lines.append((arm, "-", "-", "0"))
            continue
        between = "-" if found["low"] is None else _between(measure, found)
        lines.append((arm, measure.written(found["value"]), between, f"{found['calls']:,}"))
        if "p50" in found:
            percentiles.append(f"{arm} p50 {found['p50']:.2f} p95 {found['p95']:.2f} s")
    printing.table(("side", "value", "95 %", "calls"), lines, right=("value", "95 %", "calls"))
    for each in percentiles:
        printing.say(each)


def _between(measure: Measure, found: dict[str, Any]) -> str:
    if measure.seconds or measure.name == experiment_measures.SATISFACTION:
        return f"{found['low']:.2f}-{found['high']:.2f}"
    return f"{100 * found['low']:.1f}-{100 * found['high']:.1f}"


def _say_work(outcome: dict[str, Any]) -> None:
    """What annotators did with the drafts, where there were any."""
    sides = [outcome[arm] for arm in (routing.CHAMPION, routing.CHALLENGER)]
    if not any(side["words"] for side in sides):
        return
    lines = [
        (title, *(f"{side[key]:,.0f}" if side[key] is not None else "-" for side in sides))
        for title, key in (
            ("words", "words"), ("work s/min", "review_s_per_audio_minute"), ("draft after s", "draft_after_s")
        )
    ]  # fmt: skip
    printing.say()
    printing.table(("annotators", "champion", "challenger"), lines, right=("champion", "challenger"))


def _options(kind: str, form: str, *, primary: str, guard: str, margins: dict[str, float]) -> dict[str, Any]:
    """What decides, checked; a measure that can never be had is refused at once."""
    shadow = form == routing.SHADOW
    primary = primary or experiment_measures.usual_primary(kind, shadow=shadow)
    guards = [] if guard.strip() in ("", "none") else [name.strip() for name in guard.split(",") if name.strip()]
    if primary not in MEASURES:
        raise InvalidInput(
            "bad-measure",
            f"There is no outcome {primary[:40]!r}.",
            f"Use --primary with one of: {', '.join(MEASURES)}.",
        )
    if wrong := [name for name in guards if name not in experiment_measures.GUARDS]:
        known = ", ".join(experiment_measures.GUARDS)
        raise InvalidInput("bad-measure", f"{wrong[0][:40]!r} is no guard.", f"Use --guard with {known}, or none.")
    if why := experiment_measures.not_measured(MEASURES[primary], kind, shadow=shadow):
        raise InvalidInput(
            "not-measured", f"{primary} cannot decide this experiment: {why}.", "Choose another with --primary."
        )
    return {"primary": primary, "guards": list(dict.fromkeys(guards)), "margins": margins}
