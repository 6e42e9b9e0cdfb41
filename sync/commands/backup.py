"""`backup` and `restore`: everything Kaan keeps, in one file, whichever database and store it uses.

The database is copied as of one moment while everything runs. Objects are immutable, so copying them afterwards is
consistent. A manifest with the SHA-256 of every file comes last: a file without it is no backup. The same file restores
SQLite and a folder, or PostgreSQL and S3. Label Studio's data and its SECRET_KEY are not included.
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

from ml_backend import db, file_permissions, settings, tables
from ml_backend.calls.pseudonyms import KEY_FILE
from ml_backend.commands import printing
from ml_backend.errors import ConfigurationError, InvalidInput, PermanentError, RetryableError
from ml_backend.monitoring import work_numbers
from ml_backend.settings import Settings
from ml_backend.storage.configured_store import open_store
from ml_backend.storage.object_store import CHECKS, ObjectInfo, ObjectStore, need_space, valid_bucket, valid_key
from sync.commands import backup_database

MANIFEST, DATABASE, OBJECTS = "manifest.json", "kaan.db", "objects"
FORM = 1
_PIECE = 1 << 20
_LARGEST_MANIFEST, _LONGEST_PART = 1 << 30, 255

WithObjects = Annotated[
    bool,
    typer.Option(
        "--objects/--no-objects", help="Recordings, datasets and models too; not for a bucket copied elsewhere."
    ),
]


def backup(
    file: Annotated[Path, typer.Argument(help="The backup to write, e.g. kaan.tar. Must not exist.", dir_okay=False)],
    objects: WithObjects = True,
    as_json: printing.AsJson = False,
) -> None:
    """Save database and objects into one file, while everything runs: SQLite or PostgreSQL, a folder or S3.

    Example: python -m ml_backend backup kaan-2026-11-22.tar
    """
    facts = write(settings.load(), file, objects=objects)
    sentence = f"Saved {facts['files']} files, {facts['bytes'] / 1e6:.1f} MB, to {file}."
    if facts["missing"]:
        sentence += f" {facts['missing']} recordings have no object in the store: `python -m ml_backend doctor`."
    printing.result(facts, sentence, as_json=as_json)


def restore(
    file: Annotated[Path, typer.Argument(help="A file `backup` wrote.", exists=True, dir_okay=False)],
    objects: WithObjects = True,
    as_json: printing.AsJson = False,
) -> None:
    """Bring a backup back, into an empty DATA_DIR or an empty PostgreSQL database and a bucket. Nothing is overwritten.

    Example: python -m ml_backend restore kaan-2026-11-22.tar
    """
    facts = read(settings.load(), file, objects=objects)
    sentence = f"Restored {facts['files']} files, {facts['bytes'] / 1e6:.1f} MB, and verified them."
    printing.result(facts, sentence, as_json=as_json)


def write(found: Settings, file: Path, *, objects: bool = True) -> dict[str, Any]:
    """Write a backup under a temporary name, then rename it; returns its contents."""
    if file.exists():
        raise InvalidInput("backup-exists", f"{file} exists already.", "Choose another name.")
    if not file.absolute().parent.is_dir():
        raise InvalidInput("no-such-folder", f"There is no folder {file.parent}.", "Make it, or correct the path.")
    if (database := _database_file(found)) and not database.exists():
        raise ConfigurationError("nothing-to-save", f"There is no database at {database}.", "Check DATA_DIR.")
    entries: dict[str, dict[str, Any]] = {}
    aside = file.with_name(f".{file.name}.writing")
    try:
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)  # for its owner only, from the first byte
        with (
            tempfile.TemporaryDirectory(prefix="kaan-backup-") as folder,
            os.fdopen(handle, "wb") as raw,
            tarfile.open(fileobj=raw, mode="w") as archive,
        ):
            copy = Path(folder) / DATABASE
            backup_database.save(found.database, copy)
            _put(archive, copy, DATABASE, entries)
            if (key := found.data_dir / KEY_FILE).exists():  # pseudonyms depend on it
                _put(archive, key, KEY_FILE, entries)
            for name, path in _objects(found, Path(folder)) if objects else ():
                _put(archive, path, f"{OBJECTS}/{name}", entries)
            missing = len(_kept(copy, found) - entries.keys()) if objects else 0
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
    facts = {"files": len(entries), "bytes": _bytes(entries), "missing": missing}
    work_numbers.backup_made(found, facts)
    return facts


def read(found: Settings, file: Path, *, objects: bool = True) -> dict[str, Any]:
    """Unpack and verify in a temporary folder, then move everything into place; returns the contents.

    A folder gets everything or nothing. A bucket keeps objects uploaded before a failure, and a repeat continues: the
    same bytes under a key are accepted, others are refused. The rows come last, in one transaction.
    """
    database, store = _database_file(found), None if _in_folder(found) else open_store(found)
    _refuse_unless_empty(found, objects=objects)
    file_permissions.folder(found.data_dir)
    need_space(found.data_dir, more_bytes=file.stat().st_size if store is None else 0, least_mb=0.001)
    with _errors(), tempfile.TemporaryDirectory(prefix=".restore-", dir=found.data_dir) as name:
        folder = Path(name)
        entries = _unpack(file, folder, objects=store is None and objects)
        _check_database(folder / DATABASE)
        with ExitStack() as undo:
            if store is not None and objects:
                _upload(file, store, folder)
            elif (folder / OBJECTS).exists():
                place = Path(found.objects)
                place.parent.mkdir(parents=True, exist_ok=True)
                if place.exists():
                    place.rmdir()
                undo.callback(shutil.rmtree, place, ignore_errors=True)
                shutil.move(folder / OBJECTS, place)
            if (folder / KEY_FILE).exists():  # replaces one that a command has created meanwhile
                (folder / KEY_FILE).chmod(0o600)
                (folder / KEY_FILE).replace(found.data_dir / KEY_FILE)
            if database is None:
                backup_database.load(folder / DATABASE, found.database)
            else:
                database.parent.mkdir(parents=True, exist_ok=True)
                (folder / DATABASE).chmod(0o600)
                undo.callback(database.unlink, missing_ok=True)
                shutil.move(folder / DATABASE, database)  # last: its presence marks a complete restore
            undo.pop_all()
    return {"files": len(entries), "bytes": _bytes(entries)}


def _objects(found: Settings, folder: Path) -> Iterator[tuple[str, Path]]:
    """(bucket/key, a temporary file with its bytes) of every object that Kaan writes."""
    if _in_folder(found):
        top = Path(found.objects)
        for path in sorted(top.rglob("*")) if top.exists() else ():
            name = path.relative_to(top)
            if path.is_file() and not path.is_symlink() and not name.parts[0].startswith("."):
                yield name.as_posix(), path
        return
    store, copy = open_store(found), folder / "object"
    for bucket in _our_buckets(found):
        for info in _listed(store, bucket):
            if _is_ours(info.key):
                try:
                    store.fetch(bucket, info.key, copy)
                except PermanentError as error:  # erased since the listing
                    if error.code != "object-missing":
                        raise
                    continue
                yield f"{bucket}/{info.key}", copy
                copy.unlink()


def _listed(store: ObjectStore, bucket: str) -> Iterator[ObjectInfo]:
    try:
        yield from store.list(bucket)
    except ConfigurationError as error:
        if error.code != "bucket-missing":  # there is no bucket before the first recording
            raise


def _is_ours(key: str) -> bool:
    try:
        return not valid_key(key).startswith(CHECKS)
    except InvalidInput:  # a foreign object: our keys have another form
        return False


def _kept(copy: Path, found: Settings) -> set[str]:
    """The objects that the saved rows refer to, by their name in the backup."""
    wanted = "SELECT bucket, object_key FROM recordings WHERE object_key IS NOT NULL AND state IN ('stored', 'ready')"
    ours = _our_buckets(found)
    with closing(sqlite3.connect(copy)) as opened:
        return {f"{OBJECTS}/{bucket}/{key}" for bucket, key in opened.execute(wanted) if bucket in ours}


def _upload(file: Path, store: ObjectStore, folder: Path) -> None:
    """The objects of a verified backup into their buckets, one at a time."""
    piece, there = folder / "object", set[str]()
    with tarfile.open(file, "r:") as archive:
        for member in archive:
            top, _, name = member.name.partition("/")
            source = archive.extractfile(member) if top == OBJECTS else None
            if source is None:
                continue
            bucket, _, key = name.partition("/")
            if bucket not in there:
                store.ensure_bucket(bucket)
                there.add(bucket)
            with piece.open("wb") as sink:
                _copied(source, sink)
            store.put_file(bucket, key, piece)


def _unpack(file: Path, folder: Path, *, objects: bool = True) -> dict[str, dict[str, Any]]:
    """Unpack a backup under `folder`: exactly the manifest's files, with their lengths and hashes.

    Without `objects`, objects are verified and not kept.
    """
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
                _check_name(member.name, as_file=objects)
                if member.name in seen:
                    raise _broken("holds a file twice")
                if not objects and member.name.startswith(f"{OBJECTS}/"):
                    with Path(os.devnull).open("wb") as sink:
                        seen[member.name] = _copied(source, sink)
                    continue
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


def _check_name(name: str, *, as_file: bool) -> None:
    """Raise an error unless this is the database, the key, or an object under a valid name."""
    if name in (DATABASE, KEY_FILE):
        return
    try:
        top, bucket, key = name.split("/", 2)
        if top != OBJECTS or valid_bucket(bucket) != bucket or valid_key(key) != key:
            raise ValueError
        if as_file and any(len(part.encode()) > _LONGEST_PART for part in name.split("/")):
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
    """File system errors as ours."""
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
        info.type = tarfile.REGTYPE  # an object may be a hard link to another
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


def _database_file(found: Settings) -> Path | None:
    """The database's file; None for a server."""
    return Path(found.database.removeprefix("sqlite:///")) if found.database.startswith("sqlite:///") else None


def _in_folder(found: Settings) -> bool:
    return found.objects != "s3://"


def _our_buckets(found: Settings) -> list[str]:
    """The buckets that Kaan writes to. Others in SCAN_BUCKETS are only read, and their owner backs them up."""
    return sorted({found.audio_bucket, found.recordings_bucket})


def _refuse_unless_empty(found: Settings, *, objects: bool) -> None:
    place = Path(found.objects) if _in_folder(found) else None
    full = objects and place is not None and place.exists() and any(place.iterdir())
    if database := _database_file(found):
        full = full or any(database.with_name(database.name + end).exists() for end in ("", "-wal", "-shm", "-journal"))
    if full:
        raise InvalidInput(
            "restore-not-empty",
            f"There is data in {found.data_dir} already, and a restore overwrites nothing.",
            "Stop everything, move that folder away, and restore again.",
        )
    if database is None:
        backup_database.refuse_unless_empty(found.database)


def _bytes(entries: dict[str, dict[str, Any]]) -> int:
    return sum(entry["size_bytes"] for entry in entries.values())


def _broken(how: str) -> PermanentError:
    return PermanentError("backup-broken", f"The file is not a whole backup: it {how}.", "Use another copy.")
