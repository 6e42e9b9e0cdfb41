"""The corpus of the bundled parser: exact offsets, families on one side, the same on every run."""

import unicodedata

import pytest

from ml_backend.models import manifest
from ml_backend.nlu import loading
from training.demo_intents import encoder_maker, intent_corpus


@pytest.fixture(scope="module", params=["shop", "clinic"])
def rows(request):
    return intent_corpus.utterances(request.param, seed=7)


def test_every_entity_is_where_the_row_says(rows):
    found = [(row, each) for row in rows for each in row.entities]
    assert len(found) > 200
    assert not [row.id for row, each in found if row.text[each["start"] : each["end"]] != each["value"]]
    starts = [row.text[each["start"]] for row, each in found]
    assert not [letter for letter in starts if unicodedata.category(letter).startswith("M")]


def test_the_wordings_of_a_family_are_on_one_side_and_only_people_are_tested(rows):
    sides = {}
    for row in rows:
        assert sides.setdefault(row.family, row.split) == row.split
    assert {row.source for row in rows if row.split == intent_corpus.TEST} == {"human"}
    ids = {row.id for row in rows}
    assert not [row.id for row in rows if (row.parent in ids) != (row.source == "auto")]
    intents = {row.intent for row in rows}
    for split in (intent_corpus.TRAIN, intent_corpus.VALIDATION, intent_corpus.TEST):
        assert {row.intent for row in rows if row.split == split} == intents


def test_no_text_stands_twice_and_a_seed_says_all(rows):
    domain = rows[0].family.partition("-")[0]
    assert len({row.text for row in rows}) == len(rows)
    assert rows == intent_corpus.utterances(domain, seed=7)
    assert rows != intent_corpus.utterances(domain, seed=8)


def test_the_bundled_parser_is_of_this_corpus_and_its_weights_are_beside_it():
    served, weights = manifest.verify(loading.BUNDLED_PARSER), manifest.verify(encoder_maker.WEIGHTS_FOLDER)
    assert served.needs == weights.needs
    assert set(served.needs["intents"]) == {each.intent for each in intent_corpus.wordings("shop")}
    assert set(served.needs["money_intents"]) == set(encoder_maker.MONEY_INTENTS)
    assert (served.kind, served.name) == ("nlu", encoder_maker.NAME)
