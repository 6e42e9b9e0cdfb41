"""Rows of the table for what is transcribed, set, installed, exported and restored: F number -> (tests, guard)."""

from __future__ import annotations

ENGINE, RECOGNITION = "tests/ml_backend/asr/test_engine.py::", "tests/ml_backend/asr/test_"
SETTINGS, GROUPS = "tests/ml_backend/test_settings.py::", "tests/ml_backend/api/webhooks/test_group_commit.py::"
SERVERS = "tests/sync/commands/test_backup_of_servers.py::"
DATASETS, TRAIN = "tests/training/datasets/test_dataset.py::", "tests/training/commands/test_train.py::"

OPERATORS: dict[int, tuple[tuple[tuple[str, ...], str], ...]] = {
    14: (
        (
            ("tests/ml_backend/serving/test_loaded_models.py::"
             "test_while_the_database_is_away_it_is_said_once_and_what_serves_goes_on",),
            "lasting-trouble-is-said-seldom",
        ),
    ),
    20: (
        (
            (
                "tests/sync/commands/test_status.py::"
                "test_a_job_that_nobody_will_run_is_named_with_the_worker_that_is_missing",
            ),
            "work-that-nobody-takes-is-named",
        ),
        (
            (
                "tests/ml_backend/page/test_my_day_page.py::"
                "test_a_personal_link_opens_ones_own_day_and_no_question_opens_anothers",
            ),
            "a-personal-link-opens-ones-own-day-only",
        ),
        (
            (
                "tests/ml_backend/page/test_my_day_page.py::"
                "test_a_link_that_was_changed_or_is_of_another_deployment_or_too_old_opens_nothing",
            ),
            "links-are-signed",
        ),
        (
            (
                "tests/ml_backend/reports/test_success_metrics.py::"
                "test_a_share_of_few_is_shown_and_not_judged",
            ),
            "a-share-of-few-is-not-judged",
        ),
    ),
    26: (
        (
            (
                "tests/ml_backend/storage/test_object_store.py::"
                "test_of_writers_at_once_in_many_processes_one_stores_and_its_bytes_stay[local-whole]",
                "tests/ml_backend/storage/test_object_store.py::"
                "TestEveryStore::test_the_same_bytes_again_are_accepted_and_other_bytes_are_not[local]",
            ),
            "a-file-is-made-once",
        ),
    ),
    46: (
        (
            (f"{ENGINE}test_a_short_recording_that_begins_in_the_middle_of_a_word_is_looked_at_again",),
            "a-short-recording-is-looked-at-again",
        ),
        (
            (
                f"{RECOGNITION}window_decoding.py::"
                "test_numbers_said_one_by_one_with_pauses_are_words_of_their_own_at_their_own_places",
            ),
            "no-word-goes-on-over-a-pause",
        ),
        (
            (
                f"{RECOGNITION}window_decoding.py::"
                "test_what_is_written_without_a_space_and_said_without_a_pause_is_one_word",
                f"{ENGINE}test_pieces_of_a_word_that_follow_without_a_space_stay_with_it",
            ),
            "parts-of-a-word-are-joined",
        ),
        (
            (
                f"{RECOGNITION}timing.py::test_a_first_word_that_takes_a_pause_inside_a_stretch_begins_after_it",
            ),
            "first-words-are-not-early",
        ),
        (
            (f"{RECOGNITION}timing.py::test_speech_that_no_word_covers_is_found_and_breath_is_not",),
            "passed-over-speech-is-found",
        ),
        (
            (
                f"{RECOGNITION}segments.py::test_speech_that_the_text_passes_over_is_a_marked_segment_without_text",
                f"{RECOGNITION}segments.py::test_clear_speech_whose_text_was_dropped_is_marked_and_says_why",
            ),
            "speech-without-text-is-marked",
        ),
        (
            (f"{RECOGNITION}prompting.py::test_whatever_is_asked_for_fits_and_hotwords_are_kept_first",),
            "prompt-and-hotwords-share-the-room",
        ),
        (
            (f"{ENGINE}test_windows_that_fail_the_quality_test_are_tried_again_alone_without_encoding_again",),
            "more-tries-cost-no-more-than-the-first",
        ),
    ),
    47: (
        (
            (
                f"{GROUPS}test_a_burst_is_kept_with_few_commits[sqlite]",
                f"{GROUPS}test_label_studios_webhooks_share_their_commits",
            ),
            "requests-share-their-commits",
        ),
    ),
    51: (
        (
            (
                "tests/sync/commands/test_backup.py::"
                "test_links_long_and_conflicting_names_are_a_sentence_and_nothing_is_left_behind[change0]",
            ),
            "a-backup-is-judged-member-by-member",
        ),
        ((f"{SERVERS}test_the_rows_are_of_one_moment_while_others_write",), "a-backup-of-postgresql-is-of-one-moment"),
        (
            (f"{SERVERS}test_a_restore_into_a_database_with_rows_is_refused_and_changes_nothing",),
            "a-restore-needs-an-empty-database",
        ),
    ),
    59: (
        ((f"{SETTINGS}TestFiles::test_every_secret_can_lie_in_a_file",), "secrets-lie-in-files"),
        ((f"{SETTINGS}TestSecrets::test_a_sample_value_is_refused[ChangeMe123]",), "sample-secrets-are-refused"),
        (
            (
                f"{SETTINGS}TestMisspelt::"
                "test_a_slip_is_refused_with_the_nearest_name[environment-ASR_MODLE-ASR_MODEL]",
            ),
            "misspelt-settings-are-refused",
        ),
    ),
    72: (
        ((f"{DATASETS}test_two_exports_of_one_name_do_not_write_at_once",), "one-export-of-a-name-at-once"),
        (
            (f"{DATASETS}test_a_version_left_half_written_is_taken_over_by_an_export_that_finds_other_samples",),
            "unfinished-exports-are-taken-over",
        ),
    ),
    73: (
        (
            (
                f"{TRAIN}test_nothing_begins_where_torch_is_missing",
                f"{DATASETS}test_what_cannot_be_rendered_here_is_refused_before_anything_is_written",
            ),
            "what-is-missing-is-said-first",
        ),
    ),
}  # fmt: skip
