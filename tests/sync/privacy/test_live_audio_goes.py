"""What live requests sent is erased and expires as every other recording does: rows, objects, and what still waits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from ml_backend import tables
from ml_backend.calls import live_recordings, live_spool, pseudonyms
from ml_backend.calls.live_recordings import LiveAudio
from ml_backend.serving.live_audio import LiveAudioKeeper, SentAudio
from sync.objects import scan
from sync.privacy import erasure, retention
from sync.privacy.subjects import subject_of
from tests.servers import moto
from tests.sync.persons import ANNA, BERT, COMPANY, People

BUCKET = "call-recordings"


@pytest.fixture
def people(tmp_path: Path) -> Iterator[People]:
    yield from a_world(tmp_path)


@pytest.fixture
def people_on_s3(tmp_path: Path) -> Iterator[People]:
    keys = {"minio_access_key": SecretStr("testing"), "minio_secret_key": SecretStr("testing")}
    with moto.running() as endpoint:
        where = {"object_store": "s3://", "minio_endpoint": endpoint, "minio_secure": False}
        yield from a_world(tmp_path, **where, **keys)


def a_world(folder: Path, **settings: Any) -> Iterator[People]:
    world = People(folder, **settings)
    world.call("anna1", ANNA)
    world.call("bert1", BERT)
    with world.context.db.transaction() as connection:
        on = sa.update(tables.company_numbers).values(keeps_live_audio=True, consent_purpose="training")
        connection.execute(on)
    yield world
    world.context.db.dispose()


def said(people: People, call: str, *, stored: bool = True, caller: str | None = None) -> None:
    """A turn of a call, kept; or on the disk only."""
    keeper = LiveAudioKeeper(people.context)
    keeper.look()
    keeper.offer(SentAudio(call, f"a turn of {call}".encode(), number=COMPANY, name="turn.wav", caller=caller))
    keeper.write()
    if stored:
        keeper.store()


def erase(people: People, **whom: str) -> None:
    erasure.erase(people.context, subject_of(people.context.settings, **whom), who="tester", busy_s=0)


@pytest.mark.parametrize("store", ["people", "people_on_s3"])
def test_an_erased_call_leaves_nothing_of_its_live_requests(store: str, request: pytest.FixtureRequest) -> None:
    people: People = request.getfixturevalue(store)
    said(people, "new1")
    said(people, "bert9")
    said(people, "new1", stored=False)
    erase(people, call="new1")
    assert live_spool.waiting(people.context.settings) == []
    assert [name for name in people.objects() if "live-requests" in name] == [
        f"{BUCKET}/{row.object_key}" for row in people.rows(tables.recordings, call_sid="bert9")
    ]
    said(people, "new1")
    assert {row.state for row in people.rows(tables.recordings, call_sid="new1")} == {"erased"}
    assert len([name for name in people.objects() if "live-requests" in name]) == 1


def test_an_erased_person_s_live_requests_go_with_the_calls(people: People) -> None:
    said(people, "anna1", stored=False)
    key = pseudonyms.key_of(people.context.settings)
    audio = LiveAudio("anna1", "e" * 64, 4, tables.now())
    people.context.store.put_bytes(BUCKET, audio.key_of(key), b"left")  # a process died before it made the row
    erase(people, caller=ANNA)
    assert live_spool.waiting(people.context.settings) == []
    assert not any("live-requests" in name for name in people.objects())


def test_a_person_whom_only_the_phone_system_named_is_erased_and_what_was_said_before_does_not_come_back(
    people: People,
) -> None:
    said(people, "new1", caller=ANNA)
    said(people, "new2", caller=f"+91{ANNA[1:]}", stored=False)
    [call] = people.rows(tables.calls, call_sid="new1")
    assert call.from_pseudonym == pseudonyms.pseudonym(ANNA, pseudonyms.key_of(people.context.settings))
    [waits] = live_spool.waiting(people.context.settings)
    late = (waits / live_spool.FACTS).read_bytes(), (waits / live_spool.AUDIO).read_bytes()
    assert ANNA[1:].encode() not in late[0]
    erase(people, caller=ANNA)
    assert live_spool.waiting(people.context.settings) == []
    assert not any("live-requests" in name for name in people.objects())
    waits.mkdir()  # it was on the disk of another machine
    for name, data in zip((live_spool.FACTS, live_spool.AUDIO), late, strict=True):
        (waits / name).write_bytes(data)
    LiveAudioKeeper(people.context).store()
    assert people.rows(tables.recordings, call_sid="new2") == []
    said(people, "new3", caller=ANNA)  # a later call is new
    assert len(people.rows(tables.recordings, call_sid="new3")) == 1


def test_an_id_that_holds_a_number_is_in_no_name_of_a_file_or_object(people: People) -> None:
    call = "call-00000000303"
    said(people, call, stored=False)
    assert not any("00000000303" in path.name for path in live_spool.waiting(people.context.settings))
    LiveAudioKeeper(people.context).store()
    assert not any("00000000303" in name for name in people.objects())
    erase(people, call=call)
    assert "00000000303" not in people.everything()


def test_live_audio_expires_with_the_period_of_its_bucket(people: People) -> None:
    said(people, "new1")
    [row] = people.rows(tables.recordings, call_sid="new1")
    people.context.db.update(tables.recordings, row.id, created_at=tables.now() - timedelta(days=40))
    with people.context.db.transaction() as connection:
        retention.set_days(connection, BUCKET, 30, who="tester")
        retention.confirm(connection, BUCKET, days=30, who="tester")
    retention.expire_recordings(people.context, BUCKET)
    [row] = people.rows(tables.recordings, call_sid="new1")
    assert (row.state, row.object_key) == ("expired", None)
    assert not any("live-requests" in name for name in people.objects())
    said(people, "new1")
    assert len(people.rows(tables.recordings, call_sid="new1")) == 1, "what expired is not taken in again"


def test_a_scan_makes_no_recordings_of_live_requests(people: People) -> None:
    said(people, "new1")
    key = pseudonyms.key_of(people.context.settings)
    folder = live_recordings.folder_of("new2", key)
    people.context.store.put_bytes(BUCKET, f"{folder}{'a' * 64}.wav", b"its row comes next")
    before = len(people.rows(tables.recordings))
    scan.scan_bucket(people.context, BUCKET, full=1)
    assert len(people.rows(tables.recordings)) == before
    mine = [row for row in people.rows(tables.objects) if row.object_key.startswith("live-requests/")]
    assert [row.state for row in mine] == ["ignored", "ignored"]
