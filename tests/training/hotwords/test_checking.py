"""An approved word is heard on recent calls first: it is used where it helps, and refused with numbers where it harms.

The real bundled model on the real bundled calls. What callers say is renamed in the references, so that the model is
wrong in a known word.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from ml_backend import db, tables
from ml_backend.audio import decoding
from ml_backend.context import Context, open_context
from ml_backend.jobs import enqueueing, job_kinds, runner, schedules
from ml_backend.models import registry
from ml_backend.serving import default_model
from ml_backend.settings import Settings
from training.commands import hotwords
from training.hotwords import checking, draft_pairs, hotword_rows

CALLS = registry.BUNDLED.parent / "calls"
WORD, HEARD = "Zylofen", "order"  # "order" is said in several of the bundled Hindi calls


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    settings = Settings(_env_file=None, data_dir=tmp_path)
    db.upgrade(settings.database)
    opened = open_context(settings)
    default_model.ensure(opened)
    yield opened
    opened.db.dispose()


def insert(context: Context, table: sa.Table, **values: Any) -> int:
    with context.db.transaction() as connection:
        return int(connection.execute(sa.insert(table).values(**values).returning(table.c.id)).scalar_one())


@pytest.fixture
def project_id(context: Context, tmp_path: Path) -> int:
    """A project whose Hindi calls are annotated; every phrase of the bundled calls is a sample."""
    project = insert(context, tables.projects, instance_url="http://ls", ls_project_id=1, state="attached")
    bucket = context.settings.audio_bucket
    context.store.ensure_bucket(bucket)
    for number, call in enumerate(json.loads((CALLS / "calls.json").read_text())):
        if call["language"] != "hi" or call["channels"] != 1:
            continue
        normal = tmp_path / "normal.wav"
        decoding.decode(CALLS / call["file"], normal)
        key = f"derived/{number}/audio.wav"
        context.store.put_file(bucket, key, normal)
        normal.unlink()
        recording = insert(
            context, tables.recordings, source="bundled", source_identity=key, state="ready", derived_key=key,
            sha256=f"{number:064d}",
        )  # fmt: skip
        task = insert(
            context, tables.tasks, project_id=project, recording_id=recording, external_key=key, origin="ours"
        )
        annotation = insert(
            context, tables.annotations, project_id=project, task_id=task, ls_annotation_id=task,
            ls_updated_at=tables.now(), result=[], language="hi", text=call["text"].replace(HEARD, WORD),
            draft={"text": call["text"], "language": "hi"},
        )  # fmt: skip
        for place, phrase in enumerate(call["phrases"]):
            insert(
                context, tables.samples, project_id=project, task_id=task, number=place, annotation_id=annotation,
                recording_id=recording, start_s=max(0, phrase["start_s"] - 0.3), end_s=phrase["end_s"] + 0.3,
                text=phrase["text"].replace(HEARD, WORD), language="hi", digest="d", state="accepted",
                accepted_at=tables.now(),
            )  # fmt: skip
    return project


def row_of(context: Context, **wanted: Any) -> Any:
    [row] = context.db.rows(sa.select(tables.hotwords).filter_by(**wanted))
    return row


def approved(context: Context, word: str, project_id: int, heard: list[dict[str, Any]]) -> Any:
    with context.db.transaction() as connection:
        row = hotword_rows.add(connection, word, project_id=project_id, language="hi")
        db.update(connection, tables.hotwords, row.id, heard=heard)
        hotword_rows.approve(connection, row, who="anna")
    assert not runner.run_due(context, queues=("transcribe",)).failed
    return row_of(context, word=word)


def test_a_word_that_repairs_its_places_and_harms_nothing_is_used_at_once(context, project_id):
    row = approved(context, WORD, project_id, [{"form": HEARD, "times": 4, "said": 4}])
    ways = row.check["ways"]
    assert (row.state, row.check["way"], row.who) == ("approved", "correction", "anna"), row.check
    assert ways["correction"]["here"]["word_edits"] < ways["now"]["here"]["word_edits"]
    assert ways["correction"]["elsewhere"] == ways["now"]["elsewhere"]
    project = context.db.row(tables.projects, project_id)
    assert project.learnt == {"words": [], "corrections": [["hi", HEARD, WORD]]}
    assert [job.name for job in enqueueing.find(context.db, names=["redraft-project"])] == ["redraft-project"]


def test_a_word_that_makes_other_calls_worse_is_refused_with_the_numbers(context, project_id):
    row = approved(
        context, WORD, project_id, [{"form": "शनिवार", "times": 9, "said": 9}, {"form": HEARD, "times": 4, "said": 4}]
    )
    assert (row.state, row.reason_code) == ("refused", "hurts-elsewhere"), row.check
    ways = row.check["ways"]
    assert ways["correction"]["elsewhere"]["word_edits"] > ways["now"]["elsewhere"]["word_edits"]
    assert str(ways["correction"]["elsewhere"]["word_edits"]) in row.reason
    assert context.db.row(tables.projects, project_id).learnt is None


def test_telling_the_bundled_model_a_word_beforehand_does_not_help_and_is_refused(context, project_id):
    """It never saw text before the audio in its training; models that did, such as Whisper's own, may gain."""
    row = approved(context, WORD, project_id, [])
    ways = row.check["ways"]
    assert set(ways) == {"now", "prompt"}
    assert row.state == "refused", row.check
    assert ways["prompt"]["here"]["word_edits"] >= ways["now"]["here"]["word_edits"]


def test_a_word_nobody_said_lately_cannot_be_checked(context, project_id):
    assert approved(context, "Kolhapuri", project_id, []).reason_code == "not-in-recent-calls"


