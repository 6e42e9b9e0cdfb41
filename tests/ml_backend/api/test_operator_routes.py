"""For operators: readiness with reasons, and numbers."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from ml_backend import tables
from tests.ml_backend.api.serving import BASIC, BEARER, WEBHOOK, Serving, task


def alive(serving: Serving, role: str, *, seconds_ago: float = 1) -> None:
    now = tables.now()
    row = {
        "name": f"{role}-1",
        "role": role,
        "pid": 1,
        "started_at": now,
        "seen_at": now - timedelta(seconds=seconds_ago),
    }
    with serving.context.db.transaction() as connection:
        connection.execute(sa.insert(tables.processes).values(**row))


def codes(serving: Serving) -> list[str]:
    return [reason["code"] for reason in serving.get("/ready").get_json()["reasons"]]


def test_ready_lists_everything_that_is_missing(serving: Serving) -> None:
    assert serving.get("/ready").status_code == 503
    assert codes(serving) == ["no-relay", "no-worker-sync", "no-worker-transcribe"]
    alive(serving, "relay")
    alive(serving, "worker:sync")
    alive(serving, "worker:transcribe", seconds_ago=600)
    assert codes(serving) == ["no-worker-transcribe"]


def test_ready_is_200_when_work_gets_done(serving: Serving) -> None:
    for role in ("relay", "worker:sync", "worker:transcribe"):
        alive(serving, role)
    answer = serving.get("/ready")
    assert (answer.status_code, answer.get_json()) == (200, {"ready": True, "reasons": []})


def test_a_database_of_another_schema_is_a_reason(serving: Serving) -> None:
    with serving.context.db.transaction() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = 'zzzz'"))
    assert codes(serving) == ["schema-version"]


def test_metrics_count_answers_by_route_never_by_address(serving: Serving) -> None:
    serving.predict([task(1)])
    serving.get("/nothing/98765")
    text = serving.get("/metrics", BASIC).get_data(as_text=True)
    assert 'kaan_requests_total{route="/predict",status="200"} 1.0' in text
    assert 'kaan_requests_total{route="unknown",status="404"} 1.0' in text
    assert "98765" not in text


def test_metrics_are_for_label_studio_and_token_holders(serving: Serving) -> None:
    assert serving.get("/metrics").status_code == 401
    assert serving.get("/metrics", WEBHOOK).status_code == 401
    assert serving.get("/metrics", BEARER).status_code == 200


def test_a_database_in_trouble_is_503_with_a_time_to_come_back(serving: Serving) -> None:
    with serving.context.db.transaction() as connection:
        connection.execute(sa.text("ALTER TABLE projects RENAME TO elsewhere"))
    body = {"tasks": [task(1)], "project": "23.1", "params": {}}
    answer = serving.post("/predict", body)
    assert (answer.status_code, answer.get_json()["code"]) == (503, "database-unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert serving.get("/health").status_code == 200
