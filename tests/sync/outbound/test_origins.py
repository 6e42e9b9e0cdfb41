"""One parser for check and use: what is refused is refused from the text alone."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_backend.errors import ConfigurationError, PermanentError
from ml_backend.settings import Settings
from sync.outbound import origins
from tests.sync.hostile import HOSTILE


def listed(text: str | None = None) -> tuple[origins.AllowedOrigin, ...]:
    values = {} if text is None else {"exotel_recording_origins": text}  # past the look that start-up has at it
    return origins.listed(Settings(_env_file=None).model_copy(update=values))


@pytest.mark.parametrize(
    "text",
    [
        "https://recordings.exotel.com/exotelrecordings/exampleaccount1/0000000000000000000000000000002p.mp3",
        "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/exampleaccount1/a.mp3",
        "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/a.mp3?X-Amz-Credential=a%2Fb&X-Amz-Signature=c",
        "https://recordings.exotel.com/exotelrecordings/a/1705309512.10001_1.mp3",
        "HTTPS://Recordings.Exotel.COM:443/a%20b.mp3",
    ],
)
def test_the_addresses_exotel_sends_are_permitted(text: str) -> None:
    address, _ = origins.permitted(text, listed())
    assert address.text.partition("/")[0] == "https:"
    assert origins.parse(address.text) == address, "what is used reads back as what was checked"


@pytest.mark.parametrize("text", HOSTILE)
def test_no_hostile_form_is_permitted(text: str) -> None:
    with pytest.raises(PermanentError) as caught:
        origins.permitted(text, listed())
    assert caught.value.code == "audio-source-refused"
    assert text[:30] not in str(caught.value), "the refusal does not repeat what was sent"


def test_there_are_enough_hostile_forms() -> None:
    assert len(set(HOSTILE)) >= 60


@given(st.text(max_size=60))
def test_no_text_is_permitted_under_another_host(tail: str) -> None:
    """Whatever is put after the scheme: either refused, or it is exactly a listed host."""
    try:
        address, origin = origins.permitted(f"https://recordings.exotel.com{tail}", listed())
    except PermanentError:
        return
    assert address.origin == ("https", "recordings.exotel.com", 443)
    assert origin.covers(address)


def test_only_an_entry_with_its_port_written_out_may_be_private() -> None:
    found = listed("https://a.example,http://b.example,http://b.example:80/x,https://[::1]:8443")
    assert [origin.may_be_private for origin in found] == [False, False, True, True]


def test_an_entry_covers_its_folder_only() -> None:
    permitted = listed("https://files.example/calls")
    origins.permitted("https://files.example/calls/a.mp3", permitted)
    for text in (
        "https://files.example/callsother/a.mp3",
        "https://files.example/",
        "http://files.example/calls/a.mp3",
    ):
        with pytest.raises(PermanentError):
            origins.permitted(text, permitted)


@pytest.mark.parametrize(
    "entry",
    ["recordings.exotel.com", "ftp://a.example", "https://a.example/?x=1", "https://*/", "https://key:token@a.example"],
)
def test_a_wrong_entry_of_the_list_is_counted_out_and_not_repeated(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="Entry 2") as caught:
        listed(f"https://a.example,{entry}")
    assert "token" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
     "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1",
     "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
     "2001:db8::1", "no"],
)  # fmt: skip
def test_an_address_inside_is_not_public(text: str) -> None:
    assert not origins.is_public(text)


# One address of every special range that IANA registers, in every way an IPv4 one is carried inside an IPv6 one.
SPECIAL_4 = ["0.1.2.3", "10.1.2.3", "100.64.0.1", "100.127.255.255", "127.8.9.1", "169.254.169.254", "172.31.255.255",
             "192.0.0.8", "192.0.0.100", "192.0.2.7", "192.31.196.1", "192.52.193.1", "192.88.99.1", "192.168.0.1",
             "192.175.48.1", "198.19.255.1", "198.51.100.1", "203.0.113.1", "224.0.0.251", "239.1.1.1", "240.0.0.1",
             "255.255.255.255"]  # fmt: skip


def carried(text: str) -> list[str]:
    number = int(ipaddress.IPv4Address(text))
    high, low = number >> 16, number & 0xFFFF
    return [
        f"::ffff:{text}", f"::{text}", f"64:ff9b::{text}", f"64:ff9b:1::{text}", f"2002:{high:x}:{low:x}::1",
        f"2001:0:{high:x}:{low:x}:0:0:808:808", f"2001:0:808:808:0:0:{high ^ 0xFFFF:x}:{low ^ 0xFFFF:x}",
        f"2600:1f18::5efe:{text}", f"2600:1f18::200:5efe:{text}",
    ]  # fmt: skip


@pytest.mark.parametrize("text", SPECIAL_4)
def test_no_special_range_is_public_however_it_is_carried(text: str) -> None:
    assert [each for each in (text, *carried(text)) if origins.is_public(each)] == []


@pytest.mark.parametrize(
    "text",
    ["::", "::1", "100::1", "100:0:0:1::1", "64:ff9b:1::808:808", "2001:2::1", "2001:10::1", "2001:20::1", "2001:30::1",
     "2001:db8::1", "2620:4f:8000::1", "3fff::1", "3fff:fff::1", "4000::1", "5f00::1", "fc00::1", "fd12::1", "fe80::1",
     "fe80::1%eth0", "fec0::1", "ff02::1", "ff0e::1", "e000::1"],
)  # fmt: skip
def test_no_special_range_of_ipv6_is_public(text: str) -> None:
    assert not origins.is_public(text)


@pytest.mark.parametrize(
    "text", ["8.8.8.8", "100.63.255.255", "100.128.0.1", "172.32.0.1", "192.0.1.1", "198.20.0.1", "223.255.255.1"]
)
def test_what_lies_beside_a_special_range_is_public(text: str) -> None:
    assert origins.is_public(text)
    assert origins.is_public(f"::ffff:{text}")


@pytest.mark.parametrize("text", ["52.219.32.1", "1.1.1.1", "2600:1f18::1", "64:ff9b::101:101", "2a03:2880::1"])
def test_an_address_of_the_internet_is_public(text: str) -> None:
    assert origins.is_public(text)


def test_credentials_are_for_plain_hosts_only() -> None:
    takes = {
        "https://recordings.exotel.com/a.mp3": True,
        "https://s3-ap-southeast-1.amazonaws.com/exotelrecordings/a.mp3": False,
        "https://recordings.exotel.com/a.mp3?X-Amz-Signature=x": False,
        "https://recordings.exotel.com/a.mp3?Signature=x&Expires=1": False,
        "https://recordings.exotel.com/a.mp3?kind=1": True,
    }
    assert {text: origins.parse(text).takes_credentials for text in takes} == takes


@pytest.mark.parametrize(
    "host", ["0x7f000001", "0x7f.0.0.1", "2130706433", "0177.0.0.1", "127.1", "1.2.3", "999.1.1.1"]
)
def test_a_host_in_an_unusual_number_form_is_refused_even_where_it_would_be_listed(host: str) -> None:
    with pytest.raises(PermanentError):
        origins.parse(f"http://{host}:8080/")
    with pytest.raises(ConfigurationError):
        listed(f"http://{host}:8080")
