"""What people type into extra parameters: the right part is used, the wrong part is said."""

from __future__ import annotations

from typing import Any

import pytest

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
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_sentence_and_never_raises(stored: Any) -> None:
    kept, problem = problems_of(stored)
    assert isinstance(kept, dict)
    assert problem
    assert problem.endswith(".")
