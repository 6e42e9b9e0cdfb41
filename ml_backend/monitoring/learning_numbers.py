"""The model that serves and the training that goes on: which version, how well it scores, how far a run is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ml_backend.monitoring.metric_values import Gauge
from ml_backend.tables import aliases, evaluations, model_versions, runs

MAIN = "indic@1"  # the reading that decides
STATES = ("waiting", "running")  # of runs that are not over


def of(connection: Connection, now: datetime) -> Iterator[Gauge]:
    """Everything in this room that one scrape shows."""
    yield from _of_champions(connection)
    yield from _of_training(connection, now)


def _of_champions(connection: Connection) -> Iterator[Gauge]:
    named = Gauge(
        "kaan_champion_info", "The version that serves a kind and language (`*`: every language); always 1.",
        ["kind", "language", "version"],
    )  # fmt: skip
    errors = Gauge(
        "kaan_champion_wer_ratio",
        "Word error rate of the champion on its latest test set, in the reading that decides.",
        ["language", "version"],
    )
    serving = (
        sa.select(aliases.c.kind, aliases.c.language, model_versions.c.version, model_versions.c.id)
        .join(model_versions, model_versions.c.id == aliases.c.model_version_id)
        .where(aliases.c.alias == "champion")
    )
    for row in connection.execute(serving.order_by(aliases.c.kind, aliases.c.language)).all():
        named.set(1, row.kind, row.language, row.version)
        rate = _wer(_latest_scores(connection, row.id)) if row.kind == "asr" else None
        if rate is not None:
            errors.set(rate, row.language, row.version)
    yield from (named, errors)


def _latest_scores(connection: Connection, version_id: int) -> dict[str, Any]:
    mine = sa.select(evaluations.c.scores).where(
        evaluations.c.model_version_id == version_id, evaluations.c.against_version.is_(None)
    )
    return connection.execute(mine.order_by(evaluations.c.id.desc()).limit(1)).scalar() or {}


def _wer(scores: dict[str, Any]) -> float | None:
    """None where nothing was scored, or a run was broken off."""
    found = ((scores.get("rates") or {}).get(MAIN) or {}).get("wer")  # [value, low, high]
    return float(found[0]) if found else None


def _of_training(connection: Connection, now: datetime) -> Iterator[Gauge]:
    number = Gauge("kaan_training_runs", "Training runs that are not over, by state.", ["state"])
    progress = Gauge("kaan_training_progress_ratio", "How far a running training run is, 0 to 1.", ["run", "kind"])
    loss = Gauge("kaan_training_loss", "Its latest loss.", ["run", "kind"])
    silent = Gauge("kaan_training_silent_seconds", "Since a running run last said how far it is.", ["run", "kind"])
    open_runs = connection.execute(sa.select(runs).where(runs.c.state.in_(STATES)).order_by(runs.c.id).limit(50)).all()
    number.fill({state: sum(row.state == state for row in open_runs) for state in STATES}, STATES)
    for row in (row for row in open_runs if row.state == "running"):
        said, names = row.progress or {}, (str(row.id), row.kind)
        steps = said.get("steps") or 0
        progress.set(min(1.0, (said.get("step") or 0) / steps) if steps else 0.0, *names)
        if isinstance(said.get("loss"), int | float):
            loss.set(said["loss"], *names)
        silent.set(max(0.0, (now - row.updated_at).total_seconds()), *names)
    yield from (number, progress, loss, silent)
