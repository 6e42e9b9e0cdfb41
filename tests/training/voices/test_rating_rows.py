"""Annotations of a rating project -> mean opinion scores; bad answers are named and cost the others nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.commands import command_line
from ml_backend.context import JobContext
from ml_backend.labelling import labelconfig
from tests.training.voices.conftest import Voices
from training.voices import rating_rows
from training.voices.rating_rows import RatingQuery

BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
GOOD = {"naturalness": ["4"], "pronunciation": ["5"], "emotion": ["4"]}


class Raters:
    """A rating project with clips, and people who answer."""

    def __init__(self, voices: Voices, config: str = "tts") -> None:
        self.database = voices.context.db
        values = {"instance_url": "http://ls.example", "ls_project_id": 1, "state": "attached"}
        values |= {"label_config": labelconfig.read(config), "routing": {"synthetic": True}}
        self.project_id = self._insert(tables.projects, values)
        self._answers = 0

    def _insert(self, table: sa.Table, values: dict[str, Any]) -> int:
        with self.database.transaction() as connection:
            return int(connection.execute(sa.insert(table).values(**values).returning(table.c.id)).scalar_one())

    def clip(self, sentence: int, *, version: str = "divya-1", role: str | None = None, known: bool = True) -> int:
        """A clip with its recording and task; gives the task's id."""
        key = f"tts/hi/{version}-{role}-{sentence}.wav"
        place = {
            "source": "object",
            "source_identity": f"s3://training-data/{key}",
            "synthetic": True,
            "state": "ready",
        }
        recording_id = self._insert(tables.recordings, place)
        if known:
            values = {
                "bucket": "training-data", "key": key, "recording_id": recording_id, "text": f"वाक्य {sentence}",
                "text_key": f"s{sentence}", "language": "hi", "voice": "divya", "model_version": version, "role": role,
                "state": "accepted",
            }  # fmt: skip
            self._insert(tables.voice_clips, values)
        task = {"project_id": self.project_id, "recording_id": recording_id, "external_key": key, "origin": "ours"}
        return self._insert(tables.tasks, {**task, "state": "annotated"})

    def answer(self, task_id: int, person: int, choices: dict[str, Any] | None = None, **more: Any) -> None:
        self._answers += 1
        at = BEGAN + timedelta(minutes=self._answers)
        values = {
            "project_id": self.project_id, "task_id": task_id, "ls_annotation_id": self._answers, "ls_updated_at": at,
            "annotator": person, "result": [], "choices": GOOD if choices is None else choices,
        }  # fmt: skip
        self._insert(tables.annotations, {**values, **more})

    def summary(self, **options: Any) -> dict[str, Any]:
        return rating_rows.summary(self.database, RatingQuery(), **options)


@pytest.fixture
def raters(voices: Voices) -> Raters:
    return Raters(voices)


def test_six_people_and_ten_sentences_make_a_score_that_meets_a_target_or_not(raters: Raters) -> None:
    for sentence in range(10):
        task = raters.clip(sentence)
        for person in range(1, 7):
            raters.answer(task, person, {**GOOD, "emotion": ["3" if sentence % 2 else "4"]})
    found = raters.summary(target=3.9)
    [one] = found["versions"]
    assert one["version"] == "divya-1"
    assert (one["axes"]["naturalness"]["mean"], one["axes"]["naturalness"]["met"]) == (4.0, True)
    assert one["axes"]["naturalness"]["raters"] == 6
    assert not one["axes"]["emotion"]["met"], "3.5 on average"
    assert not one["met"], "every axis has to"
    assert [(each["voice"], each["language"]) for each in found["groups"]] == [("divya", "hi")]
    assert found["bad"] == []


