"""One file brings everything back, or says why not and changes nothing."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from ml_backend import db, tables
from ml_backend.calls import pseudonyms
from ml_backend.context import open_context
from ml_backend.errors import KaanError
from ml_backend.models import registry
from ml_backend.serving import default_model
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
    assert {**backup.read(empty, tmp_path / "kaan.tar"), "missing": 0} == said

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
    with pytest.raises(KaanError, match="under a name that no backup has"):
        backup.read(empty, tmp_path / "evil.tar")


def test_a_server_that_does_not_answer_is_a_sentence_and_leaves_no_file(tmp_path: Path) -> None:
    away = Settings(_env_file=None, data_dir=tmp_path, database_url="postgresql://kaan@127.0.0.1:1/kaan")
    with pytest.raises(KaanError, match="The database did not accept"):
        backup.write(away, tmp_path / "x.tar")
    assert not list(tmp_path.iterdir())


def _altered(file: Path, target: Path, change) -> None:
    """The backup with `change(members)` made to its list of (TarInfo, bytes)."""
    with tarfile.open(file) as archive:
        members = [(member, archive.extractfile(member).read()) for member in archive]
    change(members)
    with tarfile.open(target, "w") as archive:
        for member, data in members:
            member.size = len(data) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(data))


def _also(name: str, data: bytes = b"x", *, kind: bytes = tarfile.REGTYPE, to: str = "", listed: bool = True):
    def change(members) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, to
        members.insert(0, (info, data if kind == tarfile.REGTYPE else b""))
        if listed:
            manifest = json.loads(members[-1][1])
            manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
            members[-1] = (members[-1][0], json.dumps(manifest).encode())

    return change


STORED = "objects/call-recordings/recordings/2026/01/02/a.wav"


@pytest.mark.parametrize(
    "change",
    [
        _also("objects/call-recordings/link", kind=tarfile.SYMTYPE, to="/etc/passwd"),
        _also("objects/call-recordings/hard", kind=tarfile.LNKTYPE, to="kaan.db"),
        _also("objects/call-recordings/pipe", kind=tarfile.FIFOTYPE),
        _also("objects/call-recordings/device", kind=tarfile.CHRTYPE),
        _also("objects/call-recordings/folder", kind=tarfile.DIRTYPE),
        _also("/etc/cron.d/evil"),
        _also("objects/../../outside"),
        _also("objects/call-recordings/./a"),
        _also("objects/call-recordings//a"),
        _also("objects/call-recordings/a\nb"),
        _also("objects/Upper_Case/a"),
        _also("objects/a"),
        _also("kaan.db-wal"),
        _also("pseudonym.key/inside"),
        _also("unknown"),
        _also(f"objects/call-recordings/{'n' * 300}"),
        _also(f"objects/call-recordings/{'long/' * 300}x"),
        _also(STORED, b"another"),
        _also(f"{STORED}/below"),
        _also("objects/call-recordings/recordings"),
        _also("objects/call-recordings/b", listed=False),
        lambda members: members.pop(0),
        lambda members: members.__setitem__(-1, (members[-1][0], b"[" * 100_000)),
        lambda members: members.__setitem__(-1, (members[-1][0], b'{"form": 1, "files": []}')),
        lambda members: members.__setitem__(0, (members[0][0], b"no database" * 100)),
    ],
)  # fmt: skip
def test_links_long_and_conflicting_names_are_a_sentence_and_nothing_is_left_behind(filled, tmp_path, change) -> None:
    backup.write(filled, tmp_path / "kaan.tar")
    _altered(tmp_path / "kaan.tar", tmp_path / "evil.tar", change)
    empty = Settings(_env_file=None, data_dir=tmp_path / "elsewhere" / "data")
    with pytest.raises(KaanError) as refused:
        backup.read(empty, tmp_path / "evil.tar")
    assert refused.value.code in ("backup-broken", "schema-version")
    assert list(empty.data_dir.iterdir()) == []
    assert sorted(path.name for path in (tmp_path / "elsewhere").iterdir()) == ["data"]


def test_an_altered_file_that_is_still_right_is_restored(filled, tmp_path) -> None:
    """Else the test above would prove nothing."""
    backup.write(filled, tmp_path / "kaan.tar")
    _altered(tmp_path / "kaan.tar", tmp_path / "more.tar", _also("objects/call-recordings/b c/हिन्दी.wav"))
    empty = Settings(_env_file=None, data_dir=tmp_path / "elsewhere")
    backup.read(empty, tmp_path / "more.tar")
    assert (empty.data_dir / "objects/call-recordings/b c/हिन्दी.wav").read_bytes() == b"x"


def test_a_restore_that_fails_at_its_last_step_leaves_nothing_and_works_afterwards(
    filled, tmp_path, monkeypatch
) -> None:
    backup.write(filled, tmp_path / "kaan.tar")
    empty = Settings(_env_file=None, data_dir=tmp_path / "elsewhere")
    real = shutil.move

    def move(source: Path, target: Path) -> None:
        if Path(target).name == "kaan.db":
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    monkeypatch.setattr(backup.shutil, "move", move)
    with pytest.raises(KaanError, match="no space left"):
        backup.read(empty, tmp_path / "kaan.tar")
    assert [path for path in empty.data_dir.rglob("*") if path.is_file()] == []
    monkeypatch.undo()
    backup.read(empty, tmp_path / "kaan.tar")


def test_a_log_of_a_database_that_is_gone_is_not_mixed_with_the_one_restored(filled, tmp_path) -> None:
    backup.write(filled, tmp_path / "kaan.tar")
    empty = Settings(_env_file=None, data_dir=tmp_path / "elsewhere")
    empty.data_dir.mkdir()
    (empty.data_dir / "kaan.db-wal").write_bytes(b"of another one")
    with pytest.raises(KaanError, match="overwrites nothing"):
        backup.read(empty, tmp_path / "kaan.tar")


def test_what_is_restored_and_the_backup_itself_are_for_their_owner_only(filled, tmp_path) -> None:
    backup.write(filled, tmp_path / "kaan.tar")
    empty = Settings(_env_file=None, data_dir=tmp_path / "elsewhere")
    backup.read(empty, tmp_path / "kaan.tar")
    for path in (tmp_path / "kaan.tar", empty.data_dir, empty.data_dir / "kaan.db"):
        assert path.stat().st_mode & 0o077 == 0, path
