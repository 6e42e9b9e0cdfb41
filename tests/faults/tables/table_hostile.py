"""Rows of the table for hostile callers and neighbours: F number -> (tests, guard)."""

from __future__ import annotations

CREDENTIALS, DOWNLOADS = "tests/sync/outbound/test_credentials.py::", "tests/sync/exotel/test_downloads.py::"
NUMBERS_ELSEWHERE = "tests/sync/privacy/test_numbers_elsewhere.py::"

ADDRESSES = "tests/ml_backend/api/test_addresses.py::"
SLOW = "tests/ml_backend/commands/test_slow_clients.py::"

TLS = "tests/ml_backend/jobs/test_redis_over_tls.py::"
REDIS = "tests/ml_backend/jobs/test_redis_refusals.py::"
WORKER = "tests/ml_backend/jobs/test_worker_process.py::"

HOSTILE: dict[int, tuple[tuple[tuple[str, ...], str], ...]] = {
    19: (((f"{WORKER}test_what_a_message_brings_along_is_dropped[sync-sqlite]",), "own-messages-only"),),
    17: (
        (
            (
                f"{REDIS}TestARedisThatAnswersAndTakesNothing::test_a_read_only_replica_is_named",
                f"{REDIS}TestARedisThatAnswersAndTakesNothing::"
                "test_one_without_enough_replicas_is_named_with_the_remedy_at_start_up_too",
            ),
            "redis-is-written-to-in-a-look",
        ),
        (
            (
                f"{TLS}test_a_certificate_of_an_unknown_ca_is_named_with_the_setting_that_helps",
                f"{TLS}test_work_waits_while_the_certificate_is_refused_and_the_relay_keeps_house",
            ),
            "a-refused-certificate-of-redis-is-named",
        ),
    ),
    33: (
        (
            (
                f"{CREDENTIALS}test_exotels_key_is_never_sent_over_plain_http[calls.example]",
                f"{CREDENTIALS}test_an_api_on_this_machine_is_the_one_plain_home_of_the_key",
                f"{DOWNLOADS}test_a_listed_host_that_is_not_exotels_says_nothing_about_the_key",
            ),
            "the-key-has-its-homes",
        ),
        (
            (f"{CREDENTIALS}test_exotels_key_never_follows_a_redirect_not_even_to_another_of_exotels_hosts[302]",),
            "credentials-stay-home",
        ),
        (
            (f"{DOWNLOADS}test_a_web_address_of_a_task_is_fetched_through_the_same_door_without_our_key",),
            "a-tasks-address-gets-no-key",
        ),
        (
            (f"{CREDENTIALS}test_nothing_goes_through_a_proxy_of_the_environment",),
            "no-proxy-of-the-environment",
        ),
        (
            (f"{CREDENTIALS}test_label_studios_token_follows_no_redirect_and_no_address_elsewhere",),
            "the-token-stays-at-label-studio",
        ),
        (
            (f"{CREDENTIALS}test_neither_the_stores_signature_nor_the_audio_follows_a_redirect[307]",),
            "the-store-is-not-redirected",
        ),
    ),
    58: (
        (
            (f"{SLOW}test_with_300_silent_and_50_slow_clients_everybody_else_is_answered",),
            "silent-connections-wait-in-the-loop",
        ),
        (
            (f"{SLOW}test_an_address_that_opens_too_many_loses_its_silent_ones_and_no_other",),
            "one-address-has-its-share",
        ),
        ((f"{SLOW}test_a_silent_client_is_let_go_and_half_a_head_is_told_so",), "headers-have-three-seconds"),
        (
            (f"{SLOW}test_large_bodies_that_stall_leave_threads_for_the_same_paths_and_all_others",),
            "large-bodies-have-their-share",
        ),
        (
            (f"{ADDRESSES}test_control_characters_in_a_path_are_refused_on_every_route[%00]",),
            "control-characters-are-refused",
        ),
        ((f"{ADDRESSES}test_no_address_is_answered_with_a_redirect",), "no-redirects"),
        (
            (
                "tests/ml_backend/api/test_call_routes.py::test_a_wrong_filter_is_400[number=1]",
                "tests/ml_backend/api/test_call_routes.py::test_a_wrong_filter_is_400[since=yesterday]",
                "tests/ml_backend/api/test_annotation_routes.py::test_a_wrong_filter_is_400[edited=no]",
            ),
            "filters-are-checked",
        ),
        ((f"{SLOW}test_an_answer_taken_slowly_holds_no_thread",), "answers-wait-in-the-loop"),
        ((f"{SLOW}test_a_body_nobody_read_is_not_taken_for_the_next_request",), "an-unread-body-ends-its-connection"),
    ),
    59: (
        (
            (
                f"{NUMBERS_ELSEWHERE}test_no_form_of_the_number_survives_an_erasure_in_any_table[caller]",
                f"{NUMBERS_ELSEWHERE}test_no_form_of_the_number_survives_an_erasure_in_any_table[call]",
            ),
            "names-that-carry-numbers-are-hashed",
        ),
        (
            (f"{NUMBERS_ELSEWHERE}test_an_address_keeps_its_number_until_the_recording_is_in_and_not_longer",),
            "addresses-lose-their-numbers",
        ),
        (
            (f"{NUMBERS_ELSEWHERE}test_raw_events_lose_their_content_after_the_period_and_keep_what_the_ledger_needs",),
            "raw-events-have-a-period",
        ),
        (
            (
                f"{NUMBERS_ELSEWHERE}"
                "test_numbers_that_an_older_release_left_in_its_rows_go_once_at_the_first_night[sqlite]",
            ),
            "older-rows-lose-their-numbers",
        ),
        (
            (
                f"{NUMBERS_ELSEWHERE}test_a_call_that_an_older_release_took_in_again_is_hidden_beside_its_hash[sqlite]",
                f"{NUMBERS_ELSEWHERE}test_an_erasure_of_a_call_whose_hash_is_taken_ends_well[sqlite]",
            ),
            "a-taken-hash-gets-the-rows-id",
        ),
    ),
}
