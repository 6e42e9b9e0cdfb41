"""A model version -> what it was made from and what was made from it: annotations, dataset, run, version, with counts.

Counts are those that were stored when each was made: a lineage is history, and reads no table that grows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field

from ml_backend.context import Context
from ml_backend.models import registry
from ml_backend.tables import aliases, datasets, evaluations, experiments, model_versions, runs
from ml_backend.views import training_progress, version_views
from ml_backend.views.queries import Query

MOST_BEFORE, MOST_AFTER = 20, 50  # versions that it comes from, and that come from it


class LineageQuery(Query):
    """Of which version."""

    version: Annotated[
        str | None, Field(description="A model version, champion or newest; by default what transcribes now.")
    ] = None


def of(context: Context, query: LineageQuery) -> dict[str, Any]:
    """`steps` in the order of the flow, each with what it is, its address on the page, counts and a sentence."""
    name = query.version
    if name is None and (serves := registry.aliased(context)) is not None:
        name = serves.version
    if name is None:
        return {
            "version": None,
            "kind": None,
            "steps": [],
            "before": [],
            "after": [],
            "why_none": "No version serves yet.",
        }
    found = version_views.one(context, name)
    lineage = dict(found["lineage"] or {})
    with context.db.reading() as connection:
        run = _row(connection, runs, found["run_id"])
        data = _row(connection, datasets, lineage.get("dataset_id") or (run.dataset_id if run else None))
        replay = _row(connection, datasets, lineage.get("replay_dataset_id"))
        judged = sa.select(sa.func.count()).where(evaluations.c.model_version_id == found["id"])
        evaluated = int(connection.execute(judged).scalar_one())
        tried = connection.execute(
            sa.select(experiments.c.name, experiments.c.state)
            .where(experiments.c.challenger == found["version"])
            .order_by(experiments.c.id.desc())
            .limit(MOST_AFTER)
        ).all()
        served = [
            f"{row.alias} {row.language}"
            for row in connection.execute(sa.select(aliases).where(aliases.c.model_version_id == found["id"]))
        ]
        steps: list[dict[str, Any]] = []
        for each, replayed in ((data, False), (replay, True)):
            steps += _of_dataset(each, replayed=replayed) if each is not None else []
        if run is not None:
            steps.append(_of_run(run, training_progress.state_of(connection, run)))
        steps.append(_step("version", found["version"], sentence=_made(found, served), made_at=found["made_at"]))
        if evaluated:
            sentence = f"{evaluated:,} evaluations and verdicts."
            steps.append(_step("evaluation", "evaluations", sentence=sentence, evaluations=evaluated))
        steps += [_step("experiment", row.name, id=row.name, sentence=f"Tried in it; {row.state}.") for row in tried]
        return {
            "version": found["version"], "kind": found["kind"], "steps": steps,
            "before": list(_before(connection, lineage.get("base"))),
            "after": _after(connection, found["version"]), "why_none": None,
        }  # fmt: skip


def lines(found: dict[str, Any]) -> list[str]:
    """For a terminal."""
    if found["why_none"]:
        return [found["why_none"]]
    said = [f"{step['what']:<11} {step['name']}: {step['sentence']}" for step in found["steps"]]
    said += [f"before      {one['version']}" for one in found["before"]]
    return said + [f"after       {one['version']}, {one['verdict'] or 'not judged'}" for one in found["after"]]


def _of_dataset(row: Any, *, replayed: bool) -> Iterator[dict[str, Any]]:
    """The annotations of a dataset, then itself."""
    counts = dict(row.counts or {})
    number, hours = int(counts.get("rows") or 0), float(counts.get("hours") or 0.0)
    splits = {name: entry.get("rows", 0) for name, entry in (counts.get("splits") or {}).items()}
    excluded = {str(reason): int(rows) for reason, rows in (counts.get("excluded") or {}).items()}
    left_out = sum(excluded.values())
    period = f" of {counts['first_day']} to {counts['last_day']}" if counts.get("first_day") else ""
    if not replayed:
        yield _step(
            "annotations", f"{number + left_out:,} annotated samples",
            sentence=f"{number:,} used{period}, {left_out:,} left out.", used=number, left_out=left_out,
            reasons=excluded,
        )  # fmt: skip
    parts = ", ".join(f"{rows:,} {name}" for name, rows in splits.items())
    yield _step(
        "dataset", f"{row.name}@{row.version}", id=row.id,
        sentence=f"{number:,} rows, {hours:.2f} h{f' ({parts})' if parts else ''}"
        f"{', mixed in against forgetting' if replayed else ''}.",
        rows=number, hours=hours, splits=splits, made_at=row.created_at,
    )  # fmt: skip


def _of_run(row: Any, state: str) -> dict[str, Any]:
    progress = dict(row.progress or {})
    steps = f", step {progress['step']:,} of {progress['steps']:,}" if progress.get("steps") else ""
    asked = f", asked by {row.who}" if row.who else ""
    base = f", from {row.base_version}" if row.base_version else ""
    return _step(
        "run", f"run {row.id}", id=row.id, sentence=f"{state}{steps}{base}{asked}.", state=state,
        made_at=row.started_at or row.created_at,
    )  # fmt: skip


def _made(found: dict[str, Any], served: list[str]) -> str:
    languages = ", ".join(found["languages"]) or "any language"
    serves = f"; serves as {', '.join(served)}" if served else ""
    left = "; rolled back" if found["rolled_back_at"] else ""
    return f"{found['kind']}, {languages}{serves}{left}."


def _before(connection: sa.Connection, base: str | None) -> Iterator[dict[str, Any]]:
    """What the version was trained from, and that one before, and so on; the last may be a published model."""
    met: set[str] = set()
    while base and base not in met and len(met) < MOST_BEFORE:
        met.add(base)
        row = connection.execute(sa.select(model_versions).where(model_versions.c.version == base)).first()
        yield {"version": base, "known": row is not None, "run_id": row.run_id if row else None}
        base = (row.lineage or {}).get("base") if row else None


def _after(connection: sa.Connection, version: str) -> list[dict[str, Any]]:
    """Versions that were trained from this one, newest first."""
    made = (
        sa.select(model_versions.c.id, model_versions.c.version, model_versions.c.run_id)
        .join(runs, runs.c.id == model_versions.c.run_id)
        .where(runs.c.base_version == version)
        .order_by(model_versions.c.id.desc())
        .limit(MOST_AFTER)
    )
    rows = connection.execute(made).all()
    verdicts = sa.select(evaluations.c.model_version_id, evaluations.c.verdict).where(
        evaluations.c.model_version_id.in_([row.id for row in rows]), evaluations.c.verdict.is_not(None)
    )
    last = {row.model_version_id: row.verdict for row in connection.execute(verdicts.order_by(evaluations.c.id))}
    return [{"version": row.version, "run_id": row.run_id, "verdict": last.get(row.id)} for row in rows]


def _row(connection: sa.Connection, table: sa.Table, row_id: int | None) -> Any:
    if row_id is None:
        return None
    return connection.execute(sa.select(table).where(table.c.id == row_id)).first()


def _step(what: str, name: str, *, sentence: str, id: Any = None, **counts: Any) -> dict[str, Any]:
    return {"what": what, "name": name, "id": id, "sentence": sentence, **counts}
