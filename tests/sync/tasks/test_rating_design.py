"""Which clips people rate, and in which order: the same sentences for every version, blind, and by several people."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import tables
from ml_backend.context import JobContext
from ml_backend.labelling import labelconfig
from sync.tasks import ratings
from tests.training.voices.conftest import Voices, voices, voices_schema  # noqa: F401 - fixtures


class Project:
    """An attached rating project and clips, without Label Studio."""

    def __init__(self, voices: Voices, config: str, ls_project_id: int = 1) -> None:  # noqa: F811 - the fixture's value
        self.voices, self.database = voices, voices.context.db
        self.id = self._insert(
            tables.projects,
            instance_url="http://ls.example", ls_project_id=ls_project_id, state="attached", routing=ratings.ROUTING,
            label_config=labelconfig.read(config),
        )  # fmt: skip

    def _insert(self, table: sa.Table, **values: Any) -> int:
        with self.database.transaction() as connection:
            return int(connection.execute(sa.insert(table).values(**values).returning(table.c.id)).scalar_one())

    def clip(self, sentence: int, version: str, *, role: str | None = None, state: str = "accepted") -> int:
        """A checked clip; gives its recording's id."""
        key = f"tts/hi/{version}-{role}-{sentence}.wav"
        recording_id = self._insert(
            tables.recordings,
            source="object", source_identity=f"s3://training-data/{key}", bucket="training-data", object_key=key,
            sha256=f"{len(key):02d}{sentence:04d}{version}", synthetic=True, known_text=f"वाक्य {sentence}",
            derived_key="derived/x/audio.wav", duration_s=2.0, state="ready",
        )  # fmt: skip
        self._insert(
            tables.voice_clips,
            bucket="training-data", key=key, recording_id=recording_id, text=f"वाक्य {sentence}",
            text_key=hashlib.sha256(str(sentence).encode()).hexdigest(), language="hi", voice="divya", role=role,
            model_version=version, state=state,
        )  # fmt: skip
        return recording_id

    def feed(self, **settings: Any) -> list[Any]:
        """Feed the project; gives its tasks."""
        chosen = self.voices.context.settings.model_copy(update=settings)
        ratings.feed_ratings(JobContext(chosen, self.database, self.voices.context.store), self.id)
        mine = sa.select(tables.tasks).where(tables.tasks.c.project_id == self.id).order_by(tables.tasks.c.id)
        return list(self.database.rows(mine))


@pytest.fixture
def scores(voices: Voices) -> Project:  # noqa: F811
    return Project(voices, "tts")


def test_only_checked_clips_are_rated_each_by_several_people_and_blind(scores: Project) -> None:
    good = scores.clip(1, "one")
    scores.clip(2, "one", state="excluded")
    scores.clip(3, "one", state="found")
    [task] = scores.feed()
    assert (task.recording_id, task.overlap, task.blind, task.selection_reason) == (good, 6, True, "rating")
    assert len(scores.feed(tts_raters=3)) == 1, "once"


def test_a_full_project_has_every_version_of_the_sentences_that_it_has(scores: Project) -> None:
    of = {scores.clip(sentence, version): sentence for version in ("one", "two") for sentence in range(12)}
    tasks = scores.feed(max_open_tasks=8)
    sentences = [of[task.recording_id] for task in tasks]
    assert len(tasks) == 8
    assert all(sentences.count(sentence) == 2 for sentence in sentences)


def test_the_order_of_the_work_says_nothing_about_the_version(scores: Project) -> None:
    versions = {scores.clip(sentence, version): version for sentence in range(20) for version in ("one", "two")}
    tasks = sorted(scores.feed(), key=lambda task: -task.usefulness)
    first_half = [versions[task.recording_id] for task in tasks[:20]]
    assert 4 <= first_half.count("one") <= 16


def test_people_choose_between_two_versions_of_a_sentence_with_sides_by_chance(voices: Voices) -> None:  # noqa: F811
    pairs = Project(voices, "tts-pairs")
    versions = {pairs.clip(sentence, version): version for sentence in range(20) for version in ("one", "two")}
    pairs.clip(50, "one")
    tasks = pairs.feed()
    assert len(tasks) == 20
    assert {versions[task.recording_id] != versions[task.beside_id] for task in tasks} == {True}
    assert 3 <= [versions[task.recording_id] for task in tasks].count("one") <= 17
    assert {task.overlap for task in tasks} == {6}
    assert len(pairs.feed()) == 20, "once"


def test_a_recording_and_its_degraded_copy_are_a_hidden_pair(voices: Voices) -> None:  # noqa: F811
    pairs = Project(voices, "tts-pairs")
    made = {pairs.clip(1, "studio", role=role) for role in ("reference", "degraded")}
    [task] = pairs.feed()
    assert {task.recording_id, task.beside_id} == made


def test_a_project_of_pairs_beside_it_takes_no_clip_away(scores: Project) -> None:
    pairs = Project(scores.voices, "tts-pairs", ls_project_id=2)
    for sentence in range(3):
        scores.clip(sentence, "one")
    with scores.database.transaction() as connection:  # the project of pairs is the one that routing finds first
        connection.execute(sa.update(tables.recordings).values(project_id=pairs.id))
    assert len(scores.feed()) == 3


def test_the_config_of_pairs_is_one_of_ratings_with_two_voices() -> None:
    controls = labelconfig.parse(labelconfig.read("tts-pairs"))
    assert (controls.audio_key, controls.beside_key, controls.spoken_key) == ("audio", "audio_b", "text")
    assert controls.pairs
    assert not labelconfig.parse(labelconfig.read("tts")).pairs
    assert "which of two voices" in labelconfig.instructions(labelconfig.read("tts-pairs"))
