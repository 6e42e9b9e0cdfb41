"""An original is kept once, whole, under its name for ever; while the store is down it waits on our own disk."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ml_backend import tables
from ml_backend.context import Context
from ml_backend.errors import RetryableError
from ml_backend.jobs import failpoints, job_kinds
from ml_backend.storage.s3_store import S3Store
from sync.recordings import originals, removal, spool
from sync.recordings.originals import keep_original
from tests import sounds
from tests.servers import moto
from tests.servers.label_studio import free_port
from tests.sync import offline
from tests.sync.offline import Offline

BUCKET = "call-recordings"


@pytest.fixture
def service(tmp_path: Path) -> Offline:
    return offline.opened(tmp_path)


def audio(folder: Path, *, hz: float = 440, seconds: float = 1) -> Path:
    return sounds.write_wav(folder / f"{hz}.wav", sounds.tone(seconds, hz=hz))


def without_store(context: Context) -> Context:
    """The same service while nothing answers at the store's address."""
    return dataclasses.replace(
        context, store=S3Store(f"127.0.0.1:{free_port()}", access_key="a", secret_key="b", secure=False)
    )


def test_the_original_lies_under_the_utc_day_its_call_started(service: Offline, tmp_path: Path) -> None:
    india = datetime.fromisoformat("2026-03-05T03:40:00+05:30")
    recording = service.recording(service.call(call_sid="abc.1", started_at=india))
    path = audio(tmp_path)
    values = keep_original(service.context, recording, path, extension="wav")
    assert values["object_key"] == "recordings/2026/03/04/abc.1.wav"
    assert (values["state"], values["size_bytes"]) == ("stored", path.stat().st_size)
    stored = service.context.store.open_local(BUCKET, values["object_key"])
    assert stored is not None
    assert stored.read_bytes() == path.read_bytes()


def test_keeping_it_again_changes_nothing(service: Offline, tmp_path: Path) -> None:
    recording = service.recording(service.call())
    path = audio(tmp_path)
    first = keep_original(service.context, recording, path, extension="wav")
    recording = service.update(recording, **first)
    assert keep_original(service.context, recording, path, extension="wav") == first
    assert len(list(service.context.store.list(BUCKET))) == 1


def test_other_bytes_under_the_same_name_are_both_kept(service: Offline, tmp_path: Path) -> None:
    recording = service.recording(service.call(call_sid="abc"))
    service.context.store.ensure_bucket(BUCKET)
    service.context.store.put_bytes(BUCKET, "recordings/2026/03/04/abc.wav", b"somebody else's")
    values = keep_original(service.context, recording, audio(tmp_path), extension="wav")
    assert values["object_key"] == f"recordings/2026/03/04/abc-{values['sha256'][:12]}.wav"
    assert len(list(service.context.store.list(BUCKET))) == 2


def test_two_recordings_of_a_call_never_want_the_same_name(service: Offline, tmp_path: Path) -> None:
    call_id = service.call(call_sid="abc")
    first, second = service.recording(call_id), service.recording(call_id)
    later = keep_original(service.context, second, audio(tmp_path, hz=300), extension="wav")
    earlier = keep_original(service.context, first, audio(tmp_path), extension="wav")
    assert earlier["object_key"] == "recordings/2026/03/04/abc.wav"
    assert later["object_key"] == f"recordings/2026/03/04/abc-{later['sha256'][:12]}.wav"


