"""Bucket -> Recordings: what other people wrote is found once, and what became of it is known."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from ml_backend import db, tables
from ml_backend.calls import ledger
from ml_backend.calls.events import CallEvent
from ml_backend.context import JobContext, open_context
from ml_backend.jobs import job_kinds
from ml_backend.settings import Settings
from ml_backend.storage.object_store import ObjectInfo, sha256_of
from ml_backend.tables import checkpoints, objects, recordings
from sync.objects import listing_differences, scan
from sync.objects import object_rows as found_objects
from sync.recordings import layouts
from tests.ledger_rules import violations
from tests.servers import moto, postgres, swift
from tests.sync.outside import OTHER_SPEECH, SPEECH, Outside

DAY = "recordings/2026/11/20"
ROOT = Path(__file__).resolve().parents[3]

# A scan that kills itself at the n-th page it has written down.
KILLED = """
import os, signal, sys
from ml_backend.jobs import failpoints
from ml_backend.context import open_context
from ml_backend.settings import Settings
from sync.objects import scan
left = [int(sys.argv[1])]
def die(name):
    left[0] -= name == "scan.after-page"
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
failpoints.arm(die)
scan.PAGE = {page}
scan.run(open_context(Settings(_env_file=None, data_dir="{folder}")), "call-recordings", full=True)
"""


@pytest.fixture(scope="module")
def moto_server() -> Iterator[str]:
    with moto.running() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def swift_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[swift.SwiftServer]:
    with swift.running(tmp_path_factory.mktemp("swift") / "server") as server:
        yield server


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    with postgres.running() as server:
        yield server.database()


@pytest.fixture(params=["directory", "moto", "swift"])
def outside(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Outside]:
    """An empty store of each kind."""
    values: dict[str, object] = {}
    if request.param != "directory":
        server = request.getfixturevalue(f"{request.param}_server")
        endpoint, access, secret = (
            (server, "testing", "testing") if request.param == "moto"
            else (server.endpoint, server.access_key, server.secret_key)
        )  # fmt: skip
        keys = {"minio_access_key": SecretStr(access), "minio_secret_key": SecretStr(secret)}
        values = {"object_store": "s3://", "minio_endpoint": endpoint, "minio_secure": False, **keys}
    with opened(tmp_path, **values) as found:
        for bucket in scan.buckets(found.context):
            found.context.store.ensure_bucket(bucket)
            for item in list(found.context.store.list(bucket)):
                found.context.store._client.remove_object(bucket, item.key)  # type: ignore[attr-defined]
        yield found


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Outside]:
    """A directory as store: for what does not depend on the kind."""
    with opened(tmp_path) as found:
        yield found


class opened:
    def __init__(self, folder: Path, **values: object) -> None:
        self.settings = Settings(_env_file=None, data_dir=folder, min_free_disk_mb=0, **values)  # type: ignore[arg-type, call-arg]

    def __enter__(self) -> Outside:
        db.upgrade(self.settings.database)
        self.context = open_context(self.settings)
        return Outside(self.context)

    def __exit__(self, *_: object) -> None:
        self.context.db.dispose()


def test_new_objects_become_recordings_with_an_ingest_job_once(outside: Outside) -> None:
    outside.put("call-recordings", "voice/one.wav", OTHER_SPEECH)
    outside.put("call-recordings", f"{DAY}/c-1.mp3", SPEECH)

    assert outside.scan() == {"new": 2}
    assert outside.scan() == {}
    assert outside.scan(full=False) == {}

    keys = [row.object_key for row in outside.rows(recordings)]
    assert keys == [f"{DAY}/c-1.mp3", "voice/one.wav"]
    assert len(outside.rows(tables.jobs, name=job_kinds.INGEST_RECORDING.name)) == 2
    assert outside.one(tables.calls).call_sid == "c-1"
    assert outside.one(tables.calls).state == "fetched"


def test_an_altered_object_becomes_a_new_recording_and_the_old_one_stays(outside: Outside) -> None:
    outside.put("call-recordings", "voice/one.wav", OTHER_SPEECH)
    outside.scan()
    first = outside.one(recordings)
    outside.context.db.update(
        recordings, first.id, sha256="a" * 64, size_bytes=len(OTHER_SPEECH), state="ready", known_text="hello"
    )

    outside.put("call-recordings", "voice/one.wav", SPEECH)
    assert outside.scan() == {"altered": 1, "new version": 1}
    assert outside.scan() == {}

    old, new = outside.rows(recordings)
    assert (old.id, old.sha256, old.known_text, old.state) == (first.id, "a" * 64, "hello", "ready")
    assert (old.reason_code, new.state) == ("object-replaced", "found")
    assert new.source_identity != old.source_identity
    assert outside.one(objects).recording_id == new.id


def test_an_object_written_again_with_the_same_bytes_is_no_news(outside: Outside) -> None:
    outside.put("call-recordings", "voice/one.wav", SPEECH, modified_ns=10**18)
    outside.scan()
    first = outside.one(recordings)
    path = outside.context.settings.data_dir / "same"
    path.write_bytes(SPEECH)
    values = {"sha256": sha256_of(path), "size_bytes": len(SPEECH), "state": "ready"}
    outside.context.db.update(recordings, first.id, **values)

    outside.put("call-recordings", "voice/one.wav", SPEECH, modified_ns=2 * 10**18)
    outside.scan()

    assert [row.state for row in outside.rows(recordings)] == ["ready"]


def test_a_deleted_object_makes_its_recording_lost_and_its_return_is_recognised(outside: Outside) -> None:
    outside.put("call-recordings", f"{DAY}/c-1.wav", SPEECH, modified_ns=10**18)
    outside.scan()
    outside.delete("call-recordings", f"{DAY}/c-1.wav")

    assert outside.scan() == {"gone": 1}
    assert outside.scan() == {}
    lost = outside.one(recordings)
    assert (lost.state, lost.reason_code) == ("lost", "object-deleted")
    assert outside.one(tables.calls).state == "missing"

    outside.put("call-recordings", f"{DAY}/c-1.wav", SPEECH, modified_ns=10**18)
    assert outside.scan() == {"back": 1}
    assert outside.one(recordings).state == "found"
    assert outside.one(tables.calls).state == "fetched"


@pytest.mark.parametrize("first", ["wav", "txt"])
def test_a_text_beside_an_audio_is_its_known_text_whichever_came_first(here: Outside, first: str) -> None:
    files = {"wav": OTHER_SPEECH, "txt": "\ufeffनमस्ते\n".encode()}
    second = "txt" if first == "wav" else "wav"
    here.put("training-data", f"tts/hi/ab12.{first}", files[first])
    here.scan("training-data")
    here.put("training-data", f"tts/hi/ab12.{second}", files[second])
    here.scan("training-data")

    row = here.one(recordings)
    assert (row.known_text, row.synthetic, row.language) == ("नमस्ते", True, "hi")
    assert [one.state for one in here.rows(objects)] == ["paired", "taken"]


def test_a_text_pairs_across_the_two_spellings_of_one_name(here: Outside) -> None:
    here.put("training-data", "tts/fr/caf\u00e9.wav", OTHER_SPEECH)
    here.put("training-data", "tts/fr/cafe\u0301.txt", b"un caf\xc3\xa9")
    here.scan("training-data")

    assert here.one(recordings).known_text == "un café"


def test_a_text_that_changes_after_people_worked_with_it_changes_nothing(here: Outside) -> None:
    here.put("training-data", "tts/hi/ab12.wav", OTHER_SPEECH)
    here.put("training-data", "tts/hi/ab12.txt", b"before")
    here.scan("training-data")
    recording = here.one(recordings)
    with here.context.db.transaction() as connection:
        project = {"instance_url": "http://x", "ls_project_id": 1, "state": "attached"}
        connection.execute(sa.insert(tables.projects).values(**project))
        task = {"project_id": 1, "recording_id": recording.id, "external_key": "k", "origin": "ours"}
        connection.execute(sa.insert(tables.tasks).values(**task))

    here.put("training-data", "tts/hi/ab12.txt", b"afterwards")
    assert here.scan("training-data") == {"altered": 1, "refused: text-changed": 1}
    assert here.one(recordings).known_text == "before"


def test_our_own_synthetic_voice_is_marked_with_its_language(here: Outside) -> None:
    here.put("voice-audio", "ivr/mr/0a1b.wav", OTHER_SPEECH)
    here.put("training-data", "calls/0a1b.wav", OTHER_SPEECH)
    here.scan("voice-audio")
    here.scan("training-data")

    voice, other = here.rows(recordings)
    assert (voice.synthetic, voice.language, voice.priority) == (True, "mr", job_kinds.BULK)
    assert (other.synthetic, other.language) == (False, None)
    assert here.rows(tables.calls) == [], "a synthetic voice is no call"


ODD = [
    "e\u0301/नमस्ते.wav",
    "a b+c&d=e%20.wav",
    "x" * 200 + "/" + "y" * 200 + ".wav",
    "no-ending",
    "picture.png",
    "empty.wav",
    ".wav",
    "-.mp3",
]


def test_odd_keys_get_a_row_and_never_stop_a_scan(outside: Outside) -> None:
    for key in ODD:
        outside.put("call-recordings", key, b"" if key.startswith("empty") else SPEECH)
    outside.put("call-recordings", "zzz/last.wav", SPEECH)
    outside.scan()

    states = {row.object_key: (row.state, row.reason_code) for row in outside.rows(objects)}
    assert set(states) == {*ODD, "zzz/last.wav"}
    assert states["empty.wav"] == ("refused", "object-empty")
    assert states["picture.png"] == ("ignored", "not-audio")
    assert states["e\u0301/नमस्ते.wav"][0] == "taken"
    assert states["zzz/last.wav"][0] == "taken"


@pytest.mark.parametrize(
    "key",
    [
        "../up.wav",
        "a/../../up.wav",
        "a//b.wav",
        "tab\there.wav",
        "line\nbreak.wav",
        "a\\b.wav",
        "k" * 1000 + ".wav",
    ],
)
def test_a_key_that_leads_nowhere_is_refused_with_a_reason(here: Outside, key: str) -> None:
    info = ObjectInfo("call-recordings", key, 10, "e", tables.now())
    here.context.store.ensure_bucket("call-recordings")
    found_objects.appeared(here.context, "call-recordings", [info])

    row = here.one(objects)
    assert (row.state, row.reason_code) == ("refused", "bad-object-key")
    assert here.rows(recordings) == []


def test_control_characters_in_keys_do_not_stop_an_s3_scan(outside: Outside) -> None:
    if not hasattr(outside.context.store, "endpoint"):
        pytest.skip("only S3 takes such keys")
    for key in ("tab\there.wav", "a/../b.wav"):
        try:
            outside.put("call-recordings", key, SPEECH)
        except Exception:  # noqa: S112 - a server or client that refuses the key keeps it out as well
            continue
    outside.put("call-recordings", "zzz.wav", SPEECH)
    outside.scan()

    assert [row.object_key for row in outside.rows(recordings)] == ["zzz.wav"]


def test_a_folder_is_no_object(outside: Outside) -> None:
    outside.context.store.ensure_bucket("call-recordings")
    if hasattr(outside.context.store, "endpoint"):
        outside.put("call-recordings", "folder/", b"")
    else:
        (outside.context.store.root / "call-recordings" / "folder").mkdir()  # type: ignore[attr-defined]

    assert outside.scan() == {}


def test_our_own_originals_and_normalised_audio_are_not_found_again(here: Outside) -> None:
    here.put("call-recordings", f"{DAY}/c-9.mp3", SPEECH)
    here.put("kaan-audio", "derived/00/audio.wav", OTHER_SPEECH)
    with here.context.db.transaction() as connection:
        ours = {
            "source": "exotel",
            "source_identity": "exotel:c-9:c-9.mp3",
            "bucket": "call-recordings",
            "state": "stored",
        }
        connection.execute(sa.insert(recordings).values(object_key=f"{DAY}/c-9.mp3", **ours))

    assert here.scan() == {"known": 1}
    assert here.one(recordings).source == "exotel"
    assert "kaan-audio" not in scan.buckets(here.context)


def test_a_buried_object_is_not_taken_up_again(here: Outside) -> None:
    with here.context.db.transaction() as connection:
        for kind, identity in (("recording", "s3://call-recordings/voice/one.wav"), ("call", "c-1")):
            connection.execute(sa.insert(tables.tombstones).values(kind=kind, identity=identity, why="erased"))
    here.put("call-recordings", "voice/one.wav", SPEECH)
    here.put("call-recordings", f"{DAY}/c-1.wav", SPEECH)

    assert here.scan() == {"refused: erased": 2}
    assert here.rows(recordings) == []
    assert here.rows(tables.calls) == []


def test_a_bucket_that_was_never_there_is_no_error_but_one_that_vanished_is(here: Outside) -> None:
    assert scan.run(here.context, "voice-audio", full=True).note
    here.put("voice-audio", "ivr/hi/a.wav", SPEECH)
    here.scan("voice-audio")
    here.delete("voice-audio", "ivr/hi/a.wav")
    here.put("voice-audio", "ivr/hi/b.wav", SPEECH)
    here.scan("voice-audio")
    root = here.context.settings.data_dir / "objects"
    (root / "voice-audio").rename(root / "elsewhere")

    with pytest.raises(Exception, match="bucket"):
        here.scan("voice-audio")
    assert [row.state for row in here.rows(recordings)] == ["lost", "found"]


def test_a_killed_full_scan_goes_on_where_it_was(here: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "PAGE", 5)
    for number in range(17):
        here.put("call-recordings", f"voice/{number:02d}.wav", SPEECH)
    stopped = scan.run(here.context, "call-recordings", full=True, more=lambda report: report.listed < 10)

    assert not stopped.finished
    assert stopped.listed == 10
    rest = scan.run(here.context, "call-recordings", full=True)
    assert (rest.finished, rest.listed) == (True, 7)
    assert len(here.rows(recordings)) == 17
    assert here.one(checkpoints, name="scan:call-recordings").position["keys"] == 17


def test_a_job_that_runs_out_of_time_asks_for_its_successor(here: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "PAGE", 5)
    monkeypatch.setattr(scan, "SLICE_S", 0.0)
    for number in range(12):
        here.put("call-recordings", f"voice/{number:02d}.wav", SPEECH)
    context = JobContext(here.context.settings, here.context.db, here.context.store)
    for _ in range(3):
        scan.scan_bucket(context, "call-recordings", full=1)

    assert len(here.rows(recordings)) == 12
    [job] = here.rows(tables.jobs, name=job_kinds.SCAN_BUCKET.name)
    assert (job.state, job.arguments["full"]) == ("waiting", 1)


def test_a_quick_look_lists_only_the_last_days_of_a_large_bucket(
    here: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "SMALL", 0)
    today = tables.now()
    old, new = today - timedelta(days=40), today - timedelta(days=1)
    for number in range(3):
        here.put("call-recordings", f"recordings/{old:%Y/%m/%d}/old-{number}.wav", SPEECH)
    here.scan()
    here.put("call-recordings", f"recordings/{old:%Y/%m/%d}/late.wav", SPEECH)
    here.put("call-recordings", f"recordings/{new:%Y/%m/%d}/new.wav", SPEECH)

    quick = scan.run(here.context, "call-recordings", full=False)
    assert (quick.listed, dict(quick.counts)) == (1, {"new": 1})
    assert here.scan() == {"new": 1}, "what came late is found at night"
    hinted = scan.run(here.context, "call-recordings", full=False, prefix=f"recordings/{old:%Y/%m/%d}/")
    assert hinted.listed == 4


def test_after_a_long_stop_a_quick_look_begins_where_the_last_one_ended(
    here: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "SMALL", 0)
    here.put("call-recordings", f"{DAY}/x.wav", SPEECH)
    here.scan()
    week_ago = tables.now() - timedelta(days=7)
    with here.context.db.transaction() as connection:
        mine = checkpoints.c.name == "scan:call-recordings"
        position = connection.execute(sa.select(checkpoints.c.position).where(mine)).scalar_one()
        connection.execute(
            sa.update(checkpoints).where(mine).values(position={**position, "looked_at": week_ago.isoformat()})
        )
    here.put("call-recordings", f"recordings/{week_ago:%Y/%m/%d}/missed.wav", SPEECH)

    assert here.scan(full=False)["new"] == 1


def test_one_job_asks_for_every_bucket(here: Outside) -> None:
    context = JobContext(here.context.settings, here.context.db, here.context.store)
    scan.scan_bucket(context, scan.EVERYTHING, full=1)
    scan.scan_bucket(context, scan.EVERYTHING, full=1)

    waiting = here.rows(tables.jobs, name=job_kinds.SCAN_BUCKET.name)
    assert [job.arguments["bucket"] for job in waiting] == scan.buckets(here.context)


def test_a_page_against_more_rows_than_fit_is_compared_in_pieces() -> None:
    rows = [(f"{n:04d}", "e", 1, "taken") for n in range(100)]
    kept = {f"{n:04d}" for n in range(0, 100, 10)}
    page = [ObjectInfo("b-b", key, 1, "e", tables.now()) for key in sorted(kept)]

    def known(after: str, end: str | None, at_most: int) -> list[tuple[str, str, int, str]]:
        return [row for row in rows if row[0] > after and (end is None or row[0] <= end)][:at_most]

    for last in (True, False):
        found = list(listing_differences.of_page(page, known, after="", last=last, at_most=7))
        gone = [key for each in found for key in each.gone]
        missing = [row[0] for row in rows if row[0] not in kept and (last or row[0] < "0090")]
        assert gone == missing
        assert [info for each in found for info in each.appeared] == []


@pytest.mark.parametrize(
    ("key", "root"),
    [
        ("recordings/2026/11/22/x.wav", "recordings/"),
        ("2026/11/22/x.wav", ""),
        ("a/b/2026/11/22/deep/x.wav", "a/b/"),
        ("recordings/2026/13/22/x.wav", None),
        ("recordings/2026/11/x.wav", None),
        ("tts/hi/x.wav", None),
    ],
)
def test_day_folders_are_recognised(key: str, root: str | None) -> None:
    assert layouts.day_root(key) == root


def test_calls_found_by_the_hundred_are_what_the_ledger_makes_of_one(here: Outside) -> None:
    for number in range(3):
        here.put("call-recordings", f"{DAY}/c-{number}.wav", SPEECH)
    here.scan()
    event = CallEvent(call_sid="one", source="object", started_at_utc=datetime(2026, 11, 20, tzinfo=UTC))
    with here.context.db.transaction() as connection:
        by_ledger = ledger.record(connection, event, key=b"k" * 32)
        added = sa.insert(recordings).values(source="object", source_identity="s3://b-b/one.wav", call_id=by_ledger.id)
        ledger.recording_moved(connection, connection.execute(added.returning(recordings.c.id)).scalar_one())
        assert violations(connection) == []

    *found, alone = here.rows(tables.calls)
    own = {"id", "created_at", "updated_at", "due_at", "call_sid"}
    for call in found:
        assert {name: value for name, value in call._asdict().items() if name not in own} == {
            name: value for name, value in alone._asdict().items() if name not in own
        }
    waiting = here.rows(tables.jobs, name=job_kinds.INGEST_RECORDING.name)
    assert [job.unique_key for job in waiting] == [f"ingest-recording:{row.id}" for row in here.rows(recordings)[:3]]


@pytest.mark.parametrize("kind", ["directory", "postgresql"])
def test_two_scans_at_once_take_everything_once(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    url = request.getfixturevalue("postgres_url") if kind == "postgresql" else ""
    with opened(tmp_path, database_url=url) as found:
        for number in range(250):
            found.put("call-recordings", f"recordings/2026/11/{number % 28 + 1:02d}/c-{number}.wav", SPEECH)
            found.put("call-recordings", f"voice/v-{number}.wav", SPEECH)
        with ThreadPoolExecutor(3) as pool:
            reports = list(pool.map(lambda _: scan.run(found.context, "call-recordings", full=True), range(3)))

        assert all(report.finished for report in reports)
        assert len(found.rows(recordings)) == len(found.rows(objects)) == 500
        assert len(found.rows(tables.calls)) == 250
        assert len(found.rows(tables.jobs, name=job_kinds.INGEST_RECORDING.name)) == 500
        with found.context.db.reading() as connection:
            assert violations(connection) == []
        found.delete("call-recordings", "voice/v-7.wav")
        found.put("call-recordings", "voice/नमस्ते.wav", SPEECH)
        assert found.scan() == {"gone": 1, "new": 1}
        assert found.scan() == {}


def test_a_scan_that_is_killed_anywhere_takes_everything_once(here: Outside) -> None:
    for number in range(900):
        here.put("call-recordings", f"recordings/2026/11/{number % 28 + 1:02d}/c-{number:04d}.wav", SPEECH)
    program = KILLED.format(folder=str(here.context.settings.data_dir), page=100)
    ended = []
    for hit in (1, 2, 3):
        ended.append(subprocess.run([sys.executable, "-c", program, str(hit)], cwd=ROOT, check=False).returncode)
    assert ended == [-signal.SIGKILL] * 3
    assert 0 < len(here.rows(recordings)) < 900, "the kills came in the middle"
    here.scan()

    assert len(here.rows(recordings)) == len(here.rows(tables.calls)) == 900
    assert len(here.rows(tables.jobs, name=job_kinds.INGEST_RECORDING.name)) == 900
    with here.context.db.reading() as connection:
        assert violations(connection) == []


def test_live_calls_go_before_old_ones_that_were_copied_in_today(here: Outside) -> None:
    today = tables.now()
    here.put("call-recordings", f"recordings/{today:%Y/%m/%d}/live.wav", SPEECH)
    here.put("call-recordings", "recordings/2019/03/04/old.wav", SPEECH)
    here.scan()

    waiting = here.rows(tables.jobs, name=job_kinds.INGEST_RECORDING.name)
    by_id = {row.id: row.call_sid for row in here.rows(recordings)}
    assert {by_id[job.arguments["recording_id"]]: job.priority for job in waiting} == {
        "live": job_kinds.LIVE,
        "old": job_kinds.BULK,
    }


def test_other_bytes_of_the_same_length_are_a_new_version(here: Outside) -> None:
    here.put("call-recordings", "voice/one.wav", SPEECH, modified_ns=10**18)
    here.scan()
    first = here.one(recordings)
    digest = hashlib.sha256(SPEECH).hexdigest()
    here.context.db.update(recordings, first.id, sha256=digest, size_bytes=len(SPEECH), state="ready")
    here.put("call-recordings", "voice/one.wav", SPEECH[:-1] + b"?", modified_ns=2 * 10**18)

    assert here.scan() == {"altered": 1, "new version": 1}
    assert [row.state for row in here.rows(recordings)] == ["ready", "found"]
