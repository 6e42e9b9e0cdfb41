"""Which test meets which fault: F number -> tests. A fault whose test stands elsewhere is not tested here again.

`make faults` runs everything named here. A test of tests/faults carries its number in its name and need not be named;
others are named as pytest knows them, with the guard (tests/faults/guards.py) without which they must fail.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
NUMBERS = range(1, 63)
WORKER, RELAY, RUNNER = (f"tests/ml_backend/test_{name}.py::" for name in ("worker", "relay", "runner"))
AUDIO, STORAGE = "tests/ml_backend/test_audio.py::", "tests/ml_backend/test_storage.py::"


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
    11: (_one(f"{WORKER}test_a_worker_killed_in_mid_job_is_replaced_and_the_job_has_one_effect[sqlite]"),),
    12: (
        _one(
            f"{WORKER}test_a_job_that_kills_its_process_three_times_is_set_aside_and_the_others_flow[sqlite]",
            guard="deaths-are-counted",
        ),
    ),
    13: (
        _one(
            f"{RUNNER}test_a_slow_old_attempt_cannot_overwrite_what_a_later_one_wrote[sqlite]",
            guard="fencing",
        ),
        _one(f"{RUNNER}test_a_process_that_slept_through_its_lease_ends_when_it_wakes[sqlite]"),
    ),
    14: (
        _one(
            f"{RELAY}test_redis_being_away_leaves_rows_waiting_and_one_line_a_minute[sqlite]",
            f"{WORKER}test_a_worker_waits_out_a_redis_that_goes_away[sync-sqlite]",
        ),
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
        _one(f"{RELAY}test_a_full_redis_leaves_rows_waiting[sqlite]"),
    ),
    19: (
        _one(
            f"{WORKER}test_hostile_messages_are_set_aside_and_never_executed[sync-sqlite]",
            guard="own-messages-only",
        ),
    ),
    20: (_one(f"{WORKER}test_a_worker_asked_to_stop_finishes_the_job_in_hand_and_takes_no_other[sqlite]"),),
    25: (
        _one(
            f"{STORAGE}TestS3Signatures::test_a_wrong_secret_is_refused_and_no_credential_is_repeated",
            f"{STORAGE}TestEveryStore::test_a_missing_bucket_is_a_configuration_error[moto]",
        ),
    ),
    26: (
        _one(
            f"{STORAGE}TestEveryStore::test_the_same_bytes_again_are_accepted_and_other_bytes_are_not[moto]",
            guard="objects-are-never-overwritten",
        ),
    ),
}


# Faults that nothing here meets, each with the reason. Shrink this list.
UNMET: dict[int, str] = dict.fromkeys((6, 7, 9, 10, 21, 22, 23, 24, *range(27, 47), 51, *range(54, 63)), "not yet")


@cache
def here() -> dict[int, list[str]]:
    """The tests of tests/faults by the number in their name."""
    found: dict[int, list[str]] = {}
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
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
    marked = re.compile(r'@pytest\.mark\.guard\("([\w-]+)"\)\n(?:@[^\n]*\n|[ \t\])"][^\n]*\n)*?def (test_f(\d+)_\w+)')
    for file in sorted(Path(__file__).parent.glob("test_*.py")):
        for guard, name, number in marked.findall(file.read_text()):
            rows.append((int(number), f"tests/faults/{file.name}::{name}", guard))
    return sorted(rows)