def test_an_s3_store_keeps_originals_and_their_copies_as_a_directory_does(service: Offline, tmp_path: Path) -> None:
    with moto.running() as endpoint:
        service.context = dataclasses.replace(
            service.context,
            store=S3Store(endpoint, access_key="testing", secret_key="testing", secure=False),
            settings=service.context.settings.model_copy(update={"max_task_s": 2.0}),
        )
        service.context.store.ensure_bucket(BUCKET)
        service.context.store.put_bytes(BUCKET, "recordings/2026/03/04/abc.wav", b"somebody else's")
        recording = service.recording(service.call(call_sid="abc"))
        path = sounds.write_wav(tmp_path / "long.wav", sounds.noise(5))
        values = keep_original(service.context, recording, path, extension="wav")
        assert values["object_key"].startswith("recordings/2026/03/04/abc-")
        service.update(recording, **values)
        service.run(job_kinds.INGEST_RECORDING, recording_id=recording.id)
        found = service.row(tables.recordings, recording.id)
        assert (found.state, found.duration_s) == ("ready", 5.0)
        for _, _, key in found.spans:
            assert service.context.store.stat("kaan-audio", key) is not None
        service.run(job_kinds.VERIFY_OBJECTS, after_id=0)
        assert service.row(tables.recordings, recording.id).state == "ready"
        service.context.store.delete(BUCKET, found.object_key)
        service.run(job_kinds.VERIFY_OBJECTS, after_id=0)
        assert service.row(tables.recordings, recording.id).reason_code == "object-missing"


@pytest.mark.parametrize(("place", "there"), [("original.before-put", 0), ("original.after-put", 1)])
def test_a_process_that_dies_while_it_stores_leaves_a_whole_object_or_none(
    service: Offline, tmp_path: Path, place: str, there: int
) -> None:
    class Dead(BaseException):
        pass

    def die(name: str) -> None:
        if name == place:
            raise Dead

    recording = service.recording(service.call())
    path = audio(tmp_path)
    failpoints.arm(die)
    with pytest.raises(Dead):
        keep_original(service.context, recording, path, extension="wav")
    failpoints.arm(None)
    assert len(list(service.context.store.list(BUCKET))) == there
    assert keep_original(service.context, recording, path, extension="wav")["state"] == "stored"
    assert len(list(service.context.store.list(BUCKET))) == 1


@pytest.mark.parametrize("extension", ["", "../../x", "mp3/..", "tar.gz", "ｗａｖ", "toolong"])
def test_an_extension_cannot_lead_elsewhere(service: Offline, tmp_path: Path, extension: str) -> None:
    recording = service.recording(service.call(call_sid="abc"))
    values = keep_original(service.context, recording, audio(tmp_path), extension=extension)
    assert values["object_key"] == "recordings/2026/03/04/abc.bin"


def test_while_the_store_is_down_recordings_wait_on_disk_and_reach_it_in_order(
    service: Offline, tmp_path: Path
) -> None:
    down = without_store(service.context)
    kept = []
    for hz in (500, 300, 400):
        recording = service.recording(service.call())
        values = keep_original(down, recording, audio(tmp_path, hz=hz), extension="wav")
        assert (values["state"], values["reason_code"]) == ("spooled", "store-down")
        kept.append(service.update(recording, **values))
    assert [int(path.stem) for path in spool.waiting(down)] == [row.id for row in kept]

    dead = Offline(down)
    assert dead.run(job_kinds.STORE_SPOOLED)[0].state == "done"
    assert [service.row(tables.recordings, row.id).state for row in kept] == ["spooled"] * 3

    order = []
    failpoints.arm(lambda name: order.append(len(spool.waiting(down))) if name == "spool.after-stored" else None)
    service.run(job_kinds.STORE_SPOOLED)
    failpoints.arm(None)
    assert order == [3, 2, 1]
    for row in kept:
        now = service.row(tables.recordings, row.id)
        assert (now.state, now.reason_code, now.sha256) == ("stored", None, row.sha256)
        assert service.context.store.stat(BUCKET, now.object_key) is not None
    assert [job.arguments["recording_id"] for job in service.waiting("ingest-recording")] == [row.id for row in kept]
    assert spool.waiting(down) == []


def test_a_worker_killed_between_store_and_row_brings_it_again_without_harm(service: Offline, tmp_path: Path) -> None:
    down = without_store(service.context)
    recording = service.recording(service.call())
    service.update(recording, **keep_original(down, recording, audio(tmp_path), extension="wav"))
    [path] = spool.waiting(down)
    content = path.read_bytes()
    service.run(job_kinds.STORE_SPOOLED)
    path.write_bytes(content)  # as if it had died before it could forget the file
    service.run(job_kinds.STORE_SPOOLED)
    assert spool.waiting(down) == []
    assert len(list(service.context.store.list(BUCKET))) == 1


