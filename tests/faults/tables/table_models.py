"""F63-F73, training and models: number -> (tests that meet it, the guard without which they must fail)."""

from __future__ import annotations

SERVING, ADOPTION = "tests/ml_backend/serving/test_loaded_models.py::", "tests/ml_backend/serving/test_adoption.py::"
RUNS, PROMOTION = "tests/training/runs/test_execution.py::", "tests/training/promotion/test_promotion.py::"
VOICES, OPINIONS = "tests/training/voices/test_", "tests/training/scoring/test_opinion_scores.py::"
PARSERS = "tests/training/trainers/nlu/test_intent_training.py::"
UTTERANCES = "tests/training/utterances/test_"
TEXTS, ORIGINS = "tests/sync/tasks/test_utterance_wishes.py::", "tests/sync/annotations/test_text_origins.py::"
LIVE = "tests/ml_backend/api/live/test_live_"
TRAINER = "tests/training/trainers/asr/test_"

MODELS: dict[int, tuple[tuple[tuple[str, ...], str], ...]] = {
    63: (
        (
            (f"{RUNS}test_a_killed_run_goes_on_from_its_last_whole_checkpoint_and_ends_with_the_same_weights",),
            "checkpoints-are-gone-on-from",
        ),
        (
            ("tests/training/runs/test_batches.py::test_a_run_that_goes_on_reads_what_an_unbroken_one_would_read",),
            "one-order-of-the-data",
        ),
    ),
    64: (
        (
            (
                f"{TRAINER}checkpoints.py::test_the_newest_sealed_checkpoint_is_found_and_a_newer_half_one_is_deleted",
                f"{TRAINER}checkpoints.py::test_a_damaged_checkpoint_is_never_gone_on_from",
            ),
            "checkpoints-are-sealed",
        ),
    ),
    65: (
        (
            (
                f"{PROMOTION}test_killed_just_before_the_alias_the_champion_is_the_old_one_and_the_next_attempt_promotes",
            ),
            "the-alias-moves-last",
        ),
    ),
    66: (
        (
            (
                f"{PROMOTION}test_of_two_promotions_at_once_one_wins_and_the_other_is_told",
                f"{PROMOTION}test_a_champion_that_changed_while_it_was_decided_is_not_replaced_by_that_decision",
            ),
            "compare-and-set",
        ),
        (
            (
                f"{PROMOTION}test_an_equal_candidate_is_refused_as_luck",
                f"{PROMOTION}test_with_too_few_calls_nothing_is_told_and_it_says_how_many_are_missing",
            ),
            "the-gate-decides",
        ),
        ((f"{PROMOTION}test_a_candidate_whose_files_changed_is_not_promoted",), "files-are-held-against-their-row"),
    ),
    67: (
        (
            (f"{ADOPTION}test_what_is_damaged_or_could_run_code_is_refused_and_nothing_is_left_behind",),
            "files-are-held-against-their-manifest",
        ),
        (
            (f"{ADOPTION}test_what_is_damaged_or_could_run_code_is_refused_and_nothing_is_left_behind",),
            "pickles-are-refused",
        ),
    ),
    68: (
        ((f"{SERVING}test_a_version_that_hears_words_in_silence_is_not_served",), "models-check-themselves"),
        (
            (
                f"{PROMOTION}test_a_candidate_that_would_not_be_served_or_is_slow_or_silent_is_refused",
                f"{PROMOTION}test_a_hallucinating_candidate_is_refused_however_well_it_hears",
                f"{PROMOTION}test_a_badly_converted_candidate_is_refused_however_well_it_hears",
            ),
            "how-it-serves-counts",
        ),
    ),
    69: (
        ((f"{SERVING}test_a_moved_alias_is_served_within_a_second_though_nobody_asks",), "aliases-are-followed"),
        ((f"{SERVING}test_who_works_with_the_old_model_ends_with_it",), "users-keep-their-model"),
    ),
    70: (
        (
            (f"{SERVING}test_where_memory_holds_one_nobody_who_asks_during_a_failing_swap_is_turned_away",),
            "what-serves-is-not-what-the-alias-names",
        ),
    ),
    71: (
        (
            (f"{PROMOTION}test_rollback_goes_back_within_seconds_and_no_schedule_promotes_that_version_again",),
            "what-was-rolled-back-is-marked",
        ),
    ),
    72: (
        ((f"{RUNS}test_bad_data_is_refused_with_counts_and_row_ids",), "bad-data-is-refused"),
        ((f"{RUNS}test_audio_that_is_gone_refuses_the_run_and_names_the_rows",), "many-bad-rows-refuse-the-run"),
        ((f"{RUNS}test_one_bad_row_never_ends_a_run_it_is_left_out_by_name",), "single-bad-rows-are-left-out"),
    ),
    73: (
        (
            (f"{TRAINER}main.py::test_the_reason_is_told_and_the_checkpoint_before_remains",),
            "a-full-disk-is-known-to-the-trainer",
        ),
        (
            (f"{TRAINER}main.py::test_the_reason_is_told_and_the_checkpoint_before_remains",),
            "out-of-memory-is-known-in-all-its-words",
        ),
        (
            (
                "tests/training/runs/test_batches.py::test_windows_of_a_published_whisper_count_with_the_30_s_they_are_padded_to",
            ),
            "a-batch-counts-what-it-is-padded-to",
        ),
        (
            (
                "tests/training/runs/test_trainer_process.py::"
                "test_a_killed_trainer_ran_out_of_memory_only_where_the_kernel_says_so",
            ),
            "the-kernel-is-asked-whether-it-killed",
        ),
        (
            (
                "tests/training/runs/test_kept_runs.py::test_a_run_that_fails_parity_keeps_its_weights_and_goes_on_from_them",
            ),
            "what-was-learnt-is-kept",
        ),
        (
            ("tests/training/runs/test_kept_runs.py::test_a_run_whose_process_is_gone_is_not_shown_as_running",),
            "a-gone-process-is-not-running",
        ),
        (
            (f"{PROMOTION}test_no_race_is_run_where_it_changes_nothing",),
            "no-race-once-the-answer-is-no",
        ),
        (
            ("tests/training/runs/test_bases.py::test_what_this_machine_cannot_do_is_said_before_anything_is_loaded",),
            "the-machine-is-asked-first",
        ),
        (
            (
                "tests/training/schedule/test_training_request.py::test_a_device_that_is_taken_is_asked_for_again_as_long_as_it_takes",
            ),
            "a-taken-device-is-no-failure",
        ),
        (
            (f"{PARSERS}test_a_broken_conversion_is_caught_and_the_weights_are_kept",),
            "a-parser-is-served-as-it-was-trained",
        ),
        (
            (f"{PARSERS}test_a_run_that_was_killed_makes_the_weights_of_one_that_was_not",),
            "a-parser-s-step-draws-from-the-seed",
        ),
        (
            (
                "tests/ml_backend/nlu/test_utterance_text.py::test_a_span_is_whole_characters_without_punctuation_at_its_edges",
            ),
            "a-span-cuts-no-character",
        ),
        (
            (f"{UTTERANCES}paraphrase_families.py::test_every_near_pair_of_a_thousand_texts_is_found",),
            "rewordings-stay-together",
        ),
        (
            (f"{UTTERANCES}utterance_lines.py::test_no_caller_and_no_unseen_wording_is_on_two_sides",),
            "a-caller-is-on-one-side",
        ),
        (
            (f"{UTTERANCES}utterance_import.py::test_the_source_refuses_to_be_written_by_us",),
            "what-is-not-ours-is-only-read",
        ),
        (
            ("tests/sync/privacy/test_erasure.py::test_what_the_person_said_teaches_no_model_of_intents",),
            "erasure-reaches-utterances",
        ),
        (
            (f"{TEXTS}test_what_the_people_of_a_call_did_not_agree_to_is_asked_of_nobody",),
            "people-are-asked-within-consent",
        ),
        (
            (f"{TEXTS}test_a_share_is_asked_without_a_draft_and_a_share_of_two_people",),
            "a-blind-text-shows-no-draft",
        ),
        (
            (f"{TEXTS}test_a_task_that_a_person_imported_becomes_one_utterance_and_gets_a_draft",),
            "imported-texts-are-asked-once",
        ),
        (
            (f"{ORIGINS}test_it_says_which_version_drafted_it_and_that_nothing_was_changed",),
            "an-answer-names-its-draft",
        ),
        (
            (f"{ORIGINS}test_another_intent_is_an_edit_although_no_word_of_it_is_written",),
            "another-intent-is-an-edit",
        ),
        (
            (f"{UTTERANCES}call_utterances.py::test_only_calls_whose_purpose_allows_training_are_read",),
            "calls-are-read-within-consent",
        ),
        (
            (f"{UTTERANCES}call_utterances.py::test_consent_that_is_withdrawn_while_a_run_parses_is_obeyed",),
            "consent-is-asked-again-when-storing",
        ),
        (
            (
                f"{UTTERANCES}call_utterances.py::test_what_the_customer_said_waits_with_the_parse_of_the_serving_version",
            ),
            "only-the-customer-is-read",
        ),
        (
            (f"{UTTERANCES}call_utterances.py::test_wordings_that_are_there_already_are_not_asked_again",),
            "a-wording-is-asked-once",
        ),
        (
            ("tests/training/quality/test_intent_reviews.py::test_drafts_made_annotations_in_bulk_are_no_reference",),
            "a-parser-does-not-learn-from-itself",
        ),
        (
            ("tests/training/quality/test_intent_reviews.py::test_gold_measures_people_and_teaches_nothing",),
            "gold-texts-teach-nothing",
        ),
        (
            ("tests/ml_backend/labelling/test_utterance_marks.py::test_a_span_is_found_whoever_counted",),
            "offsets-are-counted-as-their-maker-does",
        ),
        ((f"{OPINIONS}test_the_lower_bound_decides_and_few_raters_never_do",), "few-raters-decide-nothing"),
        (
            (
                f"{OPINIONS}test_who_finds_the_degraded_copy_as_good_as_the_recording_is_left_out_with_a_reason",
                f"{VOICES}rating_rows.py::test_who_fails_the_anchors_is_left_out_and_a_degraded_copy_is_in_no_score",
            ),
            "raters-meet-hidden-anchors",
        ),
        (
            (f"{OPINIONS}test_the_interval_holds_the_truth_where_a_naive_one_does_not[3]",),
            "few-raters-have-a-wide-interval",
        ),
        (
            (f"{VOICES}prompts.py::test_a_text_is_spoken_once_per_version_and_the_ivr_gets_it_under_its_name",),
            "a-prompt-is-spoken-once",
        ),
        (
            (f"{VOICES}prompts.py::test_what_the_version_cannot_say_is_named_and_keeps_its_sound",),
            "prompts-that-are-not-ready-stop-a-switch",
        ),
        (
            (f"{VOICES}prompts.py::test_an_unfinished_switch_is_not_begun_anew_for_another_version",),
            "an-interrupted-switch-is-ended-first",
        ),
        (
            (f"{VOICES}clip_collection.py::test_the_same_audio_with_two_texts_is_used_with_neither",),
            "one-audio-has-one-text",
        ),
        (
            (f"{VOICES}voice_lines.py::test_one_sentence_is_on_one_side_whoever_says_it_and_however_it_is_written",),
            "a-sentence-is-on-one-side",
        ),
        (
            (
                "tests/sync/tasks/test_rating_design.py::"
                "test_people_choose_between_two_versions_of_a_sentence_with_sides_by_chance",
            ),
            "the-order-of-ratings-is-blind",
        ),
        (
            (f"{VOICES}prompts.py::test_old_sounds_go_after_a_year_but_the_last_switch_can_always_be_undone",),
            "the-last-switch-can-be-undone",
        ),
        (
            (f"{VOICES}prompts.py::test_renderings_are_rated_by_version_and_never_learnt_from",),
            "a-voice-does-not-learn-from-itself",
        ),
        (
            (
                f"{VOICES}voice_dataset.py::"
                "test_a_public_sentence_that_the_test_holds_out_is_not_learnt_from_another_voice",
            ),
            "public-voices-leave-test-sentences-alone",
        ),
        (
            ("tests/training/kinds/test_tts_kind.py::test_figures_may_refuse_a_voice_and_only_people_promote_one",),
            "only-people-promote-a-voice",
        ),
        (
            ("tests/training/evaluation/test_speech_gate.py::test_shuffled_words_are_refused",),
            "figures-refuse-a-voice-that-people-like",
        ),
        (
            (f"{LIVE}routes.py::test_a_voice_that_starts_slowly_answers_a_call_only_with_what_was_rendered_before",),
            "a-slow-voice-answers-no-call",
        ),
        (
            (f"{LIVE}routes.py::test_a_token_of_role_live_opens_v1_and_nothing_else",),
            "the-phone-systems-token-opens-v1-only",
        ),
        (
            (f"{LIVE}engines.py::test_a_challenger_that_does_not_load_ends_its_experiment_and_the_champion_answers",),
            "a-live-version-that-does-not-load-changes-nothing",
        ),
        (
            (f"{LIVE}engines.py::test_a_call_is_answered_by_the_arm_that_its_drafts_have",),
            "a-call-is-answered-by-its-arm",
        ),
        (
            (
                "tests/training/evaluation/test_speech_gate.py::"
                "test_a_voice_of_which_one_sentence_in_ten_is_lost_is_refused_though_its_mean_keeps_the_bound",
            ),
            "sixty-sentences-must-promise-the-bound",
        ),
        (
            (
                "tests/training/scoring/test_intent_scores.py::"
                "test_a_threshold_is_not_chosen_by_many_rows_of_few_wordings",
            ),
            "few-wordings-choose-no-threshold",
        ),
        (
            (
                "tests/ml_backend/tts/test_parler_environment.py::test_an_installation_that_was_killed_is_not_taken_for_an_environment",
            ),
            "half-an-environment-is-none",
        ),
        (
            (
                "tests/training/datasets/test_public_speech.py::test_each_layout_gives_its_training_part_with_language_and_sound",
            ),
            "public-test-sentences-stay-out",
        ),
    ),
}
