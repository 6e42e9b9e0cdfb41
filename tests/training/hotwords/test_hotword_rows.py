"""The list of words and what a project decodes with say the same, on both kinds of database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.context import Context, open_context
from ml_backend.errors import InvalidInput
from ml_backend.jobs import enqueueing, schedules
from ml_backend.settings import Settings
from tests.ml_backend.conftest import database_url, postgres_server, postgres_url  # noqa: F401 - both kinds of database
from training.hotwords import draft_pairs, hotword_rows
from training.hotwords.collecting import Candidate, ConfusedForm


@pytest.fixture
def context(database_url: str, tmp_path: Path) -> Iterator[Context]:  # noqa: F811
    opened = open_context(Settings(_env_file=None, data_dir=tmp_path, database_url=database_url))
    with opened.db.transaction() as connection:
        connection.execute(sa.insert(tables.projects).values(instance_url="http://ls", ls_project_id=1))
    yield opened
    opened.db.dispose()


def candidate(word: str, *forms: ConfusedForm, seen: int = 3) -> Candidate:
    return Candidate("hi", word, seen, seen, seen, forms)


def suggest(context: Context, *candidates: Candidate) -> list[int]:
    with context.db.transaction() as connection:
        return hotword_rows.suggest(connection, 1, candidates)


def listed(context: Context) -> dict[str, Any]:
    return {one["word"]: one for one in draft_pairs.listed(context)}


def decide(context: Context, word: str, **check: Any) -> None:
    """As a check that a person asked for ends well."""
    with context.db.transaction() as connection:
        hotword_rows.approve(
            connection, hotword_rows.find(connection, word, project_id=None, language=None), who="anna"
        )
        row = hotword_rows.find(connection, word, project_id=None, language=None)
        assert hotword_rows.decide(connection, row, state=hotword_rows.APPROVED, check=check)


def learnt(context: Context) -> Any:
    return context.db.row(tables.projects, 1).learnt


def redrafts(context: Context) -> int:
    return len(enqueueing.find(context.db, names=["redraft-project"]))


def test_suggestions_come_and_go_with_the_corrections_and_decided_words_stay(context):
    suggest(context, candidate("Zylo", ConfusedForm("silo", 3, 3)), candidate("Pune"), candidate("Mia"))
    decide(context, "Zylo", way="correction", forms=["silo"])
    with context.db.transaction() as connection:
        hotword_rows.remove(
            connection, hotword_rows.find(connection, "Mia", project_id=None, language=None), who="anna"
        )
    suggest(context)
    assert {word: one["state"] for word, one in listed(context).items()} == {"Zylo": "approved", "Mia": "removed"}
    suggest(context, candidate("Mia", seen=9))
    assert (listed(context)["Mia"]["state"], listed(context)["Mia"]["recordings"]) == ("removed", 9)


def test_what_a_project_decodes_with_follows_every_decision_and_each_change_is_drafted_once(context):
    suggest(context, candidate("Zylo", ConfusedForm("silo", 3, 3)), candidate("Pune"))
    decide(context, "Zylo", way="both", forms=["silo", "sy low"])
    decide(context, "Pune", way="prompt", forms=[])
    assert learnt(context) == {
        "words": [["hi", "Pune"], ["hi", "Zylo"]],
        "corrections": [["hi", "silo", "Zylo"], ["hi", "sy low", "Zylo"]],
    }
    assert redrafts(context) == 1, "one job waits for both"
    with context.db.transaction() as connection:
        assert not hotword_rows.apply(connection, 1)
        for word in ("Zylo", "Pune"):
            hotword_rows.remove(
                connection, hotword_rows.find(connection, word, project_id=1, language="hi"), who="anna"
            )
    assert learnt(context) is None


def test_a_word_in_use_stays_in_use_while_it_is_checked_again(context):
    suggest(context, candidate("Zylo", ConfusedForm("silo", 3, 3)), candidate("Pune"))
    decide(context, "Zylo", way="correction", forms=["silo"])
    with context.db.transaction() as connection:
        hotword_rows.approve(
            connection, hotword_rows.find(connection, "Zylo", project_id=None, language=None), who="anna"
        )
    decide(context, "Pune", way="prompt", forms=[])
    assert learnt(context)["corrections"] == [["hi", "silo", "Zylo"]]


def test_a_new_way_of_hearing_an_approved_word_asks_for_a_new_check(context):
    suggest(context, candidate("Zylo", ConfusedForm("silo", 3, 3)))
    decide(context, "Zylo", way="correction", forms=["silo"])
    assert suggest(context, candidate("Zylo", ConfusedForm("silo", 3, 3), ConfusedForm("high low", 1, 1))) == []
    [row] = context.db.rows(sa.select(tables.hotwords))
    assert suggest(context, candidate("Zylo", ConfusedForm("silo", 3, 3), ConfusedForm("high low", 4, 4))) == [row.id]


def test_words_checked_with_a_model_that_no_longer_serves_are_found(context):
    suggest(context, candidate("Zylo", ConfusedForm("silo", 3, 3)))
    decide(context, "Zylo", way="correction", forms=["silo"], model_version="old")
    with context.db.transaction() as connection:
        assert schedules.hotwords_of_another_model(connection) == []  # nothing serves yet
        values = {"version": "new", "kind": "asr", "location": "x", "manifest": {}, "languages": []}
        connection.execute(sa.insert(tables.model_versions).values(**values))
        alias = {"kind": "asr", "language": "*", "alias": "champion", "model_version_id": 1}
        connection.execute(sa.insert(tables.aliases).values(**alias))
        [found] = schedules.hotwords_of_another_model(connection)
        [row] = connection.execute(sa.select(tables.hotwords)).all()
        assert found == {"hotword_id": row.id}
        db.update(connection, tables.hotwords, row.id, check={**row.check, "model_version": "new"})
        assert schedules.hotwords_of_another_model(connection) == []


@pytest.mark.parametrize("name", ["Nowhere", "99"])
def test_a_word_that_is_not_there_is_said_so(context, name):
    with context.db.reading() as connection, pytest.raises(InvalidInput) as raised:
        hotword_rows.find(connection, name, project_id=None, language=None)
    assert raised.value.code == "no-such-hotword"


@pytest.mark.parametrize("word", ["", " . ", "a, b", "x" * 121])
def test_what_is_no_word_is_refused(context, word):
    with context.db.transaction() as connection, pytest.raises(InvalidInput):
        hotword_rows.add(connection, word, project_id=1, language="hi")


def test_a_word_is_found_however_its_letters_were_put_together(context):
    typed, composed = "रिफ\u093c\u0902ड\u0301 caf\u0065\u0301", "रिफ\u093c\u0902ड\u0301 caf\u00e9"
    with context.db.transaction() as connection:
        row = hotword_rows.add(connection, f" {typed} ", project_id=1, language="hi")
        assert row.word == composed
        assert hotword_rows.add(connection, composed, project_id=1, language="hi").id == row.id
        assert hotword_rows.find(connection, typed, project_id=None, language=None).id == row.id
