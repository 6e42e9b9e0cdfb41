"""Filters of a list: every mistake in one error under the code of the first; no wrong type gets through."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest

from ml_backend.api.call_routes import BalanceQuery
from ml_backend.api.training_routes import DatasetQuery
from ml_backend.errors import InvalidInput
from ml_backend.views.annotation_views import AnnotationQuery
from ml_backend.views.call_views import CallQuery
from ml_backend.views.job_views import JobQuery
from ml_backend.views.queries import Query, from_arguments
from ml_backend.views.version_views import VersionQuery

MODELS = (AnnotationQuery, BalanceQuery, CallQuery, DatasetQuery, JobQuery, VersionQuery)
NONE_OF_OURS: tuple[Any, ...] = (True, 1.5, b"x", object(), ["x"], {"x": 1}, ("x", 1))


def wrong(model: type[Query], text: str) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        from_arguments(model, parse_qs(text, keep_blank_values=True))
    return refused.value


def test_every_mistake_is_named_at_once_under_the_code_of_the_first() -> None:
    error = wrong(CallQuery, "limit=0&before=x&state=nope&state=gone&since=soon&person=1&number=1&sort=id")
    assert error.code == "bad-number"
    for part in ("limit", "before", "no such state", "since", "pseudonym", "filter of another name"):
        assert part in error.sentence, part
    assert error.sentence.count("no such state") == 1
    assert error.next_step.count("Correct the address.") == 1
    assert "Known: expected, " in error.next_step
    assert "Use limit, before, state, " in error.next_step


@pytest.mark.parametrize(
    ("model", "text", "code"),
    [
        (CallQuery, "limit=٣", "bad-number"), (CallQuery, "limit=", "bad-number"),
        (CallQuery, "state=", "unknown-state"),
        (CallQuery, "until=0001-01-01", "bad-time"), (BalanceQuery, "last=2024-02-30", "bad-date"),
        (BalanceQuery, "days=0", "bad-number"), (AnnotationQuery, "edited=no", "bad-edited"),
        (AnnotationQuery, "project=" + "9" * 30, "bad-number"), (JobQuery, "state=", "unknown-state"),
        (VersionQuery, "sort=1", "unknown-filter"), (Query, "limit=1", "unknown-filter"),
        (AnnotationQuery, "language=hi&language=mr", "repeated-filter"),
        (JobQuery, "limit=1&limit=2", "repeated-filter"),
        (BalanceQuery, "last=2024-02-03&last=2024-02-04", "repeated-filter"),
        (CallQuery, "person=masked-1&person=masked-2", "repeated-filter"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_code(model: type[Query], text: str, code: str) -> None:
    error = wrong(model, text)
    assert error.code == code
    assert error.status == 400
    assert error.sentence.endswith(".")
    assert error.next_step.endswith(".")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_no_value_of_a_wrong_type_reaches_a_query(model: type[Query]) -> None:
    for name in model.model_fields:
        for value in NONE_OF_OURS:
            with pytest.raises(InvalidInput):
                model(**{name: value})


def test_texts_become_what_they_mean() -> None:
    found = from_arguments(CallQuery, parse_qs("limit=9999&state=tasked&state=kept&since=2026-01-31"))
    assert (found.limit, found.state, found.since) == (200, ("tasked", "kept"), datetime(2026, 1, 31, tzinfo=UTC))
    assert CallQuery(limit=9999).limit == 9999  # a command sets its own bound
    days = from_arguments(BalanceQuery, parse_qs("days=1000&last=2026-01-31"))
    assert (days.days, days.last) == (92, date(2026, 1, 31))
