"""A version says what it was made from, with counts: annotations, dataset, run; and what was made from it."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context
from ml_backend.errors import InvalidInput
from ml_backend.reports.learning import model_lineage, run_curves
from ml_backend.reports.learning.model_lineage import LineageQuery
from ml_backend.reports.learning.run_curves import CurveQuery, RunQuery

COUNTS = {
    "rows": 90, "hours": 1.5, "splits": {"train": {"rows": 80}, "test": {"rows": 10}},
    "excluded": {"low-agreement": 7, "gold": 3}, "first_day": "2026-11-01", "last_day": "2026-11-20",
}  # fmt: skip
CURVE = {"loss": [[1, 2.0], [9, 0.5]], "learning_rate": [[1, 1e-4]], "wer": [[0, 0.4, None], [9, 0.2, None]]}


def insert(context: Context, table: sa.Table, **values: Any) -> int:
    with context.db.transaction() as connection:
        return int(connection.execute(sa.insert(table).values(**values).returning(table.c.id)).scalar_one())


def version(context: Context, name: str, *, base: str = "", **values: Any) -> int:
    """A version of a run that learnt from `base`."""
    run_id = lineage = None
    if base:
        data = insert(
            context, tables.datasets, name="calls", version=len(name), manifest_sha256="0" * 64, counts=COUNTS
        )
        run_id = insert(
            context, tables.runs, kind="asr", arguments={}, dataset_id=data, base_version=base, who="asha",
            state="done", progress={"step": 9, "steps": 9, "curve": CURVE},
        )  # fmt: skip
        lineage = {"base": base, "dataset_id": data, "run_id": run_id}
    return insert(
        context, tables.model_versions, version=name, kind="asr", location="hub:x", manifest={}, languages=["hi"],
        run_id=run_id, lineage=lineage, **values,
    )  # fmt: skip


@pytest.fixture
def family(context: Context) -> Context:
    version(context, "bundled-1")
    version(context, "tuned-22", base="bundled-1")
    later = version(context, "tuned-333", base="tuned-22")
    insert(context, tables.evaluations, model_version_id=later, scores={}, verdict="worse", against_version="tuned-22")
    insert(
        context, tables.experiments, name="try", champion="bundled-1", challenger="tuned-22", traffic_share=0.5,
        state="decided",
    )  # fmt: skip
    return context


def test_a_version_is_followed_back_to_its_annotations_with_counts(family: Context) -> None:
    found = model_lineage.of(family, LineageQuery(version="tuned-22"))
    steps = {step["what"]: step for step in found["steps"]}
    assert list(steps) == ["annotations", "dataset", "run", "version", "experiment"]
    assert (steps["annotations"]["used"], steps["annotations"]["left_out"]) == (90, 10)
    assert steps["annotations"]["reasons"] == {"low-agreement": 7, "gold": 3}
    assert (steps["dataset"]["rows"], steps["dataset"]["splits"]) == (90, {"train": 80, "test": 10})
    assert "asked by asha" in steps["run"]["sentence"]
    assert steps["experiment"]["id"] == "try"


def test_what_it_came_from_and_what_came_from_it_are_named(family: Context) -> None:
    found = model_lineage.of(family, LineageQuery(version="tuned-22"))
    assert [(one["version"], one["known"]) for one in found["before"]] == [("bundled-1", True)]
    assert [(one["version"], one["verdict"]) for one in found["after"]] == [("tuned-333", "worse")]
    newest = model_lineage.of(family, LineageQuery(version="newest"))
    assert [one["version"] for one in newest["before"]] == ["tuned-22", "bundled-1"]
    assert any(line.startswith("dataset") for line in model_lineage.lines(newest))
    with pytest.raises(InvalidInput, match="no model version"):
        model_lineage.of(family, LineageQuery(version="tuned-4444"))


def test_a_run_shows_its_curve_from_its_row_whatever_machine_it_is_on(family: Context) -> None:
    first = run_curves.every(family, RunQuery(limit=1))
    rest = run_curves.every(family, RunQuery(limit=5, before=first["next"]))
    assert [one["version"] for one in first["runs"] + rest["runs"]] == ["tuned-333", "tuned-22"]
    found = run_curves.of(family, CurveQuery(run=rest["runs"][0]["run"]))
    curve = {one["name"]: one for one in found["curve"]}
    assert curve["wer"]["points"] == [[0, 0.4], [9, 0.2]], "rows of an older version have a third column"
    assert (curve["wer"]["share"], curve["loss"]["count"]) == (True, 2)
    assert any("Learning rate" in line for line in run_curves.lines(found))
    with pytest.raises(InvalidInput, match="no such training run"):
        run_curves.of(family, CurveQuery(run=999))
