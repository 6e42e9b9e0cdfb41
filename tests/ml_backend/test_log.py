"""Promises about log lines: nothing secret, no phone number, one event per line. All numbers here are fictitious."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import pytest
from pydantic import SecretStr

from ml_backend import log
from ml_backend.settings import Settings

SECRET = "a-very-long-webhook-secret"
PHONE = "00000076543210"


def _lines(tmp_path: Path, *, as_json: bool) -> io.StringIO:
    stream = io.StringIO()
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path,
        label_studio_webhook_secret=SecretStr(SECRET),
        log_format="json" if as_json else "text",
    )
    log.configure(settings, "test", stream=stream)
    return stream


@pytest.mark.parametrize("as_json", [True, False])
def test_no_secret_and_no_phone_number_gets_through_any_door(tmp_path: Path, as_json: bool) -> None:
    stream = _lines(tmp_path, as_json=as_json)
    say = log.get("test")
    say.info("call from " + PHONE, number=PHONE, deep={"to": [PHONE, int("9" + PHONE)]}, note=f"x={SECRET}")
    say.info("asked", authorization="Basic abcdefgh12", api_key="k", password="p", url="redis://me:hunter2@host/0")
    logging.getLogger("somebody.else").warning("GET /x?key=%s by %s", SECRET, "+00 00765 43210")
    try:
        raise ValueError(f"{PHONE} {SECRET}")
    except ValueError:
        say.exception("failed")
        logging.getLogger("somebody.else").exception("failed too")
    text = stream.getvalue()
    for canary in (PHONE, SECRET, "abcdefgh12", "hunter2", "00765", '"k"', '"p"'):
        assert canary not in text
    assert text.count("Traceback") == 2
    assert "ValueError" in text
    assert "***10" in text  # the last two digits tell two callers apart


@pytest.mark.parametrize(
    "kept",
    ["3f786850e387550fdab836ed7e6dc881de23001b", "2026-11-22T11:12:18Z", "job 1234567 of 7654321", "127.0.0.1:54321",
     "123e4567-e89b-12d3-a456-426614174000", "5f2a8b0c9d1e7f6a3b4c5d6e", "192.168.100.200", "2026-11-22 11:12:18",
     "2026/11/22", "12 of 3456 in 78 s"],
)  # fmt: skip
def test_what_is_no_number_of_a_person_stays_readable(kept: str) -> None:
    assert log.masked(kept) == kept


@pytest.mark.parametrize(
    "number",
    ["0076543210", "+910000012345", "+91 00765 43210", "00765-43210", "000 765 4321", "००७६५४३२१०", "tel:0000007654",
     "00 76 54 32 10", "0076-543-210", "(0076) 543210", "0076 543210", "%2B91%2000765%2043210", "call_00765-43210.mp3"],
)  # fmt: skip
def test_numbers_of_persons_are_masked_in_every_spelling(number: str) -> None:
    assert number not in log.masked(f"call {number} ended")
    assert "***" in log.masked(number)


@pytest.mark.parametrize("as_json", [True, False])
def test_nobody_writes_log_lines_of_their_own_through_a_name(tmp_path: Path, as_json: bool) -> None:
    stream = _lines(tmp_path, as_json=as_json)
    log.get("test").info("file found", name="a.wav\n2026-01-01 ERROR forged\x1b[2J\u202e", other="b\u2028c")
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()
    if not as_json:
        assert "\u202e" not in stream.getvalue()


def test_json_lines_are_json_with_time_level_and_role(tmp_path: Path) -> None:
    stream = _lines(tmp_path, as_json=True)
    log.get("relay").warning("handed over", job=5, took_s=0.25)
    line = json.loads(stream.getvalue())
    assert line["at"].endswith("Z")
    assert (line["level"], line["role"], line["logger"], line["event"]) == (
        "warning",
        "test",
        "kaan.relay",
        "handed over",
    )
    assert (line["job"], line["took_s"]) == (5, 0.25)


def test_before_logging_is_set_up_lines_are_clean_too(capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger().handlers[:] = []
    try:
        raise ValueError(PHONE)
    except ValueError:
        log.get("early").exception("failed", token="abcdefgh12")
    output = "".join(capfd.readouterr())
    assert "ValueError" in output
    assert PHONE not in output
    assert "abcdefgh12" not in output


def test_trouble_that_lasts_is_said_when_it_begins_and_once_a_minute_after():
    now = [100.0]
    trouble = log.Lasting(60.0, clock=lambda: now[0])
    assert not trouble.is_over(), "there was none"
    said = []
    for second in range(121):
        now[0] = 100.0 + second
        said += [second] if trouble.is_news() else []
    assert said == [0, 60, 120]
    assert [trouble.is_over(), trouble.is_over()] == [True, False]
    assert trouble.is_news(), "what begins anew is said at once"
