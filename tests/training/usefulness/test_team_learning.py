"""The job over real rows: what it stores is what selection, drafts and reports read."""

from __future__ import annotations

import random
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context
from ml_backend.jobs import enqueueing, job_kinds, runner
from ml_backend.usefulness import team_model
from ml_backend.usefulness.curve_reading import hours_needed
from ml_backend.usefulness.team_model import PRIOR
from tests.training.quality.rows import Rows, measures
from training.quality import exclusions
from training.usefulness import team_learning


def learn(context: Context) -> None:
    with context.db.transaction() as connection:
        enqueueing.enqueue(connection, job_kinds.LEARN_USEFULNESS, key="all")
    assert not runner.run_due(context, queues=["sync"]).failed


def stored(context: Context, name: str) -> Any:
    return context.db.rows(sa.select(tables.summaries.c.body).where(tables.summaries.c.name == name))[0].body


def read(context: Context) -> team_model.TeamModel:
    with context.db.reading() as connection:
        return team_model.read(connection)


def fill(rows: Rows, *, count: int = 90, first: int = 1, stamped: bool = False) -> list[int]:
    """Two drafted tasks in three, with 1 or 4 wrong words of ten by their confidence; the third is blind."""
    draw, made = random.Random(first), []
    for number in range(first, first + count):
        unsure = draw.random() < 0.5
        edits = 0 if stamped else 4 if unsure else 1
        if number % 3 == 0:
            rows.task(number, blind=True, state="annotated")
            known: dict[str, Any] = {"draft": None, "model_version": None, "edited": "manual", "lead_time_s": 60.0}
            known["measures"] = {"normaliser": "indic@1", "words": 10, "chars": 50}
        else:
            rows.task(number, state="annotated")
            known = {"draft": {"text": "x", "confidence": 0.4 if unsure else 0.9}, "measures": measures(10, edits)}
            known["lead_time_s"] = 3.0 if stamped else 20 + 15.0 * edits  # of 20 seconds of audio
        made.append(rows.annotation(number, number, language="hi", **known))
    return made


def test_the_job_learns_errors_minutes_and_the_break_even_from_what_people_did(context: Context) -> None:
    fill(Rows(context.db))
    learn(context)
    model = read(context)
    assert model.corrections == 60
    assert 0.3 < model.expected_error("hi", 0.4) < 0.5
    assert 0.08 < model.expected_error("hi", 0.9) < 0.2
    assert model.minutes.drafted == 60
    assert model.minutes.undrafted == 30
    assert model.minutes.base == pytest.approx(1.0, abs=0.3)  # the time that perfect drafts would take
    assert model.minutes.from_nothing == pytest.approx(3.0, abs=0.4)
    assert model.break_even.measured
    assert model.break_even.low < 40 / 15 / 10 < model.break_even.high  # (60 - 20) / 15 of ten words
    savings = stored(context, team_learning.SAVINGS)
    by_band = {band["errors"]: band for band in savings["bands"]}
    assert by_band["10-20 %"]["low"] > 0
    assert by_band["30-50 %"]["high"] < 0
    assert savings["all"]["annotations"] == 60
    assert stored(context, team_learning.CURVES) == {"languages": {}}


def test_before_anything_is_known_the_priors_apply_and_the_job_says_so(context: Context) -> None:
    assert read(context) is PRIOR
    learn(context)
    model = read(context)
    assert model.errors == {}
    assert not model.break_even.measured
    assert model.minutes.from_nothing == team_model.FROM_NOTHING
    assert stored(context, team_learning.SAVINGS)["all"]["note"] == "too few to say"


def test_drafts_accepted_unread_teach_nothing(context: Context) -> None:
    rows = Rows(context.db)
    fill(rows)
    learn(context)
    honest = read(context)
    unread = fill(rows, first=1001, stamped=True)
    with context.db.transaction() as connection:
        body = {"annotations": {str(number): "unread" for number in unread}, "recordings": []}
        team_learning.keep(connection, exclusions.NAME, body)
    learn(context)
    assert read(context).errors == honest.errors


