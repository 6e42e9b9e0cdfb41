"""One contract, three stores: a directory, moto (quick) and Swift's S3 interface (checks signatures)."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from minio import Minio

from ml_backend.errors import ConfigurationError, InvalidInput, KaanError, PermanentError, RetryableError
from ml_backend.settings import Settings
from ml_backend.storage import configured_store, object_store
from ml_backend.storage.local_store import LocalStore
from ml_backend.storage.s3_store import S3Store
from tests.servers import swift

SECRET = "moto-does-not-check-this"


@pytest.fixture(scope="session")
def swift_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[swift.SwiftServer]:
    with swift.running(tmp_path_factory.mktemp("swift") / "server") as server:
        yield server


@pytest.fixture(params=["local", "moto", "swift"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> object_store.ObjectStore:
    if request.param == "local":
        return LocalStore(tmp_path / "objects")
    if request.param == "moto":
        endpoint = request.getfixturevalue("moto_endpoint")
        return S3Store(endpoint, access_key="anyone", secret_key=SECRET, secure=False)
    server = request.getfixturevalue("swift_server")
    return S3Store(server.endpoint, access_key=server.access_key, secret_key=server.secret_key, secure=False)


@pytest.fixture
def bucket(store: object_store.ObjectStore) -> str:
    name = f"calls-{uuid.uuid4().hex[:12]}"
    store.ensure_bucket(name)
    return name


class TestEveryStore:
    def test_a_part_is_read_without_the_rest(self, store, bucket):
        data = bytes(range(256)) * 1000
        store.put_bytes(bucket, "long.bin", data)
        for start, length in ((0, 1), (0, len(data)), (255, 3), (100_000, 150_000), (len(data) - 1, 1)):
            assert (
                b"".join(store.read_part(bucket, "long.bin", start=start, length=length))
                == (data[start : start + length])
            )
        with pytest.raises(PermanentError) as missing:
            store.read_part(bucket, "none.bin", start=0, length=1)
        assert missing.value.code == "object-missing"

    def test_what_was_put_is_fetched_with_its_digest(self, store, bucket, tmp_path):
        source, target = tmp_path / "a.bin", tmp_path / "b.bin"
        source.write_bytes(os.urandom(300_000))
        digest = store.put_file(bucket, "recordings/2026/11/a.wav", source)
        assert digest == hashlib.sha256(source.read_bytes()).hexdigest()
        assert store.fetch(bucket, "recordings/2026/11/a.wav", target) == digest
        assert target.read_bytes() == source.read_bytes()

    def test_an_object_has_a_size_an_etag_and_a_time_with_a_zone(self, store, bucket):
        store.put_bytes(bucket, "one.txt", b"12345")
        found = store.stat(bucket, "one.txt")
        assert (found.bucket, found.key, found.size_bytes) == (bucket, "one.txt", 5)
        assert found.etag
        assert abs(datetime.now(UTC) - found.modified_at) < timedelta(minutes=5)

    def test_an_empty_object_is_an_object(self, store, bucket, tmp_path):
        store.put_bytes(bucket, "empty", b"")
        assert store.stat(bucket, "empty").size_bytes == 0
        assert store.fetch(bucket, "empty", tmp_path / "e") == hashlib.sha256(b"").hexdigest()

    def test_the_same_bytes_again_are_accepted_and_other_bytes_are_not(self, store, bucket, tmp_path):
        first = store.put_bytes(bucket, "a", b"first")
        assert store.put_bytes(bucket, "a", b"first") == first
        for other in (b"other", b"longer than the first"):
            with pytest.raises(PermanentError) as caught:
                store.put_bytes(bucket, "a", other)
            assert caught.value.code == "object-exists"
        store.fetch(bucket, "a", tmp_path / "a")
        assert (tmp_path / "a").read_bytes() == b"first"

    def test_a_file_takes_the_place_of_another_only_where_that_is_asked_for(self, store, bucket, tmp_path):
        store.put_bytes(bucket, "a/b", b"first")
        (tmp_path / "other").write_bytes(b"longer than the first")
        assert store.replace_file(bucket, "a/b", tmp_path / "other") == object_store.sha256_of(tmp_path / "other")
        store.fetch(bucket, "a/b", tmp_path / "a")
        assert (tmp_path / "a").read_bytes() == b"longer than the first"
        store.put_bytes(bucket, "a/b", b"longer than the first")
        assert [info.key for info in store.list(bucket)] == ["a/b"]
        store.replace_file(bucket, "a/new", tmp_path / "other")
        assert store.stat(bucket, "a/new").size_bytes == 21

    def test_a_missing_object_is_none_to_stat_and_a_permanent_error_to_fetch(self, store, bucket, tmp_path):
        assert store.stat(bucket, "nothing/here") is None
        with pytest.raises(PermanentError) as caught:
            store.fetch(bucket, "nothing/here", tmp_path / "x")
        assert caught.value.code == "object-missing"
        assert not (tmp_path / "x").exists()
        assert list(tmp_path.glob(".incoming*")) == []

    def test_a_missing_bucket_is_a_configuration_error(self, store, tmp_path):
        for use in (
            lambda: store.fetch("no-such-bucket", "a", tmp_path / "x"),
            lambda: store.put_bytes("no-such-bucket", "a", b"1"),
            lambda: list(store.list("no-such-bucket")),
        ):
            with pytest.raises(ConfigurationError) as caught:
                use()
            assert caught.value.code == "bucket-missing"

    def test_a_listing_is_in_key_order_and_goes_on_after_a_key(self, store, bucket):
        keys = ["a-b", "a.txt", "a/1", "a/b/c", "a/z", "b", "कॉल/1"]
        for key in reversed(keys):
            store.put_bytes(bucket, key, key.encode())
        assert [item.key for item in store.list(bucket)] == sorted(keys, key=str.encode)
        assert [item.key for item in store.list(bucket, start_after="a/b/c")] == ["a/z", "b", "कॉल/1"]
        assert [item.key for item in store.list(bucket, prefix="a/")] == ["a/1", "a/b/c", "a/z"]
        assert [item.key for item in store.list(bucket, prefix="a/", start_after="a/1")] == ["a/b/c", "a/z"]
        assert list(store.list(bucket, prefix="nothing")) == []

    def test_a_deleted_object_is_gone_and_deleting_again_is_fine(self, store, bucket):
        store.put_bytes(bucket, "deep/in/a/folder", b"1")
        store.delete(bucket, "deep/in/a/folder")
        store.delete(bucket, "deep/in/a/folder")
        assert store.stat(bucket, "deep/in/a/folder") is None
        assert list(store.list(bucket)) == []

    def test_making_a_bucket_twice_and_checking_are_fine(self, store, bucket):
        store.ensure_bucket(bucket)
        store.check(bucket)

    @pytest.mark.parametrize(
        "key", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a/", "a\x00b", "a\nb", "a\\..\\b", "é" * 600]
    )
    def test_a_key_that_is_no_plain_path_is_refused_everywhere(self, store, bucket, key, tmp_path):
        for use in (
            lambda: store.put_bytes(bucket, key, b"x"),
            lambda: store.stat(bucket, key),
            lambda: store.fetch(bucket, key, tmp_path / "x"),
            lambda: store.delete(bucket, key),
        ):
            with pytest.raises(InvalidInput):
                use()

    @pytest.mark.parametrize("name", ["", "..", "a", "UPPER-case", "has/slash", ".incoming", "a..b"])
    def test_a_bucket_name_that_s3_would_refuse_is_refused(self, store, name):
        with pytest.raises(InvalidInput):
            store.ensure_bucket(name)

    def test_what_a_writer_said_about_an_object_is_read_under_plain_names(self, store, bucket):
        if isinstance(store, S3Store):
            said = {"Voice": "divya", "emotion": "happy"}
            store._client.put_object(bucket, "tts/hi/1.wav", io.BytesIO(b"x"), 1, metadata=said)
        else:
            store.put_bytes(bucket, "tts/hi/1.wav", b"x")
        found = store.metadata(bucket, "tts/hi/1.wav")
        assert found == ({"voice": "divya", "emotion": "happy"} if isinstance(store, S3Store) else {})
        assert store.metadata(bucket, "tts/hi/none.wav") == {}


class TestLocalStore:
    def test_a_symbolic_link_does_not_lead_out_of_the_root(self, tmp_path):
        store = LocalStore(tmp_path / "objects")
        store.ensure_bucket("calls")
        (tmp_path / "secret.txt").write_text("not yours")
        (tmp_path / "objects" / "calls" / "link.txt").symlink_to(tmp_path / "secret.txt")
        (tmp_path / "objects" / "calls" / "folder").symlink_to(tmp_path)
        for key in ("link.txt", "folder/secret.txt"):
            with pytest.raises(InvalidInput):
                store.fetch("calls", key, tmp_path / "out")
            with pytest.raises(InvalidInput):
                store.open_local("calls", key)
        with pytest.raises(InvalidInput):
            store.put_bytes("calls", "folder/new.txt", b"x")
        assert list(store.list("calls")) == []

    def test_two_writers_of_one_key_never_mix_and_one_wins(self, tmp_path):
        store = LocalStore(tmp_path / "objects")
        store.ensure_bucket("calls")
        contents = [bytes([i]) * 200_000 for i in range(8)]
        outcomes: list[KaanError | None] = []

        def write(data: bytes) -> None:
            try:
                store.put_bytes("calls", "same", data)
                outcomes.append(None)
            except KaanError as error:
                outcomes.append(error)

        threads = [threading.Thread(target=write, args=(data,)) for data in contents]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcomes.count(None) == 1
        assert store.open_local("calls", "same").read_bytes() in contents
        assert list((tmp_path / "objects" / ".incoming").iterdir()) == []

    def test_an_object_cannot_lie_under_another_object(self, tmp_path):
        store = LocalStore(tmp_path / "objects")
        store.ensure_bucket("calls")
        store.put_bytes("calls", "a", b"1")
        with pytest.raises(PermanentError) as caught:
            store.put_bytes("calls", "a/b", b"2")
        assert caught.value.code == "object-exists"

    def test_the_settings_choose_the_store(self, tmp_path):
        local = configured_store.open_store(Settings(_env_file=None, data_dir=tmp_path))
        assert isinstance(local, LocalStore)
        assert local.root == tmp_path / "objects"
        remote = configured_store.open_store(
            Settings(
                _env_file=None, data_dir=tmp_path, object_store="s3://", minio_endpoint="s3.example:9000",
                minio_access_key="calls", minio_secret_key="0dd-sec2et-of-s3",
            )
        )  # fmt: skip
        assert isinstance(remote, S3Store)


class TestS3Signatures:
    def test_a_wrong_secret_is_refused_and_no_credential_is_repeated(self, swift_server, caplog):
        caplog.set_level(logging.DEBUG)
        wrong = S3Store(
            swift_server.endpoint, access_key=swift_server.access_key, secret_key="wrong-wrong-wrong", secure=False
        )
        with pytest.raises(ConfigurationError) as caught:
            wrong.check("calls")
        assert caught.value.code == "store-refused"
        shown = f"{caught.value}{caught.value!r}{caught.value.__cause__}{caplog.text}"
        assert "wrong-wrong-wrong" not in shown
        assert swift_server.access_key not in shown

    def test_a_presigned_address_works_untouched_and_fails_when_altered_or_old(self, swift_server):
        store = S3Store(
            swift_server.endpoint, access_key=swift_server.access_key, secret_key=swift_server.secret_key, secure=False
        )
        store.ensure_bucket("presigned")
        store.put_bytes("presigned", "a.txt", b"hello")
        client = Minio(swift_server.endpoint, swift_server.access_key, swift_server.secret_key, secure=False)
        good = client.presigned_get_object("presigned", "a.txt", expires=timedelta(minutes=5))
        assert urllib.request.urlopen(good).read() == b"hello"
        store.put_bytes("presigned", "b.txt", b"other")
        assert _status(good.replace("a.txt", "b.txt")) == 403
        assert _status(good[:-1] + ("0" if good[-1] != "0" else "1")) == 403
        then = datetime.now(UTC) - timedelta(hours=1)
        old = client.presigned_get_object("presigned", "a.txt", expires=timedelta(minutes=5), request_date=then)
        assert _status(old) == 403

    def test_a_clock_that_is_off_is_named_as_the_cause(self, swift_server, monkeypatch):
        import minio.time

        monkeypatch.setattr(minio.time, "utcnow", lambda: datetime.now(UTC) + timedelta(hours=2))
        monkeypatch.setattr("minio.api.time.utcnow", lambda: datetime.now(UTC) + timedelta(hours=2))
        store = S3Store(
            swift_server.endpoint, access_key=swift_server.access_key, secret_key=swift_server.secret_key, secure=False
        )
        with pytest.raises(ConfigurationError) as caught:
            store.check("calls")
        assert caught.value.code == "clock-skew"


class TestS3Trouble:
    def test_a_server_that_is_not_there_is_retryable(self):
        store = S3Store("127.0.0.1:1", access_key="a", secret_key="secret-secret", secure=False)
        with pytest.raises(RetryableError) as caught:
            store.check("calls")
        assert caught.value.code == "store-unavailable"
        assert "secret-secret" not in str(caught.value)

    def test_an_object_others_wrote_is_compared_by_its_bytes(self, moto_endpoint):
        store = S3Store(moto_endpoint, access_key="anyone", secret_key=SECRET, secure=False)
        store.ensure_bucket("others-audio")
        import io

        Minio(moto_endpoint, "anyone", SECRET, secure=False).put_object("others-audio", "x", io.BytesIO(b"abc"), 3)
        store.put_bytes("others-audio", "x", b"abc")
        with pytest.raises(PermanentError):
            store.put_bytes("others-audio", "x", b"abd")

    def test_every_error_of_the_library_becomes_one_of_ours(self):
        import minio.error

        from ml_backend.storage.s3_store import _errors

        known = [minio.error.ServerError("x", 503), minio.error.InvalidResponseError(500, "text/html", "x")]
        known += [ValueError("bad endpoint"), minio.error.MinioException("x")]
        for error in known:
            with pytest.raises(KaanError), _errors("bucket", "key"):
                raise error
        ours = {"S3Error", "ServerError", "InvalidResponseError", "MinioException", "MinioAdminException"}
        theirs = {
            name for name, kind in vars(minio.error).items() if isinstance(kind, type) and issubclass(kind, Exception)
        }
        assert theirs <= ours, "the library has a new error: map it in storage_s3"


def _status(address: str) -> int:
    try:
        with urllib.request.urlopen(address) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_what_a_killed_writer_left_is_swept_once_it_is_old_and_objects_never_are(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.ensure_bucket("calls")
    store.put_bytes("calls", "old.wav", b"kept")
    left = [tmp_path / ".incoming" / name for name in ("old", "new")]
    for path in left:
        path.write_bytes(b"half a call")
    for path in (left[0], tmp_path / "calls" / "old.wav"):
        os.utime(path, (1, 1))

    assert store.sweep(24 * 3600) == 1
    assert [path.exists() for path in left] == [False, True]
    assert store.stat("calls", "old.wav") is not None


WRITERS, ROUNDS = 4, 5
_WRITE = """
import sys
from pathlib import Path
from ml_backend.errors import KaanError
from ml_backend.storage.local_store import LocalStore
from ml_backend.storage.s3_store import S3Store

