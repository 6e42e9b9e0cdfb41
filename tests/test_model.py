"""SpeechModel keeps the class interface of label-studio-ml 2.x, under our server and under the upstream one."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ml_backend import tables
from ml_backend.api.app import create_app, load_plugin
from ml_backend.errors import ConfigurationError, InvalidInput
from model import SpeechModel
from tests.ml_backend.api.conftest import empty_database, serve, serving  # noqa: F401 - the same deployment
from tests.ml_backend.api.serving import ORIGINAL, PROJECT, Serving, task, texts

ROOT = Path(__file__).parents[1]


def speech_model(serving: Serving, **arguments: Any) -> SpeechModel:  # noqa: F811
    """An instance as our server makes it."""
    bound = type("SpeechModel", (SpeechModel,), {"context": serving.context})
    return bound(project_id=str(PROJECT), label_config=ORIGINAL, **arguments)


def test_the_class_has_the_interface_of_2x() -> None:
    wanted = {"project_id", "label_config"}
    assert wanted <= set(inspect.signature(SpeechModel.__init__).parameters)
    assert list(inspect.signature(SpeechModel.predict).parameters) == ["self", "tasks", "context", "kwargs"]
    assert list(inspect.signature(SpeechModel.fit).parameters) == ["self", "event", "data", "kwargs"]
    for name in ("setup", "get", "set", "has", "model_version", "set_extra_params", "use_label_config"):
        assert hasattr(SpeechModel, name)


def test_predict_gives_a_list_with_one_entry_per_task(serving: Serving) -> None:  # noqa: F811
    serving.drafted(1)
    model = speech_model(serving)
    assert texts(model.predict([task(1), task(2)], context={}, login=None, password=None)) == ["text of 1", None]


def test_the_version_is_the_projects_draft_label(serving: Serving) -> None:  # noqa: F811
    serving.project(draft_label="draft-9")
    model = speech_model(serving)
    assert model.model_version == model.get("model_version") == "draft-9"
    assert model.has("model_version")
    model.set("model_version", "somebody-elses-idea")
    assert model.model_version == "draft-9"


def test_extra_params_may_be_set_through_the_2x_calls(serving: Serving) -> None:  # noqa: F811
    model = speech_model(serving)
    model.set_extra_params({"language": "hi"})
    model.set("extra_params", '{"language": "mr"}')
    assert serving.rows(tables.projects)[0].extra_params == {"language": "mr"}
    assert json.loads(model.get("extra_params") or "") == {"language": "mr"}
    with pytest.raises(InvalidInput):
        model.set_extra_params("[")


def test_fit_makes_a_job_row_for_start_training_and_for_nothing_else(serving: Serving) -> None:  # noqa: F811
    model = speech_model(serving)
    assert "job" not in model.fit("ANNOTATION_CREATED", {}, job_id=None)
    assert serving.jobs("train") == []
    answer = model.fit("START_TRAINING", {"project": {"id": PROJECT}})
    (job,) = serving.jobs("train")
    assert answer["job"] == str(job.id)


# --- the seam: another plugin


class Echo:
    """The smallest plugin: 2.x's class interface and nothing of ours."""

    def __init__(self, project_id: str | None = None, label_config: str | None = None) -> None:
        self.project_id, self.label_config, self.extra = project_id, label_config, None

    def set_extra_params(self, extra_params: Any) -> None:
        self.extra = extra_params

    def get(self, key: str) -> str | None:
        return f"echo-{self.project_id}" if key == "model_version" else None

    def predict(self, tasks: list[Any], context: Any = None, **kwargs: Any) -> Any:
        return [{"result": [], "score": 0.5, "model_version": f"{t['id']}"} if t else None for t in tasks]

    def fit(self, event: str, data: Any, **kwargs: Any) -> Any:
        assert "token" not in data["project"]
        return {"fitted": event}


def test_another_plugin_serves_the_whole_protocol(serve: Callable[..., Serving]) -> None:  # noqa: F811
    serving = serve(plugin=Echo)  # noqa: F811
    assert serving.setup(extra_params={"a": 1}).get_json() == {"model_version": f"echo-{PROJECT}"}
    answered = serving.predict([task(3), None])
    assert [entry and entry["model_version"] for entry in answered] == ["3", []]
    event = {"action": "START_TRAINING", "project": {"id": PROJECT, "token": "x"}}
    assert serving.post("/webhook", event).get_json() == {"fitted": "START_TRAINING"}
    assert serving.rows(tables.projects) == []


