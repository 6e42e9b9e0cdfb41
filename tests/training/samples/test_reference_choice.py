"""One reference per span."""

from __future__ import annotations

from typing import Any

from ml_backend.tables import projects
from tests.training.samples.conftest import World


def texts(rows: Any) -> list[tuple[str, str, str]]:
    return [(row.text, row.chosen_by, row.state) for row in rows]


def test_ground_truth_goes_before_the_reviewer_who_goes_before_everybody(world: World) -> None:
    world.context.db.update(projects, world.project_id, selection={"reviewers": [5]})
    task = world.task()
    for text in ("तीन शब्द यहाँ", "तीन शब्द यहाँ", "तीन शब्द यहाँ"):
        world.annotate(task, text)
    world.annotate(task, "रिव्यूअर का पाठ", annotator=5)
    world.annotate(task, "किसी और का पाठ")
    assert texts(world.sample(task)) == [("रिव्यूअर का पाठ", "reviewer", "accepted")]
    world.annotate(task, "सच्चा पाठ", ground_truth=True)
    world.annotate(task, "फिर कोई और")
    assert texts(world.sample(task)) == [("सच्चा पाठ", "ground-truth", "accepted")]


def test_of_three_the_one_nearest_to_the_others_is_taken(world: World) -> None:
    task = world.task()
    world.annotate(task, "मुझे नया काम चाहिए था")
    world.annotate(task, "मुझे नया काम चाहिए")
    world.annotate(task, "मुझे नया कम चाहिए")
    assert texts(world.sample(task)) == [("मुझे नया काम चाहिए", "medoid", "accepted")]


def test_of_two_the_latest_is_taken_and_two_very_different_ones_are_excluded(world: World) -> None:
    task = world.task()
    world.annotate(task, "मुझे नया काम चाहिए")
    world.annotate(task, "मुझे नया कम चाहिए")
    assert texts(world.sample(task)) == [("मुझे नया कम चाहिए", "latest", "accepted")]
    different = world.task()
    world.annotate(different, "मुझे नया काम चाहिए")
    world.annotate(different, "ठीक")
    row = world.sample(different)[0]
    assert (row.state, row.reason_code) == ("excluded", "low-agreement")


def test_each_span_has_its_own_nearest_text(world: World) -> None:
    task = world.task()
    world.annotate(task, regions=[(0, 3, 0, "पहला वाक्य यहाँ"), (4, 7, 0, "दूसरा वाक्य कहाँ")])
    world.annotate(task, regions=[(0.1, 3, 0, "पहला वाक्य कहाँ था"), (4.1, 7, 0, "दूसरा वाक्य यहाँ")])
    world.annotate(task, regions=[(0, 2.9, 0, "पहला वाक्य यहा"), (4, 6.9, 0, "दूसरा वाक्य यहाँ है")])
    assert texts(world.sample(task)) == [
        ("पहला वाक्य यहाँ", "medoid", "accepted"),
        ("दूसरा वाक्य यहाँ", "medoid", "accepted"),
    ]


def test_the_same_time_on_two_legs_is_two_spans(world: World) -> None:
    task = world.task(channels=2)
    world.annotate(task, regions=[(0, 3, 0, "जी बताइए"), (0, 3, 1, "मेरा ऑर्डर")])
    world.annotate(task, regions=[(0, 3, 0, "जी बताएँ अब"), (0, 3, 1, "मेरा ऑर्डर")])
    world.annotate(task, regions=[(0, 3, 0, "जी बताइए"), (0, 3, 1, "तेरा आर्डर था")])
    assert [(row.channel, row.text, row.chosen_by) for row in world.sample(task)] == [
        (0, "जी बताइए", "latest"),
        (1, "मेरा ऑर्डर", "latest"),
    ]


def test_a_reviewer_who_rejects_rejects_the_call(world: World) -> None:
    world.context.db.update(projects, world.project_id, selection={"reviewers": [5]})
    task = world.task()
    world.annotate(task, "तीन शब्द यहाँ")
    world.annotate(task, "तीन शब्द यहाँ")
    world.annotate(task, reject=["private"], annotator=5)
    assert [(row.reason_code, row.chosen_by) for row in world.sample(task)] == [("rejected", "reviewer")]