def test_removing_a_word_undoes_it_and_a_removed_word_is_not_suggested_again(context, project_id):
    row = approved(context, WORD, project_id, [{"form": HEARD, "times": 4, "said": 4}])
    with context.db.transaction() as connection:
        hotword_rows.remove(connection, row, who="anna")
    assert context.db.row(tables.projects, project_id).learnt is None
    with context.db.transaction() as connection:
        enqueueing.enqueue(connection, job_kinds.COLLECT_HOTWORDS, key=str(project_id), project_id=project_id)
    assert not runner.run_due(context, queues=("sync",)).failed
    assert row_of(context, word=WORD).state == "removed"


def test_a_check_that_ends_after_the_word_was_removed_changes_nothing(context, project_id):
    with context.db.transaction() as connection:
        row = hotword_rows.add(connection, WORD, project_id=project_id, language="hi")
        hotword_rows.approve(connection, row, who="anna")
        row = hotword_rows.find(connection, WORD, project_id=None, language=None)
        hotword_rows.remove(connection, row, who="anna")
        check = {"way": "correction", "forms": [HEARD]}
        assert not hotword_rows.decide(connection, row, state=hotword_rows.APPROVED, check=check)
    assert row_of(context, word=WORD).state == "removed"
    assert context.db.row(tables.projects, project_id).learnt is None


def test_corrections_are_collected_listed_and_approved_by_command(context, project_id, monkeypatch):
    monkeypatch.setenv("DATA_DIR", str(context.settings.data_dir))
    command = CliRunner()
    listed = command.invoke(hotwords.app, ["list", "--refresh", "--json"], catch_exceptions=False)
    [found] = json.loads(listed.stdout)["hotwords"]
    assert (found["word"], found["language"], found["state"]) == (WORD, "hi", "suggested")
    assert found["heard"][0]["form"] == HEARD
    assert found["heard"][0]["sure"] is True
    done = command.invoke(hotwords.app, ["approve", WORD, "--json"], catch_exceptions=False)
    assert json.loads(done.stdout)["state"] == "checking"
    assert not runner.run_due(context, queues=("transcribe",)).failed
    shown = command.invoke(hotwords.app, ["list", "--state", "approved"], catch_exceptions=False)
    assert "applied as correction" in shown.stdout
    gone = command.invoke(hotwords.app, ["remove", str(found["id"])], catch_exceptions=False)
    assert "out of use" in gone.stdout
    assert draft_pairs.listed(context, states=("approved",)) == []


def test_an_approved_word_is_checked_again_when_another_model_serves(context, project_id):
    row = approved(context, WORD, project_id, [{"form": HEARD, "times": 4, "said": 4}])
    with context.db.transaction() as connection:
        assert schedules.hotwords_of_another_model(connection) == []
        db.update(connection, tables.hotwords, row.id, check={**row.check, "model_version": "older"})
        assert schedules.hotwords_of_another_model(connection) == [{"hotword_id": row.id}]


def numbers(**ways: tuple[int, int]) -> dict[str, Any]:
    return {
        "ways": {
            name: {
                "here": {"words": 20, "word_edits": here},
                "elsewhere": {"words": 200, "word_edits": elsewhere},
            }
            for name, (here, elsewhere) in ways.items()
        }
    }


@pytest.mark.parametrize(
    ("ways", "way", "code"),
    [
        ({"now": (9, 30), "prompt": (5, 30), "correction": (5, 30), "both": (5, 30)}, "correction", None),
        ({"now": (9, 30), "prompt": (3, 30), "correction": (5, 30), "both": (3, 30)}, "prompt", None),
        ({"now": (9, 30), "prompt": (4, 31), "correction": (8, 30), "both": (2, 31)}, "correction", None),
        ({"now": (9, 30), "prompt": (4, 31)}, None, "hurts-elsewhere"),
        ({"now": (9, 30), "prompt": (9, 29)}, None, "no-gain"),
    ],
)
def test_the_way_that_saves_most_without_cost_elsewhere_is_taken(ways, way, code):
    verdict = checking.decide("Zylofen", numbers(**ways))
    assert (verdict.way, verdict.code) == (way, code)


def test_an_approved_word_stays_when_there_is_nothing_to_check_it_on_and_goes_when_the_next_model_needs_it_no_more(
    context, project_id
):
    row = approved(context, WORD, project_id, [{"form": HEARD, "times": 4, "said": 4}])
    said = sa.and_(tables.samples.c.project_id == project_id, tables.samples.c.text.contains(WORD))
    with context.db.transaction() as connection:
        connection.execute(sa.update(tables.samples).where(said).values(state="excluded"))
        db.update(connection, tables.hotwords, row.id, check={**row.check, "model_version": "older"})
        enqueueing.enqueue(connection, job_kinds.CHECK_HOTWORD, key=str(row.id), hotword_id=row.id)
    assert not runner.run_due(context, queues=("transcribe",)).failed
    again = row_of(context, word=WORD)
    assert (again.state, again.reason_code, again.check["way"]) == ("approved", "not-in-recent-calls", "correction")
    assert again.check["model_version"] == row.check["model_version"]

    with context.db.transaction() as connection:  # the model hears it rightly now: the references say what it hears
        heard = sa.func.replace(tables.samples.c.text, WORD, HEARD)
        connection.execute(sa.update(tables.samples).where(said).values(state="accepted", text=heard))
        db.update(connection, tables.hotwords, row.id, word=HEARD, heard=[])
        enqueueing.enqueue(connection, job_kinds.CHECK_HOTWORD, key=str(row.id), hotword_id=row.id)
    assert not runner.run_due(context, queues=("transcribe",)).failed
    assert row_of(context, word=HEARD).state == "refused"
    assert context.db.row(tables.projects, project_id).learnt is None
