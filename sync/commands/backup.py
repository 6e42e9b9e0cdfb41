"""`backup` and `restore`: everything the embedded form keeps, in one file.

The database is copied through SQLite's backup interface while everything runs; objects are immutable, so copying
them afterwards gives a whole that fits. A manifest with the SHA-256 of every file comes last: a file without it is no
backup. With PostgreSQL or S3 use their own tools (see the README); Label Studio's data and its SECRET_KEY are its own.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from ml_backend import db, private, settings, tables
from ml_backend.calls.pseudonyms import KEY_FILE
from ml_backend.errors import ConfigurationError, InvalidInput, PermanentError, RetryableError
from ml_backend.settings import Settings
from ml_backend.storage.object_store import need_space, valid_bucket, valid_key

MANIFEST, DATABASE, OBJECTS = "manifest.json", "kaan.db", "objects"
FORM = 1
_PIECE = 1 << 20
_LARGEST_MANIFEST, _LONGEST_PART = 1 << 30, 255

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def backup(
    file: Annotated[Path, typer.Argument(help="The backup to write, e.g. kaan.tar. Must not exist.", dir_okay=False)],
    as_json: AsJson = False,
) -> None:
    """Save database and objects of the embedded form into one file, while everything runs.

    Example: python -m ml_backend backup kaan-2026-11-22.tar
    """
    facts = write(settings.load(), file)
    _say(facts, f"Saved {facts['files']} files, {facts['bytes'] / 1e6:.1f} MB, to {file}.", as_json=as_json)


def restore(
    file: Annotated[Path, typer.Argument(help="A file `backup` wrote.", exists=True, dir_okay=False)],
    as_json: AsJson = False,
) -> None:
    """Bring a backup into an empty DATA_DIR. Everything is verified first; nothing is overwritten.

    Example: python -m ml_backend restore kaan-2026-11-22.tar
    """
    facts = read(settings.load(), file)
    _say(facts, f"Restored {facts['files']} files, {facts['bytes'] / 1e6:.1f} MB, and verified them.", as_json=as_json)


def write(found: Settings, file: Path) -> dict[str, Any]:
    """Write a backup beside its place, then rename it there; gives what it holds."""
    database, objects = _places(found)
    if file.exists():
        raise InvalidInput("backup-exists", f"{file} exists already.", "Choose another name.")
    if not database.exists():
        raise ConfigurationError("nothing-to-save", f"There is no database at {database}.", "Check DATA_DIR.")
    entries: dict[str, dict[str, Any]] = {}
    aside = file.with_name(f".{file.name}.writing")
    try:
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)  # closed to others from the first byte
        with (
            tempfile.TemporaryDirectory(prefix="kaan-backup-") as folder,
            os.fdopen(handle, "wb") as raw,
            tarfile.open(fileobj=raw, mode="w") as archive,
        ):
            copy = Path(folder) / DATABASE
            with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target)
                target.execute("PRAGMA journal_mode=DELETE")
            _put(archive, copy, DATABASE, entries)
            if (key := found.data_dir / KEY_FILE).exists():  # without it no number is recognised again
                _put(archive, key, KEY_FILE, entries)
            for path in sorted(objects.rglob("*")) if objects.exists() else ():
                name = path.relative_to(objects)
                if path.is_file() and not path.is_symlink() and not name.parts[0].startswith("."):
                    _put(archive, path, f"{OBJECTS}/{name.as_posix()}", entries)
            manifest = {
                "form": FORM,
                "made_at": tables.now().isoformat(),
                "schema": db.SCHEMA_VERSION,
                "files": entries,
            }
            text = json.dumps(manifest, ensure_ascii=False).encode()
            info = tarfile.TarInfo(MANIFEST)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
        aside.chmod(0o600)
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)
    return {"files": len(entries), "bytes": sum(entry["size_bytes"] for entry in entries.values())}


def read(found: Settings, file: Path) -> dict[str, Any]:
    """Unpack and verify aside, then move everything into its place, or nothing; gives what it held."""
    database, objects = _places(found)
    beside = [database.with_name(database.name + end) for end in ("", "-wal", "-shm", "-journal")]
    if any(path.exists() for path in beside) or (objects.exists() and any(objects.iterdir())):
        raise InvalidInput(
            "restore-not-empty",
            f"There is data in {found.data_dir} already, and a restore overwrites nothing.",
            "Stop everything, move that folder away, and restore again.",
        )
    private.folder(found.data_dir)
    need_space(found.data_dir, more_bytes=file.stat().st_size, least_mb=0.001)
    with _errors(), tempfile.TemporaryDirectory(prefix=".restore-", dir=found.data_dir) as name:
        folder = Path(name)
        entries = _unpack(file, folder)
        _check_database(folder / DATABASE)
        objects.parent.mkdir(parents=True, exist_ok=True)
        database.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as undo:
            if (folder / OBJECTS).exists():
                if objects.exists():
                    objects.rmdir()
                undo.callback(shutil.rmtree, objects, ignore_errors=True)
                shutil.move(folder / OBJECTS, objects)
            if (folder / KEY_FILE).exists():  # in place of one that a command has made here meanwhile
                (folder / KEY_FILE).chmod(0o600)
                (folder / KEY_FILE).replace(found.data_dir / KEY_FILE)
            (folder / DATABASE).chmod(0o600)
            undo.callback(database.unlink, missing_ok=True)
            shutil.move(folder / DATABASE, database)  # last: a database says that the restore is whole
            undo.pop_all()
    return {"files": len(entries), "bytes": sum(entry["size_bytes"] for entry in entries.values())}


def _unpack(file: Path, folder: Path) -> dict[str, dict[str, Any]]:
    """Files of a backup under `folder`, each as long and with the hash the manifest says, and no others."""
    seen: dict[str, tuple[str, int]] = {}
    manifest: Any = None
    try:
        with tarfile.open(file, "r:") as archive:
            for member in archive:
                source = archive.extractfile(member) if member.isreg() else None
                if source is None:
                    raise _broken("holds a link, a folder or a device, which no backup has")
                if member.name == MANIFEST and manifest is None:
                    if member.size > _LARGEST_MANIFEST:
                        raise _broken("has a manifest that is too long")
                    manifest = json.loads(source.read())
                    continue
                _check_name(member.name)
                if member.name in seen:
                    raise _broken("holds a file twice")
                target = folder / member.name
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("xb") as sink:
                    seen[member.name] = _copied(source, sink)
    except (tarfile.TarError, EOFError, ValueError, RecursionError, OverflowError) as error:
        raise _broken("cannot be read to its end") from error
    wanted = _wanted(manifest)
    if {name: (entry["sha256"], entry["size_bytes"]) for name, entry in wanted.items()} != seen:
        raise _broken("does not hold what its manifest says")
    if DATABASE not in wanted:
        raise _broken("holds no database")
    return wanted


def _wanted(manifest: Any) -> dict[str, dict[str, Any]]:
    """The files that the manifest names."""
    if not isinstance(manifest, dict) or manifest.get("form") != FORM:
        raise _broken("has no manifest")
    if manifest.get("schema") != db.SCHEMA_VERSION:
        raise ConfigurationError(
            "schema-version",
            f"The backup is at schema {str(manifest.get('schema'))[:20]}, this release needs {db.SCHEMA_VERSION}.",
            "Restore it with the release that made it, then run `python -m ml_backend db upgrade` with this one.",
        )
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(
        isinstance(entry, dict) and {"sha256", "size_bytes"} <= entry.keys() and isinstance(entry["size_bytes"], int)
        for entry in files.values()
    ):
        raise _broken("has a manifest that cannot be read")
    return files


def _check_name(name: str) -> None:
    """The database, the key, or an object under a name that a store takes."""
    if name in (DATABASE, KEY_FILE):
        return
    try:
        top, bucket, key = name.split("/", 2)
        if top != OBJECTS or valid_bucket(bucket) != bucket or valid_key(key) != key:
            raise ValueError
        if any(len(part.encode()) > _LONGEST_PART for part in name.split("/")):
            raise ValueError
    except (InvalidInput, ValueError):
        raise _broken("holds a file under a name that no backup has") from None


def _check_database(path: Path) -> None:
    try:
        with closing(sqlite3.connect(path)) as opened:
            answer = opened.execute("PRAGMA quick_check(1)").fetchone()[0]
            version = opened.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.DatabaseError:
        answer, version = "damaged", None
    if answer != "ok" or version != (db.SCHEMA_VERSION,):
        raise _broken("holds a database that is damaged or of another release")


@contextmanager
def _errors() -> Iterator[None]:
    """The file system's refusals, as sentences."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RetryableError("disk-full", "There is no space left to restore.", "Free some disk space.") from error
        if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.EINVAL):
            raise _broken("holds two files of which only one can be there") from error
        raise ConfigurationError(
            "restore-impossible", f"DATA_DIR cannot be written ({error.strerror}).", "Correct its owner and rights."
        ) from error


