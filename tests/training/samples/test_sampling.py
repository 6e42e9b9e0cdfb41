"""Annotations of a task become samples."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.tables import annotations, calls, projects, recordings, samples, tasks
from sync.projects.attachment import SCRIPT_POLICY
from tests.training.datasets.speech import CALLS
from tests.training.samples.conftest import World, words_of


def said(rows: Any) -> list[tuple[Any, ...]]:
    return [(row.state, row.reason_code, row.text) for row in rows]


def test_each_region_is_a_sample_in_the_time_of_the_recording_and_on_its_leg(world: World) -> None:
    task = world.task(length_s=100.0, channels=2, start_s=40.0, end_s=60.0)
    world.annotate(
        task, regions=[(0.5, 3.0, 1, "मुझे रिफंड चाहिए"), (3.5, 6.0, 0, "जी बताइए")], quality="good", accent="rural"
    )
    first, second = world.sample(task)
    assert (first.start_s, first.end_s, first.channel, first.text) == (40.5, 43.0, 1, "मुझे रिफंड चाहिए")
    assert (second.start_s, second.end_s, second.channel) == (43.5, 46.0, 0)
    assert (first.language, first.script, first.quality, first.accent) == ("hi", "Deva", "good", "rural")
    assert first.state == second.state == "accepted"
    assert first.accepted_at is not None


def test_repeating_it_on_postgresql_changes_nothing_either(world_on_postgresql: World) -> None:
    test_repeating_it_changes_nothing_and_keeps_when_a_sample_was_accepted(world_on_postgresql)
    world_on_postgresql.project()
    test_two_people_agree_by_counts_and_by_choices_but_nobody_with_herself(world_on_postgresql)


def test_repeating_it_changes_nothing_and_keeps_when_a_sample_was_accepted(world: World) -> None:
    task = world.task()
    world.annotate(task, regions=[(0, 2, 0, "एक बात"), (3, 5, 0, "दूसरी बात")])
    before = world.sample(task)
    world.annotate(task, regions=[(0, 2, 0, "एक बात"), (3, 5, 0, "तीसरी बात")], ground_truth=True)
    after = world.sample(task)
    assert [row.digest for row in world.sample(task)] == [row.digest for row in after]
    assert after[0].digest == before[0].digest
    assert after[0].accepted_at == before[0].accepted_at
    assert after[1].digest != before[1].digest
    assert after[1].accepted_at > before[1].accepted_at


def test_a_deleted_annotation_takes_its_samples_along_and_an_older_version_never_counts(world: World) -> None:
    task = world.task()
    first = world.annotate(task, "पुरानी बात", ls_annotation_id=7, annotator=1)
    world.annotate(task, "नई बात", ls_annotation_id=7, annotator=1)
    assert [row.text for row in world.sample(task)] == ["नई बात"]
    with world.context.db.transaction() as connection:
        gone = sa.update(annotations).where(annotations.c.ls_annotation_id == 7)
        connection.execute(gone.values(deleted_at=tables.now()))
    assert world.sample(task) == []
    assert world.context.db.row(annotations, first).measures is None


def test_measures_count_edits_against_the_draft_and_words_alone_without_one(world: World) -> None:
    task = world.task()
    edited = world.annotate(task, "मुझे काम चाहिए।", draft="मुझे कम चाहिए")
    untouched = world.annotate(task, "मुझे काम चाहिए", draft="मुझे काम चाहिए")
    manual = world.annotate(task, "मुझे काम चाहिए")
    world.sample(task)
    row = world.context.db.row(annotations, edited)
    assert row.measures == {
        "normaliser": "indic@1", "words": 3, "word_edits": 1, "chars": 14, "char_edits": 1, "unchanged": False,
    }  # fmt: skip
    assert world.context.db.row(annotations, untouched).measures["unchanged"] is True
    assert world.context.db.row(annotations, manual).measures == {"normaliser": "indic@1", "words": 3, "chars": 14}


def test_two_people_agree_by_counts_and_by_choices_but_nobody_with_herself(world: World) -> None:
    def chose(control: str, value: str) -> dict[str, Any]:
        return {
            "from_name": control,
            "to_name": "audio",
            "type": "choices",
            "id": control,
            "value": {"choices": [value]},
        }

    task = world.task()
    first = world.annotate(
        task, "मुझे काम चाहिए", annotator=1, result=[chose("quality", "good"), chose("accent", "rural")]
    )
    second = world.annotate(
        task, "मुझे कम चाहिए", annotator=2, result=[chose("quality", "good"), chose("accent", "urban")]
    )
    world.annotate(task, "मुझे कम", annotator=2, skipped=True)
    world.annotate(task, "मुझे काम चाहिए", annotator=1, result=[chose("quality", "poor")])
    world.sample(task)
    found = {(row.first_id, row.second_id): row.counts for row in world.agreements(task)}
    assert len(found) == 2
    assert found[first, second] == {
        "words": 3, "word_edits": 1, "chars": 14, "char_edits": 1, "choices": {"quality": True, "accent": False},
    }  # fmt: skip


def test_only_one_rejecting_is_a_disagreement(world: World) -> None:
    task = world.task()
    rejecting = [{"from_name": "reject", "to_name": "audio", "type": "choices", "value": {"choices": ["private"]}}]
    world.annotate(task, "", reject=["private"], result=rejecting)
    world.annotate(task, "मुझे काम चाहिए")
    world.sample(task)
    assert world.agreements(task)[0].counts["choices"] == {"reject": False}


def test_what_a_result_says_is_read_once_and_samples_follow_the_row(world: World) -> None:
    task = world.task()
    rejecting = [{"from_name": "reject", "to_name": "audio", "type": "choices", "value": {"choices": ["private"]}}]
    world.annotate(task, "", reject=["private"], result=rejecting)
    world.annotate(task, "मुझे काम चाहिए")
    with world.context.db.transaction() as connection:
        connection.execute(sa.update(annotations).values(result=[]))  # whoever read it again would find nothing
    world.sample(task)
    assert world.agreements(task)[0].counts["choices"] == {"reject": False}


def test_skipped_and_rejected_calls_are_excluded_with_that_reason(world: World) -> None:
    skipped, rejected, outvoted = world.task(), world.task(), world.task()
    world.annotate(skipped, skipped=True)
    world.annotate(rejected, regions=[(0, 2, 0, "कुछ")], reject=["no-speech"])
    assert said(world.sample(skipped)) == [("excluded", "skipped", "")]
    assert said(world.sample(rejected)) == [("excluded", "rejected", "")]
    for text in ("सुनो भाई", "सुनो भाई"):
        world.annotate(outvoted, regions=[(0, 2, 0, text)])
    world.annotate(outvoted, reject=["no-speech"])
    assert said(world.sample(outvoted)) == [("accepted", None, "सुनो भाई")]


def test_one_person_skipping_does_not_stop_another(world: World) -> None:
    task = world.task()
    world.annotate(task, "सब ठीक है")
    world.annotate(task, skipped=True)
    assert said(world.sample(task)) == [("accepted", None, "सब ठीक है")]


def test_annotations_of_one_moment_give_the_same_reference_in_whichever_order_they_came(world: World) -> None:
    moment, texts = tables.now(), {1: "मुझे रिफंड चाहिए", 2: "मुझे रिफंड दो", 3: "मुझे रिफंड लो"}
    taken = []
    for order in ((1, 2, 3), (3, 2, 1), (2, 3, 1)):
        world.project()
        task = world.task()
        for number in order:
            world.annotate(task, texts[number], annotator=number, ls_annotation_id=number, ls_updated_at=moment)
        taken.append(said(world.sample(task)))
    assert taken[0] == taken[1] == taken[2]


def test_what_a_person_marked_as_the_truth_goes_before_what_the_same_person_wrote_later(world: World) -> None:
    task = world.task()
    world.annotate(task, "मुझे रिफंड चाहिए", annotator=7, ground_truth=True)
    world.annotate(task, "मुझे रिफंड दो", annotator=7)
    world.annotate(task, "रिफंड", annotator=8)
    (row,) = world.sample(task)
    assert (row.text, row.chosen_by) == ("मुझे रिफंड चाहिए", "ground-truth")


def test_references_in_another_script_or_with_unclear_words_are_excluded_with_that_reason(world: World) -> None:
    task = world.task(length_s=60.0)
    world.annotate(
        task,
        regions=[
            (0, 2, 0, "मेरा ऑर्डर"), (3, 5, 0, "mera order"), (6, 8, 0, "मेरा order"), (9, 11, 0, "मेरा [unclear] है"),
            (12, 14, 0, "नाम A B C है"), (15, 17, 0, "(Inaudible) हाँ"), (18, 20, 0, "۔میرا"), (21, 23, 0, "।"),
            (24, 26, 0, ""), (27, 27.1, 0, "हाँ"), (28, 28, 0, "हाँ"),
        ],
    )  # fmt: skip
    assert [row.reason_code for row in world.sample(task)] == [
        None, "script", "script", "unclear", None, "unclear", "script", "no-text", "no-text", "too-short", "too-short",
    ]  # fmt: skip
    assert all(row.reason for row in world.sample(task) if row.state == "excluded")


def test_english_words_in_a_hindi_call_may_be_in_roman_letters_where_we_made_the_project(world: World) -> None:
    world.project(script_policy=SCRIPT_POLICY)
    taken = [call["text"] for call in json.loads((CALLS / "calls.json").read_text()) if call["language"] == "hi"]
    taken = [text for text in taken if text] + ["order cancel करना है", "thank you sir", "मेरा UPI main account से जुड़ा है"]
    task = world.task(length_s=120.0)
    world.annotate(task, regions=[(number * 2, number * 2 + 1, 0, text) for number, text in enumerate(taken)])
    assert [row.reason_code for row in world.sample(task)] == [None] * len(taken)

    refused = ["mujhe refund chahiye", "मुझे refund chahiye", "haan", "مجھے refund", "ਮੈਨੂੰ"]
    other = world.task(length_s=120.0)
    world.annotate(other, regions=[(number * 2, number * 2 + 1, 0, text) for number, text in enumerate(refused)])
    assert [row.reason_code for row in world.sample(other)] == ["script"] * len(refused)


def test_a_project_without_a_script_policy_takes_both_scripts_and_english_follows_its_own(world: World) -> None:
    task = world.task()
    world.annotate(task, "मेरा order", language="hi-en")
    assert said(world.sample(task)) == [("accepted", None, "मेरा order")]
    english = world.task()
    world.annotate(english, "मेरा order", language="en")
    assert said(world.sample(english))[0][1] == "script"
    world.project(script_policy=None)
    free = world.task()
    world.annotate(free, "mera order", language="hi")
    assert world.sample(free)[0].state == "accepted"
    world.project(extra_params={"script_policy": {"hi": "Latn"}})
    roman = world.task()
    world.annotate(roman, "mera order", language="hi")
    assert (world.sample(roman)[0].state, world.sample(roman)[0].script) == ("accepted", "Latn")


def test_the_language_is_the_annotators_else_the_projects_else_a_certain_detection_else_the_sample_is_out(
    world: World,
) -> None:
    def language(**values: Any) -> tuple[str | None, str | None]:
        task = world.task()
        world.annotate(task, "हो ठीक आहे", **values)
        row = world.sample(task)[0]
        return row.language, row.reason_code

    assert language(language="mr") == ("mr", None)
    assert language(language=None, draft="हो ठीक") == ("hi", None)  # detected at 0.95
    doubtful = {"text": "हो", "language": "mr", "language_probability": 0.6, "words": []}
    assert language(language=None, draft=None) == (None, "language-unknown")
    task = world.task()
    made = world.annotate(task, "हो ठीक आहे", language=None)
    world.context.db.update(annotations, made, draft=doubtful)
    assert world.sample(task)[0].reason_code == "language-unknown"
    world.context.db.update(projects, world.project_id, extra_params={"language": "mr"})
    assert world.sample(task)[0].language == "mr"
    blind = world.task(blind=True)
    world.context.db.update(projects, world.project_id, extra_params={})
    world.annotate(blind, "हो ठीक आहे", language=None)
    world.heard(blind, [(0.0, 1.0, "हो")], language="mr")
    assert (world.sample(blind)[0].language, world.sample(blind)[0].blind) == ("mr", True)


def test_a_text_over_a_long_call_is_cut_at_pauses_by_the_drafts_word_times(world: World) -> None:
    text = " ".join(f"शब्द{number}क" for number in range(60))
    task = world.task(length_s=45.0)
    world.annotate(task, text.replace("शब्द10क", "सुधारा"), words=words_of(text))
    rows = world.sample(task)
    assert {row.state for row in rows} == {"accepted"}
    assert " ".join(row.text for row in rows) == text.replace("शब्द10क", "सुधारा")
    assert all(row.end_s - row.start_s <= 30 for row in rows)
    assert len(rows) == 2


def test_a_text_over_two_legs_is_cut_where_the_other_leg_begins(world: World) -> None:
    agent = [(a, b, t, 0) for a, b, t in words_of("नमस्ते मैं कैसे मदद करूँ")]
    caller = [(a, b, t, 1) for a, b, t in words_of("मेरा ऑर्डर नहीं आया", start_s=4.0)]
    task = world.task(length_s=8.0, channels=2)
    world.annotate(task, "नमस्ते मैं कैसे मदद करूँ मेरा ऑर्डर नहीं आया", words=[*agent, *caller])
    first, second = world.sample(task)
    assert (first.text, first.channel, first.state) == ("नमस्ते मैं कैसे मदद करूँ", 0, "accepted")
    assert (second.text, second.channel, second.state) == ("मेरा ऑर्डर नहीं आया", 1, "accepted")


def test_a_blind_long_text_is_cut_by_what_was_heard_though_nobody_saw_it(world: World) -> None:
    text = " ".join(f"शब्द{number}क" for number in range(60))
    task = world.task(length_s=45.0, blind=True)
    world.annotate(task, text)
    assert said(world.sample(task)) == [("excluded", "no-anchor", text)]
    world.heard(task, words_of(text))
    assert {row.state for row in world.sample(task)} == {"accepted"}


def test_a_piece_of_a_long_call_is_cut_by_the_words_heard_in_it(world: World) -> None:
    text = " ".join(f"शब्द{number}क" for number in range(60))
    task = world.task(length_s=200.0, start_s=100.0, end_s=145.0, blind=True)
    world.annotate(task, text)
    world.heard(task, [*words_of("पहले की बात"), *words_of(text, start_s=100.5)])
    rows = world.sample(task)
    assert {row.state for row in rows} == {"accepted"}
    assert " ".join(row.text for row in rows) == text
    assert rows[0].start_s == 100.25
    assert rows[-1].end_s <= 145


def test_a_recording_that_is_gone_and_a_task_with_a_known_answer_give_nothing(world: World) -> None:
    task = world.task()
    world.annotate(task, "कुछ बात")
    world.context.db.update(recordings, world.context.db.row(tasks, task).recording_id, state="lost")
    assert said(world.sample(task))[0][:2] == ("excluded", "audio-missing")


@pytest.mark.parametrize(("purpose", "state"), [("training", "accepted"), (None, "accepted"), ("review", "excluded")])
def test_what_was_agreed_to_in_the_call_decides_whether_its_samples_are_used(
    world: World, purpose: str | None, state: str
) -> None:
    task = world.task()
    world.annotate(task, "मुझे काम चाहिए")
    with world.context.db.transaction() as connection:
        call = {"provider": "exotel", "call_sid": "one", "consent_purpose": purpose}
        call_id = connection.execute(sa.insert(calls).values(**call)).inserted_primary_key[0]
        connection.execute(sa.update(recordings).values(call_id=call_id))
    assert [row.state for row in world.sample(task)] == [state]
    assert [row.reason_code for row in world.sample(task)] == ["consent" if state == "excluded" else None]
    gold = world.task(gold_text="कुछ बात")
    world.annotate(gold, "कुछ बात")
    assert said(world.sample(gold))[0][:2] == ("excluded", "gold")


def test_an_erased_task_is_left_as_the_erasure_left_it(world: World) -> None:
    task = world.task()
    world.annotate(task, "कुछ बात")
    world.sample(task)
    world.context.db.update(tasks, task, reason_code="erased")
    with world.context.db.transaction() as connection:
        connection.execute(sa.update(samples).values(text="", state="excluded", reason_code="erased"))
    assert said(world.sample(task)) == [("excluded", "erased", "")]


def test_annotations_from_before_we_were_attached_are_used_and_marked(world: World) -> None:
    task = world.task()
    world.annotate(task, "कुछ बात", before_attach=True)
    assert (world.sample(task)[0].state, world.sample(task)[0].before_attach) == ("accepted", True)


def test_a_task_that_is_not_there_is_no_error(world: World) -> None:
    assert world.sample(4711) == []


def test_who_asks_for_another_language_leaves_no_reference_and_the_others_decide(world: World) -> None:
    def asks(language: str) -> list[dict[str, Any]]:
        return [
            {"id": "r", "from_name": "redraft", "to_name": "audio", "type": "choices", "value": {"choices": [language]}}
        ]

    task = world.task()
    world.annotate(task, "गलत भाषा", annotator=1, result=asks("mr"))
    assert said(world.sample(task)) == [("excluded", "redraft-asked", "")]
    world.annotate(task, "यही कहा गया", annotator=2)
    assert said(world.sample(task)) == [("accepted", None, "यही कहा गया")]
    blind = world.task(blind=True)
    world.annotate(blind, "यही कहा गया", annotator=1, result=asks("mr"))
    assert said(world.sample(blind)) == [("accepted", None, "यही कहा गया")]


def test_the_emotion_somebody_chose_goes_with_the_sample(world: World) -> None:
    task = world.task()
    world.annotate(task, "यही कहा गया", emotion="urgent")
    assert [row.emotion for row in world.sample(task)] == ["urgent"]
