"""The figures of a summary: pooled, with their basis, and silent where there is too little."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest

from tests.training.quality import team
from training.quality import agreement, draft_quality, figures, review_time, summary
from training.quality.reviews import AgreementPair, Review


def review(number: int = 1, **values: object) -> Review:
    plain = Review(
        id=number, project_id=1, task_id=number, annotator=1, audio_s=20.0, lead_time_s=30.0, created_at=team.BEGAN,
        model_version="small-1", confidence=0.7, words=10, word_edits=1, chars=50, char_edits=2,
    )  # fmt: skip
    return replace(plain, **values)  # type: ignore[arg-type]


def pair(number: int, words: int, edits: int, **values: object) -> AgreementPair:
    one, other = review(number, task_id=number), review(1000 + number, task_id=number, annotator=2)
    plain = AgreementPair(number, one, other, words, edits, 5 * words, 2 * edits)
    return replace(plain, **values)  # type: ignore[arg-type]


def test_a_share_of_few_says_nothing_and_shows_what_it_is_of() -> None:
    assert figures.share(3, 19) == {"value": None, "part": 3, "of": 19, "note": "too few to say"}
    assert figures.rate(5, 199)["value"] is None
    found = figures.share(5, 20)
    assert (found["value"], found["part"], found["of"]) == (0.25, 5, 20)
    assert (found["low"], found["high"]) == (0.1119, 0.4687)  # Wilson's interval, by hand


@pytest.mark.parametrize("chances", [[0.5] * 6, [0.1, 0.9, 0.3, 0.7]])
def test_the_exact_test_agrees_with_counting_all_outcomes(chances: list[float]) -> None:
    for part in range(len(chances) + 2):
        expected = 0.0
        for outcome in product((0, 1), repeat=len(chances)):
            if sum(outcome) >= part:
                weight = 1.0
                for success, chance in zip(outcome, chances, strict=True):
                    weight *= chance if success else 1 - chance
                expected += weight
        assert figures.at_least(part, chances) == pytest.approx(expected)
    assert figures.at_most(2, 6, 0.5) == pytest.approx(22 / 64)


def test_of_many_trials_the_test_is_nearly_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    chances = [0.1 + 0.2 * (number % 3) for number in range(600)]
    quick = [figures.at_least(part, chances) for part in (170, 190, 210)]
    monkeypatch.setattr(figures, "MANY", 10_000)
    assert quick == pytest.approx([figures.at_least(part, chances) for part in (170, 190, 210)], rel=0.35)


def test_errors_between_people_are_pooled_not_averaged() -> None:
    found = agreement.measure([pair(1, 300, 30), pair(2, 100, 0)])
    assert found["wer"]["value"] == 0.075  # 30 of 400; the mean of 10 % and 0 % would be 5 %
    assert (found["tasks"], found["pairs"], found["cer"]["part"]) == (2, 2, 60)


def test_people_who_saw_the_same_draft_are_told_apart_from_those_who_saw_none() -> None:
    blind = pair(1, 400, 40, first=review(1, blind=True), second=review(2, blind=True, annotator=2))
    found = agreement.by_start([blind, pair(2, 400, 4)])
    assert [found[name]["wer"]["value"] for name in ("blind", "drafted", "all")] == [0.1, 0.01, 0.055]


def test_a_rejected_call_has_no_text_to_agree_on() -> None:
    rejected = pair(1, 0, 40, second=review(2, reject=("private",), annotator=2), choices=(("reject", False),))
    found = agreement.measure([rejected])
    assert (found["pairs"], found["wer"]["of"]) == (0, 0)
    assert found["choices"]["reject"]["of"] == 1


def answered(answers: list[tuple[str, str]]) -> list[Review]:
    found = []
    for number, (one, other) in enumerate(answers):
        found += [
            review(2 * number, task_id=number, annotator=1, quality=one),
            review(2 * number + 1, task_id=number, annotator=2, quality=other),
        ]
    return found


def test_alpha_is_krippendorffs() -> None:
    """The example of his own introduction (2011): two people, ten units, two answers, alpha 0.095."""
    first, second = "0100000010", "1110001000"
    pairs = [("yes" if a == "1" else "no", "yes" if b == "1" else "no") for a, b in zip(first, second, strict=True)]
    found = agreement.alphas(answered(pairs))["quality"]
    assert found["value"] == pytest.approx(0.095, abs=0.001)
    assert (found["tasks"], found["answers"]) == (10, 20)


def test_perfect_agreement_is_one_and_chance_is_about_none() -> None:
    draw = random.Random(1)
    same = [(each, each) for each in draw.choices(["good", "fair", "poor"], k=60)]
    assert agreement.alphas(answered(same))["quality"]["value"] == 1.0
    luck = [(draw.choice(["good", "poor"]), draw.choice(["good", "poor"])) for _ in range(400)]
    assert abs(agreement.alphas(answered(luck))["quality"]["value"]) < 0.1


def test_alpha_says_nothing_of_few_or_of_one_answer_only() -> None:
    assert agreement.alphas(answered([("good", "good")] * 9))["quality"]["note"] == "too few to say"
    assert "same" in agreement.alphas(answered([("good", "good")] * 30))["quality"]["note"]
    assert "accent" not in agreement.alphas(answered([("good", "good")] * 30))


def test_one_person_has_one_answer_per_task() -> None:
    twice = [review(n, task_id=n % 30, annotator=1, quality="good" if n < 30 else "poor") for n in range(60)]
    assert "quality" not in agreement.alphas(twice)


def test_time_is_pooled_and_a_tab_left_open_is_no_work() -> None:
    usual = [review(n, audio_s=60.0 if n % 2 else 20.0, lead_time_s=120.0 if n % 2 else 80.0) for n in range(40)]
    odd = [
        review(50, lead_time_s=30_000.0),
        review(51, lead_time_s=None),
        review(52, skipped=True),
        review(53, audio_s=None),
    ]
    found = review_time.measure([*usual, *odd])
    assert found["seconds_per_audio_minute"] == 150.0  # 200 s per 80 s of audio
    assert found["median_seconds_per_audio_minute"] == 180.0
    assert (found["annotations"], found["left_open"], found["without_time"]) == (40, 1, 1)
    assert review_time.measure(usual[:19])["note"] == "too few to say"


def test_work_from_a_draft_and_from_nothing_are_told_apart() -> None:
    drafted = [review(n, lead_time_s=20.0) for n in range(30)]
    blind = [review(100 + n, lead_time_s=60.0, blind=True, word_edits=None) for n in range(30)]
    found = review_time.by_start([*drafted, *blind])
    assert [found[name]["seconds_per_audio_minute"] for name in ("drafted", "from_nothing")] == [60.0, 180.0]


def test_rejected_is_of_what_was_not_skipped() -> None:
    reviews = [review(n, reject=("private", "no-speech") if n < 5 else (), skipped=n >= 40) for n in range(50)]
    found = summary.measure(reviews)
    assert (found["rejected"]["part"], found["rejected"]["of"], found["skipped"]["value"]) == (5, 40, 0.2)
    assert found["reasons"] == {"private": 5, "no-speech": 5}


def test_a_models_drafts_are_judged_by_what_began_from_them() -> None:
    """Not by annotations from before we were attached, blind or gold tasks, or calls nobody wrote down."""
    kept = [review(n, unchanged=n < 10, word_edits=0 if n < 10 else 2) for n in range(40)]
    out: list[dict[str, object]] = [
        {"before_attach": True}, {"blind": True}, {"gold": "known"}, {"skipped": True}, {"reject": ("private",)},
        {"word_edits": None}, {"model_version": None},
    ]  # fmt: skip
    strangers = [review(100 + n, **{"word_edits": 10, **values}) for n, values in enumerate(out)]
    (found,) = draft_quality.by_version([*kept, *strangers])
    assert (found["annotations"], found["edit_rate"]["part"], found["edit_rate"]["of"]) == (40, 60, 400)
    assert found["accepted_unchanged"]["value"] == 0.25


def test_versions_come_latest_first_and_suspects_are_left_out_beside() -> None:
    old = [review(n, model_version="old") for n in range(30)]
    new = [review(100 + n, model_version="new", created_at=team.BEGAN + timedelta(days=9)) for n in range(30)]
    lazy = [replace(each, id=each.id + 500, annotator=7, unchanged=True, word_edits=0) for each in new]
    found = draft_quality.by_version([*old, *new, *lazy], {7})
    assert [one["model_version"] for one in found] == ["new", "old"]
    assert [found[0][name]["value"] for name in ("edit_rate",)] == [0.05]
    assert found[0]["without_suspects"]["edit_rate"]["value"] == 0.1
    assert [week["week_of"] for week in found[0]["weeks"]] == ["2026-03-09"]
