"""What people type into extra parameters: the right part is used, the wrong part is said."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ml_backend.asr.transcript import DecodingProfile
from ml_backend.labelling import parameters
from ml_backend.labelling.decoding_profile import decoding_of
from ml_backend.settings import Settings
from sync.drafts.decoding_choice import problems_of


@pytest.mark.parametrize(
    "stored",
    [
        None, "", {}, {"language": "hi"}, '{"language": "hi", "hotwords": ["Kaan"]}', {"script_policy": {}},
        {"languages": ["hi", "mr", "English"]}, {"languages": "hi, mr"},
        {"script_policy": {"hi": "Deva", "mr": "devanagari", "hi-en": "Mixed", "en": "any"}},
    ],
)  # fmt: skip
def test_what_is_right_has_no_problem(stored: Any) -> None:
    assert problems_of(stored)[1] is None


@pytest.mark.parametrize(
    "stored",
    [
        {"beam_size": "many"}, "{not json", "[]", '{"minimum_confidence": 7}', [1], 7, {"script_policy": "Deva"},
        {"script_policy": {"hi": "Devnagari"}}, {"script_policy": {"hi": 5}},
        {"language": "no language at all"}, {"hotwords": ["Kaan", 5]}, {"hotwords": 5}, {"beam_size": True},
        {"languages": ["klingon!"]}, {"languages": [5]},
        {"beam_size": 1.0}, {"minimum_confidence": True}, {"prompt": ["a"]}, {"language": "auto", "beam_size": 0},
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_sentence_and_never_raises(stored: Any) -> None:
    kept, problem = problems_of(stored)
    assert isinstance(kept, dict)
    assert problem
    assert problem.endswith(".")


def test_every_mistake_is_said_at_once_and_what_is_right_is_used() -> None:
    stored = {"language": "Hindi", "beam_size": "5", "hotwords": {"a": 1}, "prompt": "call", "others_own": [1]}
    kept, problem = problems_of(stored)
    assert kept == stored
    assert problem is not None
    assert all(name in problem for name in ("beam_size", "hotwords"))
    used = parameters.read(stored)
    assert (used.language, used.beam_size, used.hotwords, used.prompt) == ("hi", None, (), "call")


def project(**extra_params: Any) -> Any:
    return SimpleNamespace(extra_params=extra_params, learnt=None, routing=None)


@pytest.mark.parametrize(
    ("row", "environment", "spoken"),
    [
        (None, {}, (None, ())),
        (None, {"languages": "hi, mr,en"}, (None, ("hi", "mr", "en"))),
        (None, {"languages": "hi"}, ("hi", ())),
        (None, {"languages": "hi,mr", "default_language": "mr"}, ("mr", ())),
        (project(languages=["hi", "en"]), {"languages": "ta,te"}, (None, ("hi", "en"))),
        (project(languages=["hi", "en"]), {"default_language": "ta"}, (None, ("hi", "en"))),
        (project(languages=["hi"]), {}, ("hi", ())),
        (project(language="mr", languages=["hi", "en"]), {}, ("mr", ())),
        (project(), {"languages": "hi,en"}, (None, ("hi", "en"))),
        (project(languages=["hi", "hi-latn", "en"]), {}, (None, ("hi", "en"))),
    ],
)
def test_the_languages_to_choose_among_are_those_said_nearest_to_the_project(
    row: Any, environment: dict[str, str], spoken: tuple[str | None, tuple[str, ...]]
) -> None:
    found = decoding_of(row, Settings(_env_file=None, **environment))
    assert (found.language, found.languages) == spoken


def test_no_languages_leave_the_keys_of_stored_transcriptions_as_they_were() -> None:
    assert DecodingProfile(languages=("hi", "mr")).digest() != DecodingProfile().digest()
    assert DecodingProfile().digest() == "bae1fd2512422be5"
