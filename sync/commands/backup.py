"""`backup` and `restore`: everything the embedded form keeps, in one file.

The database is copied through SQLite's backup interface while everything runs; objects are immutable, so copying
them afterwards gives a whole that fits. A manifest with the SHA-256 of every file comes last: a file without it is no
backup. With PostgreSQL or S3 use their own tools (see the README); Label Studio's data and its SECRET_KEY are its own.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sqlite3
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from ml_backend import db, settings, tables
from ml_backend.calls.pseudonyms import KEY_FILE
from ml_backend.errors import ConfigurationError, InvalidInput, PermanentError
from ml_backend.settings import Settings

MANIFEST, DATABASE, OBJECTS = "manifest.json", "kaan.db", "objects"
FORM = 1
_PIECE = 1 << 20

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
        with tempfile.TemporaryDirectory(prefix="kaan-backup-") as folder, tarfile.open(aside, "w") as archive:
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
    """Unpack and verify aside, then move everything into its place; gives what it held."""
    database, objects = _places(found)
    if database.exists() or (objects.exists() and any(objects.iterdir())):
        raise InvalidInput(
            "restore-not-empty",
            f"There is data in {found.data_dir} already, and a restore overwrites nothing.",
            "Stop everything, move that folder away, and restore again.",
        )
    found.data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=found.data_dir) as name:
        folder = Path(name)
        entries = _unpack(file, folder)
        objects.parent.mkdir(parents=True, exist_ok=True)
        database.parent.mkdir(parents=True, exist_ok=True)
        if (folder / OBJECTS).exists():
            if objects.exists():
                objects.rmdir()
            shutil.move(folder / OBJECTS, objects)
        if (folder / KEY_FILE).exists():  # in place of one that a command has made here meanwhile
            (folder / KEY_FILE).chmod(0o600)
            (folder / KEY_FILE).replace(found.data_dir / KEY_FILE)
        shutil.move(folder / DATABASE, database)  # last: a database says that the restore is whole
    return {"files": len(entries), "bytes": sum(entry["size_bytes"] for entry in entries.values())}


def _unpack(file: Path, folder: Path) -> dict[str, dict[str, Any]]:
    """Files of a backup under `folder`, each as long and with the hash the manifest says, and no others."""
    seen: dict[str, str] = {}
    manifest: dict[str, Any] | None = None
    try:
        with tarfile.open(file, "r:") as archive:
            for member in archive:
                source = archive.extractfile(member)
                if source is None:
                    raise _broken("holds something that is not a plain file")
                if member.name == MANIFEST:
                    manifest = json.loads(source.read())
                    continue
                target = folder / member.name
                if ".." in target.parts or not target.resolve().is_relative_to(folder.resolve()):
                    raise _broken("holds a file outside its folder")
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as sink:
                    seen[member.name] = _copied(source, sink)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise _broken("cannot be read to its end") from error
    if not isinstance(manifest, dict) or manifest.get("form") != FORM:
        raise _broken("has no manifest")
    if manifest.get("schema") != db.SCHEMA_VERSION:
        raise ConfigurationError(
            "schema-version",
            f"The backup is at schema {manifest.get('schema')}, this release needs {db.SCHEMA_VERSION}.",
            "Restore it with the release that made it, then run `python -m ml_backend db upgrade` with this one.",
        )
    wanted: dict[str, dict[str, Any]] = manifest["files"]
    if {name: entry["sha256"] for name, entry in wanted.items()} != seen:
        raise _broken("does not hold what its manifest says")
    return wanted


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


def _copied(source: IO[bytes], sink: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while piece := source.read(_PIECE):
        digest.update(piece)
        sink.write(piece)
    return digest.hexdigest()


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
