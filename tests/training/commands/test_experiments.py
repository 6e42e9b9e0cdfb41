"""`experiments start` and `show`: what decides is chosen and checked, and the tables fit a narrow terminal."""

from __future__ import annotations

import json
import random

import pytest
import sqlalchemy as sa

from ml_backend import tables
from tests.training.commands.test_models import context, name, run

__all__ = ["context"]


def options(context):
    (row,) = context.db.rows(sa.select(tables.experiments))
    return row.options


def test_what_decides_is_chosen_and_what_can_never_be_measured_is_refused(context, capsys):
    equal = name(context, "equal")
    for words in (
        ("--primary", "x"), ("--guard", "wer"), ("--shadow", "--primary", "success"), ("--success-margin", "2"),
        ("--share", "1"),
    ):  # fmt: skip
        assert run_code(capsys, "experiments", "start", equal, *words) != 0, words
    assert context.db.rows(sa.select(tables.experiments)) == []
    run(
        capsys, "experiments", "start", equal, "--primary", "edit-rate", "--guard", "latency", "--latency-margin", "0.3"
    )
    assert options(context) == {
        "primary": "edit-rate", "guards": ["latency"], "margins": {"success": 0.02, "latency": 0.3}
    }  # fmt: skip
    assert run_code(capsys, "experiments", "start", equal, "--name", "second") != 0, "one of a kind at a time"


def run_code(capsys, *words):
    from ml_backend.commands import command_line

    code = command_line.main(list(words))
    capsys.readouterr()
    return code


def test_every_outcome_has_a_table_that_fits_forty_columns_and_the_same_numbers_as_json(context, capsys):
    run(capsys, "experiments", "start", name(context, "equal"), "--name", "try")
    (experiment,) = context.db.rows(sa.select(tables.experiments))
    assert experiment.options["primary"] == "wer"
    random_ = random.Random(3)
    rows = []
    for number in range(60):
        served = {"experiment_id": experiment.id, "arm": random_.choice(["champion", "challenger"])}
        rows += [
            {"call_sid": f"c{number}", "kind": "asr", "latency_s": 0.2 + number / 10, "success": None, **served},
            {"call_sid": f"c{number}", "kind": "call", "latency_s": None, "success": number % 3 > 0,
             "experiment_id": None, "arm": None},
        ]  # fmt: skip
    for at in range(0, len(rows), 40):
        with context.db.transaction() as connection:
            connection.execute(sa.insert(tables.outcomes), rows[at : at + 40])
    said = run(capsys, "experiments", "show", "try")
    body = said.partition("\n\n")[2].splitlines()
    assert max(map(len, (line for line in body if not line.startswith("not measured")))) <= 40
    for title in ("words corrected: less is better, decides", "success: more is better", "latency: less is better"):
        assert title in said
    assert "not measured: no draft of it was annotated yet" in said
    assert "Guard success: not harmed, 60 calls," in said
    told = json.loads(run(capsys, "experiments", "show", "try", "--json"))
    success = told["outcome"]["measures"]["success"]
    assert success["champion"]["calls"] + success["challenger"]["calls"] == 60
    assert f"{100 * success['champion']['value']:.1f} %" in said
    assert [guard["measure"] for guard in told["outcome"]["guards"]] == ["latency", "success"]
    assert (told["model_kind"], told["options"]["primary"]) == ("asr", "wer")


@pytest.mark.parametrize("guard", ["none", ""])
def test_guards_may_be_left_out(context, capsys, guard):
    run(capsys, "experiments", "start", name(context, "equal"), "--guard", guard)
    assert options(context)["guards"] == []
