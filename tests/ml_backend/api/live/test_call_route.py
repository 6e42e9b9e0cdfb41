"""`/api/route`: the choice alone, the same as that of drafts, and soon after a promotion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.api.live import call_route
from ml_backend.models import registry, routing
from tests.ml_backend.api.live.conftest import PHONE, promote
from tests.ml_backend.api.serving import BEARER, Serving
from tests.patience import until


def route(phone: Serving, path: str = "", headers: Any = BEARER) -> Any:
    return phone.get(f"/api/route{path}", headers)


def test_a_call_goes_where_its_drafts_go_and_half_of_the_calls_to_each_arm(
    phone: Serving, renamed: Callable[..., registry.Version], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_route, "FRESH_S", 0.0)
    bundled = route(phone, "?kind=nlu").get_json()["version"]
    other = renamed("nlu", "other")
    pair = {"name": "halves", "model_kind": "nlu", "kind": "ab", "champion": bundled, "challenger": other.version}
    with phone.context.db.transaction() as connection:
        connection.execute(sa.insert(tables.experiments).values(**pair, traffic_share=0.5, salt="s", state="running"))
    calls = [f"call-{number}" for number in range(40)]
    answers = [route(phone, f"?kind=nlu&call={call}").get_json() for call in calls]
    routes = routing.Routes(phone.context, "nlu")
    assert [one["version"] for one in answers] == [routes.choose(call).version.version for call in calls]
    assert {one["version"] for one in answers} == {bundled, other.version}
    assert {one["arm"] for one in answers} == {"champion", "challenger"}
    assert route(phone, "?kind=nlu").get_json()["arm"] is None  # without a call, no experiment


def test_a_promotion_is_seen_within_a_second_and_an_answer_is_asked_again_at_no_cost(
    phone: Serving, renamed: Callable[..., registry.Version]
) -> None:
    assert call_route.FRESH_S < 1
    first = route(phone, "?kind=tts&call=c1")
    again = {**BEARER, "If-None-Match": first.headers["ETag"]}
    assert route(phone, "?kind=tts&call=c1", again).status_code == 304
    other = renamed("tts", "another")
    promote(phone, other)
    until(lambda: route(phone, "?kind=tts&call=c1").get_json()["version"] == other.version, "it is seen")
    assert route(phone, "?kind=tts&call=c1", again).status_code == 200


def test_what_is_no_kind_is_named_and_the_phones_token_is_not_enough(phone: Serving) -> None:
    assert route(phone, "?kind=ocr").get_json()["code"] == "bad-kind"
    assert route(phone, "?kind=asr&caller=1").status_code == 400
    assert route(phone, headers=PHONE).status_code == 403
    assert route(phone, headers=None).status_code == 401
