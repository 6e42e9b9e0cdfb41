"""Experiments count how calls went, for every kind; harm on a guard ends one, and luck seldom does."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context
from ml_backend.models import routing
from ml_backend.outcomes import call_outcomes, outcome_reports
from tests.training.experiments.test_experiment_watch import begin, context, row, watch, work
from tests.training.quality.rows import Rows
from training.experiments import arm_figures, experiment_measures, experiment_watch
from training.experiments.arm_figures import ArmCall
from training.experiments.experiment_measures import MEASURES

__all__ = ["begin", "context"]
CHAMPION, CHALLENGER = routing.CHAMPION, routing.CHALLENGER


def answered(context: Context, experiment_id: int | None, call: str, arm: str | None, **values: Any) -> None:
    """What `serve` wrote of a call."""
    mine = {"call_sid": call, "kind": "nlu", "experiment_id": experiment_id, "arm": arm, "requests": 1, **values}
    with context.db.transaction() as connection:
        connection.execute(sa.insert(tables.outcomes).values(**mine))


def reported(context: Context, call: str, **said: Any) -> None:
    call_outcomes.store(context, outcome_reports.checked(call, said), source=call_outcomes.API)


def many(
    context: Context, experiment_id: int, chances: dict[str, float], *, late: dict[str, float], number: int
) -> None:
    """Calls that were answered and reported on, in one transaction for each fifty."""
    random_ = random.Random(7)
    rows = []
    for each in range(number):
        arm = random_.choice([CHAMPION, CHALLENGER])
        success = random_.random() < chances[arm]
        latency_s = late[arm] * random_.uniform(0.7, 1.3)
        served = {"kind": "nlu", "experiment_id": experiment_id, "arm": arm, "latency_s": latency_s, "success": None}
        said = {"kind": "call", "experiment_id": None, "arm": None, "latency_s": None, "success": success}
        rows += [{"call_sid": f"c{each}", **served}, {"call_sid": f"c{each}", **said}]
    for at in range(0, len(rows), 50):
        with context.db.transaction() as connection:
            connection.execute(sa.insert(tables.outcomes), rows[at : at + 50])


def calls_of(context: Context, experiment_id: int) -> list[ArmCall]:
    with context.db.reading() as connection:
        return arm_figures.of(connection, row(context, experiment_id))


def test_every_outcome_of_each_side_has_its_count_and_interval(context: Context, begin: Callable[..., int]) -> None:
    experiment_id = begin(model_kind="nlu")
    for number in range(20):
        arm = CHALLENGER if number % 2 else CHAMPION
        answered(context, experiment_id, f"c{number}", arm, latency_s=0.1 + 0.01 * number)
        if number < 18:
            reported(context, f"c{number}", success=number % 4 < 2, automated=True, satisfaction=0.5)
    watch(context)
    outcome = row(context, experiment_id).outcome
    assert outcome["primary"] == "success"
    told = outcome["measures"]
    assert (told["success"][CHAMPION]["calls"], told["success"][CHAMPION]["value"]) == (9, 0.55556)
    assert told["success"][CHAMPION]["low"] < 0.5 < told["success"][CHALLENGER]["high"]
    assert told["automation"][CHALLENGER] == pytest.approx(
        {"calls": 9, "value": 1.0, "low": 0.70, "high": 1.0}, abs=0.01
    )
    assert told["satisfaction"][CHALLENGER]["value"] == 0.5
    late = told["latency"][CHALLENGER]
    assert (late["calls"], late["value"], late["p50"]) == (10, 0.2, 0.2)
    assert late["low"] < 0.2 < late["high"]
    assert "nlu drafts" in told["wer"]["not_measured"]
    assert told["success"]["not_measured"] is None


def test_a_call_is_on_the_side_that_answered_it_else_on_the_side_of_its_id(
    context: Context, begin: Callable[..., int]
) -> None:
    reported(context, "before", success=True)
    experiment_id = begin(model_kind="nlu", traffic_share=0.5)
    experiment = row(context, experiment_id)
    by_id = {f"c{number}": routing.arm_of(experiment, f"c{number}") for number in range(20)}
    assert set(by_id.values()) == {CHAMPION, CHALLENGER}
    other = {CHAMPION: CHALLENGER, CHALLENGER: CHAMPION}
    answered(context, experiment_id, "c0", other[by_id["c0"]])
    answered(context, None, "c1", None)  # a model was asked for by name: no side
    for call in by_id:
        reported(context, call, success=True, latencies_s={"nlu": 0.2, "asr": 9})
    found = {call.key: (call.arm, call.success, call.latency_s) for call in calls_of(context, experiment_id)}
    expected = {call: (arm, True, 0.2) for call, arm in by_id.items() if call != "c1"}
    assert found == expected | {"c0": (other[by_id["c0"]], True, 0.2)}


def test_what_annotators_did_and_how_the_call_went_are_one_call(
    context: Context, rows: Rows, begin: Callable[..., int]
) -> None:
    experiment_id = begin()
    work(rows, experiment_id, 1, CHALLENGER, 5)
    with context.db.transaction() as connection:
        connection.execute(sa.update(tables.recordings).values(call_sid="c1"))
    reported(context, "c1", success=False)
    [call] = calls_of(context, experiment_id)
    assert (call.key, call.arm, call.word_edits, call.success) == ("c1", CHALLENGER, 5, False)


def test_less_success_withdraws_and_more_success_is_better(context: Context, begin: Callable[..., int]) -> None:
    worse = begin(model_kind="nlu", options={"primary": "success", "guards": []})
    many(context, worse, {CHAMPION: 0.85, CHALLENGER: 0.5}, late={CHAMPION: 0.1, CHALLENGER: 0.1}, number=400)
    watch(context)
    ended = row(context, worse)
    assert ended.state == "withdrawn"
    assert "worse in success: -" in ended.reason
    with context.db.transaction() as connection:
        connection.execute(sa.delete(tables.outcomes))
    better = begin(name="better", model_kind="nlu", options={"primary": "success", "guards": []})
    many(context, better, {CHAMPION: 0.5, CHALLENGER: 0.85}, late={CHAMPION: 0.1, CHALLENGER: 0.1}, number=400)
    watch(context)
    ended = row(context, better)
    assert ended.state == "decided"
    assert "better in success: +" in ended.reason
    assert ended.outcome["difference"] > 0
    assert ended.outcome["interval"][0] > 0


@pytest.mark.parametrize(
    ("chances", "late", "said"),
    [
        ({CHAMPION: 0.9, CHALLENGER: 0.5}, {CHAMPION: 0.1, CHALLENGER: 0.1}, "Success is"),
        ({CHAMPION: 0.7, CHALLENGER: 0.7}, {CHAMPION: 0.1, CHALLENGER: 0.2}, "Latency is 0.19"),
    ],
)
def test_harm_on_a_guard_withdraws_by_itself_with_its_figures(
    context: Context, begin: Callable[..., int], chances: dict[str, float], late: dict[str, float], said: str
) -> None:
    experiment_id = begin(model_kind="nlu", options={"primary": "satisfaction"})
    many(context, experiment_id, chances, late=late, number=400)
    watch(context)
    ended = row(context, experiment_id)
    assert ended.state == "withdrawn"
    assert said in ended.reason
    assert "margin" in ended.reason
    assert sum(guard["harmed"] for guard in ended.outcome["guards"]) == 1
    assert sum(guard["alpha"] for guard in ended.outcome["guards"]) == pytest.approx(experiment_watch.ALPHA)


def test_harm_within_the_margin_is_accepted(context: Context, begin: Callable[..., int]) -> None:
    options = {"primary": "satisfaction", "margins": {"latency": 1.5, "success": 0.5}}
    experiment_id = begin(model_kind="nlu", options=options)
    many(context, experiment_id, {CHAMPION: 0.9, CHALLENGER: 0.5}, late={CHAMPION: 0.1, CHALLENGER: 0.2}, number=400)
    watch(context)
    assert row(context, experiment_id).state == "running"


def test_in_shadow_latency_is_shown_call_by_call_and_decides_nothing(
    context: Context, begin: Callable[..., int]
) -> None:
    experiment_id = begin(model_kind="nlu", kind=routing.SHADOW, traffic_share=1.0)
    for number in range(60):
        late = {"version": "small-2", "requests": 1, "latency_s": 0.2 + 0.001 * number, "compared": 1, "differing": 0}
        answered(context, experiment_id, f"c{number}", CHAMPION, latency_s=0.1, shadow=late if number < 55 else None)
    watch(context)
    ended = row(context, experiment_id)
    assert (ended.state, ended.outcome["primary"], ended.outcome["observations"]) == ("running", "latency", 55)
    assert ended.outcome["guards"] == []
    assert ended.outcome["shadowed"] == {"requests": 55, "compared": 55, "differing": 0, "dropped": 0, "failed": 0}
    assert "shadow" in ended.outcome["measures"]["success"]["not_measured"]


def test_a_version_that_gives_no_answer_is_not_the_faster_one(context: Context, begin: Callable[..., int]) -> None:
    experiment_id = begin(model_kind="nlu", traffic_share=0.5)
    for number in range(120):
        side = CHALLENGER if number % 2 else CHAMPION
        fails = {"failed": 1, "requests": 2} if side == CHALLENGER and number % 4 == 1 else {}
        answered(context, experiment_id, f"c{number}", side, latency_s=0.05 if side == CHALLENGER else 0.1, **fails)
    watch(context)
    ended = row(context, experiment_id)
    assert ended.outcome["measures"]["latency"][CHALLENGER]["value"] > 10
    assert ended.state == "withdrawn"


def test_one_experiment_that_cannot_be_measured_holds_up_no_other(
    context: Context, begin: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(model_kind="nlu", traffic_share=0.5)
    asked: list[str] = []

    def broken(_: Context, experiment: Any) -> None:
        asked.append(experiment.name)
        raise ValueError("a figure that nobody foresaw")

    monkeypatch.setattr(experiment_watch, "look", broken)
    experiment_watch.watch_experiments(context)
    assert len(asked) == 1


def test_experiments_of_two_kinds_run_side_by_side(context: Context, begin: Callable[..., int]) -> None:
    with context.db.transaction() as connection:
        values = {"version": "hears", "kind": "asr", "location": "hub:x", "manifest": {}, "languages": []}
        made = sa.insert(tables.model_versions).values(**values).returning(tables.model_versions.c.id)
        alias = {"kind": "asr", "language": "*", "alias": "champion", "revision": 1}
        version_id = connection.execute(made).scalar_one()
        connection.execute(sa.insert(tables.aliases).values(model_version_id=version_id, **alias))
    parses = begin(model_kind="nlu")
    watch(context)
    assert row(context, parses).state == "running", "the champion of another kind is none of it"
    assert experiment_watch.is_running(context, kind="nlu")
    assert not experiment_watch.is_running(context)
    assert routing.Routes(context).challengers() == []


def test_one_look_reads_the_experiment_and_not_the_history(
    context: Context, rows: Rows, begin: Callable[..., int]
) -> None:
    experiment_id = begin()
    work(rows, experiment_id, 1, CHAMPION, 1)
    for number in range(2, 6):
        rows.task(number, state="annotated")
        rows.annotation(number, number)
    with context.db.reading() as connection:
        mine = arm_figures.reviews(connection, arm_figures.Scope(experiment_id=experiment_id))
        plan = connection.execute(sa.text("EXPLAIN QUERY PLAN SELECT id FROM tasks WHERE experiment_id = 1")).all()
    assert [review.task_id for review in mine] == [1]
    if context.db.is_sqlite:
        assert "ix_tasks_experiment_id" in str(plan)


def simulated(chances: tuple[float, float], late: tuple[float, float], *, times: int, calls: int, seed: int) -> float:
    """The share of experiments that a guard ends, where somebody looks after every fortieth call."""
    random_, ended = random.Random(seed), 0
    experiment: Any = SimpleNamespace(kind=routing.AB, model_kind="nlu", traffic_share=0.5, options={"primary": "wer"})
    plan = experiment_watch.Plan.of(experiment)
    at = tables.now()
    for _ in range(times):
        made = []
        for number in range(calls):
            other = random_.random() < 0.5
            made.append(ArmCall(
                f"c{number}", CHALLENGER if other else CHAMPION, at + timedelta(seconds=number),
                success=random_.random() < chances[other], latency_s=random_.expovariate(1 / late[other]),
            ))  # fmt: skip
        ended += any(
            experiment_watch._guard(made[:seen], experiment, plan, name)["harmed"]
            for seen in range(80, calls + 1, 40)
            for name in plan.guards
        )
    return ended / times


def test_guards_end_an_equal_challenger_in_fewer_than_one_of_twenty_experiments() -> None:
    assert simulated((0.8, 0.8), (0.2, 0.2), times=60, calls=400, seed=3) <= experiment_watch.ALPHA
    success, latency = (experiment_measures.MARGINS[name] for name in ("success", "latency"))
    at_the_margin = simulated((0.8, 0.8 - success), (0.2, 0.2 * (1 + latency)), times=60, calls=400, seed=4)
    assert at_the_margin <= experiment_watch.ALPHA


def test_guards_find_real_harm() -> None:
    assert simulated((0.85, 0.55), (0.2, 0.2), times=20, calls=400, seed=5) >= 0.9
    assert simulated((0.8, 0.8), (0.2, 0.5), times=20, calls=400, seed=6) >= 0.9


def test_more_is_harm_for_every_measure_after_one_place_turned_it() -> None:
    for measure in MEASURES.values():
        worse, fine = (0.9, 0.1) if measure.lower_is_better else (0.1, 0.9)
        assert measure.harm(worse) > measure.harm(fine), measure.name
