"""Rewordings are found, other sentences are not joined, and the work grows with the number of texts."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

from tests.training.utterances.rows import bring_in, jsonl, open_in, row, stored
from training.utterances import paraphrase_families
from training.utterances.paraphrase_families import ALIKE, FamilyMember, families, pattern


def of_texts(*texts: str) -> list[str]:
    return families([FamilyMember(("t", str(at)), None, pattern(text)) for at, text in enumerate(texts)])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Cancel order 4521!", "cancel order 99"),
        ("मेरा ऑर्डर कैंसिल करो", "मेरा ऑर्डर कैंसिल कर दो"),
        ("mera order cancel karo please", "mera order cancel kar do please"),
        ("where is my parcel now", "where is my parcel, now?"),
    ],
)
def test_rewordings_are_one_family(one: str, other: str) -> None:
    assert len(set(of_texts(one, other))) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cancel my order", "track my refund"),
        ("हाँ", "नहीं"),
        ("yes", "no"),
        ("👍", "👎"),
        ("कहाँ है", "कब आएगा"),
        ("1", "?"),
    ],
)
def test_other_sentences_are_other_families(one: str, other: str) -> None:
    assert len(set(of_texts(one, other))) == 2


def test_the_value_of_an_entity_makes_no_other_sentence() -> None:
    def member(city: str) -> FamilyMember:
        text = f"ship it to {city}"
        entities = [{"entity": "city", "start": 11, "end": len(text), "value": city}]
        return FamilyMember(("t", city), None, pattern(text, entities))

    assert len(set(families([member("Pune"), member("Thiruvananthapuram"), member("कोल्हापूर")]))) == 1


def test_one_text_with_other_entities_is_no_other_sentence() -> None:
    city = [{"entity": "city", "start": 8, "end": 12, "value": "Pune"}]
    members = [
        FamilyMember(("t", str(number)), None, pattern("ship to Pune", marked), pattern("ship to Pune"))
        for number, marked in enumerate(([], city))
    ]
    assert len(set(families(members))) == 1


def test_a_row_belongs_to_the_row_it_rewords_and_to_its_siblings_where_that_is_gone() -> None:
    def member(name: str, parent: str | None, text: str) -> FamilyMember:
        return FamilyMember(("t", name), ("t", parent) if parent else None, pattern(text))

    found = families([
        member("1", None, "cancel it"), member("2", "1", "I do not want this any more"), member("3", "2", "रद्द करो"),
        member("4", "gone", "where is it"), member("5", "gone", "कहाँ है"), member("6", "6", "its own parent"),
    ])  # fmt: skip
    assert found[0] == found[1] == found[2]
    assert found[3] == found[4]
    assert len(set(found)) == 3


def test_families_do_not_depend_on_the_order_of_rows() -> None:
    words = ["order", "refund", "cancel", "parcel", "कहाँ", "kab", "please", "now"]
    chance = random.Random(3)
    members = [FamilyMember(("t", str(at)), None, pattern(" ".join(chance.choices(words, k=4)))) for at in range(300)]
    first = dict(zip([each.name for each in members], families(members), strict=True))
    chance.shuffle(members)
    assert dict(zip([each.name for each in members], families(members), strict=True)) == first


def test_every_near_pair_of_a_thousand_texts_is_found() -> None:
    """Compared with looking at all pairs."""
    chance = random.Random(5)
    syllables = ["".join(each) for each in itertools.product("kmnrst", "aeiou")]
    words = ["".join(chance.choices(syllables, k=chance.randint(1, 4))) for _ in range(200)]
    texts = []
    for _ in range(150):
        sentence = chance.choices(words, k=6)
        for _ in range(6):
            other = list(sentence)
            other[chance.randrange(6)] = chance.choice(words)
            texts.append(" ".join(other))
    texts = sorted(set(texts))
    found = dict(zip(texts, of_texts(*texts), strict=True))
    grams = {text: {f" {text} "[at : at + 3] for at in range(len(text))} for text in texts}
    near = [
        (one, other)
        for one, other in itertools.combinations(texts, 2)
        if len(grams[one] & grams[other]) >= ALIKE * len(grams[one] | grams[other])
    ]
    missed = [pair for pair in near if found[pair[0]] != found[pair[1]]]
    assert len(near) > 500
    assert len(missed) <= len(near) / 500


def test_the_work_grows_with_the_number_of_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand texts that all begin alike: without the bound each is compared with all before it."""
    compared = 0

    class Counting(frozenset):  # type: ignore[type-arg]
        def __and__(self, other: object) -> frozenset[str]:
            nonlocal compared
            compared += 1
            return super().__and__(other)  # type: ignore[operator]

    monkeypatch.setattr(paraphrase_families, "frozenset", Counting, raising=False)
    chance = random.Random(7)

    def work(number: int) -> int:
        nonlocal compared
        compared = 0
        letters = "abcdefghijklmnopqrstuvwxyz"
        list(paraphrase_families.near([f"mera order {''.join(chance.choices(letters, k=14))}" for _ in range(number)]))
        return compared

    small, large = work(500), work(2000)
    assert small > 0
    assert large < 8 * small  # four times as many texts; all pairs would be sixteen times as many


def test_families_are_renewed_over_all_sources(tmp_path: Path) -> None:
    context = open_in(tmp_path)
    bring_in(context, jsonl(tmp_path / "a.jsonl", [row(n, f"track parcel number {n}") for n in range(200)]))
    before = {each.family for each in stored(context).values()}
    done = bring_in(context, jsonl(tmp_path / "b.jsonl", [row(900, "Track parcel number 7!"), row(901, "bye", "bye")]))
    assert len(before) == 1
    assert done.families == {"families": 2, "largest": 201, "utterances": 202}
    assert stored(context)["900"].family in before
