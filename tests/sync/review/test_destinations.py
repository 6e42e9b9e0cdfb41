"""Which project takes a recording."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from sync.review.destinations import accepts

CALL = SimpleNamespace(direction="inbound", company_number="c0ffee-01")


def recording(**values):
    known = {"source": "exotel", "language": "hi", "bucket": "call-recordings", "object_key": "recordings/x.wav"}
    return SimpleNamespace(**{**known, "synthetic": False, **values})


def test_without_a_rule_a_project_takes_every_call_and_no_synthetic_voice() -> None:
    assert accepts(None, recording(), CALL)
    assert not accepts(None, recording(synthetic=True), CALL)


@pytest.mark.parametrize("rule", [{}, {"source": ["exotel"]}, {"prefix": ["call-recordings/"]}, {"language": "hi"}])
def test_no_rule_takes_synthetic_voice_unless_it_says_so(rule: dict) -> None:
    assert accepts(rule, recording(), CALL)
    assert not accepts(rule, recording(synthetic=True), CALL)


def test_a_project_for_synthetic_voice_takes_nothing_else() -> None:
    rule = {"synthetic": True, "prefix": ["training-data/tts/"]}
    voice = recording(synthetic=True, bucket="training-data", object_key="tts/hi/a.wav")
    assert accepts(rule, voice)
    assert not accepts(rule, recording())
    assert not accepts(rule, recording(synthetic=True))


@pytest.mark.parametrize(
    "rule",
    [{"direction": ["outbound-api"]}, {"language": ["mr"]}, {"company_number": ["other-02"]}, {"prefix": ["else/"]}],
)
def test_every_condition_has_to_hold(rule: dict) -> None:
    assert not accepts(rule, recording(), CALL)
    assert not accepts({**rule, "source": ["exotel"]}, recording(), CALL)


def test_a_condition_we_do_not_know_takes_nothing() -> None:
    assert not accepts({"colour": ["red"]}, recording(), CALL)