class Short(Echo):
    """A plugin that loses an answer."""

    def predict(self, tasks: list[Any], context: Any = None, **kwargs: Any) -> Any:
        return super().predict(tasks[1:])


def test_a_plugin_that_loses_an_answer_is_an_error_we_see(serve: Callable[..., Serving]) -> None:  # noqa: F811
    body = {"tasks": [task(1), task(2)], "project": "23.1"}
    answer = serve(plugin=Short).post("/predict", body)
    assert (answer.status_code, answer.get_json()["code"]) == (500, "plugin-answer")


@pytest.mark.parametrize("path", ["", "model", "model:Nobody", "no_such_module:X", "model:json", "ml_backend:__name__"])
def test_a_wrong_plugin_setting_is_named(path: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load_plugin(path)
    assert raised.value.code == "no-plugin"


def test_a_plugin_is_chosen_by_its_path() -> None:
    assert load_plugin("tests.test_model:Echo") is not None
    assert load_plugin("model:SpeechModel") is SpeechModel


# --- what the web process loads


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Python code in a process of its own, at the repository's root."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), *sys.path))), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_web_app_leaves_heavy_libraries_out(empty_database: Path) -> None:  # noqa: F811
    ran = run(
        """
        import sys
        import _wsgi
        _wsgi.app.test_client().get("/health")
        heavy = {"torch", "transformers", "datasets", "pandas", "faster_whisper", "ctranslate2", "onnxruntime", "av",
                 "numpy", "label_studio_sdk", "alembic", "rq", "redis", "httpx", "minio"}
        print(sorted(heavy & set(sys.modules)))
        """,
        DATA_DIR=str(empty_database.parent),
    )
    assert ran.stdout.strip() == "[]", ran.stderr


def test_the_class_that_label_studio_ml_create_looks_for_is_the_only_one():
    """It takes every class of the file that is, or inherits from, the base, by the name it has in the file."""
    import model

    base = model.SpeechModel.__mro__[1]
    found = [
        name
        for name, each in inspect.getmembers(model, inspect.isclass)
        if name != base.__name__ and issubclass(each, base)
    ]
    assert found == ["SpeechModel"]


UPSTREAM = importlib.util.find_spec("label_studio_ml") is not None


@pytest.mark.skipif(not UPSTREAM, reason="label-studio-ml 2.x is not installed here")
def test_the_same_class_runs_under_the_upstream_server(empty_database: Path, tmp_path: Path) -> None:  # noqa: F811
    shutil.copy(empty_database, tmp_path / "kaan.db")
    ran = run(
        """
        import json
        from pathlib import Path
        from label_studio_ml.api import init_app
        from label_studio_ml.model import LabelStudioMLBase
        from model import SpeechModel
        assert issubclass(SpeechModel, LabelStudioMLBase)
        client = init_app(SpeechModel).test_client()
        fixtures = Path("tests/fixtures/label-studio")
        def replay(name):
            asked = json.loads((fixtures / (name + ".json")).read_text())["request"]
            answer = client.open(asked["path"], method=asked["method"], json=asked["body"])
            assert answer.status_code in (200, 201), (name, answer.get_data(as_text=True))
            return answer.get_json()
        print(json.dumps([replay(n) for n in
            ("ml-health", "ml-setup", "ml-predict-open-task", "ml-predict-batch", "ml-webhook-start-training")]))
        """,
        DATA_DIR=str(tmp_path),
        MODEL_DIR=str(tmp_path),
        PREDICT_WAIT_S="0",
    )
    assert ran.returncode == 0, ran.stderr
    health, setup, one, batch, training = json.loads(ran.stdout.splitlines()[-1])
    assert health["model_class"] == "SpeechModel"
    assert setup == {"model_version": "draft-1"}
    assert (one, batch) == ({"results": [[]]}, {"results": [[], []]})
    assert training["result"]["job"]


def test_the_app_takes_any_class(serving: Serving) -> None:  # noqa: F811
    assert create_app(serving.context.settings, Echo, context=serving.context).url_map