def test_only_the_latest_annotations_are_read(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(Rows(context.db))
    monkeypatch.setattr(team_learning, "NEWEST", 30)
    learn(context)
    assert read(context).corrections == 20


def test_minutes_saved_by_leaving_out_a_draft_are_measured_on_those_tasks(context: Context) -> None:
    rows = Rows(context.db)
    fill(rows)
    for number in range(501, 513):
        choice = {"shown": False, "model_version": "small-1", "expected_error": 0.6, "break_even": 0.3, "why": "."}
        rows.task(number, state="annotated", draft_choice=choice)
        rows.annotation(
            number, number, draft=None, model_version=None, edited="manual", lead_time_s=60.0,
            measures={"normaliser": "indic@1", "words": 10, "chars": 50},
        )  # fmt: skip
    learn(context)
    left_out = stored(context, team_learning.SAVINGS)["left_out"]
    assert left_out["annotations"] == 12
    expected = 12 * (read(context).minutes.with_draft(0.6) / 3 - 1.0)
    assert left_out["saved_min"] == pytest.approx(expected, abs=0.2)


def test_languages_and_bands_that_are_annotated_less_than_they_are_called_weigh_more(context: Context) -> None:
    rows = Rows(context.db)
    fill(rows)
    noisy = {"parts": {"leg_0": {"snr_db": 7.0}}}
    clear = {"parts": {"leg_0": {"snr_db": 25.0}}}
    with context.db.transaction() as connection:
        connection.execute(sa.update(tables.recordings).values(state="ready", language="hi", quality=clear))
        more = [
            {"id": 5000 + n, "source": "object", "source_identity": f"s3://more/{n}", "duration_s": 20.0,
             "state": "ready", "language": "mr", "quality": noisy}
            for n in range(120)
        ]  # fmt: skip
        connection.execute(sa.insert(tables.recordings), more)
        taught = [
            {"project_id": rows.project_id, "task_id": n, "number": 0, "annotation_id": n, "recording_id": n,
             "start_s": 0.0, "end_s": 20.0, "text": f"नमस्ते ऑर्डर शब्द{n}", "language": "hi", "digest": str(n),
             "state": "accepted"}
            for n in range(1, 61)
        ]  # fmt: skip
        connection.execute(sa.insert(tables.samples), taught)
    for number in range(601, 621):
        rows.task(number, state="annotated")
        rows.annotation(number, number, language="mr", measures=measures(10, 3))
    learn(context)
    model = read(context)
    assert model.slices["snr"]["5-10 dB"] > 1.2 > 0.9 > model.slices["snr"]["20-30 dB"]
    assert model.worth["mr"] > 1.2 > 0.9 > model.worth["hi"]
    assert model.known_words["hi"] == {"नमस्ते", "ऑर्डर"}  # said in several calls; one call's words stay its own


def test_the_learning_curve_is_fitted_to_the_evaluations_of_versions_that_were_trained_here(context: Context) -> None:
    """One test set, four versions on more and more Marathi; another reading of the same texts is another test."""
    project = Rows(context.db).project_id
    with context.db.transaction() as connection:
        for number, hours in enumerate((4.0, 8.0, 16.0, 32.0), 1):
            counts = {
                "hours": 2 * hours, "splits": {"train": {"hours": hours}, "test": {"hours": hours}},
                "languages": {"mr": {"hours": hours}, "hi": {"hours": hours}},
            }  # fmt: skip
            dataset = {"name": "calls", "version": number, "manifest_sha256": f"{number}", "counts": counts}
            run = {"kind": "asr", "dataset_id": number, "project_id": project, "arguments": {}, "state": "done"}
            version = {
                "version": f"v{number}", "kind": "asr", "location": "x", "manifest": {}, "languages": ["mr"],
                "run_id": number,
            }  # fmt: skip
            wer = 0.6 * (hours / 2) ** -0.4
            slices = {"language": {"mr": {"calls": 40, "wer": [wer, 0.97 * wer, 1.03 * wer]},
                                   "hi": {"calls": 2, "wer": [0.1, 0.0, 0.3]}}}  # fmt: skip
            evaluation = {
                "model_version_id": number, "dataset_id": 1, "scores": {"slices": slices}, "test_sha256": "t",
                "normalisers": ["indic@1"],
            }  # fmt: skip
            for table, row in (
                (tables.datasets, dataset), (tables.runs, run), (tables.model_versions, version),
                (tables.evaluations, evaluation), (tables.evaluations, {**evaluation, "normalisers": ["strict@1"]}),
            ):  # fmt: skip
                connection.execute(sa.insert(table).values(**row))
    learn(context)
    curves = stored(context, team_learning.CURVES)["languages"]
    assert set(curves) == {"mr"}  # Hindi had two calls
    assert [point["hours"] for point in curves["mr"]["points"]] == [2, 2, 4, 4, 8, 8, 16, 16]
    assert curves["mr"]["fit"]["exponent"] == pytest.approx(0.4, abs=0.05)
    needed = hours_needed(curves["mr"], "mr", 0.15)
    assert needed.low < 32 - 16 < needed.high  # 0.6 x 32 ^ -0.4 is 0.15
