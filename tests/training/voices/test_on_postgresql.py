"""The whole way of a clip on PostgreSQL: found, checked, imported, degraded, rated, summed up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_backend import db
from ml_backend.context import JobContext, open_context
from ml_backend.jobs import schedules
from ml_backend.settings import Settings
from ml_backend.views import voice_views
from tests import sounds
from tests.servers import postgres
from tests.sync.tasks.test_rating_design import Project
from tests.training.voices.conftest import Voices
from tests.training.voices.test_rating_rows import GOOD, Raters
from training.voices import anchors, clip_collection, rating_rows, retranscription, studio
from training.voices.rating_rows import RatingQuery


@pytest.fixture
def voices(tmp_path: Path) -> Iterator[Voices]:
    with postgres.running() as server:
        settings = Settings(
            _env_file=None, data_dir=tmp_path / "data", database_url=server.database(), min_free_disk_mb=0
        )
        db.upgrade(settings.database)
        context = open_context(settings)
        yield Voices(context, tmp_path)
        context.db.dispose()


def test_a_clip_goes_the_whole_way(voices: Voices) -> None:
    voices.put("training-data/tts/en/aa.wav", voices.wav("hello this is a call"))
    voices.put("training-data/tts/en/aa.txt", "hello this is a call")
    assert voices.find() == {"accepted": 1}
    folder = voices.folder / "studio"
    folder.mkdir()
    sounds.write_wav(folder / "1.wav", sounds.speech("i want to order milk"))
    (folder / "list.csv").write_text("file,text,language,voice\n1.wav,i want to order milk,en,Asha\n", encoding="utf-8")
    assert studio.import_folder(voices.context, folder).new == 1
    voices.run_jobs()
    assert clip_collection.collect(voices.context)["accepted"] == 1
    assert anchors.make(voices.context, 5) == 1
    voices.run_jobs()
    context = JobContext(voices.context.settings, voices.context.db, voices.context.store)
    clip_collection.collect_voices(context)
    with voices.context.db.reading() as connection:
        assert schedules.voices_changed(connection) == [{"everything": 0}]
        assert schedules.every_voice(connection) == [{"everything": 1}]
    assert retranscription._waiting(voices.context, "en", "any") != []
    assert voice_views.summary(voices.context.db)["clips"] == {"found": 0, "accepted": 3, "excluded": 0}
    assert voice_views.coverage(voices.context.db)["voices"] == ["Asha", "unknown"]

    scores = Project(voices, "tts", ls_project_id=2)
    assert {task.overlap for task in scores.feed()} == {6}
    pairs = Project(voices, "tts-pairs", ls_project_id=3)
    assert len(pairs.feed()) == 1, "the recording and its copy"
    raters = Raters(voices)
    raters.answer(raters.clip(1), 1, GOOD)
    assert rating_rows.summary(raters.database, RatingQuery(language="hi"))["answers"] == 1
    found = rating_rows.comparison(raters.database, RatingQuery(), old="divya-1", new="studio")
    assert found["preference"] is None
