"""Which utterances people are asked about: the uncertain and the rare first, a share by chance, few of one caller."""

from __future__ import annotations

from training.utterances.utterance_choice import CHANCE_SHARE, KnownUtterances, UtteranceCandidate, choose


def one(number: int, **values: object) -> UtteranceCandidate:
    common = {
        "name": f"n{number}", "text": f"t{number}", "intent": "track", "language": "en", "group": f"g{number}",
        "caller": f"c{number}", "margin": 0.5,
    }  # fmt: skip
    return UtteranceCandidate(**common | values)  # type: ignore[arg-type]


def names(found: list[UtteranceCandidate]) -> set[str]:
    return {each.name for each in found}


def test_the_least_certain_come_first() -> None:
    found = [one(number, margin=number / 40) for number in range(40)]
    chosen = choose(found, KnownUtterances(), room=10, per_caller=1)
    assert len(chosen) == 10
    assert names(chosen) >= {f"n{number}" for number in range(8)}


def test_rare_intents_languages_and_wordings_go_before_common_ones() -> None:
    known = KnownUtterances()
    known.intents.update({"track": 500})
    known.languages.update({"en": 500})
    known.groups.update({f"g{number}": 30 for number in range(50)})
    common = [one(number) for number in range(40)]
    rare = [one(40, intent="refund"), one(41, language="mr"), one(99)]
    assert names(choose(common + rare, known, room=4, per_caller=9)) >= names(rare)


def test_fifty_rewordings_of_one_question_do_not_fill_a_run() -> None:
    same = [one(number, group="g", margin=0.1) for number in range(50)]
    others = [one(100 + number, margin=0.4) for number in range(20)]
    chosen = choose(same + others, KnownUtterances(), room=20, per_caller=1)
    assert sum(each.group == "g" for each in chosen) <= 8


def test_a_share_is_drawn_whatever_it_is_worth_and_the_same_in_every_run() -> None:
    found = [one(number, margin=number / 400) for number in range(400)]
    chosen = choose(found, KnownUtterances(), room=50, per_caller=1)
    drawn = [each for each in chosen if each.margin > 0.15]
    assert 2 <= len(drawn) <= CHANCE_SHARE * 50
    assert names(chosen) == names(choose(found[::-1], KnownUtterances(), room=50, per_caller=1))


def test_a_caller_who_has_some_waiting_already_gets_fewer() -> None:
    known = KnownUtterances()
    known.callers.update({"anna": 2})
    found = [one(number, caller="anna", margin=0.0) for number in range(9)] + [one(20), one(21)]
    chosen = choose(found, known, room=10, per_caller=3)
    assert sum(each.caller == "anna" for each in chosen) == 1
    assert len(chosen) == 3
