"""/api/annotations: what people wrote for other programs; wrong questions are 4xx."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from tests.ml_backend.api.serving import BASIC, BEARER, Serving
from tests.ml_backend.api.test_bad_input import refused
from tests.training.quality.rows import Rows, measures


@pytest.fixture
def filled(serving: Serving) -> Serving:
    """Three annotations of two tasks, one of them changed once, and one that is gone."""
    rows = Rows(serving.context.db)
    rows.task(1)
    rows.task(2, blind=True, gold_text="known")
    rows.annotation(11, 1, annotator=1, text="old", language="hi")
    first = rows.annotation(11, 1, annotator=1, text="new", language="hi", edited="edited", measures=measures(10, 3))
    other = rows.annotation(12, 1, annotator=2, language="mr")
    rows.annotation(13, 2, annotator=1, language="hi", draft=None, edited="manual", model_version=None)
    gone = rows.annotation(14, 2, annotator=3)
    rows.agreement(1, first, other, words=10, word_edits=2, chars=50, char_edits=4)
    with serving.context.db.transaction() as connection:
        row, sample = tables.annotations, tables.samples
        connection.execute(sa.update(row).where(row.c.id == gone).values(deleted_at=tables.now()))
        values = {"task_id": 1, "number": 0, "annotation_id": first, "start_s": 0.0, "end_s": 2.0, "text": "new"}
        more = {"project_id": rows.project_id, "digest": "d", "state": "excluded", "reason_code": "unclear"}
        connection.execute(sa.insert(sample).values(**values, **more, reason="Somebody marked it."))
    return serving


def asked(serving: Serving, path: str) -> Any:
    answer = serving.get(path, BEARER)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return answer.get_json()


def test_the_newest_state_of_each_is_listed_in_pages(filled: Serving) -> None:
    first = asked(filled, "/api/annotations?limit=2")
    assert [(one["id"], one["text"]) for one in first["annotations"]][1:] == [(12, "मेरा ऑर्डर कहाँ है")]
    second = asked(filled, f"/api/annotations?limit=2&before={first['next']}")
    assert [(one["id"], one["text"]) for one in second["annotations"]] == [(11, "new")]
    assert second["next"] is None


def test_they_are_filtered(filled: Serving) -> None:
    for query, ids in (
        ("project=1", [13, 12, 11]), ("project=2", []), ("task=1001", [12, 11]), ("annotator=1", [13, 11]),
        ("language=mr", [12]), ("edited=manual", [13]), ("edited=untouched", [12]), ("annotator=1&task=1001", [11]),
        ("since=2026-03-02&until=2026-03-03", [13, 12, 11]), ("since=2026-03-03", []), ("language=%25", []),
    ):  # fmt: skip
        assert [one["id"] for one in asked(filled, f"/api/annotations?{query}")["annotations"]] == ids, query


def test_one_is_shown_with_all_it_came_from(filled: Serving) -> None:
    found = asked(filled, "/api/annotations/11")
    assert (found["text"], found["measures"]["word_edits"], found["draft"]["confidence"]) == ("new", 3, 0.7)
    assert [each["row"] for each in found["versions"]] == [2, 1]
    assert found["agreements"] == [
        {"annotation": 12, "annotator": 2, "counts": {"words": 10, "word_edits": 2, "chars": 50, "char_edits": 4}}
    ]
    assert [(each["state"], each["reason_code"]) for each in found["samples"]] == [("excluded", "unclear")]
    blind = asked(filled, "/api/annotations/13")
    assert (blind["blind"], blind["gold"], blind["draft"]) == (True, True, None)
    assert asked(filled, "/api/annotations/14")["deleted_at"]


def test_the_summary_is_the_kept_one(filled: Serving) -> None:
    assert asked(filled, "/api/annotations/summary") == {"summary": None, "made_at": None}
    with filled.context.db.transaction() as connection:
        connection.execute(sa.insert(tables.summaries).values(name="annotations", body={"annotations": {"all": 3}}))
    found = asked(filled, "/api/annotations/summary")
    assert found["summary"] == {"annotations": {"all": 3}}
    assert found["made_at"]


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=x", "before=", "task=-1", "annotator=٣", "edited=no", "edited=", "since=yesterday", "a=1",
     "project=" + "9" * 30, "until=9999-12-31T23:59:59-23:00"],
)  # fmt: skip
def test_a_wrong_filter_is_400(filled: Serving, query: str) -> None:
    refused(filled.get(f"/api/annotations?{query}", BEARER))


@pytest.mark.parametrize("what", ["99", "999999999999999999"])
def test_an_unknown_annotation_is_404(filled: Serving, what: str) -> None:
    assert refused(filled.get(f"/api/annotations/{what}", BEARER), 404)["code"] == "no-such-annotation"


@pytest.mark.parametrize("what", ["x", "0", "%00", "1.5", "1" * 40])
def test_what_is_no_number_is_400(filled: Serving, what: str) -> None:
    refused(filled.get(f"/api/annotations/{what}", BEARER))


@pytest.mark.parametrize("path", ["", "/summary", "/11"])
def test_only_a_token_reads_them(filled: Serving, path: str) -> None:
    for headers in ({}, BASIC):
        assert filled.get(f"/api/annotations{path}", headers).status_code == 401