def _put(archive: tarfile.TarFile, path: Path, name: str, entries: dict[str, dict[str, Any]]) -> None:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        info = archive.gettarinfo(str(path), arcname=name)
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.type = tarfile.REGTYPE  # an object may be a hard link of another
        info.size = path.stat().st_size

        class Counted:
            def read(self, size: int = -1) -> bytes:
                piece = stream.read(size)
                digest.update(piece)
                return piece

        archive.addfile(info, Counted())
    entries[name] = {"sha256": digest.hexdigest(), "size_bytes": info.size}


def _copied(source: IO[bytes], sink: IO[bytes]) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    while piece := source.read(_PIECE):
        digest.update(piece)
        size += len(piece)
        sink.write(piece)
    return digest.hexdigest(), size


def _places(found: Settings) -> tuple[Path, Path]:
    """(database file, object directory) of the embedded form."""
    if not found.database.startswith("sqlite:///") or found.objects == "s3://":
        raise ConfigurationError(
            "not-embedded",
            "This deployment uses PostgreSQL or S3, which are saved with their own tools.",
            "See `Backup` in the README: pg_dump and a copy of the bucket.",
        )
    return Path(found.database.removeprefix("sqlite:///")), Path(found.objects)


def _broken(how: str) -> PermanentError:
    return PermanentError("backup-broken", f"The file is not a whole backup: it {how}.", "Use another copy.")


def _say(facts: dict[str, Any], sentence: str, *, as_json: bool) -> None:
    typer.echo(json.dumps(facts) if as_json else sentence)