from tests.faults.guards import guards

for guard in sys.argv[4:]:
    guards.remove(guard)
where, size = sys.argv[1], int(sys.argv[2])
s3 = "/" not in where
store = S3Store(where, access_key="anyone", secret_key="k" * 16, secure=False) if s3 else LocalStore(Path(where))
for line in sys.stdin:  # one key a line, to all writers at once
    try:
        store.put_bytes("calls", line.strip(), sys.argv[3].encode() * size)
        print("stored", flush=True)
    except KaanError as error:
        print(error.code, flush=True)
"""


@pytest.mark.parametrize("size", [10, 6 << 20], ids=["whole", "in-parts"])
@pytest.mark.parametrize("kind", ["local", "moto"])
def test_of_writers_at_once_in_many_processes_one_stores_and_its_bytes_stay(request, tmp_path, kind, size):
    where = str(tmp_path / "objects") if kind == "local" else request.getfixturevalue("moto_endpoint")
    store = LocalStore(Path(where)) if kind == "local" else S3Store(
        where, access_key="anyone", secret_key=SECRET, secure=False
    )  # fmt: skip
    store.ensure_bucket("calls")
    run, without = uuid.uuid4().hex, request.config.getoption("--without", default=None) or []
    command = [sys.executable, "-c", _WRITE, where, str(size)]
    writers = [
        subprocess.Popen(
            [*command, str(n), *without], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        for n in range(WRITERS)
    ]
    try:
        for turn in range(ROUNDS):
            key = f"{run}/{turn}"
            for writer in writers:
                writer.stdin.write(f"{key}\n")
            said = [writer.stdout.readline().strip() for writer in writers]
            assert sorted(said) == ["object-exists"] * (WRITERS - 1) + ["stored"], said
            store.fetch("calls", key, tmp_path / "found")
            assert (tmp_path / "found").read_bytes()[:1] == str(said.index("stored")).encode()
    finally:
        for writer in writers:
            writer.stdin.close()
            writer.wait()


@pytest.mark.parametrize("size", [1, 100 << 20])
def test_a_store_says_whether_the_first_of_two_writers_stays(request, tmp_path, size):
    """Swift looks and writes in two steps; moto, asked one by one as S3 is, does not; a link is made once."""
    moto_store = S3Store(request.getfixturevalue("moto_endpoint"), access_key="a", secret_key=SECRET, secure=False)
    there = request.getfixturevalue("swift_server")
    swift_store = S3Store(there.endpoint, access_key=there.access_key, secret_key=there.secret_key, secure=False)
    found = []
    for store in (LocalStore(tmp_path), moto_store, swift_store):
        store.ensure_bucket("kaan-own")
        found.append(store.keeps_first("kaan-own", size_bytes=size))
    assert found == [True, True, False]


def test_a_server_that_ignores_the_condition_is_found_out(moto_endpoint, monkeypatch):
    monkeypatch.setattr("ml_backend.storage.s3_store._first_only", ContextVar("ignored", default=False))
    monkeypatch.setattr("ml_backend.storage.s3_store._only_first", lambda on: contextlib.nullcontext())
    store = S3Store(moto_endpoint, access_key="anyone", secret_key=SECRET, secure=False)
    store.ensure_bucket("kaan-ignores")
    assert not store.keeps_first("kaan-ignores", size_bytes=1)


class TestRoom:
    """Free space is looked at on the disk that is written to, before the first byte."""

    @pytest.fixture(autouse=True)
    def _little(self, monkeypatch):
        free = {"full": 400e6}
        usage = object_store.shutil.disk_usage

        def disk(folder):
            return usage(folder)._replace(free=int(free["full"] if "full" in str(folder) else 9e12))

        monkeypatch.setattr("ml_backend.storage.object_store.shutil.disk_usage", disk)

    def test_the_directory_store_refuses_what_would_leave_too_little(self, tmp_path):
        store = LocalStore(tmp_path / "full" / "objects", min_free_mb=399.5)
        store.ensure_bucket("calls")
        store.put_bytes("calls", "small", b"1")
        with pytest.raises(RetryableError) as refused:
            store.put_bytes("calls", "large", bytes(1_000_000))
        assert (refused.value.code, store.stat("calls", "large")) == ("disk-full", None)
        assert "MIN_FREE_DISK_MB" in refused.value.sentence

    @pytest.mark.parametrize("kind", ["local", "moto"])
    def test_fetching_looks_at_the_disk_it_writes_to(self, request, tmp_path, kind):
        store = LocalStore(tmp_path / "objects", min_free_mb=399.5)
        if kind == "moto":
            endpoint = request.getfixturevalue("moto_endpoint")
            store = S3Store(endpoint, access_key="anyone", secret_key=SECRET, secure=False, min_free_mb=399.5)
        bucket = f"calls-{uuid.uuid4().hex[:12]}"
        store.ensure_bucket(bucket)
        store.put_bytes(bucket, "a", bytes(1_000_000))
        (tmp_path / "full").mkdir()
        with pytest.raises(RetryableError) as refused:
            store.fetch(bucket, "a", tmp_path / "full" / "a")
        assert refused.value.code == "disk-full"
        assert list((tmp_path / "full").iterdir()) == []
        store.fetch(bucket, "a", tmp_path / "a")
