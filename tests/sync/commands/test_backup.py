"""One file brings everything back, or says why not and changes nothing."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest

from ml_backend import db, default_model, registry, tables
from ml_backend.calls import pseudonyms
from ml_backend.context import open_context
from ml_backend.errors import ConfigurationError, KaanError
from ml_backend.settings import Settings
from sync.commands import backup


@pytest.fixture
def filled(tmp_path: Path) -> Settings:
    settings = Settings(_env_file=None, data_dir=tmp_path / "data")
    db.upgrade(settings.database)
    context = open_context(settings)
    context.store.ensure_bucket("call-recordings")
    context.store.put_bytes("call-recordings", "recordings/2026/01/02/a.wav", b"audio" * 1000)
    with context.db.transaction() as connection:
        connection.execute(tables.tombstones.insert().values(kind="recording", identity="s3://x/y", why="asked"))
    context.db.dispose()
    return settings


def test_a_restored_backup_holds_the_same_rows_and_objects(filled: Settings, tmp_path: Path) -> None:
    said = backup.write(filled, tmp_path / "kaan.tar")
    empty = Settings(_env_file=None, data_dir=tmp_path / "elsewhere")
    assert backup.read(empty, tmp_path / "kaan.tar") == said

    context = open_context(empty)
    assert [row.identity for row in context.db.rows(tables.tombstones.select())] == ["s3://x/y"]
    stored = context.store.open_local("call-recordings", "recordings/2026/01/02/a.wav")
    assert stored is not None
    assert stored.read_bytes() == b"audio" * 1000
    context.db.dispose()


def test_the_model_that_serves_is_saved_too(filled: Settings, tmp_path: Path) -> None:
    context = open_context(filled)
    default_model.ensure(context)
    context.db.dispose()
    backup.write(filled, tmp_path / "kaan.tar")
    shutil.rmtree(filled.data_dir)
    empty = Settings(_env_file=None, data_dir=tmp_path / "elsewhere")
    backup.read(empty, tmp_path / "kaan.tar")
    context = open_context(empty)
    assert Path(registry.verified(context, registry.champion(context))).is_relative_to(empty.data_dir)
    context.db.dispose()


def test_the_key_of_the_pseudonyms_is_saved_too(filled: Settings, tmp_path: Path) -> None:
    """Without it nobody's calls could be found again, not even to erase them."""
    key = pseudonyms.key_of(filled)
    backup.write(filled, tmp_path / "kaan.tar")
    assert (tmp_path / "kaan.tar").stat().st_mode & 0o077 == 0
    empty = Settings(_env_file=None, data_dir=tmp_path / "elsewhere")
    backup.read(empty, tmp_path / "kaan.tar")
    assert pseudonyms.key_of(empty) == key
    assert (empty.data_dir / pseudonyms.KEY_FILE).stat().st_mode & 0o077 == 0


def test_a_restore_overwrites_nothing(filled: Settings, tmp_path: Path) -> None:
    backup.write(filled, tmp_path / "kaan.tar")
    with pytest.raises(KaanError, match="overwrites nothing"):
        backup.read(filled, tmp_path / "kaan.tar")
    with pytest.raises(KaanError, match="exists already"):
        backup.write(filled, tmp_path / "kaan.tar")


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "not-tar"])
def test_a_damaged_backup_is_refused_and_leaves_the_folder_empty(filled: Settings, tmp_path: Path, damage: str) -> None:
    file = tmp_path / "kaan.tar"
    backup.write(filled, file)
    whole = file.read_bytes()
    at = whole.index(b"audioaudio")
    file.write_bytes(
        {
            "cut": whole[: len(whole) // 2],
            "changed": whole[:at] + b"AUDIO" + whole[at + 5 :],
            "empty": b"",
            "not-tar": b"hello" * 500,
        }[damage]
    )
    empty = Settings(_env_file=None, data_dir=tmp_path / "elsewhere")
    with pytest.raises(KaanError, match="not a whole backup"):
        backup.read(empty, file)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_backup_that_leads_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    evil = tmp_path / "passwd"
    evil.write_text("x")
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        archive.add(evil, arcname="../../outside")
    empty = Settings(_env_file=None, data_dir=tmp_path / "elsewhere")
    with pytest.raises(KaanError, match="outside"):
        backup.read(empty, tmp_path / "evil.tar")


def test_other_forms_are_told_to_use_their_own_tools(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="PostgreSQL or S3"):
        backup.write(Settings(_env_file=None, data_dir=tmp_path, database_url="postgresql://h/d"), tmp_path / "x.tar")
