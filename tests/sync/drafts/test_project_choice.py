"""Which project takes a recording."""

from __future__ import annotations

from typing import Any

import pytest

from sync.drafts.project_choice import RecordingFacts, accepts

NUMBER = "0123456789abcdef01234567-01"


def facts(**values: Any) -> RecordingFacts:
    known = {"source": "exotel", "place": "call-recordings/recordings/x.wav", "language": "hi"}
    return RecordingFacts(**{**known, "direction": "inbound", "company_number": NUMBER, **values})


def test_without_a_rule_a_project_takes_every_call_and_no_synthetic_voice() -> None:
    assert accepts(None, facts())
    assert not accepts(None, facts(synthetic=True))


@pytest.mark.parametrize("rule", [{}, {"source": ["exotel"]}, {"prefix": ["call-recordings/"]}, {"language": "hi"}])
def test_no_rule_takes_synthetic_voice_unless_it_says_so(rule: dict) -> None:
    assert accepts(rule, facts())
    assert not accepts(rule, facts(synthetic=True))


def test_a_project_for_synthetic_voice_takes_nothing_else() -> None:
    rule = {"synthetic": True, "prefix": ["training-data/tts/"]}
    assert accepts(rule, facts(synthetic=True, place="training-data/tts/hi/a.wav"))
    assert not accepts(rule, facts())
    assert not accepts(rule, facts(synthetic=True))


@pytest.mark.parametrize(
    "rule",
    [{"direction": ["outbound-api"]}, {"language": ["mr"]}, {"company_number": [NUMBER[::-1]]}, {"prefix": ["else/"]}],
)
def test_every_condition_has_to_hold(rule: dict) -> None:
    assert not accepts(rule, facts())
    assert not accepts({**rule, "source": ["exotel"]}, facts())


@pytest.mark.parametrize(
    "stored",
    [{"colour": ["red"]}, {"language": 5}, {"language": []}, {"source": {"exotel": 1}}, {"prefix": [7]}, [], "hi", 7,
     {"synthetic": "no"}, {"source": True}, {"language": [["hi"]]}],
)  # fmt: skip
def test_a_stored_rule_that_is_wrong_takes_nothing_and_never_raises(stored: Any) -> None:
    assert accepts(stored, facts()) is False


def test_a_rule_on_language_is_answered_only_when_somebody_has_looked() -> None:
    unknown = facts(language=None, language_known=False)
    assert accepts({"language": ["hi"]}, unknown) is None
    assert accepts({"language": ["hi"], "source": ["upload"]}, unknown) is False, "another condition refuses it already"
    assert accepts({"language": ["hi"]}, facts(language=None)) is False, "nobody speaks in it: another project may"


def test_hinglish_is_hindi_and_may_have_a_project_of_its_own() -> None:
    assert accepts({"language": ["hi"]}, facts(language="hi-en"))
    assert accepts({"language": ["hi-en"]}, facts(language="hi-en"))
    assert not accepts({"language": ["hi-en"]}, facts(language="hi"))


def test_a_language_may_be_named_as_people_say_it() -> None:
    assert accepts({"language": ["Hindi"]}, facts())
    assert not accepts({"language": "मराठी"}, facts())
    assert accepts({"language": "मराठी"}, facts(language="mr"))
