"""An experiment -> its verdict, as soon as the figures allow one: withdrawn, decided, or ended without a winner.

One outcome of the calls is the primary one and decides; others are guards. A challenger that is worse in the primary
outcome, or harms a guard by more than its margin, is withdrawn at once, and the champion drafts its open tasks again. A
better one is reported; only the gate promotes it. After `ends_at` the champion stays.

The primary test has its own chance of error (`alpha`). The guards share `guard_alpha` in equal parts, so that looking
at several withdraws an equal challenger no more often than that, however often one looks.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, log, quantities, tables
from ml_backend.context import Context, JobContext
from ml_backend.errors import RetryableError
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.models import kinds, registry, routing
from ml_backend.models.registry import ANY_LANGUAGE, Version
from ml_backend.tables import experiments
from training.experiments import arm_figures, experiment_course, experiment_measures, sequential
from training.experiments.arm_figures import ArmCall
from training.experiments.experiment_measures import MEASURES

ALPHA = 0.05  # of the primary outcome, and of all guards together
RUNNING, WITHDRAWN, DECIDED, UNDECIDED, STOPPED = "running", "withdrawn", "decided", "undecided", "stopped"

_log = log.get("experiments")


@dataclass(frozen=True)
class Plan:
    """What decides an experiment, as its row says; what an older row does not say is the default."""

    primary: str
    guards: tuple[str, ...]
    margins: Mapping[str, float]
    alpha: float = ALPHA
    guard_alpha: float = ALPHA

    @staticmethod
    def of(experiment: sa.Row[Any]) -> Plan:
        told = experiment.options or {}
        shadow = experiment.kind == routing.SHADOW
        primary = told.get("primary") or experiment_measures.usual_primary(experiment.model_kind, shadow=shadow)
        guards = told.get("guards", experiment_measures.GUARDS)
        able = [
            name for name in guards
            if name != primary and experiment_measures.decides(MEASURES[name], shadow=shadow)
            and not experiment_measures.not_measured(MEASURES[name], experiment.model_kind, shadow=shadow)
        ]  # fmt: skip
        return Plan(
            primary, tuple(able), {**experiment_measures.MARGINS, **told.get("margins", {})},
            float(told.get("alpha", ALPHA)), float(told.get("guard_alpha", ALPHA)),
        )  # fmt: skip


def watch_experiments(context: Context) -> None:
    """Evaluate every running experiment and act on the result. Safe to repeat."""
    for experiment in context.db.rows(sa.select(experiments).where(experiments.c.state == RUNNING)):
        try:
            look(context, experiment)
        except RetryableError:
            raise  # the database is away: for all of them
        except Exception as error:  # the others must be watched all the same
            _log.exception("experiment_not_measured", experiment=experiment.name, exc_info=error)


def look(context: Context, experiment: sa.Row[Any]) -> dict[str, Any]:
    """Measure one experiment, store the figures in its row, and end it when they allow a verdict; returns them."""
    with context.db.reading() as connection:
        found = arm_figures.of(connection, experiment)
        shadowed = arm_figures.shadowed(connection, experiment) if experiment.kind == routing.SHADOW else None
    plan_ = Plan.of(experiment)
    measure = MEASURES[plan_.primary]
    now = experiment_course.difference(found, experiment, measure, alpha=plan_.alpha)
    outcome = {
        "primary": plan_.primary,
        "observations": now.observations,
        **experiment_course.in_its_own_sense(measure, now),
        "alpha": plan_.alpha,
        "champion": arm_figures.summary([call for call in found if call.arm == routing.CHAMPION]),
        "challenger": arm_figures.summary([call for call in found if call.arm == routing.CHALLENGER]),
        "measures": arm_figures.measured(found, experiment),
        "guards": [_guard(found, experiment, plan_, name) for name in plan_.guards],
        "shadowed": shadowed,
        "course": experiment_course.course(found, experiment, measure, alpha=plan_.alpha),
        "would_end": experiment_course.would_end(
            experiment, now, measure, alpha=plan_.alpha, guards=plan_.guards, margins=plan_.margins
        ),
        "at": tables.now().isoformat(),
    }
    language, kind = str(experiment.language), str(experiment.model_kind)
    serves = registry.aliased(context, kind, language=language) or registry.aliased(context, kind)
    state, reason = _verdict(experiment, now, outcome, serves=serves.version if serves else experiment.champion)
    with context.db.transaction() as connection:
        still = sa.and_(experiments.c.id == experiment.id, experiments.c.state == RUNNING)
        ended = {"state": state, "reason_code": state, "reason": reason, "ended_at": tables.now()}
        values: dict[str, Any] = {"outcome": outcome, **(ended if state != RUNNING else {})}
        changed = connection.execute(sa.update(experiments).where(still).values(**values)).rowcount
        if changed and state in (WITHDRAWN, UNDECIDED) and kind == kinds.ASR:
            registry.draft_anew(connection)
        if changed and state == DECIDED and context.settings.auto_promote:
            enqueueing.enqueue(
                connection, job_kinds.PROMOTE_VERSION, key=f"{experiment.challenger}:{experiment.language}",
                version=experiment.challenger, who="experiment", why=quantities.shortened(str(reason), 180),
                language=experiment.language,
            )  # fmt: skip
    if changed and state != RUNNING:
        _log.info("experiment_ended", experiment=experiment.name, state=state)
    return outcome | {"state": state, "reason": reason}


def end_experiment(context: JobContext, name: str, who: str, why: str) -> None:
    """The job of a person who ends an experiment on the page, after a last look at its figures. Safe to repeat."""
    for experiment in context.db.rows(sa.select(experiments).where(experiments.c.name == name)):
        if experiment.state == RUNNING:
            look(context, experiment)
        with context.db.transaction() as connection:
            ended = stop(connection, experiment, who=who, why=why)
        context.report(1.0, f"{name} is ended." if ended else f"{name} had ended already.")


def stop(connection: Connection, experiment: sa.Row[Any], *, who: str, why: str = "") -> bool:
    """End a running experiment by hand; its open tasks return to the champion. False if it had already ended."""
    still = sa.and_(experiments.c.id == experiment.id, experiments.c.state == RUNNING)
    values = {
        "state": STOPPED,
        "reason_code": STOPPED,
        "reason": f"Stopped by {who}{f': {why}' if why else ''}.",
        "ended_at": tables.now(),
    }
    if not connection.execute(sa.update(experiments).where(still).values(**values)).rowcount:
        return False
    if experiment.model_kind == kinds.ASR:
        registry.draft_anew(connection)
    return True


def is_running(context: Context, language: str = ANY_LANGUAGE, *, kind: str = kinds.ASR) -> bool:
    """Whether an experiment of this kind in this language, or in every language, is running. Kinds run side by side."""
    here = experiments.c.language.in_((language, ANY_LANGUAGE)) if language != ANY_LANGUAGE else sa.true()
    mine = sa.and_(experiments.c.state == RUNNING, experiments.c.model_kind == kind)
    return bool(context.db.rows(sa.select(experiments.c.id).where(mine, here).limit(1)))


def plan(
    context: Context, challenger: Version, *, name: str, share: float, who: str, kind: str = routing.AB,
    language: str = ANY_LANGUAGE, days: int = 28, options: dict[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The row of an experiment against the serving champion."""
    champion = registry.champion(context, challenger.kind, language=language)
    return {
        "name": name, "champion": champion.version, "challenger": challenger.version, "traffic_share": share,
        "kind": kind, "model_kind": challenger.kind, "language": language, "salt": secrets.token_hex(8),
        "started_by": who, "options": options,
        "ends_at": tables.now() + timedelta(days=days),
    }  # fmt: skip


