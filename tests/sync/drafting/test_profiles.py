"""What people type into extra parameters: the right part is used, the wrong part is said."""

from __future__ import annotations

from typing import Any

import pytest

from ml_backend.labelling import parameters
from sync.drafting.profiles import problems_of


@pytest.mark.parametrize(
    "stored",
    [
        None, "", {}, {"language": "hi"}, '{"language": "hi", "hotwords": ["Kaan"]}', {"script_policy": {}},
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
