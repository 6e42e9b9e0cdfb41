"""Wrong filters are refused before anything is read, all of them in one sentence; right ones survive a job's row."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from ml_backend.errors import InvalidInput
from training.datasets.filters import DatasetFilters

WRONG: list[tuple[str, Any]] = [
    *(("min_quality", value) for value in (1.5, -0.1, "0.5", True, None, float("nan"), [0.5])),
    *(("languages", value) for value in (None, 5, ["hi"], "x" * 201)),
    *(("since", value) for value in ("yesterday", "2026-02-30", 20260131, None, datetime(2026, 1, 31, tzinfo=UTC))),
    *(("until", value) for value in ("31.01.2026", True)),
    *(("consent", value) for value in ("any", "", None, 1)),
    *(("projects", value) for value in ("9" * 19, "१", "-1", "a", 7, [7])),
    *(("public", value) for value in (3, ["fleurs:x"])),
    *(("public_share", value) for value in (0.5, 1, 2, "0.5", True)),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_value_of_a_wrong_type_or_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        DatasetFilters(**{name: value})
    assert refused.value.code == "bad-filter"
    assert f"{name} must be " in refused.value.sentence


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(InvalidInput) as refused:
        DatasetFilters(min_quality=2, since="soon", consent="any", projects="x", public_share=0.5, min_qualty=0.5)
    for name in ("min_quality", "since", "consent", "projects", "public_share"):
        assert f"{name} must be " in refused.value.sentence, name
    assert "there is no 'min_qualty' (known: min_quality, " in refused.value.sentence


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_public_speech_needs_a_share_between_nothing_and_everything(share: float) -> None:
    with pytest.raises(InvalidInput, match="public_share must be above 0 and below 1"):
        DatasetFilters(public="fleurs:/data/fleurs:hi", public_share=share)


def test_filters_survive_the_row_of_a_job() -> None:
    given = DatasetFilters(
        min_quality=1, languages="hi, mr", until="2026-01-31", projects="3,2", public="a:b", public_share=0.2
    )
    assert given.language_set == {"hi", "mr"}
    back = DatasetFilters(**json.loads(json.dumps(given.to_json())))
    assert back == given
    assert (back.project_ids, back.end_moment) == ([2, 3], datetime(2026, 2, 1, tzinfo=UTC))
    assert DatasetFilters().to_json() == {}
