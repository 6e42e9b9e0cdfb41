"""Scores of intents and entities by their formulas, and nothing said where nothing can be said."""

import numpy as np
import pytest

from training.scoring import intent_scores


def row(said, answered, *, best=None, confidence=0.9, in_scope=None, family="", language="en", spans=((), ()), name=""):
    def side(intent, found):
        return {"intent": intent, "entities": [{"entity": e, "start": a, "end": b} for e, a, b in found]}

    prediction = {**side(answered, spans[1]), "best": best or answered, "confidence": confidence,
                  "in_scope": confidence if in_scope is None else in_scope}  # fmt: skip
    return {"id": name or f"{said}-{answered}-{family}-{confidence}", "family": family, "language": language,
            "reference": side(said, spans[0]), "prediction": prediction}  # fmt: skip


def test_macro_f1_is_the_mean_over_the_intents_that_were_said():
    rows = [row("a", "a"), row("a", "a"), row("a", "b"), row("b", "b"), row("b", "c")]
    table = intent_scores.intent_table(rows)
    assert table["a"] == {"rows": 3, "answers": 2, "right": 2, "precision": 1.0, "recall": 2 / 3, "f1": 0.8}
    assert table["b"]["f1"] == pytest.approx(0.5)
    assert (table["c"]["rows"], table["c"]["recall"], table["c"]["f1"]) == (0, None, 0.0)
    assert intent_scores.macro_f1(rows) == pytest.approx((0.8 + 0.5) / 2)
    assert intent_scores.accuracy(rows) == pytest.approx(0.6)
    assert intent_scores.confusion(rows) == [
        {"intent": "a", "answered": "b", "rows": 1}, {"intent": "b", "answered": "c", "rows": 1},
    ]  # fmt: skip


def test_an_entity_is_right_only_with_its_type_start_and_end():
    said = (("item", 0, 5), ("city", 8, 12))
    rows = [
        row("a", "a", spans=(said, said)),
        row("a", "a", spans=(said, (("item", 0, 4), ("day", 8, 12)))),
        row("a", "a", spans=((), (("item", 1, 2),))),
    ]
    found = intent_scores.entity_scores(rows)
    assert (found["spans"], found["answers"], found["right"]) == (4, 5, 2)
    assert found["f1"] == pytest.approx(4 / 9)
    assert found["types"]["city"]["recall"] == pytest.approx(0.5)
    assert intent_scores.entity_scores([row("a", "a")])["f1"] is None


def test_out_of_scope_rows_are_told_apart_by_the_confidence_in_any_intent():
    none = intent_scores.NONE_OF_THESE
    rows = [
        row("a", "a", in_scope=0.9), row("b", none, best="b", in_scope=0.4),
        row(none, none, in_scope=0.2), row(none, "a", in_scope=0.4), row(none, none, in_scope=0.1),
    ]  # fmt: skip
    assert intent_scores.out_of_scope_auroc(rows) == pytest.approx(5.5 / 6)
    found = intent_scores.false_accepts(rows)
    assert (found["false_accept_rate"], found["false_refusal_rate"]) == (pytest.approx(1 / 3), 0.5)
    assert intent_scores.out_of_scope_auroc(rows[:2]) is None


def test_calibration_is_of_the_most_likely_intent_before_the_threshold():
    none = intent_scores.NONE_OF_THESE
    sure = [row("a", "a", confidence=0.95)] * 3 + [row("a", "b", confidence=0.95)]
    assert intent_scores.expected_calibration_error(sure) == pytest.approx(0.2)
    refused = [row("a", none, best="a", confidence=0.3)]
    assert intent_scores.expected_calibration_error(refused) == pytest.approx(0.7)
    assert intent_scores.expected_calibration_error([]) is None


def test_a_language_with_few_rows_gets_counts_and_no_score():
    rows = [row("a", "a", language="en")] * 30 + [row("a", "b", language="mr")] * 29
    found = intent_scores.by_language(rows)
    assert (found["en"]["rows"], found["en"]["macro_f1"]) == (30, 1.0)
    assert found["mr"] == {"rows": 29, "macro_f1": None, "accuracy": None, "entity_f1": None}


def test_a_difference_is_paired_and_as_wide_as_its_families_not_its_rows():
    names = [(f"f{n}", m) for n in range(12) for m in range(10)]
    before = [row("ab"[n // 10 % 2], "a", family=family, name=f"{family}-{m}") for n, (family, m) in enumerate(names)]
    right = [{**each, "prediction": {**each["prediction"], "intent": each["reference"]["intent"]}} for each in before]
    after = [new if n < 80 else old for n, (old, new) in enumerate(zip(before, right, strict=True))]
    by_family = intent_scores.difference(before, after, intent_scores.accuracy)
    by_row = intent_scores.difference(
        [{**each, "family": ""} for each in before], [{**each, "family": ""} for each in after], intent_scores.accuracy
    )
    assert by_family.value == by_row.value == pytest.approx(1 / 3)
    assert by_family.high - by_family.low > 1.5 * (by_row.high - by_row.low) > 0
    assert by_family == intent_scores.difference(before, after, intent_scores.accuracy)
    with pytest.raises(ValueError, match="same rows"):
        intent_scores.difference(before, after[1:])


def test_the_temperature_makes_confidence_as_good_as_accuracy():
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(4000, 4))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    intents = np.array([rng.choice(4, p=each) for each in shares])
    assert intent_scores.fitted_temperature((3 * logits).astype(np.float32), intents) == pytest.approx(3, rel=0.1)
    assert intent_scores.fitted_temperature(np.zeros((0, 4), np.float32), np.zeros(0, np.int64)) == 1.0


def test_the_threshold_refuses_a_stated_share_of_right_answers_whatever_the_others_are():
    none = intent_scores.NONE_OF_THESE
    right = [row("a", "a", confidence=c) for c in np.linspace(0.01, 1, 100)]
    others = [row(none, "a", confidence=0.9), row("a", "b", confidence=0.1), row(none, none, confidence=0.99)]
    for share, expected in ((0.15, 0.15), (0.3, 0.30)):
        found = intent_scores.chosen_threshold([*right, *others], most_refused=share)
        assert found == pytest.approx(expected, abs=0.011)
        assert np.mean([one["prediction"]["confidence"] < found for one in right]) <= share
    assert intent_scores.chosen_threshold([*right[:9], *others * 9]) == 0.5


def test_a_threshold_is_not_chosen_by_many_rows_of_few_wordings():
    right = [row("a", "a", confidence=c) for c in np.linspace(0.8, 1, 40)]
    of_few, of_many = ([{**one, "family": f"{n % few}"} for n, one in enumerate(right)] for few in (3, 20))
    assert intent_scores.chosen_threshold(of_few) == 0.5
    assert intent_scores.chosen_threshold(of_many) > 0.8


def test_everything_can_be_said_of_no_rows():
    found = intent_scores.scores([])
    assert (found["rows"], found["macro_f1"], found["out_of_scope"]["auroc"]) == (0, None, None)
