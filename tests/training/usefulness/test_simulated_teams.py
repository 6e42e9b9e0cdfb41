"""Simulated teams, whose truth is known: the order of work and the choice of drafts save them minutes."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from ml_backend.usefulness.draft_choice import choose_draft
from ml_backend.usefulness.team_model import PRIOR, TeamModel
from tests.training.usefulness import simulated_team
from tests.training.usefulness.simulated_team import (
    SimulatedTask,
    Team,
    at_random,
    least_confident,
    minutes_to,
    most_useful,
    pile,
)

SEEDS = (1, 2, 3)
TARGET = 0.22  # of all calls, from 0.30 at first


@pytest.mark.parametrize("seed", SEEDS)
def test_the_order_of_work_reaches_the_target_in_fewer_minutes_than_random_and_than_least_confidence(seed: int) -> None:
    ours = minutes_to(TARGET, most_useful, seed=seed)
    assert ours < 0.9 * minutes_to(TARGET, at_random, seed=seed)
    assert ours < 0.75 * minutes_to(TARGET, least_confident, seed=seed)


def test_what_is_learnt_makes_the_order_and_not_the_formula_alone() -> None:
    """The same formula with the priors believes a confidence that means something else in each language."""

    def by_the_priors(tasks: Sequence[SimulatedTask], team: Team) -> list[SimulatedTask]:
        return sorted(tasks, key=lambda task: simulated_team.gain(PRIOR, task, team), reverse=True)

    assert minutes_to(TARGET, most_useful, seed=1) < 0.75 * minutes_to(TARGET, by_the_priors, seed=1)


Shown = Callable[[SimulatedTask, Team, TeamModel], bool]


def by_rule(task: SimulatedTask, team: Team, model: TeamModel) -> bool:
    return choose_draft(
        model, task_key=str(task.number), reason="review", language=task.language, confidence=task.confidence(team),
        model_version="small-1",
    ).shown  # fmt: skip


def always(task: SimulatedTask, team: Team, model: TeamModel) -> bool:
    return True


def never(task: SimulatedTask, team: Team, model: TeamModel) -> bool:
    return False


def by_the_truth(task: SimulatedTask, team: Team, model: TeamModel) -> bool:
    return simulated_team.BASE + simulated_team.PER_ERROR * task.error(team) < simulated_team.FROM_NOTHING


def minutes_of(shown: Shown, *, seed: int, harder: float) -> float:
    """Minutes for 1500 calls after 300 from which the team's times are learnt, one in three of them blind."""
    team = Team(random.Random(seed))
    team.wer = {place: wer * harder for place, wer in team.wer.items()}
    tasks = [task for task in pile(seed, 2400) if not task.junk][:1800]
    for task in tasks[:300]:
        team.work(task, draft=bool(task.number % 3))
    model = team.learnt()
    return sum(team.work(task, draft=shown(task, team, model)) for task in tasks[300:])


@pytest.mark.parametrize("seed", SEEDS)
def test_leaving_out_poor_drafts_takes_fewer_minutes_than_always_and_than_never_drafting(seed: int) -> None:
    rule = minutes_of(by_rule, seed=seed, harder=0.6)
    assert rule < 0.95 * minutes_of(always, seed=seed, harder=0.6)
    assert rule < 0.95 * minutes_of(never, seed=seed, harder=0.6)
    assert rule < 1.08 * minutes_of(by_the_truth, seed=seed, harder=0.6)


@pytest.mark.parametrize(("harder", "right"), [(0.25, always), (2.2, never)])
def test_a_team_whose_drafts_are_all_good_or_all_poor_loses_little_by_the_rule(harder: float, right: Shown) -> None:
    """What is lost where all drafts are poor is the one in ten that is still shown, to measure."""
    assert minutes_of(by_rule, seed=1, harder=harder) < 1.08 * minutes_of(right, seed=1, harder=harder)


def test_the_break_even_that_is_learnt_is_near_the_true_one_and_inside_its_interval() -> None:
    true = (simulated_team.FROM_NOTHING - simulated_team.BASE) / simulated_team.PER_ERROR
    team = Team(random.Random(5))
    for task in pile(5, 700):
        team.work(task, draft=bool(task.number % 3))
    learnt = team.learnt().break_even
    assert learnt.measured
    assert learnt.low < true < learnt.high
    assert abs(learnt.value - true) < 0.05 < abs(PRIOR.break_even.value - true)
