"""/setup and /health: what happens before every /predict."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.labelling import labelconfig
from tests.ml_backend.api.serving import BASIC, ORIGINAL, PROJECT, Serving

OTHER = ORIGINAL.replace("transcription", "words")


def test_an_unknown_project_gets_a_row_on_our_own_instance(serving: Serving) -> None:
    answer = serving.setup(hostname="http://evil.example", access_token="legacy-token-of-somebody")
    assert answer.get_json() == {"model_version": "draft-1"}
    (row,) = serving.rows(tables.projects)
    assert (row.instance_url, row.ls_project_id, row.state) == ("http://label-studio.example", PROJECT, "seen")
    assert (row.label_config, row.config_sha256) == (ORIGINAL, labelconfig.digest(ORIGINAL))
    assert "legacy-token-of-somebody" not in repr(row)
    assert [job.name for job in serving.rows(tables.jobs)] == ["sync-project"]


def test_an_unchanged_setup_writes_nothing(serving: Serving) -> None:
    extra = {"language": "hi", "hotwords": ["Pune"]}
    serving.setup(extra_params=extra)
    seen: list[str] = []
    sa.event.listen(serving.context.db.engine, "checkout", lambda driver, *_: driver.set_trace_callback(seen.append))
    serving.setup(extra_params=extra)
    serving.setup()
    assert len(seen) > 1
    assert not [s for s in seen if not s.startswith(("SELECT", "BEGIN", "ROLLBACK", "COMMIT")) or "IMMEDIATE" in s]


@pytest.mark.parametrize("change", [{"config": OTHER}, {"extra_params": {"language": "mr"}}])
def test_a_change_is_stored_once_and_drafts_open_tasks_again(serving: Serving, change: dict[str, object]) -> None:
    project_id = serving.project()
    for _ in range(2):
        assert serving.setup(**change).status_code == 200  # type: ignore[arg-type]
    (row,) = serving.rows(tables.projects)
    assert row.revision == 1
    assert row.label_config == change.get("config", ORIGINAL)
    assert row.extra_params == change.get("extra_params", {})
    assert sorted((job.name, job.arguments["project_id"]) for job in serving.rows(tables.jobs)) == [
        ("redraft-project", project_id),
        ("sample-project", project_id),
        ("sync-project", project_id),
    ]


def test_leaving_extra_params_out_keeps_the_stored_ones(serving: Serving) -> None:
    serving.project(extra_params={"language": "hi"})
    for value in (None, ""):
        serving.setup(extra_params=value)
    serving.setup()
    assert serving.rows(tables.projects)[0].extra_params == {"language": "hi"}
    serving.setup(extra_params={})
    assert serving.rows(tables.projects)[0].extra_params == {}


def test_extra_params_may_be_an_object_written_as_text(serving: Serving) -> None:
    serving.setup(extra_params='{"language": "mr"}')
    assert serving.rows(tables.projects)[0].extra_params == {"language": "mr"}


def test_wrong_extra_params_are_refused_with_every_mistake(serving: Serving) -> None:
    answer = serving.setup(extra_params={"language": 5, "beam_size": 0, "minimum_confidence": "much"})
    assert answer.status_code == 400
    assert answer.get_json()["code"] == "bad-extra-params"
    assert all(name in answer.get_json()["message"] for name in ("language", "beam_size", "minimum_confidence"))


def test_a_hundred_setups_at_once_make_one_row(serving: Serving) -> None:
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(serving.setup().status_code)) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == [200] * 100
    assert len(serving.rows(tables.projects)) == 1
    assert len(serving.rows(tables.jobs)) == 1


def test_a_config_with_an_external_entity_is_refused_and_not_stored(serving: Serving) -> None:
    hostile = '<!DOCTYPE v [<!ENTITY x SYSTEM "file:///etc/passwd">]><View>&x;</View>'
    answer = serving.setup(config=hostile)
    assert (answer.status_code, answer.get_json()["code"]) == (400, "bad-label-config")
    assert serving.rows(tables.projects) == []


def test_health_tells_strangers_only_that_it_lives(serving: Serving) -> None:
    for path in ("/", "/health"):
        assert serving.get(path).get_json() == {"status": "UP"}
        assert serving.get(path, BASIC).get_json()["model_class"] == "SpeechModel"
        assert serving.get(path, {"Authorization": "Basic d3Jvbmc6d3Jvbmc="}).status_code == 401


def test_health_answers_while_the_database_is_gone(serve: Callable[..., Serving]) -> None:
    serving = serve()
    serving.context.db.dispose()
    (serving.context.settings.data_dir / "kaan.db").unlink()
    assert serving.get("/health").status_code == 200
    ready = serving.get("/ready")
    assert ready.status_code == 503
    assert ready.get_json()["reasons"]
