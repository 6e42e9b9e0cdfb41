"""Which loaded version answers, and what a promotion, an experiment and a broken version change."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.api.app import create_live_app
from ml_backend.api.live import live_engines
from ml_backend.api.live.live_engines import LiveEngines
from ml_backend.errors import RetryableError
from ml_backend.models import registry, routing
from ml_backend.nlu import parsing
from ml_backend.tts import speaking
from tests.ml_backend.api.live.conftest import promote
from tests.ml_backend.api.serving import Serving
from tests.patience import until

Renamed = Callable[..., registry.Version]


@pytest.fixture
def engines(phone: Serving) -> LiveEngines:
    return live_engines.of(phone.context)


def name(engines: LiveEngines, **asked: Any) -> str:
    chosen = engines.answering("nlu", **asked)
    assert chosen.engine.model_version == chosen.version.version
    return chosen.version.version


def experiment(phone: Serving, champion: str, challenger: registry.Version, **more: Any) -> None:
    row = {"name": "trial", "champion": champion, "challenger": challenger.version, "traffic_share": 0.5,
           "salt": "salt", "model_kind": challenger.kind, **more}  # fmt: skip
    phone.insert(tables.experiments, row)


def cut(phone: Serving, version: registry.Version) -> None:
    """A version whose file in the store is not what was registered."""
    folder = phone.context.store.open_local(
        phone.context.settings.audio_bucket, f"{version.location.removeprefix('store:')}/manifest.json"
    )
    assert folder is not None
    network = Path(folder).parent / "model.onnx"
    network.chmod(0o600)
    network.write_bytes(network.read_bytes()[:-10])


def test_a_promotion_is_answered_by_the_new_version_while_an_old_answer_keeps_its_own(
    phone: Serving, renamed: Renamed, engines: LiveEngines
) -> None:
    before = engines.answering("nlu")
    fresh = renamed("nlu", "fresh")
    promote(phone, fresh)
    until(lambda: name(engines) == fresh.version, "the new version answers")
    assert before.engine.parse("where is my order").model_version == before.version.version


def test_a_language_has_a_champion_of_its_own(phone: Serving, renamed: Renamed, engines: LiveEngines) -> None:
    usual = name(engines)
    marathi = renamed("nlu", "marathi")
    promote(phone, marathi, language="mr")
    until(lambda: name(engines, language="mr") == marathi.version, "the language's champion answers")
    assert name(engines, language="hi") == name(engines) == name(engines, language="xx") == usual


def test_a_call_is_answered_by_the_arm_that_its_drafts_have(
    phone: Serving, renamed: Renamed, engines: LiveEngines
) -> None:
    usual, other = name(engines), renamed("nlu", "other")
    experiment(phone, usual, other)
    until(lambda: other.version in {name(engines, call=f"call-{n}") for n in range(20)}, "the experiment is noticed")
    drafts = routing.Routes(phone.context, "nlu")
    answered = [name(engines, call=f"call-{n}") for n in range(40)]
    assert answered == [drafts.choose(f"call-{n}").version.version for n in range(40)]
    assert set(answered) == {usual, other.version}
    assert {engines.answering("nlu", call=f"call-{n}").arm for n in range(40)} == {"champion", "challenger"}
    assert {name(engines) for _ in range(3)} == {usual}, "without a call, no experiment"


def test_a_champion_that_does_not_load_leaves_the_old_one_answering(
    phone: Serving, renamed: Renamed, engines: LiveEngines
) -> None:
    usual, broken = name(engines), renamed("nlu", "broken")
    cut(phone, broken)
    promote(phone, broken)
    until(lambda: live_engines.troubles(phone.context), "it was tried")
    assert name(engines) == usual
    [(kind, reason)] = live_engines.troubles(phone.context).items()
    assert kind == "nlu"
    assert reason.startswith(f"{broken.version} does not load: ")
    mended = renamed("nlu", "mended")
    promote(phone, mended)
    until(lambda: name(engines) == mended.version, "the next one is served at once")
    assert live_engines.troubles(phone.context) == {}


@pytest.mark.parametrize("kind", ["nlu", "tts"])
def test_a_version_has_answered_once_before_it_answers_a_caller(
    phone: Serving, renamed: Renamed, engines: LiveEngines, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    ran: list[str] = []
    network = {"nlu": (parsing.Parser, "_logits"), "tts": (speaking.Speaker, "_frames")}[kind]
    real = getattr(*network)

    def noted(engine: Any, *more: Any) -> Any:
        ran.append(engine.model_version)
        return real(engine, *more)

    monkeypatch.setattr(*network, noted)
    engines.answering(kind)
    fresh = renamed(kind, "fresh")
    promote(phone, fresh)
    until(lambda: engines.answering(kind).version.version == fresh.version, "the new version answers")
    assert fresh.version in ran


def test_a_challenger_that_does_not_load_ends_its_experiment_and_the_champion_answers(
    phone: Serving, renamed: Renamed, engines: LiveEngines
) -> None:
    usual, broken = name(engines), renamed("nlu", "broken")
    cut(phone, broken)
    experiment(phone, usual, broken)

    def state() -> str:
        return str(phone.context.db.scalars(sa.select(tables.experiments.c.state))[0])

    until(lambda: state() == "withdrawn", "the experiment ends")
    assert {name(engines, call=f"call-{n}") for n in range(20)} == {usual}


def test_a_challenger_that_cannot_be_fetched_just_now_keeps_its_experiment(
    phone: Serving, renamed: Renamed, engines: LiveEngines, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, other = name(engines), renamed("nlu", "other")
    tried = threading.Event()
    load = engines._loaders["nlu"]

    def away(context: Any, version: registry.Version) -> Any:
        if version.version == other.version and not tried.is_set():
            tried.set()
            raise RetryableError("store-unreachable", "The object store does not answer.", "It is tried again.")
        return load(context, version)

    monkeypatch.setattr(live_engines, "FAILED_S", 0.05)
    monkeypatch.setattr(engines, "_loaders", {**engines._loaders, "nlu": away})
    experiment(phone, usual, other)
    assert tried.wait(30)
    until(lambda: name(engines, call=of_the_challenger(phone)) == other.version, "it is tried again")
    assert phone.context.db.scalars(sa.select(tables.experiments.c.state)) == ["running"]


def test_a_challenger_that_this_machine_cannot_load_is_answered_by_the_champion_and_tried_again(
    phone: Serving, renamed: Renamed, engines: LiveEngines, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, other = name(engines), renamed("nlu", "other")
    full = threading.Event()
    full.set()
    load = engines._loaders["nlu"]

    def small(context: Any, version: registry.Version) -> Any:
        if version.version == other.version and full.is_set():
            raise RuntimeError("out of memory")
        return load(context, version)

    monkeypatch.setattr(live_engines, "FAILED_S", 0.05)
    monkeypatch.setattr(engines, "_loaders", {**engines._loaders, "nlu": small})
    experiment(phone, usual, other)
    mine = of_the_challenger(phone)
    until(lambda: live_engines.troubles(phone.context), "the trouble is said")
    answered = engines.answering("nlu", call=mine)
    assert (answered.version.version, answered.experiment_id, answered.arm) == (usual, None, None)
    assert phone.context.db.scalars(sa.select(tables.experiments.c.state)) == ["running"]
    full.clear()
    until(lambda: name(engines, call=mine) == other.version, "it is tried again")
    assert live_engines.troubles(phone.context) == {}


def of_the_challenger(phone: Serving) -> str:
    """A call that the experiment gives to the challenger."""
    routes = routing.Routes(phone.context, "nlu")
    calls = (f"call-{number}" for number in range(100))
    return next(call for call in calls if routes.choose(call).arm == routing.CHALLENGER)


def test_versions_asked_for_by_name_do_not_fill_the_memory(
    phone: Serving, renamed: Renamed, engines: LiveEngines
) -> None:
    versions = [renamed("nlu", f"trial-{n}").version for n in range(live_engines.SPARE + 2)]
    for version in versions:
        assert name(engines, model=version) == version
    assert list(engines._held["nlu"].spare) == versions[2:]


def test_a_kind_that_does_not_load_at_the_start_keeps_no_other_kind_from_answering(
    phone: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    away, loads = {"asr": True}, []

    def recogniser(context: Any, version: registry.Version) -> str:
        loads.append(version.version)
        if away["asr"]:
            raise OSError("the store is away")
        return version.version

    others = {"nlu": lambda context, version: version.version, "tts": lambda context, version: version.version}
    starting = LiveEngines(phone.context, {"asr": recogniser, **others})
    monkeypatch.setitem(phone.context.kept, "live-engines", starting)
    app = Serving(create_live_app(phone.context.settings, context=phone.context), phone.context).app.test_client()
    assert app.get("/ready").status_code == 503
    starting.begin()
    until(lambda: starting.missing() == ["asr"], "the other kinds are loaded, unasked")
    until(lambda: "asr" in starting.troubles(), "the trouble is said")
    answer = app.get("/ready")
    assert answer.status_code == 503
    assert [one["code"] for one in answer.json["reasons"]] == ["model-not-loaded"]
    tried = len(loads)
    with pytest.raises(RetryableError) as refused:
        starting.answering("asr")
    assert (refused.value.code, refused.value.status, len(loads)) == ("model-not-loaded", 503, tried)
    away["asr"] = False
    monkeypatch.setattr(live_engines, "AGAIN_S", 0.01)
    starting._held["asr"].failed = ("", 0.0)
    assert starting.answering("asr").engine == starting.answering("asr").version.version  # tried when it is asked for
    assert app.get("/ready").json == {"ready": True, "reasons": []}
