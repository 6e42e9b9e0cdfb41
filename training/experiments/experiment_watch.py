"""An experiment -> its verdict, as soon as the figures allow one: withdrawn, decided, or ended without a winner.

A worse challenger is withdrawn at once, and the champion drafts its open tasks again. A better one is reported; only
the gate promotes it. After `ends_at` the champion stays.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend import db, log, quantities, tables
from ml_backend.context import Context
from ml_backend.jobs import enqueueing, job_kinds
from ml_backend.models import registry, routing
from ml_backend.models.registry import ANY_LANGUAGE, Version
from ml_backend.tables import experiments
from training.experiments import outcomes, sequential

ALPHA = 0.05
RUNNING, WITHDRAWN, DECIDED, UNDECIDED, STOPPED = "running", "withdrawn", "decided", "undecided", "stopped"

_log = log.get("experiments")


def watch_experiments(context: Context) -> None:
    """Evaluate every running experiment and act on the result. Safe to repeat."""
    for experiment in context.db.rows(sa.select(experiments).where(experiments.c.state == RUNNING)):
        look(context, experiment)


def look(context: Context, experiment: sa.Row[Any]) -> dict[str, Any]:
    """Measure one experiment, store the figures in its row, and end it when they allow a verdict; returns them."""
    with context.db.reading() as connection:
        found = outcomes.of(connection, experiment)
    alpha = float((experiment.options or {}).get("alpha", ALPHA))
    if experiment.kind == routing.SHADOW:
        now = sequential.interval(outcomes.differences(found), alpha=alpha)
    else:
        sides = [(call.arm == routing.CHALLENGER, call.rate) for call in found if call.words]
        now = sequential.between(sides, share=float(experiment.traffic_share), alpha=alpha)
    outcome = {
        "observations": now.observations,
        "difference": round(now.difference, 4),
        "interval": [round(now.low, 4), round(now.high, 4)] if now.observations > 1 else None,
        "alpha": alpha,
        "champion": outcomes.summary([call for call in found if call.arm == routing.CHAMPION]),
        "challenger": outcomes.summary([call for call in found if call.arm == routing.CHALLENGER]),
        "at": tables.now().isoformat(),
    }
    language = str(experiment.language)
    serves = registry.aliased(context, language=language) or registry.aliased(context)
    state, reason = _verdict(experiment, now, serves=serves.version if serves else experiment.champion)
    with context.db.transaction() as connection:
        still = sa.and_(experiments.c.id == experiment.id, experiments.c.state == RUNNING)
        ended = {"state": state, "reason_code": state, "reason": reason, "ended_at": tables.now()}
        values: dict[str, Any] = {"outcome": outcome, **(ended if state != RUNNING else {})}
        changed = connection.execute(sa.update(experiments).where(still).values(**values)).rowcount
        if changed and state == WITHDRAWN:
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


def stop(connection: Connection, experiment: sa.Row[Any], *, who: str) -> bool:
    """End a running experiment by hand; its open tasks return to the champion. False if it had already ended."""
    still = sa.and_(experiments.c.id == experiment.id, experiments.c.state == RUNNING)
    values = {"state": STOPPED, "reason_code": STOPPED, "reason": f"Stopped by {who}.", "ended_at": tables.now()}
    if not connection.execute(sa.update(experiments).where(still).values(**values)).rowcount:
        return False
    registry.draft_anew(connection)
    return True


def is_running(context: Context, language: str = ANY_LANGUAGE) -> bool:
    """Whether an experiment in this language, or in every language, is running."""
    here = experiments.c.language.in_((language, ANY_LANGUAGE)) if language != ANY_LANGUAGE else sa.true()
    return bool(context.db.rows(sa.select(experiments.c.id).where(experiments.c.state == RUNNING, here).limit(1)))


def plan(
    context: Context, challenger: Version, *, name: str, share: float, who: str, kind: str = routing.AB,
    language: str = ANY_LANGUAGE, days: int = 28,
) -> dict[str, Any]:  # fmt: skip
    """The row of an experiment against the serving champion."""
    champion = registry.champion(context, challenger.kind, language=language)
    return {
        "name": name, "champion": champion.version, "challenger": challenger.version, "traffic_share": share,
        "kind": kind, "model_kind": challenger.kind, "language": language, "salt": secrets.token_hex(8),
        "started_by": who,
        "ends_at": tables.now() + timedelta(days=days),
    }  # fmt: skip


def begin(context: Context, values: dict[str, Any]) -> int:
    """Insert the row of a new experiment; returns its id."""
    with context.db.transaction() as connection:
        row_id, _ = db.insert_once(connection, experiments, values, key=("name",))
    return row_id


def _verdict(experiment: sa.Row[Any], now: sequential.SequentialInterval, *, serves: str) -> tuple[str, str]:
    if serves != experiment.champion:  # calls no longer go to either side
        return STOPPED, f"{serves} serves now, no longer {experiment.champion}: there is nothing left to compare."
    points, calls = f"{abs(100 * now.difference):.1f} points", f"{now.observations} calls"
    if now.worse:
        return WITHDRAWN, f"{experiment.challenger} needed {points} more words corrected, on {calls}: withdrawn."
    if now.better:
        return DECIDED, (
            f"{experiment.challenger} needed {points} fewer words corrected, on {calls}. "
            f"`python -m ml_backend promote {experiment.challenger}` makes it the champion."
        )
    if experiment.ends_at is not None and tables.now() >= experiment.ends_at:
        return UNDECIDED, f"After {calls} neither side is better beyond luck; {experiment.champion} stays."
    return RUNNING, ""
