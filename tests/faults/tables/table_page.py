"""Rows of the table for what people look at and listen to: F number -> (tests, guard)."""

from __future__ import annotations

CALLS, LISTENINGS = "tests/ml_backend/page/test_calls_page.py::", "tests/ml_backend/calls/test_listenings.py::"

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
    ),
}
