"""What `doctor` says of an Exotel account."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from ml_backend import tables
from ml_backend.errors import ConfigurationError
from sync.commands import doctor
from sync.exotel import account
from tests.servers.exotel import ZONE
from tests.sync.provider import Beside, beside


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Beside]:
    with beside(tmp_path, monkeypatch) as service:
        yield service


def callbacks(here: Beside, *, zone_off: timedelta) -> None:
    """Calls that ended a minute ago, as a provider writes them whose clock is off."""
    for number in range(1, 8):
        ended = (here.now() - timedelta(minutes=1) + zone_off).astimezone(ZONE).strftime("%Y-%m-%d %H:%M:%S")
        row = here.told(here.provider.add(number, EndTime=ended))
        with here.context.db.transaction() as connection:
            connection.execute(
                tables.events.insert().values(
                    source="exotel", method="POST", body=b"", digest=str(number), call_sid=row.call_sid,
                    created_at=here.now(),
                )
            )  # fmt: skip


def test_an_account_that_answers_in_our_zone_is_well(here: Beside) -> None:
    callbacks(here, zone_off=timedelta(0))
    said = list(account.look(here.context))
    assert all(well for well, *_ in said)
    assert "7 calls" in said[1][1]


@pytest.mark.parametrize("off", [timedelta(hours=-5.5), timedelta(hours=5.5)])
def test_a_wrong_zone_is_noticed_by_the_time_of_callbacks(here: Beside, off: timedelta) -> None:
    callbacks(here, zone_off=off)
    [odd] = [sentence for well, sentence, _ in account.look(here.context) if not well]
    assert "5.5 hours" in odd


def test_a_refused_key_and_an_unset_account_are_said(here: Beside) -> None:
    here.settings(exotel_api_token=SecretStr("a wrong token that nobody knows"))
    with pytest.raises(ConfigurationError, match="refused the credentials"):
        list(account.look(here.context))
    here.settings(exotel_account_sid="")
    assert [finding.state for finding in doctor._exotel(here.context)] == [doctor.SKIPPED]
