"""What the team's corrections have taught -> three reports: the order of work, what drafts save, the learning curve.

The job `learn-usefulness` computes them (training/usefulness) and stores them in `summaries`; here they are read and
put into words. Only the list of the most useful open tasks is read now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import sqlalchemy as sa
from pydantic import Field

from ml_backend import setting_values
from ml_backend.context import Context
from ml_backend.languages import name_of
from ml_backend.tables import projects, summaries, tasks
from ml_backend.usefulness import curve_reading, team_model
from ml_backend.usefulness.team_model import EVERY, LEAST_CORRECTIONS, TeamModel
from ml_backend.views.queries import Query, Whole

CURVES, SAVINGS = "learning-curve", "draft-savings"
NOT_YET = "The job learn-usefulness has not run yet; it runs every hour while the relay and the worker of sync run."
MOST_TASKS = 20
CONFIDENCES = (0.2, 0.4, 0.6, 0.8, 0.95)  # at which expected errors are shown


class HoursQuery(Query):
    """Which languages, and to which WER."""

    target: Annotated[Whole | None, Field(description="WER in percent; else the target of the success metric.")] = None
    language: Annotated[str | None, Field(max_length=10, description="Only this one, e.g. mr.")] = None


def of_usefulness(context: Context, query: Query) -> dict[str, Any]:
    """What orders the work: expected errors, minutes, weights, and the most useful open tasks with their reasons."""
    made_at, _ = _stored(context, team_model.NAME)
    with context.db.reading() as connection:
        model = team_model.read(connection)
    return {
        "made_at": made_at,
        "note": NOT_YET if made_at is None else "",
        "corrections": model.corrections,
        "typical_gain_per_minute": model.typical_gain,
        "minutes_per_audio_minute": _minutes(model),
        "break_even": _break_even(model),
        "expected_errors": list(_errors(model)),
        "languages": [{"language": language, "weight": weight} for language, weight in model.worth.items()],
        "slices": [
            {"kind": kind, "slice": name, "weight": weight}
            for kind, names in model.slices.items() for name, weight in names.items()
        ],
        "most_useful": _most_useful(context),
    }  # fmt: skip


def of_drafts(context: Context, query: Query) -> dict[str, Any]:
    """Minutes that drafts saved or cost, by how wrong they were, and where the break-even lies."""
    made_at, body = _stored(context, SAVINGS)
    with context.db.reading() as connection:
        model = team_model.read(connection)
    nothing = {"annotations": 0, "saved_min": None, "note": "too few to say"}
    return {
        "made_at": made_at,
        "note": NOT_YET if made_at is None else "",
        "poor_drafts_are_left_out": context.settings.leave_out_poor_drafts,
        "break_even": _break_even(model),
        "without_a_draft": body.get("from_nothing", {}),
        "with_a_draft": body.get("all", nothing),
        "bands": body.get("bands", []),
        "left_out": body.get("left_out", nothing),
    }


def of_learning_curve(context: Context, query: HoursQuery) -> dict[str, Any]:
    """WER against hours of annotation, and how many more hours each language needs to reach a WER."""
    made_at, body = _stored(context, CURVES)
    usual = setting_values.success_targets(context.settings.success_targets)[0]["asr_wer"]
    target = query.target / 100 if query.target else usual
    curves = {
        language: curve
        for language, curve in sorted((body.get("languages") or {}).items())
        if query.language in (None, language)
    }
    return {
        "made_at": made_at,
        "note": NOT_YET if made_at is None else "" if curves else "No version that was trained here is evaluated yet.",
        "target": target,
        "languages": [_needed(language, curve, target) for language, curve in curves.items()],
        "points": [
            {"language": language, **point} for language, curve in curves.items() for point in curve.get("points", ())
        ],
        "curve": [
            {"language": language, **point} for language, curve in curves.items() for point in _drawn(curve)
        ],
    }  # fmt: skip


def usefulness_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """For a terminal."""
    yield found["note"] or f"Learnt from {found['corrections']:,} corrections, {found['made_at']}."
    yield from _common_lines(found)
    for one in found["expected_errors"]:
        yield f"{one['language']}: confidence {one['confidence']:g} -> {_percent(one['error'])} wrong ({one['basis']})"
    for one in found["languages"]:
        yield f"an error of {one['language']} weighs {one['weight']:g}"
    for one in found["slices"]:
        yield f"{one['kind']} {one['slice']} weighs {one['weight']:g}"
    for one in found["most_useful"]:
        yield f"{one['usefulness']:.3f}  task {one['task']} in {one['project']}: {one['reason']}"


def drafts_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """For a terminal."""
    yield found["note"] or f"Counted {found['made_at']}."
    yield from _common_lines(found)
    for name, one in (("all drafts", found["with_a_draft"]), *((b["errors"], b) for b in found["bands"])):
        yield f"{name}: {one['annotations']:,} annotations, {_saved(one)}"
    yield f"drafts left out: {found['left_out']['annotations']:,} annotations, {_saved(found['left_out'])}"
    if not found["poor_drafts_are_left_out"]:
        yield "LEAVE_OUT_POOR_DRAFTS is off: every draft is shown."


def curve_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """For a terminal."""
    if found["note"]:
        yield found["note"]
    for one in found["languages"]:
        yield one["said"]
    for one in found["points"]:
        between = f"{_percent(one['low'])} to {_percent(one['high'])}"
        yield (
            f"{one['language']}: {one['hours']:.1f} hours, WER {_percent(one['wer'])} ({between}, {one['calls']:,} "
            f"calls), {one['version']} on test set {one['test']}"
        )


def _stored(context: Context, name: str) -> tuple[str | None, Mapping[str, Any]]:
    found = context.db.rows(sa.select(summaries.c.body, summaries.c.made_at).where(summaries.c.name == name))
    return (found[0].made_at.isoformat(timespec="seconds"), found[0].body) if found else (None, {})


def _minutes(model: TeamModel) -> dict[str, Any]:
    minutes = model.minutes
    return {
        "perfect_draft": minutes.base, "per_error_per_word": minutes.per_error, "without_a_draft": minutes.from_nothing,
        "annotations_with_a_draft": minutes.drafted, "annotations_without": minutes.undrafted,
    }  # fmt: skip


def _break_even(model: TeamModel) -> dict[str, Any]:
    even = model.break_even
    basis = "measured on this team" if even.measured else "from the literature, until the team's own times are enough"
    return {
        "wer": even.value, "low": even.low, "high": even.high, "basis": basis,
        "annotations_with_a_draft": even.drafted, "annotations_without": even.undrafted,
    }  # fmt: skip


def _errors(model: TeamModel) -> Iterator[dict[str, Any]]:
    """The expected error at some confidences, per language."""
    for language in model.errors or (EVERY,):
        curve = model.errors.get(language)
        corrections = curve.corrections if curve else 0
        enough = "" if corrections >= LEAST_CORRECTIONS else ", too few to leave out a draft"
        for confidence in CONFIDENCES:
            yield {
                "language": "all" if language == EVERY else language, "confidence": confidence,
                "error": model.expected_error(language, confidence), "corrections": corrections,
                "basis": f"{corrections:,} corrections{enough}" if curve else "the model's confidence alone",
            }  # fmt: skip


def _most_useful(context: Context) -> list[dict[str, Any]]:
    statement = (
        sa.select(
            tasks.c.ls_task_id, tasks.c.recording_id, projects.c.title, projects.c.ls_project_id, tasks.c.usefulness,
            tasks.c.usefulness_reason, tasks.c.expected,
        )
        .join(projects, projects.c.id == tasks.c.project_id)
        .where(tasks.c.state == "open", tasks.c.usefulness.is_not(None))
        .where(tasks.c.ls_task_id.is_not(None), tasks.c.recording_id.is_not(None))
        .order_by(tasks.c.usefulness.desc(), tasks.c.id)
        .limit(MOST_TASKS)
    )  # fmt: skip
    return [
        {
            "task": row.ls_task_id, "recording": row.recording_id, "project": row.title or str(row.ls_project_id),
            "usefulness": row.usefulness, "expected_error": (row.expected or {}).get("error"),
            "minutes": (row.expected or {}).get("minutes"), "reason": row.usefulness_reason or "",
        }
        for row in context.db.rows(statement)
    ]  # fmt: skip


def _needed(language: str, curve: Mapping[str, Any], target: float) -> dict[str, Any]:
    found = curve_reading.hours_needed(curve, language, target)
    return {
        "language": language, "name": name_of(language), "hours": curve.get("hours"), "said": found.sentence,
        "more_hours": found.hours, "low": found.low, "high": found.high, "versions": len(curve.get("points", ())),
    }  # fmt: skip


def _drawn(curve: Mapping[str, Any]) -> Iterator[dict[str, float]]:
    """Points of the fitted curve with their 95 % interval, from a third of the hours used to three times them."""
    if not curve.get("fit"):
        return
    fit, now = curve["fit"], float(curve["hours"])
    for step in range(13):
        hours = now * 3 ** ((step - 6) / 6)
        drawn = sorted(curve_reading.wer_at(one, hours) for one in curve["draws"])
        low, high = (drawn[round(share * (len(drawn) - 1))] for share in (0.025, 0.975))
        wer = curve_reading.wer_at((fit["scale"], fit["exponent"], fit["floor"]), hours)
        yield {"hours": round(hours, 2), "wer": round(wer, 4), "low": round(low, 4), "high": round(high, 4)}


def _common_lines(found: Mapping[str, Any]) -> Iterator[str]:
    even = found["break_even"]
    yield (
        f"A draft costs time above {_percent(even['wer'])} wrong words ({_percent(even['low'])} to "
        f"{_percent(even['high'])}, {even['basis']}; {even['annotations_with_a_draft']:,} annotations with a draft, "
        f"{even['annotations_without']:,} without)."
    )


def _saved(one: Mapping[str, Any]) -> str:
    if one.get("saved_min") is None:
        return str(one.get("note") or "too few to say")
    word = "saved" if one["saved_min"] >= 0 else "lost"
    return f"{abs(one['saved_min']):,.1f} minutes {word} (95 % {one['low']:,.1f} to {one['high']:,.1f})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
