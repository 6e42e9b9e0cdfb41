"""A phone system of some hundred calls asks two processes of `serve`, while experiments begin, end and do harm."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from math import sqrt
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.api.app import create_app, load_plugin
from ml_backend.asr import engine
from ml_backend.context import Context, open_context
from ml_backend.models import routing
from ml_backend.serving import default_model
from tests.ml_backend.api.live.conftest import another, promote
from tests.ml_backend.commands.test_serve import LIVE, running
from tests.ml_backend.commands.test_web import ROOT, some_settings
from tests.patience import until

READ = "r" * 24
SIGMAS = 5.0  # beyond it once in a million runs
SWAPPED: dict[str, dict[str, Any]] = {"asr": {}, "nlu": {"threshold": 1.0}, "tts": {}}  # needs of the new versions
ADDRESSES = {"asr": "/v1/audio/transcriptions", "nlu": "/v1/nlu/parse", "tts": "/v1/audio/speech"}


class Phone:
    """What a phone system does: asks `/v1` for a call, and says how the call went."""

    def __init__(self, port: int) -> None:
        address = f"http://127.0.0.1:{port}"
        self._http = httpx2.Client(base_url=address, headers={"Authorization": f"Bearer {LIVE}"}, timeout=120)
        self._openai = openai.OpenAI(api_key=LIVE, base_url=f"{address}/v1", timeout=120, max_retries=0)

    def ask(self, kind: str, call: str | None) -> str:
        """The version that answered."""
        if kind == "asr":
            more = {"call": call} if call else {}
            answer = self._openai.audio.transcriptions.with_raw_response.create(
                file=engine.CHECK, model="champion", language="en", extra_body=more
            )
            return str(answer.headers["x-kaan-model-version"])
        body: dict[str, Any] = {
            "text": "where is my order",
            "input": "hello",
            "language": "en",
            "response_format": "wav",
        }
        response = self._http.post(ADDRESSES[kind], json={**body, **({"call": call} if call else {})})
        assert response.status_code == 200, response.text
        return str(response.headers["x-kaan-model-version"])

    def report(self, call: str, **outcome: Any) -> None:
        response = self._http.post(f"/api/calls/{call}/outcome", json=outcome)
        assert response.status_code in (200, 202), response.text


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    settings = some_settings(tmp_path, api_tokens=f"ops:read:{READ}", asr_device="cpu")
    db.upgrade(settings.database)
    opened = open_context(settings)
    default_model.ensure_every(opened)
    yield opened
    opened.db.dispose()


@contextmanager
def experiment(context: Context, *arguments: str) -> Iterator[None]:
    """Begun and ended by the commands."""
    command(context, "experiments", "start", *arguments, "--name", "trial", "--json")
    yield
    command(context, "experiments", "stop", "trial", "--json")


def command(context: Context, *arguments: str) -> Any:
    ran = subprocess.run(
        [sys.executable, "-m", "ml_backend", *arguments], cwd=ROOT, capture_output=True, text=True, check=True,
        env={"PATH": "/usr/bin:/bin", "DATA_DIR": str(context.settings.data_dir), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return json.loads(ran.stdout)


def expected(context: Context, kind: str, calls: list[str]) -> dict[str, routing.Route]:
    routes = routing.Routes(context, kind)
    return {call: routes.choose(call, language="en") for call in calls}


def noticed(phones: list[Phone], kind: str, routes: dict[str, routing.Route]) -> None:
    """Every process answers as the experiment says: a call of the challenger tells."""
    call = next(call for call, route in routes.items() if route.arm == routing.CHALLENGER)
    for phone in phones:
        until(lambda phone=phone: phone.ask(kind, call) == routes[call].version.version, "the experiment is noticed")


def rows(context: Context, kind: str, calls: list[str], requests: int) -> dict[str, Any]:
    """The rows of these calls, when all their requests are counted."""

    def read() -> Any:
        outcome = tables.outcomes.c
        mine = sa.select(tables.outcomes).where(outcome.kind == kind, outcome.call_sid.in_(calls))
        found = {row.call_sid: row for row in context.db.rows(mine)}
        return found if len(found) == len(calls) and sum(row.requests for row in found.values()) >= requests else None

    return dict(until(read, "the rows are written"))


@pytest.mark.parametrize(("kind", "share", "number"), [("nlu", 0.1, 300), ("asr", 0.5, 24)])
def test_every_request_of_a_call_is_answered_by_its_arm_in_every_process_and_after_a_restart(
    tmp_path: Path, context: Context, kind: str, share: float, number: int
) -> None:
    challenger = another(context, tmp_path / f"{kind}-new", kind)
    calls = [f"call-{n}" for n in range(number)]
    with running(tmp_path) as (first, _), experiment(context, challenger.version, "--share", str(share)):
        chosen = expected(context, kind, [*calls, *(f"more-{n}" for n in range(200))])
        versions = {call: chosen[call].version.version for call in calls}
        with running(tmp_path) as (second, _):
            phones = [Phone(first), Phone(second)]
            noticed(phones, kind, {call: route for call, route in chosen.items() if call.startswith("more")})
            for phone in phones:
                assert {call: phone.ask(kind, call) for call in calls} == versions
        with running(tmp_path) as (again, _):
            some = calls[:12]
            noticed([Phone(again)], kind, {c: r for c, r in chosen.items() if c.startswith("more")})
            assert {call: Phone(again).ask(kind, call) for call in some} == {call: versions[call] for call in some}
        found = rows(context, kind, calls, 2 * number + 12)
        assert {call: (row.model_version, row.arm) for call, row in found.items()} == {
            call: (versions[call], chosen[call].arm) for call in calls
        }
        assert {row.requests for call, row in found.items() if call not in some} == {2}
        arms = Counter(row.arm for row in found.values())
        far = SIGMAS * sqrt(number * share * (1 - share))
        assert abs(arms[routing.CHALLENGER] - share * number) <= far
        assert set(arms) == {routing.CHAMPION, routing.CHALLENGER}
        web = create_app(context.settings, load_plugin("model:SpeechModel"), context=context).test_client()
        for call in calls[:20]:
            told = web.get(
                "/api/route", query_string={"kind": kind, "call": call, "language": "en"},
                headers={"Authorization": f"Bearer {READ}"},
            ).get_json()  # fmt: skip
            assert (told["version"], told["arm"]) == (versions[call], chosen[call].arm)


def test_a_shadow_is_asked_for_every_call_and_answers_none(tmp_path: Path, context: Context) -> None:
    shadow = another(context, tmp_path / "nlu-new", "nlu", threshold=1.0)  # every parse of it is out of scope
    calls = [f"call-{n}" for n in range(40)]
    with running(tmp_path) as (port, _), experiment(context, shadow.version, "--shadow", "--share", "1"):
        phone = Phone(port)
        champion = {phone.ask("nlu", None)}

        def is_shadowed(call: str) -> bool:
            assert {phone.ask("nlu", call)} == champion
            outcome = tables.outcomes.c
            found = context.db.scalars(sa.select(outcome.shadow).where(outcome.call_sid == call))
            return bool(found and found[0])

        numbers = iter(range(1000))
        until(lambda: is_shadowed(f"earlier-{next(numbers)}") or is_shadowed("earlier"), "the shadow is loaded")
        for call in calls:
            assert {phone.ask("nlu", call), phone.ask("nlu", call)} == champion

        def told() -> Any:
            found = rows(context, "nlu", calls, 80)
            done = [row.shadow["requests"] + row.shadow["dropped"] for row in found.values() if row.shadow]
            return found if sum(done) == 80 else None

        found = until(told, "every request was shadowed, or dropped and counted")
        said = [row.shadow for row in found.values()]
        assert {each["version"] for each in said} == {shadow.version}
        assert all(each["differing"] == each["compared"] == each["requests"] for each in said)
        assert sum(each["requests"] for each in said) > 0
        assert {row.model_version for row in found.values()} == champion


def test_three_promotions_at_once_under_load_on_two_processes_lose_no_request_and_mix_no_answer(
    tmp_path: Path, context: Context
) -> None:
    fresh = {kind: another(context, tmp_path / f"{kind}-new", kind, **needs) for kind, needs in SWAPPED.items()}
    answers: dict[str, list[tuple[int, str, str]]] = {kind: [] for kind in fresh}
    ended = threading.Event()

    def call(kind: str) -> None:
        with httpx2.Client(base_url=address, headers={"Authorization": f"Bearer {LIVE}"}, timeout=120) as http:
            while not ended.is_set():
                if kind == "asr":
                    response = http.post(
                        ADDRESSES[kind], files={"file": engine.CHECK.read_bytes()}, data={"language": "en"}
                    )
                    intent = ""
                else:
                    body = {"text": "where is my order", "input": "hello", "language": "en", "response_format": "wav"}
                    response = http.post(ADDRESSES[kind], json=body)
                    intent = response.json().get("intent", "") if kind == "nlu" else ""
                version = response.headers.get("x-kaan-model-version", response.text)
                answers[kind].append((response.status_code, version, intent))

    with running(tmp_path, "--workers", "2") as (port, _):
        address = f"http://127.0.0.1:{port}"
        threads = [threading.Thread(target=call, args=(kind,)) for kind in fresh for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            until(lambda: all(len(found) >= 6 for found in answers.values()), "the old ones answer", within_s=120)
            for version in fresh.values():
                promote(context, version)

            def swapped() -> bool:
                late = {kind: {version for _, version, _ in found[-6:]} for kind, found in answers.items()}
                return late == {kind: {version.version} for kind, version in fresh.items()}

            until(swapped, "the new ones answer", within_s=120)
        finally:
            ended.set()
            for thread in threads:
                thread.join(120)
    for kind, found in answers.items():
        assert {status for status, _, _ in found} == {200}, kind
        versions = {version for _, version, _ in found}
        assert len(versions) == 2, kind
        assert fresh[kind].version in versions
    outside = {version for _, version, intent in answers["nlu"] if intent == "none_of_these"}
    inside = {version for _, version, intent in answers["nlu"] if intent == "order_status"}
    assert outside == {fresh["nlu"].version}
    assert not inside & outside
    assert inside | outside == {version for _, version, _ in answers["nlu"]}


def test_a_version_that_callers_suffer_from_is_withdrawn_while_calls_go_on(tmp_path: Path, context: Context) -> None:
    worse = another(context, tmp_path / "nlu-new", "nlu")
    calls = [f"call-{n}" for n in range(160)]
    with (
        running(tmp_path) as (port, _),
        experiment(context, worse.version, "--share", "0.5", "--primary", "success", "--guard", "success"),
    ):
        phone, chosen = Phone(port), expected(context, "nlu", calls)
        noticed([phone], "nlu", chosen)
        for call in calls:
            phone.report(call, success=phone.ask("nlu", call) != worse.version)
        rows(context, "nlu", calls, len(calls))
        shown = command(context, "experiments", "show", "trial", "--json")
        arms = Counter(route.arm for route in chosen.values())
        sides = {arm: shown["outcome"]["measures"]["success"][arm] for arm in arms}
        assert {arm: side["calls"] for arm, side in sides.items()} == arms
        assert shown["state"] == "withdrawn", shown
        champion = routing.champion(context, "nlu").version
        until(lambda: {phone.ask("nlu", call) for call in calls[:20]} == {champion}, "the champion answers every call")
