"""Training runs with their curves, from their rows: a run on another machine is seen as well as one here.

The trainer's job writes the curve into the row while it trains, thinned to at most 200 points a figure.
"""

from __future__ import annotations

from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field

from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.tables import datasets, jobs, model_versions, runs
from ml_backend.views import training_progress
from ml_backend.views.queries import PagedQuery, Query, Whole

TITLES = {
    "loss": "Loss in training", "learning_rate": "Learning rate", "wer": "Word error rate on validation rows",
    "old_wer": "Word error rate on older data", "validation_loss": "Loss on validation rows",
    "macro_f1": "Macro-F1 on validation rows", "accuracy": "Accuracy on validation rows",
    "entity_f1": "Entity F1 on validation rows", "ece": "Calibration error on validation rows",
}  # fmt: skip
SHARES = ("wer", "old_wer", "macro_f1", "accuracy", "entity_f1", "ece")  # shown as percentages


class RunQuery(PagedQuery):
    """Which runs."""

    kind: Annotated[str | None, Field(description="Only of this kind, e.g. asr.")] = None
    state: Annotated[str | None, Field(description="Only in this state, e.g. running.")] = None


class CurveQuery(Query):
    """Of which run."""

    run: Annotated[Whole | None, Field(description="Number of the run; by default the newest.")] = None


def every(context: Context, query: RunQuery) -> dict[str, Any]:
    """Runs, newest first, without their curves. `state` is the real one where the row's process has ended."""
    statement = sa.select(runs).order_by(runs.c.id.desc()).limit(query.limit)
    for column, value in ((runs.c.kind, query.kind), (runs.c.state, query.state)):
        statement = statement if value is None else statement.where(column == value)
    if query.before is not None:
        statement = statement.where(runs.c.id < query.before)
    with context.db.reading() as connection:
        found = [to_dict(connection, row) for row in connection.execute(statement)]
    return {"runs": found, "next": found[-1]["run"] if len(found) == query.limit else None}


def of(context: Context, query: CurveQuery) -> dict[str, Any]:
    """One run with its curve."""
    wanted = sa.select(runs).order_by(runs.c.id.desc()).limit(1)
    if query.run is not None:
        wanted = wanted.where(runs.c.id == query.run)
    with context.db.reading() as connection:
        row = connection.execute(wanted).first()
        if row is None and query.run is None:
            return {"run": None, "curve": [], "job": None, "why_none": "There is no training run yet."}
        if row is None:
            raise InvalidInput(
                "no-such-run", "There is no such training run.", "`train list` shows the runs.", status=404
            )
        return {**to_dict(connection, row), "curve": curve(row), "job": _job(connection, row.id), "why_none": None}


def to_dict(connection: sa.Connection, row: Any) -> dict[str, Any]:
    """A run as plain values, without its curve."""
    progress = {key: value for key, value in (row.progress or {}).items() if key != "curve"}
    version = connection.execute(
        sa.select(model_versions.c.version).where(model_versions.c.run_id == row.id).limit(1)
    ).scalar()
    data = connection.execute(
        sa.select(datasets.c.name, datasets.c.version).where(datasets.c.id == row.dataset_id)
    ).first()
    return {
        "run": row.id, "kind": row.kind, "state": training_progress.state_of(connection, row), "step": row.step,
        "dataset_id": row.dataset_id, "dataset": f"{data.name}@{data.version}" if data else None,
        "base": row.base_version, "version": version, "who": row.who, "why": row.why, "reason": row.reason,
        "code": row.reason_code, "progress": progress, "estimate": row.estimate, "metrics": row.metrics,
        "options": (row.arguments or {}).get("options"), "created_at": row.created_at,
        "started_at": row.started_at, "finished_at": row.finished_at, "updated_at": row.updated_at,
    }  # fmt: skip


def curve(row: Any) -> list[dict[str, Any]]:
    """Each figure of a run: its title, whether it is a share, and its [step, value] points."""
    found = []
    for name, points in ((row.progress or {}).get("curve") or {}).items():
        shown = [[point[0], point[1]] for point in points if point[1] is not None]
        title = TITLES.get(name, name.replace("_", " "))
        found.append({"name": name, "title": title, "share": name in SHARES, "count": len(shown), "points": shown})
    return found


def lines(found: dict[str, Any]) -> list[str]:
    """For a terminal: each figure's first, best and last."""
    if found["why_none"]:
        return [found["why_none"]]
    said = [f"run {found['run']}, {found['kind']}, {found['state']}: {found['why'] or 'no reason given'}"]
    for one in found["curve"]:
        if one["points"]:
            (first, begun), (last, now) = one["points"][0], one["points"][-1]
            least = min(value for _, value in one["points"])
            said.append(
                f"{one['title']}: {begun:.4g} at step {first:,}, {now:.4g} at step {last:,}, least {least:.4g}, "
                f"{one['count']:,} points"
            )
    return said + ([] if found["curve"] else ["It has reported no step yet."])


def _job(connection: sa.Connection, run_id: int) -> int | None:
    """The newest job of a run."""
    mine = jobs.c.unique_key.in_((f"train:run:{run_id}", f"run-training:{run_id}"))
    return connection.execute(sa.select(jobs.c.id).where(mine).order_by(jobs.c.id.desc()).limit(1)).scalar()
