"""Rows of the table for what people look at and listen to: F number -> (tests, guard)."""

from __future__ import annotations

REDACTION = "tests/training/erasure/test_report_redaction.py::"
CALLS, LISTENINGS = "tests/ml_backend/page/test_calls_page.py::", "tests/ml_backend/calls/test_listenings.py::"
MODELS = "tests/ml_backend/page/test_models_page.py::"
VERDICTS = "tests/ml_backend/reports/learning/test_model_verdicts.py::"
TRAINER = "tests/training/runs/test_trainer_process.py::"

PAGE: dict[int, tuple[tuple[tuple[str, ...], str], ...]] = {
    74: (
        (
            (f"{CALLS}test_looking_at_the_headers_is_no_listening_and_a_play_in_parts_is_one",),
            "who-listens-is-noted",
        ),
        (
            (f"{LISTENINGS}test_no_part_is_had_without_a_row_also_where_the_beginning_is_left_out",),
            "a-play-that-begins-in-the-middle-is-noted",
        ),
        (
            (f"{LISTENINGS}test_a_tombstone_is_enough_while_the_object_is_still_in_the_store",),
            "erased-audio-is-not-played",
        ),
        ((f"{CALLS}test_who_may_look_and_who_may_listen",), "only-roles-that-may-listen-listen"),
        (
            (f"{CALLS}test_a_range_without_an_end_holds_no_thread_for_longer_than_a_minute_of_audio",),
            "a-range-holds-no-thread-for-long",
        ),
        (
            (f"{MODELS}test_a_change_needs_its_role_a_reason_and_a_tick_and_becomes_a_job_with_the_tokens_name",),
            "a-change-on-the-page-needs-a-reason",
        ),
        (
            (f"{VERDICTS}test_what_the_page_asks_for_is_done_by_jobs_that_keep_who_and_why",),
            "a-repeated-rollback-goes-back-once",
        ),
        (
            (f"{TRAINER}test_the_curve_of_a_long_run_keeps_its_first_and_last_steps_and_a_bounded_size",),
            "curves-are-bounded",
        ),
        (
            (f"{REDACTION}test_the_words_of_an_erased_recording_are_nowhere_and_the_verdict_stands",),
            "an-erasure-reaches-the-listed-errors",
        ),
        (
            (f"{REDACTION}test_a_listing_that_read_before_an_erasure_is_made_again",),
            "a-listing-notices-an-erasure",
        ),
    ),
}