def begin(context: Context, values: dict[str, Any]) -> int:
    """Insert the row of a new experiment; returns its id."""
    with context.db.transaction() as connection:
        row_id, _ = db.insert_once(connection, experiments, values, key=("name",))
    return row_id


def _verdict(
    experiment: sa.Row[Any], now: sequential.SequentialInterval, outcome: dict[str, Any], *, serves: str
) -> tuple[str, str]:
    if serves != experiment.champion:  # calls no longer go to either side
        return STOPPED, f"{serves} serves now, no longer {experiment.champion}: there is nothing left to compare."
    measure, calls = MEASURES[outcome["primary"]], f"{now.observations} calls"
    differs = measure.difference(outcome["difference"])
    decides = experiment_measures.decides(measure, shadow=experiment.kind == routing.SHADOW)
    if now.worse and decides:
        return WITHDRAWN, f"{experiment.challenger} is worse in {measure.title}: {differs}, on {calls}: withdrawn."
    for guard in outcome["guards"]:
        if guard["harmed"]:
            return WITHDRAWN, f"{experiment.challenger} harms a guard. {_harm(guard, outcome)}: withdrawn."
    if now.better and decides:
        return DECIDED, (
            f"{experiment.challenger} is better in {measure.title}: {differs}, on {calls}. "
            f"`python -m ml_backend promote {experiment.challenger}` makes it the champion."
        )
    if experiment.ends_at is not None and tables.now() >= experiment.ends_at:
        return UNDECIDED, f"After {calls} neither side is better beyond luck; {experiment.champion} stays."
    return RUNNING, ""


def _guard(found: Sequence[ArmCall], experiment: sa.Row[Any], plan_: Plan, name: str) -> dict[str, Any]:
    """Whether a guard is harmed beyond its margin. The guards share one chance of error."""
    alpha = plan_.guard_alpha / len(plan_.guards)
    measure = MEASURES[name]
    now = experiment_course.difference(found, experiment, measure, alpha=alpha, margin=plan_.margins[name])
    return {
        "measure": name, "margin": plan_.margins[name], "alpha": round(alpha, 6), "observations": now.observations,
        "harmed": now.worse,
    }  # fmt: skip


def _harm(guard: dict[str, Any], outcome: dict[str, Any]) -> str:
    measure = MEASURES[guard["measure"]]
    sides = outcome["measures"][guard["measure"]]
    one, other = (measure.written(sides[arm]["value"]) for arm in (routing.CHAMPION, routing.CHALLENGER))
    margin = f"{100 * guard['margin']:g} {'%' if measure.seconds else 'points'}"
    return (
        f"{measure.title.capitalize()} is {other} against {one} on {guard['observations']} calls, worse by more than "
        f"the margin of {margin}"
    )
