"""Whether a draft is shown: pure decisions about one task."""

from __future__ import annotations

from typing import Any

import pytest

from ml_backend.usefulness.draft_choice import DraftChoice, choose_draft, stored
from ml_backend.usefulness.team_model import LEAST_CORRECTIONS, BreakEven, ErrorCurve, TeamModel

LEARNT = TeamModel(
    errors={"hi": ErrorCurve((0.5,), (0.6, 0.05), 200), "mr": ErrorCurve((0.5,), (0.6, 0.05), LEAST_CORRECTIONS - 1)},
    break_even=BreakEven(0.3, 0.2, 0.4, 90, 40),
)


def choice(number: int = 1, model: TeamModel = LEARNT, **known: Any) -> DraftChoice:
    usual = {"reason": "review", "language": "hi", "confidence": 0.4, "model_version": "small-1"}
    return choose_draft(model, task_key=f"task {number}", **usual | known)


def shown(count: int = 2000, **known: Any) -> float:
    return sum(choice(number, **known).shown for number in range(count)) / count


def test_a_draft_above_the_break_even_is_left_out_but_for_one_in_ten_that_measures_what_drafts_cost() -> None:
    assert shown() == pytest.approx(0.1, abs=0.02)
    assert {choice(3) for _ in range(5)} == {choice(3)}
    why = next(one.why for one in map(choice, range(50)) if not one.shown)
    assert why == (
        "The draft is left out: about 60 % of its words are expected to be wrong, and above 30 % people write faster "
        "than they correct."
    )
    assert any("one in ten" in one.why for one in map(choice, range(50)) if one.shown)


@pytest.mark.parametrize(
    "known",
    [
        {"confidence": 0.8},
        {"reason": "audit"},
        {"in_experiment": True},
        {"asked_for": True},
        {"language": "mr"},
        {"language": None},
        {"model": TeamModel(errors=LEARNT.errors, break_even=BreakEven(0.7))},
        {"model": TeamModel()},
    ],
    ids=["sure", "audit", "experiment", "asked-for", "few-corrections", "no-language", "high-break-even", "untaught"],
)
def test_a_draft_is_shown_where_it_helps_or_measures_or_where_nothing_is_known(known: dict[str, Any]) -> None:
    assert shown(200, **known) == 1.0


def test_a_choice_is_kept_for_its_model_version_only() -> None:
    kept = choice(confidence=0.4)
    assert stored(kept.to_json(), "small-1") == kept
    assert stored(kept.to_json(), "small-2") is None
    assert stored(None, "small-1") is None
