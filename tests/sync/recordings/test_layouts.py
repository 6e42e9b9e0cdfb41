"""Which call an object's name belongs to."""

from __future__ import annotations

import pytest

from ml_backend.settings import Settings
from sync.recordings import layouts

SETTINGS = Settings(_env_file=None)
NUMBER = f"9{0:08}1"  # nobody's


def call_of(stem: str) -> str:
    return layouts.read("call-recordings", f"recordings/2026/11/22/{stem}.wav", SETTINGS).call_sid


@pytest.mark.parametrize(
    "sid", ["02571550669ec9e57a18257e3c8a8c22", f"ab{NUMBER}cdef0123456789abcdef", f"c{NUMBER}{0:018}a11"]
)
def test_ten_digits_together_in_a_call_id_are_chance(sid: str) -> None:
    assert call_of(sid) == sid


@pytest.mark.parametrize("stem", [NUMBER, f"from-0{NUMBER}", f"91{NUMBER}_1", f"abc{NUMBER}"])
def test_a_name_that_carries_a_persons_number_is_no_call_id(stem: str) -> None:
    assert call_of(stem) == ""
