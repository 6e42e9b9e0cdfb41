"""Which test meets which fault: F number -> tests. A fault whose test stands elsewhere is not tested here again.

`make faults` runs everything named here. A test of tests/faults carries its number in its name and need not be named;
others are named as pytest knows them. Every one names the guard without which it must fail.

F21, memory: the kernel kills without a word, so no error can say how many MB were asked for. A death of any cause is
answered by hearing each call of the pool alone, twice; with the third death the call is set aside, with its count of
deaths. There is no decoding in smaller batches than alone, so a call that is too much alone is not heard at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.faults.tables.table_hostile import HOSTILE
from tests.faults.tables.table_live import PHONE
from tests.faults.tables.table_models import MODELS
from tests.faults.tables.table_operators import OPERATORS
from tests.faults.tables.table_page import PAGE
from tests.faults.tables.table_sync import SYNC

ROOT = Path(__file__).parents[3]
NUMBERS = range(1, 75)
WORKER, RUNNER = (f"tests/ml_backend/jobs/test_{name}.py::" for name in ("worker_process", "runner"))
RELAY = "tests/ml_backend/jobs/test_relay.py::"
OUTBOUND, DOWNLOADS = "tests/sync/outbound/test_fetching.py::", "tests/sync/exotel/test_downloads.py::"
LISTING, LEDGER = "tests/sync/exotel/test_listing.py::", "tests/ml_backend/calls/test_ledger.py::"
AUDIO, STORAGE = "tests/ml_backend/audio/test_decoding.py::", "tests/ml_backend/storage/test_object_store.py::"
CONTAINERS = "tests/ml_backend/audio/test_containers.py::"
JAIL = "tests/ml_backend/audio/test_decoder_jail.py::"
AGAIN, TOKENS = "tests/sync/recordings/test_refetching.py::", "tests/sync/label_studio/test_tokens.py::"


@dataclass(frozen=True)
class Elsewhere:
    """Tests of other files that meet a fault, and the guard that must be there for them to pass."""

    tests: tuple[str, ...]
    guard: str | None = None


def _one(*tests: str, guard: str | None = None) -> Elsewhere:
    return Elsewhere(tests, guard)


TABLE: dict[int, tuple[Elsewhere, ...]] = {
    8: (
        _one(
            f"{WORKER}test_a_message_taken_by_a_worker_that_died_before_starting_is_sent_again[sqlite]",
            guard="lost-messages-are-sent-again",
        ),
    ),
    11: (
        _one(
            f"{WORKER}test_a_worker_killed_in_mid_job_is_replaced_and_the_job_has_one_effect[sqlite]",
            guard="leases-run-out",
        ),
    ),
    12: (
        _one(
            f"{WORKER}test_a_job_that_kills_its_process_three_times_is_set_aside_and_the_others_flow[sqlite]",
            guard="deaths-are-counted",
        ),
    ),
    13: (
        _one(f"{RUNNER}test_a_slow_old_attempt_cannot_overwrite_what_a_later_one_wrote[sqlite]", guard="fencing"),
        _one(
            f"{RUNNER}test_a_process_that_slept_through_its_lease_ends_when_it_wakes[sqlite]",
            guard="a-lost-lease-ends-the-process",
        ),
    ),
    14: (
        _one(
            f"{RELAY}test_redis_being_away_leaves_rows_waiting_and_one_line_a_minute[sqlite]",
            guard="trouble-is-said-once-a-minute",
        ),
        _one(f"{WORKER}test_a_worker_waits_out_a_redis_that_goes_away[sync-sqlite]", guard="redis-is-waited-out"),
    ),
    15: (
        _one(
            f"{RELAY}test_a_redis_that_accepts_and_is_silent_holds_the_relay_up_for_about_a_second[sqlite]",
            guard="redis-calls-end",
        ),
    ),
    16: (
        _one(
            f"{RELAY}test_emptying_redis_with_a_hundred_jobs_pending_loses_and_repeats_nothing[sqlite]",
            guard="lost-messages-are-sent-again",
        ),
    ),
    17: (
        _one(
            f"{RELAY}test_a_redis_that_evicts_is_refused_with_a_plain_sentence[allkeys-lru-sqlite]",
            guard="evicting-redis-is-refused",
        ),
        _one(f"{RELAY}test_a_full_redis_leaves_rows_waiting[sqlite]", guard="a-full-redis-is-noticed"),
    ),
    19: (
        _one(f"{WORKER}test_hostile_messages_are_set_aside_and_never_executed[sync-sqlite]", guard="own-messages-only"),
    ),
    20: (
        _one(
            f"{WORKER}test_a_worker_asked_to_stop_finishes_the_job_in_hand_and_takes_no_other[sqlite]",
            guard="stopping-is-noticed",
        ),
    ),
    6: (
        _one(f"{LEDGER}test_all_120_orders_of_the_five_kinds_of_message_give_the_same_row", guard="merging-by-rank"),
        _one(f"{LEDGER}test_an_empty_field_never_wipes_a_filled_one", guard="empty-fields-say-nothing"),
    ),
    7: (_one(f"{LISTING}test_calls_no_callback_told_of_are_found", guard="listing-is-read"),),
    25: (
        _one(
            f"{STORAGE}TestS3Signatures::test_a_wrong_secret_is_refused_and_no_credential_is_repeated",
            f"{STORAGE}TestEveryStore::test_a_missing_bucket_is_a_configuration_error[moto]",
            guard="a-refusing-store-is-a-setting",
        ),
    ),
    26: (
        _one(
            f"{STORAGE}test_of_writers_at_once_in_many_processes_one_stores_and_its_bytes_stay[moto-whole]",
            guard="the-first-of-two-writers-stays",
        ),
        _one(
            f"{STORAGE}TestEveryStore::test_the_same_bytes_again_are_accepted_and_other_bytes_are_not[moto]",
            guard="objects-are-never-overwritten",
        ),
        _one(
            "tests/sync/recordings/test_originals.py::test_other_bytes_under_the_same_name_are_both_kept",
            guard="a-taken-name-gets-a-digest",
        ),
    ),
    28: (_one(f"{OUTBOUND}test_a_cut_body_says_how_much_came", guard="body-length"),),
    29: (
        _one(f"{OUTBOUND}test_the_deadline_covers_everything[drip]", guard="total-deadline"),
        _one(
            f"{DOWNLOADS}test_too_many_bytes_are_refused_with_the_setting_that_says_how_many[endless]", guard="byte-cap"
        ),
    ),
    30: (
        _one(f"{OUTBOUND}test_no_hostile_redirect_is_followed", guard="redirects-are-judged"),
        _one(f"{OUTBOUND}test_the_metadata_service_is_not_reached", guard="redirects-are-judged"),
    ),
    31: (
        _one(f"{OUTBOUND}test_the_connection_goes_to_the_address_that_was_judged", guard="one-look-up-per-connection"),
        _one(f"{OUTBOUND}test_a_name_that_resolves_to_the_inside_is_refused", guard="inside-addresses"),
    ),
    32: (_one(f"{OUTBOUND}test_a_redirect_loop_ends_after_three", guard="three-redirects"),),
    33: (
        _one(
            f"{OUTBOUND}test_a_redirect_to_another_listed_host_is_followed_without_credentials",
            guard="credentials-stay-home",
        ),
    ),
    34: (_one(f"{DOWNLOADS}test_a_refused_key_stops_the_account_and_burns_no_attempt", guard="refused-key-stops"),),
    35: (
        _one(
            f"{DOWNLOADS}test_what_is_not_there_is_asked_for_again_on_the_ladder_and_then_missing[403]",
            f"{DOWNLOADS}test_what_is_not_there_is_asked_for_again_on_the_ladder_and_then_missing[404]",
            guard="missing-recordings-are-asked-for-again",
        ),
    ),
    36: (
        _one(
            f"{DOWNLOADS}test_trouble_that_passes_uses_no_rung_of_the_ladder[429-bare]",
            f"{DOWNLOADS}test_trouble_that_passes_uses_no_rung_of_the_ladder[503]",
            f"{DOWNLOADS}test_the_provider_says_how_long_to_wait",
            guard="passing-trouble-is-no-rung",
        ),
        _one(
            f"{DOWNLOADS}test_what_is_not_there_is_asked_for_again_on_the_ladder_and_then_missing[html]",
            guard="pages-are-no-audio",
        ),
    ),
    37: (
        _one(
            f"{DOWNLOADS}test_too_many_bytes_are_refused_with_the_setting_that_says_how_many[gzip-bomb]",
            guard="byte-cap",
        ),
    ),
    38: (
        _one(f"{AUDIO}test_a_recording_cut_short_is_never_taken_for_whole", guard="lengths-are-compared"),
        _one(
            f"{AGAIN}test_a_cut_recording_is_fetched_once_more_and_the_whole_one_is_used",
            guard="accidents-are-fetched-once-more",
        ),
        _one(f"{AGAIN}test_a_worse_second_fetch_does_not_replace_the_first", guard="the-better-of-two-is-kept"),
    ),
    39: (
        _one(f"{AUDIO}test_an_empty_recording_is_called_empty", guard="nothing-is-empty"),
        _one(
            f"{AGAIN}test_what_is_no_recording_is_fetched_once_more_and_then_refused",
            guard="accidents-are-fetched-once-more",
        ),
    ),
    40: (
        _one(
            f"{AUDIO}test_what_is_not_audio_is_refused_with_a_plain_reason",
            f"{AUDIO}test_random_bytes_never_crash_the_caller",
            guard="decoder-errors-are-ours",
        ),
    ),
    41: (
        _one(f"{AUDIO}test_a_damaged_middle_is_noticed", guard="lengths-are-compared"),
        _one(f"{CONTAINERS}test_files_joined_end_to_end_are_one_sound_and_not_marked_cut", guard="structure-is-read"),
    ),
    42: (
        _one(f"{AUDIO}test_memory_does_not_grow_with_the_call", guard="decoded-in-pieces"),
        _one(
            "tests/sync/transcription/test_long_calls.py::test_text_and_times_are_those_of_the_whole_file",
            guard="times-count-from-the-first-second",
        ),
    ),
    43: (
        _one(f"{AUDIO}test_bombs_are_refused_quickly_and_cheaply", guard="decoder-limits"),
        _one(f"{AUDIO}test_a_length_that_the_header_hides_is_still_bounded", guard="decoder-limits"),
    ),
    44: (
        _one(f"{AUDIO}test_a_playlist_in_disguise_opens_no_other_recording", guard="format-whitelist"),
        _one(f"{AUDIO}test_the_child_can_open_no_file_at_all_while_it_decodes", guard="files-closed-to-the-decoder"),
        _one(f"{JAIL}test_a_decoder_that_was_taken_over_reaches_nothing", guard="decoder-is-locked-in"),
    ),
    45: (_one(f"{AUDIO}test_a_decoder_that_dies_or_hangs_leaves_its_caller_alive", guard="decoder-limits"),),
    46: (
        _one(
            "tests/ml_backend/audio/test_quality.py::test_without_speech_the_score_is_0_and_nothing_divides_by_it",
            guard="energy-alone-is-no-speech",
        ),
        _one(
            "tests/ml_backend/asr/test_guards.py::test_invented_text_is_dropped_with_its_reason",
            "tests/sync/transcription/test_long_calls.py::test_where_nobody_speaks_no_text_is_invented_and_the_call_goes_on",
            guard="text-needs-a-voice",
        ),
    ),
    49: (_one(f"{DOWNLOADS}test_our_own_full_disk_never_makes_a_call_missing", guard="a-full-disk-pauses-downloads"),),
    56: (
        _one(
            f"{TOKENS}test_an_access_token_that_ended_early_is_exchanged_once_and_the_request_sent_again",
            guard="an-expired-token-is-exchanged-once",
        ),
    ),
    60: (
        _one(f"{LISTING}test_trouble_between_two_pages_is_gone_on_from_the_checkpoint", guard="pages-are-checkpointed"),
        _one(f"{LISTING}test_a_next_link_that_goes_round_is_passed_by_asking_again", guard="circles-are-noticed"),
        _one(f"{LISTING}test_calls_that_appear_or_move_while_pages_are_read_are_seen", guard="runs-overlap"),
        _one(
            f"{LISTING}test_five_months_are_read_in_windows_of_a_month_over_year_end_and_leap_day",
            guard="windows-of-a-month",
        ),
        _one(f"{LISTING}test_what_exotel_no_longer_lists_is_refused_by_name", guard="six-months-are-the-end"),
        _one(f"{LISTING}test_an_error_inside_a_200_is_one", guard="errors-inside-a-200"),
    ),
    61: (_one(f"{LISTING}test_two_readers_one_lease", guard="one-reader-of-the-listing"),),
    62: (
        _one(
            f"{RELAY}test_a_jump_of_the_clock_takes_no_lease_from_a_living_runner[sqlite]",
            guard="clock-jumps-are-noticed",
        ),
        _one(
            f"{RUNNER}test_a_lease_written_before_the_clock_went_back_does_not_hold_a_job_for_ever[sqlite]",
            guard="leases-too-far-ahead-are-over",
        ),
        _one(
            f"{STORAGE}TestS3Signatures::test_a_clock_that_is_off_is_named_as_the_cause",
            guard="a-refusing-store-is-a-setting",
        ),
        _one(f"{LISTING}test_the_window_is_asked_for_in_india_time", guard="the-provider-has-a-zone"),
    ),
}
for _number, _rows in (row for rows in (HOSTILE, MODELS, OPERATORS, PAGE, PHONE, SYNC) for row in rows.items()):
    TABLE[_number] = (*TABLE.get(_number, ()), *(_one(*tests, guard=guard) for tests, guard in _rows))

# Faults that nothing here meets, each with the reason. Shrink this list.
UNMET: dict[int, str] = {}

# Tests of faults that no piece of our own code holds off, each with what does instead. Shrink this list, too.
NOBODY_GUARDS: dict[str, str] = {}


@cache
def here() -> dict[int, list[str]]:
    """The tests of tests/faults by the number in their name."""
    found: dict[int, list[str]] = {}
    for file in sorted(Path(__file__).parents[1].glob("test_*.py")):
        for name, number in re.findall(r"^def (test_f(\d+)_\w+)", file.read_text(), re.MULTILINE):
            found.setdefault(int(number), []).append(f"tests/faults/{file.name}::{name}")
    return found


def elsewhere() -> list[str]:
    """The tests of other files, each once."""
    return list(dict.fromkeys(test for entries in TABLE.values() for entry in entries for test in entry.tests))


def guarded() -> list[tuple[int, str, str]]:
    """(fault, test, guard) for every fault that a guard of ours holds off."""
    rows = [
        (number, test, entry.guard)
        for number, entries in TABLE.items()
        for entry in entries
        for test in entry.tests
        if entry.guard
    ]
    marked = re.compile(r'@pytest\.mark\.guard\(([^)\n]*)\)\n(?:@[^\n]*\n|[ \t\])"][^\n]*\n)*?def (test_f(\d+)_\w+)')
    for file in sorted(Path(__file__).parents[1].glob("test_*.py")):
        for names, test, number in marked.findall(file.read_text()):
            rows += [
                (int(number), f"tests/faults/{file.name}::{test}", guard) for guard in re.findall(r"[\w-]+", names)
            ]
    return sorted(rows)
