"""Every play of a recording has one row, however a player asks for it, and audio that is gone cannot be had."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.calls import listenings, pseudonyms, tombstones
from ml_backend.context import Context, open_context
from ml_backend.errors import InvalidInput, PermanentError
from ml_backend.settings import Settings
from ml_backend.tables import recordings
from ml_backend.views import recording_views
from ml_backend.views.recording_views import ListeningQuery

WAV = b"RIFF" + bytes(1000)


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    settings = Settings(_env_file=None, data_dir=tmp_path, database_url="", object_store="")
    db.upgrade(settings.database)
    opened = open_context(settings)
    opened.store.ensure_bucket(settings.audio_bucket)
    opened.store.put_bytes(settings.audio_bucket, "derived/x/audio.wav", WAV)
    with opened.db.transaction() as connection:
        values = {"source": "object", "source_identity": "s3://b/k", "state": "ready", "sha256": "5" * 64}
        connection.execute(sa.insert(recordings).values(derived_key="derived/x/audio.wav", bucket="b", **values))
    yield opened
    opened.db.dispose()


def plays(context: Context) -> list[tuple[str, int]]:
    found = recording_views.listened(context.db, ListeningQuery())
    return [(each["who"], each["requests"]) for each in reversed(found)]


def later(context: Context, by: timedelta) -> None:
    """As if all rows had been written earlier."""
    with context.db.transaction() as connection:
        for row in connection.execute(sa.select(tables.listenings)).all():
            mine = sa.update(tables.listenings).where(tables.listenings.c.id == row.id)
            connection.execute(mine.values(created_at=row.created_at - by, updated_at=row.updated_at - by))


def test_one_play_in_many_parts_is_one_row_and_the_next_play_another(context: Context) -> None:
    audio = listenings.find(context, 1)
    for from_start in (True, True, False, False):  # players ask twice for the beginning
        listenings.note(context, audio, who="asha", from_start=from_start)
    listenings.note(context, audio, who="ravi", from_start=True)
    later(context, timedelta(minutes=1))
    listenings.note(context, audio, who="asha", from_start=False)
    assert plays(context) == [("asha", 5), ("ravi", 1)]
    listenings.note(context, audio, who="asha", from_start=True)
    assert plays(context) == [("asha", 5), ("ravi", 1), ("asha", 1)]


def test_no_part_is_had_without_a_row_also_where_the_beginning_is_left_out(context: Context) -> None:
    audio = listenings.find(context, 1)
    listenings.note(context, audio, who="asha", from_start=False)
    later(context, listenings.SAME_PLAY + timedelta(minutes=1))
    listenings.note(context, audio, who="asha", from_start=False)
    assert plays(context) == [("asha", 1), ("asha", 1)]


@pytest.mark.parametrize("state", ["erased", "expired"])
def test_audio_that_is_gone_is_gone_at_once(context: Context, state: str) -> None:
    with context.db.transaction() as connection:
        connection.execute(sa.update(recordings).values(state=state))
    with pytest.raises(InvalidInput) as refused:
        listenings.find(context, 1)
    assert (refused.value.status, refused.value.code) == (410, "recording-gone")


@pytest.mark.parametrize(
    ("kind", "identity"), [("recording", "s3://b/k"), ("recording", tombstones.audio_identity("5" * 64))]
)
def test_a_tombstone_is_enough_while_the_object_is_still_in_the_store(
    context: Context, kind: str, identity: str
) -> None:
    key = pseudonyms.key_of(context.settings)
    with context.db.transaction() as connection:
        tombstones.mark_erased(connection, kind, identity, key=key, why="asked for")
    with pytest.raises(InvalidInput) as refused:
        listenings.find(context, 1)
    assert refused.value.status == 410


def test_a_recording_without_audio_and_one_that_is_not_there_are_told_apart(context: Context) -> None:
    with pytest.raises(InvalidInput) as unknown:
        listenings.find(context, 99)
    with context.db.transaction() as connection:
        connection.execute(sa.update(recordings).values(state="stored", derived_key=None))
    with pytest.raises(InvalidInput) as early:
        listenings.find(context, 1)
    assert (unknown.value.code, early.value.code) == ("no-such-recording", "audio-not-there")
    with context.db.transaction() as connection:
        connection.execute(sa.update(recordings).values(state="ready", derived_key="derived/y/audio.wav"))
    with pytest.raises(PermanentError) as lost:
        listenings.find(context, 1)
    assert lost.value.code == "audio-missing"


def test_the_log_is_kept_for_its_days_and_no_longer(context: Context) -> None:
    audio, days = listenings.find(context, 1), context.settings.listening_log_days
    listenings.note(context, audio, who="long ago", from_start=True)
    later(context, timedelta(days=days, minutes=1))
    listenings.note(context, audio, who="today", from_start=True)
    assert listenings.forget_old(context) == 1
    assert plays(context) == [("today", 1)]