def test_bad_answers_are_named_and_the_others_count(raters: Raters) -> None:
    task, stranger = raters.clip(1), raters.clip(2, known=False)
    raters.answer(task, 1, {**GOOD, "naturalness": ["6"]})
    raters.answer(task, 2, {**GOOD, "emotion": ["0"], "pronunciation": ["five"]})
    raters.answer(task, 3, {"naturalness": ["4"]})
    raters.answer(task, 4, {**GOOD, "naturalness": ["4", "5"]})
    raters.answer(stranger, 5)
    found = raters.summary()
    assert {one["code"]: one["answers"] for one in found["bad"]} == {"bad-score": 4, "no-score": 2, "no-clip": 1}
    axes = found["versions"][0]["axes"]
    assert (axes["naturalness"]["votes"], axes["pronunciation"]["votes"], axes["emotion"]["votes"]) == (2, 2, 2)


def test_withdrawn_skipped_and_replaced_answers_do_not_count(raters: Raters) -> None:
    task = raters.clip(1)
    raters.answer(task, 1, deleted_at=BEGAN)
    raters.answer(task, 2, skipped=True)
    raters.answer(task, 3, {**GOOD, "naturalness": ["1"]})
    raters.answer(task, 3, {**GOOD, "naturalness": ["5"]})  # the same person once more
    raters.answer(task, 4, {**GOOD, "naturalness": ["1"]}, ls_annotation_id=77)
    raters.answer(task, 4, {**GOOD, "naturalness": ["5"]}, ls_annotation_id=77)  # a new version of it
    one = raters.summary()["versions"][0]["axes"]["naturalness"]
    assert (one["votes"], one["mean"]) == (2, 5.0)


