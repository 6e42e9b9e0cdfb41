"""PostgreSQL and S3 are saved and brought back by the same two commands; a backup moves one form into the other too."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from ml_backend import db, tables
from ml_backend.calls import pseudonyms
from ml_backend.context import Context, open_context
from ml_backend.errors import KaanError
from ml_backend.settings import Settings
from sync.commands import backup, backup_database
from tests.servers import moto, postgres

WHEN = datetime.fromisoformat("2026-11-30T08:30:00.123456+00:00")
AUDIO = b"RIFF" + bytes(range(256)) * 64
KEY = "recordings/2026/01/02/हिन्दी a.wav"


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.PostgresServer]:
    with postgres.running() as found:
        yield found


@pytest.fixture
def s3() -> Iterator[str]:
    with moto.running() as endpoint:
        yield endpoint


def production(folder: Path, url: str, endpoint: str, **more: Any) -> Settings:
    return Settings(
        _env_file=None, data_dir=folder, database_url=url, object_store="s3://", minio_endpoint=endpoint,
        minio_access_key="anybody", minio_secret_key="anything", minio_secure=False, **more,
    )  # fmt: skip


def value_of(column: sa.Column[Any], number: int) -> Any:
    """A value that a careless copy would change."""
    if column.name == "id" or column.foreign_keys:
        return number
    if isinstance(column.type, sa.JSON):
        return [sa.JSON.NULL, {"text": 'नमस्ते "you"', "share": 0.1, "none": None}, sa.null()][
            number % 3 if column.nullable else 1
        ]
    if isinstance(column.type, tables.UtcTime):
        return WHEN
    if isinstance(column.type, sa.Date):
        return WHEN.date() + timedelta(days=number)
    if isinstance(column.type, sa.LargeBinary):
        return bytes(range(256))
    if isinstance(column.type, sa.Boolean):
        return number % 2 == 0
    if isinstance(column.type, sa.Float):
        return 1 / 3
    if isinstance(column.type, sa.Integer | sa.BigInteger):
        return 2**40 + number if isinstance(column.type, sa.BigInteger) else number
    return f"{column.name[:6]} हाँ\\{number}"[: getattr(column.type, "length", None) or 99]


def fill(context: Context, rows: int = 3) -> None:
    context.store.ensure_bucket("call-recordings")
    context.store.ensure_bucket("kaan-audio")
    context.store.put_bytes("call-recordings", KEY, AUDIO)
    context.store.put_bytes("kaan-audio", "derived/a.wav", b"derived")
    with context.db.transaction() as connection:
        for table in tables.metadata.sorted_tables:
            for number in range(1, rows + 1):
                connection.execute(table.insert().values({c.name: value_of(c, number) for c in table.columns}))
        connection.execute(
            sa.update(tables.recordings).values(state="stored", bucket="call-recordings", object_key=KEY)
        )
        for table in tables.metadata.sorted_tables:
            if "id" in table.c and not context.db.is_sqlite:
                connection.execute(sa.text(f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), {rows})"))


def everything(context: Context) -> dict[str, list[tuple[Any, ...]]]:
    """All rows as they are stored, JSON as its text."""
    with context.db.reading() as connection:
        return {
            table.name: [
                tuple(row)
                for row in connection.execute(
                    sa.select(*(backup_database._read(c) for c in table.columns)).order_by(*table.primary_key.columns)
                )
            ]
            for table in tables.metadata.sorted_tables
        }


def made(settings: Settings) -> Context:
    db.upgrade(settings.database)
    return open_context(settings)


def test_every_table_of_the_database_is_known_to_the_copy(server):
    url = server.database()
    db.upgrade(url)
    with sa.create_engine(url).connect() as connection:
        there = set(sa.inspect(connection).get_table_names())
    assert there - {"alembic_version"} == set(tables.metadata.tables)


def test_postgresql_and_s3_come_back_as_they_were_and_go_on(server, tmp_path, s3):
    before = production(tmp_path / "one", server.database(), s3)
    context = made(before)
    fill(context)
    key = pseudonyms.key_of(before)
    with context.db.transaction() as connection:  # JSON is kept to the letter
        connection.execute(
            sa.text('UPDATE recordings SET quality = CAST(\'{"a": 1e3, "b": 0.10}\' AS JSON) WHERE id = 2')
        )
    rows = everything(context)
    assert all(len(each) == 3 for each in rows.values())
    said = backup.write(before, tmp_path / "kaan.tar")
    assert said["missing"] == 0
    assert said["files"] == 4  # database, key, and two objects
    for bucket, name in (("call-recordings", KEY), ("kaan-audio", "derived/a.wav")):
        context.store.delete(bucket, name)
    context.db.dispose()

    after = production(tmp_path / "two", server.database(), s3)
    backup.read(after, tmp_path / "kaan.tar")
    context = open_context(after)
    assert everything(context) == rows
    assert pseudonyms.key_of(after) == key
    context.store.fetch("call-recordings", KEY, tmp_path / "back.wav")
    assert (tmp_path / "back.wav").read_bytes() == AUDIO
    with context.db.transaction() as connection:  # a new row gets the next number
        new = connection.execute(tables.tombstones.insert().values(kind="k", identity="new", why="w"))
        assert new.inserted_primary_key[0] == 4
    context.db.dispose()


@pytest.mark.parametrize("way", ["to-servers", "to-a-folder"])
def test_a_backup_moves_one_form_into_the_other(server, tmp_path, s3, way):
    forms = [
        production(tmp_path / "servers", server.database(), s3),
        Settings(_env_file=None, data_dir=tmp_path / "folder"),
    ]
    before, after = forms if way == "to-a-folder" else reversed(forms)
    context = made(before)
    fill(context)
    rows = everything(context)
    backup.write(before, tmp_path / "kaan.tar")
    context.db.dispose()
    backup.read(after, tmp_path / "kaan.tar")
    context = open_context(after)
    assert everything(context) == rows
    context.store.fetch("call-recordings", KEY, tmp_path / "back.wav")
    assert (tmp_path / "back.wav").read_bytes() == AUDIO
    context.db.dispose()


def test_the_rows_are_of_one_moment_while_others_write(server, tmp_path, s3, monkeypatch):
    """A row that is written between two tables is in neither."""
    settings = production(tmp_path / "one", server.database(), s3)
    context = made(settings)
    fill(context)
    real, done = backup_database._read, threading.Event()

    def read_slowly(column: sa.Column[Any]) -> Any:
        if column.table is tables.samples and not done.is_set():  # the last table: the snapshot began long ago
            done.set()
            with context.db.transaction() as connection:
                connection.execute(sa.delete(tables.samples))
        return real(column)

    monkeypatch.setattr(backup_database, "_read", read_slowly)
    backup.write(settings, tmp_path / "kaan.tar")
    assert done.is_set()
    context.db.dispose()
    after = Settings(_env_file=None, data_dir=tmp_path / "two")
    backup.read(after, tmp_path / "kaan.tar")
    context = open_context(after)
    assert len(everything(context)["samples"]) == 3
    context.db.dispose()


def test_a_restore_into_a_database_with_rows_is_refused_and_changes_nothing(server, tmp_path, s3):
    settings = production(tmp_path / "one", server.database(), s3)
    context = made(settings)
    fill(context)
    backup.write(settings, tmp_path / "kaan.tar")
    rows = everything(context)  # with when the last backup was made
    with pytest.raises(KaanError, match="overwrites nothing"):
        backup.read(settings, tmp_path / "kaan.tar")
    assert everything(context) == rows
    context.db.dispose()


def test_an_object_of_another_content_is_not_overwritten_and_no_row_is_restored(server, tmp_path, s3):
    before = production(tmp_path / "one", server.database(), s3)
    context = made(before)
    fill(context)
    backup.write(before, tmp_path / "kaan.tar")
    context.store.delete("call-recordings", KEY)
    context.store.put_bytes("call-recordings", KEY, b"another recording")
    context.db.dispose()
    after = production(tmp_path / "two", server.database(), s3)
    with pytest.raises(KaanError, match="already holds other bytes"):
        backup.read(after, tmp_path / "kaan.tar")
    context = open_context(after)
    assert not any(everything(context).values())
    context.db.dispose()


def test_a_damaged_backup_reaches_neither_server(server, tmp_path, s3):
    before = production(tmp_path / "one", server.database(), s3)
    context = made(before)
    fill(context)
    backup.write(before, tmp_path / "kaan.tar")
    for bucket, name in (("call-recordings", KEY), ("kaan-audio", "derived/a.wav")):
        context.store.delete(bucket, name)
    context.db.dispose()
    whole = (tmp_path / "kaan.tar").read_bytes()
    at = whole.index(AUDIO[:64])
    (tmp_path / "kaan.tar").write_bytes(whole[:at] + b"X" + whole[at + 1 :])
    after = production(tmp_path / "two", server.database(), s3)
    with pytest.raises(KaanError, match="not a whole backup"):
        backup.read(after, tmp_path / "kaan.tar")
    context = open_context(after)
    assert not any(everything(context).values())
    assert context.store.stat("call-recordings", KEY) is None
    context.db.dispose()


def test_a_recording_whose_object_is_not_in_the_store_is_counted(server, tmp_path, s3):
    settings = production(tmp_path / "one", server.database(), s3)
    context = made(settings)
    fill(context)
    context.store.delete("call-recordings", KEY)
    context.db.dispose()
    assert backup.write(settings, tmp_path / "kaan.tar")["missing"] == 1


def test_without_objects_only_rows_travel_and_the_bucket_stays_as_it_is(server, tmp_path, s3):
    before = production(tmp_path / "one", server.database(), s3)
    context = made(before)
    fill(context)
    rows = everything(context)
    assert backup.write(before, tmp_path / "kaan.tar", objects=False)["files"] == 1
    context.db.dispose()
    after = production(tmp_path / "two", server.database(), s3)
    backup.read(after, tmp_path / "kaan.tar", objects=False)
    context = open_context(after)
    assert everything(context) == rows
    assert context.store.stat("call-recordings", KEY) is not None
    context.db.dispose()


def test_a_store_without_a_bucket_yet_is_saved_too(server, tmp_path, s3):
    settings = production(tmp_path / "one", server.database(), s3)
    made(settings).db.dispose()
    assert backup.write(settings, tmp_path / "kaan.tar")["files"] >= 1
    with pytest.raises(KaanError):
        backup.write(production(tmp_path / "x", server.database(), s3), tmp_path / "other.tar")  # no tables yet
