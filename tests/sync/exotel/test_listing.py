"""The listing is the contract: every listed call has its row once, whatever the provider's pages do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ml_backend import tables
from ml_backend.errors import ConfigurationError, InvalidInput, KaanError, RetryableError
from ml_backend.jobs import enqueueing, failpoints, job_kinds
from sync.exotel import exotel_client as exotel
from sync.exotel import listing, reader_positions
from tests.servers.exotel import FIXTURES
from tests.sync.provider import SPEECH, Beside, beside

MINUTE = timedelta(minutes=1)
PAGE = 10
MOST = exotel.PAGE_SIZE


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Beside]:
    monkeypatch.setattr(exotel, "PAGE_SIZE", PAGE)  # short pages: what is tested is what happens between two
    with beside(tmp_path, monkeypatch) as service:
        yield service


def at(here: Beside, text: str) -> datetime:
    """Move the clock to a moment."""
    moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
    here.moved += moment - here.now()
    return moment


def reconcile(here: Beside, hours: int = 2) -> list[Any]:
    with here.context.db.transaction() as connection:
        enqueueing.enqueue(connection, job_kinds.RECONCILE_CALLS, key=str(hours), hours=hours)
    return [outcome for outcome in here.run() if outcome.name == "reconcile-calls"]


def read(here: Beside, since: datetime, until: datetime | None = None, label: str = "since") -> listing.Walk:
    """A back-fill, as the command does it."""
    walk = listing.begin(here.context, label, since=since, until=until or here.now(), priority=job_kinds.BULK)
    assert walk is not None
    try:
        listing.go(here.context, walk)
    finally:
        listing.leave(here.context, walk)
    return walk


def many(here: Beside, number: int, *, every: timedelta = MINUTE, before: timedelta = timedelta(0)) -> None:
    for each in range(number):
        here.provider.add(each + 1, created=here.now() - before - every * each, status="no-answer")


def sids(here: Beside) -> list[str]:
    return sorted(call.call_sid for call in here.rows(tables.calls))


def listed(here: Beside) -> list[str]:
    return sorted({row["Sid"] for row in here.provider.calls})


def pages(here: Beside) -> list[str]:
    return [seen.query for seen in here.provider.asked("api", below="Calls.json")]


def test_the_recorded_pages_give_the_calls_they_promise(here: Beside) -> None:
    at(here, "2024-01-16T12:00:00")
    expected = json.loads((FIXTURES / "api_calls_expect.json").read_text())
    waiting = [json.loads((FIXTURES / name).read_text()) for name in expected["pages"]]
    here.provider.change_page = lambda page: waiting.pop(0)
    read(here, datetime(2024, 1, 14, 18, 30, tzinfo=UTC))
    assert sids(here) == sorted(expected["distinct_sids"])
    recorded = {row.call_sid for row in here.rows(tables.recordings)}
    assert recorded == set(expected["with_recording"])
    waits = {call.call_sid for call in here.rows(tables.calls) if call.next_action == "look-up"}
    assert waits == set(expected["completed_without_recording"])
    assert all(call.listed_at and call.source == "listing" for call in here.rows(tables.calls))
    here.sound()


def test_an_empty_listing_and_an_empty_next_link_are_the_end(here: Beside) -> None:
    at(here, "2024-01-16T12:00:00")
    for name, calls in (("api_calls_empty", 0), ("api_calls_last_page_empty_next", 1)):
        answer = json.loads((FIXTURES / f"{name}.json").read_text())
        here.provider.change_page = lambda page, answer=answer: answer
        assert read(here, here.now() - timedelta(days=2)).kept.calls == calls


def test_calls_no_callback_told_of_are_found(here: Beside) -> None:
    """30 % of the callbacks are lost: everything is there after one run, and says how it became known."""
    for number in range(1, 41):
        row = here.provider.add(number, created=here.now() - MINUTE * number, audio=SPEECH + bytes([number]))
        if number % 10 > 2:
            here.told(row)
    reconcile(here)
    calls = here.rows(tables.calls)
    assert len(calls) == 40
    assert {call.state for call in calls} == {"fetched"}
    assert [call.source for call in calls].count("listing") == 12
    assert all(call.listed_at for call in calls)
    here.sound()


def test_pages_are_followed_and_a_second_run_changes_nothing(here: Beside) -> None:
    many(here, 25, every=timedelta(seconds=20))
    reconcile(here)
    assert sids(here) == listed(here)
    assert len(pages(here)) == 3
    before = [tuple(row) for row in here.rows(tables.calls)]
    reconcile(here)
    assert [tuple(row) for row in here.rows(tables.calls)] == before


def test_the_window_is_asked_for_in_india_time(here: Beside) -> None:
    at(here, "2026-03-01T20:00:00")
    reconcile(here)
    [query] = pages(here)
    assert "gte%3A2026-03-01%2023%3A30%3A00%3Blte%3A2026-03-02%2001%3A30%3A0" in query
    assert "PageSize=10" in query
    assert MOST == 100
    assert "SortBy=DateCreated%3Aasc" in query


@pytest.mark.parametrize(
    "now", ["2026-03-31T10:00:00", "2024-03-31T10:00:00", "2026-01-10T10:00:00", "2026-08-31T20:00:00"]
)
def test_five_months_are_read_in_windows_of_a_month_over_year_end_and_leap_day(here: Beside, now: str) -> None:
    """The provider refuses what is longer than a month or older than six."""
    moment = at(here, now)
    many(here, 160, every=timedelta(days=1))
    read(here, moment - timedelta(days=159, hours=1))
    assert sids(here) == listed(here)
    here.sound()


def test_what_exotel_no_longer_lists_is_refused_by_name(here: Beside) -> None:
    at(here, "2026-11-22T10:00:00")
    settings = here.context.settings
    with pytest.raises(InvalidInput, match="2026-05-23") as caught:
        listing.refuse_too_old(settings, datetime(2026, 5, 1, tzinfo=UTC))
    assert caught.value.code == "listing-too-old"
    listing.refuse_too_old(settings, datetime(2026, 5, 22, 18, 30, tzinfo=UTC))  # midnight in India


HOSTILE_NEXT = [
    "https://evil.invalid/v1/Accounts/exampleaccount1/Calls.json?After=x",
    "//evil.invalid/v1/Accounts/exampleaccount1/Calls.json?After=x",
    "http://169.254.169.254/latest/meta-data/",
    "javascript:alert(1)",
    "@evil.invalid/",
    ".evil.invalid/",
    ":80@evil.invalid/",
    "/v1/Accounts/another/Calls.json?After=x",
    "/v1/Accounts/exampleaccount1/../another/Calls.json?After=x",
    "/v1/Accounts/exampleaccount1/Calls.json\\?After=x",
    "/v1/Accounts/exampleaccount1/Calls.json?After=x\r\nHost: evil.invalid",
    "/v1/Accounts/exampleaccount1/Calls/x.json",
    7,
    ["/v1"],
    {"path": "/v1"},
    True,
]


@pytest.mark.parametrize("link", HOSTILE_NEXT, ids=str)
def test_a_next_link_is_a_path_of_this_account_or_the_page_is_refused(here: Beside, link: Any) -> None:
    many(here, 5)

    def change(page: dict[str, Any]) -> dict[str, Any]:
        page["Metadata"]["NextPageUri"] = link
        return page

    here.provider.change_page = change
    if link == "/v1/Accounts/exampleaccount1/Calls.json?After=x\r\nHost: evil.invalid":
        pass  # escaped, it is a cursor like any other: it stays on the host
    else:
        [outcome] = reconcile(here)
        assert (outcome.state, outcome.error_code) == ("waiting", "exotel-strange-answer")
        assert sids(here) == []
        [place] = [row for row in here.rows(tables.checkpoints) if row.name.endswith(":last-2h")]
        assert place.position["at"] == place.position["since"], "the checkpoint did not move"
    assert {seen.listener for seen in here.provider.asked()} <= {"api"}


@pytest.mark.parametrize(
    "answer",
    [
        {"Calls": None, "Metadata": {}},
        {"Calls": {}, "Metadata": {}},
        {"Metadata": {}},
        {"Calls": []},
        {"Calls": [None], "Metadata": {}},
        {"Calls": [{}], "Metadata": {}},
        {"Calls": [{"Sid": ""}], "Metadata": {}},
        {"Calls": [{"Sid": 7}], "Metadata": {}},
        {"Calls": [{"Sid": "../x"}], "Metadata": {}},
        {"Calls": [{"Sid": "a\nb"}], "Metadata": {}},
        [],
        None,
        "text",
    ],
    ids=str,
)
def test_a_page_with_something_else_on_it_is_refused_as_a_whole(here: Beside, answer: Any) -> None:
    good = here.provider.add(1)
    if isinstance(answer, dict) and isinstance(answer.get("Calls"), list) and answer["Calls"]:
        answer["Calls"].insert(0, good)
    here.provider.change_page = lambda page: answer
    [outcome] = reconcile(here)
    assert outcome.error_code == "exotel-strange-answer"
    assert here.rows(tables.calls) == []


@pytest.mark.parametrize(
    ("mode", "code"),
    [
        ("429", "http-busy"),
        ("503", "http-unavailable"),
        ("html", "exotel-strange-answer"),
        ("xml", "exotel-strange-answer"),
        ("empty", "exotel-strange-answer"),
        ("short", "download-cut"),
        ("reset", "download-cut"),
    ],
)
def test_trouble_between_two_pages_is_gone_on_from_the_checkpoint(here: Beside, mode: str, code: str) -> None:
    many(here, 25, every=timedelta(seconds=20))
    here.provider.script("listing", ["ok", mode])
    [outcome] = reconcile(here)
    assert (outcome.state, outcome.error_code) == ("waiting", code)
    assert len(sids(here)) == PAGE
    here.later(minutes=2)
    assert sids(here) == listed(here)
    assert len(pages(here)) == 4, "the first page was not asked for again"


def test_an_error_inside_a_200_is_one(here: Beside) -> None:
    here.provider.script("listing", ["fixture:api_200_error_body"])
    [outcome] = reconcile(here)
    assert (outcome.state, outcome.error_code) == ("failed", "http-refused")


def test_the_wrong_region_is_a_setting_to_correct(here: Beside) -> None:
    here.provider.script("listing", ["404"])
    [outcome] = reconcile(here)
    assert (outcome.state, outcome.error_code) == ("failed", "exotel-not-found")
    assert "EXOTEL_API_URL" in outcome.next_step


def test_a_refused_key_ends_the_run_and_the_next_does_not_even_ask(here: Beside) -> None:
    here.settings(exotel_api_token=SecretStr("a wrong token that nobody knows"))
    [outcome] = reconcile(here)
    assert (outcome.state, outcome.error_code) == ("failed", "http-unauthorised")
    assert reconcile(here)[0].state == "done"
    assert len(here.provider.asked("api")) == 1


def test_a_next_link_that_is_missing_is_passed_by_asking_again(here: Beside) -> None:
    many(here, 25, every=timedelta(seconds=20))

    def drop(page: dict[str, Any]) -> dict[str, Any]:
        page["Metadata"]["NextPageUri"] = None
        return page

    here.provider.change_page = drop
    reconcile(here)
    assert sids(here) == listed(here)


def test_a_next_link_that_goes_round_is_passed_by_asking_again(here: Beside) -> None:
    many(here, 25, every=timedelta(seconds=20))
    first: list[str] = []

    def round_(page: dict[str, Any]) -> dict[str, Any]:
        first.append(pages(here)[-1])
        page["Metadata"]["NextPageUri"] = f"/v1/Accounts/{here.provider.account}/Calls.json?{first[-1]}"
        return page

    here.provider.change_page = round_
    [outcome] = reconcile(here)
    assert sids(here) == listed(here)
    assert len(pages(here)) < 10
    assert outcome.error_code in (None, "listing-stuck")


def test_a_count_that_is_too_large_for_ever_does_not_stop_us(here: Beside) -> None:
    many(here, 5)

    def more(page: dict[str, Any]) -> dict[str, Any]:
        page["Metadata"]["Total"] = 10**6
        return page

    here.provider.change_page = more
    [outcome] = reconcile(here)
    assert outcome.state == "done"
    assert len(pages(here)) <= 2


def test_a_count_in_superscript_is_no_count_and_the_calls_are_taken(here: Beside) -> None:
    many(here, 5)

    def superscript(page: dict[str, Any]) -> dict[str, Any]:
        page["Metadata"]["Total"] = "\u2075"
        return page

    here.provider.change_page = superscript
    [outcome] = reconcile(here)
    assert outcome.error_code is None
    assert sids(here) == listed(here)


def test_a_status_in_superscript_inside_a_200_is_a_refusal_like_any_other(here: Beside) -> None:
    here.provider.change_page = lambda page: {"RestException": {"Status": "4\u00b29", "Message": "no"}}
    [outcome] = reconcile(here)
    assert (outcome.state, outcome.error_code) == ("failed", "http-refused")


@pytest.mark.parametrize(("mode", "code"), [("wait:\u00b2", "http-busy"), ("length:\u00b2", "http-unreachable")])
def test_a_wait_or_a_length_in_superscript_is_passing_trouble(here: Beside, mode: str, code: str) -> None:
    many(here, 2)
    here.provider.script("listing", [mode])
    [outcome] = reconcile(here)
    assert (outcome.state, outcome.error_code) == ("waiting", code)


def test_calls_that_appear_or_move_while_pages_are_read_are_seen(here: Beside) -> None:
    many(here, 15, every=timedelta(seconds=20))

    def busy(page: dict[str, Any]) -> dict[str, Any]:
        if len(here.provider.calls) < 17:
            here.provider.add(900 + len(here.provider.calls), created=here.now() - timedelta(seconds=5), status="busy")
            page["Calls"].append(dict(page["Calls"][0]))  # a row repeated, out of order
        return page

    here.provider.change_page = busy
    reconcile(here)
    reconcile(here)
    assert sids(here) == listed(here)


def test_a_call_that_goes_on_is_found_after_it_ended(here: Beside) -> None:
    row = here.provider.add(1, status="in-progress")
    reconcile(here)
    assert sids(here) == []
    row["Status"] = "completed"
    here.moved += timedelta(hours=4)
    reconcile(here, 2)
    assert sids(here) == [], "created four hours ago: not in the short run"
    reconcile(here, 24)
    assert sids(here) == [row["Sid"]]


def test_a_window_is_final_only_when_the_longest_call_is_over(here: Beside) -> None:
    reconcile(here, 24)
    final = listing.final_until(here.context)
    assert final is not None
    assert timedelta(hours=4, minutes=14) < here.now() - final < timedelta(hours=4, minutes=16)


def test_a_month_without_us_is_caught_up_by_the_daily_run(here: Beside) -> None:
    reconcile(here, 24)
    here.moved += timedelta(days=40)
    lost = here.provider.add(1, created=here.now() - timedelta(days=30), status="busy")
    reconcile(here, 2)
    reconcile(here, 24)
    assert sids(here) == []
    reconcile(here, 168)
    assert sids(here) == [lost["Sid"]]
    final = listing.final_until(here.context)
    assert final is not None
    assert here.now() - final < timedelta(hours=5)


def test_a_back_fill_of_old_weeks_does_not_make_all_calls_since_then_live(here: Beside) -> None:
    read(here, here.now() - timedelta(days=90), here.now() - timedelta(days=60))
    assert listing.final_until(here.context) is None
    reconcile(here, 24)
    read(here, here.now() - timedelta(days=90), here.now() - timedelta(days=60), label="again")
    final = listing.final_until(here.context)
    assert final is not None
    assert here.now() - final < timedelta(hours=5)


@pytest.mark.parametrize("mode", ["redirect:https://evil.invalid/", "redirect:/elsewhere", "brotli", "gzip-bomb"])
def test_an_answer_exotel_never_gives_is_not_taken_for_one(here: Beside, mode: str) -> None:
    here.provider.script("listing", [mode])
    [outcome] = reconcile(here)
    assert (outcome.state, outcome.error_code) == ("waiting", "exotel-strange-answer")
    assert "recording" not in outcome.sentence


def test_two_readers_one_lease(here: Beside) -> None:
    first = listing.begin(here.context, "a", since=here.now() - MINUTE, until=here.now())
    assert first is not None
    assert listing.begin(here.context, "b", since=here.now() - MINUTE, until=here.now()) is None
    assert reconcile(here)[0].state == "done"
    assert here.provider.asked() == [], "the other left without asking"
    back_fill = listing.begin(here.context, "c", since=here.now() - MINUTE, until=here.now(), priority=job_kinds.BULK)
    assert back_fill is not None, "back-fill and reconciling do not wait for each other"
    listing.leave(here.context, first)
    assert listing.begin(here.context, "b", since=here.now() - MINUTE, until=here.now()) is not None


def test_a_lease_runs_out_and_a_dead_process_holds_none(here: Beside) -> None:
    def take(owner: str) -> bool:
        with here.context.db.transaction() as connection:
            return reader_positions.lease(connection, "listing-lease:test", owner)

    assert take("listing@elsewhere:1:x")
    assert not take("listing@elsewhere:2:y")
    here.moved += timedelta(minutes=3)
    assert take("listing@elsewhere:2:y")
    here.moved -= timedelta(hours=1)  # the clock went back: a lease far in the future is none
    assert take("listing@elsewhere:3:z")
    import socket

    assert not take(f"listing@{socket.gethostname()[:60]}:1:x")
    here.moved += timedelta(minutes=3)
    assert take(f"listing@{socket.gethostname()[:60]}:999999999:x")
    assert take("listing@elsewhere:4:w"), "that process is not there any more"


def test_who_lost_the_lease_writes_nothing_more(here: Beside) -> None:
    many(here, 15, every=timedelta(seconds=20))

    def stolen(page: dict[str, Any]) -> dict[str, Any]:
        if len(pages(here)) == 2:
            with here.context.db.transaction() as connection:
                position = {"owner": "listing@elsewhere:1:x", "until": (here.now() + MINUTE).isoformat()}
                reader_positions.write(connection, "listing-lease:reconcile", position)
        return page

    here.provider.change_page = stolen
    [outcome] = reconcile(here)
    assert outcome.error_code == "lease-lost"
    assert len(sids(here)) == PAGE


@pytest.mark.parametrize("place", ["listing.before-checkpoint", "listing.after-page"])
def test_a_back_fill_killed_after_every_page_misses_nothing_and_repeats_one_page_at_most(
    here: Beside, place: str
) -> None:
    many(here, 100, every=timedelta(hours=5), before=timedelta(hours=5))
    since = here.now() - timedelta(days=30)
    kills = 0

    class Killed(BaseException):
        pass

    def kill(name: str) -> None:
        if name == place:
            raise Killed

    failpoints.arm(kill)
    try:
        while True:
            try:
                read(here, since)
                break
            except Killed:
                kills += 1
                if kills == 10:
                    failpoints.arm(None)
                assert kills < 30
    finally:
        failpoints.arm(None)
    assert sids(here) == listed(here)
    assert len(pages(here)) <= 10 + 2 + 2 * kills
    here.sound()


def test_live_calls_go_before_back_fill(here: Beside) -> None:
    here.provider.add(1, created=here.now() - timedelta(days=3), audio=SPEECH)
    read(here, here.now() - timedelta(days=4), here.now() - timedelta(days=2))
    here.provider.add(3, created=here.now() - timedelta(days=3))
    read(here, here.now() - timedelta(days=4), here.now() - timedelta(days=2), label="again")
    assert [job.priority for job in here.waiting("look-up-call")] == [job_kinds.BULK]
    live = here.provider.add(2, audio=SPEECH)
    here.told(live)
    found = {job.priority: job.arguments for job in here.waiting("fetch-recording")}
    assert sorted(found) == [job_kinds.LIVE, job_kinds.BULK]
    priorities = {row.call_sid: row.priority for row in here.rows(tables.recordings)}
    assert priorities == {here.provider.calls[0]["Sid"]: job_kinds.BULK, live["Sid"]: job_kinds.LIVE}


def test_without_an_account_nothing_is_asked(here: Beside) -> None:
    here.settings(exotel_account_sid="")
    assert reconcile(here)[0].state == "done"
    assert here.provider.asked() == []
    with pytest.raises(ConfigurationError, match="No Exotel account"):
        exotel.client_of(here.context)


def test_the_account_is_asked_at_its_pace_by_all_processes_together(here: Beside) -> None:
    """Two clients of one database share the places in time; 60 a minute are a second apart."""
    from sync.exotel.rate_limiter import RateLimiter

    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        here.moved += timedelta(seconds=seconds)

    paces = [RateLimiter(here.context.db, "an-account", per_minute=60, sleep=sleep) for _ in range(2)]
    began = here.now()
    for number in range(60):
        paces[number % 2].take()
    assert 58 < (here.now() - began).total_seconds() < 61

    paces[0].hold(30)
    with pytest.raises(RetryableError) as caught:
        paces[1].take()
    assert caught.value.after_s is not None
    assert 28 < caught.value.after_s <= 31
    here.moved -= timedelta(hours=3)  # the clock went back: nobody waits three hours
    paces[1].take()


def test_after_a_429_all_processes_wait(here: Beside) -> None:
    here.provider.script("listing", ["429"])
    reconcile(here)
    with pytest.raises(KaanError) as caught:
        exotel.client_of(here.context).call("a1")
    assert caught.value.code == "exotel-pace"
    assert len(here.provider.asked("api")) == 1


def test_a_key_in_the_address_is_refused_and_not_repeated(here: Beside) -> None:
    here.settings(exotel_api_url="https://some-key:some-token@api.exotel.com")
    with pytest.raises(ConfigurationError) as caught:
        exotel.client_of(here.context)
    assert caught.value.code == "bad-exotel-url"
    assert "some-token" not in str(caught.value)