def test_the_job_draws_again_only_where_an_answer_or_a_clip_changed(
    raters: Raters, voices: Voices, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = JobContext(voices.context.settings, voices.context.db, voices.context.store)
    draws: list[float] = []
    real = rating_rows._summed

    def summed(found: rating_rows.Answers, target: float) -> dict[str, Any]:
        draws.append(target)
        return real(found, target)

    monkeypatch.setattr(rating_rows, "_summed", summed)

    def drawn() -> int:
        draws.clear()
        rating_rows.summarise_ratings(context)
        return len(draws)

    def change(statement: sa.Update) -> None:
        with raters.database.transaction() as connection:
            connection.execute(statement)

    task = raters.clip(1)
    raters.answer(task, 1)
    assert (drawn(), drawn()) == (1, 0)
    raters.answer(task, 2)
    assert (drawn(), drawn()) == (1, 0)
    change(sa.update(tables.annotations).where(tables.annotations.c.annotator == 2).values(deleted_at=BEGAN))
    assert (drawn(), drawn()) == (1, 0), "withdrawn"
    change(sa.update(tables.voice_clips).values(role="degraded"))
    assert (drawn(), drawn()) == (1, 0), "another role"
    raters.answer(raters.clip(2, known=False), 1)
    assert (drawn(), drawn()) == (1, 0), "a bad answer is told too"
    change(sa.update(tables.summaries).values(made_at=tables.now() - timedelta(hours=25)))
    assert drawn() == 1, "the day is over"


def test_one_rater_alone_is_provisional_and_meets_no_target(raters: Raters) -> None:
    for sentence in range(10):
        raters.answer(raters.clip(sentence), 1, {axis: ["5"] for axis in GOOD})
    [one] = raters.summary()["versions"]
    assert (one["met"], one["axes"]["naturalness"]["provisional"], one["axes"]["naturalness"]["low"]) == (
        False,
        True,
        None,
    )


def test_who_fails_the_anchors_is_left_out_and_a_degraded_copy_is_in_no_score(raters: Raters) -> None:
    for sentence in range(3):
        voice, person = raters.clip(sentence), raters.clip(sentence, version="studio", role="reference")
        worse = raters.clip(sentence, version="studio", role="degraded")
        for number in range(1, 8):
            careless = number == 7
            raters.answer(voice, number, {axis: ["1" if careless else "4"] for axis in GOOD})
            raters.answer(person, number, {axis: ["3" if careless else "5"] for axis in GOOD})
            raters.answer(worse, number, {axis: ["3" if careless else "1"] for axis in GOOD})
    found = raters.summary()
    assert [(one["rater"], one["code"]) for one in found["left_out"]] == [(7, "anchors")]
    by_version = {one["version"]: one["axes"]["naturalness"]["mean"] for one in found["versions"]}
    assert by_version == {"divya-1": 4.0, "studio": 5.0}
    assert found["anchors"]["degraded"]["naturalness"]["mean"] == 1.0
    assert found["unchecked_raters"] == []


def test_two_versions_are_compared_on_the_same_sentences(raters: Raters) -> None:
    for sentence in range(8):
        for version, score in (("divya-1", "3"), ("divya-2", "4")):
            task = raters.clip(sentence, version=version)
            for person in range(1, 7):
                raters.answer(task, person, {axis: [score] for axis in GOOD})
    found = rating_rows.comparison(raters.database, RatingQuery(), old="divya-1", new="divya-2")
    assert found["axes"]["naturalness"]["mean"] == 1.0
    assert found["axes"]["naturalness"]["low"] > 0


def test_choices_between_two_versions_are_counted_by_sentence_without_who_does_not_listen(voices: Voices) -> None:
    pairs = Raters(voices, "tts-pairs")

    def pair(sentence: int, first: tuple[str, str | None], second: tuple[str, str | None]) -> int:
        tasks = [pairs.clip(sentence, version=version, role=role) for version, role in (first, second)]
        row = tables.tasks
        with pairs.database.transaction() as connection:
            beside = connection.execute(sa.select(row.c.recording_id).where(row.c.id == tasks[1])).scalar_one()
            connection.execute(sa.update(row).where(row.c.id == tasks[0]).values(beside_id=beside))
        return tasks[0]

    for sentence in range(20):
        swapped = sentence % 2
        sides = (("divya-2", None), ("divya-1", None))
        task = pair(sentence, *(reversed(sides) if swapped else sides))
        better = ("B" if swapped else "A") if sentence < 16 else ("A" if swapped else "B")
        for person in range(1, 7):
            pairs.answer(task, person, {"better": [better], "why": ["naturalness"]})
        pairs.answer(task, 9, {"better": ["A" if better == "B" else "B"]})
    anchor = pair(99, ("studio", "degraded"), ("studio", "reference"))
    pairs.answer(anchor, 9, {"better": ["A"]})
    pairs.answer(anchor, 1, {"better": ["B"]})
    pairs.answer(anchor, 2, {"better": ["C"]})

    found = rating_rows.comparison(pairs.database, RatingQuery(), old="divya-1", new="divya-2")
    assert {name: found["preference"][name] for name in ("wins", "losses", "ties", "raters", "better")} == {
        "wins": 16, "losses": 4, "ties": 0, "raters": 6, "better": True,
    }  # fmt: skip
    assert [(one["rater"], one["code"]) for one in found["left_out"]] == [(9, "anchors")]
    assert rating_rows.summary(pairs.database, RatingQuery())["answers"] == 0, "a choice is no score"


def test_the_command_says_it_for_people_and_for_programs(
    raters: Raters, voices: Voices, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATA_DIR", str(voices.context.settings.data_dir))
    monkeypatch.chdir(voices.folder)
    assert command_line.main(["ratings", "summary"]) == 0
    assert "Nobody has rated a voice yet" in capsys.readouterr().out
    raters.answer(raters.clip(1), 1)
    assert command_line.main(["ratings", "summary"]) == 0
    assert "provisional" in capsys.readouterr().out
    assert command_line.main(["ratings", "summary", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["versions"][0]["version"] == "divya-1"
    assert command_line.main(["ratings", "compare", "divya-1", "divya-2"]) == 1
    assert "Use one of: divya-1." in capsys.readouterr().err
    assert command_line.main(["ratings", "compare", "divya-1", "divya-1"]) == 0
    assert "on 1 sentences" in capsys.readouterr().out
    for words in (["summary"], ["coverage"], ["list"], ["show", "1"]):
        assert command_line.main(["voices", *words]) == 0
    assert "divya" in capsys.readouterr().out
