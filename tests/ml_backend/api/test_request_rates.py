"""A token may ask as often as it was told: a stated burst, then its rate, and each token for itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.api.live import live_tally
from ml_backend.api.request_rates import RequestRates
from ml_backend.errors import ConfigurationError, RetryableError
from ml_backend.settings import Settings, load
from tests.ml_backend.api.serving import Serving

LIVE, OTHER = "l" * 24, "m" * 24
TOKENS = f"phone:live:{LIVE},other:live:{OTHER}"


class Clock:
    at = 1000.0

    def __call__(self) -> float:
        return self.at


def rates(clock: Clock, *, processes: int = 1, per_minute: int = 0, single: str = "") -> RequestRates:
    settings = Settings(_env_file=None, api_tokens=TOKENS, live_rate_per_minute=per_minute, live_rates=single)
    return RequestRates(settings, processes=processes, clock=clock)


def passes(asked: RequestRates, name: str = "phone", most: int = 10_000) -> int:
    """How many requests pass now, one after the other."""
    for number in range(most):
        try:
            asked.take(name)
        except RetryableError:
            return number
    return most


def test_a_burst_of_ten_seconds_passes_and_then_the_rate() -> None:
    clock = Clock()
    asked = rates(clock, per_minute=600)
    assert passes(asked) == 100
    clock.at += 3
    assert passes(asked) == 30
    clock.at += 3600  # no more than the burst is saved
    assert passes(asked) == 100
    through = 0
    for _ in range(60):  # a minute at full speed
        clock.at += 1
        through += passes(asked)
    assert through == 600


def test_a_small_rate_has_a_burst_of_five_and_says_when_to_come_again() -> None:
    clock = Clock()
    asked = rates(clock, per_minute=2)
    assert passes(asked) == 5
    with pytest.raises(RetryableError) as refused:
        asked.take("phone")
    assert (refused.value.code, refused.value.status, refused.value.after_s) == ("rate-limited", 429, 30)
    clock.at += 29
    assert passes(asked) == 0
    clock.at += 1
    assert passes(asked) == 1


def test_each_token_has_its_own_rate_and_0_is_any_number() -> None:
    clock = Clock()
    asked = rates(clock, per_minute=60, single="other:600")
    assert (passes(asked), passes(asked, "other")) == (10, 100)
    assert passes(rates(clock)) == 10_000
    assert passes(rates(clock, per_minute=60, single="phone:0")) == 10_000


def test_processes_behind_one_port_share_the_rate() -> None:
    clock = Clock()
    mine, theirs = (rates(clock, per_minute=600, processes=2) for _ in range(2))
    assert passes(mine) + passes(theirs) == 100
    clock.at += 6
    assert passes(mine) + passes(theirs) == 60
    assert passes(rates(clock, per_minute=1, processes=64)) == 1  # never nothing at all


def test_of_many_threads_exactly_the_burst_passes() -> None:
    asked, passed, lock = rates(Clock(), per_minute=600), [0], threading.Lock()

    def ask() -> None:
        mine = passes(asked, most=50)
        with lock:
            passed[0] += mine

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert passed == [100]


def test_over_its_rate_the_phone_gets_429_in_openais_form_and_uptime_does_not_count_it(
    serve: Callable[..., Serving],
) -> None:
    phone = serve(api_tokens=TOKENS, live_rates="phone:1")
    body, headers = {"text": 5}, {"Authorization": f"Bearer {LIVE}"}
    answers = [phone.post("/v1/nlu/parse", body, headers) for _ in range(7)]
    assert [answer.status_code for answer in answers] == [400] * 5 + [429] * 2
    error = answers[-1].get_json()["error"]
    assert (error["code"], error["type"]) == ("rate-limited", "rate_limit_error")
    assert "phone asks more than 1 time a minute" in error["message"]
    assert 50 < int(answers[-1].headers["Retry-After"]) <= 60
    assert phone.post("/v1/nlu/parse", body, {"Authorization": f"Bearer {OTHER}"}).status_code == 400
    assert phone.get("/v1/models", headers).status_code == 429  # whatever it asks
    for address in ("/api/calls/c1/outcome", "/api/outcomes"):
        answer = phone.post(address, {"success": True}, headers)
        assert (answer.status_code, answer.get_json()["code"]) == (429, "rate-limited")
    assert live_tally.of(phone.context).write()
    (row,) = phone.context.db.rows(sa.select(tables.live_totals))
    assert (row.body["status"], row.body["refused"]) == ({"400": 6, "429": 2}, {"rate-limited": 2})
    assert [(row.requests, row.failed) for row in phone.rows(tables.live_minutes)] == [(6, 0)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("phone", "entry 1 must be name:number"),
        ("phone:600,other:many", "entry 2 must be name:number"),
        ("phone:-1", "entry 1 must be name:number"),
        ("fone:60", "entry 1 names no token of API_TOKENS (names there: phone, other)"),
    ],
)
def test_a_rate_that_says_nothing_is_refused_at_the_start(
    given: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("API_TOKENS", TOKENS)
    monkeypatch.setenv("LIVE_RATES", given)
    with pytest.raises(ConfigurationError) as refused:
        load()
    assert said in refused.value.sentence
    assert LIVE not in str(refused.value)
