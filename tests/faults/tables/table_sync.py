"""Rows of the table for the project in Label Studio and the locks of our database: F number -> (tests, guard)."""

from __future__ import annotations

REFUSALS, REDRAFTS = "tests/sync/label_studio/test_refusals.py::", "tests/sync/projects/test_redrafting.py::"
AGAIN = "tests/sync/annotations/test_redraft_requests.py::"
LANGUAGES = "tests/sync/tasks/test_language_routes.py::"

SYNC: dict[int, tuple[tuple[tuple[str, ...], str], ...]] = {
    47: (
        (
            (f"{REDRAFTS}test_no_transaction_of_a_redraft_writes_more_than_fifty_rows_of_work",),
            "redrafts-go-in-pages",
        ),
        ((f"{REDRAFTS}test_a_look_with_nothing_new_reads_no_task",), "a-redraft-asks-what-changed"),
    ),
    54: (
        (
            (f"{REFUSALS}test_a_task_that_is_refused_is_named_and_all_others_are_made[bad0]",),
            "a-refused-task-is-found-by-halves",
        ),
        (
            (f"{REFUSALS}test_a_project_that_was_deleted_ends_in_its_row_whoever_notices[create-tasks]",),
            "a-missing-project-is-noticed",
        ),
        ((f"{REFUSALS}test_fifty_that_fail_for_ever_keep_nobody_from_its_turn",), "who-waited-longest-comes-first"),
    ),
    55: (
        (
            (
                f"{REFUSALS}test_a_task_that_was_deleted_and_restored_is_drafted_and_settled_at_the_next_look",
            ),
            "a-restored-task-counts-at-once",
        ),
    ),
    58: (
        (
            (f"{LANGUAGES}test_a_call_waits_for_the_detection_and_does_not_fall_to_the_next_project",),
            "a-rule-waits-for-the-language",
        ),
        (
            (f"{AGAIN}test_the_task_is_open_again_with_a_draft_in_that_language_and_nothing_written_is_lost",),
            "a-listener-knows-the-language",
        ),
        (
            (
                "tests/sync/projects/test_offered_languages.py::"
                "test_an_update_keeps_a_language_that_somebody_annotated_in_and_instructions_that_somebody_wrote",
            ),
            "an-annotated-language-stays-offered",
        ),
        (
            ("tests/training/samples/test_sampling.py::"
             "test_who_asks_for_another_language_leaves_no_reference_and_the_others_decide",),
            "who-asks-again-is-no-reference",
        ),
        (
            ("tests/sync/drafts/test_recording_route.py::"
             "test_a_routing_rule_that_changes_after_the_decision_moves_no_recording",),
            "a-decision-stands-on-the-row",
        ),
        (
            ("tests/sync/privacy/test_consents.py::"
             "test_what_a_file_takes_back_leaves_the_samples_of_those_calls_out",),
            "consent-taken-back-reaches-samples",
        ),
        (
            ("tests/sync/tasks/test_poor_drafts.py::"
             "test_what_is_learnt_later_changes_no_task_and_starts_no_redrafting",),
            "a-choice-of-draft-stands-on-the-row",
        ),
        (
            ("tests/ml_backend/usefulness/test_draft_choice.py::"
             "test_a_draft_is_shown_where_it_helps_or_measures_or_where_nothing_is_known",),
            "drafts-that-measure-are-shown",
        ),
        (
            ("tests/training/usefulness/test_team_learning.py::test_drafts_accepted_unread_teach_nothing",),
            "unread-drafts-teach-nothing",
        ),
    ),
    67: (
        (
            (f"{LANGUAGES}test_a_version_that_cannot_be_loaded_fails_only_its_own_members_of_a_batch",),
            "a-version-fails-alone",
        ),
    ),
}  # fmt: skip
