"""F47-F53: the database locked, full, damaged, half migrated, restored; power lost."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import threading
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.errors import KaanError
from tests.faults import power
from tests.faults.launch import At
from tests.faults.world import World, sid, until


@pytest.mark.guard("writers-begin-immediate")
def test_f48_a_transaction_that_reads_first_never_fails_because_another_wrote_meanwhile(alone: World) -> None:
    url, has_read, go_on = alone.settings.database, threading.Event(), threading.Event()
    first, second, said = db.Database(url), db.Database(url), []

    def add(connection: sa.Connection, name: str) -> None:
        values = {"kind": "test", "identity": name, "why": "test"}
        connection.execute(sa.insert(tables.tombstones).values(**values))

    def reads_then_writes() -> None:
        try:
            with first.transaction() as connection:
                connection.execute(sa.select(tables.tombstones)).all()
                has_read.set()
                go_on.wait(2)
                add(connection, "slow")
            said.append("slow")
        except KaanError as error:
            said.append(error.code)

    def writes() -> None:
        with second.transaction() as connection:
            add(connection, "quick")
        said.append("quick")
        go_on.set()

    slow = threading.Thread(target=reads_then_writes)
    slow.start()
    assert has_read.wait(10)
    quick = threading.Thread(target=writes)
    quick.start()
    slow.join(), quick.join()
    assert sorted(said) == ["quick", "slow"]


# mounts a small file system over the data folder, for this process alone, makes the database in it and serves
SMALL = """mount -t tmpfs -o size=4m tmpfs "$0" || exit 77; "$@" db upgrade || exit 78; exec "$@" web"""


@pytest.mark.guard("a-full-disk-is-said-with-503")
def test_f49_a_full_disk_refuses_callbacks_keeps_the_old_and_recovers_by_itself(tmp_path: Path, alone: World) -> None:
    """Only the web process sees the small file system; the test reaches it through /proc."""
    data = Path(alone.environment["DATA_DIR"])
    shutil.rmtree(data)
    data.mkdir()
    become = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    if subprocess.run([*become, "mount", "-t", "tmpfs", "tmpfs", str(data)], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("this machine lets nobody mount a small file system")
    web = alone.serve("", under=[*become, "sh", "-c", SMALL, str(data)])
    inside = Path(f"/proc/{web.popen.pid}/root{data}")
    with httpx.Client(timeout=40) as client:
        assert alone.send(sid(1), client=client) == 200
        _fill(inside)
        answers = [alone.send(sid(number), client=client) for number in range(2, 40)]
        assert 503 in answers
        assert set(answers) <= {200, 503}
        assert client.get(f"{alone.url}/health").status_code == 200
        (inside / "ballast").unlink()
        until(lambda: alone.send(sid(100), client=client) == 200, within_s=30, say=lambda: web.log)
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in inside.glob("kaan.db*"):
        shutil.copy(file, copy / file.name)
    with sqlite3.connect(copy / "kaan.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        kept = {row[0] for row in connection.execute("SELECT call_sid FROM events")}
    acknowledged = {one.call_sid for one in alone.history.read() if one.acknowledged}
    assert acknowledged <= kept
    assert sid(100) in kept


def _fill(folder: Path) -> None:
    """Every byte the file system has left."""
    with (folder / "ballast").open("wb", buffering=0) as ballast:
        for piece in (1 << 20, 1 << 12):
            try:
                while True:
                    ballast.write(bytes(piece))
            except OSError:
                continue


def _kaan(world: World, *command: str, at: tuple[At, ...] = ()) -> tuple[int, str]:
    process = world.start(*command, at=at)
    process.popen.wait(60)
    return process.popen.returncode, process.log


@pytest.mark.guard("lost-database-is-not-replaced")
@pytest.mark.parametrize("damage", ["page", "gone", "text"])
def test_f50_a_damaged_or_vanished_database_refuses_to_start_with_what_to_do(alone: World, damage: str) -> None:
    file = Path(alone.environment["DATA_DIR"]) / "kaan.db"
    with alone.context.db.transaction() as connection:
        for number in range(200):
            values = {"kind": "test", "identity": f"{number} " + "x" * 900, "why": "test"}
            connection.execute(sa.insert(tables.tombstones).values(**values))
    alone.stop()
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    if damage == "gone":
        file.unlink()
    elif damage == "text":
        file.write_bytes(b"this is no database" * 1000)
    else:
        with file.open("r+b") as raw:
            raw.seek(100)
            raw.write(os.urandom(4000))
    for command in (("web",), ("relay",), ("worker", "sync")):
        code, log = _kaan(alone, *command)
        assert code not in (0, None), log
        assert "error: " in log, log
        assert "Traceback" not in log, log
        assert "restore" in log or "upgrade" in log, log
    if damage == "gone":  # and what every deployment runs first makes no empty one in its place
        code, log = _kaan(alone, "db", "upgrade")
        assert code == 2, log
        assert "restore" in log, log


@pytest.mark.guard("migrations-are-whole")
@pytest.mark.parametrize("nth", [1, 7, 20, 43])
def test_f52_a_migration_killed_half_way_is_finished_by_the_next_start(tmp_path: Path, nth: int) -> None:
    world = World.__new__(World)
    world.folder, world.started, world._context = tmp_path, [], None
    world.environment = {"DATA_DIR": str(tmp_path / "data"), "LOG_FORMAT": "json"}
    code, log = _kaan(world, "db", "upgrade", at=(At("before:alembic.ddl.impl.DefaultImpl._exec", nth=nth),))
    assert code == -9, log
    database = db.Database(f"sqlite:///{tmp_path / 'data' / 'kaan.db'}")
    assert database.schema_version() in (None, "0001", db.SCHEMA_VERSION)
    database.dispose()
    code, log = _kaan(world, "db", "upgrade")
    assert code == 0, log
    with database.reading() as connection:
        assert database.schema_version() == db.SCHEMA_VERSION
        assert set(tables.metadata.tables) <= set(sa.inspect(connection).get_table_names())
    database.dispose()


@pytest.mark.guard("commits-wait-for-the-disk")
def test_f53_every_writer_waits_for_the_disk(alone: World) -> None:
    """What a power cut leaves can only be simulated; that each commit waits for the disk can be read back."""
    with alone.context.db.transaction() as connection:
        assert connection.execute(sa.text("PRAGMA synchronous")).scalar() == 2
        assert connection.execute(sa.text("PRAGMA journal_mode")).scalar() == "wal"


@pytest.mark.guard("commits-wait-for-the-disk")
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace shows what reached the disk")
def test_f53_what_was_acknowledged_is_there_when_only_synced_bytes_survive(tmp_path: Path, alone: World) -> None:
    """The log of writes and syncs is replayed: only bytes that a sync followed make it into the copy."""
    with alone.context.db.transaction():
        pass
    alone.context.db.dispose()
    data = Path(alone.environment["DATA_DIR"])
    before = tmp_path / "before"
    shutil.copytree(data, before)
    web = alone.serve(under=power.watched(tmp_path / "trace"))
    with httpx.Client(timeout=20) as client:
        for number in range(20):
            assert alone.send(sid(number), client=client) == 200
    web.kill()
    survived = power.survivors(tmp_path / "trace", before, tmp_path / "after", of=data)
    with sqlite3.connect(survived / "kaan.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        kept = {row[0] for row in connection.execute("SELECT call_sid FROM events")}
    assert {sid(number) for number in range(20)} <= kept
