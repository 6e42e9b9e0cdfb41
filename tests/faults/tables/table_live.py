"""Rows of the table for what answers the phone: F number -> (tests, guard)."""

from __future__ import annotations

TURNS, TRANSCRIPTION = "tests/ml_backend/jobs/test_device_turns.py::", "tests/ml_backend/api/live/test_transcription_"
SHADOW = "tests/ml_backend/api/live/test_live_shadow.py::"
LIVE_AUDIO, PIECES = "tests/ml_backend/api/live/test_live_audio.py::", "tests/sync/recordings/test_live_pieces.py::"
ENGINES = "tests/ml_backend/api/live/test_live_engines.py::"
TALLY, UPTIME = "tests/ml_backend/api/live/test_live_tally.py::", "tests/sync/live/test_uptime.py::"
REALTIME = "tests/ml_backend/api/realtime/"
RATES, VIEWS = "tests/ml_backend/api/test_request_rates.py::", "tests/ml_backend/views/test_live_views.py::"

PHONE: dict[int, tuple[tuple[tuple[str, ...], str], ...]] = {
    73: (
        (
            (
                f"{TURNS}test_a_worker_in_the_middle_of_bulk_stands_still_for_a_live_request_and_goes_on_when_its_"
                "process_is_killed",
            ),
            "jobs-give-way-to-live-requests",
        ),
        (
            (
                f"{TURNS}test_a_mark_stands_until_the_last_of_several_requests_is_answered",
                f"{TRANSCRIPTION}routes.py::"
                "test_requests_that_come_while_the_model_works_share_a_batch_and_get_their_own_text",
            ),
            "a-live-request-marks-the-device",
        ),
        (
            (f"{TURNS}test_nobody_waits_for_ever",),
            "nobody-gives-way-for-ever",
        ),
        (
            (
                "tests/ml_backend/commands/test_slow_callers.py::"
                "test_audio_that_comes_slowly_holds_no_thread_and_no_place_among_those_that_are_answered",
            ),
            "audio-that-comes-slowly-holds-no-thread",
        ),
        (
            (f"{ENGINES}test_a_version_has_answered_once_before_it_answers_a_caller",),
            "a-version-is-warm-before-it-answers",
        ),
        (
            (f"{ENGINES}test_a_champion_that_does_not_load_leaves_the_old_one_answering",),
            "a-version-that-does-not-load-is-said",
        ),
        (
            (
                f"{SHADOW}test_a_shadow_waits_while_any_live_request_of_the_machine_is_answered_and_gives_up_after_a_"
                "while",
            ),
            "a-shadow-waits-for-callers",
        ),
        (
            (
                f"{SHADOW}test_callers_are_answered_while_the_shadow_works_and_what_does_not_fit_its_queue_is_dropped_"
                "and_counted",
            ),
            "a-shadows-queue-is-bounded",
        ),
        (
            (
                f"{PIECES}test_the_whole_recording_takes_the_place_of_pieces_that_came_first",
                f"{PIECES}test_whichever_of_two_jobs_comes_first_one_of_them_is_worked_on[select-first]",
            ),
            "a-whole-recording-supersedes-live-pieces",
        ),
        (
            (f"{PIECES}test_a_piece_that_is_annotated_stays_and_the_whole_recording_gets_no_task",),
            "an-annotated-piece-stands",
        ),
        (
            (f"{LIVE_AUDIO}test_consent_that_is_taken_back_stops_what_already_waits",),
            "live-audio-needs-consent-now",
        ),
        (
            (f"{LIVE_AUDIO}test_while_the_store_is_away_it_waits_on_the_disk_and_outlives_its_process",),
            "live-audio-waits-on-the-disk",
        ),
        (
            ("tests/sync/privacy/test_live_audio_goes.py::test_an_erased_person_s_live_requests_go_with_the_calls",),
            "an-erasure-reaches-waiting-live-audio",
        ),
        (
            (f"{TALLY}test_while_the_database_is_locked_requests_are_counted_and_written_later",),
            "what-the-database-does-not-take-is-kept",
        ),
        (
            (f"{TALLY}test_what_is_kept_in_memory_has_a_bound",),
            "kept-counts-have-a-bound",
        ),
        (
            (f"{TALLY}test_a_process_that_stops_writes_what_it_counted",),
            "a-stop-writes-what-was-counted",
        ),
        (
            (f"{TALLY}test_a_call_that_was_erased_gets_no_row_however_its_id_is_stored",),
            "an-erased-call-has-no-outcome",
        ),
        (
            (f"{TALLY}test_a_row_that_no_database_takes_keeps_back_no_other",),
            "one-bad-count-keeps-back-no-other",
        ),
        (
            (f"{TALLY}test_what_counts_as_failed_is_what_nobody_got_an_answer_to",),
            "a-callers-own-rate-is-no-failure",
        ),
        (
            (f"{RATES}test_a_burst_of_ten_seconds_passes_and_then_the_rate",),
            "a-token-has-a-rate",
        ),
        (
            (f"{UPTIME}test_rolling_up_again_after_a_break_or_with_late_minutes_changes_no_day",),
            "a-day-is-decided-once",
        ),
        (
            (f"{VIEWS}test_a_minute_is_good_with_99_percent_of_answers_and_down_without_a_process",),
            "a-minute-without-serve-is-down",
        ),
        (
            (f"{REALTIME}test_realtime_session.py::test_a_place_is_taken_and_given_back",),
            "sessions-are-bounded",
        ),
        (
            (f"{REALTIME}test_websocket_link.py::test_a_client_that_reads_nothing_is_dropped_once_a_megabyte_waits",),
            "a-slow-reader-is-dropped",
        ),
        (
            (f"{REALTIME}test_turns.py::test_the_final_text_begins_with_what_was_given_out_and_repeats_nothing",),
            "what-was-given-out-stays",
        ),
        (
            (f"{REALTIME}test_realtime_session.py::test_a_turn_belongs_to_the_call_in_which_it_was_said",),
            "a-turn-belongs-to-its-call",
        ),
    ),
}
