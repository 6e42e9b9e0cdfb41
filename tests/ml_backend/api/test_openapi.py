"""/api/openapi.json describes every route, and whatever is asked by it is answered as it says."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
import sqlalchemy as sa
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from ml_backend import tables
from ml_backend.calls import events as callevents
from ml_backend.calls import ledger
from ml_backend.calls.pseudonyms import key_of
from tests.exotel_messages import message
from tests.ml_backend.api import documented
from tests.ml_backend.api.serving import BASIC, BEARER, OPERATOR, PROJECT, WEBHOOK, Serving
from tests.ml_backend.api.test_call_routes import SID
from tests.ml_backend.api.test_operator_routes import alive
from tests.training import candidates
from tests.training.quality.rows import Rows, measures

EXOTEL = "exotel-secret-of-some-length"
load_all_checks()
PROMISED = CHECKS.get_by_names(
    ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance"]
)
SENT = {"/v1/audio/speech": {"input": "hello", "language": "en"}}  # no voice says what is made at random
ELSEWHERE = {
    "POST /v1/audio/transcriptions",  # the process of `serve` answers it
    "GET /api/evaluations/{evaluation_id}/utterances",  # its filters name each other: test_errors_page.py
}
EXAMPLES = 8  # for each operation, way of asking and database: the whole takes seconds


def fill(serving: Serving) -> None:
    """A few rows of everything that /api shows."""
    db = serving.context.db
    with db.transaction() as connection:
        for name in ("cb_terminal_form_legs.txt", "cb_terminal_busy_json.txt"):
            sent = message(name)
            event = callevents.parse_request(sent.method, sent.content_type, sent.query, sent.body)
            assert event is not None
            ledger.record(connection, event, key=key_of(serving.context.settings))
    rows = Rows(db)
    rows.task(101)
    rows.task(102, blind=True, gold_text="known", selection_probability=0.25)
    first = rows.annotation(11, 101, language="hi", edited="edited", measures=measures(10, 3))
    rows.agreement(101, first, rows.annotation(12, 101, annotator=2, language="mr"), words=10, word_edits=2)
    rows.annotation(13, 102, draft=None, edited="manual", model_version=None)
    serving.drafted(5, 6)
    for role in ("relay", "worker:sync", "worker:transcribe"):
        alive(serving, role)
    serving.setup()
    with db.transaction() as connection:
        connection.execute(sa.update(tables.recordings).where(tables.recordings.c.id == 101).values(call_id=1))
        sample = {"project_id": rows.project_id, "task_id": 101, "number": 0, "annotation_id": first, "start_s": 0.0}
        sample |= {"end_s": 2.0, "text": "new", "digest": "d", "state": "accepted", "language": "hi"}
        connection.execute(sa.insert(tables.samples).values(**sample, recording_id=101, accepted_at=tables.now()))
        dataset = {"name": "calls", "version": 1, "manifest_sha256": "1" * 64}
        counts = {"rows": 4, "hours": 0.5, "splits": {"test": {"rows": 1}}, "excluded": {"consent": 2}}
        connection.execute(sa.insert(tables.datasets).values(**dataset, counts=counts, filters={"languages": "hi"}))
        version = {"version": "one", "kind": "asr", "location": "hub:x", "manifest": {"files": {}}, "languages": ["hi"]}
        connection.execute(sa.insert(tables.model_versions).values(**version))
        scores = {"rates": {"indic@1": {"wer": [0.17, 0.15, 0.19]}}, "words_said": ["Of 100 words"]}
        connection.execute(sa.insert(tables.evaluations).values(model_version_id=1, dataset_id=1, scores=scores))
        alias = {"kind": "asr", "language": "*", "alias": "champion"}
        connection.execute(sa.insert(tables.aliases).values(**alias, model_version_id=1))
        moved = {**alias, "to_version": "one", "who": "a person", "why": "first"}
        connection.execute(sa.insert(tables.alias_history).values(**moved))
        pair = {"name": "try", "champion": "one", "challenger": "two", "traffic_share": 0.5, "salt": "hidden"}
        connection.execute(sa.insert(tables.experiments).values(**pair, outcome={"observations": 12}))
        clip = {"bucket": "training-data", "key": "tts/hi/1.wav", "text": "नमस्ते", "language": "hi", "voice": "asha"}
        connection.execute(sa.insert(tables.voice_clips).values(**clip, state="accepted", duration_s=2.0))
        for state in ("done", "refused"):
            run = {"kind": "asr", "state": state, "arguments": {"samples": 3}, "who": "a person", "why": "button"}
            connection.execute(sa.insert(tables.runs).values(**run, dataset_id=1))


def explore(serving: Serving, folder: Path) -> None:
    """The second evaluation has its utterances listed; their task is open in Label Studio."""
    dataset_id = candidates.blind_calls(serving.context, folder / "scratch", calls=3, words=4)
    version = candidates.version(serving.context, folder, "explored")
    written = {f"row-{number:03}": candidates.said(number, 4) for number in range(3)}
    assert candidates.wrote(serving.context, version, dataset_id, written).id == 2
    with serving.context.db.transaction() as connection:
        of_a_task = sa.update(tables.evaluation_utterances).values(ls_project_id=PROJECT, ls_task_id=5)
        connection.execute(of_a_task)


@pytest.fixture
def filled(serve: Callable[..., Serving], database_url: str, tmp_path: Path) -> Iterator[Serving]:
    """On SQLite and on PostgreSQL, of which other tests use the same one."""
    serving = serve(database_url=database_url, exotel_webhook_secret=EXOTEL)
    fill(serving)
    explore(serving, tmp_path)
    yield serving
    if serving.context.db.engine.dialect.name == "postgresql":
        with serving.context.db.transaction() as connection:
            names = ", ".join(table.name for table in tables.metadata.sorted_tables)
            connection.execute(sa.text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))


def test_the_document_is_for_token_holders_and_names_every_route(serving: Serving) -> None:
    assert serving.get("/api/openapi.json").status_code == 401
    assert serving.get("/api/openapi.json", BASIC).status_code == 401
    found = serving.get("/api/openapi.json", BEARER).get_json()
    assert found["openapi"].startswith("3.1.")
    assert found["info"]["version"] == tomllib.loads(Path("pyproject.toml").read_text())["project"]["version"]
    shown = {path.replace("{", "<").replace("}", ">") for path in found["paths"]}
    assert shown == {
        rule.rule.replace("<path:", "<")
        for rule in serving.app.url_map.iter_rules()
        if not rule.rule.startswith("/page/")
    }
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"].endswith((".", ";")), path
            assert {"200", "400", "503"} <= set(operation["responses"]), (method, path)
            assert all(each["description"] for each in operation["parameters"]), (method, path)


def test_every_error_is_described_with_code_sentence_and_next_step(serving: Serving) -> None:
    shape = documented.document(serving.app)["components"]["schemas"]["ErrorAnswer"]
    assert set(shape["required"]) == {"code", "message", "next_step", "request_id"}


def credentials(path: str) -> dict[str, str]:
    if path.startswith(("/api", "/v1")) or path == "/webhooks/objects":
        return OPERATOR
    return {**BASIC, **WEBHOOK}


def real(path: str) -> dict[str, Any]:
    """The names of things that are there, for half of the questions."""
    named = {
        "job_id": "1", "clip_id": "1", "dataset_id": "1", "version": "one", "annotation_id": "11", "name": "try",
        "evaluation_id": "2", "number": "1",
        "what": "recording:101", "call_sid": SID, "secret": EXOTEL, "model": "champion",
    }  # fmt: skip
    found = {name: value for name, value in named.items() if f"{{{name}}}" in path}
    sent = {"body": SENT[path]} if path in SENT else {}
    return {**({"path_parameters": found} if found else {}), **sent}


def ask(operation: Any, mode: GenerationMode) -> set[int]:
    """The statuses that some questions got; fails at the first answer that the document does not promise."""
    strategy = operation.as_strategy(mode)
    if known := real(operation.path):
        strategy |= operation.as_strategy(mode if "body" not in known else GenerationMode.POSITIVE, **known)
    statuses = set()

    @hypothesis.settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    @hypothesis.given(case=strategy)
    def one(case: schemathesis.Case) -> None:
        if operation.path.startswith("/api/nerve"):
            case.query = {**(case.query or {}), "key": EXOTEL}
        answer = case.call(headers=credentials(operation.path))
        statuses.add(answer.status_code)
        case.validate_response(answer, checks=PROMISED)

    one()
    return statuses


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_whatever_is_asked_by_the_document_is_answered_as_it_says(filled: Serving, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_wsgi("/api/openapi.json", filled.app, headers=BEARER)
    wrong, unanswered = {}, []
    for operation in (found.ok() for found in schema.get_all_operations()):
        try:
            statuses = ask(operation, mode)
        except hypothesis.errors.Unsatisfiable:  # nothing in it can be made wrong
            assert mode is GenerationMode.NEGATIVE, operation.label
        except (Exception, BaseExceptionGroup) as error:
            wrong[operation.label] = str(error)[:1500]
        else:
            unanswered += [operation.label] if min(statuses) >= 300 and operation.label not in ELSEWHERE else []
    assert not wrong, "\n".join(f"{label}: {text}" for label, text in wrong.items())
    assert mode is GenerationMode.NEGATIVE or not unanswered, f"no real answer was seen: {unanswered}"
