"""Whatever is sent: 4xx with a code, one sentence and a next step; never a traceback, never 500."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from ml_backend import tables
from tests.ml_backend.api.serving import BASIC, BEARER, ORIGINAL, WEBHOOK, Serving, task

POSTS = ("/predict", "/setup", "/webhook", "/webhooks/label-studio", "/versions")
EVERYONE = {**BASIC, **WEBHOOK}


def refused(answer: TestResponse, *statuses: int) -> dict[str, Any]:
    """The error body, after checking its shape."""
    assert answer.status_code in (statuses or (400,)), answer.get_data(as_text=True)
    body: dict[str, Any] = answer.get_json()
    assert set(body) == {"code", "message", "next_step", "request_id"}
    assert body["code"] == body["code"].lower()
    assert body["message"].endswith(".")
    assert body["request_id"] == answer.headers["X-Request-Id"]
    assert "Traceback" not in answer.get_data(as_text=True)
    return body


def send(serving: Serving, path: str, data: bytes, content_type: str | None = "application/json") -> TestResponse:
    return serving.app.test_client().post(path, data=data, content_type=content_type, headers=EVERYONE)


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "bad-json"),
        (b"{", "bad-json"),
        (b"null", "bad-body"),
        (b"[]", "bad-body"),
        (b'"text"', "bad-body"),
        (b"5", "bad-body"),
        (b"\xff\xfe{}", "bad-json"),
        (b"\xef\xbb\xbf{}", "bad-json"),
        (b'{"tasks": "\xe9"}', "bad-json"),
        (b'{"project": NaN}', "bad-json"),
        (b'{"project": 1e400}', "bad-json"),
        (b'{"project": ' + b"9" * 5000 + b"}", "bad-json"),
        (b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}", "bad-json"),
        (b'{"tasks": "\\ud800"}', "bad-json"),
        (b"tasks=1&project=2", "bad-json"),
    ],
)
def test_what_is_not_a_json_object_is_refused(serving: Serving, path: str, data: bytes, code: str) -> None:
    assert refused(send(serving, path, data))["code"] == code


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "ä/ö",
     "application/json; charset=latin-1"],
)  # fmt: skip
def test_another_content_type_is_415(serving: Serving, path: str, content_type: str | None) -> None:
    refused(send(serving, path, b"{}", content_type), 415)


def test_a_compressed_body_is_415(serving: Serving) -> None:
    headers = {**BASIC, "Content-Encoding": "gzip"}
    client = serving.app.test_client()
    data = gzip.compress(b"{}")
    refused(client.post("/predict", data=data, content_type="application/json", headers=headers), 415)


@pytest.mark.parametrize("path", POSTS)
def test_a_body_over_the_limit_is_413(serve: Callable[..., Serving], path: str) -> None:
    serving = serve(max_body_mb=0.001)
    refused(send(serving, path, b'{"a": "' + b"x" * 2000 + b'"}'), 413)
    assert serving.rows(tables.events) == []


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/predict"), ("PUT", "/setup"), ("DELETE", "/health"), ("POST", "/"), ("PATCH", "/webhook"),
     ("OPTIONS", "/predict")],
)  # fmt: skip
def test_a_wrong_method_is_405_and_names_the_right_one(serving: Serving, method: str, path: str) -> None:
    answer = serving.app.test_client().open(path, method=method, headers=BASIC)
    refused(answer, 405)
    assert answer.headers["Allow"]


@pytest.mark.parametrize("path", ["/train", "/nope", "/predict/", "/%25", "/..%2f..%2fetc/passwd", "/" + "a" * 8000])
def test_an_unknown_address_is_404(serving: Serving, path: str) -> None:
    refused(serving.app.test_client().post(path, headers=BASIC), 404)


PREDICT_FAULTS: list[dict[str, Any]] = [
    {"tasks": None}, {"tasks": {}}, {"tasks": "x"}, {"tasks": 5},
    {"project": None}, {"project": ""}, {"project": "../x"}, {"project": -1}, {"project": 2**63}, {"project": True},
    {"project": [23]}, {"project": "23; drop table"}, {"project": "٢٣"}, {"project": "23\x00"}, {"project": 0},
    {"project": 23.5},
    {"label_config": 5}, {"label_config": "<View>"}, {"label_config": "<View>" + "x" * 1_000_001 + "</View>"},
    {"label_config": '<!DOCTYPE v [<!ENTITY x SYSTEM "file:///etc/passwd">]><View>&x;</View>'},
    {"params": "x"}, {"params": []}, {"params": {"context": 5}}, {"params": {"context": []}},
]  # fmt: skip


@pytest.mark.parametrize("fault", PREDICT_FAULTS, ids=range(len(PREDICT_FAULTS)))
def test_a_predict_of_wrong_shape_is_400(serving: Serving, fault: dict[str, Any]) -> None:
    right = {"tasks": [task(1)], "project": "23.1", "label_config": ORIGINAL, "params": {}}
    refused(serving.post("/predict", {**right, **fault}))
    for name in fault:
        if name in ("tasks", "project"):
            refused(serving.post("/predict", {k: v for k, v in right.items() if k != name}))


@pytest.mark.parametrize(
    "fine",
    [{"params": None}, {"params": {}}, {"params": {"context": None}}, {"label_config": None}, {"label_config": ""},
     {"label_config": "<View/>"}, {"tasks": []}, {"project": 23}, {"project": "23"}],
)  # fmt: skip
def test_a_predict_with_parts_left_out_is_answered(serving: Serving, fine: dict[str, Any]) -> None:
    body = {"tasks": [task(1)], "project": "23.1", "label_config": ORIGINAL, **fine}
    answer = serving.post("/predict", body)
    assert answer.status_code == 200
    assert answer.get_json() == {"results": [[]] * len(body["tasks"])}


@pytest.mark.parametrize(
    "fault",
    [{"project": None}, {"project": "x"}, {"schema": 5}, {"schema": "<View>"}, {"extra_params": "{"},
     {"extra_params": 5}, {"extra_params": [1]}, {"extra_params": {"prompt": "x" * 100_000}},
     {"extra_params": {"a": "x" * 100_000}},
     {"extra_params": {"language": "\x00"}}, {"extra_params": {"minimum_confidence": 2}}],
)  # fmt: skip
def test_a_setup_of_wrong_shape_is_400_and_stores_nothing(serving: Serving, fault: dict[str, Any]) -> None:
    refused(serving.post("/setup", {"project": "23.1", "schema": ORIGINAL, **fault}))
    assert serving.rows(tables.projects) == []


def test_deeply_nested_extra_params_are_refused(serving: Serving) -> None:
    deep = b'{"project": "23.1", "schema": "", "extra_params": {"a":' + b"[" * 990 + b"]" * 990 + b"}}"
    refused(send(serving, "/setup", deep))


# --- webhooks: the event is stored whatever it says


@pytest.mark.parametrize(
    "body",
    [
        {}, {"action": None}, {"action": 5}, {"action": "SOMETHING_NEW"}, {"action": "x" * 5000},
        {"action": "TASKS_CREATED\x00"}, {"action": ["ANNOTATION_CREATED"]}, {"action": "ANNOTATION_CREATED"},
        {"action": "ANNOTATION_CREATED", "project": None}, {"action": "ANNOTATION_CREATED", "project": {"id": -1}},
        {"action": "ANNOTATION_CREATED", "annotation": {"result": [{"value": {"start": 2, "end": 1}}]}},
        {"action": "ANNOTATION_CREATED", "annotation": {"result": [{"value": {"text": ["\u200f<b>" + "x" * 10_000]}}]}},
    ],
    ids=range(12),
)  # fmt: skip
def test_a_webhook_of_any_shape_is_stored_and_answered(serving: Serving, body: dict[str, Any]) -> None:
    assert serving.post("/webhooks/label-studio", body, headers=WEBHOOK).status_code == 200
    (event,) = serving.rows(tables.events)
    assert json.loads(event.body) == body
    assert event.state == "new"


def test_an_unreadable_webhook_is_kept_without_its_secrets_and_refused(serving: Serving) -> None:
    cut = b'{"action": "PROJECT_UPDATED", "project": {"token": "very-secret", "task_data_password": "hidden\\"too", "ti'
    refused(send(serving, "/webhook", cut))
    (event,) = serving.rows(tables.events)
    assert event.state == "unreadable"
    assert b"very-secret" not in event.body
    assert b"hidden" not in event.body
    assert serving.jobs("read-event") == []


@pytest.mark.parametrize(
    "body", ['{"project": {"token": "very-secret"}}'.encode("utf-16"), b'{"project": {"token": very-secret}}']
)
def test_a_secret_in_an_unreadable_body_of_any_kind_is_not_kept(serving: Serving, body: bytes) -> None:
    refused(send(serving, "/webhook", body))
    (event,) = serving.rows(tables.events)
    assert b"very-secret" not in event.body.replace(b"\x00", b"")


@pytest.mark.parametrize(
    "shape", [{"projects": [{"id": 3, "token": "very-secret"}]}, {"task": {"project": {"token": "very-secret"}}}]
)
def test_a_secret_in_a_shape_nobody_has_seen_is_not_kept(serving: Serving, shape: dict[str, Any]) -> None:
    body = {"action": "SOMETHING_NEW", "project": {"id": 3, "token": "very-secret"}, **shape}
    assert serving.post("/webhook", body, headers=WEBHOOK).status_code == 200
    (event,) = serving.rows(tables.events)
    assert b"very-secret" not in event.body
    assert b'"id":3' in event.body


@pytest.mark.parametrize("project", [None, 5, "x", {}, {"id": None}, {"id": "../x"}, {"id": True}])
def test_a_start_of_training_without_a_project_is_400(serving: Serving, project: Any) -> None:
    body = {"action": "START_TRAINING", "project": project}
    answer = serving.post("/webhook", body)
    if project == 5:
        assert answer.status_code == 201
    else:
        refused(answer)
        assert serving.jobs("train") == []


# --- /api


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=-1", "limit=x", "limit=" + "9" * 30, "before=", "state=x", "a=1", "limit=٣"]
)
def test_a_wrong_filter_is_400(serving: Serving, query: str) -> None:
    refused(serving.get(f"/api/jobs?{query}", BEARER))


@pytest.mark.parametrize(
    ("job_id", "status"), [("x", 400), ("0", 400), ("-1", 400), ("1 or 1=1", 400), ("%25", 400), ("77", 404)]
)
def test_a_wrong_job_id_is_refused(serving: Serving, job_id: str, status: int) -> None:
    refused(serving.get(f"/api/jobs/{job_id}", BEARER), status)


def test_jobs_are_listed_newest_first_in_pages(serving: Serving) -> None:
    serving.project()
    for number in range(1, 6):
        serving.predict([task(number)])
    page = serving.get("/api/jobs?limit=3&name=find-tasks&state=waiting", BEARER).get_json()
    assert [job["arguments"]["task_ids"] for job in page["jobs"]] == [[5], [4], [3]]
    following = serving.get(f"/api/jobs?limit=3&before={page['next']}", BEARER).get_json()
    assert [job["arguments"]["task_ids"] for job in following["jobs"]] == [[2], [1]]
    assert following["next"] is None
    job_id = page["jobs"][0]["id"]
    assert serving.get(f"/api/jobs/{job_id}", BEARER).get_json()["name"] == "find-tasks"
    assert serving.get("/api/jobs?limit=1000000", BEARER).status_code == 200


# --- anything at all

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "tasks": json_values | st.lists(st.fixed_dictionaries({}, optional={"id": json_values, "data": json_values})),
        "project": json_values | st.sampled_from(["23.1", 23, {"id": 23}]),
        "label_config": json_values | st.just(ORIGINAL),
        "schema": json_values | st.just(ORIGINAL),
        "params": json_values,
        "extra_params": json_values,
        "action": json_values | st.sampled_from(["START_TRAINING", "ANNOTATION_CREATED"]),
    },
)
headers = st.dictionaries(
    st.sampled_from(
        ["Authorization", "X-Webhook-Secret", "Content-Type", "X-Request-Id", "Accept", "Content-Encoding"]
    ),
    st.text(alphabet=st.characters(max_codepoint=255, exclude_categories=("Cc",)), max_size=30),
    max_size=3,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(POSTS), body=bodies | json_values)
def test_no_json_makes_the_server_fail(serving: Serving, path: str, body: Any) -> None:
    data = json.dumps(body).encode()
    assert send(serving, path, data).status_code < 500


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from([*POSTS, "/health", "/", "/ready", "/api/jobs"]),
    data=st.binary(max_size=60),
    given_headers=headers,
)
def test_no_bytes_and_no_headers_make_the_server_fail(
    serving: Serving, path: str, data: bytes, given_headers: dict[str, str]
) -> None:
    for method in ("POST", "GET"):
        answer = serving.app.test_client().open(path, method=method, data=data, headers=given_headers)
        assert answer.status_code < 500 or path == "/ready"