def test_a_process_that_dies_while_it_spools_leaves_no_half_file(service: Offline, tmp_path: Path) -> None:
    class Dead(BaseException):
        pass

    def die(name: str) -> None:
        if name == "spool.before-rename":
            raise Dead

    down = without_store(service.context)
    recording = service.recording(service.call())
    failpoints.arm(die)
    with pytest.raises(Dead):
        keep_original(down, recording, audio(tmp_path), extension="wav")
    failpoints.arm(None)
    assert spool.waiting(down) == []
    assert keep_original(down, recording, audio(tmp_path), extension="wav")["state"] == "spooled"
    assert len(spool.waiting(down)) == 1


def test_a_full_spool_stops_the_fetching_and_says_what_to_do(service: Offline, tmp_path: Path) -> None:
    settings = service.context.settings.model_copy(update={"spool_max_mb": 0.05})
    down = dataclasses.replace(without_store(service.context), settings=settings)
    first, second = service.recording(service.call()), service.recording(service.call())
    originals.need_room(down)
    keep_original(down, first, audio(tmp_path), extension="wav")
    with pytest.raises(RetryableError) as caught:
        keep_original(down, second, audio(tmp_path, hz=300), extension="wav")
    assert caught.value.code == "spool-full"
    assert "SPOOL_MAX_MB" in caught.value.next_step
    assert [int(path.stem) for path in spool.waiting(down)] == [first.id]


def test_an_erased_recording_leaves_the_spool_and_never_reaches_the_store(service: Offline, tmp_path: Path) -> None:
    recording = service.recording(service.call())
    values = keep_original(without_store(service.context), recording, audio(tmp_path), extension="wav")
    service.update(recording, **{**values, "state": "erased"})
    service.run(job_kinds.STORE_SPOOLED)
    assert spool.waiting(service.context) == []
    service.context.store.ensure_bucket(BUCKET)
    assert list(service.context.store.list(BUCKET)) == []


def test_everything_kept_for_a_recording_is_known_and_can_be_removed(service: Offline, tmp_path: Path) -> None:
    service.context = dataclasses.replace(
        service.context, settings=service.context.settings.model_copy(update={"max_task_s": 2.0})
    )
    recording = service.recording(service.call())
    path = sounds.write_wav(tmp_path / "long.wav", sounds.noise(6))
    recording = service.update(recording, **keep_original(service.context, recording, path, extension="wav"))
    service.run(job_kinds.INGEST_RECORDING, recording_id=recording.id)
    other = service.recording(service.call(started_at=datetime(2026, 5, 1, tzinfo=UTC)))
    service.update(other, **keep_original(service.context, other, audio(tmp_path), extension="wav"))

    recording = service.row(tables.recordings, recording.id)
    assert len(recording.spans) >= 3
    removed = removal.Removed()
    removal.remove_audio(service.context, recording, removed)
    assert (removed.objects, removed.left) == (2 + len(recording.spans), [])
    left = [item.key for bucket in (BUCKET, "kaan-audio") for item in service.context.store.list(bucket)]
    assert left == [service.row(tables.recordings, other.id).object_key]


def test_a_recording_erased_while_it_is_ingested_leaves_nothing_behind(service: Offline, tmp_path: Path) -> None:
    recording = service.recording(service.call())
    service.update(recording, **keep_original(service.context, recording, audio(tmp_path), extension="wav"))
    erased = {"state": "erased", "sha256": None, "object_key": None, "bucket": None}
    failpoints.arm(lambda name: service.update(recording, **erased) if name == "ingest.before-commit" else None)
    service.run(job_kinds.INGEST_RECORDING, recording_id=recording.id)
    failpoints.arm(None)
    assert service.row(tables.recordings, recording.id).state == "erased"
    assert service.waiting("transcribe-recording") == []
    assert [item.key for bucket in (BUCKET, "kaan-audio") for item in service.context.store.list(bucket)] == []
