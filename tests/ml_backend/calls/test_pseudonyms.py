"""A phone number leaves no trace but a keyed hash, the same for every way of writing it."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from ml_backend import tables
from ml_backend.calls import ledger
from ml_backend.calls.events import CallEvent
from ml_backend.calls.pseudonyms import SHAPE, canonical, is_masked, key_in, key_of, pseudonym
from ml_backend.context import Context
from ml_backend.errors import ConfigurationError
from ml_backend.settings import Settings

KEY = b"a-key-for-tests-only"


def settings(folder: Path, **changes: str) -> Settings:
    return Settings(_env_file=None, data_dir=folder, **changes)


@pytest.mark.parametrize(
    "written",
    ["00000000101", "0000000101", "+910000000101", "910000000101", "00910000000101", "0910000000101", "+9100000000101",
     " +91 00000 00101 ", "+91-00000-00101", "(0) 00000 00101", "tel:+910000000101", "+91 (0) 0000000101"],
)  # fmt: skip
def test_every_way_of_writing_a_number_is_one_pseudonym(written: str) -> None:
    assert pseudonym(written, KEY) == pseudonym("00000000101", KEY)


def test_different_numbers_and_different_keys_are_different() -> None:
    numbers = [
        "00000000101",
        "00000000102",
        "+14155550100",
        "+4500000101",
        "0800" + "0" * 7,
        "+910800000000",
        "sip:a@b",
    ]
    assert len({pseudonym(number, KEY) for number in numbers}) == len(numbers)
    assert pseudonym(numbers[0], KEY) != pseudonym(numbers[0], b"another-key-for-tests")
    assert canonical("0014155550100") == canonical("+14155550100") == canonical("+1 415-555-0100")


@given(st.integers(0, 10**10 - 1).map("{:010d}".format), st.sampled_from(["0", "+91", "91", "0091", "+91 ", ""]))
def test_no_digits_but_the_last_two_remain(number: str, prefix: str) -> None:
    made = pseudonym(prefix + number, KEY)
    assert SHAPE.fullmatch(made)
    assert made == pseudonym(number, KEY)
    assert made.endswith("-" + number[-2:])
    assert number not in made


@pytest.mark.parametrize("masked", ["XXXXXXXX01", "0000xxxx01", "+91******01", "********", "####01"])
def test_a_masked_number_is_nobody_in_particular(masked: str) -> None:
    made = pseudonym(masked, KEY)
    assert is_masked(made)
    assert SHAPE.fullmatch(made)
    assert made in ("masked-01", "masked-")


@pytest.mark.parametrize("name", ["sip:agent1@example.invalid", "agent", "Anonymous", "unknown", "ॐ"])
def test_a_name_in_place_of_a_number_is_hidden_too(name: str) -> None:
    made = pseudonym(name, KEY)
    assert SHAPE.fullmatch(made)
    assert name not in made
    assert made == pseudonym(name.upper(), KEY)


def test_the_key_is_the_setting_when_there_is_one(tmp_path: Path) -> None:
    assert key_of(settings(tmp_path, pseudonym_key="k" * 20)) == b"k" * 20
    assert not (tmp_path / "pseudonym.key").exists()


def test_a_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    first = key_of(settings(folder))
    assert len(first) >= 32
    assert key_of(settings(folder)) == first
    assert stat.S_IMODE((folder / "pseudonym.key").stat().st_mode) == 0o600
    assert [path.name for path in folder.iterdir()] == ["pseudonym.key"]


def test_processes_that_start_together_agree_on_the_key(tmp_path: Path) -> None:
    barrier, keys = threading.Barrier(16), []

    def start() -> None:
        barrier.wait(10)
        keys.append(key_of(settings(tmp_path)))

    threads = [threading.Thread(target=start) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(keys) == 16
    assert len(set(keys)) == 1


def test_a_damaged_key_is_not_replaced_quietly(tmp_path: Path) -> None:
    (tmp_path / "pseudonym.key").write_text("half\n")
    with pytest.raises(ConfigurationError, match=r"pseudonym\.key"):
        key_of(settings(tmp_path))


def test_another_key_than_before_is_refused_and_says_where_the_old_one_is(context: Context) -> None:
    """Two keys would give a person two pseudonyms, and an erasure would leave half of the calls."""
    database = context.db
    first = key_in(context.settings, database)
    assert key_in(context.settings, database) == first
    with pytest.raises(ConfigurationError, match="PSEUDONYM_KEY"):
        key_in(context.settings.model_copy(update={"pseudonym_key": SecretStr("k" * 20)}), database)
    with database.reading() as connection:
        (noted,) = connection.execute(sa.select(tables.checkpoints)).all()
    assert first.decode() not in str(noted)


def test_a_message_is_not_merged_with_another_key(context: Context) -> None:
    event = CallEvent("s1", "status_callback", from_="00000000101")
    with context.db.transaction() as connection:
        ledger.record(connection, event, key=KEY)
    with pytest.raises(ConfigurationError), context.db.transaction() as connection:
        ledger.record(connection, event, key=b"another-key-for-tests")
    with context.db.transaction() as connection:  # one without a number needs no key
        ledger.record(connection, CallEvent("s2", "listing", status="busy"), key=b"another-key-for-tests")


def test_a_masked_number_is_not_taken_for_one_of_the_companys(context: Context) -> None:
    with context.db.transaction() as connection:
        ledger.record(connection, CallEvent("s1", "listing", company_number="XXXXXXXX00"), key=KEY)
        assert connection.execute(sa.select(tables.company_numbers)).all() == []
