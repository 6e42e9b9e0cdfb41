"""Which model version a call goes to: the same on every machine, in every process, at every repetition."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import Context
from ml_backend.models import registry, routing
from ml_backend.models.routing import Routes
from tests.ml_backend.models.test_registry import one, two

ROOT = Path(__file__).parents[3]

__all__ = ["one", "two"]


@pytest.fixture
def serving(context: Context, one: registry.Version, two: registry.Version) -> Context:
    registry.move_alias(context, one, expected_revision=0, who="asha", why="first")
    return context


def begin(context: Context, champion: str, challenger: str, **changes: object) -> int:
    values: dict[str, object] = {"name": "e", "champion": champion, "challenger": challenger, "salt": "s"}
    values |= {"traffic_share": 0.1} | changes
    with context.db.transaction() as connection:
        insert = sa.insert(tables.experiments).values(**values).returning(tables.experiments.c.id)
        return int(connection.execute(insert).scalar_one())


def test_without_an_experiment_the_champion_hears_everything(serving: Context, one: registry.Version) -> None:
    assert Routes(serving).choose("call-1").version.id == one.id
    assert Routes(serving).choose("call-1").arm is None


def test_a_share_of_the_calls_goes_to_the_challenger(
    serving: Context, one: registry.Version, two: registry.Version
) -> None:  # fmt: skip
    experiment_id = begin(serving, one.version, two.version)
    routes = Routes(serving)
    taken = [routes.choose(f"call-{number}") for number in range(4000)]
    other = [route for route in taken if route.version.id == two.id]
    assert 0.085 < len(other) / 4000 < 0.115
    assert all((route.arm == routing.CHALLENGER) == (route.version.id == two.id) for route in taken)
    assert {route.experiment_id for route in taken} == {experiment_id}


def test_in_shadow_people_see_the_champion(serving: Context, one: registry.Version, two: registry.Version) -> None:
    begin(serving, one.version, two.version, kind=routing.SHADOW, traffic_share=1.0)
    route = Routes(serving).choose("call-1")
    assert (route.version.id, route.shadow and route.shadow.id) == (one.id, two.id)


@pytest.mark.parametrize("ended", [{"state": "decided"}, {"language": "mr"}, {"champion": "another"}])
def test_an_experiment_that_does_not_apply_changes_nothing(
    serving: Context, one: registry.Version, two: registry.Version, ended: dict[str, str]
) -> None:  # fmt: skip
    begin(serving, **{"champion": one.version, "challenger": two.version, "traffic_share": 1.0} | ended)
    route = Routes(serving).choose("call-1", language="hi")
    assert (route.version.id, route.arm) == (one.id, None)


def test_an_experiment_in_a_language_takes_only_that_language(
    serving: Context, one: registry.Version, two: registry.Version
) -> None:  # fmt: skip
    begin(serving, one.version, two.version, language="mr", traffic_share=1.0)
    routes = Routes(serving)
    assert routes.choose("call-1", language="mr").version.id == two.id
    assert routes.choose("call-1", language="hi").version.id == one.id
    assert routes.choose("call-1").version.id == one.id


def test_the_side_of_a_call_does_not_depend_on_the_process() -> None:
    program = (
        "from ml_backend.models.routing import share_of; print(share_of('s', 'call-1'), share_of('s', 'c\u0949l'))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT, env={"PYTHONHASHSEED": seed, "PATH": os.defpath}, capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    here = [routing.share_of("s", key) for key in ("call-1", "c\u0949l")]
    assert said == {f"{here[0]} {here[1]}\n"}
    assert routing.share_of("s", "call-1") != routing.share_of("another", "call-1")
